#!/bin/sh
# Runs every benchmark on PostgreSQL (or SQLite if TEST_POSTGRESQL_URL is not set), and those that save, claim,
# settle and survive faults on each other database, too. Called by `make bench`.
set -eu

python="${VENV:-.venv}/bin/python"
main=sqlite
others=""
if [ -n "${TEST_POSTGRESQL_URL:-}" ]; then main=postgresql others="sqlite"; fi
if [ -n "${TEST_MYSQL_URL:-}" ]; then others="$others mysql"; fi

bench() { # bench DATABASE NAME [ARGUMENT ...]
	printf '\n== %s on %s ==\n' "$2" "$1"
	database=$1 name=$2
	shift 2
	EVENTBRIDGE_TEST_DATABASE=$database "$python" -m "benchmarks.$name" "$@"
}

for name in draining enqueueing saving settling claiming limiting lapsed old_snapshot starting pages scraping acting faulting; do bench "$main" $name "$@"; done
if [ "$main" = postgresql ]; then bench "$main" storing "$@"; fi
if [ -n "${TEST_REDIS_URL:-}" ]; then
	for name in clusters latency; do bench "$main" $name "$@"; done
else
	printf 'skipped: clusters and latency, TEST_REDIS_URL is not set\n'
fi
for database in $others; do
	for name in enqueueing saving settling claiming lapsed faulting; do bench "$database" $name "$@"; done
done

#!/bin/sh
# The whole suite on SQLite, then what uses a database again on each server whose URL is set. Called by `make test`.
set -eu

python="${VENV:-.venv}/bin/python"
skipped=""

suite() { # suite DATABASE [ARGUMENT ...]
	database=$1
	shift
	printf '\n== tests on %s ==\n' "$database"
	EVENTBRIDGE_TEST_DATABASE=$database "$python" -m pytest "$@"
}

[ -n "${TEST_REDIS_URL:-}" ] || skipped="$skipped TEST_REDIS_URL"
suite sqlite "$@"

if [ -n "${TEST_POSTGRESQL_URL:-}" ]; then suite postgresql -m database "$@"; else skipped="$skipped TEST_POSTGRESQL_URL"; fi
if [ -n "${TEST_MYSQL_URL:-}" ]; then suite mysql -m database "$@"; else skipped="$skipped TEST_MYSQL_URL"; fi

for url in $skipped; do
	printf 'skipped: %s is not set\n' "$url"
done

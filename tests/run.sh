#!/bin/sh
# Runs the whole suite on SQLite, then the tests that use a database on each server whose URL is set. Called by
# `make test`.
#
# TEST_DATABASES selects other databases; it is an error if the URL of one is not set.
# TEST_PROCESSES is the number of pytest processes on SQLite; each has its own database. They take the files in the
# order of tests/conftest.py, not those with the most tests first.
set -eu

python="${VENV:-.venv}/bin/python"
databases="${TEST_DATABASES:-sqlite ${TEST_POSTGRESQL_URL:+postgresql} ${TEST_MYSQL_URL:+mysql}}"
processes="${TEST_PROCESSES:-3}"

suite() { # suite DATABASE [ARGUMENT ...]
	printf '\n== tests on %s ==\n' "$1"
	export EVENTBRIDGE_TEST_DATABASE="$1"
	shift
	"$python" -m pytest "$@"
}

[ -n "${databases# }" ] || { echo 'TEST_DATABASES names no database' >&2; exit 1; }
for database in $databases; do
	if [ "$database" != sqlite ]; then
		suite "$database" -m database "$@"
	elif [ "$processes" -gt 1 ]; then
		suite sqlite --numprocesses "$processes" --dist loadfile --no-loadscope-reorder "$@"
	else
		suite sqlite "$@"
	fi
done

for name in TEST_REDIS_URL TEST_POSTGRESQL_URL TEST_MYSQL_URL; do
	eval "url=\${$name:-}"
	[ -n "$url" ] || printf 'skipped: %s is not set\n' "$name"
done

#!/usr/bin/env bash
# Runs one leg of CI: `bash .ci/legs.sh FUNCTION [ARGUMENT ...]`, in a separate process so that `set -e` works.
set -euo pipefail
exec </dev/null
cd "$(dirname "$0")/.."

scratch=$(mktemp -d -t eventbridge-leg.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

without_servers() { # without_servers COMMAND ...: these URLs decide what make installs and tests
    unset TEST_POSTGRESQL_URL TEST_MYSQL_URL TEST_REDIS_URL
    "$@"
}

full_depth() { # full_depth COMMAND ...: the property tests with all their examples
    export EVENTBRIDGE_TEST_DEPTH=full
    "$@"
}

with_httptools() { # with_httptools COMMAND ...: all tests with the extra `fast`; without this they use h11
    export GENESYS_EVENTBRIDGE_PARSER=httptools
    "$@"
}

without_one_leg() { # without_one_leg COMMAND ...: on SQLite without the tests that tests/legs.py lists
    export EVENTBRIDGE_TEST_ONE_LEG=off
    "$@"
}

install() { # install PYTHON ENVIRONMENT [CONSTRAINT ...]: for several legs that use one environment
    local python=$1 environment=$2
    shift 2
    constrain "$@"
    make browser-install PYTHON="$python" VENV="$environment"
    ran_on "$environment"
}

suite() { # suite PYTHON ENVIRONMENT DATABASES [CONSTRAINT ...]
    local python=$1 environment=$2 databases=$3
    shift 3
    constrain "$@"
    make test PYTHON="$python" VENV="$environment" TEST_DATABASES="$databases" PYTEST_ARGS="--durations=15 ${PYTEST_ARGS:-}"
    ran_on "$environment"
}

suite_on() { # suite_on SERVER PASSED PYTHON ENVIRONMENT [CONSTRAINT ...]: lists what passes in the file PASSED
    export EVENTBRIDGE_TEST_PASSED=$2
    : >"$EVENTBRIDGE_TEST_PASSED"
    full_depth suite "$3" "$4" "$1" "${@:5}"
}

without_database() { # without_database COMMAND ...: the tests that use no database
    local PYTEST_ARGS="-m 'not database'"
    export PYTEST_ARGS
    "$@"
}

not_passed() { # not_passed PASSED COMMAND ...: on SQLite, the tests with a database that are not in the file PASSED
    local PYTEST_ARGS="-m database"
    export PYTEST_ARGS EVENTBRIDGE_TEST_PASSED=$1
    "${@:2}"
}

lowest_versions() { # lowest_versions PYTHON ENVIRONMENT DATABASES CONSTRAINT: then the newest, for the tests that meet them
    local floors database
    unset TEST_REDIS_URL
    mapfile -t floors < <("$1" .ci/floors.py)
    [ "${#floors[@]}" -gt 3 ] || { echo "floors.py printed too few packages"; return 1; }
    printf '%s\n' "${floors[@]}"
    suite "$1" "$2" "$3" "${floors[@]}"
    for database in postgresql mysql; do # what the oldest Django makes of our queries there
        EVENTBRIDGE_TEST_DEPTH=quick EVENTBRIDGE_TEST_DATABASE=$database "$2/bin/python" -m pytest -m database tests/db tests/outbox
    done
    constrain "$4"
    "$2/bin/python" -m pip install --quiet --upgrade "${floors[@]%%==*}"
    local meets='^ *(from|import) (django_q|jsonschema|prometheus_client|health_check)|qcluster' tests
    mapfile -t tests < <(grep --recursive --files-with-matches --include='test_*.py' --extended-regexp "$meets" tests |
        grep --invert-match --extended-regexp '^tests/(asyncapi|browser|gateways|sdk|third_party)/')
    [ "${#tests[@]}" -gt 10 ] || { echo "too few tests meet a package"; return 1; }
    "$2/bin/python" -m pytest "${tests[@]}"
    ran_on "$2"
}

browser() { # browser PYTHON ENVIRONMENT CONSTRAINT [TESTS]: in an environment whose suite has already run
    constrain "$3"
    make browser PYTHON="$1" VENV="$2" PYTEST_ARGS="${4:-}"
    ran_on "$2"
}

themes() { # themes PYTHON ENVIRONMENT CONSTRAINT: the pages in themed admins, with pictures in build/themes
    constrain "$3"
    make themes PYTHON="$1" VENV="$2"
    ran_on "$2"
}

third_party() { # third_party PYTHON ENVIRONMENT CONSTRAINT: models of other libraries
    constrain "$3"
    make third-party PYTHON="$1" VENV="$2"
    ran_on "$2"
}

sdk() { # sdk PYTHON ENVIRONMENT CONSTRAINT: the SDK has 172 MB; a slow or missing download is not our defect
    constrain "$3"
    if ! timeout 180 make sdk-install PYTHON="$1" VENV="$2"; then
        printf '\n!!! SKIPPED: the official SDK could not be installed within 3 minutes, so this run does not test with it\n'
        return
    fi
    make sdk PYTHON="$1" VENV="$2"
    ran_on "$2"
}

asyncapi() { # asyncapi PYTHON ENVIRONMENT CONSTRAINT: no npm or no registry is not our defect
    constrain "$3"
    local code=0
    if timeout 60 npm view @asyncapi/parser version; then
        timeout 180 make asyncapi-install PYTHON="$1" VENV="$2" 2>&1 | tee "$scratch/npm.log" || code=$?
        if [ "$code" -ne 0 ] && grep -qE 'npm error code (SELF_SIGNED_CERT_IN_CHAIN|ECONN|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|E5)' "$scratch/npm.log"; then
            code=124
        fi
    else
        code=124 # as timeout itself ends
    fi
    if [ "$code" -eq 124 ]; then
        printf '\n!!! SKIPPED: node and npm are not installed, or the registry of npm cannot be reached in time, so this run\n'
        printf '!!! does not validate the AsyncAPI documents with the official parser\n'
        return
    fi
    [ "$code" -eq 0 ] || return "$code"
    make asyncapi PYTHON="$1" VENV="$2"
    ran_on "$2"
}

httpx2() { # httpx2 PYTHON ENVIRONMENT CONSTRAINT: the successor of httpx, and httpx is not installed
    constrain "$3"
    make httpx2 PYTHON="$1" VENV="$2"
    "$2-httpx2/bin/python" -c 'from genesys_eventbridge.client.transport import USER_AGENT; print(USER_AGENT)'
}

gateways() { # gateways PYTHON ENVIRONMENT CONSTRAINT: a gateway that is not installed is a failure here
    constrain "$3"
    EVENTBRIDGE_REQUIRE_GATEWAYS=1 make gateways PYTHON="$1" VENV="$2" PYTEST_ARGS="tests/gateways --durations=15"
    ran_on "$2"
}

lint() { # lint PYTHON ENVIRONMENT CONSTRAINT
    constrain "$3"
    make lint PYTHON="$1" VENV="$2"
}

docs() { # docs PYTHON: the documentation site, warnings are errors
    make docs PYTHON="$1" VENV=.venv-site
}

demo() { # demo PYTHON
    make demo PYTHON="$1" VENV=.venv-demo
}

wheel() { # wheel PYTHON: builds what a user installs, and tries it in an empty environment
    "$1" -m venv "$scratch/builder"
    "$scratch/builder/bin/python" -m pip install --quiet build
    untracked=(untracked-by-ci.txt tests/untracked-by-ci.txt genesys_eventbridge/untracked-by-ci.txt)
    trap 'rm -rf "$scratch" "${untracked[@]}"' EXIT # contents.py must find them in neither archive
    touch "${untracked[@]}"
    "$scratch/builder/bin/python" -m build --outdir "$scratch/dist" . >"$scratch/build.log" 2>&1 || { cat "$scratch/build.log"; return 1; }
    "$1" .ci/contents.py "$scratch/dist"
    rm "${untracked[@]}"
    "$1" -m venv "$scratch/user"
    "$scratch/user/bin/python" -m pip install --quiet "$scratch"/dist/*.whl
    "$scratch/user/bin/python" -m pip check
    mkdir "$scratch/project"
    cp .ci/smoke.py .ci/adopt.py "$scratch/project/"
    cd "$scratch/project"
    "$scratch/user/bin/python" -W error::DeprecationWarning:genesys_eventbridge smoke.py
    "$scratch/user/bin/python" -m pip install --quiet pytest-django opentelemetry-sdk \
        "$(echo "$scratch"/dist/*.whl)[prometheus,opentelemetry]"
    "$scratch/user/bin/python" adopt.py
}

constrain() { # constrain [CONSTRAINT ...]: for every later pip install
    printf '%s\n' "$@" >"$scratch/constraints.txt"
    export PIP_CONSTRAINT="$scratch/constraints.txt"
}

ran_on() { # ran_on ENVIRONMENT
    "$1/bin/python" -c 'import django, sys; print("Python %d.%d.%d," % sys.version_info[:3], "Django", django.__version__)'
}

"$@"

# Sourced by run: sets TEST_POSTGRESQL_URL, TEST_MYSQL_URL and TEST_REDIS_URL to servers that respond.
#
# A server that responds on its standard port of this machine is used. Otherwise one is started from Debian's packages,
# on a free port, with its data in $scratch. If that fails, the run fails: a skipped database would prove nothing.

own_servers=() # commands that stop the servers started here

start_servers() {
    postgresql
    mariadb_server
    redis
    headers_of_mysqlclient
    export TEST_POSTGRESQL_URL TEST_MYSQL_URL TEST_REDIS_URL
    printf '%s\n' "$TEST_POSTGRESQL_URL" "$TEST_MYSQL_URL" "$TEST_REDIS_URL"
}

stop_servers() {
    local command tries
    for command in "${own_servers[@]}"; do
        eval "$command" >/dev/null 2>&1 || true
    done
    for ((tries = 0; tries < 50; tries++)); do # MariaDB writes to its folder until it has stopped
        [ -n "$(jobs -r)" ] || return 0
        sleep 0.2
    done
}

postgresql() {
    have psql || install_packages postgresql
    local port=5432 bin data="$scratch/postgresql"
    if [ -n "${CI_OWN_SERVERS:-}" ] || ! postgresql_answers $port; then
        compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || install_packages postgresql
        bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -1)")
        port=$(free_port)
        own_folder "$data" postgres # the server refuses to run as root
        as postgres "$bin/initdb" --pgdata "$data/db" --username postgres --auth trust --encoding UTF8 >"$data/initdb.log"
        as postgres "$bin/pg_ctl" --pgdata "$data/db" --log "$data/server.log" --silent --no-wait \
            --options "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$data -c fsync=off" start
        own_servers+=("as postgres $bin/pg_ctl --pgdata $data/db --mode immediate stop")
        wait_until "PostgreSQL" "$data/server.log" postgresql_answers "$port"
    fi
    TEST_POSTGRESQL_URL="postgresql://postgres@127.0.0.1:$port"
}

postgresql_answers() {
    PGCONNECT_TIMEOUT=3 psql --no-password --host 127.0.0.1 --port "$1" --username postgres --dbname postgres \
        --no-align --tuples-only --command 'SELECT version()' 2>/dev/null
}

mariadb_server() { # not named "mariadb": that is the client
    have mariadb || install_packages mariadb-server
    local port=3306 data="$scratch/mariadb"
    if [ -n "${CI_OWN_SERVERS:-}" ] || ! mariadb_answers $port; then
        have mariadb-install-db && have mariadbd || install_packages mariadb-server
        port=$(free_port)
        own_folder "$data" mysql
        as mysql mariadb-install-db --no-defaults --datadir="$data/db" --auth-root-authentication-method=normal \
            --skip-test-db >"$data/install.log" 2>&1 || { cat "$data/install.log"; return 1; }
        as mysql mariadbd --no-defaults --datadir="$data/db" --socket="$data/socket" --port="$port" \
            --bind-address=127.0.0.1 --pid-file="$data/pid" --innodb-flush-log-at-trx-commit=0 >"$data/server.log" 2>&1 &
        own_servers+=("kill \$(cat $data/pid)")
        wait_until "MariaDB" "$data/server.log" mariadb_answers "$port"
    fi
    TEST_MYSQL_URL="mysql://root@127.0.0.1:$port"
}

mariadb_answers() {
    mariadb --no-defaults --host=127.0.0.1 --port="$1" --user=root --connect-timeout=3 --skip-column-names \
        --execute='SELECT version()' 2>/dev/null
}

redis() {
    have redis-cli || install_packages redis-server
    local port=6379 data="$scratch/redis"
    if [ -n "${CI_OWN_SERVERS:-}" ] || ! redis_answers $port; then
        have redis-server || install_packages redis-server
        port=$(free_port)
        mkdir "$data"
        redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$data" --daemonize yes \
            --logfile "$data/server.log" --pidfile "$data/pid"
        own_servers+=("kill \$(cat $data/pid)")
        wait_until "Redis" "$data/server.log" redis_answers "$port"
    fi
    TEST_REDIS_URL="redis://127.0.0.1:$port/15"
}

redis_answers() {
    timeout 3 redis-cli -h 127.0.0.1 -p "$1" ping 2>/dev/null | grep PONG
}

headers_of_mysqlclient() {
    have pkg-config && have cc && { pkg-config --exists libmariadb || pkg-config --exists mysqlclient; } ||
        install_packages libmariadb-dev pkg-config gcc
}

have() {
    command -v "$1" >/dev/null
}

install_packages() {
    printf 'installing %s\n' "$*"
    [ "$(id -u)" -eq 0 ] || { printf 'only root can install: %s\n' "$*"; return 1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$scratch/apt.log" 2>&1 ||
        { tail -30 "$scratch/apt.log"; return 1; }
}

own_folder() { # own_folder FOLDER USER
    mkdir "$1"
    [ "$(id -u)" -ne 0 ] || chown "$2" "$1"
}

as() { # as USER COMMAND ...: root switches to USER, other users run it as themselves
    local user=$1
    shift
    if [ "$(id -u)" -eq 0 ]; then (cd / && exec runuser --user "$user" -- "$@"); else "$@"; fi
}

free_port() {
    "$newest" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_until() { # wait_until NAME LOG COMMAND ...
    local name=$1 log=$2 tries
    shift 2
    for ((tries = 0; tries < 300; tries++)); do
        if "$@" >/dev/null; then
            printf 'started %s\n' "$name"
            return
        fi
        sleep 0.2
    done
    printf '%s did not respond within a minute\n' "$name"
    tail -30 "$log"
    return 1
}

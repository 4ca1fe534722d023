"""Whether the outbox's database can keep our promises: tables, transactions, clock and character set."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from importlib import import_module

from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from genesys_eventbridge.checks import mysql, queue, settings
from genesys_eventbridge.checks.migrating import is_migrating
from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.text import clean

#: Maximum difference in seconds between the clocks of database and host.
SKEW = 5.0
_SQUASHED = "genesys_eventbridge.migrations.0001_squashed_0007_leases"
_LOCKING_MODES = ("IMMEDIATE", "EXCLUSIVE")
_EPOCH_SECONDS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000",
}


def problems(aliases: Collection[str]) -> Iterator[Problem]:
    """What is wrong with the outbox's database, if it is among ``aliases``. Only reads it."""
    alias = outbox_alias()
    if alias not in aliases:
        return
    connection = connections[alias]
    if connection.vendor == "sqlite":
        yield from _sqlite(connection)
    yield from _small_pool(connection)
    try:
        yield from list(_migrations(connection)) or _tables(connection)
        yield from _clock(connection)
        if connection.vendor == "mysql":
            yield from mysql.problems(connection, _our_tables())
    except DatabaseError as error:
        first_line = str(error).partition("\n")[0]
        yield Problem(
            "E030",
            "",
            f"Database {alias!r} does not answer ({type(error).__name__}: {clean(first_line, 300)}).",
            f"Start it, or fix DATABASES[{alias!r}].",
        )


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    alias = connection.alias
    mode = connection.settings_dict["OPTIONS"].get("transaction_mode")
    if str(mode).upper() not in _LOCKING_MODES:
        yield Problem(
            "W035",
            "DATABASES",
            f"Database {alias!r} is SQLite without transaction_mode IMMEDIATE: while a worker writes, a "
            "transaction that reads before it writes fails at once ('database is locked').",
            f'Set DATABASES["{alias}"]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE", "timeout": 20, '
            '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.',
        )
    if apps.is_installed("django_q") and queue.cluster().get("workers") != 1:
        yield Problem(
            "W031",
            "Q_CLUSTER",
            f"Database {alias!r} is SQLite, which has one writer: several publishing processes are safe, but "
            "one is fastest.",
            'Set "workers": 1 in Q_CLUSTER, or use PostgreSQL or MariaDB for many workers.',
        )


def _small_pool(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    """``--loop`` serves each destination in its own thread, which holds a connection during a pass.

    Alerts have one thread more.
    """
    pool = connection.settings_dict["OPTIONS"].get("pool")
    if not pool:
        return
    given = pool if isinstance(pool, dict) else {}
    most = given.get("max_size") or given.get("min_size", 4)  # psycopg_pool's own defaults
    destinations = settings.readable()
    alerts = any(destination.alerts for destination in destinations)
    wanted = len(destinations) + alerts
    if most < wanted:
        yield Problem(
            "W038",
            "DATABASES",
            f"The pool of database {connection.alias!r} has {most} connections for {len(destinations)} "
            f"destinations{' and the alerts' if alerts else ''}: "
            "with eventbridge_publish --loop they wait for each other.",
            f'Set "max_size": {wanted + 1} in DATABASES[{connection.alias!r}]["OPTIONS"]["pool"].',
        )


def _tables(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    missing = _our_tables() - set(connection.introspection.table_names())
    if missing and not is_migrating():
        yield Problem(
            "E030",
            "",
            f"Tables missing in database {connection.alias!r}: {', '.join(sorted(missing))}.",
            f"Run: python manage.py migrate --database {connection.alias}",
        )


def _our_tables() -> set[str]:
    return {model._meta.db_table for model in apps.get_app_config("genesys_eventbridge").get_models()}


def _migrations(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    """Django leaves out a squashed migration if only some of those that it replaces were applied."""
    squashed = import_module(_SQUASHED).Migration
    applied = MigrationRecorder(connection).applied_migrations().keys() & set(squashed.replaces)
    if 0 < len(applied) < len(squashed.replaces):
        app, last = squashed.replaces[-1]
        yield Problem(
            "E030",
            "",
            f"Database {connection.alias!r} has applied {len(applied)} of the {len(squashed.replaces)} "
            f"migrations that {_SQUASHED.rpartition('.')[2]} replaces: migrate would change nothing.",
            "Install the last development version with these migrations, and run: "
            f"python manage.py migrate {app} {last} --database {connection.alias}. Then upgrade.",
        )


def _clock(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    if connection.vendor not in _EPOCH_SECONDS:
        return  # SQLite has the host's clock
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute(_EPOCH_SECONDS[connection.vendor])
        server_time = float(cursor.fetchone()[0])
    after = time.time()
    # However long the query took, the database's answer was true at some moment of it.
    ahead = server_time - min(max(server_time, before), after)
    if abs(ahead) > SKEW:
        yield Problem(
            "W034",
            "",
            f"The clock of database {connection.alias!r} is {span(abs(ahead))} "
            f"{'ahead of' if ahead > 0 else 'behind'} this host's. Due times use the database's clock, the "
            "times in events by the host's.",
            "Synchronise every host by NTP: timedatectl set-ntp true",
        )

"""Whether the database of the outbox can keep our promises: tables, transactions, clock and character set."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from genesys_eventbridge.checks import mysql, queue, settings
from genesys_eventbridge.checks.migrating import is_migrating
from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.text import clean

#: Seconds by which database and host may differ before somebody should look at them.
SKEW = 5.0
_LOCKING_MODES = ("IMMEDIATE", "EXCLUSIVE")
_EPOCH_SECONDS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000",
}


def problems(aliases: Collection[str]) -> Iterator[Problem]:
    """What is wrong with the outbox's database, where it is among ``aliases``; it is read, never written."""
    alias = outbox_alias()
    if alias not in aliases:
        return
    connection = connections[alias]
    if connection.vendor == "sqlite":
        yield from _sqlite(connection)
    yield from _small_pool(connection)
    try:
        yield from _tables(connection)
        yield from _clock(connection)
        if connection.vendor == "mysql":
            yield from mysql.problems(connection)
    except DatabaseError as error:
        first_line = str(error).partition("\n")[0]
        yield Problem(
            "E030",
            "",
            f"Database {alias!r} does not answer ({type(error).__name__}: {clean(first_line, 300)}).",
            f"Start it, or mend DATABASES[{alias!r}].",
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
            f'Write DATABASES["{alias}"]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE", "timeout": 20, '
            '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.',
        )
    if apps.is_installed("django_q") and queue.cluster().get("workers") != 1:
        yield Problem(
            "W031",
            "Q_CLUSTER",
            f"Database {alias!r} is SQLite, which has one writer: several publishing processes are safe, but "
            "one is fastest.",
            'Write "workers": 1 in Q_CLUSTER, or use PostgreSQL or MariaDB for many workers.',
        )


def _small_pool(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    """``--loop`` serves each destination in a thread of its own, which holds a connection during a pass."""
    pool = connection.settings_dict["OPTIONS"].get("pool")
    if not pool:
        return
    given = pool if isinstance(pool, dict) else {}
    most = given.get("max_size") or given.get("min_size", 4)  # psycopg_pool's own defaults
    wanted = len(settings.readable())
    if most < wanted:
        yield Problem(
            "W038",
            "DATABASES",
            f"The pool of database {connection.alias!r} has {most} connections for {wanted} destinations: "
            "with eventbridge_publish --loop they wait for each other.",
            f'Write "max_size": {wanted + 1} into DATABASES[{connection.alias!r}]["OPTIONS"]["pool"].',
        )


def _tables(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    there = set(connection.introspection.table_names())
    wanted = {model._meta.db_table for model in apps.get_app_config("genesys_eventbridge").get_models()}
    if wanted - there and not is_migrating():
        yield Problem(
            "E030",
            "",
            f"Tables missing in database {connection.alias!r}: {', '.join(sorted(wanted - there))}.",
            f"Run: python manage.py migrate --database {connection.alias}",
        )


def _clock(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    if connection.vendor not in _EPOCH_SECONDS:
        return  # SQLite has the host's clock
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute(_EPOCH_SECONDS[connection.vendor])
        server_time = float(cursor.fetchone()[0])
    after = time.time()
    # Whatever the question took, the database's answer was true at some moment of it.
    ahead = server_time - min(max(server_time, before), after)
    if abs(ahead) > SKEW:
        yield Problem(
            "W034",
            "",
            f"The clock of database {connection.alias!r} is {span(abs(ahead))} "
            f"{'ahead of' if ahead > 0 else 'behind'} this host's. Due times go by the database's clock, the "
            "times in events by the host's.",
            "Let every host keep its time by NTP: timedatectl set-ntp true",
        )

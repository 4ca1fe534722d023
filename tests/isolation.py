"""Isolation levels for all new connections of a test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from tests import databases

#: MariaDB's default since 11.6.2. Under REPEATABLE READ a statement fails with error 1020 if it locks a row
#: that another transaction changed after the snapshot, and InnoDB rolls back the whole transaction.
SNAPSHOT = "repeatable read, innodb_snapshot_isolation"

#: Set at the server (on PostgreSQL by ALTER DATABASE) and not by Django, so that it also applies to
#: statements outside a transaction.
AT_THE_SERVER = "serializable at the server"

LEVELS = {
    "postgresql": ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"],
    "mysql": ["read committed", "repeatable read", SNAPSHOT],
    "sqlite": ["IMMEDIATE", "DEFERRED"],
}[os.environ.get(databases.CHOICE, "sqlite")]


@contextmanager
def isolated(level: str) -> Iterator[None]:
    """Use one of LEVELS in this thread and those it starts; skips the test if the server does not have it."""
    options = {**connection.settings_dict["OPTIONS"], **_options(level)}
    with pytest.MonkeyPatch.context() as patch, _at_the_server(level):
        connection.close()
        patch.setitem(connection.settings_dict, "OPTIONS", options)
        patch.setitem(connections.settings["default"], "OPTIONS", options)
        connection.__dict__.pop("isolation_level", None)
        if level == SNAPSHOT:
            assert _mysql_variable("innodb_snapshot_isolation") == "ON"
        try:
            yield
        finally:
            connection.close()
            connection.__dict__.pop("isolation_level", None)


@contextmanager
def _at_the_server(level: str) -> Iterator[None]:
    if level != AT_THE_SERVER or connection.vendor != "postgresql":
        yield
        return
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation")
        connection.close()


def _options(level: str) -> dict[str, Any]:
    if connection.vendor == "sqlite":
        return {"transaction_mode": level}
    if connection.vendor == "postgresql":
        if level == AT_THE_SERVER:
            return {}
        from psycopg import IsolationLevel

        return {"isolation_level": IsolationLevel[level.replace(" ", "_")]}
    if level == AT_THE_SERVER:
        init = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"
        return {"isolation_level": None, "init_command": init}
    if level != SNAPSHOT:
        return {"isolation_level": level}
    if _mysql_variable("innodb_snapshot_isolation") is None:
        pytest.skip("this server has no innodb_snapshot_isolation: it is not MariaDB, or too old")
    init = "SET SESSION innodb_snapshot_isolation = ON"
    return {"isolation_level": "repeatable read", "init_command": init}


def _mysql_variable(name: str) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION VARIABLES LIKE %s", [name])
        row = cursor.fetchone()
    return None if row is None else str(row[1])

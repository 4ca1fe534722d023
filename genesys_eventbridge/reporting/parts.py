"""Aggregates over limited parts of a table, all in one query."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from django.db import connections, transaction

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import outbox_alias

#: A limit above any number of rows. A part always has a limit: without one a database may compute its columns
#: once for each sum over them.
EVERY = 2**62


def aggregated(
    parts: Sequence[Any], columns: str, group: str = "", *, compiles_slowly: bool = False
) -> list[tuple[Any, ...]]:
    """The columns of each part, preceded by its number, in one query. Django cannot combine limited parts.

    ``compiles_slowly``: PostgreSQL takes the statement for so expensive that it compiles it, which takes
    seconds where the statement itself takes a tenth of one. It is switched off for this transaction.
    """
    if not parts:
        return []
    alias = outbox_alias()
    connection = connections[alias]
    compiled = [part.query.get_compiler(alias).as_sql() for part in parts]
    sql = " UNION ALL ".join(
        f"SELECT {number} AS part, {columns} FROM ({inner}) AS s {group}"  # noqa: S608 - made by Django
        for number, (inner, _parameters) in enumerate(compiled)
    )
    parameters = [value for _inner, given in compiled for value in given]
    interpreted = compiles_slowly and connection.vendor == "postgresql"
    block = transaction.atomic(alias, savepoint=False) if interpreted else nullcontext()
    with block, connection.cursor() as cursor:
        if interpreted:
            cursor.execute("SET LOCAL jit = off")
        cursor.execute(f"{sql} ORDER BY part", parameters)
        return list(cursor.fetchall())


def moment_of(value: Any) -> dt.datetime | None:
    """A time as Django would read it from a column."""
    connection, column = connections[outbox_alias()], DatabaseNow()
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    return value if isinstance(value, dt.datetime) else None

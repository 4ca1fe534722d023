"""How drafts become rows: statements written once, because Django compiles each column at every save.

On PostgreSQL `enqueue_many` of a thousand takes 0.14 ms an event in place of 0.42 (benchmarks/enqueueing.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from genesys_eventbridge.db import json_rows, json_table
from genesys_eventbridge.db.clock import now_sql
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import State

#: What a draft says, and how PostgreSQL is to read it: as varchar(n) it would cut what is too long.
_COLUMNS = {
    "destination": "text",
    "event_id": "text",
    "source": "text",
    "type": "text",
    "subject": "text",
    "time": "timestamptz",
    "body": "text",
    "body_sha256": "text",
    "content_sha256": "text",
    "idempotency_key": "uuid",
    "ordering_key": "text",
    "object_type": "text",
    "object_id": "text",
}

#: What the database's clock says, from a delay in seconds that is read once for each of _DELAYS.
_TIMES = ("created_at", "due_at", "not_before")
_DELAYS = ("due_at", "not_before asked for", "not_before")

#: What every new row begins with, as the model's defaults say; the columns left out are NULL.
_BEGINNING = {
    "state": f"'{State.PENDING.value}'",
    "reason": "''",
    "key_epoch": "0",
    "attempts": "0",
    "checks": "0",
    "halts": "0",
    "remote_id": "''",
    "last_error": "''",
    "correlation_id": "''",
}

_INTO = f"INSERT INTO {OutboxEvent._meta.db_table} ({', '.join([*_COLUMNS, *_TIMES, *_BEGINNING])})"
_JSON = {"place": "int", **_COLUMNS, "delay": "float8"}


def insert(row: OutboxEvent, alias: str) -> None:
    """Write one draft; it has its id then. Raises the database's errors."""
    connection = connections[alias]
    returns = connection.features.can_return_columns_from_insert
    sql = f"{_INTO} VALUES {_placeholders(connection)}"
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} RETURNING id" if returns else sql, _values(connection, row))
        if returns:
            row.pk = cursor.fetchone()[0]
        else:
            row.pk = connection.ops.last_insert_id(cursor, OutboxEvent._meta.db_table, "id")
    _written(row, alias)


def insert_many(rows: Sequence[OutboxEvent], alias: str) -> None:
    """Write drafts, with ids that rise in the order given: events of one ordering key go by them.

    One statement on PostgreSQL; elsewhere one for as many rows as its parameters allow (SQLite: a few dozen),
    and on MySQL, which returns nothing from an INSERT, one more that reads the ids.
    """
    if not rows:
        return
    connection = connections[alias]
    if connection.vendor == "postgresql":
        ids = _insert_json(connection, rows)
    else:
        ids = {}
        size = connection.ops.bulk_batch_size([*_COLUMNS, *_DELAYS], rows)
        for start in range(0, len(rows), size):
            ids |= _insert_values(connection, alias, rows[start : start + size])
    for row in rows:
        row.pk = ids[row.idempotency_key]
        _written(row, alias)


def _insert_json(connection: Any, rows: Sequence[OutboxEvent]) -> dict[Any, int]:
    """One parameter, however many rows: psycopg takes longer for a thousand times 14 than PostgreSQL does."""
    values_of_rows = [
        (place, *_column_values(connection, row), _delay(row)) for place, row in enumerate(rows)
    ]
    values = ", ".join([*_COLUMNS, *_times(connection, "delay"), *_BEGINNING.values()])
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_INTO} SELECT {values} FROM {json_table(_JSON)} "  # noqa: S608
            "ORDER BY place RETURNING idempotency_key, id",
            [json_rows(_JSON, values_of_rows)],
        )
        return dict(cursor.fetchall())


def _insert_values(connection: Any, alias: str, rows: Sequence[OutboxEvent]) -> dict[Any, int]:
    returns = connection.features.can_return_rows_from_bulk_insert
    sql = f"{_INTO} VALUES {', '.join([_placeholders(connection)] * len(rows))}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"{sql} RETURNING idempotency_key, id" if returns else sql,
            [value for row in rows for value in _values(connection, row)],
        )
        if returns:
            return {UUID(key): pk for key, pk in cursor.fetchall()}
    keys = [row.idempotency_key for row in rows]
    written = OutboxEvent.objects.using(alias).filter(idempotency_key__in=keys)
    return dict(written.values_list("idempotency_key", "id"))


def _placeholders(connection: Any) -> str:
    """For ``_values``."""
    return f"({', '.join([*['%s'] * len(_COLUMNS), *_times(connection, '%s'), *_BEGINNING.values()])})"


def _values(connection: Any, row: OutboxEvent) -> list[Any]:
    return [*_column_values(connection, row), *[_delay(row)] * len(_DELAYS)]


def _times(connection: Any, delay: str) -> list[str]:
    """SQL for each of ``_TIMES``; ``delay`` is SQL, too."""
    later = now_sql(connection, delay)
    return [now_sql(connection, "0"), later, f"CASE WHEN {delay} > 0 THEN {later} ELSE NULL END"]


def _delay(row: OutboxEvent) -> float:
    return float(row.due_at.seconds)  # type: ignore[union-attr]  # a draft's is DatabaseNow(seconds)


def _column_values(connection: Any, row: OutboxEvent) -> list[Any]:
    """Text is the same on every database; the others are what the database wants in their place."""
    values = vars(row).copy()
    for name in ("time", "idempotency_key"):
        field: Any = OutboxEvent._meta.get_field(name)
        values[name] = field.get_db_prep_save(values[name], connection)
    return [values[name] for name in _COLUMNS]


def _written(row: OutboxEvent, alias: str) -> None:
    """As after ``save()``; the times that the database set are read from it when somebody asks for them."""
    row._state.adding = False
    row._state.db = alias
    for name in _TIMES:
        if hasattr(row.__dict__[name], "resolve_expression"):
            del row.__dict__[name]

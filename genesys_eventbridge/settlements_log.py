"""The attempt log: many rows in one statement, written with the outcomes they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Max

from genesys_eventbridge.database import json_rows, json_table
from genesys_eventbridge.models import DeliveryAttempt

_COLUMNS = {
    "event_id": "bigint",
    "number": "int",
    "kind": "text",
    "started_at": "timestamptz",
    "duration": "float8",
    "verdict": "text",
    "status_code": "int",
    "error": "text",
    "correlation_id": "text",
    "retry_after": "float8",
    "response_excerpt": "text",
    "worker": "text",
}


def write_log(alias: str, attempts: Sequence[DeliveryAttempt]) -> None:
    """Number and write them; each is of another event. They get no ids: nobody reads them from here.

    Not bulk_create, which took a third of a worker's own time for an event: it compiles each value.
    """
    if not attempts:
        return
    last: dict[Any, int] = dict(
        DeliveryAttempt.objects.using(alias)
        .filter(event__in=[attempt.event_id for attempt in attempts])
        .values("event")
        .annotate(last=Max("number"))
        .values_list("event", "last")
    )
    connection = connections[alias]
    started_at: Any = DeliveryAttempt._meta.get_field("started_at")
    rows = []
    for attempt in attempts:
        attempt.number = last.get(attempt.event_id, 0) + 1
        values = {**vars(attempt), "started_at": started_at.get_db_prep_save(attempt.started_at, connection)}
        rows.append([values[name] for name in _COLUMNS])
    names = ", ".join(_COLUMNS)
    into = f"INSERT INTO {connection.ops.quote_name(DeliveryAttempt._meta.db_table)} ({names})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            table = json_table(_COLUMNS)
            cursor.execute(f"{into} SELECT {names} FROM {table}", [json_rows(_COLUMNS, rows)])  # noqa: S608
        else:
            cursor.executemany(f"{into} VALUES ({', '.join(['%s'] * len(_COLUMNS))})", rows)

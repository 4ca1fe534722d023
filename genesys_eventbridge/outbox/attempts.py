"""The attempt log: many rows in one statement, written with the outcomes they belong to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from django.db import connections
from django.db.models import Max

from genesys_eventbridge.db import json_rows, json_table
from genesys_eventbridge.models import DeliveryAttempt


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and its answer, to be written down: the columns of ``DeliveryAttempt`` without a model."""

    event_id: int
    kind: str
    started_at: dt.datetime
    #: Seconds.
    duration: float
    verdict: str
    status_code: int | None = None
    error: str = ""
    correlation_id: str = ""
    #: Seconds the platform asked for.
    retry_after: float | None = None
    response_excerpt: str = field(default="", repr=False)
    worker: str = ""


_COLUMNS = {
    "event_id": "bigint",
    "kind": "text",
    "duration": "float8",
    "verdict": "text",
    "status_code": "int",
    "error": "text",
    "correlation_id": "text",
    "retry_after": "float8",
    "response_excerpt": "text",
    "worker": "text",
    "started_at": "timestamptz",
    "number": "int",
}
#: The columns that every database takes as they are.
_plain = attrgetter(*[name for name in _COLUMNS if name not in {"started_at", "number"}])


def write_log(alias: str, attempts: Sequence[Attempt]) -> None:
    """Number and write them; each is of another event.

    Not bulk_create of models, which took a third of a worker's own time for an event: it compiles each value.
    """
    if not attempts:
        return
    ids = [attempt.event_id for attempt in attempts]
    last: dict[Any, int] = dict(
        DeliveryAttempt.objects.using(alias)
        # With the range PostgreSQL takes the index also while the table has no statistics yet.
        .filter(event__in=ids, event__gte=min(ids), event__lte=max(ids))
        .values("event")
        .annotate(last=Max("number"))
        .values_list("event", "last")
    )
    connection = connections[alias]
    started_at: Any = DeliveryAttempt._meta.get_field("started_at")
    rows = [
        (
            *_plain(attempt),
            started_at.get_db_prep_save(attempt.started_at, connection),
            last.get(attempt.event_id, 0) + 1,
        )
        for attempt in attempts
    ]
    names = ", ".join(_COLUMNS)
    into = f"INSERT INTO {connection.ops.quote_name(DeliveryAttempt._meta.db_table)} ({names})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            table = json_table(_COLUMNS)
            cursor.execute(f"{into} SELECT {names} FROM {table}", [json_rows(_COLUMNS, rows)])  # noqa: S608
        else:
            cursor.executemany(f"{into} VALUES ({', '.join(['%s'] * len(_COLUMNS))})", rows)

"""Build the row of an event, with its bytes fixed, and insert it.

The SQL is our own, because Django compiles each column at every save: on PostgreSQL ``enqueue_many`` of a
thousand events takes 0.14 ms per event instead of 0.42 ms (benchmarks/enqueueing.py).
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import Model
from django.db.models.base import ModelState
from django.utils import timezone

from genesys_eventbridge import conf, tracing
from genesys_eventbridge.cloudevents import NO_DATA, CloudEvent, build_event, check_text, content_digest
from genesys_eventbridge.db import json_rows, json_table
from genesys_eventbridge.db.clock import LONGEST_WAIT, NOW, DatabaseNow, now_sql
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import declarations
from genesys_eventbridge.states import State
from genesys_eventbridge.text import is_storable

#: Maps a caller's text key to the UUID that is sent. Never change it: events would be delivered twice.
NAMESPACE = uuid.UUID("6f1c3a52-9d0b-5e6e-8c55-2f0f0d6a7b11")

#: The width of the columns that hold a caller's text.
_WIDTH = 255

#: Columns and the types PostgreSQL reads them as. Not varchar(n): a cast to that truncates silently.
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

#: Times set by the database's clock. The delay in seconds is a parameter once for each of _DELAYS.
_TIMES = ("created_at", "due_at", "not_before")
_DELAYS = ("due_at", "not_before asked for", "not_before")

#: The initial values of a row, equal to the model's defaults. Columns not listed are NULL.
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

#: MySQL and MariaDB refuse a statement of more bytes than ``max_allowed_packet``: by default 4 to 64 MiB. A
#: body may take twice its bytes in it, because quotes are escaped.
PACKET = 1024 * 1024
#: The most that a row's other columns take, roughly.
_BESIDE_BODY = 1024

_given = itemgetter(*_COLUMNS)
_TIME, _KEY = (list(_COLUMNS).index(name) for name in ("time", "idempotency_key"))

_INTO = f"INSERT INTO {OutboxEvent._meta.db_table} ({', '.join([*_COLUMNS, *_TIMES, *_BEGINNING])})"
_JSON = {"place": "int", **_COLUMNS, "delay": "float8"}


def build_row(
    type: str,  # noqa: A002 - the CloudEvents word
    data: Any = NO_DATA,
    *,
    source: str | None = None,
    subject: str | None = None,
    time: dt.datetime | str | None = None,
    dataschema: str | None = None,
    datacontenttype: str | None = None,
    extensions: Mapping[str, Any] | None = None,
    ordering_key: str | None = None,
    idempotency_key: uuid.UUID | str | None = None,
    event_id: uuid.UUID | str | None = None,
    delay: dt.timedelta | float | None = None,
    destination: str = "default",
    about: Model | None = None,
) -> OutboxEvent:
    """The unsaved row of one event; arguments as for ``enqueue``.

    Raises InvalidEvent, which names the field, and ImproperlyConfigured for an unknown destination.
    """
    destination_settings = conf.destination(destination)
    if data is NO_DATA:
        raise InvalidEvent("data", "is required by the platform; pass data=None for JSON null")

    def built(trace: Mapping[str, str]) -> CloudEvent:
        event = build_event(
            type,
            data,
            source=destination_settings.source if source is None else source,
            id=event_id,
            subject=subject,
            time=time,
            dataschema=dataschema,
            datacontenttype=datacontenttype,
            extensions={**(extensions or {}), **trace} if trace else extensions,
            max_bytes=destination_settings.max_event_bytes,
        )
        destination_settings.platform.protocol.check_event(event)
        return event

    trace = _trace(destination_settings, extensions)
    try:
        event = built(trace)
    except InvalidEvent:
        if not trace:
            raise
        event, trace = built({}), {}  # with it the event may be too large
    declarations.validate(destination_settings, event)
    object_type, object_id = _object(about)
    seconds = _seconds(delay)
    due = DatabaseNow(seconds) if seconds else NOW
    return _unsaved(
        destination=destination,
        event_id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject or "",
        time=_stored_time(event.occurred_at),
        body=event.encode(),
        body_sha256=event.sha256,
        content_sha256=content_digest(event, destination, with_time=time is not None, without=trace),
        idempotency_key=uuid.uuid4() if idempotency_key is None else wire_uuid(idempotency_key, destination),
        ordering_key="" if ordering_key is None else check_text("ordering_key", ordering_key, _WIDTH),
        not_before=due if seconds else None,
        due_at=due,
        created_at=NOW,
        object_type=object_type,
        object_id=object_id,
    )


def _unsaved(**values: Any) -> OutboxEvent:
    """A row with these values, and the model's defaults in its other columns.

    Django's ``__init__`` with keywords asks each of the 40 fields for its default: 21 us, a third of the time
    of ``build_row``. With a value for each column it takes 6 us, without ``__init__`` 1 us.
    """
    row = OutboxEvent.__new__(OutboxEvent)
    vars(row).update(_defaults(), _state=ModelState(), **values)
    return row


@cache
def _defaults() -> dict[str, Any]:
    """The default of each column by attname, in the order of the columns. All are constants."""
    return {field.attname: field.get_default() for field in OutboxEvent._meta.concrete_fields}


def _trace(settings: conf.DestinationSettings, extensions: Any) -> dict[str, str]:
    """The trace to be fixed in the event; empty if the caller passes one, or TRACING is off."""
    if not settings.tracing or not (extensions is None or isinstance(extensions, Mapping)):
        return {}
    return tracing.context() if tracing.EXTENSION.isdisjoint(extensions or ()) else {}


def insert(row: OutboxEvent, alias: str) -> None:
    """Insert one row and set its id. Raises the database's errors.

    PostgreSQL returns the id; the drivers of the others know it without RETURNING, which costs SQLite as much
    as the rest of the statement.
    """
    connection = connections[alias]
    returns = connection.vendor == "postgresql"
    delayed = _is_delayed(row)
    sql = _insert_sql(connection, delayed=delayed)
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} RETURNING id" if returns else sql, _values(connection, row, delayed=delayed))
        if returns:
            row.pk = cursor.fetchone()[0]
        else:
            row.pk = connection.ops.last_insert_id(cursor, OutboxEvent._meta.db_table, "id")
    _written(row, alias)


def insert_many(rows: Sequence[OutboxEvent], alias: str) -> None:
    """Insert rows with ids ascending in the order given, because events of one ordering key are sent by id.

    One statement, on MySQL one for each PACKET. MySQL does not return the ids, nor does SQLite those of more
    rows than it takes parameters for (a few dozen), so there one more query reads them.
    """
    if not rows:
        return
    connection = connections[alias]
    delayed = any(map(_is_delayed, rows))
    at_once = connection.ops.bulk_batch_size([*_COLUMNS, *_DELAYS], rows)
    if connection.vendor == "postgresql":
        ids = _insert_json(connection, rows, delayed=delayed)
    elif connection.vendor == "sqlite" and len(rows) > at_once:
        ids = _insert_one_by_one(connection, alias, rows, delayed=delayed)
    else:
        ids = {}
        for some in _packets(rows) if connection.vendor == "mysql" else [rows]:
            ids |= _insert_values(connection, alias, some, delayed=delayed)
    for row in rows:
        row.pk = ids[row.idempotency_key.hex]
        _written(row, alias)


def wire_uuid(idempotency_key: Any, destination: str) -> uuid.UUID:
    """A UUID unchanged, text as a UUID derived from it and the destination. Raises InvalidEvent."""
    if isinstance(idempotency_key, uuid.UUID):
        return idempotency_key
    if not isinstance(idempotency_key, str) or not idempotency_key:
        raise InvalidEvent("idempotency_key", "must be a UUID or a non-empty string")
    try:
        return uuid.uuid5(NAMESPACE, f"{destination}\0{idempotency_key}")
    except UnicodeEncodeError:
        raise InvalidEvent("idempotency_key", "contains a lone surrogate") from None


def _seconds(delay: dt.timedelta | float | None) -> float:
    seconds: Any = delay.total_seconds() if isinstance(delay, dt.timedelta) else delay or 0.0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise InvalidEvent("delay", "must be a timedelta or a number of seconds, and not negative")
    if seconds > LONGEST_WAIT:
        raise InvalidEvent(
            "delay",
            f"is more than 10 years ({LONGEST_WAIT:.0f} seconds). The unit is seconds, not milliseconds",
        )
    return float(seconds)


def can_be_linked(about: Model) -> bool:
    """Whether ``about=`` accepts this object, so that the admin can link to it."""
    if type(about.pk) is int:
        return True
    try:
        _object(about)
    except InvalidEvent:
        return False
    return True


def _stored_time(occurred_at: dt.datetime) -> dt.datetime:
    """The time for the database column: naive if USE_TZ is off.

    The first and last day of the calendar are refused, because conversion to a time zone could overflow.
    """
    if not _FIRST_DAY <= occurred_at < _LAST_DAY:
        raise InvalidEvent(
            "time", "must be between 0001-01-02 and 9999-12-30, so that every database can store it"
        )
    return occurred_at if settings.USE_TZ else timezone.make_naive(occurred_at)


_FIRST_DAY, _LAST_DAY = dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


def _object(about: Model | None) -> tuple[str, str]:
    """``object_type`` ("app.model") and ``object_id`` of the business object; a proxy counts as its model."""
    if about is None:
        return "", ""
    if not isinstance(about, Model):
        raise InvalidEvent("about", f"must be a model instance, not {type(about).__name__}")
    key = about.pk
    if key is None or (isinstance(key, tuple) and None in key):
        raise InvalidEvent("about", "has no primary key. Save it first, and enqueue before you delete it")
    text = str(key)
    if len(text) > _WIDTH or not is_storable(text):
        raise InvalidEvent(
            "about",
            f"has a primary key that the outbox cannot store (at most {_WIDTH} characters, no NUL, "
            "no lone surrogate). Omit about=",
        )
    return (about._meta.concrete_model or type(about))._meta.label_lower, text


_Ids = dict[str, int]
"""Ids by the 32 hexadecimal digits of the idempotency key: parsing a key again as a UUID takes 2 us."""


def _insert_json(connection: Any, rows: Sequence[OutboxEvent], *, delayed: bool) -> _Ids:
    """One JSON parameter for all rows: for 14,000 parameters psycopg would take longer than PostgreSQL."""
    values_of_rows = [
        (place, *_column_values(connection, row), _delay(row)) for place, row in enumerate(rows)
    ]
    times = _times(connection, "delay" if delayed else "")
    values = ", ".join([*_COLUMNS, *times, *_BEGINNING.values()])
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_INTO} SELECT {values} FROM {json_table(_JSON)} "  # noqa: S608
            "ORDER BY place RETURNING idempotency_key::text, id",
            [json_rows(_JSON, values_of_rows)],
        )
        return _by_digits(cursor.fetchall())


def _insert_one_by_one(connection: Any, alias: str, rows: Sequence[OutboxEvent], *, delayed: bool) -> _Ids:
    """SQLite: a short statement, prepared once. Of statements with many rows Django translates each.

    Nobody else writes until the transaction ends, and each id is higher than the one before. So if the first
    and the last differ by the number of rows, the ids are all those between them.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            _insert_sql(connection, delayed=delayed),
            [_values(connection, row, delayed=delayed) for row in rows],
        )
        keys = [row.idempotency_key.hex for row in rows]
        cursor.execute(
            f"SELECT MIN(id), MAX(id) FROM {OutboxEvent._meta.db_table} "  # noqa: S608
            "WHERE idempotency_key IN (%s, %s)",
            [keys[0], keys[-1]],
        )
        first, last = cursor.fetchone()
    if last - first == len(rows) - 1:
        return dict(zip(keys, range(first, last + 1), strict=True))
    return _read_ids(alias, rows)  # a trigger wrote rows in between


def _packets(rows: Sequence[OutboxEvent]) -> Iterator[Sequence[OutboxEvent]]:
    """The rows in their order, in parts whose bodies have at most PACKET bytes together, or one row."""
    start = size = 0
    for place, row in enumerate(rows):
        added = len(row.body.encode()) + _BESIDE_BODY
        if place > start and size + added > PACKET:
            yield rows[start:place]
            start, size = place, 0
        size += added
    yield rows[start:]


def _insert_values(connection: Any, alias: str, rows: Sequence[OutboxEvent], *, delayed: bool) -> _Ids:
    returns = connection.features.can_return_rows_from_bulk_insert
    sql = _insert_sql(connection, len(rows), delayed=delayed)
    with connection.cursor() as cursor:
        cursor.execute(
            f"{sql} RETURNING idempotency_key, id" if returns else sql,
            [value for row in rows for value in _values(connection, row, delayed=delayed)],
        )
        if returns:
            return _by_digits(cursor.fetchall())
    return _read_ids(alias, rows)


def _by_digits(found: Sequence[tuple[str, int]]) -> _Ids:
    """Databases with a type for UUIDs write them with dashes."""
    return {key.replace("-", ""): pk for key, pk in found}


def _read_ids(alias: str, rows: Sequence[OutboxEvent]) -> _Ids:
    stored = OutboxEvent.objects.using(alias).only("idempotency_key")
    found = stored.in_bulk([row.idempotency_key for row in rows], field_name="idempotency_key")
    return {key.hex: row.pk for key, row in found.items()}


def _insert_sql(connection: Any, rows: int = 1, *, delayed: bool) -> str:
    """The INSERT of ``rows`` rows, for the parameters of ``_values``."""
    one, values = _insert_one(*_times(connection, "%s" if delayed else ""))
    return one + f", {values}" * (rows - 1)


@lru_cache(maxsize=16)
def _insert_one(*times: str) -> tuple[str, str]:
    """The INSERT of one row, and its VALUES list. They depend on the arguments alone, so they may be kept."""
    values = f"({', '.join([*['%s'] * len(_COLUMNS), *times, *_BEGINNING.values()])})"
    return f"{_INTO} VALUES {values}", values


def _values(connection: Any, row: OutboxEvent, *, delayed: bool) -> list[Any]:
    values = _column_values(connection, row)
    return [*values, *[_delay(row)] * len(_DELAYS)] if delayed else values


def _times(connection: Any, delay: str) -> tuple[str, str, str]:
    """SQL for each of ``_TIMES``; ``delay`` is SQL for the seconds, empty if there is no delay.

    Almost no event has one, and a database needs longer for the expressions than for the values.
    """
    now = now_sql(connection, "0")
    if not delay:
        return now, now, "NULL"
    later = now_sql(connection, delay)
    return now, later, f"CASE WHEN {delay} > 0 THEN {later} ELSE NULL END"


def _is_delayed(row: OutboxEvent) -> bool:
    return _delay(row) > 0


def _delay(row: OutboxEvent) -> float:
    return float(row.due_at.seconds)  # type: ignore[union-attr]  # unsaved, it is a DatabaseNow(seconds)


def _column_values(connection: Any, row: OutboxEvent) -> list[Any]:
    """The values of ``_COLUMNS``; all but time and idempotency_key are text, the same on every database."""
    values = [*_given(vars(row))]
    values[_TIME] = connection.ops.adapt_datetimefield_value(values[_TIME])
    if not connection.features.has_native_uuid_field:
        values[_KEY] = values[_KEY].hex
    return values


def _written(row: OutboxEvent, alias: str) -> None:
    """Mark the row as saved. The times that the database set are deferred: read on first access."""
    row._state.adding = False
    row._state.db = alias
    for name in _TIMES:
        if hasattr(row.__dict__[name], "resolve_expression"):
            del row.__dict__[name]

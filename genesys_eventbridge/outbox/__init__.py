"""Enqueueing: validate an event, encode it once, and insert its row in the caller's transaction."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, IntegrityError, OperationalError, connections, transaction
from django.db.models import Model
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge import conf, signals, tracing, wake
from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.db import first_write
from genesys_eventbridge.db.transactions import (
    after_commit,
    in_transaction,
    is_conflict,
    kept,
    require_intact,
)
from genesys_eventbridge.errors import IdempotencyConflict, InvalidEvent, NotInTransaction
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.outbox.declarations import declare_event
from genesys_eventbridge.outbox.rows import build_row, insert, insert_many

__all__ = ["add", "aenqueue", "declare_event", "enqueue", "enqueue_many"]

_NOT_ENQUEUED = "The event is not enqueued"


@sensitive_variables()  # Django's error mails show no payload, in this frame or below it
def enqueue(
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
    using: str | None = None,
    standalone: bool = False,
    about: Model | None = None,
) -> OutboxEvent:
    """Write one event to the outbox, in the transaction that saves the business data.

    ``data`` is a JSON value; ``data=None`` is JSON null. ``delay`` is a timedelta or seconds. ``about`` is
    the business object the admin links to. A repeated ``idempotency_key`` with the same content returns the
    existing row. ``source``, ``subject``, ``time``, ``dataschema``, ``datacontenttype`` and ``extensions``
    are the CloudEvents attributes; ``source`` defaults to the setting SOURCE.

    Raises InvalidEvent, which names the field; IdempotencyConflict if the key or ``event_id`` belongs to
    another event; NotInTransaction outside ``atomic()`` unless ``standalone=True``; ImproperlyConfigured
    for an unknown destination or the wrong database; and Django's TransactionManagementError if the
    database has already rolled the transaction back and other code caught that error.
    """
    alias = _join(using, destination, standalone)
    with tracing.enqueueing(destination, on=_traced(destination)) as span:
        row = build_row(
            type,
            data,
            source=source,
            subject=subject,
            time=time,
            dataschema=dataschema,
            datacontenttype=datacontenttype,
            extensions=extensions,
            ordering_key=ordering_key,
            idempotency_key=idempotency_key,
            event_id=event_id,
            delay=delay,
            destination=destination,
            about=about,
        )
        span.about(row.event_id, row.type, row.source)
        with _transaction(alias):
            if idempotency_key is None and event_id is None:
                insert(row, alias)
            else:
                with _conflicts(alias, "enqueue()"):
                    known = _insert_or_known(row, alias)
                if known is not row:
                    return known
            _announce([row], alias)
        return row


@sensitive_variables()
def enqueue_many(
    events: Iterable[Mapping[str, Any]],
    *,
    destination: str = "default",
    using: str | None = None,
    standalone: bool = False,
) -> list[OutboxEvent]:
    """Write many events with a constant number of queries (on MySQL two more for each further MiB).

    Each event is a mapping of ``enqueue``'s arguments: ``{"type": "order.created", "data": {...}}``. Returns
    the rows in the order given, the existing row for a repeated key. Raises what ``enqueue`` raises, with the
    position (``events[3].subject``); then none is written.
    """
    alias = _join(using, destination, standalone)
    events = list(events)
    with tracing.enqueueing(destination, len(events), on=_traced(destination)):
        return _write_many(events, destination, alias)


@sensitive_variables()
def _write_many(events: Sequence[Mapping[str, Any]], destination: str, alias: str) -> list[OutboxEvent]:
    rows: list[OutboxEvent] = []
    named: list[OutboxEvent] = []
    for position, event in enumerate(events):
        row = _row_of_mapping(position, event, destination)
        if event.get("idempotency_key") is not None or event.get("event_id") is not None:
            named.append(row)
        rows.append(row)
    with _transaction(alias), _conflicts(alias, "enqueue_many()") if named else nullcontext():
        if named:
            first_write(alias)
        kept, new = _known_and_new(rows, named, alias) if named else (rows, rows)
        try:
            with transaction.atomic(using=alias, savepoint=bool(named)):
                insert_many(new, alias)
        except IntegrityError as error:
            _known_and_new(rows, named, alias)  # raises a more precise error, if it can
            raise IdempotencyConflict(
                "Another transaction just wrote an idempotency key or event id of one of these events. Call "
                "enqueue_many() again in a new transaction.",
                retryable=True,
            ) from error
        _announce(new, alias)
    return kept


def add(rows: Sequence[OutboxEvent]) -> None:
    """Within a transaction: insert rows of ``build_row`` in this order; wake and signal after the commit.

    Raises IntegrityError if an idempotency key or event id is taken.
    """
    alias = outbox_alias()
    insert_many(rows, alias)
    _announce(list(rows), alias)


def _known_and_new(
    rows: Sequence[OutboxEvent], named: Sequence[OutboxEvent], alias: str
) -> tuple[list[OutboxEvent], list[OutboxEvent]]:
    """The row of each event, existing or new, and the new ones.

    ``named`` are the rows whose key or event id the caller gave. Raises IdempotencyConflict with the
    position.
    """
    taken = _Taken(named, alias) if named else None
    fresh: dict[uuid.UUID, OutboxEvent] = {}
    events: dict[tuple[str, str], OutboxEvent] = {}
    kept = []
    for position, row in enumerate(rows):
        known = taken.known(row, position) if taken else None
        if known is None:
            known = fresh.setdefault(row.idempotency_key, row)
            _same_content(row, known, position)
            if events.setdefault((known.event_id, known.source), known) is not known:
                raise _event_id_is_taken(row, position)
        kept.append(known)
    return kept, list(fresh.values())


@sensitive_variables()
async def aenqueue(
    type: str,  # noqa: A002 - the CloudEvents word
    data: Any = NO_DATA,
    **keywords: Any,
) -> OutboxEvent:
    """``enqueue`` for async code, in its own transaction.

    It is not atomic with anything else. To save business data and the event together, call ``enqueue`` in a
    function that you run with ``sync_to_async``.
    """

    @sensitive_variables()
    def write() -> OutboxEvent:  # a closure, so that asgiref's frames in a traceback show no payload
        return enqueue(type, data, **{**keywords, "standalone": True})

    return await sync_to_async(write)()


def _traced(destination: str) -> bool:
    try:
        return conf.destination(destination).tracing
    except ImproperlyConfigured:
        return False  # ``build_row`` raises it, unless each event names another destination


def _join(using: str | None, destination: str, standalone: bool) -> str:
    alias = outbox_alias()
    if using not in (None, alias):
        raise ImproperlyConfigured(
            f"enqueue(using={using!r}): the outbox lives in database {alias!r}, so an event cannot be "
            f"committed together with data in {using!r}. Call it within transaction.atomic(using={alias!r})."
        )
    if not standalone and conf.destination(destination).require_transaction and not in_transaction(alias):
        raise NotInTransaction(_how_to_join(alias))
    return alias


def _how_to_join(alias: str) -> str:
    """The error text; it names the database if a plain ``atomic()`` would not open its transaction."""
    used = [connection.alias for connection in connections.all(initialized_only=True)]
    elsewhere = [repr(other) for other in used if other != alias and in_transaction(other)]
    atomic = "transaction.atomic()"
    problem = "enqueue() needs a transaction, so that the event is saved if and only if your data is."
    if elsewhere or alias != DEFAULT_DB_ALIAS:
        atomic = f"transaction.atomic(using={alias!r})"
        problem = f"enqueue() needs a transaction on database {alias!r}, where the outbox lives"
        problem += f"; the open one is on {' and '.join(elsewhere)}." if elsewhere else "."
    remedy = f"Wrap both in `with {atomic}:`, or pass standalone=True if the event belongs to no other write."
    return f"{problem} {remedy}"


@contextmanager
def _transaction(alias: str) -> Iterator[None]:
    """The caller's transaction, or one for this call if none is open. Raises if it has been rolled back."""
    connection = connections[alias]
    if connection.in_atomic_block or not connection.get_autocommit():
        require_intact(alias, _NOT_ENQUEUED)
        yield
        require_intact(alias, _NOT_ENQUEUED)
    else:
        with kept(alias, _NOT_ENQUEUED):
            yield


@contextmanager
def _conflicts(alias: str, call: str) -> Iterator[None]:
    """Turn a deadlock or lock timeout with a transaction that writes the same key or event id into an error.

    The database may have rolled back the whole transaction of the caller, so none of it may commit any more.
    """
    try:
        yield
    except OperationalError as error:
        if not is_conflict(error):
            raise
        if connections[alias].in_atomic_block:
            transaction.set_rollback(True, using=alias)
        raise IdempotencyConflict(
            "Another transaction just wrote this idempotency key, this event id or its row, and the database "
            f"cannot continue this transaction. Roll it back, and call {call} again in a new one.",
            retryable=True,
        ) from error


def _row_of_mapping(position: int, event: Mapping[str, Any], destination: str) -> OutboxEvent:
    try:
        if not isinstance(event, Mapping):
            raise InvalidEvent("event", "must be a mapping of enqueue()'s keywords")
        return build_row(**{"destination": destination, **event})
    except InvalidEvent as error:
        raise InvalidEvent(f"events[{position}].{error.field}", error.reason) from error
    except TypeError as error:
        raise InvalidEvent(f"events[{position}]", str(error).replace("build_row()", "enqueue()")) from error


def _insert_or_known(row: OutboxEvent, alias: str) -> OutboxEvent:
    """Insert in a savepoint. If the key is taken, return the existing row if its content is the same.

    The existing row is not locked: the caller's transaction may be long, and a worker may have to write
    that event's outcome. On MySQL and MariaDB a failed INSERT keeps a lock on the conflicting row until the
    transaction ends, even after a rollback to a savepoint, so there a plain read comes first. PostgreSQL
    keeps no lock.
    """
    if connections[alias].vendor == "mysql" and (known := _Taken([row], alias).known(row)):
        return known
    try:
        with transaction.atomic(using=alias):
            insert(row, alias)
        return row
    except IntegrityError as error:
        known = _Taken([row], alias).known(row)
        if known is not None:
            return known
        raise IdempotencyConflict(
            "Another transaction just wrote this idempotency key or event id. Call enqueue() again in a new "
            "transaction.",
            retryable=True,
        ) from error


class _Taken:
    """Rows in the database with the keys or event ids of ``rows``, as this transaction sees them."""

    def __init__(self, rows: Sequence[OutboxEvent], alias: str) -> None:
        stored = OutboxEvent.objects.using(alias)
        keys = {row.idempotency_key for row in rows}
        self._by_key = {row.idempotency_key: row for row in stored.filter(idempotency_key__in=keys)}
        events = {row.event_id for row in rows if row.idempotency_key not in self._by_key}
        twins = stored.filter(event_id__in=events, source__in={row.source for row in rows})
        self._by_event = set(twins.values_list("event_id", "source")) if events else set()

    def known(self, row: OutboxEvent, position: int | None = None) -> OutboxEvent | None:
        """The existing row with this key and content. Raises IdempotencyConflict if key or id is taken."""
        known = self._by_key.get(row.idempotency_key)
        if known is not None:
            _same_content(row, known, position)
        elif (row.event_id, row.source) in self._by_event:
            raise _event_id_is_taken(row, position)
        return known


def _same_content(row: OutboxEvent, known: OutboxEvent, position: int | None) -> None:
    if row.content_sha256 != known.content_sha256:
        raise IdempotencyConflict(
            f"{_of(position, 'idempotency_key')}This idempotency key belongs to event {known.event_id} "
            f"({known.type}), which has different content. Use another key for a different event."
        )


def _event_id_is_taken(row: OutboxEvent, position: int | None) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"{_of(position, 'event_id')}event_id {row.event_id!r} of source {row.source!r} is taken by another "
        "event. Leave event_id out, or pass the idempotency_key of that event."
    )


def _of(position: int | None, field: str) -> str:
    return "" if position is None else f"events[{position}].{field}: "


def _announce(rows: list[OutboxEvent], alias: str) -> None:
    """Wake a worker and send the signal after the commit.

    Without effect if autocommit was switched off by hand: Django does not see that commit.
    """
    connection = connections[alias]
    if connection.in_atomic_block or connection.get_autocommit():
        after_commit(alias, _committed, rows)


def _committed(rows: list[OutboxEvent]) -> None:
    for destination in {row.destination for row in rows}:
        wake.wake(destination)
    if signals.event_enqueued.has_listeners(OutboxEvent):
        for row in rows:
            signals.event_enqueued.send_robust(sender=OutboxEvent, event=row)

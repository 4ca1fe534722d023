"""From a row and its registrations to events in the outbox."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model

from genesys_eventbridge import outbox
from genesys_eventbridge.model_events.changes import UNKNOWN, Change, Difference
from genesys_eventbridge.model_events.payload import attribute, paths, payload, prefetch, text
from genesys_eventbridge.model_events.registry import Registration, label
from genesys_eventbridge.model_events.rows import Needs, reading_from, twin, values_in
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.outbox.rows import can_be_linked

_suppressed: ContextVar[bool] = ContextVar("genesys_eventbridge_suppressed", default=False)


@contextmanager
def suppress_events() -> Iterator[None]:
    """Within this block registered models publish nothing: imports, fixtures, data repairs.

    It nests. It silences this thread or async task, and what it calls, and no other.
    """
    before = _suppressed.get()
    _suppressed.set(True)
    try:
        yield
    finally:
        _suppressed.set(before)


def suppressed() -> bool:
    return _suppressed.get()


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """One event not yet written: its type and the other keywords of ``enqueue``."""

    type: str
    keywords: Mapping[str, Any]


def needs_of(registrations: Iterable[Registration], model: type[Model]) -> Needs:
    """What the events of all these read of one row."""
    first, *others = (registration.needs(model) for registration in registrations)
    for needs in others:
        first |= needs
    return first


def concerns(registration: Registration, model: type[Model], differences: Mapping[str, Difference]) -> bool:
    """Whether the registration publishes an update that changed these columns."""
    watched = registration.watched(model).values()
    return registration.changed is None or any(field.attname in differences for field in watched)


def updated(registration: Registration, model: type[Model], differences: Mapping[str, Difference]) -> Change:
    """The change of one save, as far as the registration names its columns."""
    seen = {
        name: differences[field.attname]
        for name, field in registration.watched(model).items()
        if field.attname in differences
    }
    return Change(
        "updated",
        before={name: before for name, (before, _) in seen.items() if before is not UNKNOWN},
        after={name: after for name, (_, after) in seen.items()},
    )


def created(registration: Registration, row: Model) -> Change:
    return Change("created", after=_watched_values(registration, row))


def deleted(registration: Registration, row: Model) -> Change:
    return Change("deleted", before=_watched_values(registration, row))


def pending(registration: Registration, type_: str, row: Model, change: Change) -> PendingEvent | None:
    """The event of one change of a row, its data as it is now; None if ``when`` says no.

    Each callable is given an object of its own, so that none sees what another did to it.
    """
    with _only_reading(row), reading_from(_alias(row)):
        if registration.when is not None and not registration.when(twin(row), change):
            return None
        if registration.data is not None:
            data = registration.data(twin(row), change)
        else:
            data = payload(row, registration.tree or {})
        return PendingEvent(
            type_,
            {
                "data": data,
                "subject": text(_attribute(row, registration.subject)),
                "ordering_key": text(_attribute(row, registration.ordering_key)),
                "source": text(_source(registration, row)),
                "extensions": _extensions(registration, row),
                "destination": registration.destination,
                # Only a link for staff: the row is saved, too, where the outbox cannot store its key.
                "about": row if can_be_linked(row) else None,
            },
        )


def pending_many(
    registration: Registration, type_: str, changes: Sequence[tuple[Model, Change]]
) -> list[PendingEvent | None]:
    """``pending`` for many rows of one model, with a number of queries that does not grow with theirs."""
    if registration.tree is not None and changes:
        with reading_from(_alias(changes[0][0])):
            prefetch([row for row, _ in changes], paths(registration.tree))
    return [pending(registration, type_, row, change) for row, change in changes]


def write(one: PendingEvent) -> OutboxEvent:
    """One INSERT in the transaction of the change. Raises what ``enqueue`` raises.

    It may be the block of a TestCase, which ``enqueue`` does not take for a transaction of the application.
    """
    return outbox.enqueue(one.type, standalone=True, **one.keywords)


def write_many(many: Iterable[PendingEvent | None]) -> list[OutboxEvent]:
    """All there are, with one call of ``enqueue_many`` per destination."""
    by_destination: dict[str, list[Mapping[str, Any]]] = {}
    for one in filter(None, many):
        events = by_destination.setdefault(one.keywords["destination"], [])
        events.append({"type": one.type, **one.keywords})
    return [
        row
        for destination, events in by_destination.items()
        for row in outbox.enqueue_many(events, destination=destination)
    ]


def same_database(model: type[Model], alias: str) -> None:
    """Raise ImproperlyConfigured where rows written to ``alias`` cannot commit together with their events."""
    if alias != outbox_alias():
        raise ImproperlyConfigured(
            f"{label(model)} publishes events, but this row is written to database {alias!r} and the outbox "
            f"to {outbox_alias()!r}: they cannot commit together (check genesys_eventbridge.E012). Write "
            "both to one database, or wrap this in suppress_events() and call enqueue(..., standalone=True)."
        )


@contextmanager
def _only_reading(row: Model) -> Iterator[None]:
    """Refuse statements that write to the row's table: the event would not say what the row says."""
    connection = connections[_alias(row)]
    models = (type(row), *row._meta.get_parent_list())
    tables = "|".join({re.escape(connection.ops.quote_name(model._meta.db_table)) for model in models})
    writes = re.compile(
        rf"\s*(?:INSERT\s+(?:\w+\s+)*INTO|REPLACE\s+INTO|UPDATE|DELETE\s+(?:(?:{tables})\s+)?FROM)\s+(?:{tables})",
        re.IGNORECASE,
    )

    def refuse(execute: Any, sql: Any, *rest: Any) -> Any:
        if isinstance(sql, str) and writes.match(sql):
            raise ImproperlyConfigured(
                f"publishes() on {label(type(row))}: a callable (data=, when=, subject= ...) writes to the "
                "table of the row that the event describes. It may only read: change the row in save() or in "
                "a signal receiver."
            )
        return execute(sql, *rest)

    with connection.execute_wrapper(refuse):
        yield


def _alias(row: Model) -> str:
    return row._state.db or outbox_alias()


def _watched_values(registration: Registration, row: Model) -> dict[str, Any]:
    watched = registration.watched(type(row))
    values = values_in(row, watched.values())
    return {name: values[field.attname] for name, field in watched.items() if field.attname in values}


def _attribute(row: Model, wanted: Any) -> Any:
    return attribute(twin(row) if callable(wanted) else row, wanted)


def _source(registration: Registration, row: Model) -> Any:
    wanted = registration.source_attribute(type(row))
    return registration.source if wanted is None else _attribute(row, wanted)


def _extensions(registration: Registration, row: Model) -> Mapping[str, Any] | None:
    extensions = registration.extensions
    if extensions is None or isinstance(extensions, Mapping):
        return extensions
    found: Mapping[str, Any] | None = _attribute(row, extensions)
    return found

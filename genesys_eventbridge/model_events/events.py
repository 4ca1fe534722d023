"""Make events from a row and its registrations, and write them to the outbox."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model

from genesys_eventbridge import outbox
from genesys_eventbridge.model_events.changes import UNKNOWN, Change, Difference
from genesys_eventbridge.model_events.payload import content, paths, prefetch
from genesys_eventbridge.model_events.registry import Registration
from genesys_eventbridge.model_events.rows import reading_from, values_in
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.outbox.rows import can_be_linked

_suppressed: ContextVar[bool] = ContextVar("genesys_eventbridge_suppressed", default=False)


@contextmanager
def suppress_events() -> Iterator[None]:
    """Within this block registered models publish nothing; for imports, fixtures and data repairs.

    It may be nested, and applies only to the current thread or async task.
    """
    before = _suppressed.get()
    _suppressed.set(True)
    try:
        yield
    finally:
        _suppressed.set(before)


def suppressed() -> bool:
    return _suppressed.get()


PendingEvent = Mapping[str, Any]
"""One event not yet written: the arguments of ``enqueue``."""


def concerns(registration: Registration, model: type[Model], differences: Mapping[str, Difference]) -> bool:
    """Whether the registration publishes an update that changed these columns."""
    watched = registration.watched(model).values()
    return registration.changed is None or any(field.attname in differences for field in watched)


def updated(registration: Registration, model: type[Model], differences: Mapping[str, Difference]) -> Change:
    """The change of one save, limited to the columns that the registration watches."""
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
    """The event of one change of a row, with its current data; None if ``when`` returns False."""
    (one,) = pending_many(registration, type_, [row], [change])
    return one


def pending_many(
    registration: Registration, type_: str, rows: Sequence[Model], changes: Iterable[Change]
) -> list[PendingEvent | None]:
    """``pending`` for many rows of one model and database, with a constant number of queries.

    ``changes`` has one for each row. It may be a generator: a change is not kept after its event is made.
    """
    if not rows:
        return []
    model, alias = type(rows[0]), _alias(rows[0])
    if not registration.needs(model).runs_code:
        return [_pending(registration, type_, *one) for one in zip(rows, changes, strict=True)]
    with _only_reading(model, alias), reading_from(alias):
        if registration.tree is not None:
            prefetch(rows, paths(registration.tree))
        return [_pending(registration, type_, *one) for one in zip(rows, changes, strict=True)]


def _pending(registration: Registration, type_: str, row: Model, change: Change) -> PendingEvent | None:
    found = content(registration, row, change)
    if found is None:
        return None
    # Only a link for staff, so a key that the outbox cannot store must not prevent the save.
    about = row if can_be_linked(row) else None
    found.update(type=type_, destination=registration.destination, about=about)
    return found


def write(one: PendingEvent) -> OutboxEvent:
    """Enqueue one event in the transaction of the change. Raises what ``enqueue`` raises.

    ``standalone``, because that transaction may be the one of a TestCase, which ``enqueue`` does not count.
    """
    return outbox.enqueue(**one, standalone=True)


def write_many(many: Iterable[PendingEvent | None]) -> list[OutboxEvent]:
    """Enqueue all that are not None, with one ``enqueue_many`` call per destination."""
    by_destination: dict[str, list[PendingEvent]] = {}
    for one in filter(None, many):
        by_destination.setdefault(one["destination"], []).append(one)
    return [
        row
        for destination, events in by_destination.items()
        for row in outbox.enqueue_many(events, destination=destination)
    ]


def same_database(model: type[Model], alias: str) -> None:
    """Raise ImproperlyConfigured if rows in ``alias`` cannot be committed together with their events."""
    if alias != outbox_alias():
        raise ImproperlyConfigured(
            f"{model._meta.label} publishes events, but this row is written to database {alias!r} and the "
            f"outbox is in {outbox_alias()!r}: they cannot be committed together (genesys_eventbridge.E012). "
            "Write both to one database, or wrap this in suppress_events() and call enqueue(..., "
            "standalone=True)."
        )


@contextmanager
def _only_reading(model: type[Model], alias: str) -> Iterator[None]:
    """Refuse statements that write to the row's table: the event would no longer match the row."""
    writes = _writes_to(model, alias)

    def refuse(execute: Any, sql: Any, *rest: Any) -> Any:
        if isinstance(sql, str) and writes.match(sql):
            raise ImproperlyConfigured(
                f"publishes() on {model._meta.label}: a callable (data=, when=, subject=, ...) writes to the "
                "table of the row that the event describes. Callables may only read; change the row in "
                "save() or in a signal receiver."
            )
        return execute(sql, *rest)

    with connections[alias].execute_wrapper(refuse):
        yield


@cache
def _writes_to(model: type[Model], alias: str) -> re.Pattern[str]:
    """Matches statements that write to the table of this model or of a parent."""
    quoted = connections[alias].ops.quote_name
    models = (model, *model._meta.get_parent_list())
    tables = "|".join({re.escape(quoted(one._meta.db_table)) for one in models})
    return re.compile(
        rf"\s*(?:INSERT\s+(?:\w+\s+)*INTO|REPLACE\s+INTO|UPDATE|DELETE\s+(?:(?:{tables})\s+)?FROM)\s+(?:{tables})",
        re.IGNORECASE,
    )


def _alias(row: Model) -> str:
    return row._state.db or outbox_alias()


def _watched_values(registration: Registration, row: Model) -> dict[str, Any]:
    watched = registration.watched(type(row))
    values = values_in(row, watched.values())
    return {name: values[field.attname] for name, field in watched.items() if field.attname in values}

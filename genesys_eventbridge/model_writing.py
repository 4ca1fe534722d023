"""A registration and what happened to an instance -> an event in the outbox."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from genesys_eventbridge import outbox
from genesys_eventbridge.model_changes import UNKNOWN, Change, Difference, is_expression, values_of
from genesys_eventbridge.model_payload import attribute, columns, paths, payload, prefetch, settled, text
from genesys_eventbridge.model_registry import Attribute, Registration, label
from genesys_eventbridge.models import OutboxEvent, outbox_alias

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
class Draft:
    """One event not yet written: its type and the other keywords of ``enqueue``."""

    type: str
    keywords: Mapping[str, Any]


def updated(
    registration: Registration, model: type[Model], differences: Mapping[str, Difference]
) -> Change | None:
    """The change of one save as this registration sees it; None where it does not concern it."""
    seen = {
        name: differences[field.attname]
        for name, field in registration.watched(model).items()
        if field.attname in differences
    }
    if registration.changed is not None and not seen:
        return None
    return Change(
        "updated",
        before={name: before for name, (before, _) in seen.items() if before is not UNKNOWN},
        after={name: after for name, (_, after) in seen.items()},
    )


def created(registration: Registration, instance: Model) -> Change:
    return Change("created", after=_watched_values(registration, instance))


def deleted(registration: Registration, instance: Model) -> Change:
    return Change("deleted", before=_watched_values(registration, instance))


def draft(
    registration: Registration, type_: str, instance: Model, change: Change, alias: str
) -> Draft | None:
    """The event of one change, its data as it is now; None where ``when`` says no."""
    (known,) = settled([instance], alias, _needed(registration, type(instance), [change]))
    return _draft(registration, type_, known, change)


def drafts(
    registration: Registration, type_: str, changes: Sequence[tuple[Model, Change]], alias: str
) -> list[Draft]:
    """``draft`` for many instances, with a number of queries that does not grow with theirs."""
    if not changes:
        return []
    instances = [instance for instance, _ in changes]
    needed = _needed(registration, type(instances[0]), [change for _, change in changes])
    known = settled(instances, alias, needed)
    if registration.tree is not None:
        prefetch(known, paths(registration.tree))
    made = (
        _draft(registration, type_, instance, change)
        for instance, (_, change) in zip(known, changes, strict=True)
    )
    return [one for one in made if one is not None]


def write(one: Draft, *, standalone: bool = False) -> OutboxEvent:
    """One INSERT in the transaction of the save. Raises what ``enqueue`` raises."""
    return outbox.enqueue(one.type, standalone=standalone, **one.keywords)


def write_many(many: Iterable[Draft]) -> list[OutboxEvent]:
    """All of them, with one call of ``enqueue_many`` a destination."""
    by_destination: dict[str, list[Mapping[str, Any]]] = {}
    for one in many:
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


def _needed(registration: Registration, model: type[Model], changes: Sequence[Change]) -> Collection[str]:
    """The columns that the event tells of, by attname."""
    unknown = {name for change in changes for name, value in change.after.items() if value is UNKNOWN}
    told = columns(model, registration.tree) if registration.tree is not None else frozenset()
    watched = registration.watched(model) if unknown else {}
    return told | {watched[name].attname for name in unknown}


def _watched_values(registration: Registration, instance: Model) -> dict[str, Any]:
    watched = registration.watched(type(instance))
    values = values_of(instance, watched.values())
    return {name: values[field.attname] for name, field in watched.items() if field.attname in values}


def _draft(registration: Registration, type_: str, instance: Model, change: Change) -> Draft | None:
    change = _with_read_values(registration, instance, change)
    if registration.when is not None and not registration.when(instance, change):
        return None
    if registration.data is not None:
        data = registration.data(instance, change)
    else:
        data = payload(instance, registration.tree or {})
    return Draft(
        type_,
        {
            "data": data,
            "subject": text(attribute(instance, registration.subject)),
            "ordering_key": text(attribute(instance, registration.ordering_key)),
            "source": text(_source(registration.source, instance)),
            "extensions": _extensions(registration, instance),
            "destination": registration.destination,
            "about": instance,
        },
    )


def _with_read_values(registration: Registration, instance: Model, change: Change) -> Change:
    """What only the database knew when the change was seen: by now the instance holds it."""
    if not any(value is UNKNOWN or is_expression(value) for value in change.after.values()):
        return change
    values = _watched_values(registration, instance)
    after = {name: values[name] for name in change.after if name in values}
    return Change(change.kind, change.before, after, change.added, change.removed)


def _source(wanted: Attribute | None, instance: Model) -> Any:
    """A source is an attribute of the model if it has one of that name, else the source itself."""
    if isinstance(wanted, str) and not hasattr(type(instance), wanted.partition(".")[0]):
        return wanted
    return attribute(instance, wanted)


def _extensions(registration: Registration, instance: Model) -> Mapping[str, Any] | None:
    extensions = registration.extensions
    if extensions is None or isinstance(extensions, Mapping):
        return extensions
    found: Mapping[str, Any] | None = attribute(instance, extensions)
    return found

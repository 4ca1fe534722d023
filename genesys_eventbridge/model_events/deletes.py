"""Deletes: make the event while the row and its related rows still exist, and write it after the delete.

Django's Collector.delete is wrapped once, for models that publish: rows and events share its transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import router
from django.db.models import Model
from django.db.models.deletion import Collector
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.db.transactions import around, kept
from genesys_eventbridge.model_events.events import (
    PendingEvent,
    deleted,
    pending_many,
    same_database,
    suppressed,
    write,
)
from genesys_eventbridge.model_events.notes import Notes
from genesys_eventbridge.model_events.registry import Registration, concrete, needs_of, plan, unwrapped
from genesys_eventbridge.model_events.rows import rows_of

Row = tuple[type[Model], Any]
"""A row of one table: the concrete model and its primary key."""
Events = dict[Registration, PendingEvent]
_MARK = "_eventbridge_wrapped"


class _Run:
    """One run of the collector: the rows it deletes, and their events."""

    def __init__(self, instances: Mapping[type[Model], Iterable[Model]], alias: str) -> None:
        self.instances = {model: list(several) for model, several in instances.items()}
        self.alias = alias
        self.has_read = False
        self.events: dict[Row, Events] = {}
        self.silent: set[tuple[Registration, Row]] = set()
        rows = {(concrete(model), one.pk) for model, several in self.instances.items() for one in several}
        for model, several in self.instances.items():
            for registration in plan(model).kinds["deleted"]:
                for instance in several:
                    parents = list(_parent_rows(registration, instance))
                    # A child and its parents are one event. With keep_parents=True the object is not deleted.
                    self.silent |= {(registration, row) for row in parents}
                    if parents and rows.isdisjoint(parents):
                        self.silent.add((registration, (concrete(model), instance.pk)))

    @sensitive_variables()  # Django's error mails show no payload, in this frame or below it
    def read_all(self) -> None:
        self.has_read = True
        for model, several in self.instances.items():
            self.read(model, several)

    def read(self, model: type[Model], instances: Sequence[Model]) -> None:
        """Make the events of these rows, with a constant number of queries."""
        registrations = plan(model).kinds["deleted"]
        speaking = [
            instance
            for instance in instances
            if any((one, (concrete(model), instance.pk)) not in self.silent for one in registrations)
        ]
        found = _events(model, speaking, self.alias)
        for instance in instances:
            row = (concrete(model), instance.pk)
            self.events[row] = {
                one: event
                for one, event in found.get(instance.pk, {}).items()
                if (one, row) not in self.silent
            }


class _BeforeFirstStatement(list[Any]):
    """The collector's fast deletes, iterated after the last ``pre_delete`` and before any other statement."""

    def __init__(self, fast_deletes: Iterable[Any], run: _Run) -> None:
        super().__init__(fast_deletes)
        self.run = run

    def __iter__(self) -> Iterator[Any]:
        self.run.read_all()
        return super().__iter__()


#: The runs of the collector that have not ended, outermost first.
runs: ContextVar[tuple[_Run, ...]] = ContextVar("genesys_eventbridge_deletes", default=())
#: Events of rows whose ``pre_delete`` was not sent by the collector.
_others: Notes[Events] = Notes()


def wrap_collector() -> None:
    """Wrap Collector.delete: make the events after all receivers of ``pre_delete`` have run.

    The run raises if its transaction was rolled back.
    """
    original: Callable[..., Any] = Collector.delete
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def delete(self: Any) -> Any:
        published = [model for model in self.data if plan(model).kinds["deleted"]]
        if not published or suppressed():
            return original(self)
        run = _Run({model: self.data[model] for model in published}, self.using)
        self.fast_deletes = _BeforeFirstStatement(self.fast_deletes, run)
        keys = [(one, model, one.pk) for model, several in self.data.items() for one in several]
        try:
            with around(self.using, _not_deleted(published[0])), _open(run):
                return original(self)
        except BaseException:
            for instance, model, key in keys:  # the collector has set the keys of deleted instances to None
                setattr(instance, model._meta.pk.attname, key)
            raise

    setattr(delete, _MARK, True)
    Collector.delete = delete  # type: ignore[method-assign]


@sensitive_variables()
def before(sender: type[Model], *, instance: Model | None = None, using: str | None = None, **_: Any) -> None:
    """Receiver of ``pre_delete`` for signals sent by other code; the collector's rows are read in its run."""
    if instance is None or suppressed() or runs.get():
        return
    instance = unwrapped(instance)
    _others.put(instance, _events(sender, [instance], _alias(instance, using)).get(instance.pk, {}))


@sensitive_variables()
def after(sender: type[Model], *, instance: Model | None = None, using: str | None = None, **_: Any) -> None:
    """Receiver of ``post_delete``: write the events of a deleted row."""
    if instance is None or suppressed():
        return
    instance = unwrapped(instance)
    alias = _alias(instance, using)
    events = _others.pop(instance)
    for run in runs.get():
        if sender in run.instances and not run.has_read:
            raise RuntimeError(
                f"{_not_deleted(sender)}: this version of Django deletes rows in an order that "
                "genesys_eventbridge does not expect, so its event would be lost. Please report it."
            )
        events = run.events.pop((concrete(sender), instance.pk), events)
    with kept(alias, _not_deleted(sender)):
        if events is None:  # nothing was read before; after a soft delete the row still exists
            events = _events(sender, [instance], alias, lock=False).get(instance.pk, {})
        _write(sender, events, alias)


@sensitive_variables()
def row_saved(instance: Model, alias: str, *, created: bool) -> None:
    """A receiver saved a row that is about to be deleted, or created it again after its delete."""
    key = (concrete(type(instance)), instance.pk)
    for run in runs.get():
        if key not in run.events:
            continue
        if created:
            _write(type(instance), run.events[key], alias)
            run.events[key] = {}  # nothing more to write at its post_delete
        else:
            run.read(type(instance), [instance])


def _events(
    model: type[Model], instances: Sequence[Model], alias: str, *, lock: bool = True
) -> dict[Any, Events]:
    """Primary key -> the event of each registration, for the rows of these instances."""
    registrations = plan(model).kinds["deleted"]
    needs = needs_of(registrations, model)
    found = rows_of(instances, alias, needs, [{}] * len(instances), lock=lock)
    rows = {instance.pk: row for instance, row in zip(instances, found, strict=True) if row is not None}
    events: dict[Any, Events] = {key: {} for key in rows}
    for registration in registrations:
        changes = (deleted(registration, row) for row in rows.values())
        made = pending_many(registration, registration.types["deleted"], [*rows.values()], changes)
        for key, one in zip(rows, made, strict=True):
            if one is not None:
                events[key][registration] = one
    return events


def _write(sender: type[Model], events: Events, alias: str) -> None:
    for one in events.values():
        same_database(sender, alias)
        write(one)


def _not_deleted(model: type[Model]) -> str:
    return f"This {model._meta.label} is not deleted"


def _alias(instance: Model, using: str | None) -> str:
    return using or instance._state.db or router.db_for_write(type(instance), instance=instance)


@contextmanager
def _open(run: _Run) -> Iterator[None]:
    token = runs.set((*runs.get(), run))
    try:
        yield
    finally:
        runs.reset(token)


def _parent_rows(registration: Registration, instance: Model) -> Iterator[Row]:
    """The rows in parent tables that the registration also applies to (multi-table inheritance)."""
    meta = concrete(type(instance))._meta
    for parent in meta.get_parent_list():
        link = meta.get_ancestor_link(parent)
        if link is not None and registration in plan(parent).kinds["deleted"]:
            yield concrete(parent), getattr(instance, link.attname)

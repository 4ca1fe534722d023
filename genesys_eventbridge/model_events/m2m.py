"""Many-to-many changes: one event for each registered object whose related set changed, from either side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.models import ManyToManyField, Model, QuerySet
from django.db.models.fields.related import lazy_related_operation
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.db.transactions import around, kept
from genesys_eventbridge.model_events import events, saves
from genesys_eventbridge.model_events.changes import Change
from genesys_eventbridge.model_events.notes import Notes
from genesys_eventbridge.model_events.registry import Registration, needs_of, plan, registrations, unwrapped
from genesys_eventbridge.model_events.rows import read_rows, row_of

_MARK = "_eventbridge_wrapped"
#: For an object: field -> keys that are about to be removed from its set.
_leaving: Notes[dict[Any, frozenset[Any]]] = Notes()


def wrap_managers(model: type[Model], name: str) -> None:
    """Make changes of the set, from both sides, raise if their transaction was rolled back."""
    field: Any = model._meta.get_field(name)

    def wrap(owner: type[Model], target: type[Model], through: type[Model]) -> None:  # noqa: ARG001
        sides = [(owner, name), (target, field.remote_field.accessor_name)]
        for side, attribute in sides:
            descriptor = vars(side).get(attribute)
            if descriptor is not None:  # a hidden relation has no descriptor on the other side
                _wrap_manager(descriptor.related_manager_cls, f"{owner._meta.label}.{name}")

    lazy_related_operation(wrap, field.model, field.remote_field.model, field.remote_field.through)


@sensitive_variables()  # Django's error mails show no payload, in this frame or below it
def changed(
    sender: type[Model],
    *,
    instance: Model | None = None,
    action: str | None = None,
    reverse: bool | None = None,
    model: type[Model] | None = None,
    pk_set: set[Any] | None = None,
    using: str | None = None,
    raw: bool = False,
    **_: Any,
) -> None:
    """Receiver of ``m2m_changed``, sent by Django or other code, which may leave out any argument."""
    if instance is None or raw or events.suppressed():
        return
    instance = unwrapped(instance)
    if saves.is_raw(instance):
        return
    alias = using or router.db_for_write(sender, instance=instance)
    others = None if pk_set is None else frozenset(pk_set)
    for side in _sides(sender, instance, reverse, model, alias):
        if action in ("pre_remove", "pre_clear"):
            (_leaving.get(instance) or _leaving.put(instance, {}))[side.field] = side.members(others)
        elif action in ("post_remove", "post_clear"):
            left = (_leaving.get(instance) or {}).pop(side.field, None)
            _write(side, side.keys_of(others) if left is None else left, added=False)
        elif action == "post_add":
            _write(side, side.keys_of(others), added=True)
    if not _leaving.get(instance):
        _leaving.pop(instance)


@dataclass(frozen=True, slots=True)
class _Side:
    """The relation seen from the signal's instance; with ``reverse`` the field is on the other side."""

    field: ManyToManyField[Any, Any]
    owner: type[Model]
    registrations: tuple[tuple[str, Registration], ...]
    """Event type and registration."""
    instance: Model
    reverse: bool
    alias: str

    def members(self, wanted: frozenset[Any] | None = None) -> frozenset[Any]:
        """The keys at the other end; of ``wanted`` only those in the set, which Django does not report."""
        here, there = self._keys()
        rows: QuerySet[Model] = QuerySet(here.model, using=self.alias)
        rows = rows.filter(**{here.name: here.get_foreign_related_value(self.instance)[0]})
        if wanted is not None:
            rows = rows.filter(**{f"{there.name}__in": wanted})
        return frozenset(rows.values_list(f"{there.name}__pk", flat=True))

    def keys_of(self, others: frozenset[Any] | None) -> frozenset[Any] | None:
        """The primary keys for the signal's ``pk_set``, which has other values with ``to_field``."""
        target = self._keys()[1].target_field
        if not others or target.primary_key:
            return others
        rows: QuerySet[Model] = QuerySet(target.model, using=self.alias)
        return frozenset(rows.filter(**{f"{target.name}__in": others}).values_list("pk", flat=True))

    def changes(self, others: frozenset[Any] | None, *, added: bool) -> list[tuple[Model, Change]]:
        """The row of each owner of the field, with what was added to its set or removed from it."""
        needs = needs_of([one for _, one in self.registrations], self.owner)
        if not self.reverse:
            row = row_of(self.instance, self.alias, needs)
            return [] if row is None else [(row, self._change(others or frozenset(), added))]
        if others is None:  # the sender of the signal did not give them
            others = self.members() if added else frozenset()
        rows = read_rows(self.owner, others, self.alias, needs)
        own = getattr(self.instance, self._keys()[0].related_model._meta.pk.attname)
        change = self._change(frozenset({own}), added)
        return [(rows[key], change) for key in sorted(rows)]

    def _keys(self) -> tuple[Any, Any]:
        """The foreign keys of the through model: to the instance, and to the other end."""
        through: Any = self.field.remote_field.through
        names = self.field.m2m_field_name(), self.field.m2m_reverse_field_name()
        here, there = (through._meta.get_field(name) for name in (reversed(names) if self.reverse else names))
        return here, there

    def _change(self, others: frozenset[Any], added: bool) -> Change:
        return Change(self.field.name, added=others) if added else Change(self.field.name, removed=others)


def _sides(
    sender: type[Model], instance: Model, reverse: bool | None, model: type[Model] | None, alias: str
) -> Iterator[_Side]:
    for owner in _owners(sender, instance, reverse, model):
        by_field: dict[Any, list[tuple[str, Registration]]] = {}
        for name, type_, registration in plan(owner).m2m:
            field = owner._meta.get_field(name)
            if isinstance(field, ManyToManyField) and field.remote_field.through is sender:
                by_field.setdefault(field, []).append((type_, registration))
        for field, several in by_field.items():
            backwards = not isinstance(instance, field.model) if reverse is None else reverse
            yield _Side(field, owner, tuple(several), instance, backwards, alias)


def _owners(
    sender: type[Model], instance: Model, reverse: bool | None, model: type[Model] | None
) -> list[type[Model]]:
    """The classes whose sets change; if the signal does not tell, those registered for this relation."""
    if reverse is False or (reverse is None and plan(type(instance)).m2m):
        return [type(instance)]
    if reverse and model is not None:
        return [model]
    known = {one.model: None for one in registrations() if one.m2m and not one.model._meta.abstract}
    return [
        owner
        for owner in known
        if any(field.remote_field.through is sender for field in owner._meta.many_to_many)
    ]


def _write(side: _Side, others: frozenset[Any] | None, *, added: bool) -> None:
    if others is not None and not others:
        return
    with kept(side.alias, _not_changed(f"{side.owner._meta.label}.{side.field.name}")):
        changes = side.changes(others, added=added)
        for type_, registration in side.registrations:
            rows, seen = [row for row, _ in changes], [change for _, change in changes]
            made = events.pending_many(registration, type_, rows, seen)
            if any(made):
                events.same_database(side.owner, side.alias)
                events.write_many(made)


def _not_changed(name: str) -> str:
    return f"This {name} is not changed"


def _wrap_manager(manager: Any, name: str) -> None:
    for method in ("add", "remove", "clear", "set"):
        original: Callable[..., Any] = getattr(manager, method)
        if not hasattr(original, _MARK):
            setattr(manager, method, _kept(original, name))


def _kept(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if events.suppressed():
            return original(self, *args, **kwargs)
        alias = router.db_for_write(self.through, instance=self.instance)
        with around(alias, _not_changed(name)):
            return original(self, *args, **kwargs)

    setattr(method, _MARK, True)
    return method

"""Many-to-many changes: one event for each registered object whose set changed, from either side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import ManyToManyField, Model

from genesys_eventbridge import model_writing
from genesys_eventbridge.model_changes import Change
from genesys_eventbridge.model_registry import Registration, plan

_LEAVING = "_eventbridge_leaving"
_RAW = "_eventbridge_raw"


def changed(
    sender: type[Model],
    *,
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
    raw: bool = False,
    **_: Any,
) -> None:
    """Django sends this inside the transaction of ``add``, ``remove``, ``set`` and ``clear``."""
    if raw or _RAW in vars(instance) or model_writing.suppressed():
        return
    owner = model if reverse else type(instance)
    for name, type_, registration in plan(owner).m2m:
        field = owner._meta.get_field(name)
        if isinstance(field, ManyToManyField) and field.remote_field.through is sender:
            side = _Side(field, instance, reverse, using)
            if action in ("pre_remove", "pre_clear"):
                vars(instance).setdefault(_LEAVING, {})[field] = side.members(pk_set)
            elif action in ("post_remove", "post_clear"):
                _write(registration, type_, side, vars(instance)[_LEAVING][field], added=False)
            elif action == "post_add":
                _write(registration, type_, side, frozenset(pk_set or ()), added=True)
    if action in ("post_remove", "post_clear"):
        vars(instance).pop(_LEAVING, None)


def mark_raw(instance: Model, raw: bool) -> None:
    """Before Django 6.1 the signal does not say that loaddata fills the set: the save before it did."""
    if raw:
        vars(instance)[_RAW] = True
    else:
        vars(instance).pop(_RAW, None)


@dataclass(frozen=True, slots=True)
class _Side:
    """The relation as the instance of the signal sees it; its field belongs to the other side if reverse."""

    field: ManyToManyField[Any, Any]
    instance: Model
    reverse: bool
    using: str

    def members(self, wanted: set[Any] | None) -> frozenset[Any]:
        """The keys at the other end, of ``wanted`` only those that are there: Django tells it of none."""
        here, there = self.field.m2m_field_name(), self.field.m2m_reverse_field_name()
        if self.reverse:
            here, there = there, here
        through: type[Model] = self.field.remote_field.through  # type: ignore[assignment]
        rows = through._base_manager.using(self.using).filter(**{here: self.instance.pk})
        if wanted is not None:
            rows = rows.filter(**{f"{there}__in": wanted})
        return frozenset(rows.values_list(there, flat=True))

    def changes(self, *, added: bool, others: frozenset[Any]) -> Iterator[tuple[Model, Change]]:
        """Each owner of the field, with what was added to its set or removed from it."""
        if not self.reverse:
            yield self.instance, _change(self.field, added, others)
            return
        owners = self.field.model._base_manager.using(self.using).filter(pk__in=others).order_by("pk")
        for owner in owners:
            yield owner, _change(self.field, added, frozenset({self.instance.pk}))


def _change(field: ManyToManyField[Any, Any], added: bool, others: frozenset[Any]) -> Change:
    return Change(field.name, added=others) if added else Change(field.name, removed=others)


def _write(
    registration: Registration, type_: str, side: _Side, others: frozenset[Any], *, added: bool
) -> None:
    if not others:
        return
    changes = list(side.changes(added=added, others=others))
    made = model_writing.drafts(registration, type_, changes, side.using)
    if made:
        model_writing.same_database(side.field.model, side.using)
        model_writing.write_many(made)

"""Deletes: the event is made while the row and all around it are still there, and written when it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Model

from genesys_eventbridge import model_writing
from genesys_eventbridge.model_registry import Registration, concrete, plan
from genesys_eventbridge.model_writing import Draft

_KEY = "_eventbridge_deletion"
Row = tuple[type[Model], Any]
"""A row of one table: the concrete model and its primary key."""


class _Deletion:
    """One run of Django's collector, which sends every pre_delete before the first post_delete."""

    def __init__(self) -> None:
        self.open = 0
        self.rows: set[Row] = set()
        self.drafts: dict[tuple[Registration, type[Model], Any], Draft | None] = {}
        self.spoken_for: set[tuple[Registration, Row]] = set()


def before(sender: type[Model], instance: Model, using: str, origin: Any = None, **_: Any) -> None:
    """Make the events, from the row and its relations as they still are."""
    holder = vars(instance if origin is None else origin)
    deletion = holder.setdefault(_KEY, _Deletion())
    deletion.open += 1
    deletion.rows.add((concrete(sender), instance.pk))
    for registration in plan(sender).kinds["deleted"]:
        for row in _parent_rows(registration, instance):
            deletion.spoken_for.add((registration, row))
        if not model_writing.suppressed():
            one = _draft(registration, instance, using)
            deletion.drafts[registration, sender, instance.pk] = one


def after(sender: type[Model], instance: Model, using: str, origin: Any = None, **_: Any) -> None:
    """Write the events of a row that is gone: one for a child and its parent rows together."""
    holder = vars(instance if origin is None else origin)
    deletion = holder.get(_KEY) or _Deletion()
    row = (concrete(sender), instance.pk)
    for registration in plan(sender).kinds["deleted"]:
        key = (registration, sender, instance.pk)
        parents = list(_parent_rows(registration, instance))
        stays = bool(parents) and deletion.rows.isdisjoint(parents)  # delete(keep_parents=True)
        if stays or (registration, row) in deletion.spoken_for or model_writing.suppressed():
            continue
        one = deletion.drafts[key] if key in deletion.drafts else _draft(registration, instance, using)
        if one is not None:
            model_writing.same_database(sender, using)
            model_writing.write(one)
    deletion.open -= 1
    if deletion.open <= 0:
        holder.pop(_KEY, None)


def _parent_rows(registration: Registration, instance: Model) -> Iterator[Row]:
    """The rows of parent tables that the registration speaks for, too (multi-table inheritance)."""
    meta = concrete(type(instance))._meta
    for parent in meta.get_parent_list():
        link = meta.get_ancestor_link(parent)
        if link is not None and registration in plan(parent).kinds["deleted"]:
            yield concrete(parent), getattr(instance, link.attname)


def _draft(registration: Registration, instance: Model, using: str) -> Draft | None:
    change = model_writing.deleted(registration, instance)
    return model_writing.draft(registration, registration.types["deleted"], instance, change, using)

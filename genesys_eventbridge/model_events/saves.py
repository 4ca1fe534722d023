"""Saves: write the event right after the row, before any receiver of ``post_save`` runs.

Two methods of a registered model are wrapped: ``save_base``, to keep the row and its events in one
transaction even in autocommit mode, where Django sends ``post_save`` after its own commit; and
``_save_table``, which runs the statements, to know the row before and after them. If a save does not pass
through it, or other code sends ``post_save``, the receiver reads the row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from django.db import connections, router
from django.db.models import Model
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.db.transactions import around, kept
from genesys_eventbridge.model_events import deletes, events
from genesys_eventbridge.model_events.changes import Difference, Values, differences
from genesys_eventbridge.model_events.columns import is_expression, saves_as_django
from genesys_eventbridge.model_events.registry import Plan, concrete, needs_of, plan, unwrapped
from genesys_eventbridge.model_events.rows import (
    NOT_WRITTEN,
    Written,
    is_there,
    known_values,
    read_values,
    row_of,
    values_in,
)

_MARK = "_eventbridge_wrapped"


@dataclass(slots=True, repr=False)  # Django's error mails show no payload
class _Save:
    """One call of ``save_base`` that has not returned."""

    instance: Model
    planned: Plan
    alias: str
    update_fields: Collection[str] | None
    force_insert: bool
    force_update: bool
    begun: bool = False
    held: Values = field(default_factory=dict)
    """What the instance held when the save began."""
    before: Values | None = None
    untouched: bool = False
    """Whether the save cannot have changed a watched column."""
    recorded: bool = False
    announced: bool = False
    """Whether Django's own ``post_save`` has been received."""


_saves: ContextVar[tuple[_Save, ...]] = ContextVar("genesys_eventbridge_saves", default=())
#: The object that loaddata saved last. Before Django 6.1 ``m2m_changed`` has no ``raw``.
_raw: ContextVar[ref[Model] | None] = ContextVar("genesys_eventbridge_raw", default=None)


def wrap(model: type[Model]) -> None:
    """Wrap the two methods, once for a class and its subclasses."""
    for name, wrapper in (("save_base", _save_base), ("_save_table", _save_table)):
        if not getattr(getattr(model, name, None), _MARK, False):
            _install(model, name, wrapper)


@sensitive_variables()  # Django's error mails show no payload, in this frame or below it
def received(
    sender: type[Model],
    *,
    instance: Model | None = None,
    created: bool | None = None,
    raw: bool = False,
    using: str | None = None,
    **_: Any,
) -> None:
    """Receiver of ``post_save``, sent by Django or other code, which may leave out any argument."""
    if instance is None:
        return
    instance = unwrapped(instance)
    if raw:
        _raw.set(ref(instance))
    elif is_raw(instance):
        _raw.set(None)
    if raw or events.suppressed():
        return
    save = _current(instance)
    if save is not None and save.recorded and not save.announced:
        save.announced = True
        return
    alias = using or instance._state.db or router.db_for_write(sender, instance=instance)
    planned = plan(type(instance))
    kind = "created" if created else "updated"
    if planned.kinds[kind]:
        with kept(alias, _not_saved(type(instance))):
            _record(instance, planned, alias, kind)
    else:
        deletes.row_saved(instance, alias, created=kind == "created")


def is_raw(instance: Model) -> bool:
    """Whether loaddata saved this object, and no normal save has followed."""
    last = _raw.get()
    return last is not None and last() is instance


def _install(model: type[Model], name: str, wrapper: Callable[..., Any]) -> None:
    own = vars(model).get(name)

    def original(self: Model) -> Callable[..., Any]:
        bound: Callable[..., Any] = getattr(super(model, self), name) if own is None else own.__get__(self)
        return bound

    @functools.wraps(getattr(model, name))
    def method(self: Model, *args: Any, **kwargs: Any) -> Any:
        return wrapper(original(self), self, *args, **kwargs)

    setattr(method, _MARK, True)
    setattr(model, name, method)


def _save_base(original: Callable[..., None], self: Model, *args: Any, **kwargs: Any) -> None:
    raw, force_insert, force_update, using, update_fields = _save_arguments(*args, **kwargs)
    planned = plan(type(self))
    if raw or not planned.saves or events.suppressed():
        return original(*args, **kwargs)
    alias = using or router.db_for_write(type(self), instance=self)
    save = _Save(self, planned, alias, update_fields, bool(force_insert), force_update)
    with _transaction(planned, type(self), alias), _open(save):
        return original(*args, **kwargs)


def _save_table(original: Callable[..., Any], self: Model, *args: Any, **kwargs: Any) -> Any:
    save = _unrecorded(self)
    if save is None:
        return original(*args, **kwargs)
    if not save.begun:  # the tables of parents come first
        save.begun = True
        save.before = _row_before(save)
        save.held = dict(vars(self))
    updated = original(*args, **kwargs)
    if save.recorded:  # by the wrapper of a parent class, which was registered after this one
        return updated
    if _table_argument(*args, **kwargs) is self._meta.concrete_model:
        save.recorded = True
        _record_save(save, inserted=not updated)
    return updated


def _save_arguments(
    raw: bool = False,
    force_insert: Any = False,
    force_update: bool = False,
    using: str | None = None,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> tuple[bool, Any, bool, str | None, Collection[str] | None]:
    return raw, force_insert, force_update, using, update_fields


def _table_argument(raw: bool = False, cls: type[Model] | None = None, *_: Any, **__: Any) -> Any:  # noqa: ARG001
    return cls


@contextmanager
def _open(save: _Save) -> Iterator[None]:
    token = _saves.set((*_saves.get(), save))
    try:
        yield
    finally:
        _saves.reset(token)


def _current(instance: Model) -> _Save | None:
    return next((save for save in reversed(_saves.get()) if save.instance is instance), None)


def _unrecorded(instance: Model) -> _Save | None:
    save = _current(instance)
    return None if save is None or save.recorded else save


def _transaction(planned: Plan, model: type[Model], alias: str) -> AbstractContextManager[None]:
    """The transaction of a save. With ``atomic=False`` none is opened, but an open one must stay intact."""
    wanted = any(one.atomic for one in planned.saves) or connections[alias].in_atomic_block
    return around(alias, _not_saved(model)) if wanted else nullcontext()


def _not_saved(model: type[Model]) -> str:
    return f"This {model._meta.label} is not saved"


def _row_before(save: _Save) -> Values | None:
    """The watched columns of the row before the save; None if nothing is watched or there is no row."""
    fields = list(save.planned.watched)
    if not fields or _inserts(save):
        return None
    if save.update_fields is not None:
        model = type(save.instance)
        written = Written.by_save(save.instance, save.update_fields).columns
        registrations = save.planned.kinds["updated"]
        save.untouched = (
            written.isdisjoint(field.attname for field in fields)
            and not any(getattr(field, "generated", False) for field in fields)
            and not any(one.read_back for one in registrations)
            and saves_as_django(model)
        )
        if save.untouched:
            return None
        carried = needs_of(registrations, model).columns - written
        fields += [field for field in model._meta.concrete_fields if field.attname in carried]
    maybe_new = save.instance._state.adding and not save.force_update
    row = type(save.instance), _key(save.instance), save.alias
    if maybe_new and not is_there(*row):
        return None
    lock = any(one.atomic for one in save.planned.saves)
    return read_values(*row, list(dict.fromkeys(fields)), lock=lock)


def _inserts(save: _Save) -> bool:
    """Whether Django will INSERT without trying an UPDATE first."""
    instance = save.instance
    key = _key(instance)
    if save.force_insert or key is None or is_expression(key):
        return True
    if not instance._state.adding or save.force_update or save.update_fields:
        return False
    keys = _root(type(instance))._meta.pk_fields
    return all(field.has_default() or field.has_db_default() for field in keys)


def _key(instance: Model) -> Any:
    """The primary key of the row. Django copies a parent's key to the child only during the save."""
    if instance.pk is not None:
        return instance.pk
    return getattr(instance, _root(type(instance))._meta.pk.attname)


def _root(model: type[Model]) -> type[Model]:
    """The model whose table defines the primary key: the topmost parent of a multi-table child."""
    pk: Any = concrete(model)._meta.pk
    while pk.remote_field is not None and pk.remote_field.parent_link:
        model = pk.remote_field.model
        pk = model._meta.pk
    return model


@sensitive_variables()
def _record_save(save: _Save, *, inserted: bool) -> None:
    written = Written.by_save(
        save.instance, save.update_fields, inserted=inserted, held=save.held, before=save.before
    )
    kind = "created" if inserted else "updated"
    _record(
        save.instance,
        save.planned,
        save.alias,
        kind,
        written,
        before=save.before,
        untouched=save.untouched,
    )


def _record(
    instance: Model,
    planned: Plan,
    alias: str,
    kind: str,
    written: Written = NOT_WRITTEN,
    *,
    before: Values | None = None,
    untouched: bool = False,
) -> None:
    """Write the events of one save of one row."""
    if deletes.runs.get():
        deletes.row_saved(instance, alias, created=kind == "created")
    model = type(instance)
    registrations = planned.kinds[kind]
    row: Model | None = None
    found: dict[str, Difference] = {}
    if kind == "updated":
        if planned.watched and not untouched:
            found, row = _compared(instance, planned, alias, written, before)
        registrations = tuple(one for one in registrations if events.concerns(one, model, found))
    if not registrations:
        return
    if row is None:
        row = row_of(instance, alias, needs_of(registrations, model), written)
    if row is None:
        return
    events.same_database(model, alias)
    for registration in registrations:
        change = (
            events.created(registration, row)
            if kind == "created"
            else events.updated(registration, model, found)
        )
        one = events.pending(registration, registration.types[kind], row, change)
        if one is not None:
            events.write(one)


def _compared(
    instance: Model, planned: Plan, alias: str, written: Written, before: Values | None
) -> tuple[dict[str, Difference], Model | None]:
    """The differences between the row before and after the save; and the row, if it had to be read."""
    needs = needs_of(planned.kinds["updated"], type(instance))
    after: Values = known_values(instance, alias, written, needs)
    if all(column.attname in after for column in planned.watched):
        return differences(planned.watched, before, after), None
    row = row_of(instance, alias, needs, written)
    if row is None:
        return {}, None
    return differences(planned.watched, before, values_in(row, planned.watched)), row

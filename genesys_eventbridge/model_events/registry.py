"""Which models publish what: one registration per ``publishes`` call, one plan per model class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field, ManyToManyField, Model
from django.utils.functional import LazyObject, empty

from genesys_eventbridge.model_events.payload import TakesChange, Tree, concrete_field, leads_to_source, paths
from genesys_eventbridge.model_events.rows import Needs, everything, needs_of_paths

KINDS = ("created", "updated", "deleted")
Attribute = str | Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration:
    """What one model, and all models that inherit from it, publish to one destination."""

    model: type[Model]
    types: Mapping[str, str]
    """Kind (created, updated, deleted) -> event type, for the kinds that are published."""
    m2m: Mapping[str, str]
    """Name of a many-to-many field -> event type."""
    tree: Tree | None
    data: TakesChange | None
    when: TakesChange | None
    changed: tuple[str, ...] | None
    compares: bool
    """Whether updates need to know what changed."""
    subject: Attribute | None
    ordering_key: Attribute | None
    source: Attribute | None
    extensions: Attribute | Mapping[str, Any] | None
    url: Attribute | None
    destination: str
    atomic: bool
    read_back: bool
    """Whether triggers set columns that the events carry."""
    given: Mapping[str, Any]
    """The arguments of ``publishes``, to recognise a repeated call."""

    def watched(self, model: type[Model]) -> dict[str, Field[Any, Any]]:
        """The fields whose changes matter, by the name used in ``changed=``."""
        if not self.compares:
            return {}
        if self.changed is None:
            return {field.name: field for field in model._meta.concrete_fields if not field.primary_key}
        return {name: _column(model, name) for name in self.changed}

    def needs(self, model: type[Model]) -> Needs:
        """What its events read from a row; a callable may read any column. All models must be loaded."""
        known = _needs.get((self, model))
        if known is None:
            known = _needs[self, model] = self._find_needs(model)
        return known

    def _find_needs(self, model: type[Model]) -> Needs:
        source = self.source if leads_to_source(model, self.source) else None
        attributes = (self.subject, self.ordering_key, source, self.extensions)
        read = [path for tree in [self.tree] if tree for path in paths(tree)]
        read += [tuple(one.split(".")) for one in attributes if isinstance(one, str)]
        read += [(field.name,) for field in self.watched(model).values()]
        needs = needs_of_paths(model, read)
        if self.data or self.when or any(callable(one) for one in attributes):
            needs |= everything(model)
        return replace(needs, read_back=self.read_back)


@dataclass(frozen=True, slots=True)
class Plan:
    """What instances of one class publish, including inherited registrations."""

    kinds: Mapping[str, tuple[Registration, ...]]
    m2m: tuple[tuple[str, str, Registration], ...]
    """Field name, event type, registration."""
    watched: tuple[Field[Any, Any], ...]

    def __bool__(self) -> bool:
        return bool(self.m2m or any(self.kinds.values()))

    @property
    def saves(self) -> tuple[Registration, ...]:
        return (*self.kinds["created"], *self.kinds["updated"])


_registrations: list[Registration] = []
_plans: dict[type[Model], Plan] = {}
_needs: dict[tuple[Registration, type[Model]], Needs] = {}


def registrations() -> tuple[Registration, ...]:
    """All registrations, in the order they were made."""
    return tuple(_registrations)


def plan(model: type[Model]) -> Plan:
    """What ``model`` publishes: its own registrations and those of all it inherits from."""
    known = _plans.get(model)
    if known is None:
        known = _plans[model] = _make_plan(model)
    return known


def add(registration: Registration) -> None:
    _registrations.append(registration)
    _plans.clear()
    _needs.clear()


def withdraw(registration: Registration) -> None:
    """Remove the registration; for tests."""
    _registrations.remove(registration)
    _plans.clear()
    _needs.clear()


def needs_of(registrations: Iterable[Registration], model: type[Model]) -> Needs:
    """What the events of all these registrations read from one row. Raises ValueError if there are none."""
    first, *others = (registration.needs(model) for registration in registrations)
    for needs in others:
        first |= needs
    return first


def concrete(model: type[Model]) -> type[Model]:
    """The model that owns the table: itself, or the model behind a proxy."""
    return model._meta.concrete_model or model


def unwrapped(instance: Any) -> Any:
    """The object behind a lazy one such as ``request.user``, whose type is not the model."""
    while isinstance(instance, LazyObject):
        if instance._wrapped is empty:
            instance._setup()
        instance = instance._wrapped
    return instance


def models_of(registration: Registration) -> Iterator[type[Model]]:
    """The classes with rows that the registration applies to: the model and all that inherit from it."""
    waiting = [registration.model]
    seen = set()
    while waiting:
        model = waiting.pop(0)
        if model not in seen:
            seen.add(model)
            waiting += model.__subclasses__()
            if not model._meta.abstract and not model._meta.swapped:
                yield model


def check(registration: Registration, model: type[Model]) -> None:
    """Raise ImproperlyConfigured if ``changed`` or ``m2m`` names a field that ``model`` does not have."""
    registration.watched(model)
    for name in registration.m2m:
        field = next((field for field in model._meta.many_to_many if field.name == name), None)
        if field is None:
            raise ImproperlyConfigured(
                f"publishes(m2m=...) on {model.__name__}: {name!r} is not a ManyToManyField."
                + did_you_mean(name, [field.name for field in model._meta.many_to_many])
            )
        if not isinstance(field, ManyToManyField):
            raise ImproperlyConfigured(
                f"publishes(m2m=...) on {model.__name__}: {name!r} is a {type(field).__name__}, not Django's "
                "ManyToManyField, so its changes cannot be published. Call enqueue() where you change it."
            )


def did_you_mean(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Available: {', '.join(known) or 'none'}."


def _column(model: type[Model], name: str) -> Field[Any, Any]:
    field = concrete_field(model, name)
    if field is None:
        raise ImproperlyConfigured(
            f"publishes(changed=...) on {model.__name__}: {name!r} is not a column."
            + did_you_mean(name, [item.name for item in model._meta.concrete_fields])
        )
    return field


def _make_plan(model: type[Model]) -> Plan:
    """If a child registers the same event type for the same destination as its parent, the child wins."""
    near = sorted(
        (one for one in _registrations if issubclass(model, one.model)),
        key=lambda one: model.__mro__.index(one.model),
    )
    owners: dict[tuple[str, str, str], type[Model]] = {}

    def speaks(one: Registration, kind: str, type_: str) -> bool:
        return owners.setdefault((kind, type_, one.destination), one.model) is one.model

    kinds = {
        kind: tuple(one for one in near if kind in one.types and speaks(one, kind, one.types[kind]))
        for kind in KINDS
    }
    watched = {field: None for one in kinds["updated"] for field in one.watched(model).values()}
    return Plan(
        kinds=kinds,
        m2m=tuple(
            (name, type_, one) for one in near for name, type_ in one.m2m.items() if speaks(one, name, type_)
        ),
        watched=tuple(watched),
    )

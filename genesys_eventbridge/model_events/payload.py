"""What registered names mean: attributes and relation paths of an instance as the values an event carries."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import inspect
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import (
    FieldDoesNotExist,
    ImproperlyConfigured,
    ObjectDoesNotExist,
    ValidationError,
)
from django.db.backends.utils import format_number
from django.db.models import DecimalField, Field, ForeignObjectRel, Model, prefetch_related_objects
from django.db.models.fields.files import FieldFile
from django.db.models.manager import BaseManager
from django.utils import timezone

from genesys_eventbridge.model_events.changes import Change

Tree = dict[str, Any]
"""Name in ``data`` -> a path of attribute names, or the tree of a nested object."""
TakesChange = Callable[[Any, Change], Any]
_PLAIN = (
    *(str, bytes, memoryview, int, float, decimal.Decimal, uuid.UUID, enum.Enum),
    *(dt.date, dt.time, dt.timedelta, Mapping, list, tuple, set),
)
"""What the encoder of events writes or refuses without help."""


def parse_fields(fields: Sequence[str] | Mapping[str, str]) -> Tree:
    """The shape of ``data``: a list of paths nests (``customer.email``), a mapping gives each path its name.

    Raises ImproperlyConfigured where one name is wanted both as a value and as an object.
    """
    if isinstance(fields, Mapping):
        return {name: tuple(path.split(".")) for name, path in fields.items()}
    tree: Tree = {}
    for path in fields:
        steps = path.split(".")
        node = tree
        for depth, step in enumerate(steps[:-1], start=1):
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                _clash(path, ".".join(steps[:depth]))
        if isinstance(node.get(steps[-1]), dict):
            _clash(path, path)
        node[steps[-1]] = (steps[-1],)
    return tree


def paths(tree: Tree) -> Iterator[tuple[str, ...]]:
    """Every path that ``payload`` reads, from the instance on."""
    for name, node in tree.items():
        if isinstance(node, tuple):
            yield node
        else:
            yield from ((name, *path) for path in paths(node))


def payload(instance: Model, tree: Tree) -> dict[str, Any]:
    """The values of ``tree`` as the database holds them; a relation that leads nowhere is None."""
    return {
        name: read(instance, node) if isinstance(node, tuple) else _nested(instance, name, node)
        for name, node in tree.items()
    }


def read(start: Any, path: Sequence[str]) -> Any:
    """The value at the end of ``path``: fields, relations, properties, methods without arguments, dict keys.

    A foreign key gives its key, without a query; a to-many relation a list. None where a relation on the way
    leads nowhere. Raises AttributeError for a name that is not there.
    """
    step, *rest = path
    if not rest and isinstance(start, Model):
        field = concrete_field(type(start), step)
        if field is not None:
            return canonical(field, getattr(start, field.attname))
    value = _step(start, step)
    if isinstance(value, BaseManager):
        objects = sorted(value.all(), key=lambda related: related.pk)
        return [read(related, rest or ["pk"]) for related in objects]
    if value is None or not rest:
        return value
    return read(value, rest)


def attribute(instance: Model, wanted: str | Callable[[Any], Any] | None) -> Any:
    """What ``subject=`` and the like ask for: a path, or a callable that is given the instance."""
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return read(instance, wanted.split("."))
    return wanted(instance)


def text(value: Any) -> str | None:
    """An attribute of an event as text; None and empty text mean that the event has none."""
    if isinstance(value, enum.Enum):
        value = value.value
    return None if value is None else str(value) or None


def takes_change(function: Callable[..., Any]) -> TakesChange:
    """The callable as one of two arguments, whether it takes ``(instance)`` or ``(instance, change)``."""
    if inspect.iscoroutinefunction(function):
        raise ImproperlyConfigured(
            f"publishes(): {function!r} is async, but a model is saved in sync code; pass a plain function."
        )
    if wants_change(function):
        return function

    def without_change(instance: Any, change: Change) -> Any:  # noqa: ARG001
        return function(instance)

    return without_change


def wants_change(function: Callable[..., Any]) -> bool:
    """Whether the callable needs a second argument; optional ones are left alone."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins have none
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len([one for one in parameters if one.kind in positional and one.default is one.empty]) > 1


def concrete_field(model: type[Model], name: str) -> Field[Any, Any] | None:
    """The column behind ``name``; None for relations to many, properties and the like."""
    try:
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, Field) and field.concrete and not field.many_to_many else None


def canonical(field: Field[Any, Any], value: Any) -> Any:
    """The value as the row gives it back, whatever type was assigned: ``0`` in a price is "0.00"."""
    if isinstance(value, FieldFile) or (isinstance(value, str) and hasattr(field, "upload_to")):
        return str(value) or None
    if value is None:
        return None
    try:
        value = field.to_python(value)
    except (ValidationError, TypeError, ValueError):  # the database takes what this field cannot read
        return value
    if isinstance(field, DecimalField):
        return format_number(value, field.max_digits, field.decimal_places)
    if isinstance(value, dt.datetime):
        if timezone.is_naive(value):  # as Django itself reads it when it saves
            value = timezone.make_aware(value, timezone.get_default_timezone())
        return value.astimezone(dt.UTC)
    if not isinstance(value, _PLAIN):  # an object that only this field knows, such as a phone number
        return field.get_prep_value(value)
    return value


def prefetch(instances: Sequence[Model], paths: Iterable[Sequence[str]]) -> None:
    """Read the relations that these paths cross, with one query a relation for all instances."""
    if len(instances) > 1:
        lookups = {"__".join(steps) for path in paths if (steps := _relations(type(instances[0]), path))}
        prefetch_related_objects(list(instances), *sorted(lookups))


def _clash(path: str, name: str) -> None:
    raise ImproperlyConfigured(
        f"publishes(fields=...): {path!r} makes {name!r} both a value and an object in data. "
        'Name the key itself ("customer_id"), or give names: fields={"email": "customer.email"}.'
    )


def _nested(start: Any, name: str, tree: Tree) -> Any:
    value = _step(start, name)
    if isinstance(value, BaseManager):
        return [payload(related, tree) for related in sorted(value.all(), key=lambda related: related.pk)]
    if value is None:
        return None
    return payload(value, tree)


def _step(start: Any, name: str) -> Any:
    """One attribute; None where a relation or a file field leads nowhere."""
    if isinstance(start, Mapping):
        return start.get(name)
    try:
        value = getattr(start, name)
    except ObjectDoesNotExist:
        return None
    if isinstance(value, FieldFile):
        return value or None
    if callable(value) and not isinstance(value, BaseManager):
        if getattr(value, "alters_data", False):
            raise ImproperlyConfigured(f"publishes(): {name!r} of {type(start).__name__} changes data.")
        return value()
    return value


def _relations(model: type[Model], path: Sequence[str]) -> list[str]:
    """The steps of ``path`` that lead to other rows."""
    steps: list[str] = []
    for position, name in enumerate(path):
        relation = relation_named(model, name)
        if relation is None or (position == len(path) - 1 and concrete_field(model, name)):
            break
        steps.append(name)
        model = relation
    return steps


def relation_named(model: type[Model], name: str) -> type[Model] | None:
    """The model that attribute ``name`` leads to, forwards or backwards; None where it is no relation."""
    for field in model._meta.get_fields():
        attribute = field.get_accessor_name() if isinstance(field, ForeignObjectRel) else field.name
        if attribute == name:
            return field.related_model if isinstance(field.related_model, type) else None
    return None

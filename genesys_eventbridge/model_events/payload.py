"""The content of an event: apply the field names and callables of a registration to a row."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import enum
import inspect
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from genesys_eventbridge.model_events.registry import Registration

Tree = dict[str, Any]
"""Name in ``data`` -> a path of attribute names, or the tree of a nested object."""
TakesChange = Callable[[Any, Change], Any]
_PLAIN = (
    *(str, bytes, memoryview, int, float, decimal.Decimal, uuid.UUID, enum.Enum),
    *(dt.date, dt.time, dt.timedelta, Mapping, list, tuple, set),
)
"""Types that the event encoder handles, by encoding or refusing them."""


def parse_fields(fields: Sequence[str] | Mapping[str, str]) -> Tree:
    """The structure of ``data``: a list of paths nests (``customer.email``), a mapping names each path.

    Raises ImproperlyConfigured if one name would be both a value and an object.
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
    """All paths that ``payload`` reads, starting at the instance."""
    for name, node in tree.items():
        if isinstance(node, tuple):
            yield node
        else:
            yield from ((name, *path) for path in paths(node))


def content(registration: Registration, row: Model, change: Change) -> dict[str, Any] | None:
    """The content of an event as arguments of ``enqueue``; None if ``when`` returns a false value.

    Keys: data, subject, ordering_key, source, extensions. Each callable gets its own copy of the row, so
    that none sees what another did to it.
    """
    if registration.when is not None and not registration.when(twin(row), change):
        return None
    if registration.data is not None:
        data = registration.data(twin(row), change)
    else:
        data = payload(row, registration.tree or {})
    source, extensions = registration.source, registration.extensions
    return {
        "data": data,
        "subject": _text(_given(row, registration.subject)),
        "ordering_key": _text(_given(row, registration.ordering_key)),
        "source": _text(_given(row, source) if leads_to_source(type(row), source) else source),
        "extensions": extensions if isinstance(extensions, Mapping) else _given(row, extensions),
    }


def leads_to_source(model: type[Model], source: str | Callable[[Any], Any] | None) -> bool:
    """Whether ``source=`` is an attribute's name or a callable, and not the source itself."""
    return not isinstance(source, str) or hasattr(model, source.partition(".")[0])


def payload(instance: Model, tree: Tree) -> dict[str, Any]:
    """``data`` for ``tree``: the values in the database; a missing related object is None."""
    return {
        name: read(instance, node) if isinstance(node, tuple) else _nested(instance, name, node)
        for name, node in tree.items()
    }


def read(start: Any, path: Sequence[str]) -> Any:
    """The value at the end of ``path``: fields, relations, properties, methods without arguments, dict keys.

    A foreign key gives its key, without a query; a to-many relation gives a list. None if a related object
    on the way is missing. Raises AttributeError for an unknown name.
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
    """The value of ``subject=`` and the like: at a path, or returned by a callable for the instance."""
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return read(instance, wanted.split("."))
    return wanted(instance)


def takes_change(function: Callable[..., Any]) -> TakesChange:
    """The callable as one of ``(instance, change)``, even if it takes only ``(instance)``.

    Raises ImproperlyConfigured if it is async.
    """
    if inspect.iscoroutinefunction(function):
        raise ImproperlyConfigured(
            f"publishes(): {function!r} is async, but models are saved in sync code. Pass a sync function."
        )
    if wants_change(function):
        return function

    def without_change(instance: Any, change: Change) -> Any:  # noqa: ARG001
        return function(instance)

    return without_change


def wants_change(function: Callable[..., Any]) -> bool:
    """Whether the callable requires a second argument; optional ones do not count."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins have none
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len([one for one in parameters if one.kind in positional and one.default is one.empty]) > 1


def concrete_field(model: type[Model], name: str) -> Field[Any, Any] | None:
    """The column of ``name``; None for to-many relations, properties and the like."""
    try:
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, Field) and field.concrete and not field.many_to_many else None


def canonical(field: Field[Any, Any], value: Any) -> Any:
    """The value as read from the row, whatever type was assigned: ``0`` in a price becomes "0.00"."""
    if isinstance(value, FieldFile) or (isinstance(value, str) and hasattr(field, "upload_to")):
        return str(value) or None
    if value is None:
        return None
    try:
        value = field.to_python(value)
    except (ValidationError, TypeError, ValueError):  # the column has a value that this field cannot parse
        return value
    if isinstance(field, DecimalField):
        return format_number(value, field.max_digits, field.decimal_places)
    if isinstance(value, dt.datetime):
        if timezone.is_naive(value):  # as Django itself reads it when it saves
            value = timezone.make_aware(value, timezone.get_default_timezone())
        return value.astimezone(dt.UTC)
    if not isinstance(value, _PLAIN):  # a custom type of this field, such as a phone number
        return field.get_prep_value(value)
    return value


def prefetch(instances: Sequence[Model], paths: Iterable[Sequence[str]]) -> None:
    """Read the relations that these paths cross, with one query per relation for all instances."""
    if len(instances) > 1:
        lookups = {"__".join(steps) for path in paths if (steps := _relations(type(instances[0]), path))}
        prefetch_related_objects(list(instances), *sorted(lookups))


def _given(row: Model, wanted: str | Callable[[Any], Any] | None) -> Any:
    return attribute(twin(row) if callable(wanted) else row, wanted)


def _text(value: Any) -> str | None:
    """An event attribute as text; None if the value is None or empty."""
    if isinstance(value, enum.Enum):
        value = value.value
    return None if value is None else str(value) or None


def twin(row: Model, made: dict[int, Model] | None = None) -> Model:
    """A copy of the row and its related rows, for a callable that may change them."""
    made = {} if made is None else made
    if id(row) not in made:
        copied = made[id(row)] = type(row).__new__(type(row))
        vars(copied).update({name: _own(value) for name, value in vars(row).items()})
        copied._state = copy.copy(row._state)
        copied._state.fields_cache = {
            name: twin(related, made) if isinstance(related, Model) else related
            for name, related in row._state.fields_cache.items()
        }
    return made[id(row)]


def _own(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, (dict, list)) else value


def _clash(path: str, name: str) -> None:
    raise ImproperlyConfigured(
        f"publishes(fields=...): {path!r} makes {name!r} both a value and an object in data. "
        'Use the key column ("customer_id"), or a mapping: fields={"email": "customer.email"}.'
    )


def _nested(start: Any, name: str, tree: Tree) -> Any:
    value = _step(start, name)
    if isinstance(value, BaseManager):
        return [payload(related, tree) for related in sorted(value.all(), key=lambda related: related.pk)]
    if value is None:
        return None
    return payload(value, tree)


def _step(start: Any, name: str) -> Any:
    """One attribute; None for a missing related object or an empty file field."""
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
            raise ImproperlyConfigured(
                f"publishes(): {name!r} of {type(start).__name__} changes data. Name one that only reads."
            )
        return value()
    return value


def _relations(model: type[Model], path: Sequence[str]) -> list[str]:
    """The leading steps of ``path`` that are relations to other rows."""
    steps: list[str] = []
    for position, name in enumerate(path):
        relation = relation_named(model, name)
        if relation is None or (position == len(path) - 1 and concrete_field(model, name)):
            break
        steps.append(name)
        model = relation
    return steps


def relation_named(model: type[Model], name: str) -> type[Model] | None:
    """The model at the other end of relation ``name``, forward or reverse; None if it is not a relation."""
    for field in model._meta.get_fields():
        attribute = field.get_accessor_name() if isinstance(field, ForeignObjectRel) else field.name
        if attribute == name:
            return field.related_model if isinstance(field.related_model, type) else None
    return None

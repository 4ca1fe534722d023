"""Check the arguments of a ``publishes`` call and make a registration of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from genesys_eventbridge.model_events import registry
from genesys_eventbridge.model_events.payload import parse_fields, takes_change, wants_change
from genesys_eventbridge.model_events.registry import KINDS, Registration


def declare(model: type[Model], given: Mapping[str, Any]) -> Registration:
    """Register the model; if the same call is repeated, return the existing registration.

    ``given`` are the arguments of ``publishes`` by name. Raises ImproperlyConfigured, which names the
    argument.
    """
    if not (isinstance(model, type) and issubclass(model, Model)):  # type: ignore[redundant-expr]
        raise ImproperlyConfigured(f"publishes() registers model classes, not {model!r}.")
    for known in registry.registrations():
        if known.model is model and all(_same(known.given[name], value) for name, value in given.items()):
            return known
    registration = _read(model, given)
    registry.add(registration)
    return registration


def _read(model: type[Model], given: Mapping[str, Any]) -> Registration:
    where = f"publishes() on {model.__name__}"
    types = {kind: given[kind] for kind in KINDS if given[kind] is not None}
    m2m = dict(given["m2m"] or {})
    for name, type_ in {**types, **m2m}.items():
        if not isinstance(type_, str) or not type_:
            raise ImproperlyConfigured(
                f'{where}: {name}= must be an event type such as "order.{name}", got {type_!r}.'
            )
    if not types and not m2m:
        raise ImproperlyConfigured(f"{where}: one of created=, updated=, deleted= and m2m= is required.")
    fields, data, when, changed = (given[name] for name in ("fields", "data", "when", "changed"))
    _check_content(where, fields, data)
    if changed is not None and (isinstance(changed, str) or not changed or "updated" not in types):
        raise ImproperlyConfigured(
            f"{where}: changed= must be a non-empty list of field names, and needs updated=."
        )
    for name in ("data", "when"):
        if given[name] is not None and not callable(given[name]):
            raise ImproperlyConfigured(f"{where}: {name}= must be a callable that takes the instance.")
    asks = any(function is not None and wants_change(function) for function in (data, when))
    registration = Registration(
        model=model,
        types=types,
        m2m=m2m,
        tree=None if fields is None else parse_fields(fields),
        data=None if data is None else takes_change(data),
        when=None if when is None else takes_change(when),
        changed=None if changed is None else tuple(changed),
        compares="updated" in types and (changed is not None or asks),
        given=dict(given),
        **{
            name: given[name]
            for name in (
                "subject",
                "ordering_key",
                "source",
                "extensions",
                "url",
                "destination",
                "atomic",
                "read_back",
            )
        },
    )
    if not model._meta.abstract:
        registry.check(registration, model)
    return registration


def _check_content(where: str, fields: Any, data: Any) -> None:
    """Raise ImproperlyConfigured unless exactly one of ``fields`` and ``data`` is given."""
    if fields is None and data is None:
        raise ImproperlyConfigured(f"{where}: fields= or data= is required; it defines the event's data.")
    if fields is not None and data is not None:
        raise ImproperlyConfigured(f"{where}: use either fields= or data=, not both.")
    if isinstance(fields, str):
        raise ImproperlyConfigured(
            f"{where}: fields= must be a list of names or a mapping of names to paths, not a string."
        )


def _same(one: Any, other: Any) -> bool:
    """Whether two arguments are equal; functions by their code and the values they captured.

    A lambda in ``AppConfig.ready()`` is a new object each time that runs, but has the same code.
    """
    if inspect.isfunction(one) and inspect.isfunction(other):
        return _function(one) == _function(other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return list(one) == list(other)
    return bool(one == other)


def _function(function: FunctionType) -> tuple[Any, ...]:
    captured = [cell.cell_contents for cell in function.__closure__ or ()]
    codes = [getattr(one, "__code__", one) for one in captured]
    return function.__module__, function.__code__, function.__defaults__, function.__kwdefaults__, codes

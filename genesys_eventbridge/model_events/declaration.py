"""The arguments of one ``publishes`` call, checked, as a registration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from genesys_eventbridge.model_events import registry
from genesys_eventbridge.model_events.payload import parse_fields, takes_change, wants_change
from genesys_eventbridge.model_events.registry import KINDS, Registration


def declare(model: type[Model], given: Mapping[str, Any]) -> Registration:
    """The registration these arguments of ``publishes`` make; the known one where the same call is repeated.

    Raises ImproperlyConfigured, naming the argument.
    """
    if not (isinstance(model, type) and issubclass(model, Model)):  # type: ignore[redundant-expr]
        raise ImproperlyConfigured(f"publishes() registers model classes, not {model!r}.")
    for known in registry.registrations():
        if known.model is model and _fingerprint(known.given) == _fingerprint(given):
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
                f'{where}: {name}= is an event type such as "order.{name}", got {type_!r}.'
            )
    if not types and not m2m:
        raise ImproperlyConfigured(f"{where}: name an event type: created=, updated=, deleted= or m2m=.")
    fields, data, when, changed = (given[name] for name in ("fields", "data", "when", "changed"))
    _check_content(where, fields, data)
    if changed is not None and (isinstance(changed, str) or not changed or "updated" not in types):
        raise ImproperlyConfigured(f"{where}: changed= is a list of field names and narrows updated=.")
    for name in ("data", "when"):
        if given[name] is not None and not callable(given[name]):
            raise ImproperlyConfigured(f"{where}: {name}= is a callable that takes the instance.")
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
    """Exactly one of the two defines what the event carries."""
    if fields is None and data is None:
        raise ImproperlyConfigured(f"{where}: fields= or data= is needed: it says what the event carries.")
    if fields is not None and data is not None:
        raise ImproperlyConfigured(
            f"{where}: fields= and data= say what the event carries: give one, not both."
        )
    if isinstance(fields, str):
        raise ImproperlyConfigured(f"{where}: fields= is a list of names, or a mapping of names to paths.")


def _fingerprint(value: Any) -> Any:
    """What tells two calls apart that stand on different lines, but not one line that ran twice."""
    if inspect.isfunction(value):
        code = value.__code__
        made_with = [_place(cell.cell_contents) for cell in value.__closure__ or ()]
        return (*_place(value), code.co_code, code.co_consts, made_with)
    if isinstance(value, Mapping):
        return {key: _fingerprint(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fingerprint(item) for item in value]
    return value


def _place(value: Any) -> Any:
    if inspect.isfunction(value):
        return value.__module__, value.__qualname__, value.__code__.co_firstlineno
    return value

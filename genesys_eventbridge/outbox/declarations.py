"""Event types declared in code for ``enqueue()``: their schema, an example and a description."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge.cloudevents import MAX_BYTES, MAX_LENGTH, NO_DATA, CloudEvent, check_text
from genesys_eventbridge.cloudevents.data import plain
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.outbox import schemas

#: What ``_schema`` and the setting SCHEMAS accept.
_KINDS = "a JSON Schema (a dict) or the path of a JSON file"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One ``declare_event`` call, validated except for what needs the settings or the jsonschema package."""

    type: str
    destination: str
    schema: Mapping[str, Any] | str | None
    """A JSON Schema of ``data``, the path of a file with one, or None."""
    example: Any
    """A JSON value, or NO_DATA."""
    description: str

    @property
    def origin(self) -> str:
        """How errors name it."""
        return f"declare_event({self.type!r})"


_lock = threading.Lock()
#: By destination and type.
_declared: dict[tuple[str, str], Declaration] = {}


def declare_event(
    type: str,  # noqa: A002 - the CloudEvents word
    *,
    schema: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    example: Any = NO_DATA,
    description: str = "",
    destination: str = "default",
) -> None:
    """Declare an event type that ``enqueue()`` writes, so that the catalogue describes it to consumers.

    Call it when modules load, next to the code that enqueues, or in ``AppConfig.ready()``. ``schema`` is a
    JSON Schema of ``data``, a dict or the path of a JSON file (draft 2020-12 unless it names another in
    ``$schema``): ``enqueue()`` raises InvalidEvent for data that does not match, if the extra ``[schema]``
    is installed. ``example`` is one value of ``data``; a system check validates it. ``description`` says in
    a sentence when the event is sent. A repeated call with the same arguments changes nothing.

    Raises ImproperlyConfigured, which names the argument, for a wrong one, and if the type is declared
    differently for the same destination already.
    """
    declaration = _read(type, schema, example, description, destination)
    with _lock:
        known = _declared.setdefault((declaration.destination, declaration.type), declaration)
    if known != declaration:
        raise ImproperlyConfigured(
            f"{declaration.origin}: the type is declared for destination {destination!r} already, with other "
            "arguments. Declare each type once per destination; give the second event another type."
        )


def declarations() -> tuple[Declaration, ...]:
    """All declarations, in the order they were made."""
    with _lock:
        return tuple(_declared.values())


def declaration_of(destination: str, event_type: str) -> Declaration | None:
    return _declared.get((destination, event_type))


def schema_of(settings: DestinationSettings, event_type: str) -> tuple[Any, str]:
    """The schema of a type's data and how errors name it: from SCHEMAS, else declared, else None."""
    given = settings.schemas.get(event_type)
    if given is not None:
        return given, schemas.in_settings(event_type)
    declaration = _declared.get((settings.alias, event_type))
    if declaration is not None and declaration.schema is not None:
        return declaration.schema, declaration.origin
    return None, ""


def validate(settings: DestinationSettings, event: CloudEvent) -> None:
    """Raise InvalidEvent if the event's data does not match the schema of its type.

    Without the jsonschema package a schema in SCHEMAS raises ImproperlyConfigured: the setting asks for the
    validation. A declared one is a description in the first place, and W045 reports that nothing checks it.
    """
    schema, origin = schema_of(settings, event.type)
    if schema is not None and (event.type in settings.schemas or schemas.available()):
        schemas.validate(schema, event.type, event.data, origin)


def _read(event_type: Any, schema: Any, example: Any, description: Any, destination: Any) -> Declaration:
    try:
        event_type = check_text("type", event_type, MAX_LENGTH)
    except InvalidEvent as error:
        raise ImproperlyConfigured(f"declare_event(): type {error.reason}.") from error
    where = f"declare_event({event_type!r})"
    if not isinstance(destination, str) or not destination:
        raise ImproperlyConfigured(f"{where}: destination= must be an alias, got {destination!r}.")
    if not isinstance(description, str):
        raise ImproperlyConfigured(f"{where}: description= must be text, got {description!r}.")
    if example is not NO_DATA:
        try:
            example = plain(example, limit=MAX_BYTES)
        except InvalidEvent as error:
            raise ImproperlyConfigured(f"{where}: example= cannot be sent: {error}") from error
    return Declaration(event_type, destination, _schema(where, schema), example, description)


def _schema(where: str, schema: Any) -> Mapping[str, Any] | str | None:
    """A copy, so that later changes to the argument have no effect."""
    if schema is None:
        return None
    if isinstance(schema, (str, os.PathLike)):
        return os.fspath(schema)
    if not isinstance(schema, Mapping):
        raise ImproperlyConfigured(f"{where}: schema= must be {_KINDS}, got {type(schema).__name__}.")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(schema), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"{where}: schema= cannot be encoded as JSON: {error}") from error
    return copy

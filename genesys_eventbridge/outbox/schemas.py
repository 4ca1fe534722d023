"""User schemas: the data of an event against the JSON Schema of its type, at enqueue."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge import conf
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.text import clean


def validate(destination: str, event_type: str, data: Any) -> None:
    """Raise InvalidEvent where decoded ``data`` does not match the schema its type has in SCHEMAS."""
    schema = conf.destination(destination).schemas.get(event_type)
    if schema is None:
        return
    error = _first_error(schema, event_type, data)
    if error is not None:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise InvalidEvent(
            f"data{path}", f"does not match the schema of {event_type!r}: rule {error.validator!r}"
        )


def fits(schema: Any, event_type: str, data: Any) -> bool:
    """Whether decoded ``data`` matches this JSON Schema."""
    return _first_error(schema, event_type, data) is None


def check(schema: Any, event_type: str) -> None:
    """Raise ImproperlyConfigured where a value of SCHEMAS is no JSON Schema, nor a file that holds one."""
    _validator(schema, event_type)


def _first_error(schema: Any, event_type: str, data: Any) -> Any:
    validator = _validator(schema, event_type)
    try:
        return next(iter(validator.iter_errors(data)), None)
    except Exception as unresolved:  # jsonschema wraps what it cannot resolve in a private type
        raise ImproperlyConfigured(
            f"SCHEMAS[{event_type!r}] refers to what it does not hold: {unresolved}. "
            "Put the definition into the schema; nothing is fetched."
        ) from unresolved


def _validator(schema: Any, event_type: str) -> Any:
    """``schema`` is a dict or the path of a file."""
    if not isinstance(schema, Mapping):
        return _compiled(str(schema), True, event_type)
    try:
        text = json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"SCHEMAS[{event_type!r}] cannot be written as JSON: {error}") from error
    return _compiled(text, False, event_type)


@functools.lru_cache(maxsize=256)
def _compiled(text: str, is_path: bool, event_type: str) -> Any:
    """A validator that never fetches: a reference it does not hold itself is an error."""
    try:
        import jsonschema
        import referencing
    except ImportError as error:
        raise ImproperlyConfigured(
            "SCHEMAS needs the jsonschema package: pip install 'django-genesys-eventbridge[schema]'."
        ) from error
    try:
        schema = json.loads(Path(text).read_text("utf-8") if is_path else text)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except (OSError, ValueError, RecursionError, jsonschema.SchemaError) as error:
        reason = clean(getattr(error, "message", error), 300)
        raise ImproperlyConfigured(f"SCHEMAS[{event_type!r}] is no usable JSON Schema: {reason}") from error
    return kind(schema, registry=referencing.Registry())

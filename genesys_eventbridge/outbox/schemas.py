"""The setting SCHEMAS: validate an event's data against the JSON Schema of its type, at enqueue."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.text import clean


def validate(schema: Any, event_type: str, data: Any) -> None:
    """Raise InvalidEvent if decoded ``data`` does not match ``schema``, with the path and the rule's name.

    ``schema`` is the value of SCHEMAS for the event type: a dict or the path of a JSON file. Raises
    ImproperlyConfigured if it cannot be used.
    """
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
    """Raise ImproperlyConfigured if a value of SCHEMAS is neither a JSON Schema nor a file containing one."""
    _validator(schema, event_type)


def _first_error(schema: Any, event_type: str, data: Any) -> Any:
    validator = _validator(schema, event_type)
    try:
        return next(iter(validator.iter_errors(data)), None)
    except Exception as unresolved:  # jsonschema raises a private type for an unresolvable reference
        raise ImproperlyConfigured(
            f"SCHEMAS[{event_type!r}] has a reference that it does not define: {unresolved}. "
            "Include the definition in the schema; external references are not fetched."
        ) from unresolved


def _validator(schema: Any, event_type: str) -> Any:
    """``schema`` is a dict or the path of a file."""
    if not isinstance(schema, Mapping):
        return _compiled(str(schema), True, event_type)
    try:
        text = json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"SCHEMAS[{event_type!r}] cannot be encoded as JSON: {error}") from error
    return _compiled(text, False, event_type)


@functools.lru_cache(maxsize=256)
def _compiled(text: str, is_path: bool, event_type: str) -> Any:
    """A validator that never fetches external references: they are an error."""
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
        raise ImproperlyConfigured(f"SCHEMAS[{event_type!r}] is not a valid JSON Schema: {reason}") from error
    return kind(schema, registry=referencing.Registry())

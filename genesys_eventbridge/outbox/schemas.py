"""Validate an event's data against the JSON Schema of its type: of the setting SCHEMAS, or declared."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.text import clean


def in_settings(event_type: str) -> str:
    """How errors name a schema of the setting SCHEMAS."""
    return f"SCHEMAS[{event_type!r}]"


@functools.cache
def available() -> bool:
    """Whether the jsonschema package is installed: the extra ``[schema]``."""
    return find_spec("jsonschema") is not None


def validate(schema: Any, event_type: str, data: Any, origin: str = "") -> None:
    """Raise InvalidEvent if decoded ``data`` does not match ``schema``, with the path and the rule's name.

    ``schema`` is a dict or the path of a JSON file; ``origin`` is how errors name it, the entry in SCHEMAS
    if empty. Raises ImproperlyConfigured if it cannot be used.
    """
    error = _first_error(schema, origin or in_settings(event_type), data)
    if error is not None:
        raise InvalidEvent(
            f"data{_path(error)}", f"does not match the schema of {event_type!r}: rule {error.validator!r}"
        )


def reason(schema: Any, data: Any, origin: str) -> str:
    """Where ``data`` does not match and by which rule: "data.number, rule 'pattern'"; "" if it matches."""
    error = _first_error(schema, origin, data)
    return "" if error is None else f"data{_path(error)}, rule {error.validator!r}"


def _path(error: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)


def fits(schema: Any, event_type: str, data: Any, origin: str = "") -> bool:
    """Whether decoded ``data`` matches this JSON Schema."""
    return _first_error(schema, origin or in_settings(event_type), data) is None


def check(schema: Any, event_type: str, origin: str = "") -> None:
    """Raise ImproperlyConfigured if ``schema`` is neither a JSON Schema nor a file containing one."""
    _validator(schema, origin or in_settings(event_type))


def _first_error(schema: Any, origin: str, data: Any) -> Any:
    validator = _validator(schema, origin)
    try:
        return next(iter(validator.iter_errors(data)), None)
    except Exception as unresolved:  # jsonschema raises a private type for an unresolvable reference
        raise ImproperlyConfigured(
            f"{origin} has a reference that it does not define: {unresolved}. "
            "Include the definition in the schema; external references are not fetched."
        ) from unresolved


def _validator(schema: Any, origin: str) -> Any:
    """``schema`` is a dict or the path of a file."""
    if not isinstance(schema, Mapping):
        return _compiled(str(schema), True, origin)
    try:
        text = json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"{origin} cannot be encoded as JSON: {error}") from error
    return _compiled(text, False, origin)


@functools.lru_cache(maxsize=256)
def _compiled(text: str, is_path: bool, origin: str) -> Any:
    """A validator that never fetches external references: they are an error."""
    try:
        import jsonschema
        import referencing
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{origin} needs the jsonschema package: pip install 'django-genesys-eventbridge[schema]'."
        ) from error
    try:
        schema = json.loads(Path(text).read_text("utf-8") if is_path else text)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except (OSError, ValueError, RecursionError, jsonschema.SchemaError) as error:
        reason = clean(getattr(error, "message", error), 300)
        raise ImproperlyConfigured(f"{origin} is not a valid JSON Schema: {reason}") from error
    return kind(schema, registry=referencing.Registry())

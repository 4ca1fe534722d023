"""Validate an event's data against the JSON Schema of its type: of the setting SCHEMAS, or declared."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.text import clean

_TYPES = "array, boolean, integer, null, number, object and string"


def in_settings(event_type: str) -> str:
    """How errors name a schema of the setting SCHEMAS."""
    return f"SCHEMAS[{event_type!r}]"


@functools.cache
def available() -> bool:
    """Whether the jsonschema package is installed: the extra ``[schema]``."""
    return find_spec("jsonschema") is not None


def validate(schema: Any, event_type: str, data: Any, origin: str = "") -> None:
    """Raise InvalidEvent if decoded ``data`` does not match ``schema``, with the path and what is wanted.

    ``schema`` is a dict or the path of a JSON file; ``origin`` is how errors name it, the entry in SCHEMAS
    if empty. Raises ImproperlyConfigured if it cannot be used.
    """
    origin = origin or in_settings(event_type)
    error = _first_error(schema, origin, data)
    if error is not None:
        path, broken = _broken(error)
        raise InvalidEvent(
            path,
            f"{broken} (rule {error.validator!r} of the schema of {event_type!r}). Correct the data, or the "
            f"schema in {origin}.",
        )


def reason(schema: Any, data: Any, origin: str) -> str:
    """Where ``data`` does not match and why: "data.number is missing (rule 'required')"; "" if it matches."""
    error = _first_error(schema, origin, data)
    return "" if error is None else f"{' '.join(_broken(error))} (rule {error.validator!r})"


def _broken(error: Any) -> tuple[str, str]:
    """The path of what is wrong, and what the schema wants there. Repeats no value of the data."""
    path, rule, wanted = f"data{_path(error.absolute_path)}", error.validator, error.validator_value
    if rule == "required" and isinstance(wanted, list):
        missing = [name for name in wanted if name not in error.instance]
        others = f", and so {'is' if len(missing) == 2 else 'are'} {_listed(missing[1:])}"
        return f"{path}.{missing[0]}", f"is missing{others if missing[1:] else ''}"
    if rule == "additionalProperties" and wanted is False:
        known = list(error.schema.get("properties", {}))
        return path, f"has a field besides {_listed(known)}" if known else "must be empty"
    if rule == "type":
        return path, f"must be of type {_listed(wanted if isinstance(wanted, list) else [wanted])}"
    if rule == "enum" and isinstance(wanted, list):
        return path, f"must be one of {_listed(wanted)}"
    if isinstance(wanted, (str, int, float)) and not isinstance(wanted, bool):
        return path, f"must have the {rule} {clean(wanted, 100)}"
    return path, f"must match the {rule}"


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _listed(names: Sequence[object]) -> str:
    """The first ten."""
    return clean(", ".join(map(str, names[:10])), 300) + (", ..." if len(names) > 10 else "")


def fits(schema: Any, event_type: str, data: Any, origin: str = "") -> bool:
    """Whether decoded ``data`` matches this JSON Schema."""
    return _first_error(schema, origin or in_settings(event_type), data) is None


def check(schema: Any, event_type: str, origin: str = "") -> None:
    """Raise ImproperlyConfigured if ``schema`` is neither a JSON Schema nor a file containing one."""
    _validator(schema, origin or in_settings(event_type))


def read(schema: Any, origin: str) -> Mapping[str, Any]:
    """``schema`` as a dict; it may be the path of a file. Raises ImproperlyConfigured if that has none."""
    if isinstance(schema, Mapping):
        return schema
    try:
        found = json.loads(Path(schema).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ImproperlyConfigured(
            f"{_file(schema, origin)} cannot be read as JSON: {clean(error, 300)}"
        ) from error
    if isinstance(found, bool):  # a JSON Schema, too
        return {} if found else {"not": {}}
    if not isinstance(found, Mapping):
        raise ImproperlyConfigured(f"{_file(schema, origin)} is not a JSON Schema: it is no object.")
    return found


def _file(path: Any, origin: str) -> str:
    return f"{origin} (file {clean(path, 300)})"


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
    schema: Any = read(text, origin) if is_path else json.loads(text)
    try:
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = _file(text, origin) if is_path else origin
        raise ImproperlyConfigured(f"{where} is not a valid JSON Schema {_flaw(error)}") from error
    except RecursionError as error:
        raise ImproperlyConfigured(f"{origin} is nested too deeply for a JSON Schema.") from error
    return kind(schema, registry=referencing.Registry())


def _flaw(error: Any) -> str:
    """Where a schema is wrong, as a JSON pointer, and why: "at #/properties/a/type: 'strng' is no type"."""
    pointer = "/".join(
        ["#", *(str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)]
    )
    reason = error.message
    if error.validator == "anyOf" and "simpleTypes" in repr(error.validator_value):
        reason = f"{error.instance!r} is no type. The types are {_TYPES}, or a list of them"
    return f"at {clean(pointer, 300)}: {clean(reason, 300)}"

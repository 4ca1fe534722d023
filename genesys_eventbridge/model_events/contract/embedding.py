"""Move a JSON Schema of the user into a larger document, where its references must still lead home."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesys_eventbridge.model_events.shapes import DIALECT

_OPEN = (
    "Any value here: the schema of this data is of an older dialect, or refers to its own $id, and cannot "
    "become a part of this document. The format json has it."
)
_URN = "urn:django-genesys-eventbridge:data:"
#: Keywords whose meaning depends on the base URI or on the dialect's older rules: such a schema stays whole.
_FIXED = {
    *("$id", "id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"),
    *("$vocabulary", "dependencies", "additionalItems"),
}
#: Keywords that draft 7 does not have and whose absence would change what is valid.
_NEW = {
    *("prefixItems", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"),
    *("minContains", "maxContains"),
}
#: Keywords whose members are schemas by name, and values: what they contain is data, not keywords.
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_VALUES = ("enum", "const", "examples", "example", "default", "required", "dependentRequired")


def embedded(schema: Mapping[str, Any], pointer: str, key: str, *, bundled: bool) -> dict[str, Any]:
    """``schema`` as a part of a document of dialect 2020-12, at this JSON pointer (``#/...``).

    Local references are rewritten. A schema that cannot be moved is ``bundled`` as a resource of its own, as
    section 9.3 of JSON Schema Core describes, or else replaced by one that allows every value: the document
    would not be valid with a schema of another dialect inside.
    """
    dialect = str(schema.get("$schema", DIALECT)).rstrip("#")
    content = {name: value for name, value in schema.items() if name != "$schema"}
    if _can_move(content, old=dialect != DIALECT):
        moved: dict[str, Any] = _moved(content, pointer)
        return moved
    if bundled and dialect == DIALECT:
        return {"$id": f"{_URN}{key}", **schema}
    return {"description": _OPEN}


def needs_its_dialect(schema: Any) -> bool:
    """Whether draft 7 would read it in another way: new keywords, or rules beside a reference."""
    if not isinstance(schema, Mapping):
        return False
    if _NEW & set(schema) or ("$ref" in schema and len(schema) > 1):
        return True
    return any(map(needs_its_dialect, _subschemas(schema)))


def _can_move(schema: Any, *, old: bool) -> bool:
    if not isinstance(schema, Mapping):
        return True
    if _FIXED & set(schema):
        return False
    reference = schema.get("$ref")
    if reference is not None and (
        not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/"))
    ):
        return False
    if old and (isinstance(schema.get("items"), list) or (reference is not None and len(schema) > 1)):
        return False
    if any(isinstance(schema.get(name), bool) for name in ("exclusiveMinimum", "exclusiveMaximum")):
        return False  # draft 4
    return all(_can_move(one, old=old) for one in _subschemas(schema))


def _subschemas(schema: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for name, value in schema.items():
        if name in _VALUES:
            continue
        if name in _NAMED and isinstance(value, Mapping):
            found += value.values()
        else:
            found += value if isinstance(value, list) else [value]
    return found


def _moved(schema: Any, pointer: str) -> Any:
    if isinstance(schema, list):
        return [_moved(one, pointer) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    result: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _VALUES:
            result[name] = value
        elif name == "$ref":
            result[name] = pointer + value[1:]
        elif name in _NAMED and isinstance(value, Mapping):
            result[name] = {key: _moved(one, pointer) for key, one in value.items()}
        else:
            result[name] = _moved(value, pointer)
    return result

"""Which changes of a JSON Schema break those who read the data that it describes.

A consumer relies on what the old schema promises. So a change is compatible if every value that the new
schema allows was allowed before, and every member that was always there still is: new members and narrower
values are compatible, wider values are not. The exception is an enumeration: a value that never comes any
more breaks a consumer that waits for it, so a narrowed one counts as breaking, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_BOTH = "or publish the new form under a new type beside the old one until every consumer has moved."
KEEP = f"Keep it, {_BOTH}"
_RENAMED = (
    "Keep the old name (where the model's field was renamed, a dict keeps it: "
    f'fields={{"old": "new"}}), {_BOTH}'
)
_NULL = f"Write a value in every case (a default, or an empty text), {_BOTH}"
_VALUES = f"Translate it to a value that consumers know with data= or a property, {_BOTH}"
_WAITING = (
    "Ask the consumers whether one waits for it. If none does, accept the change: write the file again."
)
_WIDER = f"Keep the old limit, or check with the consumers (the width of a column, a parser), {_BOTH}"
_UNKNOWN = "Compare the two schemas by eye. If consumers can read both, write the file again."

_DOCUMENTATION = {"title", "description", "examples", "default", "$comment", "deprecated", "$schema", "$id"}
_UPPER = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
_LOWER = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")
_EXACT = ("format", "pattern", "contentEncoding", "contentMediaType", "multipleOf")
_CLOSED = ("additionalProperties", "unevaluatedProperties")
_DEFINITIONS = ("$defs", "definitions")
_BESIDE_ALTERNATIVES = {*_DOCUMENTATION, *_DEFINITIONS, "anyOf"}
#: Keywords with a rule of their own below. Of others only equality can be judged.
_HANDLED = {
    *_DOCUMENTATION,
    *_UPPER,
    *_LOWER,
    *_EXACT,
    *_CLOSED,
    *_DEFINITIONS,
    *("type", "enum", "const", "properties", "required", "items", "anyOf", "allOf"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: where, what, and how to avoid it if it is breaking."""

    breaking: bool
    path: str
    text: str
    remedy: str = ""


def changes(old: Any, new: Any, path: str) -> Iterator[Change]:
    """How the schema at ``path`` changed, as seen by a consumer."""
    before, after = _mapping(old), _mapping(new)
    if before == after:
        return
    if any(before.get(name) != after.get(name) for name in _documentation(before, after)):
        yield Change(False, path, "its documentation changed")
    yield from _definition_changes(before, after, path)
    if before.get("anyOf") != after.get("anyOf"):
        yield from dict.fromkeys(_alternative_changes(before, after, path))
        return
    retyped = list(_type_changes(before, after, path))
    yield from retyped
    if any(one.breaking and one.remedy == KEEP for one in retyped):
        return  # nothing below can be compared
    yield from _value_changes(before, after, path)
    yield from _bound_changes(before, after, path)
    yield from _member_changes(before, after, path)
    yield from _item_changes(before, after, path)
    yield from _rule_changes(before, after, path)
    yield from _other_changes(before, after, path)


def _mapping(schema: Any) -> Schema:
    if isinstance(schema, Mapping):
        return schema
    return {"not": {}} if schema is False else {}


def _documentation(before: Schema, after: Schema) -> set[str]:
    return {name for name in {*before, *after} if name in _DOCUMENTATION or name.startswith("x-")}


# ---------------------------------------------------------------------------------------------- values


def _types(schema: Schema) -> set[str] | None:
    """The JSON types of its values; None if any is allowed."""
    given = schema.get("type")
    if isinstance(given, str):
        return {given}
    if isinstance(given, list):
        return set(given)
    values = _enumerated(schema)
    return None if values is None else {_type_of(value) for value in values}


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _enumerated(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return list(values) if isinstance(values, list) else None


def _type_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    old, new = _types(before), _types(after)
    if old == new:
        return
    if new is None:
        yield Change(True, path, f"was {_listed(old or ())}; may be any JSON value now", KEEP)
    elif old is None:
        yield Change(False, path, f"is always {_listed(new)} now")
    else:
        added = new - old - ({"integer"} if "number" in old else set())
        if added - {"null"}:
            yield Change(True, path, f"was {_listed(old)}; is {_listed(new)} now", KEEP)
        elif added:
            yield Change(True, path, "may be null now", _NULL)
        else:
            yield Change(False, path, f"was {_listed(old)}; is always {_listed(new)} now")


def _value_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    old, new = _enumerated(before), _enumerated(after)
    if old is None or new is None:
        if new is not None:
            yield Change(False, path, f"is one of {_values(new)} now")
        elif old is not None:
            yield Change(
                True, path, f"was one of {_values(old)}; may be another value now (widened enum)", _VALUES
            )
        return
    keys = {_json(value): value for value in [*old, *new] if value is not None}  # _types compares null
    known, current = set(map(_json, old)), set(map(_json, new))
    if added := [value for key, value in keys.items() if key not in known]:
        yield Change(True, path, f"may be {_values(added)} now (widened enum)", _VALUES)
    if gone := [value for key, value in keys.items() if key not in current]:
        yield Change(True, path, f"is never {_values(gone)} any more (narrowed enum)", _WAITING)


def _bound_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    for name in _UPPER + _LOWER + _EXACT:
        old, new = before.get(name), after.get(name)
        if name == "maxLength" and new is None and "enum" in after:
            new = max((len(one) for one in after["enum"] if isinstance(one, str)), default=None)
        if old == new:
            continue
        if old is None:
            yield Change(False, path, f"has {name} {_json(new)} now")
            continue
        narrower = new is not None and ((name in _UPPER and new < old) or (name in _LOWER and new > old))
        text = (
            f"{name} was {_json(old)}; is {_json(new)} now" if new is not None else f"has no {name} any more"
        )
        if new is None:
            text += f" (was {_json(old)})"
        wider = KEEP if name in _EXACT else _WIDER
        yield Change(not narrower, path, text, "" if narrower else wider)


# ------------------------------------------------------------------------------------ objects and lists


def _member_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    old, new = _mapping(before.get("properties")), _mapping(after.get("properties"))
    always, still = set(before.get("required") or ()), set(after.get("required") or ())
    for name, schema in old.items():
        member = _member(path, name)
        if name not in new:
            yield Change(True, member, "is gone (removed field)", _RENAMED)
            continue
        if name in always - still:
            yield Change(True, member, "may be missing now (it was required)", KEEP)
        elif name in still - always:
            yield Change(False, member, "is always present now")
        yield from changes(schema, new[name], member)
    for name in new:
        if name not in old:
            yield _new_member(before, new[name], _member(path, name))
    yield from _open_changes(before, after, path)


def _open_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    """Whether there may be members that the schema does not name."""
    for name in _CLOSED:
        if name in before and name in after:
            yield from changes(before[name], after[name], _member(path, "*"))
        elif name in before and _mapping(before[name]):
            yield Change(True, path, "may have other members now: they were refused", KEEP)
        elif name in after and _mapping(after[name]):
            yield Change(False, path, "has fewer members that are not named")


def _new_member(before: Schema, schema: Any, path: str) -> Change:
    for name in _CLOSED:
        allowed = before.get(name, True)
        if any(one.breaking for one in changes(allowed, schema, path)):
            return Change(True, path, f"is new, and {name} of the old schema refuses it", KEEP)
    return Change(False, path, "is new")


def _item_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    if "items" in before or "items" in after:
        yield from changes(before.get("items", True), after.get("items", True), f"{path}[]")


def _member(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --------------------------------------------------------------------------------------- combinations


def _alternative_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    """An alternative that changed is compared with what it was, a further one with all that there were.

    What it was is not known: of those that only one side has, the two of one JSON type with the fewest
    changes belong together.
    """
    known, offered = _alternatives(before), _alternatives(after)
    former = [one for one in known if one not in offered]
    current = [one for one in offered if one not in known]
    if not former and not current:
        yield Change(False, path, "its alternatives (anyOf) are in another order")
    while former and current:
        found, old, new = min(
            ((list(changes(old, new, path)), old, new) for old in former for new in current),
            key=lambda pair: (_types(pair[1]) != _types(pair[2]), len(pair[0]), _count(pair[0])),
        )
        yield from found
        former.remove(old)
        current.remove(new)
    for new in current:
        yield from _breaking(_closest([list(changes(old, new, path)) for old in known]))
        yield Change(False, path, "has an alternative (anyOf) more")
    if former:
        yield Change(False, path, "has fewer alternatives (anyOf)")


def _alternatives(schema: Schema) -> list[Schema]:
    """The schema once for each alternative of ``anyOf``, with the rest of what it says."""
    beside = {name: one for name, one in schema.items() if name not in _BESIDE_ALTERNATIVES}
    return [_both(beside, _mapping(one)) for one in schema.get("anyOf") or [{}]]


def _both(one: Schema, other: Schema) -> Schema:
    if any(one[name] != other[name] for name in one.keys() & other.keys()):
        return {"allOf": [one, other]}
    return {**one, **other}


def _rule_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    """Each rule of allOf must still be there."""
    if (before.get("allOf") or after.get("allOf")) and before.get("allOf") != after.get("allOf"):
        rules = after.get("allOf") or [{k: v for k, v in after.items() if k != "allOf"}]
        for one in before.get("allOf") or ():
            yield from _breaking(_closest([list(changes(one, new, path)) for new in rules]))
        yield Change(False, path, "its rules (allOf) changed")


def _closest(candidates: Sequence[list[Change]]) -> list[Change]:
    return min(candidates, key=_count)


def _count(found: Sequence[Change]) -> int:
    return sum(one.breaking for one in found)


def _breaking(found: Sequence[Change]) -> Iterator[Change]:
    return (one for one in found if one.breaking)


def _other_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    for name in sorted({*before, *after} - _HANDLED):
        if name.startswith("x-") or before.get(name) == after.get(name):
            continue
        if name not in before:
            yield Change(False, path, f"has the rule {name} now")
        else:
            text = f"the rule {name} changed in a way that this command cannot judge"
            yield Change(True, path, text, _UNKNOWN)


def _definition_changes(before: Schema, after: Schema, path: str) -> Iterator[Change]:
    for name in _DEFINITIONS:
        old, new = _mapping(before.get(name)), _mapping(after.get(name))
        for key in old:
            if key in new:
                yield from changes(old[key], new[key], _member(path, f"{name}.{key}"))


# ------------------------------------------------------------------------------------------------ words


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _values(values: Sequence[Any]) -> str:
    return ", ".join(map(_json, values))


def _listed(types: Any) -> str:
    return " or ".join(sorted(types, key=lambda name: (name == "null", name)))

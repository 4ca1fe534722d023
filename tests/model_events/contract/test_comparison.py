"""Which changes of a schema break its consumers; the table is the rule, in both directions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from genesys_eventbridge.model_events.contract.comparison import changes


def members(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas, "required": list(schemas)}


TEXT = {"type": "string"}
MAYBE = {"type": ["string", "null"]}
SIZES = {"type": "string", "enum": ["s", "m"]}
SEALED = {**members(a=TEXT), "additionalProperties": False}

#: name: old, new, the path and a word of the breaking change or None, the same for the way back.
TABLE: dict[str, tuple[Any, Any, tuple[str, str] | None, tuple[str, str] | None]] = {
    "member": (members(a=TEXT, b=TEXT), members(a=TEXT), ("b", "gone"), None),
    "member-of-member": (
        members(a=members(b=TEXT, c=TEXT)),
        members(a=members(b=TEXT)),
        ("a.c", "gone"),
        None,
    ),
    "member-of-element": (
        members(a={"type": "array", "items": members(b=TEXT, c=TEXT)}),
        members(a={"type": "array", "items": members(b=TEXT)}),
        ("a[].c", "gone"),
        None,
    ),
    "type": (members(a=TEXT), members(a={"type": "integer"}), ("a", "was string"), ("a", "was integer")),
    "number": ({"type": "number"}, {"type": "integer"}, None, ("", "was integer")),
    "any": (TEXT, {}, ("", "any JSON value"), None),
    "null": (members(a=TEXT), members(a=MAYBE), ("a", "null now"), None),
    "required": (members(a=TEXT), {**members(a=TEXT), "required": []}, ("a", "missing"), None),
    "enum": (SIZES, {"type": "string", "enum": ["s"]}, ("", "narrowed"), ("", "widened")),
    "enum-of-nothing": (SIZES, TEXT, ("", "widened"), None),
    "enum-with-null": (
        SIZES,
        {"type": ["string", "null"], "enum": ["s", "m", None]},
        ("", "null now"),
        None,
    ),
    "const": ({"const": "a"}, {"const": "b"}, ("", "widened"), ("", "widened")),
    "true-is-not-1": ({"enum": [1]}, {"enum": [1, True]}, ("", "was integer"), ("", "narrowed")),
    "length": ({**TEXT, "maxLength": 10}, {**TEXT, "maxLength": 20}, ("", "maxLength was 10"), None),
    "no-length": ({**TEXT, "maxLength": 10}, TEXT, ("", "no maxLength"), None),
    "length-to-choices": ({**TEXT, "maxLength": 1}, SIZES, None, ("", "widened")),
    "minimum": ({"type": "integer", "minimum": 1}, {"type": "integer"}, ("", "no minimum"), None),
    "format": (
        {**TEXT, "format": "date-time"},
        {**TEXT, "format": "date"},
        ("", "format was"),
        ("", "format was"),
    ),
    "pattern": ({**TEXT, "pattern": "^A"}, TEXT, ("", "no pattern"), None),
    "items": ({"items": TEXT}, {"items": MAYBE}, ("[]", "null"), None),
    "sealed": (SEALED, {**SEALED, "properties": {"a": TEXT, "b": TEXT}}, ("b", "refuses"), ("b", "gone")),
    "unsealed": (SEALED, members(a=TEXT), ("", "other members"), None),
    "alternative": ({"anyOf": [TEXT]}, {"anyOf": [TEXT, {"type": "null"}]}, ("", "null now"), None),
    "alternative-changed": (
        {"anyOf": [members(a=TEXT, b=TEXT, c=TEXT), members(a=TEXT)]},
        {"anyOf": [members(a=TEXT, b=TEXT), members(a=TEXT)]},
        ("c", "gone"),
        None,
    ),
    "alternative-of-its-type": (
        {"anyOf": [members(a=TEXT, b=TEXT), {"type": "array"}]},
        {"anyOf": [{"type": "array", "title": "A"}, members(a=TEXT, c=TEXT)]},
        ("b", "gone"),
        ("c", "gone"),
    ),
    "alternative-more": (
        members(a=TEXT),
        {"anyOf": [members(a=TEXT), members(b=TEXT)]},
        ("a", "gone"),
        None,
    ),
    "alternatives-in-another-order": ({"anyOf": [TEXT, SIZES]}, {"anyOf": [SIZES, TEXT]}, None, None),
    "rule-beside-alternatives": (
        {"maxLength": 9, "anyOf": [TEXT, SIZES]},
        {"anyOf": [TEXT, SIZES]},
        ("", "no maxLength"),
        None,
    ),
    "rule-beside-changed-alternatives": (
        {"maxLength": 9, "anyOf": [{**TEXT, "maxLength": 10}, SIZES]},
        {"anyOf": [{**TEXT, "maxLength": 10}, {**SIZES, "maxLength": 8}]},
        ("", "maxLength was 9; is 10"),
        ("", "any JSON value"),  # both limits hold, in two rules: not looked into
    ),
    "blank-url": (
        {**TEXT, "anyOf": [{"format": "iri"}, {"const": ""}]},
        {**TEXT, "format": "iri"},
        None,
        ("", "no format"),
    ),
    "rule": ({"allOf": [TEXT, {"maxLength": 3}]}, {"allOf": [TEXT]}, ("", "no maxLength"), None),
    "unknown-rule": ({"if": TEXT, "then": {}}, {"if": MAYBE, "then": {}}, ("", "judge"), ("", "judge")),
    "definition": ({"$defs": {"n": SIZES}}, {"$defs": {"n": TEXT}}, ("$defs.n", "widened"), None),
    "documentation": ({**TEXT, "description": "a"}, {**TEXT, "description": "b"}, None, None),
    "boolean-schema": (members(a=True), members(a=TEXT), None, ("a", "any JSON value")),
}


def breaking(old: Any, new: Any) -> list[tuple[str, str]]:
    return [(one.path, one.text) for one in changes(old, new, "") if one.breaking]


@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize("name", TABLE)
def test_a_change_breaks_consumers_or_it_does_not(name, direction) -> None:
    old, new, there, back = TABLE[name]
    expected = there
    if direction == "back":
        old, new, expected = new, old, back

    found = list(changes(old, new, ""))

    if expected is None:
        assert not any(one.breaking for one in found)
        assert found
    else:
        path, word = expected
        assert {one.path for one in found if one.breaking} == {path}
        assert any(word in one.text for one in found if one.breaking)


@pytest.mark.parametrize("name", TABLE)
def test_every_breaking_change_names_a_remedy_and_a_schema_equals_itself(name) -> None:
    old, new, *_ = TABLE[name]

    assert list(changes(old, old, "")) == []
    for one in (*changes(old, new, ""), *changes(new, old, "")):
        assert bool(one.remedy) is one.breaking


values = st.sampled_from(
    [None, True, 0, 1, 1.5, "", "a", "abc", [], ["a"], {}, {"a": "x"}, {"a": None, "b": 1}]
)
simple = st.fixed_dictionaries(
    {},
    optional={
        "type": st.lists(
            st.sampled_from(["string", "null", "integer", "number", "object", "array"]),
            min_size=1,
            unique=True,
        ),
        "enum": st.lists(values, min_size=1, max_size=4, unique_by=json.dumps),
        "maxLength": st.integers(0, 3),
        "minLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^a", "c$"]),
    },
)
schemas = simple | st.builds(
    lambda own, inner, required, closed: {
        **own,
        "properties": inner,
        "required": required,
        **({"additionalProperties": False} if closed else {}),
    },
    simple,
    st.dictionaries(st.sampled_from("ab"), simple, max_size=2),
    st.lists(st.sampled_from("ab"), unique=True),
    st.booleans(),
)


@given(old=schemas, new=schemas, value=values)
def test_what_a_compatible_schema_allows_the_old_one_allowed(old, new, value) -> None:
    """The law behind the table: without a breaking change no value surprises a consumer."""
    if not breaking(old, new) and Draft202012Validator(new).is_valid(value):
        assert Draft202012Validator(old).is_valid(value)

"""User schemas: data is judged at enqueue, as it will be decoded, and nothing is ever fetched."""

import json

import pytest
from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge.checks.settings import problems
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue

pytestmark = pytest.mark.django_db

ORDER = {
    "type": "object",
    "required": ["number"],
    "properties": {
        "number": {"type": "string"},
        "items": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
    },
}


@pytest.fixture
def schema(settings):
    def schema(value):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.created": value}}
        }

    return schema


def put(data, kind="order.created"):
    return enqueue(kind, data, standalone=True)


def test_data_that_fits_is_taken(schema):
    schema(ORDER)

    assert put({"number": "ORD-7", "items": [{"price": 1.5}]}).pk


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.number"),
        ({"number": 7}, "data.number"),
        ({"number": "x", "items": [{"price": "1"}]}, "data.items[0].price"),
    ],
)
def test_data_that_does_not_fit_names_the_path_and_is_not_stored(schema, data, field):
    schema(ORDER)

    with pytest.raises(InvalidEvent) as caught:
        put(data)

    assert caught.value.field == field
    assert "order.created" in str(caught.value)
    assert not OutboxEvent.objects.exists()


RULES = {
    "type": "object",
    "required": ["a", "b", "c"],
    "properties": {
        "a": {"enum": ["x", "y"]},
        "b": {"minimum": 5},
        "c": {"type": ["string", "null"]},
        "d": {"additionalProperties": False},
        "e": {"not": {"type": "object"}},
    },
    "additionalProperties": False,
}
GOOD = {"a": "x", "b": 5, "c": None}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"c": ""}, "data.a: is missing, and so is b (rule 'required' of"),
        ({}, "data.a: is missing, and so are b, c (rule"),
        ({**GOOD, "a": "z"}, "data.a: must be one of x, y (rule 'enum' of"),
        ({**GOOD, "b": 4}, "data.b: must have the minimum 5 (rule 'minimum' of"),
        ({**GOOD, "c": 1}, "data.c: must be of type string, null (rule 'type' of"),
        ({**GOOD, "d": {"z": 1}}, "data.d: must be empty (rule 'additionalProperties' of"),
        ({**GOOD, "z": 1}, "data: has a field besides a, b, c, d, e (rule 'additionalProperties' of"),
        ({**GOOD, "e": {}}, "data.e: must match the not (rule 'not' of"),
    ],
)
def test_the_refusal_says_what_the_schema_wants_and_where_it_is(schema, data, message):
    schema(RULES)

    with pytest.raises(InvalidEvent) as caught:
        put(data)

    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("Correct the data, or the schema in SCHEMAS['order.created'].")


def test_the_refusal_repeats_no_payload(schema):
    schema(ORDER)

    with pytest.raises(InvalidEvent) as caught:
        put({"number": ["payload-canary"]})

    assert "canary" not in str(caught.value)


def test_other_types_are_not_judged(schema):
    schema(ORDER)

    assert put({}, "order.deleted").pk


def test_a_schema_may_live_in_a_file(schema, tmp_path):
    file = tmp_path / "order.json"
    file.write_text(json.dumps(ORDER), "utf-8")
    schema(file)

    with pytest.raises(InvalidEvent):
        put({})


def test_a_remote_reference_is_never_fetched(schema):
    schema({"$ref": "http://127.0.0.1:1/schema.json"})

    with pytest.raises(ImproperlyConfigured, match=r"order\.created"):
        put({})


@pytest.mark.parametrize("value", [{"type": 7}, "/no/such/file.json"])
def test_a_schema_that_is_none_is_named(schema, value):
    schema(value)

    with pytest.raises(ImproperlyConfigured, match=r"order\.created"):
        put({})


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        (
            {"properties": {"a": {"type": "strng"}}},
            "not a valid JSON Schema at #/properties/a/type: 'strng' is no type",
        ),
        (
            {"properties": {"a/b": {"minimum": "x"}}},
            "at #/properties/a~1b/minimum: 'x' is not of type 'number'",
        ),
        ([], "cannot be read as JSON"),
    ],
)
def test_a_schema_that_is_none_says_where(schema, value, flaw, tmp_path):
    if value == []:
        value = tmp_path / "broken.json"
        value.write_text("{", "utf-8")
        flaw = f"SCHEMAS['order.created'] (file {value}) {flaw}"
    schema(value)

    with pytest.raises(ImproperlyConfigured) as caught:
        put({})
    (problem,) = [each for each in problems() if each.id == "E004"]

    assert "SCHEMAS['order.created']" in str(caught.value)
    assert flaw in str(caught.value)
    assert str(caught.value) in problem.message

"""User schemas: data is judged at enqueue, as it will be decoded, and nothing is ever fetched."""

import json

import pytest
from django.core.exceptions import ImproperlyConfigured

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
        ({}, "data"),
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

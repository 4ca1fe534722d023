"""The catalogue as JSON Schema and as AsyncAPI: what real events are, and what other events are not."""

import json

import pytest
from django.db import transaction
from jsonschema import Draft202012Validator, FormatChecker

from genesys_eventbridge.cloudevents import NO_DATA, build_event
from genesys_eventbridge.model_events.catalogue import entries
from genesys_eventbridge.model_events.contract import asyncapi, json_schema
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue
from tests.kinds.models import Item
from tests.publishing import Declare, Publish
from tests.shop.models import Order, Product

pytest_plugins = ["tests.registrations", "tests.declaring"]

NUMBER = {
    "type": "object",
    "properties": {"number": {"$ref": "#/$defs/number"}, "parent": {"$ref": "#"}},
    "required": ["number"],
    "$defs": {"number": {"type": "string", "pattern": "^ORD-"}},
}
DRAFT_4 = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "properties": {"count": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}},
    "required": ["count"],
}


def judge(part: str = "") -> Draft202012Validator:
    """The validator of the whole document, or of one definition of it."""
    document = json_schema.document(entries())
    Draft202012Validator.check_schema(document)
    schema = {**document, "$ref": f"#/$defs/{part}"} if part else document
    return Draft202012Validator(schema, format_checker=FormatChecker())


def payload(key: str) -> Draft202012Validator:
    document = asyncapi.document(entries(), "1")
    where = f"#/components/messages/{key}/payload"
    if "schemaFormat" in document["components"]["messages"][key]["payload"]:
        where += "/schema"
    return Draft202012Validator({**document, "$ref": where}, format_checker=FormatChecker())


def errors(validator: Draft202012Validator, event: object) -> list[str]:
    return [error.message for error in validator.iter_errors(event)]


def event(data: object, type_: str = "order.created", **attributes: object) -> dict:
    built = build_event(type_, data, source="com.example.tests", **attributes)  # type: ignore[arg-type]
    return dict(json.loads(built.encode()))


@pytest.fixture
def orders(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number", "amount", "status"], subject="number")


GOOD = {"number": "ORD-1", "amount": "19.90", "status": "new"}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["created", "updated", "deleted"])
def test_the_event_of_a_row_with_every_kind_of_field_is_valid(publish: Publish, kind) -> None:
    names = [field.name for field in Product._meta.concrete_fields]
    types = {one: f"product.{one}" for one in ("created", "updated", "deleted")}
    publish(Product, **types, fields=names, subject="name")

    product = Product.objects.create(name="Lamp", price="19.90")
    product.save()
    product.delete()

    body = json.loads(OutboxEvent.objects.get(type=f"product.{kind}").body)
    assert set(body["data"]) == set(names)
    for validator in (judge(), judge(f"default.product.{kind}"), payload(f"default.product.{kind}")):
        assert errors(validator, body) == []
        assert errors(validator, {**body, "data": {**body["data"], "price": 19.9}}) != []


@pytest.mark.parametrize(
    "wrong",
    [
        event({**GOOD, "amount": 19.9}),
        event({**GOOD, "amount": "dear"}),
        event({**GOOD, "status": "lost"}),
        event({**GOOD, "number": None}),
        event({"number": "ORD-1", "amount": "1.00"}),
        event(GOOD, type_="order.paid"),
        {**event(GOOD), "source": "com.example.other"},
        {name: value for name, value in event(GOOD).items() if name != "time"},
        {name: value for name, value in event(GOOD).items() if name != "id"},
        {**event(GOOD), "datacontenttype": "text/plain"},
        {**event(GOOD), "region": {"no": "attribute"}},
        event(NO_DATA),
    ],
    ids=[
        *("number-for-text", "no-decimal", "unknown-choice", "null", "missing-member", "other-type"),
        *("other-source", "no-time", "no-id", "media-type", "object-attribute", "no-data"),
    ],
)
def test_what_is_no_such_event_is_not_valid(orders, wrong) -> None:
    assert errors(judge(), event(GOOD, subject="ORD-1", extensions={"region": "eu"})) == []
    assert errors(judge(), wrong) != []


def test_without_events_the_schema_accepts_none() -> None:
    assert errors(judge(), event(GOOD)) != []


def test_each_entry_of_a_type_is_an_alternative(publish: Publish) -> None:
    publish(Order, created="it.created", fields=["number"])
    publish(Item, created="it.created", fields=["level"])

    assert errors(judge(), event({"number": "A"}, "it.created")) == []
    assert errors(judge(), event({"level": 1}, "it.created")) == []
    assert errors(judge(), event({"colour": "red"}, "it.created")) != []


def test_destinations_and_types_of_any_name_have_keys_that_asyncapi_accepts(
    declare: Declare, settings
) -> None:
    settings.GENESYS_EVENTBRIDGE = {
        **settings.GENESYS_EVENTBRIDGE,
        "e.u": settings.GENESYS_EVENTBRIDGE["default"],
    }
    declare("order/created", example={})
    declare("order created", example={})
    declare("order.created", example={}, destination="e.u")

    document = asyncapi.document(entries(), "1")

    keys = list(document["components"]["messages"])
    assert len(keys) == 3
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") for key in keys)
    assert set(document["operations"]) == set(keys)
    assert len(document["channels"]) == 2


def test_a_source_that_each_row_may_set_is_not_fixed(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"], source=lambda order: f"shop/{order.number}")

    assert errors(judge(), {**event({"number": "A"}), "source": "shop/7"}) == []


def test_a_source_that_the_registration_names_is_fixed(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"], source="com.example.other")

    assert errors(judge(), {**event({"number": "A"}), "source": "com.example.other"}) == []
    assert errors(judge(), event({"number": "A"})) != []


# ------------------------------------------------------------------------- the user's own schemas


def test_references_inside_a_declared_schema_still_lead_home(declare: Declare) -> None:
    declare("order.created", schema=NUMBER, example={"number": "ORD-1"})

    for validator in (judge(), payload("default.order.created")):
        assert errors(validator, event({"number": "ORD-1", "parent": {"number": "ORD-2"}})) == []
        assert errors(validator, event({"number": "7"})) != []
        assert errors(validator, event({"number": "ORD-1", "parent": {"number": "7"}})) != []


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"sizes": {"prefixItems": [{"type": "string"}], "items": False}}},
        {"$defs": {"sizes": {}}, "properties": {"sizes": {"$ref": "#/$defs/sizes", "maxItems": 1}}},
    ],
    ids=["new-keyword", "beside-a-reference"],
)
def test_a_payload_that_draft_7_would_read_in_another_way_names_its_dialect(declare: Declare, schema) -> None:
    declare("order.created", schema=schema)
    declare(
        "order.paid", schema={"properties": {"prefixItems": {"type": "array"}}, "required": ["prefixItems"]}
    )

    messages = asyncapi.document(entries(), "1")["components"]["messages"]

    assert "2020-12" in messages["default.order.created"]["payload"]["schemaFormat"]
    assert "schemaFormat" not in messages["default.order.paid"]["payload"]
    assert errors(payload("default.order.created"), event({"sizes": ["s"]})) == []
    assert errors(payload("default.order.created"), event({"sizes": ["s", "m"]})) != []


def test_names_that_look_like_keywords_are_data(declare: Declare) -> None:
    schema = {
        "properties": {"$ref": {"type": "string"}, "items": {"type": "array"}},
        "examples": [{"$ref": "#/nowhere", "items": []}],
    }
    declare("order.created", schema=schema)

    (entry,) = entries()

    assert entry.example == {"$ref": "#/nowhere", "items": []}
    assert errors(judge(), event({"$ref": "#/nowhere"})) == []
    assert errors(judge(), event({"$ref": 7})) != []


OWN_ID = {
    "$id": "https://example.com/order",
    "properties": {"number": {"$ref": "order#/$defs/number"}},
    "$defs": NUMBER["$defs"],
}


@pytest.mark.parametrize(
    ("schema", "good", "bad", "bundled"),
    [
        (DRAFT_4, {"count": 1}, {"count": 0}, False),
        (OWN_ID, {"number": "ORD-1"}, {"number": "7"}, True),
    ],
    ids=["draft-4", "own-id"],
)
def test_a_schema_that_cannot_be_moved_is_bundled_or_left_open(
    declare: Declare, schema, good, bad, bundled
) -> None:
    declare("order.created", schema=schema)

    assert errors(judge(), event(good)) == []
    assert bool(errors(judge(), event(bad))) is bundled
    assert errors(payload("default.order.created"), event(good)) == []
    described = asyncapi.document(entries(), "1")["components"]["messages"]["default.order.created"][
        "payload"
    ]
    assert "cannot become a part" in described["properties"]["data"]["description"]


@pytest.mark.django_db
@pytest.mark.parametrize("data", [{"number": "ORD-1"}, b"\x00\xff", "text", None])
def test_a_declared_event_without_a_schema_allows_what_enqueue_takes(declare: Declare, data) -> None:
    declare("order.created", example={"number": "ORD-1"})
    with transaction.atomic():
        row = enqueue("order.created", data, source="com.example.elsewhere", subject="ORD-1", standalone=True)

    assert errors(judge(), json.loads(row.body)) == []


# ----------------------------------------------------------------------------------------- AsyncAPI


def test_a_destination_is_a_server_and_a_channel_and_a_type_an_operation_and_a_message(orders) -> None:
    document = asyncapi.document(entries(), "2.1.0")

    assert (document["asyncapi"], document["info"]["version"]) == ("3.0.0", "2.1.0")
    (server,) = document["servers"].values()
    (channel,) = document["channels"].values()
    operation = document["operations"]["default.order.created"]
    message = document["components"]["messages"]["default.order.created"]
    assert server["protocol"] in ("http", "https")
    assert channel["address"] == "/api/v2/eventbridge/events"
    assert operation["action"] == "send"
    assert message["contentType"] == "application/cloudevents+json"
    assert message["headers"]["properties"] == {"Content-Type": {"const": "application/cloudevents+json"}}
    assert errors(payload("default.order.created"), message["examples"][0]["payload"]) == []


@pytest.mark.parametrize("body", ["cloudevent", "data"])
def test_the_webhooks_token_is_a_parameter_and_its_attributes_are_headers_with_bare_data(
    publish: Publish, settings, body
) -> None:
    webhook = {
        "PROTOCOL": "webhook",
        "REGION": "us-east-1",
        "WEBHOOK_TOKEN": "s3cret-token",
        "WEBHOOK_BODY": body,
        "ON_DOUBT": "ask",
        "SOURCE": "com.example",
    }
    settings.GENESYS_EVENTBRIDGE = {"default": webhook}
    publish(Order, created="order ü", fields=["number"])

    document = asyncapi.document(entries(), "1")

    (channel,) = document["channels"].values()
    (message,) = document["components"]["messages"].values()
    assert channel["address"] == "/api/v2/integrations/webhooks/{token}/events"
    assert list(channel["parameters"]) == ["token"]
    assert "s3cret-token" not in json.dumps(document)
    headers = message["headers"]["properties"]
    if body == "data":
        assert headers["ce-type"] == {"const": "order%20%C3%BC"}
        assert message["payload"]["properties"].keys() == {"number"}
    else:
        assert headers == {"Content-Type": {"const": "application/json"}}
        assert message["payload"]["properties"]["type"] == {"const": "order ü"}

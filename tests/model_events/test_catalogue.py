"""The catalogue of events, for consumers, and the way back from an event to its object, for staff."""

import json

import pytest
from django.test import override_settings

from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.model_events.catalogue import Member, entries, object_url
from genesys_eventbridge.models import OutboxEvent
from tests import settings
from tests.publishing import Publish
from tests.shop.models import LineItem, Order, Product

pytest_plugins = ["tests.registrations"]


def payload(order: Order) -> dict:
    """What the warehouse needs to pack."""
    return {"number": order.number}


def test_every_event_of_every_registration_has_an_entry(publish: Publish) -> None:
    publish(
        Product,
        created="product.created",
        updated="product.updated",
        deleted="product.deleted",
        m2m={"tags": "product.tagged"},
        fields=["name"],
        changed=["price"],
    )
    publish(Order, created="order.created", data=payload)

    assert [(one.type, one.model, one.kind, one.destination, one.changed, one.text) for one in entries()] == [
        ("order.created", "shop.Order", "created", "default", (), "What the warehouse needs to pack."),
        ("product.created", "shop.Product", "created", "default", (), ""),
        ("product.deleted", "shop.Product", "deleted", "default", (), ""),
        ("product.tagged", "shop.Product", "tags", "default", (), ""),
        ("product.updated", "shop.Product", "updated", "default", ("price",), ""),
    ]


def test_members_tell_type_format_and_what_may_be_null(publish: Publish) -> None:
    publish(
        Product,
        created="product.created",
        fields={
            "key": "pk",
            "name": "name",
            "price": "price",
            "kind": "kind",
            "launched": "launched",
            "details": "details",
            "manual": "manual",
            "country": "origin",
            "mail": "supplier.email",
            "tags": "tags.name",
            "headline": "headline",
        },
    )

    (entry,) = entries()

    assert entry.members == (
        Member("key", "string", "uuid", text="id"),
        Member("name", "string", text="name"),
        Member("price", "string", "decimal", text="price"),
        Member("kind", "integer", choices=(1, 2), text="kind"),
        Member("launched", "string", "date-time", nullable=True, text="launched"),
        Member("details", "any", nullable=True, text="details"),
        Member("manual", "string", "file name", nullable=True, text="manual"),
        Member("country", "string", nullable=True, text="origin"),
        Member("mail", "string", "email", nullable=True, text="email"),
        Member("tags", "array", text="tags"),
        Member("tags[]", "string", text="name"),
        Member("headline", "any", nullable=True),
    )


def test_nested_members_have_their_path(publish: Publish) -> None:
    publish(LineItem, created="item.created", fields=["sku", "order.number", "order.customer.name"])

    (entry,) = entries()

    assert [(one.name, one.nullable) for one in entry.members] == [
        ("sku", False),
        ("order.number", False),
        ("order.customer", True),
        ("order.customer.name", True),
    ]
    assert entry.example == {"sku": "text", "order": {"number": "text", "customer": {"name": "text"}}}


def test_the_example_is_data_that_an_event_can_carry(publish: Publish) -> None:
    names = [field.name for field in Product._meta.concrete_fields]
    publish(Product, created="product.created", fields=names)

    (entry,) = entries()

    event = build_event(entry.type, entry.example, source="com.example")
    assert json.loads(event.encode())["data"] == entry.example
    assert entry.example["price"] == "19.90"
    assert entry.example["origin"] == "te"
    assert entry.example["launched"] == "2025-01-31T12:30:00Z"


@pytest.mark.parametrize("in_file", [False, True])
def test_a_schema_is_shown_and_its_example_wins(publish: Publish, tmp_path, in_file: bool) -> None:
    schema = {"type": "object", "examples": [{"number": "A-1"}]}
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    default = {
        **settings.GENESYS_EVENTBRIDGE["default"],
        "SCHEMAS": {"order.created": str(file) if in_file else schema},
    }
    with override_settings(GENESYS_EVENTBRIDGE={"default": default}):
        publish(Order, created="order.created", updated="order.updated", data=payload)
        created, updated = entries()

    assert (created.schema, created.example) == (schema, {"number": "A-1"})
    assert (updated.schema, updated.example) == (None, None)


def test_a_type_that_only_a_schema_describes_is_one_of_enqueue(publish: Publish) -> None:
    schema = {"type": "object", "examples": [{"number": "A-1"}]}
    declared = {"order.created": schema, "order.packed": schema, "order.lost": {"type": "object"}}
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": declared}
    with override_settings(GENESYS_EVENTBRIDGE={"default": default, "emea": default}):
        publish(Order, created="order.created", data=payload)
        found = entries()

    assert [(one.type, one.destination, one.occasion) for one in found] == [
        ("order.created", "default", "shop.Order created"),
        ("order.created", "emea", "enqueue()"),
        ("order.lost", "default", "enqueue()"),
        ("order.lost", "emea", "enqueue()"),
        ("order.packed", "default", "enqueue()"),
        ("order.packed", "emea", "enqueue()"),
    ]
    assert [(one.example, one.members) for one in found[-1:]] == [({"number": "A-1"}, ())]
    assert found[2].example is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (lambda order: f"/orders/{order.number}", "/orders/A-1"),
        ("note", "https://shop.example/A-1"),
        (lambda order: "//evil.example/", ""),
        (lambda order: "/\\evil.example/", ""),
        (lambda order: "javascript:alert(1)", ""),
        (lambda order: " javascript:alert(1)", ""),
        (lambda order: None, ""),
        (None, ""),
    ],
)
def test_the_way_to_the_object_is_a_web_address_or_nothing(publish: Publish, url, shown: str) -> None:
    publish(Order, created="order.created", fields=["number"], url=url)

    Order.objects.create(number="A-1", note="https://shop.example/A-1")

    event = OutboxEvent.objects.get()
    assert object_url(event.object_type, event.object_id) == shown


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("object_type", "object_id"),
    [("", ""), ("shop.order", "4711"), ("shop.order", "x"), ("shop.product", "x"), ("shop.gone", "1")],
)
def test_an_object_that_cannot_be_found_has_no_address(publish: Publish, object_type, object_id) -> None:
    for model in (Order, Product):
        publish(model, created="it.created", fields=["pk"], url=lambda one: "/")

    assert object_url(object_type, object_id) == ""

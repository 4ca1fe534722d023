"""``fields=`` and ``data=``: what an event carries, in the values that the database holds."""

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum

import django
import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy, override

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.model_events import Change
from genesys_eventbridge.model_events.columns import is_expression
from genesys_eventbridge.model_events.payload import canonical
from tests.publishing import Publish, data, events
from tests.shop.models import Bundle, Country, Customer, LineItem, Order, Product, Tag
from tests.truth.models import Phrase, Translation

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db
KEY = uuid.UUID("6f1c3a52-9d0b-4e6e-8c55-2f0f0d6a7b11")


@pytest.mark.parametrize(
    ("name", "value", "carried"),
    [
        ("price", Decimal(5), "5.00"),
        ("price", 0, "0.00"),
        ("price", "12.5", "12.50"),
        ("price", 1.25, "1.25"),
        ("stock", "7", 7),
        ("kind", Product.Kind.SERVICE, 2),
        ("get_kind_display", Product.Kind.GOODS, "Goods"),
        ("released", dt.date(2025, 1, 31), "2025-01-31"),
        ("released", "2025-01-31", "2025-01-31"),
        ("released", None, None),
        ("launched", dt.datetime(2025, 1, 31, 12, tzinfo=dt.UTC), "2025-01-31T12:00:00Z"),
        (
            "launched",
            dt.datetime(2025, 1, 31, 14, tzinfo=timezone.get_fixed_timezone(120)),
            "2025-01-31T12:00:00Z",
        ),
        ("launched", "2025-01-31T12:00:00+00:00", "2025-01-31T12:00:00Z"),
        ("manual", "manuals/lamp.pdf", "manuals/lamp.pdf"),
        ("manual", "", None),
        ("manual.name", "", None),
        ("details", {"sizes": [1, {"a": None}]}, {"sizes": [1, {"a": None}]}),
        ("details.color", {"color": "red"}, "red"),
        ("details.color", {}, None),
        ("name", gettext_lazy("Lamp"), "Lamp"),
        ("headline", None, "Lamp for 0.00"),
        ("label", None, "LAMP"),
        ("origin", None, None),
        ("id", KEY, str(KEY)),
        ("id", str(KEY), str(KEY)),
        ("pk", KEY, str(KEY)),
    ],
)
def test_a_value_is_carried_as_the_row_holds_it(publish: Publish, name: str, value, carried) -> None:
    """Whatever type was assigned: created and updated events of one row agree."""
    publish(Product, created="product.it", updated="product.it", fields={"it": name})
    column = {"get_kind_display": "kind", "pk": "id", "headline": "", "label": ""}.get(name, name).split(".")[
        0
    ]

    Product.objects.create(**{"name": "Lamp", **({column: value} if column else {})})
    (created,) = data()
    read = Product.objects.get()
    read.save()
    _, updated = data()

    assert created == {"it": carried}
    assert updated == ({"it": carried} if name != "headline" else {"it": "Lamp for 0.00"})


def test_lists_of_names_nest_by_relation(publish: Publish) -> None:
    publish(
        LineItem,
        created="item.created",
        fields=["sku", "order.number", "order.customer.email", "order.customer.name", "order_id"],
    )
    order = Order.objects.create(number="A-1", customer=Customer.objects.create(name="Ana", email="a@x.org"))

    LineItem.objects.create(order=order, sku="lamp")

    assert data() == [
        {
            "sku": "lamp",
            "order": {"number": "A-1", "customer": {"email": "a@x.org", "name": "Ana"}},
            "order_id": order.pk,
        }
    ]


def test_a_mapping_gives_each_path_its_name(publish: Publish) -> None:
    publish(Order, created="order.created", fields={"no": "number", "mail": "customer.email"})

    Order.objects.create(number="A-1", customer=Customer.objects.create(name="Ana", email="a@x.org"))

    assert data() == [{"no": "A-1", "mail": "a@x.org"}]


def test_a_relation_that_leads_nowhere_is_null(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["customer.email", "number"])
    publish(Order, created="order.created", fields={"mail": "customer.email"})

    Order.objects.create(number="A-1")

    assert data() == [{"customer": None, "number": "A-1"}, {"mail": None}]


def test_a_reverse_relation_to_one_that_leads_nowhere_is_null(publish: Publish) -> None:
    publish(Product, created="product.created", fields=["bundle.size"])

    Product.objects.create(name="Lamp")

    assert data() == [{"bundle": None}]


def test_a_relation_to_many_is_a_list_in_the_order_of_keys(publish: Publish) -> None:
    order = Order.objects.create(number="A-1")
    items = [LineItem.objects.create(order=order, sku=sku) for sku in ("lamp", "bulb")]
    publish(Order, updated="order.updated", fields=["items.sku", "number"])
    publish(Order, updated="order.updated", fields={"items": "items", "skus": "items.sku"})

    order.save()

    assert data() == [
        {"items": [{"sku": "lamp"}, {"sku": "bulb"}], "number": "A-1"},
        {"items": [item.pk for item in items], "skus": ["lamp", "bulb"]},
    ]


def test_a_foreign_key_is_carried_without_reading_the_other_row(publish: Publish) -> None:
    Country.objects.create(code="DE", name="Germany")
    Product.objects.create(name="Lamp", origin_id="DE")
    publish(Product, updated="product.updated", fields=["origin", "supplier_id"])
    product = Product.objects.get()

    with CaptureQueriesContext(connection) as queries:
        product.save()

    assert data() == [{"origin": "DE", "supplier_id": None}]
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE", "INSERT"]


def test_a_deferred_column_is_read_for_the_event(publish: Publish) -> None:
    Order.objects.create(number="A-1", note="fragile")
    publish(Order, updated="order.updated", fields=["note"])

    order = Order.objects.defer("note").get()
    order.save()

    assert data() == [{"note": "fragile"}]


def test_deferred_columns_are_read_at_once_and_the_object_stays_as_it_was(publish: Publish) -> None:
    Order.objects.create(number="A-1", note="fragile", amount=5)
    publish(Order, updated="order.updated", fields=["note", "amount", "number", "customer"])
    order = Order.objects.only("number").get()

    with CaptureQueriesContext(connection) as queries:
        order.save()

    assert data() == [{"note": "fragile", "amount": "5.00", "number": "A-1", "customer": None}]
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE", "SELECT", "INSERT"]
    assert order.get_deferred_fields() == {"note", "amount", "customer_id", "status", "currency"}


def test_a_value_made_by_the_database_is_read_back(publish: Publish) -> None:
    """``F("stock") - 1`` is no JSON value; what the row now holds is. The object itself stays as it was."""
    publish(Product, updated="product.updated", fields=["stock", "name"], subject="name")
    publish(Product, updated="product.updated", data=lambda product: {"left": product.stock})
    product = Product.objects.create(name="Lamp", stock=3)
    product.colour = "red"  # no column: it stays, too

    product.stock = F("stock") - 1
    product.name = Concat("name", Value("!"))
    product.save()

    assert data() == [{"stock": 2, "name": "Lamp!"}, {"left": 2}]
    assert {event.subject for event in events()} == {"Lamp!", ""}
    assert product.colour == "red"
    assert django.VERSION >= (6, 0) or is_expression(product.stock)  # from 6.0 on Django reads it back itself


def test_reading_back_takes_one_query(publish: Publish) -> None:
    publish(Product, updated="product.updated", fields=["stock", "price"])
    product = Product.objects.create(name="Lamp", stock=3)
    product.stock, product.price = F("stock") - 1, F("price") + 1

    with CaptureQueriesContext(connection) as queries:
        product.save()

    # Django 6.0 and later read expressions back by themselves.
    verbs = [query["sql"].split()[0] for query in queries]
    assert [verb for verb in verbs if verb != "SELECT"] == ["UPDATE", "INSERT"]
    assert verbs.count("SELECT") <= 1


@pytest.mark.parametrize("use_tz", [True, False])
def test_naive_times_are_in_the_zone_of_the_project(settings, use_tz: bool) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Tokyo"
    launched = Product._meta.get_field("launched")

    assert canonical(launched, dt.datetime(2025, 1, 31, 9)) == dt.datetime(2025, 1, 31, tzinfo=dt.UTC)


def test_translated_text_is_fixed_in_the_language_of_the_save(publish: Publish) -> None:
    publish(Order, created="order.created", data=lambda order: {"yes": gettext_lazy("Yes")})

    with override("de"):
        Order.objects.create(number="A-1")

    with override("en"):
        assert data() == [{"yes": "Ja"}]


def test_a_callable_takes_the_instance_or_the_change_too(publish: Publish) -> None:
    def both(order: Order, change: Change, extra: str = "") -> dict:
        return {"number": order.number, "kind": change.kind, "extra": extra}

    publish(Order, created="order.created", data=both)
    publish(Order, created="order.created", data=lambda order, extra="": [order.number, extra])
    publish(Order, created="order.created", data=str)

    Order.objects.create(number="A-1")

    assert data() == [{"number": "A-1", "kind": "created", "extra": ""}, ["A-1", ""], "A-1"]


def test_a_callable_may_return_any_json_value_but_nothing_else(publish: Publish) -> None:
    publish(Order, created="order.created", data=lambda order: None)
    publish(Order, updated="order.updated", data=lambda order: SimpleLazyObject(lambda: order))
    order = Order.objects.create(number="A-1")

    assert data() == [None]
    with pytest.raises(InvalidEvent, match="data: "), transaction.atomic():
        order.save()


def test_a_property_that_gives_an_object_is_refused(publish: Publish) -> None:
    """Nobody can guess what of a row belongs into an event."""
    publish(Product, created="product.created", fields={"child": "product_ptr"})

    with pytest.raises((InvalidEvent, AttributeError)), transaction.atomic():
        Product.objects.create(name="Lamp")


def test_a_method_that_changes_data_is_never_called(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["delete"])

    with pytest.raises(ImproperlyConfigured, match="'delete' of Order changes data"), transaction.atomic():
        Order.objects.create(number="A-1")


def test_a_child_carries_the_fields_of_its_parents(publish: Publish) -> None:
    publish(Bundle, created="bundle.created", fields=["pk", "name", "size", "tags"])

    bundle = Bundle.objects.create(name="Box", size=3)

    assert data() == [{"pk": str(bundle.pk), "name": "Box", "size": 3, "tags": []}]


def test_prefetched_relations_are_read_again(publish: Publish) -> None:
    """What was read before may be stale."""
    product = Product.objects.create(name="Lamp")
    product.tags.add(Tag.objects.create(name="heavy"))
    publish(Product, updated="product.updated", fields=["tags.name"])
    read = Product.objects.prefetch_related("tags").get()
    Tag.objects.update(name="light")

    with CaptureQueriesContext(connection) as queries:
        read.save()

    assert data() == [{"tags": [{"name": "light"}]}]
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE", "SELECT", "INSERT"]


def test_a_price_that_is_no_number_is_refused_by_its_name(publish: Publish) -> None:
    publish(Product, created="product.created", fields=["price"])
    price = Product._meta.get_field("price")

    assert canonical(price, Decimal("NaN")).is_nan()
    with pytest.raises((InvalidEvent, ValidationError)), transaction.atomic():
        Product.objects.create(name="Lamp", price=Decimal("NaN"))


def test_a_subject_may_be_an_enum(publish: Publish) -> None:
    class Capacity(Enum):
        HALL = "hall"

    publish(Order, created="order.created", fields=["number"], subject=lambda order: Capacity.HALL)

    Order.objects.create(number="A-1")

    assert [event.subject for event in events()] == ["hall"]


def test_a_relation_that_finds_its_rows_by_to_field_costs_one_query(publish: Publish) -> None:
    phrase = Phrase.objects.create(slug="hello")
    Translation.objects.create(phrase=phrase, text="hallo")
    publish(Phrase, updated="phrase.updated", fields=["translations.text"])
    with CaptureQueriesContext(connection) as queries:
        phrase.save()

    assert [query["sql"].split()[0] for query in queries] == ["UPDATE", "SELECT", "INSERT"]
    assert data() == [{"translations": [{"text": "hallo"}]}]

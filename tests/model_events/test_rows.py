"""Where the values of an event come from: the row, in the database of its transaction."""

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.model_events import EventQuerySet, deletes, enqueue_for
from genesys_eventbridge.models import OutboxEvent
from tests.publishing import Publish, data, events, types
from tests.shop.models import Country, Customer, LineItem, Order, Product, Tag
from tests.truth.models import Bill

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db

#: After each write of an order its note says "by the trigger".
TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER order_{event} AFTER {event} ON shop_order BEGIN "
        "UPDATE shop_order SET note = 'by the trigger' WHERE id = NEW.id; END",
    ],
    "mysql": [
        "CREATE TRIGGER order_{event} BEFORE {event} ON shop_order "
        "FOR EACH ROW SET NEW.note = 'by the trigger'",
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION order_note() RETURNS trigger AS "
        "$$ BEGIN NEW.note = 'by the trigger'; RETURN NEW; END $$ LANGUAGE plpgsql",
        "CREATE TRIGGER order_{event} BEFORE {event} ON shop_order "
        "FOR EACH ROW EXECUTE FUNCTION order_note()",
    ],
}


@pytest.fixture
def trigger(transactional_db: None) -> Iterator[None]:
    made = ("insert", "update")
    with connection.cursor() as cursor:
        for event in made:
            for sql in TRIGGERS[connection.vendor]:
                cursor.execute(sql.format(event=event))
    yield
    with connection.cursor() as cursor:
        for event in made:
            on = " ON shop_order" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER order_{event}{on}")


class ToReplica:
    """Sends reads of the shop to a database that this project has not: a read that goes there fails."""

    def db_for_read(self, model, **hints):
        return "replica" if model._meta.app_label == "shop" else None

    def db_for_write(self, model, **hints):
        return "default"


@pytest.fixture
def replica(settings) -> None:
    settings.DATABASE_ROUTERS = ["tests.model_events.test_rows.ToReplica"]


def test_columns_that_triggers_set_are_read_back_if_the_registration_says_so(
    publish: Publish, trigger
) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        fields=["note"],
        changed=["note"],
        read_back=True,
    )

    order = Order.objects.create(number="A-1", note="by hand")
    QuerySet(Order).update(number="A-2")
    order.note = "by hand again"
    order.save()
    order.save(update_fields=["number"])

    assert data() == [{"note": "by the trigger"}]  # the updates left the row as it was


def test_a_trigger_counts_as_a_change(publish: Publish, trigger) -> None:
    publish(Order, updated="order.updated", fields=["note"], changed=["note"], read_back=True)
    order = Order.objects.create(number="A-1")
    with connection.cursor() as cursor:
        cursor.execute(
            "DROP TRIGGER order_update" + (" ON shop_order" if connection.vendor == "postgresql" else "")
        )
    QuerySet(Order).update(note="by hand")
    with connection.cursor() as cursor:
        cursor.execute(TRIGGERS[connection.vendor][-1].format(event="update"))

    order.save(update_fields=["number"])

    assert data() == [{"note": "by the trigger"}]


def test_reads_go_to_the_database_of_the_transaction_not_to_a_replica(publish: Publish, replica) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        deleted="order.deleted",
        data=lambda order: {
            "customer": order.customer.name,
            "items": [item.sku for item in order.items.all()],
            "others": Order.objects.count(),
        },
    )
    publish(Order, updated="order.told", fields=["customer.email", "items.sku", "customer.products.name"])
    order = Order(number="A-1", customer=Customer.objects.create(name="Ana"))
    order.save()
    LineItem.objects.create(order=order, sku="lamp")
    order.save()
    order.save(update_fields=["note"])
    with pytest.MonkeyPatch.context() as patch:  # a delete collects its rows by the router's choice
        patch.setattr(ToReplica, "db_for_read", lambda *_, **__: None)
        order.delete()

    assert types() == [
        "order.created",
        "order.updated",
        "order.told",
        "order.updated",
        "order.told",
        "order.deleted",
    ]
    assert data()[-1] == {"customer": "Ana", "items": ["lamp"], "others": 1}
    assert data()[2] == {"customer": {"email": "", "products": []}, "items": [{"sku": "lamp"}]}


def test_bulk_events_read_relations_of_the_database_that_is_written(publish: Publish, replica) -> None:
    publish(Order, updated="order.updated", fields=["customer.email", "items.sku"])
    ana = Customer.objects.create(name="Ana", email="ana@example.com")
    for number in ("A-1", "A-2"):
        LineItem.objects.create(order=Order.objects.create(number=number, customer=ana), sku="lamp")

    with transaction.atomic():
        enqueue_for(Order.objects.all(), "updated")
        EventQuerySet(Order, using="default").update(note="x")

    assert data() == [{"customer": {"email": "ana@example.com"}, "items": [{"sku": "lamp"}]}] * 4


def test_the_rows_of_one_delete_are_read_at_once(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number", "customer.email", "items.sku"])

    def statements(count: int) -> int:
        for number in range(count):
            order = Order.objects.create(
                number=f"{count}-{number}", customer=Customer.objects.create(name="Ana")
            )
            LineItem.objects.create(order=order, sku="lamp")
        with CaptureQueriesContext(connection) as queries:
            Order.objects.all().delete()
        return sum(query["sql"].startswith("SELECT") for query in queries)

    few = statements(2)

    assert statements(6) == few
    assert {event.data["items"][0]["sku"] for event in events()} == {"lamp"}


def test_a_row_that_was_deleted_meanwhile_has_no_deleted_event(publish: Publish) -> None:
    publish(Tag, deleted="tag.deleted", fields=["name"])
    tag = Tag.objects.create(name="light")
    QuerySet(Tag)._raw_delete("default")

    tag.delete()

    assert not OutboxEvent.objects.exists()


def test_a_failed_delete_leaves_the_object_its_key(publish: Publish) -> None:
    publish(Product, deleted="product.deleted", data=lambda product: object())
    product = Product.objects.create(name="Lamp")
    key = product.pk

    with pytest.raises(Exception, match="data"):
        product.delete()

    assert product.pk == key


@pytest.mark.django_db(transaction=True)
def test_a_delete_in_an_order_that_is_not_known_fails_instead_of_losing_its_event(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are read when the collector begins its statements; a later Django may begin them otherwise."""
    publish(Tag, deleted="tag.deleted", fields=["name"])
    tag = Tag.objects.create(name="light")
    monkeypatch.setattr(deletes._BeforeFirstStatement, "__iter__", list.__iter__)

    with pytest.raises(RuntimeError, match="Please report it"):
        tag.delete()

    assert Tag.objects.filter(pk=tag.pk).exists()


def test_an_insert_with_a_key_that_was_assigned_locks_nothing(publish: Publish) -> None:
    """A lock on a row that is not there stops other inserts on MySQL."""
    publish(Country, updated="country.updated", fields=["name"], changed=["name"])
    with CaptureQueriesContext(connection) as queries:
        Country(code="DE", name="Germany").save()
        inserting = len(queries)
        Country(code="DE", name="Allemagne").save()
    locking = ["FOR " in query["sql"] and "UPDATE" in query["sql"] for query in queries]

    assert not any(locking[:inserting])
    assert any(locking[inserting:]) is connection.features.has_select_for_update
    assert data() == [{"name": "Allemagne"}]


def test_a_generated_column_counts_as_changed_by_a_save_of_what_it_is_made_from(publish: Publish) -> None:
    publish(Bill, updated="bill.updated", fields=["total"], changed=["total"])
    bill = Bill.objects.create(price=2)

    bill.count = 4
    bill.save(update_fields=["count"])
    bill.save(update_fields=["count"])
    bill.save()

    assert data() == [{"total": 8}]


def test_a_receiver_that_comes_first_and_creates_the_row_again_changes_no_order(publish: Publish) -> None:
    publish(Country, created="country.created", deleted="country.deleted", fields=["name"])

    def create_again(instance: Country, **_: object) -> None:
        Country.objects.create(code=instance.code, name="again")

    post_delete.connect(create_again, sender=Country, weak=False)
    with post_delete.lock:  # before the receiver of this package
        post_delete.receivers.insert(0, post_delete.receivers.pop())
        post_delete.sender_receivers_cache.clear()
    try:
        Country.objects.create(code="DE", name="Germany").delete()
    finally:
        post_delete.disconnect(create_again, sender=Country)

    assert types() == ["country.created", "country.deleted", "country.created"]

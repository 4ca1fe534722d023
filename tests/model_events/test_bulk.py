"""Bulk operations send no signals: enqueue_for() and EventQuerySet write their events all the same."""

import threading
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, OperationalError, connection, connections, transaction
from django.db.models import Count, F, Model, QuerySet
from django.db.models.signals import post_delete, post_save
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from genesys_eventbridge.errors import InvalidEvent, NotInTransaction
from genesys_eventbridge.model_events import EventManager, enqueue_for, suppress_events
from genesys_eventbridge.models import OutboxEvent
from tests import settings
from tests.publishing import Publish, data, events, types
from tests.shop.models import Bargain, Bundle, Country, Customer, Order, Product, Tag
from tests.truth.models import Land

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)


@pytest.fixture
def published(publish: Publish) -> None:
    publish(
        Product,
        created="product.created",
        updated="product.updated",
        deleted="product.deleted",
        fields=["name", "stock", "supplier.email"],
        changed=["stock"],
        subject="name",
    )


@pytest.fixture
def products(published) -> list[Product]:
    supplier = Customer.objects.create(name="Ana", email="ana@example.com")
    with suppress_events():
        return [
            Product.objects.create(name=name, stock=stock, supplier=supplier)
            for stock, name in enumerate(("Lamp", "Bulb", "Stone"))
        ]


def in_block(objects, kind: str) -> list[OutboxEvent]:
    with transaction.atomic():
        return enqueue_for(objects, kind)


def stocks() -> list[tuple]:
    return sorted((event.type, event.data["name"], event.data["stock"]) for event in events())


# ------------------------------------------------------------------------------------------ enqueue_for


def test_enqueue_for_writes_what_a_loop_of_saves_would_write(products) -> None:
    rows: QuerySet[Product] = QuerySet(Product).filter(stock__gt=0)

    with transaction.atomic():
        rows.update(stock=7)
        written = enqueue_for(Product.objects.filter(stock=7), "updated")

    assert written == events()
    assert stocks() == [("product.updated", "Bulb", 7), ("product.updated", "Stone", 7)]
    assert {event.data["supplier"]["email"] for event in events()} == {"ana@example.com"}


def test_enqueue_for_says_what_the_rows_hold(products) -> None:
    lamp = products[0]
    lamp.stock = 99

    in_block([lamp], "created")

    assert stocks() == [("product.created", "Lamp", 0)]


def test_enqueue_for_reads_columns_without_making_objects(publish: Publish, monkeypatch) -> None:
    """The keys are one parameter, whatever their number, and no code of the model runs."""
    publish(Order, created="order.created", fields=["number", "amount"], subject="number")
    with suppress_events():
        orders = [Order.objects.create(number=f"A-{number}", amount=number) for number in range(3)]
    QuerySet(Order).filter(number="A-1").update(amount=F("amount") * 2)
    monkeypatch.setattr(Order, "from_db", None)

    with CaptureQueriesContext(connection) as queries:
        in_block(orders, "created")

    assert [(event.subject, event.data["amount"]) for event in events()] == [
        ("A-0", "0.00"),
        ("A-1", "2.00"),
        ("A-2", "2.00"),
    ]
    (read,) = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert read.count("SELECT") == 2
    assert [event.object_id for event in events()] == [str(order.pk) for order in orders]


def test_enqueue_for_takes_keys_that_are_text(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"])
    with suppress_events():
        made = Order.objects.create(number="A-1")

    in_block([Order(pk=str(made.pk))], "created")

    assert data() == [{"number": "A-1"}]


def test_a_row_whose_code_runs_is_the_models_own_object(publish: Publish, monkeypatch) -> None:
    """from_db of the model and attributes of the instance belong to it."""

    def from_db(cls, *arguments, **keywords):
        made = Model.from_db.__func__(cls, *arguments, **keywords)  # type: ignore[attr-defined]
        made.seen = True
        return made

    seen_by = property(lambda order: [order.seen, order.changed_by])
    monkeypatch.setattr(Order, "from_db", classmethod(from_db))
    monkeypatch.setattr(Order, "seen_by", seen_by, raising=False)
    publish(Order, created="order.created", fields=["seen_by"])
    with suppress_events():
        made = Order.objects.create(number="A-1")
    made.changed_by = "Bob"  # type: ignore[attr-defined]

    in_block([made], "created")

    assert data() == [{"seen_by": [True, "Bob"]}]


def test_a_property_may_not_write_to_the_row(publish: Publish, monkeypatch) -> None:
    touched = property(lambda order: Order.objects.filter(pk=order.pk).update(note="x"))
    monkeypatch.setattr(Order, "touched", touched, raising=False)
    publish(Order, created="order.created", fields=["touched"])

    with pytest.raises(ImproperlyConfigured, match="Callables may only read"), transaction.atomic():
        Order.objects.create(number="A-1")

    assert not events()


def test_enqueue_for_a_row_that_is_not_there_is_refused(products) -> None:
    lamp = Product.objects.get(name="Lamp")
    QuerySet(Product).filter(pk=lamp.pk)._raw_delete("default")

    with pytest.raises(ValueError, match=r"1 of these shop\.Product are not in the database"):
        in_block([*products[1:], lamp], "deleted")

    assert not events()


def test_enqueue_for_deletes_before_they_happen(products) -> None:
    gone: QuerySet[Product] = QuerySet(Product).filter(name="Lamp")

    in_block(gone, "deleted")
    gone._raw_delete("default")

    assert stocks() == [("product.deleted", "Lamp", 0)]
    assert [event.object_id for event in events()] == [str(products[0].pk)]


def test_enqueue_for_asks_when(publish: Publish) -> None:
    publish(Order, updated="order.updated", fields=["number"], when=lambda order: order.number == "A-1")
    for number in ("A-1", "A-2"):
        Order.objects.create(number=number)

    in_block(Order.objects.all(), "updated")

    assert data() == [{"number": "A-1"}]


def test_enqueue_for_does_not_know_what_changed(publish: Publish) -> None:
    publish(
        Order,
        updated="order.updated",
        changed=["status"],
        data=lambda order, change: [dict(change.before), dict(change.after)],
    )
    Order.objects.create(number="A-1")

    in_block(Order.objects.all(), "updated")

    assert data() == [[{}, {"status": "new"}]]


def test_enqueue_for_mixes_models_and_destinations(publish: Publish) -> None:
    with override_settings(
        GENESYS_EVENTBRIDGE={
            **settings.GENESYS_EVENTBRIDGE,
            "audit": settings.GENESYS_EVENTBRIDGE["default"],
        }
    ):
        publish(Order, created="order.created", fields=["number"])
        publish(Order, created="order.created", fields=["number"], destination="audit")
        publish(Tag, created="tag.created", fields=["name"])
        objects = [Order(number="A-1"), Tag(name="light"), Order(number="A-2")]
        with suppress_events():
            for one in objects:
                one.save()

        in_block(objects, "created")

    assert [(event.type, event.destination) for event in events()] == [
        ("order.created", "default"),
        ("order.created", "default"),
        ("order.created", "audit"),
        ("order.created", "audit"),
        ("tag.created", "default"),
    ]


def test_enqueue_for_takes_a_constant_number_of_statements(products) -> None:
    def statements(names: list[str]) -> list[str]:
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            enqueue_for(Product.objects.filter(name__in=names), "updated")
        return [query["sql"].split()[0] for query in queries]

    with suppress_events():
        Product.objects.bulk_create(
            Product(name=str(number), supplier=products[0].supplier) for number in range(20)
        )

    few = statements(["Lamp", "Bulb"])
    assert few == statements([str(number) for number in range(20)]) == ["SELECT", "SELECT", "INSERT"]


def test_enqueue_for_within_a_suppressed_block_writes_nothing(products) -> None:
    with suppress_events():
        assert in_block(products, "updated") == []

    assert not events()


def test_enqueue_for_nothing_is_nothing(products) -> None:
    assert in_block([], "updated") == []
    assert in_block(Product.objects.none(), "updated") == []


def test_enqueue_for_a_model_that_publishes_nothing_of_the_kind_is_refused(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"])
    order = Order.objects.create(number="A-1")

    with pytest.raises(ImproperlyConfigured, match=r"shop\.Order publishes no 'updated' event"):
        in_block([order], "updated")
    with pytest.raises(ImproperlyConfigured, match="one of created, updated, deleted"):
        in_block([order], "changed")


def test_enqueue_for_names_the_event_that_is_not_valid(publish: Publish) -> None:
    publish(Tag, updated="tag.updated", data=lambda tag: {"name": {1} if tag.name == "bad" else tag.name})
    for name in ("good", "bad"):
        Tag.objects.create(name=name)

    with pytest.raises(InvalidEvent, match=r"events\[1\]\.data\.name"):
        in_block(Tag.objects.order_by("pk"), "updated")


@committing
def test_enqueue_for_joins_the_transaction_of_the_change(products) -> None:
    with pytest.raises(NotInTransaction):
        enqueue_for(products, "updated")


def test_enqueue_for_a_model_of_another_database_is_refused(products, settings) -> None:
    settings.DATABASE_ROUTERS = ["tests.model_events.test_transactions.OutboxElsewhere"]

    with pytest.raises(ImproperlyConfigured, match="E012"):
        in_block(products, "updated")


# ---------------------------------------------------------------------------------------- EventQuerySet


def test_bulk_create_publishes_each_object(published) -> None:
    Product.objects.bulk_create([Product(name="Lamp", stock=1), Product(name="Bulb", stock=2)])

    assert stocks() == [("product.created", "Bulb", 2), ("product.created", "Lamp", 1)]
    assert {event.object_id for event in events()} == {str(product.pk) for product in Product.objects.all()}


def test_update_publishes_the_rows_it_wrote(products) -> None:
    assert Product.objects.filter(stock__gt=0).update(stock=F("stock") * 10) == 2

    assert stocks() == [("product.updated", "Bulb", 10), ("product.updated", "Stone", 20)]


def test_update_publishes_only_what_changed(products) -> None:
    Product.objects.update(stock=1)
    Product.objects.update(name="Thing")

    assert stocks() == [("product.updated", "Lamp", 1), ("product.updated", "Stone", 1)]


def test_update_knows_before_and_after(publish: Publish) -> None:
    Product.objects.create(name="Lamp", stock=3)
    publish(
        Product,
        updated="product.updated",
        changed=["stock"],
        data=lambda product, change: [change.before, change.after],
    )

    Product.objects.update(stock=F("stock") - 1)

    assert data() == [[{"stock": 3}, {"stock": 2}]]


def test_update_of_no_row_is_zero(products) -> None:
    assert Product.objects.filter(name="Nothing").update(stock=5) == 0
    assert not events()


@pytest.mark.parametrize(
    "chosen",
    [
        lambda: Product.objects.filter(supplier__name="Ana", stock=2),
        lambda: Product.objects.filter(stock=2).select_related("supplier", "origin"),
        lambda: Product.objects.exclude(origin__name="Mars").filter(stock=2),
        lambda: Product.objects.filter(stock=2).values("name"),
        lambda: Product.objects.filter(stock=2).distinct(),
        lambda: Product.objects.annotate(count=Count("tags")).filter(count=0, stock=2),
        lambda: Product.objects.filter(stock=2).order_by("-name").only("name"),
        lambda: Product.objects.filter(stock=2).annotate(double=F("stock") * 2),
        lambda: Customer.objects.get().products.filter(stock=2),
        lambda: Bargain.objects.filter(stock=2),
    ],
    ids=[
        "join",
        "select_related",
        "outer_join",
        "values",
        "distinct",
        "aggregate",
        "ordered",
        "annotated",
        "related",
        "proxy",
    ],
)
def test_update_takes_every_queryset_that_django_takes(products, chosen) -> None:
    assert chosen().update(stock=9) == 1

    assert stocks() == [("product.updated", "Stone", 9)]


def test_update_of_a_child_reaches_its_parents_columns(published) -> None:
    with suppress_events():
        Bundle.objects.create(name="Box", stock=1, size=2)

    assert Bundle.objects.filter(size=2).update(stock=5, size=3) == 1

    assert stocks() == [("product.updated", "Box", 5)]


def test_what_django_refuses_to_update_is_refused(products) -> None:
    with pytest.raises(TypeError, match="slice"):
        Product.objects.all()[:1].update(stock=1)
    with pytest.raises(NotSupportedError, match="union"):
        Product.objects.all().union(Product.objects.all()).update(stock=1)


def test_bulk_update_publishes_what_it_wrote(products) -> None:
    lamp, bulb, stone = products
    lamp.stock, bulb.stock, stone.stock = 5, F("stock") + 5, 2
    lamp.name = "Never saved"

    assert Product.objects.bulk_update(products, ["stock"]) == 3

    assert stocks() == [("product.updated", "Bulb", 6), ("product.updated", "Lamp", 5)]


def test_bulk_update_leaves_out_rows_that_are_gone(products) -> None:
    with suppress_events():
        Product.objects.filter(name="Lamp").delete()
    for product in products:
        product.stock = 50

    assert Product.objects.bulk_update(products, ["stock"]) == 2

    assert stocks() == [("product.updated", "Bulb", 50), ("product.updated", "Stone", 50)]


def test_objects_of_bulk_operations_know_what_was_written(products) -> None:
    (made,) = Product.objects.bulk_create([Product(name="New", stock=1)])
    products[0].stock = 50
    Product.objects.bulk_update(products, ["stock"])
    written = len(events())

    made.save()
    products[0].save()

    assert len(events()) == written


@pytest.mark.parametrize("work", ["create", "update", "bulk_update"])
def test_the_number_of_statements_does_not_grow_with_the_rows(published, work: str) -> None:
    supplier = Customer.objects.create(name="Ana")

    def statements(count: int) -> list[str]:
        objects = [Product(name=f"{count}", stock=1, supplier=supplier) for _ in range(count)]
        if work != "create":
            with suppress_events():
                Product.objects.bulk_create(objects)
        for product in objects:
            product.stock = 2
        with CaptureQueriesContext(connection) as queries:
            if work == "create":
                Product.objects.bulk_create(objects)
            elif work == "update":
                Product.objects.filter(name=str(count)).update(stock=F("stock") + 1)
            else:
                Product.objects.bulk_update(objects, ["stock"])
        return [query["sql"].split()[0] for query in queries]

    few = statements(2)
    assert few == statements(25)
    assert sum("INSERT" in verb for verb in few) == (2 if work == "create" else 1)
    assert len(events()) == 27


@committing
@pytest.mark.parametrize("work", ["create", "update", "bulk_update"])
def test_rows_and_events_commit_together(publish: Publish, work: str) -> None:
    """In autocommit mode too: an event that is not valid leaves everything as it was."""
    publish(Product, created="product.created", updated="product.updated", data=lambda product: {1})
    with suppress_events():
        product = Product.objects.create(name="Lamp", stock=1)
    product.stock = 2

    works = {
        "create": lambda: Product.objects.bulk_create([Product(name="Bulb")]),
        "update": lambda: Product.objects.update(stock=2),
        "bulk_update": lambda: Product.objects.bulk_update([product], ["stock"]),
    }

    with pytest.raises(InvalidEvent):
        works[work]()

    assert list(Product.objects.values_list("name", "stock")) == [("Lamp", 1)]
    assert not events()


@pytest.mark.parametrize(
    "option", [{"ignore_conflicts": True}, {"update_conflicts": True, "update_fields": ["name"]}]
)
def test_a_bulk_create_that_hides_what_it_created_is_refused(published, option) -> None:
    with pytest.raises(NotSupportedError, match="suppress_events"):
        Product.objects.bulk_create([Product(name="Lamp")], **option)
    assert not Product.objects.exists()

    if "ignore_conflicts" in option:
        with suppress_events():
            Product.objects.bulk_create([Product(name="Lamp")], **option)
        assert Product.objects.exists()
    assert not events()


def test_a_bulk_create_without_keys_is_refused(publish: Publish, monkeypatch) -> None:
    """MySQL returns none."""
    publish(Tag, created="tag.created", fields=["name"])
    monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)
    manager = EventManager()
    manager.model = Tag

    with pytest.raises(NotSupportedError, match=r"keys of bulk_create\(\).*shop\.Tag"), transaction.atomic():
        manager.bulk_create([Tag(name="light")])

    assert not Tag.objects.exists()
    assert not events()


def test_bulk_operations_in_a_suppressed_block_are_djangos_own(products) -> None:
    with suppress_events(), CaptureQueriesContext(connection) as queries:
        Product.objects.update(stock=5)
        Product.objects.bulk_update(products, ["stock"])
        Product.objects.bulk_create([Product(name="New")])

    assert [query["sql"].split()[0] for query in queries if "SAVEPOINT" not in query["sql"]] == [
        "UPDATE",
        "UPDATE",
        "INSERT",
    ]
    assert not events()


def test_bulk_operations_of_a_model_that_publishes_nothing_are_djangos_own() -> None:
    Product.objects.bulk_create([Product(name="New")])

    with CaptureQueriesContext(connection) as queries:
        Product.objects.update(stock=5)

    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]


def test_async_bulk_operations_publish_too(published) -> None:
    async def work() -> None:
        made = await Product.objects.abulk_create([Product(name="Lamp", stock=1)])
        made[0].stock = 2
        await Product.objects.abulk_update(made, ["stock"])
        await Product.objects.aupdate(stock=3)

    async_to_sync(work)()

    assert [event.data["stock"] for event in events()] == [1, 2, 3]


def test_a_plain_manager_publishes_nothing(published) -> None:
    """As Django documents: no signals. The docstring of publishes() says what to do."""
    plain: QuerySet[Product] = QuerySet(Product)
    plain.bulk_create([Product(name="Lamp")])
    plain.update(stock=5)
    plain.bulk_update(list(plain), ["stock"])

    assert not events()


@committing
def test_two_updates_at_once_publish_what_each_of_them_wrote(products) -> None:
    """The last lamp is sold once: the condition is judged on the row as the other transaction left it."""
    if not connection.features.has_select_for_update:
        pytest.skip("SQLite lets one transaction write at a time")
    with suppress_events():
        Product.objects.filter(name="Lamp").update(stock=1)
    sold: list[int] = []
    reading = threading.Event()

    def sell() -> None:
        try:
            reading.set()
            sold.append(Product.objects.filter(name="Lamp", stock__gt=0).update(stock=F("stock") - 1))
        finally:
            connection.close()

    with transaction.atomic():
        sold.append(Product.objects.filter(name="Lamp", stock__gt=0).update(stock=F("stock") - 1))
        rival = threading.Thread(target=sell)
        rival.start()
        assert reading.wait(10)
        wait_until_blocked()
    rival.join(10)

    assert sold == [1, 0]
    assert stocks() == [("product.updated", "Lamp", 0)]


def wait_until_blocked() -> None:
    """Until the other connection waits for our lock; a race that it wins is no failure of the law."""
    waiting = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }
    for _ in range(1000):
        with connection.cursor() as cursor:
            cursor.execute(waiting[connection.vendor])
            if cursor.fetchone()[0]:
                return


@committing
def test_rows_that_change_under_an_update_it_cannot_lock_make_it_fail(products, monkeypatch) -> None:
    """Better an error to run again than an event for a row that was not written."""
    if not connection.features.has_select_for_update:
        pytest.skip("SQLite lets one transaction write at a time")
    locked = type(Product.objects.all())._locked

    def too_many(self, chosen):
        return {**locked(self, chosen), uuid.uuid4(): products[0]}

    monkeypatch.setattr(type(Product.objects.all()), "_locked", too_many)

    with pytest.raises(OperationalError, match="run it again"):
        Product.objects.update(stock=5)

    assert not OutboxEvent.objects.exists()
    assert not QuerySet(Product).filter(stock=5).exists()


def test_enqueue_for_reads_a_queryset_anew(products) -> None:
    rows = Product.objects.filter(name="Lamp")
    assert [row.stock for row in rows] == [0]
    QuerySet(Product).update(stock=7)

    in_block(rows, "updated")

    assert stocks() == [("product.updated", "Lamp", 7)]


def test_enqueue_for_does_not_read_rows_that_it_only_names(publish: Publish) -> None:
    publish(Order, updated="order.updated", fields=["number", "customer"])
    for number in ("A-1", "A-2"):
        Order.objects.create(number=number, customer=Customer.objects.create(name="Ana"))

    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        enqueue_for(Order.objects.all(), "updated")

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "INSERT"]


def test_relations_without_a_name_of_their_own_are_read_at_once_too(publish: Publish) -> None:
    publish(Country, updated="country.updated", fields=["name", "product_set.name"])
    for code in ("DE", "FR", "IT"):
        country = Country.objects.create(code=code, name=code)
        Product.objects.create(name=f"Lamp from {code}", origin=country)

    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        enqueue_for(Country.objects.all(), "updated")

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT", "INSERT"]
    assert data()[1] == {"name": "FR", "product_set": [{"name": "Lamp from FR"}]}


def test_an_update_forgets_the_rows_that_were_read_before(products) -> None:
    rows = Product.objects.filter(name="Lamp").prefetch_related("tags")
    assert [row.stock for row in rows] == [0]

    rows.update(stock=7)

    assert [row.stock for row in rows] == [7]


def test_on_sqlite_an_update_begins_with_a_write(products, monkeypatch) -> None:
    """A deferred transaction that reads first fails at once while another one writes."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite")
    monkeypatch.setattr(connections["default"], "transaction_mode", "DEFERRED")
    with CaptureQueriesContext(connection) as queries:
        Product.objects.update(stock=7)
    first = next(query["sql"] for query in queries if "SAVEPOINT" not in query["sql"])

    assert first.startswith("UPDATE")


def test_an_update_of_the_primary_key_is_refused(publish: Publish) -> None:
    """The rows would be gone under the keys that are known, and nothing would be published."""
    with suppress_events():
        Land.objects.create(code="DE")
    publish(Land, updated="land.updated", fields=["code"])
    with pytest.raises(NotSupportedError, match="does not report which rows it changed"):
        Land.objects.filter(code="DE").update(code="AT")
    assert Land.objects.get().code == "DE"

    with suppress_events(), transaction.atomic():
        Land.objects.filter(code="DE").update(code="AT")
    with transaction.atomic():
        enqueue_for(Land.objects.filter(code="AT"), "updated")
    assert data() == [{"code": "AT"}]


def test_a_lazy_object_is_taken_for_what_it_stands_for(publish: Publish) -> None:
    """As ``request.user`` is one."""
    land = Land.objects.create(code="DE")
    publish(Land, updated="it.updated", deleted="it.deleted", fields=["code"])
    lazy: Any = SimpleLazyObject(Land.objects.get)
    with transaction.atomic():
        enqueue_for([lazy], "updated")
    post_save.send(Land, instance=SimpleLazyObject(lambda: land), created=False)
    post_delete.send(Land, instance=SimpleLazyObject(lambda: land))

    assert types() == ["it.updated", "it.updated", "it.deleted"]

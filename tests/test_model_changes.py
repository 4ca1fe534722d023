"""``changed=``: an update is published when one of these columns changed, judged without a query."""

import copy
import datetime as dt
import pickle
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.db.models import F, Value
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import model_changes
from genesys_eventbridge.model_changes import Change
from genesys_eventbridge.model_events import suppress_events
from tests.publishing import Publish, data, rolled_back, types
from tests.shop.models import Customer, Order, Product

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(publish: Publish) -> Order:
    """An order as somebody read it, whose status and customer matter."""
    Order.objects.create(number="A-1")
    publish(
        Order,
        updated="order.updated",
        changed=["status", "customer"],
        data=lambda order, change: {"before": dict(change.before), "after": dict(change.after)},
    )
    return Order.objects.get()


def test_an_unchanged_save_publishes_nothing(order: Order) -> None:
    order.note = "read again"
    order.save()

    assert not types()


def test_a_change_is_published_with_the_values_before_and_after(order: Order) -> None:
    order.status = "paid"
    order.save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


def test_each_save_is_compared_with_the_one_before(order: Order) -> None:
    for status in ("paid", "paid", "new"):
        order.status = status
        order.save()

    assert [event["after"]["status"] for event in data()] == ["paid", "new"]


def test_a_created_object_is_compared_with_what_it_was_created_with(order: Order) -> None:
    fresh = Order.objects.create(number="A-2")
    fresh.save()
    fresh.status = "paid"
    fresh.save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


def test_a_foreign_key_changes_by_its_key(order: Order) -> None:
    ana = Customer.objects.create(name="Ana")
    order.customer = ana
    order.save()

    assert data() == [{"before": {"customer": None}, "after": {"customer": ana.pk}}]


def test_columns_that_were_not_written_did_not_change(order: Order) -> None:
    order.status = "paid"
    order.save(update_fields=["note"])
    assert not types()

    order.save(update_fields=["status"])
    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


@pytest.mark.parametrize("name", ["customer", "customer_id"])
def test_update_fields_may_name_a_foreign_key_either_way(order: Order, name: str) -> None:
    order.customer = Customer.objects.create(name="Ana")
    order.save(update_fields=[name])

    assert len(types()) == 1


def test_a_deferred_column_that_is_assigned_counts_as_changed(order: Order) -> None:
    known = Order.objects.defer("status").get()
    known.status = "new"
    known.save()

    assert data() == [{"before": {}, "after": {"status": "new"}}]


def test_a_deferred_column_that_is_not_written_is_not_read(order: Order) -> None:
    known = Order.objects.defer("status").get()
    known.note = "x"
    with CaptureQueriesContext(connection) as queries:
        known.save()

    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]
    assert not types()


def test_a_deferred_column_that_was_loaded_later_is_known(order: Order) -> None:
    known = Order.objects.defer("status").get()
    assert known.status == "new"
    known.save()

    assert not types()


def test_an_instance_made_by_hand_knows_nothing_of_its_row(order: Order) -> None:
    by_hand = Order(pk=order.pk, number="A-1", status="new")
    by_hand.save()

    assert data() == [{"before": {}, "after": {"status": "new", "customer": None}}]


def test_an_instance_that_moves_to_another_row_knows_nothing_of_it(order: Order) -> None:
    other = Order.objects.create(number="A-2", status="paid")
    order.pk = other.pk
    order.number = "A-2"
    order.save()

    assert data() == [{"before": {}, "after": {"status": "new", "customer": None}}]


def test_what_was_known_of_another_row_is_forgotten_with_it(order: Order) -> None:
    other = Order.objects.create(number="A-2", status="paid")
    order.pk, order.number = other.pk, "A-2"
    order.save(update_fields=["note"])
    order.save()

    assert Order.objects.get(pk=other.pk).status == "new"
    assert [event["after"]["status"] for event in data()] == ["new"]


@committing
def test_a_copy_and_a_pickle_remember_on_their_own(order: Order) -> None:
    copied, pickled = copy.copy(order), pickle.loads(pickle.dumps(order))
    order.status = "paid"
    order.save()
    copied.save()  # writes the old value back: for this one nothing changed

    pickled.status = "shipped"
    pickled.save()

    assert [event["after"] for event in data()] == [{"status": "paid"}, {"status": "shipped"}]


def test_a_pickle_names_no_class_of_this_package(order: Order) -> None:
    """A cached instance can be read where the package is gone, or another version."""
    assert b"genesys_eventbridge" not in pickle.dumps(order)


def test_refresh_from_db_renews_what_is_known(order: Order) -> None:
    Order.objects.update(status="paid")
    order.refresh_from_db()
    order.save()

    assert not types()


def test_refresh_of_some_columns_leaves_the_others_assigned(order: Order) -> None:
    order.status = "paid"
    order.refresh_from_db(fields=["note"])
    order.save()

    assert [event["after"] for event in data()] == [{"status": "paid"}]


def test_refresh_by_a_queryset_that_leaves_columns_out_is_not_trusted(order: Order) -> None:
    order.status = "paid"
    order.refresh_from_db(from_queryset=Order.objects.only("note"))
    order.save()

    assert [event["after"]["status"] for event in data()] == ["paid"]


def test_a_value_that_only_the_database_knows_counts_as_changed(publish: Publish) -> None:
    Product.objects.create(name="Lamp", stock=3)
    publish(Product, updated="product.updated", changed=["stock"], data=lambda product, change: change.after)
    product = Product.objects.get()

    product.stock = F("stock") - 1
    product.save()

    assert data() == [{"stock": 2}]


def test_a_value_changed_in_place_is_seen(publish: Publish) -> None:
    Product.objects.create(name="Lamp", details={"sizes": [1]})
    publish(Product, updated="product.updated", fields=["details"], changed=["details"])
    product = Product.objects.get()

    product.save()
    product.details["sizes"].append(2)
    product.save()
    product.save()

    assert data() == [{"details": {"sizes": [1, 2]}}]


def test_true_and_one_are_two_values_in_json(publish: Publish) -> None:
    Product.objects.create(name="Lamp", details={"sold": 1})
    publish(Product, updated="product.updated", fields=["details"], changed=["details"])
    product = Product.objects.get()

    product.details = {"sold": True}
    product.save()

    assert len(types()) == 1


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("price", Decimal("10.00"), ["10", 10, "10.00", Decimal(10)]),
        ("released", dt.date(2025, 1, 31), ["2025-01-31"]),
        ("launched", dt.datetime(2025, 1, 31, tzinfo=dt.UTC), ["2025-01-31T00:00:00+00:00"]),
        ("kind", 2, ["2", Product.Kind.SERVICE]),
    ],
)
def test_the_same_value_in_another_type_is_no_change(publish: Publish, name: str, value, same) -> None:
    Product.objects.create(name="Lamp", **{name: value})
    publish(Product, updated="product.updated", fields=["name"], changed=[name])

    for other in same:
        product = Product.objects.get()
        setattr(product, name, other)
        product.save()

    assert not types()


def test_an_expression_is_never_what_was_before(publish: Publish) -> None:
    """Django 6.0 and later read the value back, so there it is known."""
    publish(Product, updated="product.updated", changed=["stock"], data=lambda product, change: change.before)
    product = Product.objects.create(name="Lamp", stock=3)
    product.stock = F("stock") - 1
    product.save()
    product.stock = 7
    product.save()

    before_first, before_second = data()
    assert before_first == {"stock": 3}
    assert before_second in ({}, {"stock": 2})


def test_an_expression_that_reads_like_the_value_counts_as_changed(publish: Publish) -> None:
    publish(Product, updated="product.updated", changed=["name"], fields=["name"])
    product = Product.objects.create(name="Value('Lamp')")
    product.name = Value("Lamp")
    product.save()

    assert data() == [{"name": "Lamp"}]


def test_a_value_that_the_field_cannot_read_counts_as_changed(monkeypatch) -> None:
    product = Product.objects.create(name="Lamp")
    field = Product._meta.get_field("name")
    model_changes.written(product, [field], "default")

    def refuse(value):
        raise ValidationError("not mine")

    monkeypatch.setattr(field, "to_python", refuse)
    product.__dict__["name"] = 5

    assert model_changes.differences(product, [field]) == {"name": ("Lamp", 5)}


def test_bytes_are_kept_as_they_were() -> None:
    buffer = bytearray(b"lamp")
    kept = model_changes.frozen(memoryview(buffer))
    buffer[0:1] = b"d"

    assert kept == b"lamp"


def test_a_file_changes_by_its_name(publish: Publish, tmp_path, settings) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    Product.objects.create(name="Lamp")
    publish(
        Product,
        updated="product.updated",
        changed=["manual"],
        data=lambda product, change: [dict(change.before), dict(change.after)],
    )
    product = Product.objects.get()

    product.save()
    assert not product.manual
    product.save()
    assert not types()

    product.manual.save("lamp.txt", ContentFile(b"On. Off."))
    assert data() == [[{"manual": ""}, {"manual": product.manual.name}]]


def test_what_is_known_costs_no_query(order: Order) -> None:
    with CaptureQueriesContext(connection) as queries:
        read = Order.objects.get()
        read.save()

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]


def test_suppressed_saves_are_remembered_all_the_same(order: Order) -> None:
    with suppress_events():
        order.status = "paid"
        order.save()
    order.save()

    assert not types()


def test_the_change_tells_what_was_created_and_deleted(publish: Publish) -> None:
    publish(
        Order,
        created="order.it",
        updated="order.changed",
        deleted="order.it",
        changed=["status"],
        data=lambda order, change: [change.kind, dict(change.before), dict(change.after)],
    )

    Order.objects.create(number="A-1").delete()

    assert data() == [["created", {}, {"status": "new"}], ["deleted", {"status": "new"}, {}]]


def test_without_changed_every_save_is_published_and_says_what_changed(publish: Publish) -> None:
    publish(Order, updated="order.updated", data=lambda order, change: sorted(change.after))
    order = Order.objects.create(number="A-1")

    order.save()
    order.number, order.amount = "A-2", 7
    order.save()

    assert data() == [[], ["amount", "number"]]


def test_when_may_look_at_the_change(publish: Publish) -> None:
    publish(
        Order,
        updated="order.paid",
        changed=["status"],
        fields=["number"],
        when=lambda order, change: change.before.get("status") == "new" and order.status == "paid",
    )
    order = Order.objects.create(number="A-1")

    for status in ("paid", "shipped", "paid"):
        order.status = status
        order.save()

    assert types() == ["order.paid"]


def test_a_change_shows_no_value_where_it_is_logged() -> None:
    assert "secret" not in repr(Change("updated", before={"note": "secret"}, after={"note": "secret"}))


# ------------------------------------------------------------------------ what a rolled-back save leaves


@committing
@pytest.mark.parametrize("block", ["transaction", "savepoint"])
def test_a_rolled_back_save_is_published_when_it_is_saved_again(order: Order, block: str) -> None:
    def fail() -> None:
        with rolled_back():
            order.status = "paid"
            order.save()

    if block == "savepoint":
        with transaction.atomic():
            fail()
    else:
        fail()
    assert not types()

    order.save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


@committing
def test_a_rolled_back_save_and_refresh_is_published_when_it_is_saved_again(order: Order) -> None:
    """The refresh read what the same transaction wrote, and that went away with it."""
    with rolled_back():
        order.status = "paid"
        order.save()
        order.refresh_from_db()

    order.save()

    assert [event["after"] for event in data()] == [{"status": "paid"}]


@committing
def test_an_object_read_in_a_rolled_back_transaction_is_not_trusted(order: Order) -> None:
    with rolled_back():
        Order.objects.update(status="paid")
        read = Order.objects.get()

    read.save()

    assert Order.objects.get().status == "paid"
    assert [event["after"]["status"] for event in data()] == ["paid"]


@committing
def test_there_and_back_in_one_transaction_are_two_events(order: Order) -> None:
    """Consumers must not be left with the value in between."""
    with transaction.atomic():
        for status in ("paid", "new"):
            order.status = status
            order.save()

    assert [event["after"]["status"] for event in data()] == ["paid", "new"]


@committing
def test_in_one_transaction_the_second_save_of_a_value_is_no_change(order: Order) -> None:
    with transaction.atomic():
        order.status = "paid"
        order.save()
        order.save()
        with transaction.atomic():
            order.save()
    order.save()

    assert len(types()) == 1


@committing
def test_what_was_read_in_a_transaction_is_known_in_it_and_after_it(order: Order) -> None:
    """As under ATOMIC_REQUESTS: read, change something else, save."""
    with transaction.atomic():
        read = Order.objects.get()
        read.save()
        with transaction.atomic():
            read.save()
    read.save()

    assert not types()


@committing
def test_what_was_read_in_a_savepoint_is_known_after_its_release(order: Order) -> None:
    with transaction.atomic():
        with transaction.atomic():
            read = Order.objects.get()
        read.save()

    assert not types()


@committing
def test_a_callback_that_runs_before_ours_after_the_commit_is_no_gap(order: Order) -> None:
    """It saves the value back, before this package has heard of the commit."""

    def back() -> None:
        order.status = "new"
        order.save()

    with transaction.atomic():
        transaction.on_commit(back)
        order.status = "paid"
        order.save()

    assert [event["after"]["status"] for event in data()] == ["paid", "new"]


@committing
def test_without_autocommit_what_was_read_is_not_trusted(order: Order) -> None:
    transaction.set_autocommit(False)
    try:
        Order.objects.update(status="paid")
        read = Order.objects.get()
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    read.save()

    assert [event["after"]["status"] for event in data()] == ["paid"]


@committing
def test_many_failed_saves_do_not_pile_up(order: Order) -> None:
    for number in range(40):
        with rolled_back():
            order.status = f"try {number}"
            order.save()
    _, seen = vars(order)["_eventbridge_seen"]

    assert len(seen["status"]) <= 8
    order.save()
    assert len(types()) == 1


@committing
def test_a_savepoint_takes_only_what_was_written_in_it(order: Order) -> None:
    with transaction.atomic():
        read = Order.objects.get()
        with rolled_back():
            read.status = "paid"
            read.save()
        read.save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


@committing
def test_a_pickle_made_in_a_rolled_back_transaction_is_not_trusted(order: Order) -> None:
    with rolled_back():
        order.status = "paid"
        order.save()
        pickled = pickle.dumps(order)

    pickle.loads(pickled).save()

    assert [event["after"]["status"] for event in data()] == ["paid"]


@committing
def test_many_saves_in_a_rolled_back_transaction_leave_the_value_before_them(order: Order) -> None:
    with rolled_back():
        for number in range(20):
            order.status = f"try {number}"
            order.save()

    order.save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "try 19"}}]

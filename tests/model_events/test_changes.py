"""``changed=``: an update is published when one of these columns differs between the row before and after."""

import copy
import datetime as dt
import pickle
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.db.models import F, Value
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.model_events import suppress_events
from genesys_eventbridge.model_events.changes import Change
from tests.publishing import Publish, data, rolled_back, types
from tests.shop.models import Customer, Order, Product
from tests.truth.models import Embassy, Guard, Land, Seat, Specimen

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


def test_a_deferred_column_is_compared_with_the_row(order: Order) -> None:
    for status in ("new", "paid"):
        known = Order.objects.defer("status").get()
        known.status = status
        known.save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


def test_a_deferred_column_that_is_not_written_did_not_change(order: Order) -> None:
    known = Order.objects.defer("status").get()
    known.note = "x"
    with CaptureQueriesContext(connection) as queries:
        known.save()

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]
    assert not types()


def test_a_deferred_column_that_was_loaded_later_is_known(order: Order) -> None:
    known = Order.objects.defer("status").get()
    assert known.status == "new"
    known.save()

    assert not types()


def test_an_instance_made_by_hand_is_compared_with_its_row(order: Order) -> None:
    for status in ("new", "paid"):
        Order(pk=order.pk, number="A-1", status=status).save()

    assert data() == [{"before": {"status": "new"}, "after": {"status": "paid"}}]


def test_an_instance_that_moves_to_another_row_is_compared_with_that_row(order: Order) -> None:
    other = Order.objects.create(number="A-2", status="paid")
    order.pk = other.pk
    order.number = "A-2"
    order.save()

    assert data() == [{"before": {"status": "paid"}, "after": {"status": "new"}}]


def test_what_was_written_to_another_row_does_not_matter(order: Order) -> None:
    other = Order.objects.create(number="A-2", status="paid")
    order.pk, order.number = other.pk, "A-2"
    order.save(update_fields=["note"])
    order.save()

    assert Order.objects.get(pk=other.pk).status == "new"
    assert [event["after"]["status"] for event in data()] == ["new"]


@committing
def test_a_copy_and_a_pickle_are_compared_with_the_row(order: Order) -> None:
    copied, pickled = copy.copy(order), pickle.loads(pickle.dumps(order))
    order.status = "paid"
    order.save()
    copied.save()  # writes the old value back

    pickled.status = "shipped"
    pickled.save()

    assert [event["after"]["status"] for event in data()] == ["paid", "new", "shipped"]


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
    publish(Product, updated="product.updated", changed=["stock"], data=lambda product, change: change.before)
    product = Product.objects.create(name="Lamp", stock=3)
    product.stock = F("stock") - 1
    product.save()
    product.stock = 7
    product.save()

    assert data() == [{"stock": 3}, {"stock": 2}]


def test_an_expression_that_reads_like_the_value_counts_as_changed(publish: Publish) -> None:
    publish(Product, updated="product.updated", changed=["name"], fields=["name"])
    product = Product.objects.create(name="Value('Lamp')")
    product.name = Value("Lamp")
    product.save()

    assert data() == [{"name": "Lamp"}]


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


def test_comparing_costs_one_query(order: Order) -> None:
    with CaptureQueriesContext(connection) as queries:
        Order.objects.get().save()
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]

    assert [sql.split()[0] for sql in statements] == ["SELECT", "SELECT", "UPDATE"]


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


def test_a_child_known_by_the_key_of_its_parent_is_compared_with_its_row(publish: Publish) -> None:
    """``Guard(id=5)``: Django copies the key of the parent to the child while it saves, and updates."""
    guard = Guard.objects.create(email="a@example.com", text="x", post="gate")
    publish(Guard, updated="guard.updated", fields=["post"], changed=["email", "post"])
    known = {"id": guard.pk, "email": "a@example.com", "badge_number": guard.badge_number, "text": "x"}

    Guard(**known, post="gate").save()
    assert not types()

    Guard(**known, post="door").save()
    assert data() == [{"post": "door"}]


@pytest.mark.parametrize("minute", ["2024-10-27T00:30Z", "2024-10-27T01:30Z", "2024-03-31T01:30Z"])
def test_a_time_is_that_of_the_row_where_the_database_keeps_local_time(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, minute: str
) -> None:
    """SQLite and MySQL keep half past two once, in an October night of Berlin that has it twice."""
    if connection.features.supports_timezones:
        pytest.skip("this database keeps UTC")
    monkeypatch.setattr(connection, "timezone", ZoneInfo("Europe/Berlin"))
    publish(Specimen, created="s.created", updated="s.updated", fields=["moment"], changed=["moment"])

    pk = Specimen.objects.create(moment=dt.datetime.fromisoformat(minute)).pk
    row = Specimen.objects.values_list("moment", flat=True).get(pk=pk).astimezone(dt.UTC)
    assert data() == [{"moment": row.isoformat().replace("+00:00", "Z")}]

    Specimen.objects.get(pk=pk).save()
    assert types() == ["s.created"]


def test_a_number_is_that_of_the_row_where_the_database_knows_no_negative_zero(publish: Publish) -> None:
    publish(Specimen, created="s.created", fields=["ratio"])
    Specimen.objects.create(ratio=-0.0)

    (event,) = data()
    assert str(event["ratio"]) == str(Specimen.objects.values_list("ratio", flat=True).get())


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL keeps NaN")
def test_a_value_that_is_not_a_number_does_not_change_by_itself(publish: Publish) -> None:
    Specimen.objects.create(ratio=float("nan"))
    publish(Specimen, updated="s.updated", fields=["name"], changed=["ratio"])
    Specimen.objects.get().save()

    assert not types()


@pytest.mark.parametrize("code", ["de", "DE "])
@pytest.mark.skipif(connection.vendor != "mysql", reason="MySQL finds a key in other letters, too")
def test_a_key_is_that_of_the_row_also_where_it_was_found_in_other_letters(
    publish: Publish, code: str
) -> None:
    """A key that is text, one that is the key of another row, one column of a composite key."""
    land = Land.objects.create(code="DE")
    Embassy.objects.create(land=land)
    Seat.objects.create(line="DE", number=1)
    publish(Land, updated="it.updated", fields=["code", "name"])
    publish(Embassy, updated="it.updated", fields=["land_id", "street"])
    publish(Seat, updated="it.updated", fields=["line", "guest"])

    Land(code=code, name="x").save()
    Embassy(land_id=code, street="x").save()
    Seat(line=code, number=1, guest="x").save()

    assert data() == [
        {"code": "DE", "name": "x"},
        {"land_id": "DE", "street": "x"},
        {"line": "DE", "guest": "x"},
    ]

"""The row and its event commit together, whoever opened the transaction, or nobody."""

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.db.transaction import TransactionManagementError
from django.forms import inlineformset_factory
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse

from genesys_eventbridge.errors import NotInTransaction
from genesys_eventbridge.model_events import suppress_events
from genesys_eventbridge.models import OutboxEvent
from tests.publishing import Boom, Publish, data, events, rolled_back, types
from tests.shop.admin import shop_admin
from tests.shop.models import Customer, LineItem, Order, Product, Tag

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nobody_is_woken(settings) -> None:
    """So that only the statements of the save are counted."""
    default = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": {**default, "WAKE": None}}


def order_created(publish: Publish, **given) -> None:
    publish(Order, created="order.created", **{"fields": ["number"], **given})


# ----------------------------------------------------------------------------------------- autocommit mode


def test_a_plain_save_commits_row_and_event_together(publish: Publish, receiver) -> None:
    order_created(publish)
    seen = []
    receiver(lambda instance, **_: seen.append((connection.in_atomic_block, OutboxEvent.objects.count())))

    Order.objects.create(number="A-1")

    assert seen == [(True, 1)]
    assert not connection.in_atomic_block
    assert types() == ["order.created"]


def test_a_receiver_that_fails_later_leaves_neither_row_nor_event(publish: Publish, receiver) -> None:
    order_created(publish)
    receiver(raise_boom)

    with pytest.raises(Boom):
        Order.objects.create(number="A-1")

    assert not Order.objects.exists()
    assert not events()


def test_a_receiver_that_fails_in_a_delete_leaves_the_row_and_no_event(publish: Publish, receiver) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    order = Order.objects.create(number="A-1")
    receiver(raise_boom, models.signals.post_delete)

    with pytest.raises(Boom):
        order.delete()

    assert Order.objects.exists()
    assert not events()


def test_a_many_to_many_change_commits_with_its_event(publish: Publish, receiver) -> None:
    publish(Product, m2m={"tags": "product.tagged"}, fields=["name"])
    product, tag = Product.objects.create(name="Lamp"), Tag.objects.create(name="light")
    receiver(raise_boom, models.signals.m2m_changed, Product.tags.through)

    with pytest.raises(Boom):
        product.tags.add(tag)

    assert not product.tags.exists()
    assert not events()


def test_atomic_false_leaves_the_save_as_django_made_it(publish: Publish, receiver) -> None:
    """Two commits, and nothing of the user's moves into a transaction."""
    order_created(publish, atomic=False)
    seen = []
    receiver(lambda instance, **_: seen.append(connection.in_atomic_block))

    Order.objects.create(number="A-1")

    assert seen == [False]
    assert types() == ["order.created"]


def test_atomic_false_within_a_transaction_is_one_commit(publish: Publish) -> None:
    order_created(publish, atomic=False)

    with rolled_back():
        Order.objects.create(number="A-1")

    assert not events()


def test_a_suppressed_save_is_djangos_own(publish: Publish, receiver) -> None:
    order_created(publish)
    seen: list[bool] = []
    receiver(lambda instance, **_: seen.append(connection.in_atomic_block))

    with suppress_events():
        Order.objects.create(number="A-1")

    assert seen == [False]


def test_autocommit_switched_off_is_a_transaction_too(publish: Publish) -> None:
    order_created(publish)

    transaction.set_autocommit(False)
    try:
        Order.objects.create(number="A-1")
        transaction.rollback()
        Order.objects.create(number="A-2")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)

    assert data() == [{"number": "A-2"}]


def raise_boom(**_) -> None:
    raise Boom


def test_a_save_that_goes_around_the_model_publishes(publish: Publish) -> None:
    """It has no transaction of ours: its row is read when Django sends the signal."""
    order_created(publish)

    models.Model.save_base(Order(number="A-1"))

    assert data() == [{"number": "A-1"}]


# -------------------------------------------------- a receiver of someone else swallows a database error


def swallow_integrity_error(instance, **_) -> None:
    try:
        Order.objects.create(number=instance.number)
    except DatabaseError:
        return


def swallow_bad_sql(**_) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
    except DatabaseError:
        return


def test_a_swallowed_database_error_makes_the_save_raise(publish: Publish, receiver) -> None:
    """Else the block would roll back in silence, and the save would return for a row that is not there."""
    publish(Product, created="product.created", fields=["name"])
    Order.objects.create(number="Lamp")

    def create_a_second_order(instance, **_) -> None:
        swallow_integrity_error(Order(number=instance.name))

    receiver(create_a_second_order, sender=Product)

    with pytest.raises(TransactionManagementError, match=r"shop\.Product is not saved"):
        Product.objects.create(name="Lamp")

    assert not Product.objects.exists()
    assert not events()


def test_a_swallowed_error_of_raw_sql_never_loses_the_row(publish: Publish, receiver) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK then, and Django does not notice."""
    order_created(publish)
    receiver(swallow_bad_sql)

    if connection.vendor == "postgresql":
        with pytest.raises(TransactionManagementError, match=r"shop\.Order is not saved"):
            Order.objects.create(number="A-1")
        assert not Order.objects.exists()
        assert not events()
    else:  # only the one statement failed
        Order.objects.create(number="A-1")
        assert Order.objects.exists()
        assert types() == ["order.created"]


def test_a_swallowed_deadlock_makes_the_save_raise(publish: Publish, receiver) -> None:
    """MySQL rolls the whole transaction back and goes on in a new one."""
    if connection.vendor != "mysql":
        pytest.skip("only MySQL and MariaDB go on after a deadlock")
    order_created(publish)

    def deadlock(**_) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock'")
        except DatabaseError:
            return

    receiver(deadlock)

    with pytest.raises(TransactionManagementError, match=r"shop\.Order is not saved"):
        Order.objects.create(number="A-1")

    assert not Order.objects.exists()


def test_a_transaction_that_the_driver_lost_makes_the_save_raise(publish: Publish, receiver) -> None:
    """SQLite rolls back by itself where the disk is full, for example."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite ends a transaction by itself")
    order_created(publish)
    receiver(lambda **_: connection.connection.rollback())

    with pytest.raises(TransactionManagementError, match=r"shop\.Order is not saved"):
        Order.objects.create(number="A-1")

    assert not events()


def test_atomic_false_in_a_transaction_that_was_lost_makes_the_save_raise(publish: Publish, receiver) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite ends a transaction by itself")
    order_created(publish, atomic=False)
    receiver(lambda **_: connection.connection.rollback())

    with pytest.raises(TransactionManagementError, match=r"shop\.Order is not saved"), transaction.atomic():
        Order.objects.create(number="A-1")

    assert not events()


def test_an_error_kept_in_a_savepoint_hurts_nobody(publish: Publish, receiver) -> None:
    order_created(publish)
    Customer.objects.create(pk=1, name="Ana")

    def careful(**_) -> None:
        try:
            with transaction.atomic():
                Customer.objects.create(pk=1, name="Ben")
        except IntegrityError:
            return

    receiver(careful)

    Order.objects.create(number="A-1")

    assert Order.objects.exists()
    assert types() == ["order.created"]


# ------------------------------------------------------------------------------- the user's transactions


def test_an_outer_rollback_takes_row_and_event(publish: Publish) -> None:
    publish(
        Order, created="order.created", updated="order.updated", deleted="order.deleted", fields=["number"]
    )

    with rolled_back():
        order = Order.objects.create(number="A-1")
        order.save()
        order.delete()

    assert not events()


def test_a_savepoint_takes_its_own_events_only(publish: Publish) -> None:
    order_created(publish)

    with transaction.atomic():
        Order.objects.create(number="A-1")
        with rolled_back():
            Order.objects.create(number="A-2")
        Order.objects.create(number="A-3")

    assert data() == [{"number": "A-1"}, {"number": "A-3"}]


def test_a_durable_block_holds_row_and_event(publish: Publish) -> None:
    order_created(publish)

    with transaction.atomic(durable=True):
        Order.objects.create(number="A-1")
    with rolled_back(durable=True):
        Order.objects.create(number="A-2")

    assert data() == [{"number": "A-1"}]


def test_a_locked_row_is_saved_with_its_event(publish: Publish) -> None:
    publish(Order, updated="order.updated", fields=["status"], changed=["status"])
    Order.objects.create(number="A-1")

    with transaction.atomic():
        order = Order.objects.select_for_update().get(number="A-1")
        order.status = Order.Status.PAID
        order.save(update_fields=["status"])

    assert data() == [{"status": "paid"}]


def test_get_or_create_publishes_what_it_creates(publish: Publish) -> None:
    order_created(publish)

    for _ in range(2):
        Order.objects.get_or_create(number="A-1")

    assert types() == ["order.created"]


def test_get_or_create_that_loses_the_race_leaves_no_event(publish: Publish, monkeypatch) -> None:
    """Another process inserts between the look and our insert: Django's savepoint takes row and event."""
    order_created(publish)
    with suppress_events():
        Order.objects.create(number="A-1")
    look = QuerySet.get
    misses = iter([Order.DoesNotExist])

    def too_early(self, *args, **kwargs):
        for error in misses:
            raise error
        return look(self, *args, **kwargs)

    monkeypatch.setattr(QuerySet, "get", too_early)

    _, created = Order.objects.get_or_create(number="A-1")

    assert not created
    assert not events()


def test_update_or_create_publishes_either_way(publish: Publish) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        fields=["number", "status"],
        changed=["status"],
    )

    for status in ("new", "paid", "paid"):
        Order.objects.update_or_create(number="A-1", defaults={"status": status})

    assert types() == ["order.created", "order.updated"]


@pytest.mark.django_db
def test_a_test_case_transaction_is_enough_for_the_save(publish: Publish) -> None:
    """REQUIRE_TRANSACTION holds by the block that the save opens: tests need no transaction of their own."""
    order_created(publish)

    Order.objects.create(number="A-1")

    assert types() == ["order.created"]


def test_a_delete_needs_no_transaction_of_the_caller(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    Order.objects.create(number="A-1").delete()
    Order.objects.create(number="A-2")

    Order.objects.all().delete()

    assert data() == [{"number": "A-1"}, {"number": "A-2"}]


def test_a_row_of_another_database_than_the_outbox_is_refused(publish: Publish, settings) -> None:
    order_created(publish, deleted="order.deleted")
    settings.DATABASE_ROUTERS = ["tests.model_events.test_transactions.OutboxElsewhere"]

    with pytest.raises(ImproperlyConfigured, match=r"shop\.Order.*'default'.*'elsewhere'.*E012"):
        Order.objects.create(number="A-1")
    with suppress_events():
        order = Order.objects.create(number="A-2")
    with pytest.raises(ImproperlyConfigured, match="E012"):
        order.delete()

    assert Order.objects.get().number == "A-2"


def test_a_set_of_another_database_than_the_outbox_is_refused(publish: Publish, settings) -> None:
    publish(Product, updated="product.updated", m2m={"tags": "product.tagged"}, fields=["name"])
    product, tag = Product.objects.create(name="Lamp"), Tag.objects.create(name="light")
    settings.DATABASE_ROUTERS = ["tests.model_events.test_transactions.OutboxElsewhere"]

    with pytest.raises(ImproperlyConfigured, match="E012"):
        product.tags.add(tag)
    with pytest.raises(ImproperlyConfigured, match="E012"):
        Product.objects.update(name="Bulb")

    assert not product.tags.exists()


class OutboxElsewhere:
    """A router that keeps the outbox in a database of its own."""

    def db_for_write(self, model: type[models.Model], **_) -> str | None:
        return "elsewhere" if model is OutboxEvent else None


# ---------------------------------------------------------------------------------------- the statements


@pytest.mark.parametrize("kind", ["created", "updated"])
def test_a_save_with_an_event_costs_one_insert_more(publish: Publish, kind: str) -> None:
    plain = [Order(number="A-0"), Order.objects.create(number="A-1")]
    publishing = [Order(number="A-2"), Order.objects.create(number="A-3")]
    which = 0 if kind == "created" else 1

    before = statements(lambda: save_in_block(plain[which]))
    publish(Order, **{kind: "order.it"}, fields=["number", "customer", "amount"], subject="number")
    after = statements(lambda: save_in_block(publishing[which]))

    more = [sql for sql in after if "genesys_eventbridge" in sql]
    assert [sql.split()[0] for sql in more] == ["INSERT"]
    assert len(after) == len(before) + 1


def test_an_unchanged_save_costs_the_reading_of_what_it_may_change(publish: Publish) -> None:
    Order.objects.create(number="A-1")
    before = statements(lambda: save_in_block(Order.objects.get()))
    publish(Order, updated="order.updated", fields=["number"], changed=["status", "customer"])

    after = statements(lambda: save_in_block(Order.objects.get()))

    (read,) = [sql for sql in after if sql not in before and not sql.startswith("UPDATE")]
    assert read.startswith("SELECT")
    assert len(after) == len(before) + 1


def test_a_save_without_a_transaction_costs_one_insert_more_than_in_one(publish: Publish) -> None:
    before = statements(lambda: save_in_block(Order(number="A-1")))
    order_created(publish)

    after = statements(Order(number="A-2").save)

    assert len(after) == len(before) + 1


def test_suppressed_saves_cost_nothing(publish: Publish) -> None:
    before = statements(Order(number="A-1").save)
    order_created(publish)

    with suppress_events():
        assert len(statements(Order(number="A-2").save)) == len(before)


def save_in_block(order: Order) -> None:
    with transaction.atomic():
        order.save()


def statements(work) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries]


# --------------------------------------------------------------------------------------- through the web


def place_order(request: HttpRequest, number: str) -> HttpResponse:
    order = Order.objects.create(number=number)
    LineItem.objects.create(order=order, sku="lamp")
    if number == "BOOM":
        raise Boom
    return HttpResponse("placed")


urlpatterns = [path("place/<number>", place_order), path("shop/", shop_admin.urls)]
web = override_settings(ROOT_URLCONF="tests.model_events.test_transactions")


@web
def test_a_request_that_fails_under_atomic_requests_leaves_no_event(publish: Publish) -> None:
    order_created(publish)
    client = Client(raise_request_exception=False)

    with atomic_requests():
        assert client.get("/place/A-1").status_code == 200
        assert client.get("/place/BOOM").status_code == 500

    assert data() == [{"number": "A-1"}]


@web
def test_a_request_that_fails_without_them_keeps_what_each_save_committed(publish: Publish) -> None:
    order_created(publish)

    assert Client(raise_request_exception=False).get("/place/BOOM").status_code == 500

    assert Order.objects.count() == len(events()) == 1


@web
def test_the_admin_publishes_objects_inlines_and_deletes(publish: Publish, admin) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        deleted="order.deleted",
        fields=["number", "status"],
        changed=["status"],
    )
    publish(LineItem, created="item.created", deleted="item.deleted", fields=["sku", "order.number"])

    admin.post(reverse("shop:shop_order_add"), order_form(sku="lamp"))
    order = Order.objects.get()
    admin.post(reverse("shop:shop_order_change", args=[order.pk]), order_form(status="paid", initial=1))
    admin.post(reverse("shop:shop_order_change", args=[order.pk]), order_form(status="paid", initial=1))
    admin.post(reverse("shop:shop_order_delete", args=[order.pk]), {"post": "yes"})

    assert [(event.type, event.data) for event in events()] == [
        ("order.created", {"number": "A-1", "status": "new"}),
        ("item.created", {"sku": "lamp", "order": {"number": "A-1"}}),
        ("order.updated", {"number": "A-1", "status": "paid"}),
        ("item.deleted", {"sku": "lamp", "order": {"number": "A-1"}}),
        ("order.deleted", {"number": "A-1", "status": "paid"}),
    ]


@web
def test_the_delete_action_of_the_admin_publishes_each_object(publish: Publish, admin) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    keys = [Order.objects.create(number=f"A-{number}").pk for number in range(3)]

    admin.post(
        reverse("shop:shop_order_changelist"),
        {"action": "delete_selected", "_selected_action": keys, "post": "yes"},
    )

    assert not Order.objects.exists()
    assert types() == ["order.deleted"] * 3


@web
def test_a_failing_event_in_the_admin_leaves_nothing(publish: Publish, admin) -> None:
    """The admin saves the object and its inlines in one transaction: all or nothing."""
    publish(Order, created="order.created", fields=["number"])
    publish(LineItem, created="item.created", data=lambda item: {1})
    admin.raise_request_exception = False

    assert admin.post(reverse("shop:shop_order_add"), order_form(sku="lamp")).status_code == 500

    assert not Order.objects.exists()
    assert not events()


def test_formsets_publish_each_row(publish: Publish) -> None:
    publish(
        LineItem,
        created="item.created",
        updated="item.updated",
        deleted="item.deleted",
        fields=["sku"],
    )
    order = Order.objects.create(number="A-1")
    with suppress_events():
        kept, gone = (LineItem.objects.create(order=order, sku=sku) for sku in ("kept", "gone"))
    formset = inlineformset_factory(Order, LineItem, fields=["sku", "quantity", "price"])
    form = {
        **management_form(total=3, initial=2),
        **item_form(0, "changed", key=kept.pk),
        **item_form(1, "gone", key=gone.pk),
        "items-1-DELETE": "on",
        **item_form(2, "added"),
    }

    bound = formset(form, instance=order)
    assert bound.is_valid(), bound.errors
    bound.save()

    assert sorted((event.type, event.data["sku"]) for event in events()) == [
        ("item.created", "added"),
        ("item.deleted", "gone"),
        ("item.updated", "changed"),
    ]


def test_a_model_event_needs_no_transaction_and_an_event_by_hand_does(publish: Publish) -> None:
    from genesys_eventbridge.outbox import enqueue

    order_created(publish)
    Order.objects.create(number="A-1")

    with pytest.raises(NotInTransaction):
        enqueue("order.noticed", {})


def order_form(*, status: str = "new", sku: str = "", initial: int = 0) -> dict[str, str]:
    form = {"number": "A-1", "amount": "5", "currency": "EUR", "status": status, "note": "", "customer": ""}
    if initial:
        item = LineItem.objects.get()
        return {**form, **management_form(total=1, initial=1), **item_form(0, item.sku, key=item.pk)}
    return {**form, **management_form(total=1, initial=0), **item_form(0, sku)}


def management_form(*, total: int, initial: int) -> dict[str, str]:
    return {"items-TOTAL_FORMS": str(total), "items-INITIAL_FORMS": str(initial)}


def item_form(number: int, sku: str, key: int | None = None) -> dict[str, str]:
    form = {"sku": sku, "quantity": "1", "price": "1", "id": "" if key is None else str(key)}
    if key is not None:
        form["order"] = str(LineItem.objects.get(pk=key).order_id)
    return {f"items-{number}-{name}": value for name, value in form.items()}


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.fixture
def receiver():
    """Somebody else's receiver, connected after ours."""
    connected = []

    def connect(function, signal=post_save, sender=Order) -> None:
        signal.connect(function, sender=sender, weak=False)
        connected.append((signal, function, sender))

    yield connect
    for signal, function, sender in connected:
        signal.disconnect(function, sender=sender)


class atomic_requests:  # noqa: N801 - used as a block
    """Django reads the setting from the connection."""

    def __enter__(self) -> None:
        connection.settings_dict["ATOMIC_REQUESTS"] = True

    def __exit__(self, *error: object) -> None:
        connection.settings_dict["ATOMIC_REQUESTS"] = False


# ------------------------------------------------------- the database ends the transaction of other changes


def lose_the_transaction(action: str = "post_delete", **_) -> None:
    """What a deadlock does on MySQL, and a full disk on SQLite; the receiver carries on."""
    if not action.startswith("post"):
        return
    if connection.vendor == "mysql":
        try:
            with connection.cursor() as cursor:
                cursor.execute("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock'")
        except DatabaseError:
            connection.connection.rollback()
    else:
        connection.connection.rollback()


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL refuses the next statement")
def test_a_delete_whose_transaction_was_lost_raises_and_leaves_the_object_its_key(publish, receiver) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    order = Order.objects.create(number="A-1")
    receiver(lose_the_transaction, signal=post_delete)

    with pytest.raises(TransactionManagementError, match=r"shop\.Order is not deleted"):
        order.delete()

    assert Order.objects.get().pk == order.pk
    assert not events()


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL refuses the next statement")
@pytest.mark.parametrize("change", ["add", "remove", "clear", "set", "the other side"])
def test_a_many_to_many_change_whose_transaction_was_lost_raises(publish, receiver, change: str) -> None:
    lamp = Product.objects.create(name="Lamp")
    light, heavy = Tag.objects.create(name="light"), Tag.objects.create(name="heavy")
    lamp.tags.add(heavy)
    publish(Product, m2m={"tags": "product.tagged"}, fields=["name"])
    receiver(lose_the_transaction, sender=Product.tags.through, signal=m2m_changed)
    changes = {
        "add": lambda: lamp.tags.add(light),
        "remove": lambda: lamp.tags.remove(heavy),
        "clear": lamp.tags.clear,
        "set": lambda: lamp.tags.set([light]),
        "the other side": lambda: light.products.add(lamp),
    }

    with pytest.raises(TransactionManagementError):
        changes[change]()

    assert not events()
    if connection.vendor == "mysql":  # on SQLite each statement after the loss commits on its own
        assert [tag.name for tag in lamp.tags.all()] == ["heavy"]

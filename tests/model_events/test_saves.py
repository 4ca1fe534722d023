"""Saving a registered model writes its events: which ones, about what, and when none."""

import asyncio
import threading
from io import StringIO

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, migrations, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.test import override_settings

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.model_events import suppress_events
from genesys_eventbridge.models import OutboxEvent
from tests import settings
from tests.publishing import Publish, data, events, types
from tests.shop.models import Country, Customer, Order, Product, Tag

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)

OTHER_DESTINATION = {
    **settings.GENESYS_EVENTBRIDGE,
    "audit": {**settings.GENESYS_EVENTBRIDGE["default"], "SOURCE": "com.example.audit"},
}


def test_each_kind_writes_its_own_event(publish: Publish) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        deleted="order.deleted",
        fields=["number", "status"],
        subject="number",
    )

    order = Order.objects.create(number="A-1")
    order.status = Order.Status.PAID
    order.save()
    order.delete()

    assert [(event.type, event.subject, event.data["status"]) for event in events()] == [
        ("order.created", "A-1", "new"),
        ("order.updated", "A-1", "paid"),
        ("order.deleted", "A-1", "paid"),
    ]


@pytest.mark.parametrize("kind", ["created", "updated", "deleted"])
def test_a_kind_that_is_not_registered_writes_nothing(publish: Publish, kind: str) -> None:
    publish(Order, **{kind: "order.it"}, fields=["number"])

    order = Order.objects.create(number="A-1")
    order.save()
    order.delete()

    assert types() == ["order.it"]


def test_an_event_names_the_object_it_is_about(publish: Publish) -> None:
    publish(Order, created="order.created", deleted="order.deleted", fields=["number"])

    order = Order.objects.create(number="A-1")
    key = str(order.pk)
    order.delete()

    assert [(event.object_type, event.object_id) for event in events()] == [("shop.order", key)] * 2


def test_attributes_come_from_names_paths_and_callables(publish: Publish) -> None:
    publish(
        Order,
        created="order.created",
        fields=["number"],
        subject="customer.name",
        ordering_key=lambda order: f"order-{order.number}",
        source="com.example.orders",
        extensions={"tenant": "blue"},
    )

    Order.objects.create(number="A-1", customer=Customer.objects.create(name="Ana"))

    (event,) = events()
    assert (event.subject, event.ordering_key, event.source) == ("Ana", "order-A-1", "com.example.orders")
    assert '"tenant":"blue"' in event.body


def test_source_and_extensions_may_be_attributes_of_the_object(publish: Publish) -> None:
    publish(
        Product,
        created="product.created",
        fields=["name"],
        source="name",
        extensions="details",
        ordering_key="stock",
    )

    Product.objects.create(name="com.example.lamp", details={"shelf": "b7"}, stock=3)

    (event,) = events()
    assert (event.source, event.ordering_key) == ("com.example.lamp", "3")
    assert '"shelf":"b7"' in event.body


def test_an_empty_attribute_leaves_the_event_without_it(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"], subject="note", ordering_key="customer.name")

    Order.objects.create(number="A-1")

    (event,) = events()
    assert (event.subject, event.ordering_key) == ("", "")
    assert "subject" not in event.body


def test_every_registration_of_a_model_writes_its_event(publish: Publish) -> None:
    with override_settings(GENESYS_EVENTBRIDGE=OTHER_DESTINATION):
        publish(Order, created="order.created", fields=["number"])
        publish(Order, created="order.created", fields=["number", "amount"], destination="audit")
        publish(Order, created="order.noticed", fields=["number"])

        Order.objects.create(number="A-1", amount=5)

    assert [(event.destination, event.type, event.source) for event in events()] == [
        ("default", "order.created", "com.example.tests"),
        ("audit", "order.created", "com.example.audit"),
        ("default", "order.noticed", "com.example.tests"),
    ]


def test_somebody_elses_model_publishes_too(publish: Publish) -> None:
    user = get_user_model()
    publish(user, created="user.registered", data=lambda user: {"name": user.get_username()})

    user.objects.create_user("ana", password="secret")

    assert data() == [{"name": "ana"}]


@pytest.mark.parametrize("model", [Product, Country], ids=["uuid", "natural key"])
def test_models_with_keys_of_their_own_publish(publish: Publish, model: type[models.Model]) -> None:
    publish(model, created="it.created", updated="it.updated", deleted="it.deleted", fields=["pk", "name"])
    keys = {"code": "DE"} if model is Country else {}

    made = model._default_manager.create(name="X", **keys)
    key = str(made.pk)
    made.save()
    made.delete()

    assert types() == ["it.created", "it.updated", "it.deleted"]
    assert {(event.data["pk"], event.object_id) for event in events()} == {(key, key)}


def test_when_decides_about_every_kind(publish: Publish) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        deleted="order.deleted",
        fields=["number"],
        when=lambda order: not order.number.startswith("TEST"),
    )

    for number in ("TEST-1", "A-1"):
        order = Order.objects.create(number=number)
        order.save()
        order.delete()

    assert {event.data["number"] for event in events()} == {"A-1"}
    assert len(events()) == 3


def test_the_same_call_made_twice_writes_one_event(publish: Publish) -> None:
    """AppConfig.ready() may run twice, and the callables are new ones each time."""

    def ready() -> None:
        publish(Order, created="order.created", data=lambda order: order.number, when=lambda order: True)

    ready()
    ready()
    Order.objects.create(number="A-1")

    assert types() == ["order.created"]


def test_two_calls_that_differ_are_two_registrations(publish: Publish) -> None:
    def ready(word: str) -> None:
        publish(Order, created="order.created", data=lambda order: word)

    ready("one")
    ready("two")
    Order.objects.create(number="A-1")

    assert data() == ["one", "two"]


def test_functions_that_differ_only_in_their_defaults_are_two_registrations(publish: Publish) -> None:
    for word in ("one", "two"):
        publish(Order, created="order.created", data=lambda order, word=word: word)

    Order.objects.create(number="A-1")

    assert data() == ["one", "two"]


# ------------------------------------------------------------------------------ nothing is half written


@committing
def test_an_invalid_event_leaves_no_row(publish: Publish) -> None:
    publish(Order, created="order.created", data=lambda order: {"amount": float("nan")})

    with pytest.raises(InvalidEvent, match=r"data\.amount"):
        Order.objects.create(number="A-1")

    assert not Order.objects.exists()
    assert not events()


@committing
def test_an_invalid_event_leaves_the_former_row(publish: Publish) -> None:
    publish(Order, updated="order.updated", deleted="order.deleted", data=lambda order: {1, 2})
    order = Order.objects.create(number="A-1")

    order.number = "A-2"
    with pytest.raises(InvalidEvent):
        order.save()
    with pytest.raises(InvalidEvent):
        order.delete()

    assert Order.objects.get().number == "A-1"


@committing
def test_an_error_of_the_users_callable_reaches_the_saver(publish: Publish) -> None:
    publish(Order, created="order.created", data=lambda order: order.nothing_of_that_name)

    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        Order.objects.create(number="A-1")

    assert not Order.objects.exists()


@committing
def test_a_swallowed_error_rolls_the_outer_block_back(publish: Publish) -> None:
    """As any database error does: the row of the failed save cannot stay without its event."""
    publish(Order, created="order.created", data=lambda order: {1})

    with transaction.atomic():
        Customer.objects.create(name="Ana")
        with pytest.raises(InvalidEvent):
            Order.objects.create(number="A-1")

    assert not Order.objects.exists()
    assert not Customer.objects.exists()


@committing
def test_an_unknown_destination_is_named_at_the_save(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"], destination="audti")

    with pytest.raises(ImproperlyConfigured, match="audti"):
        Order.objects.create(number="A-1")

    assert not Order.objects.exists()


# ------------------------------------------------------------------------------------ what sends nothing


def test_raw_saves_write_nothing(publish: Publish) -> None:
    """loaddata: rows with their many-to-many sets, which Django fills after the raw save."""
    publish(
        Product,
        created="product.created",
        updated="product.updated",
        m2m={"tags": "product.tagged"},
        fields=["name"],
    )
    with suppress_events():
        product = Product.objects.create(name="Lamp")
        product.tags.add(Tag.objects.create(name="light"))
    fixture = serializers.serialize("json", [*Tag.objects.all(), *Product.objects.all()])
    with suppress_events():
        product.tags.clear()
        Product.objects.all().delete()

    for loaded in serializers.deserialize("json", fixture):
        loaded.save()
    for loaded in serializers.deserialize("json", fixture):  # now as updates
        loaded.save()

    assert Product.objects.get().tags.count() == 1
    assert not events()


def test_loaddata_writes_nothing(publish: Publish, tmp_path) -> None:
    publish(Country, created="country.created", updated="country.updated", fields=["name"])
    fixture = tmp_path / "countries.json"
    fixture.write_text('[{"model": "shop.country", "pk": "DE", "fields": {"name": "Germany"}}]')

    call_command("loaddata", str(fixture), stdout=StringIO())

    assert Country.objects.get().name == "Germany"
    assert not events()


def test_an_object_loaded_raw_publishes_when_it_is_saved_as_usual(publish: Publish) -> None:
    publish(Product, updated="product.updated", m2m={"tags": "product.tagged"}, fields=["name"])
    (loaded,) = serializers.deserialize("json", serializers.serialize("json", [Product(name="Lamp")]))
    loaded.save()
    lamp = loaded.object
    assert isinstance(lamp, Product)

    lamp.save()
    lamp.tags.add(Tag.objects.create(name="light"))

    assert types() == ["product.updated", "product.tagged"]


@committing
def test_the_models_of_migrations_write_nothing(publish: Publish) -> None:
    publish(Order, created="order.created", updated="order.updated", fields=["number"])
    state = ProjectState()
    for model in (Customer, Order):
        state.add_model(ModelState.from_model(model))

    def forwards(apps, editor) -> None:
        order = apps.get_model("shop", "Order")
        order.objects.create(number="A-1").save()

    class Migration(migrations.Migration):
        operations = [migrations.RunPython(forwards)]

    with connection.schema_editor() as editor:
        Migration("0002_orders", "shop").apply(state, editor)

    assert Order.objects.count() == 1
    assert not events()


def test_suppressed_blocks_nest(publish: Publish) -> None:
    publish(Order, created="order.created", deleted="order.deleted", fields=["number"])

    with suppress_events():
        with suppress_events():
            Order.objects.create(number="A-1").delete()
        Order.objects.create(number="A-2")
    Order.objects.create(number="A-3")

    assert data() == [{"number": "A-3"}]


def test_an_error_ends_a_suppressed_block(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"])

    with pytest.raises(ValueError, match="import"), suppress_events():
        raise ValueError("import failed")
    Order.objects.create(number="A-1")

    assert types() == ["order.created"]


@committing
def test_another_thread_is_not_silenced(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"])

    def work() -> None:
        Order.objects.create(number="thread")
        connection.close()

    with suppress_events():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        Order.objects.create(number="here")

    assert data() == [{"number": "thread"}]


def test_another_async_task_is_not_silenced(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"])
    inside = asyncio.Event()
    saved = asyncio.Event()

    async def silent() -> None:
        with suppress_events():
            inside.set()
            await saved.wait()
            await Order.objects.acreate(number="silent")

    async def loud() -> None:
        await inside.wait()
        await Order.objects.acreate(number="loud")
        saved.set()

    async def both() -> None:
        await asyncio.gather(silent(), loud())

    async_to_sync(both)()

    assert data() == [{"number": "loud"}]


def test_async_saves_and_deletes_publish(publish: Publish) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.updated",
        deleted="order.deleted",
        fields=["number"],
        changed=["status"],
    )

    async def work() -> None:
        order = await Order.objects.acreate(number="A-1")
        await order.arefresh_from_db()
        await order.asave()
        order.status = "paid"
        await order.asave()
        await order.adelete()

    async_to_sync(work)()

    assert types() == ["order.created", "order.updated", "order.deleted"]


def test_an_event_stays_as_it_was_at_the_save(publish: Publish) -> None:
    shared = {"note": "first"}
    publish(Order, created="order.created", data=lambda order: shared)

    with transaction.atomic():
        Order.objects.create(number="A-1")
        shared["note"] = "second"

    assert OutboxEvent.objects.get().data == {"note": "first"}

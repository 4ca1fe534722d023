"""A delete is published with the data of what is gone, once for each object however it goes."""

import pytest
from django.db import connection, transaction
from django.db.models.deletion import Collector
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.model_events import suppress_events
from tests.publishing import Publish, data, events, types
from tests.shop.models import Bargain, Bundle, Customer, LineItem, Order, Product, Tag

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db


def test_the_event_carries_the_row_and_its_relations_as_they_were(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number", "customer.name", "items.sku"])
    order = Order.objects.create(number="A-1", customer=Customer.objects.create(name="Ana"))
    LineItem.objects.create(order=order, sku="lamp")

    order.delete()

    assert data() == [{"number": "A-1", "customer": {"name": "Ana"}, "items": [{"sku": "lamp"}]}]


def test_a_cascade_publishes_what_it_takes_along(publish: Publish) -> None:
    publish(LineItem, deleted="item.deleted", fields=["sku", "order.number"])
    publish(Order, deleted="order.deleted", fields=["number"])
    customer = Customer.objects.create(name="Ana")
    for number in ("A-1", "A-2"):
        order = Order.objects.create(number=number, customer=customer)
        LineItem.objects.create(order=order, sku=f"lamp of {number}")

    customer.delete()

    assert [event.type for event in events()] == ["item.deleted"] * 2 + ["order.deleted"] * 2
    assert sorted(event.data["order"]["number"] for event in events()[:2]) == ["A-1", "A-2"]


def test_a_queryset_delete_publishes_each_object(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    for number in range(3):
        Order.objects.create(number=f"A-{number}")

    Order.objects.exclude(number="A-1").delete()

    assert sorted(event.data["number"] for event in events()) == ["A-0", "A-2"]


@pytest.mark.parametrize("how", ["child", "parent", "proxy", "queryset of parents", "cascade"])
def test_a_multi_table_child_is_one_event(publish: Publish, how: str) -> None:
    """Django sends post_delete for the child and for each of its parent rows."""
    publish(Product, deleted="product.deleted", fields=["name"], data=None)
    supplier = Customer.objects.create(name="Ana")
    bundle = Bundle.objects.create(name="Box", supplier=supplier)
    key = str(bundle.pk)

    if how == "child":
        bundle.delete()
    elif how == "parent":
        Product.objects.get().delete()
    elif how == "proxy":
        Bargain.objects.get().delete()
    elif how == "queryset of parents":
        Product.objects.all().delete()
    else:
        supplier.delete()

    assert not Product.objects.exists()
    assert [(event.type, event.object_type, event.object_id, event.data) for event in events()] == [
        ("product.deleted", "shop.bundle", key, {"name": "Box"})
    ]


def test_children_and_plain_parents_of_one_delete_are_each_one_event(publish: Publish) -> None:
    publish(Product, deleted="product.deleted", fields=["name"])
    Product.objects.create(name="Lamp")
    Bundle.objects.create(name="Box")

    Product.objects.all().delete()

    assert sorted(event.data["name"] for event in events()) == ["Box", "Lamp"]


def test_a_child_registered_itself_is_its_own_event(publish: Publish) -> None:
    publish(Bundle, deleted="bundle.deleted", fields=["name", "size"])

    Bundle.objects.create(name="Box", size=2).delete()
    Product.objects.create(name="Lamp").delete()

    assert data() == [{"name": "Box", "size": 2}]


def test_keep_parents_deletes_only_the_child(publish: Publish) -> None:
    publish(Product, deleted="product.deleted", fields=["name"])
    publish(Bundle, deleted="bundle.deleted", fields=["size"])
    bundle = Bundle.objects.create(name="Box", size=2)

    bundle.delete(keep_parents=True)

    assert Product.objects.exists()
    assert types() == ["bundle.deleted"]


def test_the_parent_that_was_kept_is_published_when_it_goes(publish: Publish) -> None:
    publish(Product, deleted="product.deleted", fields=["name"])
    Bundle.objects.create(name="Box").delete(keep_parents=True)

    Product.objects.get().delete()

    assert [(event.type, event.object_type) for event in events()] == [("product.deleted", "shop.product")]


def test_a_proxy_is_deleted_as_what_it_is(publish: Publish) -> None:
    publish(Product, deleted="product.deleted", fields=["name"])

    Product.objects.create(name="Lamp")
    Bargain.objects.get().delete()

    assert types() == ["product.deleted"]


def test_a_registration_on_a_proxy_speaks_for_the_proxy_only(publish: Publish) -> None:
    publish(Bargain, deleted="bargain.deleted", fields=["name"])
    for name in ("Lamp", "Bulb"):
        Product.objects.create(name=name)

    Bargain.objects.get(name="Lamp").delete()
    Product.objects.get(name="Bulb").delete()

    assert data() == [{"name": "Lamp"}]


def test_suppressed_deletes_publish_nothing(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    order = Order.objects.create(number="A-1")

    with suppress_events():
        order.delete()

    assert not events()


def test_a_delete_of_one_object_is_atomic_because_we_listen(publish: Publish) -> None:
    """Django's fast path opens no transaction."""
    tag = Tag.objects.create(name="light")
    publish(Tag, deleted="tag.deleted", fields=["name"])
    seen = []

    def look(**_) -> None:
        seen.append(len(connection.savepoint_ids))

    outside = len(connection.savepoint_ids)
    post_delete.connect(look, sender=Tag)
    try:
        tag.delete()
    finally:
        post_delete.disconnect(look, sender=Tag)

    assert seen[0] > outside


def test_models_that_publish_no_deletes_keep_djangos_fast_path(publish: Publish) -> None:
    publish(LineItem, created="item.created", updated="item.updated", fields=["sku"])

    assert Collector(using="default").can_fast_delete(LineItem.objects.all())


def test_nothing_is_left_on_the_objects_of_a_delete(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    order = Order.objects.create(number="A-1")
    chosen = Order.objects.filter(number="A-2")
    Order.objects.create(number="A-2")

    order.delete()
    chosen.delete()

    assert not [name for one in (order, chosen) for name in vars(one) if "eventbridge" in name]


def test_a_delete_that_failed_does_not_disturb_the_next(publish: Publish) -> None:
    publish(Order, deleted="order.deleted", fields=["number"])
    order = Order.objects.create(number="A-1")

    def refuse(**_) -> None:
        raise ValueError

    pre_delete.connect(refuse, sender=Order)
    try:
        with pytest.raises(ValueError), transaction.atomic():  # noqa: PT011 - ours
            order.delete()
    finally:
        pre_delete.disconnect(refuse, sender=Order)
    order.number = "A-2"
    order.save()
    order.delete()

    assert data() == [{"number": "A-2"}]


def test_signals_that_somebody_else_sends_are_taken_as_they_come(publish: Publish) -> None:
    """Packages for soft deletes send post_delete themselves, with nothing before it and without an origin."""
    publish(Order, deleted="order.deleted", fields=["number"])
    order = Order.objects.create(number="A-1")

    with transaction.atomic():
        post_delete.send(sender=Order, instance=order, using="default")
        pre_delete.send(sender=Order, instance=order, using="default")
        post_delete.send(sender=Order, instance=order, using="default")

    assert types() == ["order.deleted"] * 2


def test_a_collector_without_an_origin_deletes_a_child_as_one_event(publish: Publish) -> None:
    publish(Product, deleted="product.deleted", fields=["name"])
    bundle = Bundle.objects.create(name="Box")

    collector = Collector(using="default")
    collector.collect([bundle])
    collector.delete()

    assert types() == ["product.deleted"]


def test_a_delete_costs_one_insert_an_object(publish: Publish) -> None:
    publish(LineItem, deleted="item.deleted", fields=["sku"])
    order = Order.objects.create(number="A-1")
    for sku in ("lamp", "bulb"):
        LineItem.objects.create(order=order, sku=sku)

    with CaptureQueriesContext(connection) as queries:
        LineItem.objects.all().delete()

    assert sum("INSERT INTO" in query["sql"] for query in queries) == 2

"""The whole house in one walk: save, enqueue, claim, publish, settle, check; over real HTTP."""

import hashlib
import json

import pytest
from django.db import transaction

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.model_events import publishes, registry
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.operations import Actor, requeue
from genesys_eventbridge.sandbox import Sandbox, serve
from genesys_eventbridge.states import State
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def platform(settings):
    sandbox = Sandbox(deliver_after=1e6)
    with serve(sandbox) as server:
        settings.GENESYS_EVENTBRIDGE = {
            "default": {
                **settings.GENESYS_EVENTBRIDGE["default"],
                "API_BASE_URL": server.url,
                "LOGIN_BASE_URL": server.url,
                "CONCURRENCY": 4,
            }
        }
        yield sandbox


@pytest.fixture
def published_orders():
    before = set(registry.registrations())
    publishes(
        created="order.created",
        updated="order.status_changed",
        changed=["status"],
        fields=["number", "amount", "status"],
        subject="number",
        ordering_key="number",
    )(Order)
    yield
    for registration in set(registry.registrations()) - before:
        registry.withdraw(registration)


def states():
    return sorted(OutboxEvent.objects.values_list("type", "state"))


def test_an_order_saved_in_the_shop_reaches_the_platform(platform, published_orders):
    # save: the row and its event commit together
    with transaction.atomic():
        order = Order.objects.create(number="ORD-7", amount="49.90")
    order.status = Order.Status.PAID
    order.save()
    event, status_changed = OutboxEvent.objects.order_by("id")
    assert (event.type, event.subject, event.state) == ("order.created", "ORD-7", State.PENDING)
    assert event.data == {"number": "ORD-7", "amount": "49.90", "status": "new"}
    assert (event.object_type, event.object_id) == ("shop.order", str(order.pk))

    # the platform has a bad moment: the event waits, its follower behind it
    platform.fail_next(503)
    relay.publish_due()
    assert states() == [("order.created", State.PENDING), ("order.status_changed", State.PENDING)]
    assert platform.received == []

    # it refuses a type it does not know, for good
    platform.unregister("order.status_changed")
    with shifted(60):
        relay.publish_due()
    assert states() == [("order.created", State.ACCEPTED), ("order.status_changed", State.DEAD)]

    # a person mends the cause and requeues; then all is confirmed
    platform.register("order.status_changed")
    requeue([status_changed.pk], Actor("tests", name="ana"), reason="type is registered now")
    with shifted(120):
        relay.publish_due()
    platform.configure(deliver_after=0)
    with shifted(180):
        relay.check_accepted()
    assert states() == [("order.created", State.DELIVERED), ("order.status_changed", State.DELIVERED)]

    # what arrived is what was stored, once, in order, under one key each
    ledger = platform.ledger()
    assert [body["type"] for body in ledger["received"]] == ["order.created", "order.status_changed"]
    assert set(ledger["accepts"].values()) == {1}
    assert (ledger["drift"], ledger["overlaps"]) == ([], [])
    for row in OutboxEvent.objects.all():
        assert json.loads(row.body) in ledger["received"]
        assert hashlib.sha256(row.body.encode()).hexdigest() == row.body_sha256
    verdicts = list(
        DeliveryAttempt.objects.filter(event=event).order_by("number").values_list("kind", "verdict")
    )
    assert verdicts == [("publish", "unknown"), ("publish", "accepted"), ("check", "delivered")]


def test_an_answer_that_was_lost_is_proved_by_the_second_try(platform, published_orders):
    """Crash point E: the platform took it and the answer never came; one acceptance all the same."""
    platform.scenario = "lost-response"
    Order.objects.create(number="ORD-8", amount="1.00")

    relay.publish_due()
    assert states() == [("order.created", State.PENDING)]
    with shifted(60):
        relay.publish_due()

    assert states() == [("order.created", State.ACCEPTED)]
    ledger = platform.ledger()
    assert set(ledger["accepts"].values()) == {1}
    assert ledger["requests"]["publish POST 409"] == 1


def test_an_order_that_is_rolled_back_never_existed(platform, published_orders):
    with pytest.raises(RuntimeError), transaction.atomic():
        _create_and_fail()

    relay.publish_due()

    assert not OutboxEvent.objects.exists()
    assert platform.received == []


def _create_and_fail():
    Order.objects.create(number="ORD-9", amount="1.00")
    raise RuntimeError("roll back")

"""Workers at once under every isolation level a site may choose: each event is published once."""

import threading

import pytest
from django.db import connection

from genesys_eventbridge import relay
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor, requeue
from genesys_eventbridge.outbox import enqueue_many
from genesys_eventbridge.states import Reason, State
from tests.isolation import AT_THE_SERVER, LEVELS, isolated
from tests.outbox_rows import claim, ended, event, in_threads
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=LEVELS if connection.vendor == "sqlite" else [*LEVELS, AT_THE_SERVER])
def isolation(request):
    with isolated(request.param):
        yield request.param


def enqueue_orders(count, **keywords):
    enqueue_many(
        [{"type": "order.created", "data": number, **keywords} for number in range(count)], standalone=True
    )


def test_workers_claiming_at_once_never_share_a_row(isolation):
    enqueue_orders(60)
    start = threading.Barrier(4)

    def work():
        start.wait(10)
        return [row.id for _ in range(15) for row in claim(limit=4).rows]

    won = [pk for part in in_threads(4, work) for pk in part]

    assert len(won) == len(set(won))
    assert set(OutboxEvent.objects.filter(pk__in=won).values_list("attempts", flat=True)) == {1}


def test_workers_draining_at_once_publish_each_event_once(isolation):
    enqueue_orders(60)
    platform = ScriptedPlatform()

    in_threads(3, lambda: relay.publish_due(transport=platform.transport))

    assert len(platform.keys) == len(set(platform.keys)) == 60
    assert set(OutboxEvent.objects.values_list("state", "attempts")) == {(State.ACCEPTED, 1)}


def test_events_of_a_key_stay_in_order(isolation):
    for key in ("a", "b", "c"):
        enqueue_orders(6, ordering_key=key)
    platform = ScriptedPlatform()

    in_threads(3, lambda: relay.publish_due(transport=platform.transport))
    relay.publish_due(transport=platform.transport)

    by_id = {row.event_id: row for row in OutboxEvent.objects.all()}
    for key in ("a", "b", "c"):
        order = [body["data"] for body in platform.bodies if by_id[body["id"]].ordering_key == key]
        assert order == sorted(order)
    assert not OutboxEvent.objects.filter(state=State.PENDING, attempts__gt=0).exists()


def test_two_people_requeueing_at_once_do_it_once(isolation):
    row = event(row=ended(State.DEAD, Reason.REJECTED))
    start = threading.Barrier(2)

    def work():
        start.wait(10)
        return len(requeue([row.pk], Actor("tests", name="ana")).ids)

    assert sum(in_threads(2, work)) == 1

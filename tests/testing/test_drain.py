"""``eventbridge_sandbox`` and ``eventbridge_drain``: delivered without waiting, socket or credentials."""

import asyncio
import socket
import time
from collections import Counter

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import TestCase, TransactionTestCase, override_settings

from genesys_eventbridge import conf, operations
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management.side_by_side import side_by_side
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.outbox import aenqueue, due, enqueue
from genesys_eventbridge.ping import ping
from genesys_eventbridge.relay import publish_due
from genesys_eventbridge.sandbox.hostile import TRICKS
from genesys_eventbridge.states import State
from genesys_eventbridge.testing import EventBridgeTestMixin, Scenario, sandboxed
from genesys_eventbridge.testing.drain import MOST_IN_VAIN, MOST_ROUNDS, EventBridgeDrain

NO_CREDENTIALS = {"default": {"SOURCE": "com.example.tests"}}
WEBHOOK = {"default": {"SOURCE": "com.example.tests", "PROTOCOL": "webhook", "ON_DOUBT": "ask"}}


@pytest.fixture(autouse=True)
def _no_credentials_and_no_socket(settings, monkeypatch):
    settings.GENESYS_EVENTBRIDGE = NO_CREDENTIALS

    def refuse(*_arguments, **_keywords):
        raise AssertionError("a socket was opened, or it slept")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(time, "sleep", refuse)


def put(number=1, type_="order.created", **keywords):
    return enqueue(type_, {"number": number}, subject=f"A{number}", standalone=True, **keywords)


def state_of(event):
    return OutboxEvent.objects.get(pk=event.pk).state


@pytest.mark.parametrize(
    "_database",
    [
        pytest.param("in a transaction", marks=pytest.mark.django_db),
        pytest.param("outside", marks=pytest.mark.django_db(transaction=True)),
    ],
)
def test_what_is_enqueued_is_delivered(_database, eventbridge_sandbox, eventbridge_drain):
    event = put()

    report = eventbridge_drain()

    assert [each.pk for each in report.delivered] == [event.pk]
    assert report.idle
    assert not report.dead
    assert state_of(event) == State.DELIVERED
    assert [received["id"] for received in eventbridge_sandbox.received] == [event.event_id]
    assert eventbridge_sandbox.received[0]["data"] == {"number": 1}


def test_nothing_to_do_ends_at_once(eventbridge_drain):
    report = eventbridge_drain()

    assert (report.events, report.left, report.rounds) == ([], [], 1)
    assert str(report) == "no events after 1 rounds and 0 simulated seconds"


def test_a_failure_is_retried_on_the_simulated_clock(eventbridge_sandbox, eventbridge_drain):
    eventbridge_sandbox.fail_next(503, times=2)
    event = put()

    report = eventbridge_drain()

    assert report.idle
    assert report.seconds > 5
    publishes = [request for request in eventbridge_sandbox.requests if request.endpoint == "publish"]
    assert [request.status for request in publishes] == ["503", "503", "202"]
    assert {request.id for request in publishes} == {event.event_id}
    assert len(eventbridge_sandbox.received) == 1


def test_a_lost_answer_is_sent_again_with_the_same_key_and_received_once(
    eventbridge_sandbox, eventbridge_drain
):
    eventbridge_sandbox.lose_next_answer()
    put()

    report = eventbridge_drain()

    publishes = [request for request in eventbridge_sandbox.requests if request.endpoint == "publish"]
    assert report.delivered[0].attempts == 2
    assert [request.status for request in publishes] == ["closed", "409"]
    assert len({request.idempotency_key for request in publishes}) == 1
    assert len(eventbridge_sandbox.received) == 1


def test_events_are_sent_in_their_order(eventbridge_sandbox, eventbridge_drain):
    for number in range(20):
        put(number)

    eventbridge_drain()

    assert [event["data"]["number"] for event in eventbridge_sandbox.received] == list(range(20))


def test_a_refused_event_is_dead_and_says_why(eventbridge_sandbox, eventbridge_drain):
    eventbridge_sandbox.unregister("order.created")
    event = put()

    report = eventbridge_drain()

    assert report.idle
    assert [each.pk for each in report.dead] == [event.pk]
    assert "is not registered" in str(report)


def test_what_is_never_delivered_is_left_with_the_reason_in_bounded_time(
    eventbridge_sandbox, eventbridge_drain
):
    eventbridge_sandbox.scenario = "outage"
    event = put()

    report = eventbridge_drain()

    assert not report.idle
    assert report.rounds < 2 * MOST_IN_VAIN < MOST_ROUNDS
    (left,) = report.left
    assert left.event.pk == event.pk
    assert "503" in left.why
    assert left.why in str(report)


def test_a_drain_continues_after_the_trouble_ends(eventbridge_sandbox, eventbridge_drain):
    eventbridge_sandbox.scenario = "outage"
    put()
    first = eventbridge_drain(within=600)

    eventbridge_sandbox.scenario = "happy"
    second = eventbridge_drain()

    assert (first.idle, second.idle) == (False, True)
    assert 0 < first.seconds <= 600
    assert len(second.delivered) == 1


def test_a_failed_login_is_remembered_on_the_simulated_clock_only(eventbridge_sandbox, eventbridge_drain):
    """A process asks for no token for a second after a failure; a real second must not be needed."""
    eventbridge_sandbox.fail_next(503, times=5, on="token")
    put()

    report = eventbridge_drain()

    assert len(report.delivered) == 1
    assert report.rounds < 15
    tokens = [request.status for request in eventbridge_sandbox.requests if request.endpoint == "token"]
    assert tokens == ["503"] * 5 + ["200"]


def test_a_paused_destination_is_left_with_the_reason(eventbridge_drain):
    put()
    operations.pause("default", Actor(via="test", name="ana"), reason="maintenance")

    report = eventbridge_drain()

    assert "ana" in report.left[0].why
    assert report.rounds < 5, report


def test_an_event_behind_a_dead_one_is_left_with_the_reason(eventbridge_sandbox, eventbridge_drain):
    eventbridge_sandbox.unregister("order.created")
    first = put(1, ordering_key="k")
    put(2, "order.paid", ordering_key="k")

    report = eventbridge_drain()

    assert [each.pk for each in report.dead] == [first.pk]
    assert str(first.pk) in report.left[0].why


def test_a_delay_passes_on_the_simulated_clock(eventbridge_sandbox, eventbridge_drain):
    put(delay=3600)

    assert eventbridge_drain(within=60).left[0].event.state == State.PENDING
    assert eventbridge_sandbox.received == []
    assert eventbridge_drain().seconds > 3000
    assert len(eventbridge_sandbox.received) == 1


def test_a_rate_limit_is_kept_without_waiting(settings, eventbridge_sandbox, eventbridge_drain):
    settings.GENESYS_EVENTBRIDGE = {"default": {**NO_CREDENTIALS["default"], "RATE_PER_MINUTE": 30}}
    for number in range(5):
        put(number)

    report = eventbridge_drain()

    assert len(report.delivered) == 5
    assert report.seconds > 8


@pytest.mark.parametrize("scenario", [scenario.value for scenario in Scenario])
def test_every_scenario_ends(eventbridge_sandbox, eventbridge_drain, scenario):
    eventbridge_sandbox.scenario = scenario
    for number in range(3):
        put(number)

    report = eventbridge_drain()

    assert len(report.events) == 3
    delivers = scenario not in ("outage", "accepted-then-failed", "hostile")
    assert (len(report.delivered) == 3) == delivers, str(report)


@pytest.mark.parametrize("trick", list(TRICKS["publish"]))
def test_every_trick_ends(eventbridge_sandbox, eventbridge_drain, trick):
    eventbridge_sandbox.fail_next(trick)
    put()

    report = eventbridge_drain()

    assert report.idle, str(report)
    assert len(eventbridge_sandbox.received) <= 1


def test_half_a_body_is_no_answer(eventbridge_sandbox, eventbridge_drain):
    eventbridge_sandbox.fail_next("half-body")
    put()

    (event,) = eventbridge_drain().delivered

    first = event.attempt_log.order_by("pk").first()
    assert "broke off" in first.error


def test_a_webhook_is_served_too(settings, eventbridge_sandbox, eventbridge_drain):
    settings.GENESYS_EVENTBRIDGE = WEBHOOK
    put()

    report = eventbridge_drain()

    assert len(report.delivered) == len(eventbridge_sandbox.received) == 1


def test_an_answer_lost_by_a_webhook_leaves_the_event_unresolved(
    settings, eventbridge_sandbox, eventbridge_drain
):
    settings.GENESYS_EVENTBRIDGE = WEBHOOK
    eventbridge_sandbox.lose_next_answer()
    put()

    assert len(eventbridge_drain().unresolved) == 1


def test_the_code_under_test_reaches_the_sandbox_by_any_way(eventbridge_sandbox, db, capsys):
    """A command, a pass and the connection test; also with an override made in the test."""
    put(1)
    call_command("eventbridge_publish")
    put(2)
    with override_settings(
        GENESYS_EVENTBRIDGE={"default": {"REGION": "eu-west-1", "CLIENT_ID": "x", "SOURCE": "com.example"}}
    ):
        assert publish_due().states["accepted"] == 1
        steps = list(ping("default"))

    assert [event["data"]["number"] for event in eventbridge_sandbox.received] == [1, 2]
    assert all(step.ok for step in steps if step.name != "clocks"), steps


def test_real_credentials_and_addresses_are_not_used(settings, eventbridge_sandbox, eventbridge_drain):
    def refuse():
        raise AssertionError("a vault was asked")

    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            "REGION": "us-east-1", "CLIENT_ID": refuse, "CLIENT_SECRET": refuse, "SOURCE": "com.example.shop",
            "PROXY": "http://proxy.example:3128", "EXTRA_HEADERS": refuse, "EVENTS_PATH": "/mine",
            "DELIVERED_STATUSES": ["SUCCESS"], "CLIENT_CERT": "/no/such/file.pem",
        }
    }  # fmt: skip
    put()

    assert len(eventbridge_drain().delivered) == 1
    assert eventbridge_sandbox.received[0]["source"] == "com.example.shop"


def test_the_redirection_ends_with_the_test():
    with sandboxed() as sandbox:
        redirected = conf.sending().platform.api_base_url

    assert redirected.endswith(".invalid")
    assert sandbox.received == []
    assert conf.destination().platform.api_base_url != redirected


def test_the_open_transaction_of_business_code_is_refused(eventbridge_drain):
    with transaction.atomic():
        put()
        with pytest.raises(TransactionManagementError, match="eventbridge_drain"):
            eventbridge_drain()


def test_what_a_receiver_enqueues_is_drained_and_reported(eventbridge_drain, eventbridge_outbox):
    from genesys_eventbridge.signals import event_delivered

    def follow(sender, event, **_keywords):
        if event.type == "order.created":
            put(2, "order.followed")

    event_delivered.connect(follow)
    try:
        put(1)
        report = eventbridge_drain()
    finally:
        event_delivered.disconnect(follow)

    assert [event.type for event in report.delivered] == ["order.created", "order.followed"]


def test_what_one_drain_learned_does_not_hide_the_events_of_the_next(eventbridge_drain, monkeypatch):
    """Where scans are slow, the process remembers up to which time nothing is due."""
    monkeypatch.setattr(due, "CHEAP", -1.0)
    monkeypatch.setattr(due, "SHARE", 1e-9)
    put(delay=86_000)
    eventbridge_drain()

    event = put(2)

    assert [each.pk for each in eventbridge_drain().delivered] == [event.pk]


def test_a_drain_works_in_async_tests(transactional_db, eventbridge_sandbox, eventbridge_drain):
    async def scenario():
        await aenqueue("order.created", {"number": 1})
        try:
            return await eventbridge_drain.adrain()
        finally:
            await sync_to_async(connections.close_all)()  # those of the thread that asgiref started

    report = asyncio.run(scenario())

    assert len(report.delivered) == len(eventbridge_sandbox.received) == 1


@override_settings(GENESYS_EVENTBRIDGE=NO_CREDENTIALS)
class TestTheMixin(EventBridgeTestMixin, TestCase):
    def test_a_test_case_drains(self):
        """Within the transaction of TestCase."""
        self.eventbridge_outbox.assert_nothing_enqueued()
        self.eventbridge_sandbox.fail_next(503)
        put()

        report = self.eventbridge_drain()

        assert report.idle, report
        assert len(self.eventbridge_sandbox.received) == 1
        self.eventbridge_outbox.assert_enqueued("order.created", data={"number": 1})

    def test_commits_can_be_captured(self):
        with self.captureOnCommitCallbacks(execute=True):
            put()

        assert len(self.eventbridge_drain().delivered) == 1

    async def test_an_async_method_drains(self):
        await aenqueue("order.created", {"number": 1})

        report = await self.eventbridge_drain.adrain()

        assert len(report.delivered) == 1


@override_settings(GENESYS_EVENTBRIDGE=NO_CREDENTIALS)
class TestTheMixinOutsideATransaction(EventBridgeTestMixin, TransactionTestCase):
    def test_a_transaction_test_case_drains(self):
        with transaction.atomic():
            put()

        assert isinstance(self.eventbridge_drain, EventBridgeDrain)
        assert len(self.eventbridge_drain().delivered) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("command", "requests"), [("publish", (1, 0)), ("poll", (1, 1)), ("retry", (2, 1))])
def test_commands_serve_several_destinations_in_the_transaction_of_a_test(
    settings, eventbridge_sandbox, command, requests
):
    settings.GENESYS_EVENTBRIDGE = {**NO_CREDENTIALS, "crm": {"SOURCE": "com.example.tests"}}
    events = [put(), put(destination="crm")]
    if command == "retry":
        eventbridge_sandbox.fail_next(503, times=2)
    if command != "publish":
        for alias in settings.GENESYS_EVENTBRIDGE:
            publish_due(alias)
    if command == "poll":
        OutboxEvent.objects.update(due_at=DatabaseNow())

    call_command(f"eventbridge_{command}")

    for event in events:
        made = Counter(each.endpoint for each in eventbridge_sandbox.requests if each.id == event.event_id)
        assert (made["publish"], OutboxEvent.objects.get(pk=event.pk).checks) == requests


@pytest.mark.django_db
def test_an_error_of_one_destination_stops_no_other_in_the_transaction_of_a_test():
    served = []

    def work(alias):
        served.append(alias)
        if alias == "default":
            raise ValueError(alias)

    with pytest.raises(ValueError, match="default"):
        side_by_side(["default", "crm"], work)
    assert served == ["default", "crm"]

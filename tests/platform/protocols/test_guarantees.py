"""Promises without an idempotency key: what ON_DOUBT says, and what a killed worker leaves in doubt."""

import uuid

import httpx
import pytest

from genesys_eventbridge import conf, relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.relay.batch import Pass
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.states import AttemptKind, Reason, State
from tests.outbox_rows import accepted, event, fresh
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

INVOKED = httpx.Response(200, json={"invocationId": "0c1f9e6e"})
#: Responses that leave open whether the event arrived.
UNKNOWN = [httpx.ReadTimeout("no answer"), httpx.Response(503), httpx.Response(200, json={})]


@pytest.fixture(autouse=True)
def webhook(settings):
    """The destination takes events by the webhook; returns a function that changes its settings."""

    def change(**keys):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {
                "PROTOCOL": "webhook",
                "REGION": "us-east-1",
                "WEBHOOK_TOKEN": "a-token-0123",
                "SOURCE": "com.example.tests",
                **keys,
            }
        }

    change()
    return change


def publish(platform, *, after=0.0):
    with shifted(after):
        relay.publish_due(transport=platform.transport)


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_ask_sends_an_event_of_unknown_outcome_no_second_time(unknown):
    row, platform = event(), ScriptedPlatform(unknown, INVOKED)
    for after in (0, 100, 100_000):
        publish(platform, after=after)

    assert len(platform.published) == 1
    assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_resend_repeats_after_an_unknown_outcome_and_marks_each_repetition(webhook, unknown):
    webhook(ON_DOUBT="resend")
    row, platform = event(), ScriptedPlatform(unknown, INVOKED)
    for after in (0, 100_000):
        publish(platform, after=after)

    assert fresh(row).state == State.DELIVERED
    assert [request.content for request in platform.published] == [row.body.encode()] * 2
    log = DeliveryAttempt.objects.order_by("number").values_list("verdict", "may_duplicate")
    assert list(log) == [(Verdict.UNKNOWN, None), (Verdict.ACCEPTED, True)]


def test_resend_leaves_an_event_to_an_operator_once_its_attempts_are_used_up_in_doubt(webhook):
    webhook(ON_DOUBT="resend", MAX_ATTEMPTS=1)
    row, platform = event(), ScriptedPlatform(httpx.Response(503))
    for after in (0, 100_000):
        publish(platform, after=after)

    assert len(platform.published) == 1
    assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)


def test_a_change_of_the_protocol_sends_only_what_is_not_in_doubt(webhook, settings):
    mine = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            "REGION": "us-east-1",
            "CLIENT_ID": "an-id",
            "CLIENT_SECRET": "a-secret-0123",
            "SOURCE": "com.example.tests",
        }
    }
    doubtful = event()
    publish(ScriptedPlatform(httpx.ReadTimeout("no answer")))
    checked, untried = accepted(), event()
    webhook(**{**mine, "ON_DOUBT": "resend"})
    platform = ScriptedPlatform(INVOKED)
    with shifted(100_000):
        relay.publish_due(transport=platform.transport)
        relay.check_accepted(transport=platform.transport)

    assert [body["id"] for body in platform.bodies] == [str(untried.event_id)]
    assert (fresh(doubtful).state, fresh(doubtful).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
    assert (fresh(checked).state, fresh(checked).reason) == (State.UNRESOLVED, Reason.UNCONFIRMED)


def test_a_pass_holds_no_more_events_than_it_can_send_at_once(webhook):
    webhook(CONCURRENCY=3, BATCH_SIZE=50)
    for _ in range(20):
        event()
    held = []

    def look(_request):
        held.append(max(len(side.in_flight) for side in working.sides.values()))
        return httpx.Response(200, json={"invocationId": str(uuid.uuid4())})

    platform = ScriptedPlatform(look)
    with Senders(conf.destination(), 3, transport=platform.transport) as senders:
        working = Pass({AttemptKind.PUBLISH: 0.0}, conf.destination(), senders)
        working.run()

    assert len(platform.published) == 20
    assert max(held) == 3


def test_three_unknown_outcomes_in_a_row_pause_under_ask(webhook):
    webhook(CONCURRENCY=1)
    for _ in range(20):
        event()
    platform = ScriptedPlatform(httpx.Response(503))
    publish(platform)

    assert len(platform.published) == 3
    assert OutboxEvent.objects.filter(state=State.UNRESOLVED).count() == 3
    assert Destination.objects.get().paused_kind == "network"

"""Events by the webhook, which honours no idempotency key: what is proven, sent again, or asked."""

import json
import threading
import uuid

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from genesys_eventbridge import conf, relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, Resolution, Skip, check_now, resolve
from genesys_eventbridge.outbox import enqueue, expiry
from genesys_eventbridge.relay.batch import Pass
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.reporting.explain import explain, facts_for
from genesys_eventbridge.reporting.timeline import history, timeline
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import PUBLISH, accepted, claim, ended, event, fresh

pytestmark = pytest.mark.django_db

TOKEN = "canarytoken-0123456789"
WEBHOOK = {
    "REGION": "us-east-1",
    "PROTOCOL": "webhook",
    "WEBHOOK_TOKEN": TOKEN,
    "ON_DOUBT": "ask",
    "SOURCE": "com.example.tests",
}


class Hook:
    """The endpoint: each request gets the next scripted answer, the last one repeats."""

    def __init__(self, *script):
        self.script = list(script)
        self.requests: list[httpx.Request] = []
        self._lock = threading.Lock()

    def transport(self):
        return httpx.MockTransport(self._answer)

    @property
    def ids(self):
        return [json.loads(request.content)["id"] for request in self.requests]

    def _answer(self, request):
        request.read()
        with self._lock:
            self.requests.append(request)
            answer = (self.script.pop(0) if len(self.script) > 1 else self.script[0]) if self.script else 200
        if isinstance(answer, BaseException):
            raise answer
        if answer == 200:
            return httpx.Response(200, json={"invocationId": str(uuid.uuid4())})
        if isinstance(answer, int):
            return httpx.Response(
                answer, json={"message": "m", "code": "c.d", "status": answer, "contextId": "c"}
            )
        return answer


@pytest.fixture
def webhook(settings):
    """Switches the destination to the webhook, with other settings if given."""

    def switch(**changes):
        settings.GENESYS_EVENTBRIDGE = {"default": {**WEBHOOK, **changes}}

    switch()
    return switch


def states():
    return list(OutboxEvent.objects.order_by("id").values_list("state", "reason"))


def publish(hook, **keywords):
    return relay.publish_due(transport=hook.transport, **keywords)


def events(count):
    return [enqueue("order.created", {"n": n}, standalone=True) for n in range(count)]


def publish_again(hook, times):
    """Publish so often, each time with all retries due and no pause."""
    for _ in range(times):
        Destination.objects.all().delete()
        OutboxEvent.objects.filter(state=State.PENDING).update(due_at=DatabaseNow())
        publish(hook)


BROKEN = httpx.ReadError("connection reset")
EMPTY = httpx.Response(200, json={})


class TestProof:
    def test_an_accepted_event_is_delivered_and_keeps_the_invocation_id(self, webhook):
        events(3)
        hook = Hook()

        report = publish(hook)

        assert report.states == {"delivered": 3}
        assert [request.url.path for request in hook.requests] == [
            f"/api/v2/integrations/webhooks/{TOKEN}/events"
        ] * 3
        assert all(len(row.remote_id) == 36 for row in OutboxEvent.objects.all())

    def test_a_request_carries_no_token_of_oauth_and_no_idempotency_key(self, webhook):
        events(1)
        hook = Hook()

        publish(hook)

        (request,) = hook.requests
        assert not {"authorization", "idempotency-key"} & set(request.headers)
        assert request.headers["Content-Type"] == request.headers["Accept"] == "application/json"

    def test_an_invocation_id_proves_one_event_only(self, webhook):
        events(2)
        same = httpx.Response(200, json={"invocationId": "one-for-all"})

        publish(Hook(same))

        assert sorted(states()) == [("delivered", ""), ("unresolved", "outcome_unknown")]

    @pytest.mark.parametrize("status", [404, 410, 401, 403])
    def test_a_wrong_token_or_an_inactive_integration_kills_nothing(self, webhook, status):
        events(3)

        publish(Hook(status))

        assert states() == [("pending", "")] * 3
        assert Destination.objects.get().paused_until is not None

    def test_a_token_is_read_again_after_a_refusal(self, webhook):
        tokens = iter(["old-token-0123", "new-token-0123", "new-token-0123"])
        webhook(WEBHOOK_TOKEN=lambda: next(tokens))
        events(1)
        hook = Hook(404, 200)
        with Senders(conf.destination(), 1, transport=hook.transport) as senders:
            relay.publish_due(senders=senders)
            Destination.objects.all().delete()
            relay.publish_due(senders=senders)

        assert [request.url.path.split("/")[-2] for request in hook.requests] == [
            "old-token-0123",
            "new-token-0123",
        ]
        assert states() == [("delivered", "")]

    def test_a_callable_is_not_called_for_each_event(self, webhook):
        tokens = iter([TOKEN])
        webhook(WEBHOOK_TOKEN=lambda: next(tokens), CONCURRENCY=1)
        events(5)

        publish(Hook())

        assert states() == [("delivered", "")] * 5

    def test_a_callable_that_raises_pauses_and_every_event_waits(self, webhook):
        webhook(WEBHOOK_TOKEN=lambda: 1 / 0)
        events(2)
        hook = Hook()

        publish(hook)

        assert states() == [("pending", "")] * 2
        assert hook.requests == []
        assert "WEBHOOK_TOKEN raised ZeroDivisionError" in Destination.objects.get().paused_reason


class TestAsk:
    @pytest.mark.parametrize("answer", [BROKEN, EMPTY, 500, 503, 408, 409, httpx.ReadTimeout("slow")])
    def test_an_event_of_unknown_outcome_is_unresolved_at_once_and_never_sent_again(self, webhook, answer):
        events(2)
        hook = Hook(answer)

        for _ in range(3):
            Destination.objects.all().delete()
            publish(hook)

        assert states() == [("unresolved", "outcome_unknown")] * 2
        assert len(hook.requests) == 2

    @pytest.mark.parametrize("answer", [httpx.ConnectError("refused"), 429, httpx.ProxyError("407")])
    def test_what_was_certainly_not_accepted_is_sent_again(self, webhook, answer):
        events(1)
        hook = Hook(answer, 200)

        publish(hook)
        Destination.objects.all().delete()
        publish(hook)

        assert states() == [("delivered", "")]

    def test_an_event_that_a_killed_worker_claimed_is_unresolved_and_not_sent(self, webhook):
        row = event()
        assert claim(settings=conf.destination()).rows
        OutboxEvent.objects.update(due_at=DatabaseNow(-1))  # its lease is over
        hook = Hook()

        publish(hook)

        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
        assert hook.requests == []

    def test_an_event_in_flight_is_not_ended(self, webhook):
        row = event()
        assert claim(settings=conf.destination()).rows

        assert not expiry.expire(conf.destination())
        assert fresh(row).state == State.PENDING

    def test_three_unknown_outcomes_in_a_row_pause_the_destination(self, webhook):
        webhook(CONCURRENCY=1)
        events(10)
        hook = Hook(500)

        publish(hook)

        assert len(hook.requests) == 3
        assert sorted(states()) == [("pending", "")] * 7 + [("unresolved", "outcome_unknown")] * 3
        assert Destination.objects.get().paused_kind == "network"

    def test_a_stopped_worker_gives_back_what_it_has_not_begun(self, webhook):
        row = event()
        stop = threading.Event()
        stop.set()

        publish(Hook(), stop=stop)

        assert (fresh(row).state, fresh(row).in_doubt_since) == (State.PENDING, None)


class TestResend:
    def test_an_event_of_unknown_outcome_is_sent_again_and_marked(self, webhook):
        webhook(ON_DOUBT="resend", BACKOFF_BASE=0.001, BACKOFF_CAP=0.001)
        events(1)
        hook = Hook(BROKEN, 500, 200)

        publish_again(hook, 3)

        assert states() == [("delivered", "")]
        assert len(set(hook.ids)) == 1
        log = list(DeliveryAttempt.objects.order_by("number").values_list("verdict", "may_duplicate"))
        assert log == [("unknown", None), ("unknown", True), ("accepted", True)]

    def test_its_window_never_closes(self, webhook, django_assert_num_queries):
        webhook(ON_DOUBT="resend")
        with django_assert_num_queries(0):
            assert not expiry.expire(conf.destination())
        row = event(row={"in_doubt_since": DatabaseNow(-1000 * 86400), "attempts": 1})

        publish(Hook())

        assert fresh(row).state == State.DELIVERED

    def test_with_its_attempts_used_up_in_doubt_it_is_unresolved(self, webhook):
        webhook(ON_DOUBT="resend", MAX_ATTEMPTS=2)
        row = event()
        hook = Hook(BROKEN)
        publish_again(hook, 3)

        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
        assert len(hook.requests) == 2

    def test_a_refusal_after_a_doubt_is_unresolved_and_not_dead(self, webhook):
        webhook(ON_DOUBT="resend")
        row = event()
        publish_again(Hook(BROKEN, 400), 2)

        assert fresh(row).state == State.UNRESOLVED

    def test_with_a_key_that_is_honoured_nothing_is_marked(self):
        event(row={"in_doubt_since": DatabaseNow(-60), "attempts": 1})

        relay.publish_due(transport=lambda: httpx.MockTransport(_eventbridge))

        assert set(DeliveryAttempt.objects.values_list("verdict", "may_duplicate")) == {("accepted", None)}


def _eventbridge(request):
    if request.url.path == "/oauth/token":
        return httpx.Response(
            200, json={"access_token": "t-canary", "token_type": "bearer", "expires_in": 3600}
        )
    return httpx.Response(202, json={"id": "evt-1", "status": "accepted"})


class TestBareData:
    def test_the_very_bytes_of_the_data_are_sent(self, webhook):
        webhook(WEBHOOK_BODY="data")
        event(data={"n": 1, "text": "Ä"}, subject="Ä 1")
        hook = Hook()

        publish(hook)

        (request,) = hook.requests
        assert request.content == '{"n":1,"text":"Ä"}'.encode()
        assert (request.headers["ce-type"], request.headers["ce-subject"]) == ("order.created", "%C3%84%201")
        assert states() == [("delivered", "")]

    @pytest.mark.parametrize(
        ("field", "keywords"),
        [
            ("data", {"data": b"bytes"}),
            ("datacontenttype", {"data": "text", "datacontenttype": "text/plain"}),
            ("comment", {"data": {}, "extensions": {"comment": "x" * 9000}}),
        ],
    )
    def test_what_headers_or_json_cannot_carry_is_refused_when_it_is_enqueued(self, webhook, field, keywords):
        webhook(WEBHOOK_BODY="data")

        with pytest.raises(InvalidEvent) as caught:
            enqueue("order.created", standalone=True, **keywords)

        assert caught.value.field == field
        assert OutboxEvent.objects.count() == 0

    def test_an_event_enqueued_before_the_switch_that_cannot_be_carried_is_dead_and_says_why(self, webhook):
        row = event(data="text", datacontenttype="text/plain")
        webhook(WEBHOOK_BODY="data")
        hook = Hook()

        publish(hook)

        assert (fresh(row).state, fresh(row).reason) == (State.DEAD, Reason.REJECTED)
        assert (
            fresh(row).last_error
            == 'Not sent: datacontenttype: must be JSON, because WEBHOOK_BODY is "data".'
        )
        words = explain(fresh(row), facts_for(fresh(row)))
        assert words.startswith("Not sent: datacontenttype")
        assert "The platform" not in words
        assert "correct what the error names" in words
        assert (
            timeline(fresh(row), *history(row), facts_for(fresh(row)))[-1].title
            == "Refused before it was sent"
        )
        assert hook.requests == []


def test_an_attribute_may_be_empty_in_binary_mode(webhook):
    webhook(WEBHOOK_BODY="data")
    row = event(extensions={"empty": ""})
    hook = Hook(200)
    publish(hook)

    assert fresh(row).state == State.DELIVERED
    assert hook.requests[0].headers["ce-empty"] == ""


class TestOperators:
    @pytest.mark.parametrize("on_doubt", ["ask", "resend"])
    def test_sending_an_unresolved_event_again_may_duplicate(self, webhook, on_doubt):
        webhook(ON_DOUBT=on_doubt)
        row = event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, in_doubt_since=DatabaseNow(-5)))
        actor = Actor("command", name="ben")

        refused = resolve([row.pk], actor, Resolution.NOT_DELIVERED, "not there")
        done = resolve([row.pk], actor, Resolution.NOT_DELIVERED, "not there", accept_duplicates=True)

        assert list(refused.skipped) == [Skip.MAY_DUPLICATE]
        assert done.may_duplicate.ids == [row.pk]
        assert fresh(row).in_doubt_since is None

        publish(Hook(200))

        assert fresh(row).state == State.DELIVERED
        assert DeliveryAttempt.objects.get().may_duplicate is True

    def test_there_is_no_status_to_ask_for(self, webhook):
        row = event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, remote_id="an-id"))

        assert list(check_now([row.pk], Actor("command")).skipped) == [Skip.NO_STATUS]


def test_the_page_of_an_event_offers_no_check_where_there_is_no_status(webhook, client):
    row = event(row=ended(State.UNRESOLVED, Reason.UNCONFIRMED, remote_id="an-id"))
    client.force_login(get_user_model().objects.create_superuser("ana"))
    page = f"/admin/genesys_eventbridge/outboxevent/{row.pk}/change/"
    without = client.get(page).content.decode()
    oauth = {"CLIENT_ID": "i", "CLIENT_SECRET": "s-0123"}
    with override_settings(
        GENESYS_EVENTBRIDGE={"default": {"REGION": "us-east-1", "SOURCE": "com.example", **oauth}}
    ):
        with_status = client.get(page).content.decode()

    assert "Check status now…" not in without
    assert "Check status now…" in with_status


class TestWords:
    """What people read about an event by the webhook."""

    def words(self, row):
        found = fresh(row)
        return explain(found, facts_for(found))

    def test_an_accepted_event_has_no_delivery_confirmation(self, webhook):
        row = event()
        publish(Hook())

        assert "this protocol has no delivery confirmation" in self.words(row)

    def test_a_doubt_is_explained_by_what_follows_it(self, webhook):
        row = event()
        publish(Hook(BROKEN))
        asked = self.words(row)
        webhook(ON_DOUBT="resend")
        OutboxEvent.objects.update(state=State.PENDING, reason="", due_at=DatabaseNow(60), attempts=1)
        resent = self.words(row)

        assert "recognises no repetition with this protocol" in asked
        assert "Look for id" in asked
        assert "Check status now" not in asked
        assert "ON_DOUBT is “resend”, so the platform may accept it twice" in resent
        assert "same" not in resent

    def test_a_retry_is_safe_for_another_reason_than_a_key(self, webhook):
        row = event()
        publish(Hook(423))

        assert "no earlier attempt was accepted" in self.words(row)
        assert "idempotency key" not in self.words(row)

    def test_the_log_marks_a_repetition(self, webhook):
        webhook(ON_DOUBT="resend")
        row = event()
        publish_again(Hook(BROKEN, 200), 2)

        entries = timeline(fresh(row), *history(row), facts_for(fresh(row)))

        assert [
            ("repeated, although", "an earlier attempt may have arrived") in entry.facts for entry in entries
        ] == [
            False,
            False,
            True,
        ]


class TestHeld:
    def test_a_pass_holds_only_as_many_rows_as_it_has_senders(self, webhook):
        webhook(CONCURRENCY=4, BATCH_SIZE=100)
        events(30)
        with Senders(conf.destination(), 4, transport=Hook().transport) as senders:
            work = Pass({PUBLISH: 0.0}, conf.destination(), senders)
            side = work.sides[PUBLISH]
            held = []
            inner = side._hand_out

            def hand_out(rows):
                inner(rows)
                held.append(side.held())

            side._hand_out = hand_out  # type: ignore[method-assign]
            work.run()

        assert max(held) <= 4
        assert states() == [("delivered", "")] * 30

    def test_with_a_key_that_is_honoured_it_holds_a_batch(self):
        settings = conf.destination()
        with Senders(settings, 4) as senders:
            assert Pass({PUBLISH: 0.0}, settings, senders).rows == settings.batch_size


class TestASwitchedProtocol:
    """Rows follow the present protocol; what only the former one could tell is left to an operator."""

    def test_events_that_were_never_sent_are_sent_by_the_new_one(self, webhook):
        events(2)

        publish(Hook())

        assert states() == [("delivered", "")] * 2

    @pytest.mark.parametrize("on_doubt", ["ask", "resend"])
    def test_an_event_that_the_former_protocol_may_have_sent_is_unresolved(self, settings, on_doubt):
        row = event()
        relay.publish_due(transport=lambda: httpx.MockTransport(_broken))
        assert fresh(row).in_doubt_since is not None
        settings.GENESYS_EVENTBRIDGE = {"default": {**WEBHOOK, "ON_DOUBT": on_doubt}}
        OutboxEvent.objects.update(due_at=DatabaseNow())
        Destination.objects.all().delete()
        hook = Hook()

        publish(hook)

        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
        assert hook.requests == []

    def test_an_accepted_event_is_unresolved_because_nobody_can_ask_about_it(self, webhook):
        row = accepted()
        hook = Hook()

        report = relay.check_accepted(transport=hook.transport)

        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.UNCONFIRMED)
        assert report.states == {"unresolved": 1}
        assert hook.requests == []

    def test_an_event_in_doubt_by_the_webhook_is_unresolved_by_the_other(self, webhook, settings):
        webhook(ON_DOUBT="resend")
        row = event()
        publish(Hook(BROKEN))
        assert fresh(row).in_doubt_since is not None
        settings.GENESYS_EVENTBRIDGE = {
            "default": {
                "REGION": "us-east-1",
                "CLIENT_ID": "i",
                "CLIENT_SECRET": "s-0123",
                "SOURCE": "com.example.tests",
            }
        }
        OutboxEvent.objects.update(due_at=DatabaseNow())
        Destination.objects.all().delete()

        relay.publish_due(transport=lambda: httpx.MockTransport(_eventbridge))

        assert fresh(row).state == State.UNRESOLVED

    def test_checks_ask_nothing(self, webhook):
        accepted(due_at=DatabaseNow(60))
        hook = Hook()

        report = relay.check_accepted(transport=hook.transport)

        assert (report.claimed, report.drained, hook.requests) == (0, True, [])


def _broken(request):
    if request.url.path == "/oauth/token":
        return _eventbridge(request)
    raise httpx.ReadError("reset")

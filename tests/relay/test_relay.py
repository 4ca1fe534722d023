"""The one way out: a pass claims, asks and settles, and holds to it whatever the platform answers."""

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge import relay, signals, steady, tracing
from genesys_eventbridge.circuit import Reply
from genesys_eventbridge.client import Sender
from genesys_eventbridge.client.transport import DEADLINE
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import destinations, enqueue, expiry
from genesys_eventbridge.outbox import settle as settlements
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.relay import batch as relay_pass
from genesys_eventbridge.relay import senders
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.states import AttemptKind, Reason, State
from tests.outbox_rows import accepted, event, fresh, in_threads, settings_with
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

HOUR = 3600.0


def publish(platform, **keywords):
    return relay.publish_due(transport=platform.transport, **keywords)


def check(platform, **keywords):
    return relay.check_accepted(transport=platform.transport, **keywords)


def reply(code, headers=None, **body):
    return httpx.Response(code, json=body, headers=headers)


class TestPublishing:
    def test_what_is_due_is_published_once_with_its_bytes_and_its_key(self):
        row = event(data={"amount": "1.10", "name": "Zoë"})
        platform = ScriptedPlatform()

        report = publish(platform)

        (request,) = platform.published
        assert request.content == row.body.encode()
        assert hashlib.sha256(request.content).hexdigest() == row.body_sha256
        assert request.headers["Idempotency-Key"] == str(row.idempotency_key)
        assert request.headers["Content-Type"] == "application/cloudevents+json"
        assert request.headers["Authorization"] == "Bearer token-canary"
        assert fresh(row).state == State.ACCEPTED
        assert (report.claimed, report.states, report.drained) == (1, {"accepted": 1}, True)

    def test_a_backlog_larger_than_a_batch_is_drained_in_one_pass(self, settings):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "BATCH_SIZE": 5, "CONCURRENCY": 3}
        }
        for _ in range(23):
            event()
        platform = ScriptedPlatform()

        report = publish(platform)

        assert report.claimed == len(platform.published) == 23
        assert len(set(platform.keys)) == 23
        assert platform.tokens <= 1

    @pytest.mark.parametrize(
        ("batch", "senders", "step"),
        [(100, 1, 98), (100, 16, 68), (100, 32, 36), (100, 64, 25), (100, 1000, 25), (5, 3, 1), (1, 16, 1)],
    )
    def test_each_sender_keeps_two_rows_while_the_database_is_asked(self, batch, senders, step):
        """Or they run dry; and never less than a quarter of the batch for one statement."""
        settings = settings_with(batch_size=batch)
        crew = Senders(settings, senders)

        assert relay_pass.Pass({AttemptKind.PUBLISH: 0.0}, settings, crew).step == step

    def test_a_limit_is_kept(self):
        for _ in range(5):
            event()
        platform = ScriptedPlatform()

        assert publish(platform, limit=3).claimed == 3
        assert len(platform.published) == 3

    def test_events_of_one_key_arrive_in_the_order_of_insertion(self):
        rows = [event(ordering_key="k", data=number) for number in range(6)]
        platform = ScriptedPlatform()

        publish(platform)

        assert [body["data"] for body in platform.bodies] == [0, 1, 2, 3, 4, 5]
        assert {fresh(row).state for row in rows} == {State.ACCEPTED}

    def test_no_request_is_made_inside_a_transaction_and_no_sender_knows_the_database(self):
        event()
        seen = []

        def look(request):
            seen.append((threading.current_thread() is threading.main_thread(), connection.in_atomic_block))
            return reply(202, id=f"evt-{uuid4()}")

        publish(ScriptedPlatform(look))

        assert seen == [(False, False)]

    def test_every_request_leaves_its_facts_in_the_log(self):
        row = event()
        answer = reply(503, {"ININ-Correlation-Id": "corr-9", "Retry-After": "30"}, message="busy")

        publish(ScriptedPlatform(answer))

        entry = DeliveryAttempt.objects.get()
        assert (entry.event_id, entry.number, entry.kind) == (row.pk, 1, "publish")
        assert (entry.verdict, entry.status_code, entry.correlation_id) == ("unknown", 503, "corr-9")
        assert (entry.retry_after, entry.worker) == (30.0, relay.worker_name())
        assert "busy" in entry.response_excerpt
        assert entry.duration >= 0
        assert abs((entry.started_at - row.created_at).total_seconds()) < 30


class TestVerdicts:
    @pytest.mark.parametrize(
        ("answer", "state", "reason"),
        [
            (reply(201, id="evt-1", status="delivered"), State.DELIVERED, ""),
            (reply(202, id="evt-1", status="failed"), State.DEAD, Reason.DELIVERY_FAILED),
            (400, State.DEAD, Reason.REJECTED),
            (413, State.DEAD, Reason.REJECTED),
            (reply(409, id="evt-1"), State.ACCEPTED, ""),
            (409, State.PENDING, ""),
            (500, State.PENDING, ""),
            (httpx.Response(200, text="<html>sign in</html>"), State.PENDING, ""),
            (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), State.PENDING, ""),
            (httpx.ReadTimeout("slow"), State.PENDING, ""),
            (httpx.ConnectError("refused"), State.PENDING, ""),
        ],
    )
    def test_each_answer_moves_the_row_to_one_state(self, answer, state, reason):
        row = event()

        publish(ScriptedPlatform(answer))

        assert (fresh(row).state, fresh(row).reason) == (state, reason)

    @pytest.mark.parametrize("answer", [500, 409, httpx.ReadTimeout("slow"), httpx.Response(204)])
    def test_an_unknown_outcome_is_counted_stays_in_doubt_and_keeps_key_and_bytes(self, answer):
        row = event()
        platform = ScriptedPlatform(answer, 202)

        publish(platform)
        now = fresh(row)
        assert (now.attempts, now.state) == (1, State.PENDING)
        assert now.in_doubt_since is not None
        with shifted(100):
            publish(platform)

        assert fresh(row).state == State.ACCEPTED
        assert fresh(row).in_doubt_since is None
        first, second = platform.published
        assert (first.content, first.headers["Idempotency-Key"]) == (
            second.content,
            second.headers["Idempotency-Key"],
        )

    @pytest.mark.parametrize("answer", [401, 403, 404, 429, httpx.ConnectError("refused")])
    def test_a_halt_charges_no_event_and_pauses_the_destination(self, answer):
        rows = [event() for _ in range(3)]

        report = publish(ScriptedPlatform(answer))

        assert {fresh(row).attempts for row in rows} == {0}
        assert {fresh(row).in_doubt_since for row in rows} == {None}
        assert report.paused_for > 0
        assert Destination.objects.get().paused_until is not None
        assert DeliveryAttempt.objects.filter(verdict="halted").exists()

    def test_after_a_429_nothing_more_is_begun(self, settings):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONCURRENCY": 2}
        }
        for _ in range(40):
            event()
        platform = ScriptedPlatform(reply(429, {"Retry-After": "480"}, message="slow down"))

        report = publish(platform)

        assert len(platform.published) <= 2
        assert report.released + report.halted == report.claimed
        assert 480 <= report.paused_for <= 530
        assert set(OutboxEvent.objects.values_list("attempts", flat=True)) == {0}

    def test_the_second_pass_after_a_pause_probes_and_then_goes_on(self):
        for _ in range(5):
            event()
        publish(ScriptedPlatform(httpx.ConnectError("refused")))
        platform = ScriptedPlatform()

        with shifted(6):
            report = publish(platform)

        assert report.claimed == len(platform.published) == 5
        assert Destination.objects.get().paused_until is None

    def test_a_probe_goes_when_nothing_else_is_in_flight(self, settings, monkeypatch):
        """What was sent before the pause may say more about it than one event alone."""
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONCURRENCY": 2, "BATCH_SIZE": 4}
        }
        for _ in range(6):
            event()
        looked_again, looks = threading.Event(), []
        platform = ScriptedPlatform()

        def after_the_second_look(_request):
            assert looked_again.wait(10)
            return reply(202, id=f"evt-{uuid4()}")

        platform.publish_script = [after_the_second_look]
        gate, claim = destinations.gate, claims.claim

        def look(*arguments):
            found = gate(*arguments)
            looks.append(found.probing)
            if len(looks) == 2:
                looked_again.set()
            return found

        def two_and_then_a_pause_that_is_over(kind, settings, gate, room, about, **only):
            batch = claim(kind, settings, gate, replace(room, rows=min(room.rows, 2)), about, **only)
            if len(looks) == 1:
                refused = Outcome(Verdict.HALTED, halt=Halt.NETWORK)
                destinations.record(kind, settings, [Reply(0, refused)])
                Destination.objects.update(paused_until=DatabaseNow(-1))
            return batch

        monkeypatch.setattr(destinations, "gate", look)
        monkeypatch.setattr(claims, "claim", two_and_then_a_pause_that_is_over)
        publish(platform)

        assert looks[1] is True
        assert OutboxEvent.objects.filter(state=State.ACCEPTED).count() == 6

    def test_the_pause_is_there_before_the_rows_are_free_again(self, monkeypatch):
        """Else another worker would claim them and send them into the same trouble."""
        event()
        seen, settle = [], settlements.settle

        def look(*arguments, **keywords):
            seen.append(destinations.gate(AttemptKind.PUBLISH, "default", "another").open)
            return settle(*arguments, **keywords)

        monkeypatch.setattr(relay_pass, "settle", look)
        publish(ScriptedPlatform(httpx.ConnectError("refused")))

        assert seen == [False]

    def test_an_outage_does_not_eat_the_attempts_of_every_event(self, settings):
        """A run of failures over different events pauses: platform.md 7.1."""
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONCURRENCY": 2, "BATCH_SIZE": 5}
        }
        for _ in range(50):
            event()

        report = publish(ScriptedPlatform(503))

        assert report.paused_for > 0
        assert OutboxEvent.objects.filter(attempts__gt=0).count() <= 12

    def test_one_event_the_platform_chokes_on_does_not_pause_the_others(self):
        poison = event("poison")
        for _ in range(3):
            event()

        def choke(request):
            if b"poison" in request.content:
                return httpx.Response(500)
            return reply(202, id=f"evt-{uuid4()}")

        publish(ScriptedPlatform(choke))

        assert fresh(poison).state == State.PENDING
        assert OutboxEvent.objects.filter(state=State.ACCEPTED).count() == 3
        assert Destination.objects.get().paused_until is None

    def test_an_event_refused_by_a_firewall_ends_dead_while_the_others_flow(self):
        """Three halts of its own while others are accepted: it is the event, not the role."""
        poison = event("poison")

        def forbid(request):
            if b"poison" in request.content:
                return httpx.Response(403, text="<html>blocked</html>")
            return reply(202, id=f"evt-{uuid4()}")

        later = 0.0
        for _ in range(6):
            with shifted(later):
                event(row={"due_at": DatabaseNow()})
                publish(ScriptedPlatform(forbid))
            later += 2000

        assert (fresh(poison).state, fresh(poison).reason) == (State.DEAD, Reason.REJECTED)
        assert not OutboxEvent.objects.filter(state=State.PENDING).exists()

    def test_without_any_acceptance_a_missing_role_kills_nothing(self):
        rows = [event() for _ in range(2)]
        later = 0.0
        for _ in range(12):
            with shifted(later):
                publish(ScriptedPlatform(403))
            later += 2000

        assert {fresh(row).state for row in rows} == {State.PENDING}
        assert {fresh(row).attempts for row in rows} == {0}

    def test_retries_end_after_max_attempts_with_a_person_deciding(self):
        row = event()
        platform = ScriptedPlatform(423)
        later = 0.0
        for _ in range(14):
            with shifted(later):
                publish(platform)
            later += 5000

        assert len(platform.published) == 12
        assert (fresh(row).state, fresh(row).reason) == (State.DEAD, Reason.EXHAUSTED)


class TestChecking:
    def test_a_delivered_event_is_done(self):
        row = accepted()

        report = check(ScriptedPlatform())

        assert fresh(row).state == State.DELIVERED
        assert report.states == {"delivered": 1}

    @pytest.mark.parametrize(
        ("answer", "state", "reason"),
        [
            (reply(200, status="FAILED"), State.DEAD, Reason.DELIVERY_FAILED),
            (reply(200, status="queued"), State.ACCEPTED, ""),
            (500, State.ACCEPTED, ""),
            (404, State.ACCEPTED, ""),
            (httpx.ReadTimeout("slow"), State.ACCEPTED, ""),
        ],
    )
    def test_each_answer_moves_the_row_to_one_state(self, answer, state, reason):
        row = accepted()

        check(ScriptedPlatform(check=[answer]))

        now = fresh(row)
        assert (now.state, now.reason) == (state, reason)
        assert now.attempts == row.attempts

    def test_an_event_nobody_confirms_becomes_a_question_for_a_person(self):
        row = accepted(accepted_at=DatabaseNow(-3601))

        check(ScriptedPlatform(check=[reply(200, status="queued")]))

        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.UNCONFIRMED)

    def test_an_event_nobody_could_ask_about_stays_accepted(self):
        row = accepted(accepted_at=DatabaseNow(-36000))

        check(ScriptedPlatform(check=[httpx.ReadTimeout("slow")]))

        assert fresh(row).state == State.ACCEPTED

    def test_a_missing_read_right_pauses_checking_and_not_publishing(self):
        row, other = accepted(), event()
        platform = ScriptedPlatform(check=[403])

        check(platform)
        publish(platform)

        assert fresh(row).state == State.ACCEPTED
        assert fresh(other).state == State.ACCEPTED
        assert Destination.objects.get().check_paused_until is not None

    def test_an_answer_without_news_is_not_logged_again(self):
        accepted()
        platform = ScriptedPlatform(check=[reply(200, status="queued")])
        for later in (0, 100, 1000):
            with shifted(later):
                check(platform)

        assert len(platform.checked) == 3
        assert DeliveryAttempt.objects.count() == 1

    def test_with_confirmation_switched_off_accepted_rows_are_closed_without_a_request(self, settings):
        row = accepted()
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONFIRM": False}
        }
        platform = ScriptedPlatform()

        report = check(platform)

        assert platform.checked == []
        assert fresh(row).state == State.DELIVERED
        assert report.states == {"delivered": 1}

    def test_with_confirmation_switched_off_acceptance_is_the_end(self, settings):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONFIRM": False}
        }
        row = event()

        publish(ScriptedPlatform())

        assert fresh(row).state == State.DELIVERED
        assert fresh(row).finished_at is not None


class TestExpiry:
    def test_a_doubtful_row_past_its_window_waits_for_a_person_and_is_not_sent(self):
        row = event(row={"in_doubt_since": DatabaseNow(-23 * HOUR - 1), "attempts": 1})
        platform = ScriptedPlatform()

        report = publish(platform)

        assert platform.published == []
        now = fresh(row)
        assert (now.state, now.reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
        assert now.in_doubt_since is not None
        assert report.states == {"unresolved": 1}

    def test_it_expires_also_while_the_destination_is_paused(self):
        publish(ScriptedPlatform())
        Destination.objects.update(paused_until=DatabaseNow(1000), paused_kind="rate")
        row = event(row={"in_doubt_since": DatabaseNow(-23 * HOUR - 1), "attempts": 1})

        publish(ScriptedPlatform())

        assert fresh(row).state == State.UNRESOLVED

    def test_a_row_in_flight_does_not_expire(self):
        row = event(row={"in_doubt_since": DatabaseNow(-23 * HOUR - 1), "attempts": 1})
        OutboxEvent.objects.update(due_at=DatabaseNow(30), claim_token=uuid4())

        expiry.expire(settings_with())

        assert fresh(row).state == State.PENDING

    @pytest.mark.parametrize(
        ("doubt", "state", "reason"),
        [
            (None, State.DEAD, Reason.EXHAUSTED),
            (DatabaseNow(-60), State.UNRESOLVED, Reason.OUTCOME_UNKNOWN),
        ],
    )
    def test_a_row_that_killed_its_worker_to_the_last_try_ends(self, doubt, state, reason):
        row = event(row={"attempts": 12, "in_doubt_since": doubt})
        platform = ScriptedPlatform()

        publish(platform)

        assert platform.published == []
        assert (fresh(row).state, fresh(row).reason) == (state, reason)


class TestStopping:
    def test_a_stopped_worker_claims_nothing(self):
        event()
        stop = threading.Event()
        stop.set()
        platform = ScriptedPlatform()

        assert publish(platform, stop=stop).claimed == 0
        assert platform.published == []

    def test_a_stop_finishes_what_has_begun_and_gives_the_rest_back(self, settings, monkeypatch):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONCURRENCY": 1}
        }
        for _ in range(10):
            event()
        stop, stopped = threading.Event(), threading.Event()

        def stop_then_accept(request):
            stop.set()
            assert stopped.wait(10)
            return reply(202, id=f"evt-{uuid4()}")

        platform = ScriptedPlatform(stop_then_accept)
        with Senders(settings_with(concurrency=1), 1, transport=platform.transport) as crew:
            stop_crew = crew.stop

            def note_stop():
                stop_crew()
                stopped.set()

            monkeypatch.setattr(crew, "stop", note_stop)
            report = relay.publish_due(stop=stop, senders=crew)

        assert len(platform.published) == 1
        assert (report.states, report.released) == ({"accepted": 1}, 9)
        assert OutboxEvent.objects.filter(state=State.PENDING, attempts=0, claim_token=None).count() == 9

    def test_a_pass_whose_time_is_over_claims_no_more(self, monkeypatch):
        event()
        clock = iter([0.0] + [1e9] * 1000)
        monkeypatch.setattr(relay_pass, "steady", SimpleNamespace(monotonic=lambda: next(clock)))
        platform = ScriptedPlatform()

        assert publish(platform).claimed == 0

    def test_a_row_claimed_too_long_ago_is_not_begun(self, monkeypatch):
        """Fault 10: a worker frozen between claim and send abandons what it holds."""
        row = event()
        take = claims.claim

        def freeze(*args, **keywords):
            batch = take(*args, **keywords)
            return replace(batch, rows=[replace(row, started=row.started - 41) for row in batch.rows])

        monkeypatch.setattr(claims, "claim", freeze)
        platform = ScriptedPlatform()

        report = publish(platform, limit=1)

        assert platform.published == []
        assert report.released == 1
        assert (fresh(row).attempts, fresh(row).in_doubt_since) == (0, None)

    def test_a_row_claimed_before_the_machine_slept_is_not_begun(self, monkeypatch):
        row, take, slept = event(), claims.claim, [0.0]

        def sleep(*args, **keywords):
            batch = take(*args, **keywords)
            slept[0] = 41.0
            return batch

        monkeypatch.setattr(steady, "monotonic", lambda: time.monotonic() + slept[0])
        monkeypatch.setattr(claims, "claim", sleep)
        platform = ScriptedPlatform()

        report = publish(platform, limit=1)

        assert (platform.published, report.released) == ([], 1)
        assert (fresh(row).attempts, fresh(row).in_doubt_since) == (0, None)

    @pytest.mark.parametrize("ask", [publish, check])
    def test_nothing_between_the_look_at_the_lease_and_the_request_lengthens_its_deadline(
        self, monkeypatch, ask
    ):
        """The worker may be frozen there, or a span processor of the application may be slow."""
        event() if ask is publish else accepted()
        frozen, sending = [0.0], tracing.sending

        @contextmanager
        def freeze(*args, **keywords):
            frozen[0] = 60.0
            with sending(*args, **keywords) as span:
                yield span

        monkeypatch.setattr(tracing, "sending", freeze)
        later = partial(Sender, clock=lambda: time.monotonic() + frozen[0])
        monkeypatch.setattr(senders, "Sender", later)
        platform = ScriptedPlatform()

        ask(platform)

        (request,) = platform.published if ask is publish else platform.checked
        assert request.extensions[DEADLINE].left() == 0.0

    def test_an_interruption_at_any_point_leaves_a_row_that_moves_again(self, monkeypatch):
        """Fault 12: django-q2's timeout is a SystemExit anywhere; no outcome is written that is not known."""
        row = event()
        platform = ScriptedPlatform()

        def interrupt(*args, **keywords):
            raise SystemExit

        monkeypatch.setattr(relay_pass, "settle", interrupt)
        with pytest.raises(SystemExit):
            publish(platform)
        monkeypatch.undo()

        assert fresh(row).state == State.PENDING
        assert fresh(row).claim_token is not None
        with shifted(61):
            publish(platform)
        assert fresh(row).state == State.ACCEPTED
        assert fresh(row).attempts == 2
        assert len(set(platform.keys)) == 1


@pytest.mark.django_db(transaction=True)
class TestALostDatabase:
    """Faults 21 to 23: what was answered is written, on a new connection if need be."""

    def lose(self, monkeypatch, room, name, times):
        """Let this function meet a lost connection so many times."""
        work, left = getattr(room, name), [times]

        def meet(*args, **keywords):
            if left[0]:
                left[0] -= 1
                raise OperationalError("server closed the connection unexpectedly")
            return work(*args, **keywords)

        monkeypatch.setattr(room, name, meet)

    def test_an_outcome_is_written_once_the_database_is_back(self, monkeypatch):
        row = event()
        self.lose(monkeypatch, settlements, "_write_all", 3)
        platform = ScriptedPlatform()

        publish(platform)

        assert fresh(row).state == State.ACCEPTED
        assert len(platform.published) == 1

    def test_an_outcome_is_written_though_the_destinations_health_cannot_be(self, monkeypatch):
        row = event()
        self.lose(monkeypatch, destinations, "record", 99)

        publish(ScriptedPlatform())

        assert fresh(row).state == State.ACCEPTED

    def test_a_claim_that_fails_lets_what_is_in_flight_end(self, monkeypatch, settings):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "BATCH_SIZE": 4}
        }
        for _ in range(8):
            event()
        gate, calls, again = destinations.gate, [], threading.Event()

        def gate_once(*args):
            calls.append(1)
            if len(calls) > 1:
                again.set()
                raise OperationalError("server closed the connection unexpectedly")
            return gate(*args)

        monkeypatch.setattr(destinations, "gate", gate_once)
        platform = ScriptedPlatform()

        def two_at_once_the_others_after_the_next_claim(request):
            assert len(platform.published) <= 2 or again.wait(10)
            return reply(202, id=f"evt-{uuid4()}")

        platform.publish_script = [two_at_once_the_others_after_the_next_claim]

        publish(platform)

        assert OutboxEvent.objects.filter(state=State.ACCEPTED).count() == 4
        assert OutboxEvent.objects.filter(claim_token__isnull=False).count() == 0

    @pytest.mark.parametrize(
        ("room", "name", "answer"),
        [
            (settlements, "owners", 202),
            (destinations, "record", 403),
        ],
    )
    def test_a_read_that_fails_before_the_settle_costs_no_outcome(self, room, name, answer, monkeypatch):
        rows = [event(), event()]

        def lost(*_arguments, **_keywords):
            raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(room, name, lost)
        publish(ScriptedPlatform(answer))

        assert {fresh(row).last_status_code for row in rows} >= {answer}
        assert not OutboxEvent.objects.filter(claim_token__isnull=False).exists()

    def test_without_anything_in_flight_the_error_is_the_callers(self, monkeypatch):
        event()
        self.lose(monkeypatch, destinations, "gate", 99)

        with pytest.raises(OperationalError):
            publish(ScriptedPlatform())


class TestAfterTheCommit:
    def test_each_transition_sends_its_signal_and_no_receiver_can_change_it(self):
        row = event()
        heard = []

        def hear(event, **_keywords):
            heard.append(event.state)
            raise RuntimeError("a receiver's own trouble")

        for signal in (signals.event_accepted, signals.event_delivered, signals.event_retried):
            signal.connect(hear)
        try:
            platform = ScriptedPlatform(500, 202)
            publish(platform)
            with shifted(100):
                publish(platform)
            with shifted(200):
                check(platform)
        finally:
            for signal in (signals.event_accepted, signals.event_delivered, signals.event_retried):
                signal.disconnect(hear)

        assert heard == [State.PENDING, State.ACCEPTED, State.DELIVERED]
        assert fresh(row).state == State.DELIVERED

    def test_a_pause_and_its_end_are_signalled(self):
        event()
        heard = []

        def hear(signal, alias, reason, **_keywords):
            heard.append((signal is signals.destination_paused, alias, bool(reason)))

        signals.destination_paused.connect(hear)
        signals.destination_resumed.connect(hear)
        try:
            publish(ScriptedPlatform(httpx.ConnectError("refused")))
            with shifted(6):
                publish(ScriptedPlatform())
        finally:
            signals.destination_paused.disconnect(hear)
            signals.destination_resumed.disconnect(hear)

        assert heard == [(True, "default", True), (False, "default", False)]

    def test_a_dead_event_is_one_line_at_error_with_its_facts(self, caplog):
        row = event(data={"card": "payload-canary"})

        publish(ScriptedPlatform(400))

        (record,) = [entry for entry in caplog.records if entry.levelname == "ERROR"]
        assert (record.event, record.state, record.status_code) == (row.pk, "dead", 400)
        assert (record.event_id, record.type) == (row.event_id, row.type)
        assert "payload-canary" not in caplog.text
        assert "token-canary" not in caplog.text


class TestHostileAnswers:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"null",
            b'"evt"',
            b"NaN",
            b"\xff\xfe",
            b'{"id": 7}',
            b'{"id": "../.."}',
            b"[" * 100_000,
        ],
    )
    def test_no_answer_stops_the_batch(self, body):
        poison = event("poison")
        other = event()

        def answer(request):
            if b"poison" in request.content:
                return httpx.Response(202, content=body)
            return reply(202, id=f"evt-{uuid4()}")

        publish(ScriptedPlatform(answer))

        assert fresh(poison).state == State.PENDING
        assert fresh(other).state == State.ACCEPTED

    def test_control_characters_reach_the_row_escaped(self):
        row = event()

        publish(ScriptedPlatform(reply(400, message="bad\r\n\x1b[31mred\x00\u2028")))

        text = fresh(row).last_error
        assert text.isprintable()
        assert "red" in text


@pytest.mark.django_db(transaction=True)
def test_an_idle_pass_costs_three_statements():
    publish(ScriptedPlatform())

    with CaptureQueriesContext(connection) as queries:
        publish(ScriptedPlatform())

    # a new connection's own SET aside
    work = [query for query in queries.captured_queries if not query["sql"].startswith("SET")]
    assert len(work) == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_site_without_time_zones_publishes_all_the_same(settings, zone):
    """Fault 41: the times of the database are naive there; those on the wire are not."""
    settings.USE_TZ = False
    settings.TIME_ZONE = zone
    row = event(time="2026-03-01T10:00:00Z")

    def echo(request):
        sent = json.loads(request.content)
        return reply(202, **{**sent, "id": f"evt-{uuid4()}", "status": "accepted"})

    publish(ScriptedPlatform(echo))
    with shifted(60):
        check(ScriptedPlatform())

    assert json.loads(fresh(row).body)["time"] == "2026-03-01T10:00:00.000Z"
    assert fresh(row).state == State.DELIVERED
    assert abs((fresh(row).created_at - timezone.now()).total_seconds()) < 30


@pytest.mark.django_db(transaction=True)
def test_nothing_of_a_rolled_back_transaction_is_sent():
    """G2."""
    platform = ScriptedPlatform()

    def phantom():
        with transaction.atomic():
            enqueue("order.phantom", None)
            raise RuntimeError("roll back")

    with transaction.atomic():
        enqueue("order.created", None)
        with pytest.raises(RuntimeError):
            phantom()  # a savepoint
    with pytest.raises(RuntimeError):
        phantom()

    publish(platform)

    assert [body["type"] for body in platform.bodies] == ["order.created"]


@pytest.mark.django_db(transaction=True)
def test_workers_draining_at_once_publish_each_event_once():
    for _ in range(80):
        event()
    platform = ScriptedPlatform()

    in_threads(3, lambda: publish(platform))

    assert sorted(platform.keys) == sorted(
        str(key) for key in OutboxEvent.objects.values_list("idempotency_key", flat=True)
    )


@pytest.mark.django_db(transaction=True)
def test_what_only_watches_a_sender_cannot_stop_it(caplog):
    rows = [event() for _ in range(3)]

    def fails(answer):
        raise OSError(28, "No space left on device")

    platform = ScriptedPlatform()
    with Senders(settings_with(), 1, transport=platform.transport, on_report=fails) as senders:
        relay.publish_due(senders=senders)

    assert [fresh(row).state for row in rows] == [State.ACCEPTED] * 3
    assert "on_report failed (OSError)" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
class TestSendersThatDie:
    def test_a_row_in_the_hands_of_a_thread_that_died_is_of_unknown_outcome(self, monkeypatch):
        """What no code of ours catches: the row is not lost until its lease ends, and the others go on."""
        rows = [event() for _ in range(3)]

        def dies(request):
            raise SystemExit

        platform = ScriptedPlatform(dies, 202)
        with Senders(settings_with(), 1, transport=platform.transport) as senders:
            relay.publish_due(senders=senders)

        states = sorted((fresh(row).state, fresh(row).last_error) for row in rows)
        assert [state for state, _error in states] == ["accepted", "accepted", "pending"]
        assert "sender thread died" in states[2][1]
        assert OutboxEvent.objects.get(state=State.PENDING).in_doubt_since is not None

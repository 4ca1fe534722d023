"""G20: only an answer to an event's own POST can make it dead, and a run of refusals buries no backlog."""

import json
import logging
import re
import threading
from functools import partial
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import httpx
import pytest
from django.db import connection
from django.urls import reverse

from genesys_eventbridge import conf, operations, relay
from genesys_eventbridge.circuit import Reply
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import destinations, settle
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.relay.batch import Side
from genesys_eventbridge.relay.senders import Report, Senders
from genesys_eventbridge.states import AttemptKind, Reason, State
from tests.outbox_rows import accepted, claim, event, fresh, in_threads
from tests.prompt import run
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

PAGE = "<html><body>No required SSL certificate was sent<hr>nginx</body></html>"


@pytest.fixture(autouse=True)
def small(settings):
    """Runs of eight; retries soon."""
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CONCURRENCY": 4, "CONFIRM": False}
    }


def publish(answer, **keywords):
    return relay.publish_due(transport=ScriptedPlatform(answer).transport, **keywords)


def record_taken(kind="order.created"):
    """The platform accepted an event of another worker."""
    reply = Reply(10**6, Outcome(Verdict.ACCEPTED), type=kind)
    destinations.record(AttemptKind.PUBLISH, conf.destination(), [reply])


def taken(_request=None):
    return httpx.Response(202, json={"id": f"evt-{uuid4()}", "status": "accepted"})


def page(_request=None, status=400):
    return httpx.Response(status, text=PAGE, headers={"Content-Type": "text/html"})


def refusal(_request=None):
    body = {"message": "no such schema", "code": "bad.request", "status": 400, "contextId": "c-1"}
    return httpx.Response(400, json=body)


def of_type(kind, answer, other=taken):
    """``answer`` for events of this type, ``other`` for the rest."""

    def answered(request):
        return answer(request) if json.loads(request.content)["type"] == kind else other(request)

    return answered


def states():
    return sorted(OutboxEvent.objects.values_list("state", flat=True))


def over_time(answer, rounds, step=61.0):
    """A pass every minute, by the databases's clock."""
    for number in range(rounds):
        with shifted(number * step):
            publish(answer)


class TestGateways:
    """A page, a proxy or a certificate pauses the destination and ends nothing."""

    def test_a_gateways_page_kills_nothing_and_everything_goes_when_it_is_gone(self):
        rows = [event() for _ in range(20)]

        over_time(page, 12)
        assert set(states()) == {"pending"}
        assert {fresh(row).attempts for row in rows} == {0}
        health = Destination.objects.get()
        assert "No required SSL certificate was sent" in health.paused_reason
        assert health.paused_kind == "config"

        with shifted(5000):
            publish(taken)
        assert set(states()) == {"delivered"}

    @pytest.mark.parametrize(
        "trouble",
        [
            httpx.ProxyError("407 Proxy Authentication Required"),
            httpx.ProxyError("503 Service Unavailable"),
            httpx.ConnectError("refused"),
            httpx.ConnectTimeout("no connection"),
            407,
            511,
            401,
            429,
        ],
        ids=repr,
    )
    def test_what_is_no_answer_to_an_event_accuses_none_while_others_are_accepted(self, trouble):
        """One of two gateways is broken, or a proxy flaps: half of all tries fail."""
        rows = [event() for _ in range(4)]
        for number in range(6):
            with shifted(number * 1000.0):
                OutboxEvent.objects.filter(state=State.PENDING).update(due_at=DatabaseNow(-1))
                Destination.objects.update(paused_until=None)
                publish(trouble)
                event()
                publish(of_type("none", taken), limit=1)

        assert State.DEAD not in states()
        assert {fresh(row).halts for row in rows} == {0}

    def test_a_login_host_in_maintenance_accuses_no_event(self, settings):
        settings.GENESYS_EVENTBRIDGE["default"]["CLIENT_ID"] = str(uuid4())  # no token is in memory
        conf.reset()
        row = event(row={"halts": 9})
        event()

        def login_down(request):
            if request.url.path == "/oauth/token":
                return page(status=200)
            return taken()

        for number in range(6):
            with shifted(number * 1000.0):
                record_taken()
                relay.publish_due(transport=lambda: httpx.MockTransport(login_down))

        assert (fresh(row).state, fresh(row).halts) == (State.PENDING, 9)

    def test_one_event_that_alone_meets_the_page_ends_with_its_words(self):
        """413 and 431 of one oversized event, a firewall that dislikes one payload."""
        poison = event("poison")
        for number in range(8):
            with shifted(number * 61.0):
                event()
                publish(of_type("poison", page))

        now = fresh(poison)
        assert (now.state, now.reason) == (State.DEAD, Reason.REJECTED)
        assert "No required SSL certificate was sent" in now.last_error
        assert states().count("delivered") == 8

    def test_one_events_page_does_not_stop_the_others(self):
        destinations.gate(AttemptKind.PUBLISH, "default", "tests")
        record_taken()
        event("poison")
        for _ in range(40):
            event()

        report = publish(of_type("poison", page))

        assert report.states["delivered"] == 40
        assert Destination.objects.get().paused_until is None

    def test_one_events_page_stops_no_sender_where_others_are_accepted(self):
        crew = Senders(conf.destination(), 1)
        page_of_one = Outcome(Verdict.HALTED, halt=Halt.CONFIG, accuses=True)
        no_answer = Outcome(Verdict.HALTED, halt=Halt.CONFIG)
        assert crew._means_trouble(page_of_one)

        crew.accepted_lately = True

        assert not crew._means_trouble(page_of_one)
        assert crew._means_trouble(no_answer)

    def test_a_gateway_that_answers_now_and_then_accuses_no_event(self):
        """Half of all requests meet a page, whatever they hold: no event is the reason."""
        for _ in range(60):
            event()
        turns = iter(range(10**6))

        def flapping(request):
            return page() if next(turns) * 7919 % 13 < 7 else taken()

        over_time(flapping, 40)

        assert State.DEAD not in states()
        assert states().count("delivered") > 30

    def test_three_events_in_a_row_pause_the_destination(self):
        destinations.gate(AttemptKind.PUBLISH, "default", "tests")
        record_taken()
        for _ in range(30):
            event()

        report = publish(page)

        assert report.paused_for > 0
        assert set(states()) == {"pending"}


class TestRefusals:
    """A changed schema or a wrong SOURCE must not bury a backlog."""

    def test_a_run_of_refusals_pauses(self, caplog):
        for _ in range(200):
            event()

        with caplog.at_level(logging.ERROR):
            report = publish(refusal)

        dead = states().count("dead")
        assert 8 <= dead <= 8 + 4  # what was in the senders' hands
        assert report.paused_for > 0
        (line,) = [each.message for each in caplog.records if "paused" in each.message]
        assert "The platform has refused every event since " in line
        (counted, waiting) = map(int, re.findall(r": (\d+) events are dead, (\d+) are waiting\.", line)[0])
        assert 8 <= counted <= dead  # requests that were in flight may have been answered since
        assert counted + waiting == 200
        assert "no such schema" in line

    def test_people_see_it_in_the_status(self):
        for _ in range(30):
            event()
        publish(refusal)

        found = json.loads(run("status", "--check", "--format", "json").out)
        (problem,) = [each for each in found["problems"] if each["kind"] == "refusals"]
        assert "The platform has refused every event since" in problem["message"]
        assert "order.created" in problem["message"]
        assert "eventbridge_retry --destination default --state dead" in problem["remedy"]
        assert "has refused every event" in run("status", "--check").out

    def test_people_see_it_on_the_pages(self, admin_client):
        for _ in range(30):
            event()
        publish(refusal)

        dashboard = admin_client.get(reverse("admin:genesys_eventbridge_outboxevent_dashboard"))
        page = admin_client.get(reverse("admin:genesys_eventbridge_destination_change", args=["default"]))

        assert "The platform has refused every event since" in dashboard.content.decode()
        assert "The platform has refused every event since" in page.content.decode()
        refused = f"order.created: {states().count('dead')} refused, trying one event at a time"
        assert refused in page.content.decode()

    def test_while_other_types_flow_the_words_are_about_the_refused_one(self, admin_client):
        for _ in range(30):
            event("bad")
        event("good")
        over_time(of_type("bad", refusal), 3)

        found = json.loads(run("status", "--check", "--format", "json").out)
        (problem,) = [each for each in found["problems"] if each["kind"] == "refusals"]
        assert "The platform has refused every event of bad since" in problem["message"]
        assert "dead, one at a time is tried." in problem["message"]

    def test_the_backlog_is_probed_one_event_at_a_time(self):
        for _ in range(100):
            event()
        publish(refusal)
        before = states().count("dead")

        over_time(refusal, 10)

        assert states().count("dead") - before <= 10

    def test_the_probe_takes_a_type_that_is_not_in_the_run(self):
        for _ in range(30):
            event("bad")
        good = event("good")
        publish(of_type("bad", refusal), limit=20)

        with shifted(6):
            publish(of_type("bad", refusal), limit=1)

        assert fresh(good).state == State.DELIVERED

    def test_one_bad_type_at_the_head_does_not_starve_the_others(self):
        for _ in range(300):
            event("bad")
        for _ in range(50):
            event("good")

        over_time(of_type("bad", refusal), 4)

        assert OutboxEvent.objects.filter(type="good", state=State.DELIVERED).count() == 50
        assert OutboxEvent.objects.filter(type="bad", state=State.DEAD).count() <= 8 + 4 + 4

    def test_when_the_platform_takes_the_type_again_all_of_it_flows(self):
        for _ in range(100):
            event("bad")
        publish(refusal)
        before = states().count("dead")

        for later in (6.0, 12.0, 80.0):
            with shifted(later):
                publish(taken)

        assert states().count("delivered") == 100 - before

    def test_of_two_workers_one_tries_an_event_of_a_refused_type(self):
        for _ in range(30):
            event("bad")
        good = event("good")
        publish(of_type("bad", refusal), limit=20)
        settings = conf.destination()
        with shifted(6):
            record_taken("good")
            gate = destinations.gate(AttemptKind.PUBLISH, "default", "tests")
            assert destinations.take_refused_turn(settings)  # the other worker

            batch = claims.claim(AttemptKind.PUBLISH, settings, gate, claims.Capacity(50))

        assert [row.id for row in batch.rows] == [good.pk]

    def test_an_operator_ends_it(self):
        for _ in range(20):
            event()
        publish(refusal)
        with shifted(6):
            publish(refusal)
            assert publish(taken).paused_for > 0

            operations.resume("default", Actor("ann"), also_trouble=True)
            publish(taken)

        assert "pending" not in states()

    def test_after_an_operator_ended_it_one_more_refusal_pauses(self):
        for _ in range(40):
            event()
        publish(refusal)
        before = states().count("dead")
        operations.resume("default", Actor("ann"), also_trouble=True)

        publish(refusal)

        assert states().count("dead") == before + 1
        assert Destination.objects.filter(paused_kind="refusals", paused_until__gt=DatabaseNow()).exists()
        assert self.problems()

    def test_the_remedy_brings_everything_through_at_once(self):
        for _ in range(40):
            event()
        publish(refusal)
        (problem,) = self.problems()
        resume, retry = (
            line.split()[2:] for line in problem["remedy"].partition("then: ")[2].split(", and ")
        )

        run("resume", *resume)
        run("retry", *retry, "--no-publish")
        publish(taken)

        assert set(states()) == {"delivered"}

    def test_an_operator_ends_it_for_a_type_that_is_sent_no_more(self):
        for _ in range(20):
            event("bad")
        publish(refusal)
        ids = list(OutboxEvent.objects.values_list("pk", flat=True))
        operations.cancel(ids, Actor("ann"), "not needed any more")
        event("good")
        with shifted(6):
            publish(taken)
            (problem,) = self.problems()
            assert "has refused every event of bad since" in problem["message"]
            assert "eventbridge_resume default" in problem["remedy"]

            assert operations.resume("default", Actor("ann"), also_trouble=True)

            assert not self.problems()

    def problems(self):
        found = json.loads(run("status", "--check", "--format", "json").out)["problems"]
        return [each for each in found if each["kind"] == "refusals"]

    def test_an_acceptance_between_them_is_no_run(self):
        for number in range(60):
            event("bad" if number % 5 else "good")

        publish(of_type("bad", refusal), concurrency=1)

        assert states().count("dead") == 48
        assert Destination.objects.get().paused_until is None

    def test_with_ordering_keys_too(self):
        for number in range(60):
            event("bad" if number < 30 else "good", ordering_key=f"k{number}")

        over_time(of_type("bad", refusal), 4)

        assert OutboxEvent.objects.filter(type="good", state=State.DELIVERED).count() == 30


class TestOneIdProvesOneEvent:
    """A gateway, a stub or a cache that gives every event the same id proves one at most."""

    def same(self, request=None):
        return httpx.Response(202, json={"id": "evt-1", "status": "accepted"})

    def test_within_one_group_and_over_several(self, caplog):
        rows = [event() for _ in range(6)]
        for number in range(3):
            with shifted(number * 4000.0), caplog.at_level(logging.ERROR):
                Destination.objects.update(paused_until=None)
                publish(self.same)

        found = states()
        assert found.count("delivered") == 1
        assert found.count("unresolved") == 5
        assert {row.reason for row in map(fresh, rows)} == {"", Reason.CONFLICT}
        errors = [each.message for each in caplog.records if "is pending" in each.message]
        assert any("the answer has the remote id of event" in line for line in errors)
        # A gateway may take a value of the event's data for it.
        assert not any("evt-1" in fresh(row).last_error + caplog.text for row in rows)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param((1.0, 0.1), (2.0, 0.1), id="one after the other"),
            # A new connection took longer than one that was open: a cache with a lock lets the first
            # that arrives through and answers the others half a second later.
            pytest.param((1.01, 0.02), (1.0, 0.5), id="the owner began later and was answered earlier"),
            pytest.param((1.0, 0.06), (1.05, 0.005), id="the owner's answer was read later"),
        ],
    )
    def test_of_several_that_name_one_id_it_is_the_one_that_was_on_its_way_first(self, first, second):
        """A cache repeats one event's answer for others, and theirs may be read first."""
        rows = [event() for _ in range(3)]
        held = {row.id: row for row in claim().rows}
        (one, two, other) = (held[row.pk] for row in rows)
        taken_as = partial(Outcome, Verdict.ACCEPTED, status_code=202)
        group = [
            Report(one, taken_as(remote_id="evt-1"), *second),
            Report(two, taken_as(remote_id="evt-1"), *first),
            Report(other, taken_as(remote_id="evt-2"), began=3.0),
        ]
        senders = cast(Senders, SimpleNamespace(count=1))
        judge = Side(AttemptKind.PUBLISH, conf.destination(), senders, limit=None, step=1)

        judged = [answer.outcome for answer in judge._each_proven_once(group) if answer.outcome]

        assert [outcome.conflict for outcome in judged] == [True, False, False]
        assert [outcome.verdict for outcome in judged] == [
            Verdict.UNKNOWN,
            Verdict.ACCEPTED,
            Verdict.ACCEPTED,
        ]

    def test_the_id_of_an_event_from_before_the_column(self):
        """Written by the release before: without the hash."""
        accepted(remote_id="evt-1")
        row = event()

        publish(self.same)

        assert fresh(row).state == State.PENDING
        assert "the remote id of event" in fresh(row).last_error

    def test_the_id_of_an_event_that_a_person_sends_again(self):
        first = accepted()
        OutboxEvent.objects.update(state=State.PENDING)
        publish(self.same)
        OutboxEvent.objects.update(
            state=State.DEAD, reason=Reason.DELIVERY_FAILED, due_at=None, finished_at=None
        )
        operations.requeue([first.pk], Actor("ann"))
        OutboxEvent.objects.update(due_at=DatabaseNow(3600))
        row = event()

        publish(self.same)

        assert f"the remote id of event {first.pk}." in fresh(row).last_error
        OutboxEvent.objects.filter(pk=first.pk).update(due_at=DatabaseNow())
        publish(self.same)
        assert fresh(first).state == State.DELIVERED

    def test_the_same_event_may_be_named_again(self):
        """The answer was lost, and the platform says the same of the same key."""
        row = event()
        (held,) = claim().rows
        OutboxEvent.objects.update(remote_id="evt-1", claim_token=None, due_at=DatabaseNow(-1))
        assert held.id == row.pk

        publish(self.same)

        assert fresh(row).state == State.DELIVERED

    def test_an_id_counts_for_one_destination(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": one, "other": one}
        rows = [event(), event(destination="other")]

        for alias in ("default", "other"):
            relay.publish_due(alias, transport=ScriptedPlatform(self.same).transport)

        assert {fresh(row).state for row in rows} == {State.DELIVERED}

    def test_one_select_for_a_group(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            settle.owners("default", {f"evt-{number}" for number in range(100)})

    def test_its_log_says_what_came(self):
        event()
        publish(self.same)
        row = event()
        publish(self.same)

        attempt = DeliveryAttempt.objects.get(event=row)
        assert (attempt.verdict, attempt.status_code) == ("unknown", 202)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
def test_of_two_workers_that_bring_one_id_the_database_lets_one_win(monkeypatch):
    for _ in range(2):
        event()
    both = threading.Barrier(2, timeout=20)
    real = settle.owners

    def seen_by_both(alias, remote_ids, **keywords):
        found = real(alias, remote_ids, **keywords)
        both.wait()
        return found

    monkeypatch.setattr("genesys_eventbridge.relay.batch.owners", seen_by_both)
    answer = TestOneIdProvesOneEvent().same
    in_threads(2, lambda: publish(answer, limit=1))

    assert states().count("delivered") == 1

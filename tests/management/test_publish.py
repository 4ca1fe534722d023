"""eventbridge_publish and eventbridge_poll: a run ends when nothing is due and says what became of it."""

import io
import threading
from collections import Counter

import pytest
from django.test import override_settings

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import draining
from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.models import Destination, EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, pause
from genesys_eventbridge.states import AttemptKind, State
from tests.outbox_rows import accepted, event, fresh
from tests.prompt import run, run_json, sandboxed

pytestmark = pytest.mark.django_db


def states():
    return set(OutboxEvent.objects.values_list("state", flat=True))


class TestPublish:
    def test_it_drains_what_is_due_and_says_how_many(self):
        with sandboxed() as sandbox:
            for _ in range(7):
                event()

            ran = run("publish")

        assert (ran.code, len(sandbox.received)) == (0, 7)
        assert states() == {State.DELIVERED}
        assert "default: 7 events sent in" in ran.out
        assert "delivered 7" in ran.out

    def test_nothing_due_is_said(self):
        with sandboxed():
            ran = run("publish")

        assert (ran.code, ran.out) == (0, "default: nothing was due\n")

    def test_json_has_its_keys(self):
        with sandboxed():
            event()
            data = run_json("publish").data

        assert data["needs_person"] is False
        assert set(data["destinations"]["default"]) == {
            *("delivered", "accepted", "pending", "dead", "unresolved"),
            *("released", "halted", "lost", "seconds", "drained", "paused"),
        }
        assert data["destinations"]["default"]["delivered"] == 1
        assert data["destinations"]["default"]["drained"] is True

    def test_it_does_not_ask_about_accepted_events(self):
        with sandboxed(deliver_after=3600):
            row = event()
            run("publish")

        assert (fresh(row).state, fresh(row).checks) == (State.ACCEPTED, 0)

    def test_a_dead_event_needs_a_person_and_the_next_command_is_said(self):
        with sandboxed(refused_types={"order.odd"}):
            event("order.odd")

            ran = run("publish")

        assert ran.code == 3
        assert "dead 1" in ran.out
        assert "-> manage.py eventbridge_retry --destination default --state dead --dry-run" in ran.out

    def test_a_pause_needs_a_person_and_its_reason_is_said(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(403, times=9)
            event()

            ran = run("publish")

        assert ran.code == 3
        assert "default is paused for another" in ran.out
        assert "eventbridge:event:publish" in ran.out
        assert "1 event put back to be sent later" in ran.out

    @pytest.mark.parametrize(("arguments", "latency"), [((), 0.3), (("--limit", "1"), 0)])
    def test_a_pause_by_the_last_answer_is_said_though_no_claim_met_it(self, arguments, latency):
        """The answer comes after a claim that found nothing else due, or ends the only claim of the limit."""
        with sandboxed(latency=latency) as sandbox:
            sandbox.fail_next(403, times=9)
            event()

            ran = run("publish", *arguments)

        assert ran.code == 3
        assert "nothing was due" not in ran.out
        assert "default is paused for another" in ran.out
        assert "1 event put back to be sent later" in ran.out

    def test_a_persons_pause_is_respected_and_named(self):
        with sandboxed() as sandbox:
            event()
            pause("default", Actor(via="test"), "maintenance of the CRM")

            ran = run("publish")
            data = run_json("publish").data["destinations"]["default"]

        assert (ran.code, sandbox.received) == (3, [])
        assert "paused until resumed: maintenance of the CRM" in ran.out
        assert data["paused"] == {"seconds": None, "reason": "maintenance of the CRM"}

    def test_a_retry_to_come_is_no_trouble_yet(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(500)
            event()

            ran = run("publish")

        assert ran.code == 0
        assert "tried again later 1" in ran.out

    def test_claims_given_back_or_lost_are_said(self):
        done = draining.Drained("default", AttemptKind.PUBLISH, released=2, halted=1, lost=1, seconds=1)

        told = "\n".join(draining.lines(done))

        assert "3 events put back to be sent later, without using an attempt" in told
        assert "1 event lost to another worker" in told

    def test_checks_given_back_are_not_said_to_be_sent(self):
        done = draining.Drained("default", AttemptKind.CHECK, released=1, seconds=1)

        said = "\n".join(draining.lines(done))

        assert "1 event put back to be checked later" in said
        assert "sent" not in said

    @pytest.mark.parametrize(
        ("protocol", "command"),
        [
            ("eventbridge", "eventbridge_retry --destination default --state unresolved --dry-run"),
            ("webhook", "eventbridge_list --destination default --state unresolved"),
        ],
    )
    def test_where_a_retry_would_skip_every_unresolved_event_they_are_listed(
        self, protocol, command, settings
    ):
        one = {**settings.GENESYS_EVENTBRIDGE["default"], "PROTOCOL": protocol, "WEBHOOK_TOKEN": "t" * 32}
        settings.GENESYS_EVENTBRIDGE = {"default": one}
        done = draining.Drained("default", AttemptKind.PUBLISH, states=Counter({State.UNRESOLVED: 1}))

        assert draining.lines(done)[-1] == f"  -> manage.py {command}"

    def test_a_limit_is_kept(self):
        with sandboxed() as sandbox:
            for _ in range(5):
                event()
            ran = run_json("publish", "--limit", "3")

        assert len(sandbox.received) == 3
        assert ran.data["destinations"]["default"]["drained"] is False

    def test_max_seconds_and_concurrency_reach_the_pass(self, monkeypatch):
        seen = []

        def drain(kind, alias, **options):
            seen.append((options["max_seconds"], options["concurrency"], options["limit"]))
            return draining.Drained(alias, kind)

        monkeypatch.setattr(draining, "drain", drain)
        run("publish", "--max-seconds", "30", "--concurrency", "3", "--limit", "9")

        assert seen == [(30.0, 3, 9)]

    def test_the_last_pass_is_not_begun_where_its_requests_could_not_end_in_time(self, monkeypatch):
        passes = []

        def publish_due(alias, **options):
            passes.append(options["max_seconds"])
            clock[0] += options["max_seconds"]
            return relay.PassReport(alias, AttemptKind.PUBLISH, claimed=1)

        clock = [0.0]
        monkeypatch.setattr("genesys_eventbridge.management.draining.time.monotonic", lambda: clock[0])
        monkeypatch.setattr(relay, "publish_due", publish_due)
        shown = Progress("Published", None, stream=io.StringIO(), verbosity=0)

        draining.drain(
            AttemptKind.PUBLISH, "default", progress=shown, stop=threading.Event(), max_seconds=120
        )

        assert passes == [45.0, 45.0]

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            (["--loop", "--limit", "3"], "--limit"),
            (["--loop", "--max-seconds", "3"], "--max-seconds"),
            (["--interval", "3"], "--interval"),
        ],
        ids=str,
    )
    def test_flags_that_cannot_go_together_are_named(self, flags, named):
        ran = run("publish", *flags)

        assert ran.code == 2
        assert named in ran.error


@pytest.mark.django_db(transaction=True)
class TestSeveralDestinations:
    def test_each_is_served_and_named(self):
        with sandboxed(aliases=("default", "emea")) as sandbox:
            event()
            event(destination="emea")

            ran = run("publish")

        assert len(sandbox.received) == 2
        assert [line.split(":")[0] for line in ran.out.splitlines() if "sent in" in line] == [
            "default",
            "emea",
        ]

    def test_only_those_named_are_served(self):
        with sandboxed(aliases=("default", "emea", "apac")):
            rows = [event(destination=alias) for alias in ("default", "emea", "apac")]

            run("publish", "--destination", "emea", "--destination", "default")

        assert [fresh(row).state for row in rows] == [State.DELIVERED, State.DELIVERED, State.PENDING]

    def test_a_broken_organisation_does_not_keep_the_other_from_its_events(self, settings):
        with sandboxed(aliases=("default", "emea")):
            nobody = {"API_BASE_URL": "http://127.0.0.1:1", "LOGIN_BASE_URL": "http://127.0.0.1:1"}
            both = dict(settings.GENESYS_EVENTBRIDGE)
            with override_settings(GENESYS_EVENTBRIDGE={**both, "default": {**both["default"], **nobody}}):
                event()
                row = event(destination="emea")

                ran = run("publish")

        assert fresh(row).state == State.DELIVERED
        assert ran.code == 3
        assert "default is paused" in ran.out

    def test_an_error_of_one_is_not_lost(self, monkeypatch):
        def drain(kind, alias, **options):
            if alias == "emea":
                raise RuntimeError("a defect")
            return draining.Drained(alias, kind)

        monkeypatch.setattr(draining, "drain", drain)
        with sandboxed(aliases=("default", "emea")), pytest.raises(RuntimeError, match="a defect"):
            run("publish")


class TestPoll:
    def test_it_asks_about_what_is_due(self):
        with sandboxed(deliver_after=3600) as sandbox:
            row = event()
            run("publish")
            sandbox.configure(deliver_after=0)
            OutboxEvent.objects.update(due_at=DatabaseNow())

            ran = run("poll")

        assert fresh(row).state == State.DELIVERED
        assert "default: 1 event checked" in ran.out

    def test_what_is_not_due_is_left_alone(self):
        with sandboxed():
            row = accepted(due_at=DatabaseNow(60))

            assert "nothing was due" in run("poll").out

        assert fresh(row).checks == 0

    def test_older_than_asks_now_and_keeps_who_wanted_it(self):
        with sandboxed() as sandbox:
            old = accepted(due_at=DatabaseNow(600), accepted_at=DatabaseNow(-100))
            young = accepted(due_at=DatabaseNow(600), accepted_at=DatabaseNow(-10))

            run("poll", "--older-than", "60")

        assert (fresh(old).checks, fresh(young).checks) == (1, 0)
        assert EventAct.objects.get().via == "eventbridge_poll"
        assert sandbox.received == []

    def test_a_missing_read_right_is_said_with_what_to_do(self):
        with sandboxed() as sandbox:
            accepted()
            sandbox.fail_next(403, times=9, on="status")

            ran = run("poll")

        assert ran.code == 3
        assert "eventbridge:events:read" in ran.out
        assert Destination.objects.get().paused_until is None

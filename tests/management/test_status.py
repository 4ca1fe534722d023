"""eventbridge_status: numbers for people, a probe for monitoring, a picture that refreshes itself."""

import io
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management.base import OutputWrapper
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone
from django_q.models import Schedule

from genesys_eventbridge import schedules, wake
from genesys_eventbridge.db import notifications
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import watch as watching
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, pause
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import accepted, ended, event
from tests.passing import Clock
from tests.prompt import Terminal, run, run_json
from tests.reporting.test_failures import failed
from tests.test_wake import POLLS

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker():
    Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())


def test_one_line_for_each_destination(settings):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}
    event()
    accepted()
    event(row=ended(State.DELIVERED, finished_at=DatabaseNow()))

    ran = run("status")

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "default  waiting 1 · in flight 0 · retrying 0 · accepted 1 · unresolved 0 · dead 0 "
        "· delivered 1 h 1 (100 %)",
        "emea  waiting 0 · in flight 0 · retrying 0 · accepted 0 · unresolved 0 · dead 0 · delivered 1 h 0",
        "2 problems, explained by:",
        "  -> manage.py eventbridge_status --check",
    ]


def test_the_share_is_never_rounded_up_to_all():
    for _ in range(2):
        event(row=ended(State.DELIVERED, finished_at=DatabaseNow()))
    event(row=ended(State.DEAD, Reason.REJECTED))

    assert "(66.6 %)" in run("status").out


def test_without_check_the_exit_code_judges_nothing_and_json_says_it_all(worker):
    """A program must not read that nothing needs a person beside 3,715 dead events."""
    event(row=ended(State.DEAD, Reason.REJECTED))

    ran = run("status")
    data = run_json("status").data

    assert ran.code == 0
    assert ran.out.splitlines()[-2:] == [
        "1 problem, explained by:",
        "  -> manage.py eventbridge_status --check",
    ]
    assert data["needs_person"] is True
    assert [problem["kind"] for problem in data["problems"]] == ["dead"]


def test_what_is_held_names_the_event_to_act_on_and_fails_no_health_check(worker):
    head = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
    event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)})

    ran = run("status", "--check", "--max-dead", "10")

    assert ran.code == 0
    assert f"  1 held behind #{head.pk} (dead)\n  -> manage.py eventbridge_show {head.pk}" in ran.out
    data = run_json("status").data["destinations"]["default"]
    assert (data["held_events"], data["held_behind"], data["oldest_seconds"]) == (1, head.pk, None)


def test_a_pause_is_shown_with_who_and_why_and_what_ends_it():
    pause("default", Actor(via="test", name="ana"), "maintenance")

    out = run("status").out

    assert "paused until resumed by ana: maintenance" in out
    assert "-> manage.py eventbridge_resume default" in out


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"paused_until": 60, "paused_kind": "rate", "paused_reason": "429"}, "(rate): 429"),
        (
            {"paused_until": -1, "paused_kind": "network", "paused_reason": "503"},
            "one event at a time is sent as a probe",
        ),
        ({"check_paused_until": 60, "check_paused_reason": "403"}, "checks paused until"),
        ({"check_paused_until": 60, "check_paused_kind": "permission"}, "(permission)"),
    ],
    ids=["paused", "probing", "checks", "kind of checks"],
)
def test_trouble_is_shown_with_its_reason(columns, words, worker):
    times = {name: DatabaseNow(value) for name, value in columns.items() if isinstance(value, int)}
    Destination.objects.update(**{**columns, **times})

    assert words in run("status").out


class TestCheck:
    def test_all_well(self, worker, monkeypatch):
        monkeypatch.setattr(notifications, "why_not", lambda _alias: "it is not PostgreSQL")
        schedules.install()
        ran = run("status", "--check")

        assert ran.code == 0
        assert ran.out.startswith(
            "OK       schedules: 4 of 4 installed\n"
            "OK       nothing needs an operator\n"
            f"INFO     wake: none: no task has run for it; {POLLS}\n"
            "default  "
        )

    def test_what_a_commit_wakes_is_said_for_each_destination(self, worker):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        wake.forget()
        wake.announce("default")

        with override_settings(GENESYS_EVENTBRIDGE={"default": one, "emea": {**one, "WAKE": None}}):
            out = run("status", "--check").out

        assert "INFO     default: wake: django-q2 (a task ran 0" in out
        assert f"INFO     emea: wake: none (WAKE is None): {POLLS}\n" in out

    def test_a_problem_comes_first_with_its_remedy_and_ends_with_3(self):
        ran = run("status", "--check")

        assert ran.code == 3
        assert ran.out.startswith(
            "PROBLEM  no worker has ever reported\n"
            "  -> start one: manage.py qcluster   (or: manage.py eventbridge_publish --loop)\n"
        )

    def test_a_cluster_is_no_remedy_where_django_q_is_not_installed(self):
        without = [name for name in settings.INSTALLED_APPS if name != "django_q"]
        with override_settings(INSTALLED_APPS=without):
            ran = run("status", "--check")

        assert "  -> start one: manage.py eventbridge_publish --loop\n" in ran.out
        assert "qcluster" not in ran.out

    def test_thresholds_come_from_the_flags(self, worker):
        event(row={"created_at": DatabaseNow(-100)})
        event(row=ended(State.DEAD, Reason.REJECTED))

        assert run("status", "--check", "--max-age", "200", "--max-dead", "1").code == 0
        assert run("status", "--check", "--max-age", "50", "--max-dead", "1").code == 3
        assert run("status", "--check", "--max-age", "200").code == 3

    def test_a_probe_of_a_program_gets_kinds_that_stay(self):
        event(row=ended(State.DEAD, Reason.REJECTED))

        ran = run_json("status", "--check")

        assert ran.code == 3
        assert [problem["kind"] for problem in ran.data["problems"]] == ["worker", "dead"]
        assert set(ran.data["problems"][0]) == {"destination", "kind", "message", "remedy"}
        assert ran.data["needs_person"] is True

    def test_several_destinations_are_named_in_their_problems(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}

        assert "PROBLEM  emea: no worker has ever reported" in run("status", "--check").out

    def test_events_that_nobody_will_send_are_a_problem(self, worker):
        row = event()
        OutboxEvent.objects.filter(pk=row.pk).update(destination="gone")

        ran = run("status", "--check")

        assert ran.code == 3
        assert "gone" in ran.out
        assert "NOT IN SETTINGS" in ran.out

    def test_no_schedules_at_all_is_a_choice(self, worker):
        ran = run("status", "--check")

        assert ran.code == 0
        assert "NOTE     schedules: not installed" in ran.out

    def test_some_schedules_are_a_problem(self, worker):
        schedules.install()
        Schedule.objects.get(name="eventbridge:poll").delete()

        ran = run("status", "--check")

        assert ran.code == 3
        assert "PROBLEM  schedules missing: eventbridge:poll\n" in ran.out
        assert "-> manage.py eventbridge_schedules --apply" in ran.out

    def test_late_schedules_say_that_no_cluster_runs(self, worker):
        schedules.install()
        Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=9))

        ran = run("status", "--check")

        assert ran.code == 3
        assert "schedules 9 min late: eventbridge:publish" in ran.out
        assert "-> manage.py qcluster" in ran.out


def test_json_has_its_keys():
    data = run_json("status").data["destinations"]["default"]

    assert set(data) == {
        *("configured", "waiting", "in_flight", "retrying", "accepted", "unresolved", "dead"),
        *("held_events", "held_behind"),
        *("oldest_seconds", "delivered_1h", "delivered_1h_is_least", "success_1h"),
        *(
            "heartbeat_at",
            "heartbeat_seconds",
            "task_at",
            "heard_at",
            "paused_until",
            "paused_kind",
            "paused_reason",
        ),
        *("checks_paused_until", "checks_paused_kind", "held_by", "held_reason", "held_until"),
    }


class TestWatch:
    def watch(self, monkeypatch, clock, look, stream):
        class Told:
            def __enter__(self):
                return clock

            def __exit__(self, *exc_info):
                pass

        monkeypatch.setattr(watching, "stop_on_signal", lambda say: Told())
        return watching.watch(look, OutputWrapper(stream), {"verbosity": 1})

    def test_a_terminal_shows_one_picture_in_place(self, monkeypatch):
        stream = Terminal()
        with Clock() as clock:
            clock.stop_after = 5
            self.watch(monkeypatch, clock, lambda: Result(["waiting 3"]), stream)

        assert set(clock.waits) == {watching.EVERY}
        assert stream.getvalue().count("\x1b[H\x1b[J") == 3

    def test_a_log_gets_fewer_and_no_control_characters(self, monkeypatch):
        stream = io.StringIO()
        with Clock() as clock:
            clock.stop_after = 15
            self.watch(monkeypatch, clock, lambda: Result(["waiting 3"]), stream)

        assert set(clock.waits) == {watching.EVERY_IN_A_LOG}
        assert "\x1b" not in stream.getvalue()

    @pytest.mark.django_db(transaction=True)
    def test_a_database_that_is_away_is_waited_for(self, monkeypatch):
        answers = [Result(["back again"]), OperationalError("password-canary")]

        def look():
            answer = answers.pop() if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        stream = io.StringIO()
        with Clock() as clock:
            clock.stop_after = 15
            self.watch(monkeypatch, clock, look, stream)

        assert "The database does not answer (OperationalError)" in stream.getvalue()
        assert "back again" in stream.getvalue()
        assert "canary" not in stream.getvalue()

    def test_what_was_seen_last_decides_the_exit_code(self, monkeypatch):
        with Clock() as clock:
            clock.stop_after = 1
            done = self.watch(monkeypatch, clock, lambda: Result(needs_operator=True), io.StringIO())

        assert done.needs_operator

    def test_the_flag_leads_here(self, monkeypatch):
        monkeypatch.setattr(watching, "watch", lambda look, out, options: look())

        assert "default  waiting 0" in run("status", "--watch").out

    @pytest.mark.parametrize("limit", [["--max-age", "5"], ["--max-dead", "0"]], ids=str)
    def test_limits_without_a_check_would_limit_nothing(self, limit):
        ran = run("status", *limit)

        assert (ran.code, "--check" in ran.error) == (2, True)

    def test_it_is_for_people(self):
        ran = run_json("status", "--watch")

        assert ran.code == 2
        assert "--watch" in ran.error


class TestFailures:
    def test_groups_are_listed_with_an_example_and_what_to_type(self):
        rows = [failed("order.paid", f"400 order ORD-{number} is wrong") for number in range(3)]
        failed(state=State.PENDING, reason="", due_at=DatabaseNow(60), attempts=2)

        ran = run("status", "--failures")
        lines = ran.out.splitlines()

        assert ran.code == 0
        assert lines[0] == "4 events in 2 groups failed, the largest group first."
        assert lines[2] == "default  order.paid  3  400 order <id> is wrong"
        assert lines[3].startswith("  dead 3 · first ")
        assert lines[3].endswith(" · past hour 3, hour before 0")
        assert lines[4] == f"  -> manage.py eventbridge_show {rows[-1].pk}"
        assert lines[5] == (
            "  -> manage.py eventbridge_list --destination default --type order.paid "
            f"--failure {rows[0].failure}"
        )

    def test_json_has_all_of_it(self):
        row = failed()

        found = run_json("status", "--failures").data

        (group,) = found["failures"]
        assert (group["number"], group["dead"], group["example"]) == (1, 1, row.pk)
        assert (group["pattern"], group["error"]) == ("400 order <id> is wrong", "400 order ORD-1 is wrong")
        assert found["needs_person"] is True

    def test_since_a_time(self):
        failed(ago=7200)

        ran = run("status", "--failures", "--since", "1h")

        assert ran.out.startswith("No event is dead, unresolved or waiting for a retry since ")
        assert ran.code == 0

    @pytest.mark.parametrize(
        "flags", [["--since", "1h"], ["--failures", "--check"], ["--failures", "--watch"]]
    )
    def test_flags_that_do_not_fit_are_refused(self, flags):
        ran = run("status", *flags)

        assert ran.code == 2
        assert flags[0] in ran.error

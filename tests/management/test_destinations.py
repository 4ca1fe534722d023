"""eventbridge_pause, _resume, _prune and _schedules: what operators do to a whole destination."""

import pytest
from django_q.models import Schedule

from genesys_eventbridge import schedules
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management.output import NEEDS_PERSON
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.states import State
from tests.outbox_rows import ended, event
from tests.prompt import run, run_json, sandboxed

pytestmark = pytest.mark.django_db

DAY = 86400


def old(days, **row):
    times = {"finished_at": DatabaseNow(-days * DAY), "created_at": DatabaseNow(-days * DAY)}
    return event(row=ended(State.DELIVERED, **times, **row))


class TestPauseAndResume:
    def test_a_destination_is_held_until_resumed(self):
        event()

        ran = run("pause", "default", "--because", "maintenance of the CRM")

        row = Destination.objects.get()
        assert (row.held_reason, row.held_until) == ("maintenance of the CRM", None)
        assert row.held_by
        assert ran.out == (
            "default is paused until resumed. Events in flight are finished; due now: 1 event.\n"
            "  -> manage.py eventbridge_resume default\n"
        )

    def test_or_for_a_time(self):
        data = run_json("pause", "default", "--for", "600", "--because", "x").data

        assert data == {
            "destination": "default",
            "paused": True,
            "seconds": 600.0,
            "events": 0,
            "needs_person": False,
        }
        assert Destination.objects.get().held_until is not None

    def test_resuming_ends_it_and_says_how_to_go_on(self):
        run("pause", "default", "--because", "x")

        ran = run("resume", "default")

        assert Destination.objects.get().held_by == ""
        assert ran.out.startswith("default is resumed.\n")
        assert run("resume", "default").out == "default was not paused.\n"

    def test_one_that_is_gone_from_the_settings_is_resumed_and_no_run_is_proposed(self):
        event(row={"destination": "gone"})
        run("pause", "gone", "--because", "x")

        assert run("resume", "gone").out == "gone is resumed.\n"

    def test_resuming_lets_the_next_pass_try_after_trouble(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(403, times=1)
            event()
            run("publish")

            assert run_json("resume", "default").data["resumed"] is True
            run("publish")

        assert OutboxEvent.objects.get().state == State.DELIVERED

    @pytest.mark.parametrize("command", [["pause", "nowhere", "--because", "x"], ["resume", "nowhere"]])
    def test_an_unknown_destination_is_refused(self, command):
        ran = run(*command)

        assert ran.code == 2
        assert "nowhere" in ran.error


class TestPrune:
    def test_old_events_go_by_the_setting(self):
        old(31)
        kept = old(29)

        ran = run("prune")

        assert list(OutboxEvent.objects.values_list("pk", flat=True)) == [kept.pk]
        assert ran.out == "default: 1 event removed\n"

    def test_an_age_may_be_given(self):
        old(9)

        assert run_json("prune", "--delivered-older-than", "7").data["destinations"]["default"]["rows"] == 1

    def test_an_age_that_the_platforms_memory_does_not_allow_is_refused(self):
        old(9)

        ran = run("prune", "--delivered-older-than", "0.5")

        assert ran.code == 2
        assert "--delivered-older-than" in ran.error
        assert OutboxEvent.objects.count() == 1

    def test_a_dry_run_counts_and_changes_nothing(self):
        old(31)

        ran = run("prune", "--dry-run")

        assert ran.out == "default: 1 event would be removed\nNothing was changed (dry run).\n"
        assert OutboxEvent.objects.count() == 1

    def test_bodies_are_blanked_where_the_setting_says_so(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**one, "PAYLOAD_RETENTION_DAYS": 3, "RETENTION_DAYS": None}
        }
        old(5)
        old(5)

        ran = run("prune")

        assert "0 events removed, 2 bodies blanked (RETENTION_DAYS is None" in ran.out

    def test_where_the_time_was_over_the_rest_is_said(self, monkeypatch):
        from genesys_eventbridge.outbox.retention import Pruned

        monkeypatch.setattr(
            "genesys_eventbridge.outbox.retention.prune", lambda *args, **how: Pruned(rows=5, complete=False)
        )

        ran = run("prune", "--max-seconds", "1")

        assert "run it again" in ran.out
        assert ran.code == 0

    def test_the_time_is_for_all_destinations(self, settings, monkeypatch):
        from genesys_eventbridge.outbox.retention import Pruned

        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}
        clock = iter([0.0, 0.0, 99.0])
        monkeypatch.setattr("genesys_eventbridge.management.prune.time.monotonic", lambda: next(clock))
        seen = []

        def prune(settings, **how):
            seen.append((settings.alias, how["max_seconds"]))
            return Pruned()

        monkeypatch.setattr("genesys_eventbridge.outbox.retention.prune", prune)

        data = run_json("prune", "--max-seconds", "60").data

        assert seen == [("default", 60.0)]
        assert data["destinations"]["emea"]["complete"] is False


class TestSchedules:
    def test_what_is_missing_is_said_and_needs_a_person(self):
        ran = run("schedules")

        assert ran.code == NEEDS_PERSON
        assert ran.out.count("missing") == 4
        assert "-> manage.py eventbridge_schedules --apply" in ran.out

    def test_apply_installs_and_says_what_runs_them(self):
        ran = run("schedules", "--apply")

        assert ran.code == 0
        assert Schedule.objects.count() == 4
        assert ran.out.count("created") == 4
        assert "-> manage.py qcluster" in ran.out
        assert run("schedules").code == 0

    def test_a_deploy_may_run_it_each_time(self):
        run("schedules", "--apply")

        ran = run("schedules", "--apply")

        assert ran.out.count("kept") == 4
        assert "qcluster" not in ran.out

    def test_what_the_operator_set_is_kept_and_said(self):
        run("schedules", "--apply")
        Schedule.objects.filter(name="eventbridge:prune").update(minutes=1440)
        Schedule.objects.filter(name="eventbridge:retry").update(repeats=0)

        ran = run("schedules", "--apply")

        assert "runs every 1440 min instead of every 60 min" in ran.out
        assert "paused (repeats is 0)" in ran.out
        assert "--reset overwrites them" in ran.out

    def test_reset_and_remove(self):
        run("schedules", "--apply")
        Schedule.objects.update(minutes=9)

        assert run("schedules", "--reset").out.count("reset") == 4
        assert run("schedules", "--remove").out.count("removed") == 4
        assert run("schedules", "--remove").out == "There were no schedules to remove.\n"

    def test_a_dry_run_changes_nothing(self):
        ran = run("schedules", "--apply", "--dry-run")

        assert Schedule.objects.count() == 0
        assert ran.out.count("would be created") == 4
        assert ran.out.endswith("Nothing was changed (dry run).\n")

    def test_doubled_wrong_paused_and_late_ones_are_told_apart(self):
        schedules.install()
        first, second, third, fourth = Schedule.objects.order_by("id")
        Schedule.objects.create(name=first.name, func=first.func, schedule_type="I", minutes=1)
        Schedule.objects.filter(pk=second.pk).update(func="else.where")
        Schedule.objects.filter(pk=third.pk).update(repeats=0)
        Schedule.objects.filter(pk=fourth.pk).update(next_run=DatabaseNow(-900))

        lines = run("schedules").out.splitlines()

        assert lines[0].endswith("installed more than once")
        assert lines[1].endswith("changed to run something else")
        assert lines[2].endswith("every 5 min, paused in django-q2")
        assert lines[3].endswith("every 60 min, 15 min late")

    def test_json_has_its_keys(self):
        data = run_json("schedules", "--apply").data

        assert set(data) == {"schedules", "changes", "dry_run", "needs_person"}
        assert set(data["schedules"]["eventbridge:publish"]) == {
            *("installed", "well", "paused", "interval", "next_run", "late")
        }
        assert data["changes"]["eventbridge:publish"] == ["created"]

    def test_a_dry_run_of_nothing_is_refused(self):
        assert run("schedules", "--dry-run").code == 2

    def test_flags_that_say_nothing_together_are_refused(self):
        assert "not allowed with" in run("schedules", "--apply", "--remove").error
        assert Schedule.objects.count() == 0


def test_a_pause_lets_the_agenda_be():
    """Events stay due: when the pause ends they go in their order."""
    event()
    run("pause", "default", "--because", "x")

    ahead = next_due.next_due("default")

    assert ahead.publish_in is not None
    assert ahead.publish_in <= 0

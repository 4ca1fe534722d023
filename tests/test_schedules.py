"""The django-q2 schedules: four, installed twice or at once without harm; the operator's choices stay."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import Schedule

from genesys_eventbridge import tasks
from genesys_eventbridge.models import Destination
from genesys_eventbridge.schedules import PLANS, Change, install, remove, statuses
from tests.outbox_rows import in_threads

pytestmark = pytest.mark.django_db

NAMES = ["eventbridge:publish", "eventbridge:poll", "eventbridge:retry", "eventbridge:prune"]


def installed():
    return sorted(Schedule.objects.filter(name__startswith="eventbridge:").values_list("name", flat=True))


def one(name="eventbridge:publish"):
    return Schedule.objects.get(name=name)


def test_the_names_are_the_promised_four():
    assert [plan.name for plan in PLANS] == NAMES


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_each_schedule_runs_a_task_that_is_there_and_takes_nothing(plan):
    room, _, name = plan.func.rpartition(".")

    assert room == tasks.__name__
    assert getattr(tasks, name)() == 0


def test_what_is_missing_is_created_as_planned():
    changes = install()

    assert installed() == sorted(NAMES)
    assert changes.done == {name: [Change.CREATED] for name in NAMES}
    row = one()
    assert (row.func, row.schedule_type, row.minutes, row.repeats) == (PLANS[0].func, "I", 1, -1)
    assert row.next_run <= timezone.now()
    assert (row.args, row.kwargs, row.hook, row.cluster) == (None, None, None, None)


def test_a_second_run_keeps_everything():
    install()
    before = list(Schedule.objects.order_by("id").values())

    assert install().done == {name: [Change.KEPT] for name in NAMES}
    assert list(Schedule.objects.order_by("id").values()) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("events_before", [False, True], ids=["fresh", "in use"])
def test_at_once_on_several_hosts_there_are_four(events_before):
    if events_before:
        Destination.objects.create(alias="default")

    in_threads(6, install)

    assert installed() == sorted(NAMES)


def test_doubles_are_dropped_and_the_first_stays():
    install()
    first = one()
    Schedule.objects.create(name=first.name, func=first.func, schedule_type="I", minutes=9)

    changes = install()

    assert one() == first
    assert changes.done[first.name] == [Change.DOUBLE_REMOVED, Change.KEPT]


@pytest.mark.parametrize(
    "wrong",
    [{"func": "old.path"}, {"args": "'default'"}, {"kwargs": "x=1"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_a_schedule_runs_is_repaired_and_its_interval_kept(wrong):
    install()
    Schedule.objects.filter(name=NAMES[0]).update(minutes=7, **wrong)

    changes = install()

    row = one()
    assert (row.func, row.args, row.kwargs, row.minutes) == (PLANS[0].func, None, None, 7)
    assert changes.done[NAMES[0]] == [Change.REPAIRED]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"minutes": 15}, "every 15 min"),
        ({"schedule_type": "H"}, "hourly"),
        ({"repeats": 0}, "paused"),
        ({"next_run": None}, "paused"),
    ],
    ids=["interval", "type", "repeats", "next_run"],
)
def test_the_operators_interval_and_pause_stay_and_are_said(chosen, words):
    install()
    Schedule.objects.filter(name=NAMES[0]).update(**chosen)

    changes = install()

    row = one()
    assert {name: getattr(row, name) for name in chosen} == chosen
    assert words in changes.notes[NAMES[0]]


def test_reset_overwrites_interval_and_pause():
    install()
    Schedule.objects.filter(name=NAMES[0]).update(schedule_type="D", minutes=None, repeats=0, next_run=None)

    changes = install(reset=True)

    row = one()
    assert (row.schedule_type, row.minutes, row.repeats) == ("I", 1, -1)
    assert row.next_run is not None
    assert changes.done[NAMES[0]] == [Change.RESET]
    assert changes.notes == {}


def test_a_schedule_that_would_vanish_after_one_run_is_repaired():
    """django-q2's default type is "once"; with repeats below 0 it deletes such a row."""
    install()
    Schedule.objects.filter(name=NAMES[0]).update(schedule_type=Schedule.ONCE)

    install()

    assert one().schedule_type == Schedule.MINUTES


def test_the_operators_cluster_stays():
    install()
    Schedule.objects.filter(name=NAMES[0]).update(cluster="slow")

    install(reset=True)

    assert one().cluster == "slow"


def test_schedules_of_others_are_left_alone():
    theirs = Schedule.objects.create(name="eventbridge:theirs", func="their.task", schedule_type="D")

    install(reset=True)
    remove()

    assert list(Schedule.objects.all()) == [theirs]


@pytest.mark.parametrize("act", [install, remove])
def test_a_dry_run_writes_nothing_and_says_the_same(act):
    if act is remove:
        install()
    before = list(Schedule.objects.order_by("id").values())

    told = act(dry_run=True)

    assert list(Schedule.objects.order_by("id").values()) == before
    assert told.done == act().done


def test_what_is_removed_is_said():
    install()

    assert remove().done == {name: [Change.REMOVED] for name in NAMES}
    assert installed() == []


def test_an_interval_by_cron_is_the_operators_too():
    install()
    Schedule.objects.filter(name=NAMES[0]).update(schedule_type=Schedule.CRON, cron="*/5 * * * *")

    assert "at */5 * * * *" in install().notes[NAMES[0]]


class TestStanding:
    def test_missing(self):
        assert [(each.installed, each.fault) for each in statuses()] == [(0, "missing")] * 4

    def test_installed(self):
        install()

        assert all(not each.fault and not each.paused and each.late < 60 for each in statuses())

    def test_doubled_or_wrong_is_not_well(self):
        install()
        Schedule.objects.create(name=NAMES[0], func=PLANS[0].func, schedule_type="I", minutes=1)
        Schedule.objects.filter(name=NAMES[1]).update(func="else.where")

        assert [each.fault for each in statuses()] == [
            "installed more than once",
            "changed to run something else",
            "",
            "",
        ]

    def test_the_lag_of_a_schedule_is_seen(self):
        """One malformed schedule of anybody stops all: its lag is how that shows."""
        install()
        Schedule.objects.filter(name=NAMES[0]).update(next_run=timezone.now() - timedelta(minutes=10))

        assert statuses()[0].late == pytest.approx(600, abs=30)

    def test_a_paused_one_is_not_late(self):
        install()
        Schedule.objects.filter(name=NAMES[0]).update(next_run=timezone.now() - timedelta(days=1), repeats=0)

        assert (statuses()[0].paused, statuses()[0].late) == (True, 0.0)


def test_the_scheduler_of_django_q_turns_each_into_its_task(monkeypatch):
    """The real scheduler, with a broker that only remembers."""
    from django_q import scheduler

    asked = []

    def ask(path, *args, **how):
        asked.append((path, args))
        return "0" * 32

    monkeypatch.setattr(scheduler, "async_task", ask)
    monkeypatch.setattr(scheduler, "close_old_django_connections", lambda: None)
    install()

    scheduler.scheduler(broker=object())

    assert sorted(asked) == sorted((plan.func, ()) for plan in PLANS)
    assert all(each.next_run and each.next_run > timezone.now() for each in statuses())

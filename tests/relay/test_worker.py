"""A worker's shift: it works while something is due, stays a moment, and never outstays its time."""

import threading
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import conf, operations, relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.outbox import next_due as next_dues
from genesys_eventbridge.outbox.next_due import NextDue, next_due
from genesys_eventbridge.outbox.sweep import sweep
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay import worker as shifts
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.relay.worker import WorkerRun, run_worker
from genesys_eventbridge.states import AttemptKind, State
from tests.outbox_rows import accepted, event, fresh, settings_with
from tests.passing import Clock
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

BUSY = PassReport("default", AttemptKind.PUBLISH, claimed=1)


@pytest.fixture
def clock():
    with Clock() as clock:
        yield clock


def work(clock, platform=None, **changes):
    platform = platform or ScriptedPlatform()
    return run_worker(settings_with(**changes), stop=clock, clock=clock, transport=platform.transport)


def test_it_publishes_and_asks_in_one_stay(clock):
    row = event()
    platform = ScriptedPlatform()

    done = work(clock, platform)

    assert fresh(row).state == State.DELIVERED
    assert len(platform.checked) == 1
    assert done.moved == 2


def test_it_leaves_at_once_where_its_first_look_finds_nothing_due(clock):
    event(row={"due_at": DatabaseNow(1)})

    assert work(clock) == WorkerRun(moved=0, idle_for=0.0)
    assert clock.waits == []


def test_before_it_leaves_it_looks_for_what_committed_late(clock, monkeypatch):
    """A wake's only look may start behind the event that the wake was about."""
    row = event()
    looks = [NextDue(whole_in=0.4)]
    monkeypatch.setattr(
        next_dues, "next_due", lambda *args, **how: looks.pop() if looks else next_due(*args, **how)
    )

    work(clock)

    assert clock.waits[0] == 0.4
    assert fresh(row).state == State.DELIVERED


def test_it_stays_until_a_look_can_find_what_committed_late(clock, monkeypatch):
    event()
    late: list[OutboxEvent] = []

    def look(*args, **how):
        found = next_due(*args, **how)
        if clock.passed > 1 and not late:
            if clock.passed < 7:
                return replace(found, publish_in=None, check_in=None, whole_in=7 - clock.passed)
            late.append(event())
            return next_due(*args, **how)
        return found

    monkeypatch.setattr(next_dues, "next_due", look)

    work(clock)

    assert fresh(late[0]).state == State.DELIVERED


def test_an_idle_worker_costs_at_most_three_statements_and_is_seen_to_live(clock):
    next_due("default")
    sweep(conf.destination())  # once a minute, whether a worker is idle or not

    with CaptureQueriesContext(connection) as statements:
        work(clock)

    assert len(statements) <= 3
    assert Destination.objects.get().heartbeat_at is not None
    with CaptureQueriesContext(connection) as statements:
        work(clock)
    assert len(statements) == 1


def test_an_idle_worker_sweeps():
    """Where all that is open lies in a future that the clock made up, nothing would ever be due."""
    row = accepted(due_at=DatabaseNow(86400))

    run_worker(conf.destination())

    assert list(OutboxEvent.objects.due()) == [row]


def test_it_stays_so_that_the_last_commit_of_a_burst_is_not_left_behind(clock):
    """Its wake was left out, because one was sent less than a second before."""
    event()
    clock.at(1.9, event)

    work(clock)

    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {State.DELIVERED}


def test_it_leaves_when_nothing_was_due_for_a_while(clock):
    event()
    clock.at(30, event)

    done = work(clock, confirm=False)

    assert done.idle_for == 0.0
    assert clock.passed < 5
    assert OutboxEvent.objects.count() == 1


def test_it_waits_for_a_step_that_is_near(clock):
    event()
    near = event(row={"due_at": DatabaseNow(3.5)})
    clock.at(1.8, event)

    work(clock)

    assert fresh(near).state == State.DELIVERED


def test_it_has_ended_by_pass_seconds_whatever_comes(clock):
    def another():
        event()
        clock.at(clock.passed + 1, another)

    another()

    done = work(clock, pass_seconds=45.0, request_deadline=20.0)

    assert clock.passed <= 45 - 20 + 1
    assert done.idle_for is not None
    assert done.idle_for < 1
    assert not done.unfinished


def test_a_shift_that_finds_more_at_every_look_says_so(clock, monkeypatch):
    """Then it has answered no wake: another pass goes on."""
    monkeypatch.setattr(shifts, "is_due", lambda seconds: True)
    event()
    monkeypatch.setattr(shifts.Worker, "round", lambda self, upcoming, left: clock.wait(1) or [BUSY])

    assert work(clock) == WorkerRun(moved=0, idle_for=None, unfinished=True)


def test_what_is_due_and_cannot_go_does_not_keep_it(clock):
    """A held destination: its events are due for ever, as the agenda sees it."""
    event()
    operations.pause("default", Actor(via="test"), "maintenance")

    done = work(clock)

    assert done.moved == 0
    assert not done.unfinished
    assert clock.passed <= shifts.LINGER + 1


def test_a_pause_is_not_asked_about_at_each_look(clock, monkeypatch):
    passes = []
    serve = relay.serve

    def counted(alias, kinds, **options):
        passes.append(alias)
        return serve(alias, kinds, **options)

    monkeypatch.setattr(relay, "serve", counted)
    event()

    work(clock, ScriptedPlatform(403))

    assert len(passes) == 1


def test_where_a_colleague_is_at_work_it_lets_it_go_first(clock):
    """So that steady traffic keeps one worker busy, not all of a cluster."""
    row = event()
    Destination.objects.update_or_create(alias="default", defaults={"accepted_at": DatabaseNow(-0.5)})

    def colleague_takes_it():
        OutboxEvent.objects.filter(pk=row.pk).update(due_at=DatabaseNow(60))

    clock.at(shifts.COLLEAGUE_FIRST, colleague_takes_it)

    assert work(clock).moved == 0
    assert clock.waits == [shifts.COLLEAGUE_FIRST]


def test_where_no_colleague_was_seen_it_goes_at_once(clock):
    event()
    Destination.objects.update_or_create(alias="default", defaults={"accepted_at": DatabaseNow(-60)})

    work(clock, confirm=False)

    assert shifts.COLLEAGUE_FIRST not in clock.waits


def test_told_to_stop_it_begins_nothing(clock):
    row = event()
    clock.stopped = True

    work(clock)

    assert fresh(row).state == State.PENDING


def test_a_worker_makes_no_round_that_could_not_end_in_time():
    event()
    settings = conf.destination()
    with Senders(settings, 1) as senders:
        worker = shifts.Worker(settings, senders, stop=threading.Event())

        assert worker.round(next_due("default"), seconds=settings.request_deadline - 1) == []

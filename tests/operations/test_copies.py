"""Replay: the same events once more, each exactly once, in the same order, at the rate asked for."""

import datetime as dt
import json
import uuid
from dataclasses import replace
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge import operations
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import EventAct, Job, JobItem, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, copies, jobs
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.states import Act, JobState, Reason, State
from tests.outbox_rows import accepted, claim, ended, event, fresh, seconds_between, skipped

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ana")
ALL = EventFilter()


def delivered(*arguments, row=None, **keywords) -> OutboxEvent:
    now = DatabaseNow()
    columns = {**ended(State.DELIVERED, finished_at=now, accepted_at=now), **(row or {})}
    return event(*arguments, row=columns, **keywords)


def replay(events=ALL, **keywords):
    return operations.replay(events, ANA, "they lost it", **keywords)


def copies_of(*origins):
    return list(OutboxEvent.objects.filter(origin__in=origins).order_by("id"))


def order(**options) -> Order:
    return Order(Act.REPLAY, ANA, "they lost it", options)


def run(job, **keywords) -> None:
    """As a worker does."""
    claimed = jobs.claim(job.pk)
    assert claimed is not None
    jobs.run(claimed, ANA, **keywords)


def in_batches_of(size, monkeypatch):
    kind = replace(order().kind(), size=size)
    monkeypatch.setitem(jobs.KINDS, Act.REPLAY, lambda _options: kind)


def frozen(rows, **options) -> Job:
    return jobs.freeze(order(**options), OutboxEvent.objects.filter(pk__in=[row.pk for row in rows]))


class TestContent:
    def test_a_replayed_event_says_the_same_under_an_id_and_a_key_of_its_own(self):
        origin = delivered(
            "order.created",
            {"amount": 12.5, "lines": [1, "zwei €"]},
            subject="ORD-7",
            ordering_key="ORD-7",
            extensions={"tenant": "a"},
            row={"object_type": "shop.order", "object_id": "7"},
        )

        done = replay()

        [new] = copies_of(origin)
        before, after = json.loads(origin.body), json.loads(new.body)
        assert after.pop("id") == new.event_id != before.pop("id")
        assert after == before
        assert new.time == origin.time
        assert new.idempotency_key != origin.idempotency_key
        assert (new.subject, new.ordering_key, new.state) == ("ORD-7", "ORD-7", State.PENDING)
        assert (new.object_type, new.object_id) == ("shop.order", "7")
        assert done.ids == [origin.pk]
        assert [row.id for row in claim().rows] == [new.pk]

    def test_ids_and_keys_follow_from_the_job_so_that_no_event_can_have_two_copies_in_it(self):
        origin = delivered()
        job = frozen([origin])

        run(job)

        [new] = copies_of(origin)
        assert new.event_id == str(uuid.uuid5(job.key, origin.event_id))
        assert JobItem.objects.get().new_number == new.pk

    def test_events_of_two_sources_may_have_the_same_id(self):
        first = delivered(event_id="7", source="com.example.a")
        second = delivered(event_id="7", source="com.example.b")

        replay()

        assert len(copies_of(first, second)) == 2

    def test_an_id_that_is_taken_stops_no_other_event(self):
        rows = [delivered() for _ in range(3)]
        job = frozen(rows)
        taken = str(uuid.uuid5(job.key, rows[1].event_id))
        enqueue("order.created", 1, event_id=taken, source=rows[1].source, standalone=True)

        run(job)

        assert [new.origin_id for new in copies_of(*rows)] == [rows[0].pk, rows[2].pk]
        assert JobItem.objects.get(event_number=rows[1].pk).outcome == "invalid"

    def test_the_act_is_recorded_with_each_origin_which_stays_as_it_is(self):
        origin = delivered()

        replay()

        act = EventAct.objects.get()
        assert (act.event, act.act, act.from_state, act.to_state) == (
            origin,
            Act.REPLAY,
            State.DELIVERED,
            State.DELIVERED,
        )
        job = Job.objects.get()
        assert (act.reason, act.job, job.act, job.reason) == ("they lost it", job, Act.REPLAY, "they lost it")
        assert fresh(origin).state == State.DELIVERED


class TestWhich:
    def test_a_range_is_about_the_time_of_acceptance(self):
        ten = timezone.now() - dt.timedelta(hours=5)
        early, first, last, late = (
            delivered(row={"accepted_at": ten + dt.timedelta(minutes=minutes)}) for minutes in (-1, 0, 59, 60)
        )

        replay(EventFilter(accepted_since=ten, accepted_until=ten + dt.timedelta(hours=1)))

        assert {new.origin_id for new in copies_of(early, first, last, late)} == {first.pk, last.pk}

    def test_accepted_and_delivered_events_are_replayed_and_others_skipped_with_the_reason(self):
        ours = [delivered(), accepted()]
        others = [
            event(),
            event(row=ended(State.DEAD, Reason.REJECTED)),
            event(row=ended(State.UNRESOLVED, Reason.CONFLICT)),
            event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow())),
        ]

        done = replay()

        assert done.ids == [row.pk for row in ours]
        assert skipped(done) == {
            "already waiting to be sent": [others[0].pk],
            "dead: requeue it": [others[1].pk],
            "unresolved: resolve it": [others[2].pk],
            "already cancelled": [others[3].pk],
        }
        assert copies_of(*others) == []

    def test_blanked_bodies_are_skipped_and_counted(self):
        blanked, whole = delivered(row={"body": ""}), delivered()

        done = replay()

        assert (done.ids, done.left) == ([whole.pk], 1)
        assert "blanked" in next(iter(skipped(done)))
        assert copies_of(blanked) == []

    @pytest.mark.parametrize(
        "change",
        [
            {"MAX_EVENT_BYTES": 1024},
            {"SCHEMAS": {"order.created": {"type": "object", "properties": {"note": {"maxLength": 3}}}}},
        ],
        ids=["size", "schema"],
    )
    def test_what_is_no_longer_valid_is_skipped_and_stops_no_other(self, settings, change):
        wrong, good = delivered("order.created", {"note": "x" * 2000}), delivered("order.created", {})
        settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], **change}}

        done = replay()

        assert done.ids == [good.pk]
        assert [some.ids for some in done.skipped.values()] == [[wrong.pk]]

    def test_an_event_of_a_destination_that_is_gone_is_skipped(self):
        gone = delivered(row={"destination": "gone"})

        done = replay()

        assert [some.ids for some in done.skipped.values()] == [[gone.pk]]

    def test_a_dry_run_says_the_same_and_writes_nothing(self):
        rows = [delivered(), delivered(row={"body": ""}), event()]

        foreseen = replay(dry_run=True)

        assert OutboxEvent.objects.count() == len(rows)
        assert not Job.objects.exists()
        done = replay()
        assert (foreseen.ids, skipped(foreseen)) == (done.ids, skipped(done))

    def test_new_events_of_the_replay_itself_never_join(self):
        delivered()
        replay()
        OutboxEvent.objects.update(**ended(State.DELIVERED, finished_at=DatabaseNow()))

        assert Job.objects.get().total == 1

    def test_a_filter_that_can_match_nothing_makes_a_job_of_nothing(self):
        delivered()

        assert replay(EventFilter(subject="\0")).count == 0

    def test_a_reason_is_wanted(self):
        with pytest.raises(ValueError, match="reason"):
            operations.replay(ALL, ANA, " ")


class TestPace:
    def due(self, *origins):
        start = fresh(copies_of(*origins)[0]).created_at
        return [round(seconds_between(start, new.not_before or new.due_at)) for new in copies_of(*origins)]

    def test_order_per_key_is_kept(self, monkeypatch):
        monkeypatch.setattr(copies, "PAGE", 2)
        rows = [delivered("order.created", n, ordering_key="k") for n in range(5)]

        replay(rate=60)

        assert [new.origin_id for new in copies_of(*rows)] == [row.pk for row in rows]

    def test_a_rate_is_events_per_minute(self):
        rows = [delivered() for _ in range(4)]

        replay(rate=30)

        assert self.due(*rows) == [0, 2, 4, 6]

    def test_a_spread_is_divided_among_all_events(self):
        rows = [delivered() for _ in range(4)]

        replay(spread=40)

        assert self.due(*rows) == [0, 10, 20, 30]

    def test_skipped_events_take_no_time(self):
        rows = [delivered(), delivered(row={"body": ""}), delivered()]

        replay(rate=60)

        assert self.due(*rows) == [0, 1]

    def test_the_rate_holds_across_batches(self, monkeypatch):
        in_batches_of(2, monkeypatch)
        rows = [delivered() for _ in range(5)]

        replay(rate=6)

        assert self.due(*rows) == [0, 10, 20, 30, 40]

    def test_a_job_that_was_interrupted_makes_no_burst(self, monkeypatch):
        in_batches_of(2, monkeypatch)
        rows = [delivered() for _ in range(6)]
        job = frozen(rows, rate=6)
        times = iter([0.0, 0.0, 9.0])
        run(job, max_seconds=5, clock=lambda: next(times))
        assert len(copies_of(*rows)) == 2

        with shifted(3600):
            run(job)

        gaps = self.due(*rows)
        assert gaps[2] >= 3600
        assert [later - earlier for earlier, later in pairwise(gaps[2:])] == [10, 10, 10]

    def test_a_rate_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="rate"):
            replay(rate=0)


class TestStopping:
    def stopped(self, job):
        assert jobs.cancel(job.pk, ANA)
        jobs.work()
        job.refresh_from_db()
        return job

    def test_stopping_a_replay_withdraws_what_was_never_sent(self):
        rows = [delivered() for _ in range(3)]
        job = frozen(rows, rate=1)
        run(job)
        [sent, *waiting] = copies_of(*rows)
        assert [row.id for row in claim().rows] == [sent.pk]

        self.stopped(job)

        assert fresh(sent).state == State.PENDING
        assert [fresh(new).state for new in waiting] == [State.CANCELLED] * 2
        withdrawal = jobs.withdrawal(job)
        assert withdrawal is not None
        assert (withdrawal.act, withdrawal.done, withdrawal.skipped) == (Act.CANCEL, 2, 1)
        assert set(EventAct.objects.filter(job=withdrawal).values_list("event", flat=True)) == {
            new.pk for new in waiting
        }

    def test_what_was_tried_before_is_left_alone(self):
        """It may have arrived."""
        [origin] = rows = [delivered()]
        job = frozen(rows)
        run(job)
        OutboxEvent.objects.filter(origin=origin).update(in_doubt_since=DatabaseNow())

        self.stopped(job)

        assert [new.state for new in copies_of(origin)] == [State.PENDING]

    def test_a_job_in_the_middle_makes_no_more_events(self, monkeypatch):
        in_batches_of(1, monkeypatch)
        rows = [delivered() for _ in range(3)]
        job = frozen(rows)

        def stop(_results):
            jobs.cancel(job.pk, ANA)

        run(job, saw=stop)
        jobs.work()

        job.refresh_from_db()
        assert job.state == JobState.CANCELLED
        assert [new.state for new in copies_of(*rows)] == [State.CANCELLED]

    def test_stopped_twice_it_is_withdrawn_once(self):
        rows = [delivered()]
        job = self.stopped(frozen_and_run(rows))

        assert not jobs.cancel(job.pk, ANA)
        assert Job.objects.filter(act=Act.CANCEL).count() == 1
        assert not jobs.can_be_stopped(job)

    def test_stopping_another_act_takes_nothing_back(self):
        row = event(row=ended(State.DEAD, Reason.REJECTED))
        job = jobs.freeze(Order(Act.REQUEUE, ANA, "again"), [row.pk], claim=True)
        jobs.run(job, ANA)

        assert not jobs.cancel(job.pk, ANA)
        assert fresh(row).state == State.PENDING


def frozen_and_run(rows) -> Job:
    job = frozen(rows)
    run(job)
    return job


def test_the_statements_of_a_replay_do_not_depend_on_the_number_of_events():
    statements = []

    for count in (3, 30):
        rows = [delivered() for _ in range(count)]
        job = frozen(rows)
        with CaptureQueriesContext(connection) as queries:
            run(job)
        statements.append(len(queries))

    assert statements[1] - statements[0] <= 4


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_is_rolled_back_leaves_no_new_event(monkeypatch):
    rows = [delivered() for _ in range(2)]
    job = frozen(rows)
    monkeypatch.setattr(jobs, "_keep", lambda *_arguments: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run(job)

    assert copies_of(*rows) == []
    assert not EventAct.objects.exists()
    monkeypatch.undo()
    with shifted(jobs.LEASE + 1):
        jobs.work()
    assert len(copies_of(*rows)) == 2
    assert transaction.get_autocommit()

"""Jobs: the set is frozen, batches commit with their audit, and only the holder of the claim moves one on."""

import threading
import uuid

import pytest
from django.db import IntegrityError, connection, transaction

from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import EventAct, Job, JobItem, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, cancel, jobs
from genesys_eventbridge.operations.bulk import Changed
from genesys_eventbridge.operations.results import Result, Skip
from genesys_eventbridge.outbox.followers import with_dead_behind
from genesys_eventbridge.states import Act, JobState, Reason, State
from tests.outbox_rows import claim, ended, event, fresh, seconds_between

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ana")


def dead(kind="order.created", **row) -> OutboxEvent:
    return event(kind, row=ended(State.DEAD, Reason.REJECTED, **row))


def all_dead():
    return OutboxEvent.objects.filter(state=State.DEAD)


def requeue(reason="fixed", **options) -> Order:
    return Order(Act.REQUEUE, ANA, reason, options, "dead")


def numbers(job) -> list[int]:
    return list(job.items.order_by("event_number").values_list("event_number", flat=True))


@pytest.fixture
def small(monkeypatch):
    """Batches and pages of two events."""
    monkeypatch.setattr(jobs, "BATCH", 2)
    monkeypatch.setattr(jobs, "PAGE", 2)


class TestFreeze:
    def test_it_lists_what_matches_now_and_nothing_that_comes_later(self, small):
        rows = [dead() for _ in range(5)]
        other = event()

        job = jobs.freeze(requeue(), all_dead())
        later = dead()
        jobs.work()

        assert numbers(job) == [row.pk for row in rows]
        assert {fresh(row).state for row in rows} == {State.PENDING}
        assert fresh(later).state == State.DEAD
        assert fresh(other).attempts == 0

    def test_an_event_that_dies_again_is_not_requeued_twice(self, small):
        rows = [dead() for _ in range(4)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)
        died: list[int] = []

        def die(results):
            died.extend(result.id for result in results)
            OutboxEvent.objects.filter(pk__in=died).update(**ended(State.DEAD, Reason.EXHAUSTED))

        jobs.run(job, ANA, saw=die)

        assert died == [row.pk for row in rows]
        assert EventAct.objects.count() == 4
        assert all_dead().count() == 4

    def test_events_that_are_created_while_it_is_listed_never_join(self, monkeypatch, small):
        rows = [dead() for _ in range(4)]
        copy = jobs._copy

        def copy_while_others_arrive(job, page):
            if OutboxEvent.objects.count() < 10:
                dead()
                dead()
            return copy(job, page)

        monkeypatch.setattr(jobs, "_copy", copy_while_others_arrive)
        job = jobs.freeze(requeue(), all_dead())

        assert [item.event_number for item in job.items.order_by("event_number")] == [row.pk for row in rows]

    def test_where_nothing_can_match_it_is_empty_and_ends(self):
        dead()

        for rows in (OutboxEvent.objects.none(), OutboxEvent.objects.filter(pk__in=[])):
            job = jobs.freeze(requeue(), rows)
            jobs.work()
            job.refresh_from_db()
            assert (job.state, job.total) == (JobState.FINISHED, 0)

    def test_the_same_key_makes_one_job(self):
        dead()
        order = requeue()

        first, second = jobs.freeze(order, all_dead()), jobs.freeze(order, all_dead())

        assert first.pk == second.pk
        assert JobItem.objects.count() == 1

    def test_a_job_whose_listing_died_does_nothing(self, monkeypatch, small):
        [dead() for _ in range(3)]
        monkeypatch.setattr(jobs, "_queue", lambda *_args, **_options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            jobs.freeze(requeue(), all_dead())

        assert Job.objects.get().state == JobState.PREPARING
        assert jobs.work() == 0
        assert all_dead().count() == 3

    def test_it_knows_its_number_of_events_reason_and_person(self):
        dead()

        job = jobs.freeze(requeue("type registered\nat last"), all_dead())

        assert (job.total, job.reason, job.username, job.via, job.about) == (
            1,
            "type registered at last",
            "ana",
            "admin",
            "dead",
        )

    @pytest.mark.parametrize("name", ["spread", "delay"])
    def test_waits_of_more_than_ten_years_are_refused(self, name):
        with pytest.raises(ValueError, match=name):
            jobs.freeze(requeue(**{name: 4e8}), all_dead())
        assert not Job.objects.exists()


class TestRun:
    def test_each_batch_commits_with_its_audit_its_results_and_its_place(self, small):
        rows = [dead() for _ in range(5)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)
        seen = []

        def look(_results):
            now = Job.objects.get()
            seen.append((now.done, EventAct.objects.count(), now.items.filter(outcome="done").count()))

        assert jobs.run(job, ANA, saw=look)

        assert seen[:3] == [(2, 2, 2), (4, 4, 4), (5, 5, 5)]
        assert EventAct.objects.filter(job=job).count() == len(rows)

    def test_a_job_acts_on_an_event_once_even_if_the_code_forgot(self):
        row = dead()
        jobs.perform(requeue(), [row.pk])
        act = EventAct.objects.get()
        act.pk = None

        with pytest.raises(IntegrityError), transaction.atomic():
            act.save(force_insert=True)

    def test_without_the_claim_nothing_is_written(self, small):
        [dead() for _ in range(3)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)
        Job.objects.update(claim_token=uuid.uuid4())

        assert jobs.run(job, ANA)

        assert all_dead().count() == 3
        assert not EventAct.objects.exists()

    def test_it_stops_when_told_and_is_handed_back(self, small):
        [dead() for _ in range(5)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)
        stop = threading.Event()

        assert not jobs.run(job, ANA, saw=lambda _results: stop.set(), stop=stop)

        assert (all_dead().count(), jobs.are_due()) == (3, True)
        assert jobs.work() == 1
        assert not all_dead().exists()

    def test_it_ends_in_time_and_is_handed_back(self, small):
        [dead() for _ in range(5)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)
        ticks = iter(range(100))

        assert not jobs.run(job, ANA, max_seconds=2, clock=lambda: next(ticks))

        assert all_dead().count() == 3

    def test_what_cannot_be_acted_on_is_counted_by_its_reason_and_type(self):
        row, flying, gone = dead(), event("order.paid"), dead()
        claim()
        cancel([gone.pk], ANA, "withdrawn")

        jobs.perform(requeue(), [row.pk, flying.pk, gone.pk, 10**9])

        job = Job.objects.latest("id")
        assert {(group.outcome, group.type): group.number for group in jobs.groups(job)} == {
            ("done", "order.created"): 1,
            ("being_sent", "order.paid"): 1,
            ("cancelled", "order.created"): 1,
            ("no_such_event", ""): 1,
        }
        assert (job.done, job.skipped) == (1, 3)

    def test_it_distinguishes_a_bounded_number_of_types(self, monkeypatch):
        monkeypatch.setattr(jobs, "GROUPS", 2)
        rows = [dead(f"type.{number}") for number in range(5)]

        jobs.perform(requeue(), [row.pk for row in rows])

        groups = jobs.groups(Job.objects.get())
        assert sum(group.number for group in groups) == 5
        assert [group.type for group in groups if not group.type] == [""]

    def test_one_that_changes_meanwhile_blocks_no_other(self, monkeypatch):
        rows = [dead() for _ in range(3)]
        act, failed = jobs.KINDS[Act.REQUEUE], []

        def kind(options):
            real = act(options)

            def work(batch):
                if len(batch.ids) > 1:
                    failed.append(len(batch.ids))
                    raise Changed
                return real.work(batch)

            return jobs.Kind(work, real.foresee)

        monkeypatch.setitem(jobs.KINDS, Act.REQUEUE, kind)
        done = jobs.perform(requeue(), [row.pk for row in rows])

        assert (failed, done.count) == ([3], 3)

    def test_a_spread_begins_when_the_job_began_however_late_it_is_worked_on(self):
        rows = [dead() for _ in range(4)]
        job = jobs.freeze(requeue(spread=400.0, delay=100.0), [row.pk for row in rows])

        with shifted(150):
            jobs.work()

        dues = [seconds_between(job.created_at, fresh(row).due_at) for row in rows]
        assert dues == pytest.approx([150, 200, 300, 400], abs=5)


class TestCancel:
    def test_what_was_done_stays_and_the_rest_is_left_alone(self, small):
        [dead() for _ in range(5)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)

        def stop(_results):
            jobs.cancel(job.pk, Actor("admin", name="ben"))

        jobs.run(job, ANA, saw=stop)

        assert all_dead().count() == 3
        now = Job.objects.get()
        assert (now.state, now.ended_by, now.done) == (JobState.CANCELLED, "ben", 2)
        assert not jobs.cancel(job.pk, ANA)

    def test_one_that_has_ended_is_not_worked_on(self):
        dead()
        job = jobs.freeze(requeue(), all_dead())
        jobs.cancel(job.pk, ANA)

        assert jobs.work() == 0
        assert all_dead().count() == 1


class TestWork:
    def test_a_claimed_job_is_left_alone_until_its_lease_ends(self):
        dead()
        jobs.freeze(requeue(), all_dead(), claim=True)

        assert jobs.work() == 0
        with shifted(jobs.LEASE + 1):
            assert jobs.work() == 1
        assert not all_dead().exists()

    def test_each_batch_renews_the_lease(self, small):
        [dead() for _ in range(4)]
        job = jobs.freeze(requeue(), all_dead(), claim=True)

        def age(_results):
            assert Job.objects.filter(pk=job.pk, due_at__gt=DatabaseNow(jobs.LEASE - 5)).exists() or (
                Job.objects.get().state == JobState.FINISHED
            )
            Job.objects.filter(pk=job.pk, due_at__isnull=False).update(due_at=DatabaseNow(1))

        jobs.run(job, ANA, saw=age)

    def test_one_that_fails_holds_up_no_other_and_is_tried_again_when_its_lease_ends(self, monkeypatch):
        rows = [dead(), dead()]
        first = jobs.freeze(requeue(), [rows[0].pk])
        jobs.freeze(Order(Act.CANCEL, ANA, "withdrawn"), [rows[1].pk])
        real = jobs.KINDS[Act.REQUEUE]
        monkeypatch.setitem(jobs.KINDS, Act.REQUEUE, lambda _options: 1 / 0)

        assert jobs.work() == 2
        assert [fresh(row).state for row in rows] == [State.DEAD, State.CANCELLED]
        first.refresh_from_db()
        assert (first.state, first.last_error) == (JobState.QUEUED, "ZeroDivisionError")
        monkeypatch.setitem(jobs.KINDS, Act.REQUEUE, real)
        with shifted(jobs.LEASE + 1):
            jobs.work()

        first.refresh_from_db()
        assert (first.state, first.done, first.last_error) == (JobState.FINISHED, 1, "")

    def test_an_act_that_waits_for_events_looks_again_later(self, monkeypatch):
        rows = [dead() for _ in range(3)]
        looked = []

        def work(batch):
            looked.append(list(batch.ids))
            waits = len(looked) == 1
            return [Result(pk, waits=waits and pk == rows[1].pk) for pk in batch.ids]

        monkeypatch.setitem(jobs.KINDS, Act.REQUEUE, lambda _options: jobs.Kind(work, lambda _rows: []))
        jobs.freeze(requeue(), [row.pk for row in rows])

        assert (jobs.work(), jobs.work()) == (1, 0)
        assert Job.objects.get().state == JobState.QUEUED
        with shifted(jobs.LOOK_AGAIN + 1):
            jobs.work()

        assert looked == [[row.pk for row in rows], [rows[1].pk]]
        job = Job.objects.get()
        assert (job.state, job.done) == (JobState.FINISHED, 3)


def test_a_preview_says_what_would_be_and_writes_nothing(monkeypatch):
    monkeypatch.setattr(jobs, "EXAMINED", 2)
    rows = [dead() for _ in range(3)]

    seen = jobs.preview(requeue().kind().foresee, OutboxEvent.objects.all())
    whole = jobs.survey(requeue(), OutboxEvent.objects.all())

    assert (seen.total, seen.examined, seen.done.count) == (3, 2, 2)
    assert whole.count == 3
    assert all_dead().count() == len(rows)
    assert not Job.objects.exists()


def test_a_dead_head_is_requeued_with_its_tail_and_no_other_key():
    head, pending, tail = (
        event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED)),
        event(ordering_key="ORD-7"),
        event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.EXHAUSTED)),
    )
    others = [dead(), event(ordering_key="ORD-8", row=ended(State.DEAD, Reason.REJECTED))]

    chosen = with_dead_behind(OutboxEvent.objects.filter(pk=head.pk))

    assert set(chosen.values_list("pk", flat=True)) == {head.pk, tail.pk}
    assert pending.pk not in chosen.values_list("pk", flat=True)
    assert set(with_dead_behind(OutboxEvent.objects.filter(pk=others[0].pk))) == {others[0]}


def test_an_act_outlives_its_event():
    row = dead()
    jobs.perform(Order(Act.CANCEL, ANA, "withdrawn"), [row.pk])
    OutboxEvent.objects.all().delete()

    act = EventAct.objects.get()
    assert (act.event_id, act.event_number, act.cloudevent_id) == (None, row.pk, row.event_id)
    assert (act.username, act.reason, act.act) == ("ana", "withdrawn", Act.CANCEL)


def test_every_reason_to_skip_fits_its_column():
    longest = JobItem._meta.get_field("outcome").max_length
    assert longest is not None
    assert max(map(len, Skip.values)) <= longest


def test_a_key_of_events_that_are_requeued_together_keeps_its_order(small):
    """Whether all of a key are dead or only its head: the lower number is sent first."""
    rows = [event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED)) for _ in range(4)]
    rows.append(event(ordering_key="ORD-7"))

    jobs.perform(requeue(spread=100.0), [row.pk for row in reversed(rows)])

    sent = []
    with shifted(200):
        while batch := claim().rows:
            assert len(batch) == 1
            sent.append(batch[0].id)
            OutboxEvent.objects.filter(pk=batch[0].id).update(
                state=State.ACCEPTED, claim_token=None, accepted_at=DatabaseNow()
            )
            OutboxEvent.objects.filter(key_held=True).update(due_at=DatabaseNow(-1))
    assert sent == [row.pk for row in rows]


def test_each_batch_takes_the_same_statements_however_many_there_are(small):
    """So the time of a job grows with its events, and not faster."""
    statements, seen = [0], list[int]()

    def count(execute, *arguments):
        statements[0] += 1
        return execute(*arguments)

    def saw(_results):
        seen.append(statements[0] - sum(seen))

    job = jobs.freeze(requeue(spread=60.0), [dead().pk for _ in range(40)], claim=True)
    with connection.execute_wrapper(count):
        jobs.run(job, ANA, saw=saw)

    *batches, last = seen
    assert len(batches) == 40  # a spread makes small batches
    assert len(set(batches)) == 1
    assert last < batches[0]

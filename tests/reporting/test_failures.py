"""Failure groups: which type fails most, why, and since when; each group is exactly the rows it counts."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import expiry, next_due
from genesys_eventbridge.outbox.decide import released
from genesys_eventbridge.outbox.settle import settle
from genesys_eventbridge.reporting.failures import failures
from genesys_eventbridge.states import Reason, State
from genesys_eventbridge.text.failures import failure_id
from tests.outbox_rows import accepted, claim, ended, event, fresh, seconds_between, settings_with
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db


def publish(*answers):
    return relay.publish_due(transport=ScriptedPlatform(*answers).transport)


def failed(kind="order.created", error="400 order ORD-1 is wrong", ago=0.0, **row):
    columns = {**ended(State.DEAD, Reason.REJECTED), "last_error": error, "last_status_code": 400}
    columns |= {"failure": failure_id(400, error), "failed_at": DatabaseNow(-ago), **row}
    return event(kind, row=columns)


def found(**how):
    return failures(["default"], next_due.database_now(), **how)


def numbers(of):
    return [(group.type, group.pattern, group.number) for group in of.groups]


class TestWhatIsStored:
    def test_a_refused_event_knows_its_failure_and_when(self):
        row = event()

        publish(400)

        row = fresh(row)
        assert row.state == State.DEAD
        assert row.failure == failure_id(400, row.last_error)
        assert row.failed_at is not None

    def test_one_that_is_retried_too_and_an_acceptance_ends_it(self):
        row = event()
        publish(503)
        assert fresh(row).failure == failure_id(503, fresh(row).last_error)

        OutboxEvent.objects.update(due_at=DatabaseNow(-1))
        publish(202)

        row = fresh(row)
        assert (row.state, row.failure, row.failed_at) == (State.ACCEPTED, None, None)

    def test_what_is_given_back_unsent_keeps_when_it_failed(self):
        row = event(row={"last_error": "503", "failure": failure_id(None, "503"), "attempts": 1})
        then = next_due.database_now() - dt.timedelta(hours=2)
        OutboxEvent.objects.update(failed_at=then)
        (taken,) = claim().rows
        assert settle([released(taken)]).won == {row.pk}

        assert fresh(row).failed_at == then

    def test_one_that_ends_without_a_request_failed_when_it_ended(self):
        row = event(row={"attempts": 12, "failed_at": DatabaseNow(-9999)})

        expiry.end(settings_with(max_attempts=12), [row.pk])

        row = fresh(row)
        assert row.state == State.DEAD
        assert seconds_between(row.failed_at, next_due.database_now()) < 60


class TestGroups:
    def test_the_same_error_of_one_type_is_one_group_the_largest_first(self):
        for number in range(3):
            failed(error=f"400 order ORD-{number} is wrong")
        failed("order.paid", "400 order ORD-1 is wrong")
        failed(error="400 no such customer: 4711")

        assert numbers(found()) == [
            ("order.created", "400 order <id> is wrong", 3),
            ("order.created", "400 no such customer: <number>", 1),
            ("order.paid", "400 order <id> is wrong", 1),
        ]

    def test_dead_unresolved_and_retrying_ones_count_others_do_not(self):
        row = failed()
        failed(**ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))
        failed(state=State.PENDING, reason="", due_at=DatabaseNow(60), attempts=2)
        failed(**ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()))
        accepted(last_error=row.last_error, failure=row.failure)
        event()

        (group,) = found().groups

        assert (group.dead, group.unresolved, group.retrying, group.number) == (1, 1, 1, 3)
        counted = OutboxEvent.objects.failing().filter(failure=group.failure, type=group.type)
        assert counted.count() == group.number

    def test_first_last_trend_and_an_example(self):
        for ago in (9000, 5000, 4000, 60):
            newest = failed(ago=ago)

        (group,) = found().groups

        now = next_due.database_now()
        assert (now - group.first).total_seconds() == pytest.approx(9000, abs=30)
        assert (now - group.last).total_seconds() == pytest.approx(60, abs=30)
        assert (group.recent, group.before) == (1, 2)
        assert (group.example, group.error) == (newest.pk, newest.last_error)

    def test_since_a_time_only_what_failed_since_counts(self):
        failed(ago=7200)
        failed(ago=60)
        since = next_due.database_now() - dt.timedelta(hours=1)

        assert [group.number for group in found(since=since).groups] == [1]

    def test_an_event_without_an_error_is_counted_too(self):
        event(row=ended(State.UNRESOLVED, Reason.UNTRACKED))

        (group,) = found().groups

        assert (group.failure, group.pattern, group.unresolved) == (None, "", 1)

    def test_an_event_of_a_dead_worker_is_waiting_for_a_retry(self):
        event()
        assert len(claim().rows) == 1
        OutboxEvent.objects.update(due_at=DatabaseNow(-1))

        (group,) = found().groups

        assert (group.retrying, group.failure) == (1, None)

    def test_a_limit_of_groups_says_how_many_are_left_out(self):
        for word in ("a", "b", "c"):
            failed(error=f"400 {word}")

        limited = found(shown=2)

        assert (len(limited.groups), limited.others) == (2, 1)

    def test_a_limit_of_rows_is_never_silent_and_reads_the_newest(self):
        for ago in (500, 400, 300):
            failed(error="400 old", ago=ago)
        failed(error="400 new")

        assert found(most=4).capped_at is None
        limited = found(most=1)

        assert limited.capped_at == 1
        assert "400 new" in {group.pattern for group in limited.groups}

    def test_destinations_are_counted_apart_in_two_queries(self):
        failed()
        row = failed()
        OutboxEvent.objects.filter(pk=row.pk).update(destination="emea")
        now = next_due.database_now()

        with CaptureQueriesContext(connection) as queries:
            groups = failures(["default", "emea"], now).groups

        assert [(group.destination, group.number) for group in groups] == [("default", 1), ("emea", 1)]
        assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 2


def test_the_rows_of_a_group_are_found_by_its_index():
    """At a million rows the list behind a group must not read them all."""
    if connection.vendor != "sqlite":
        pytest.skip("the plan is SQLite's; on PostgreSQL it depends on statistics")
    rows = OutboxEvent.objects.failing().filter(failure="0123456789abcdef").order_by("-id")

    assert "eventbridge_failure" in rows.explain()

"""One kind within a pass, step by step: what it takes, what it writes, and how long it tries."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction

from genesys_eventbridge import db
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import enqueue_many, settle
from genesys_eventbridge.outbox.expiry import close_unconfirmed
from genesys_eventbridge.outbox.followers import release
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.relay import batch
from genesys_eventbridge.relay.batch import Pass
from genesys_eventbridge.relay.senders import Report, Senders
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import PUBLISH, accepted, ended, event, fresh, seconds_between, settings_with

pytestmark = pytest.mark.django_db(transaction=True)


class Waiting(Senders):
    """Begins nothing."""

    def send(self, rows):
        """They stay with the test."""


@pytest.fixture
def make():
    """A pass that has claimed what is due, its side, and the rows that it holds."""

    def make(kind=PUBLISH, **keys):
        settings = settings_with(**keys)
        run = Pass({kind: 0.0}, settings, Waiting(settings, 4))
        run._claim()
        side = run.sides[kind]
        return run, side, list(side.in_flight.values())

    return make


def taken(row, remote_id="evt-1"):
    return Report(row, Outcome(Verdict.ACCEPTED, status_code=202, remote_id=remote_id), row.started)


def test_the_acceptance_of_a_row_that_was_given_up_meanwhile_is_its_proof(make):
    event()
    _run, side, (row,) = make()
    OutboxEvent.objects.filter(pk=row.id).update(
        **ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN), in_doubt_since=DatabaseNow(-60)
    )

    side.took(taken(row))
    side.settle()

    assert (fresh(row).state, fresh(row).remote_id) == (State.ACCEPTED, "evt-1")
    assert side.report.lost == 1


def test_an_answer_of_an_earlier_claim_is_not_taken_for_that_of_the_present_one(make):
    event()
    _run, side, (row,) = make()
    stale = replace(row, token=uuid4())

    assert not side.took(taken(stale, "evt-of-before"))
    assert side.took(taken(row))
    side.settle()

    assert fresh(row).remote_id == "evt-1"


def test_a_lost_database_is_waited_for_until_the_lease_ends_and_no_longer(make, monkeypatch):
    event()
    _run, side, (row,) = make(lease_seconds=60.0)
    passed = [0.0]
    tries = []

    def fails(*arguments, **keywords):
        tries.append(passed[0])
        raise OperationalError("gone")

    class Later:
        @staticmethod
        def monotonic():
            return row.started + passed[0]

    monkeypatch.setattr(db, "steady", Later)
    monkeypatch.setattr(db, "pause", lambda seconds: passed.__setitem__(0, passed[0] + 3.0))
    monkeypatch.setattr(settle, "_write_unlocked", fails)

    side.took(taken(row))
    side.settle()

    assert 50 <= max(tries) <= 70


def test_the_time_of_a_claim_is_read_before_it_is_written(monkeypatch):
    """Read after it, a request could outlive its lease by as long as the claim took."""
    event()
    settings = settings_with()
    moments = iter(range(1000))
    written = []

    class Ticking:
        @staticmethod
        def monotonic():
            return float(next(moments))

    monkeypatch.setattr("genesys_eventbridge.outbox.claim.steady", Ticking)

    def seen(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and "claim_token" in sql:
            written.append(Ticking.monotonic())
        return execute(sql, params, many, context)

    run = Pass({PUBLISH: 0.0}, settings, Waiting(settings, 4))
    with connection.execute_wrapper(seen):
        run._claim()

    (row,) = run.sides[PUBLISH].in_flight.values()
    assert row.started < written[0]


def test_a_retry_keeps_its_wait_when_the_head_of_its_key_leaves():
    head = event(ordering_key="k")
    later = event(ordering_key="k", row={"attempts": 1, "due_at": DatabaseNow(400)})

    with transaction.atomic():
        release([head.pk])

    assert fresh(later).due_at == later.due_at


def test_confirmation_switched_off_leaves_a_row_that_is_being_asked_about_to_its_worker():
    asked = accepted(claim_token=uuid4(), due_at=DatabaseNow(60))
    due = accepted()

    close_unconfirmed(settings_with(confirm=False))

    assert (fresh(asked).state, fresh(due).state) == (State.ACCEPTED, State.DELIVERED)


def test_an_event_that_ends_without_a_request_releases_the_next_of_its_key(settings, make):
    own = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": {**own, "BLOCK_KEY_ON_DEAD": False}}
    event(ordering_key="k", row={"attempts": 99})
    held = {"key_held": True, "due_at": DatabaseNow(86400)}
    follower = event(ordering_key="k", row=held)

    make()

    assert fresh(follower).key_held is None
    assert seconds_between(follower.created_at, fresh(follower).due_at) < 3600


def test_an_event_that_ends_and_blocks_its_key_leaves_the_next_held(make):
    """Made due, it would be held again by the next look: two writes for nothing."""
    head = event(ordering_key="k", row={"attempts": 99})
    held = event(ordering_key="k", row={"key_held": True, "due_at": DatabaseNow(86400)})

    make()

    assert fresh(head).state == State.DEAD
    assert (fresh(held).key_held, fresh(held).due_at) == (True, held.due_at)


def test_confirmation_switched_off_releases_nothing():
    """What was accepted left its key then; what is held now waits for another event."""
    event(ordering_key="k", delay=600)
    row = accepted(ordering_key="k")
    held = event(ordering_key="k", row={"key_held": True, "due_at": DatabaseNow(86400)})

    close_unconfirmed(settings_with(confirm=False))

    assert fresh(row).state == State.DELIVERED
    assert (fresh(held).key_held, fresh(held).due_at) == (True, held.due_at)


def test_events_written_together_rise_in_the_order_given():
    written = enqueue_many(
        [{"type": "order.created", "data": number} for number in range(300)], standalone=True
    )

    rows = OutboxEvent.objects.order_by("id")
    assert [row.data for row in rows] == list(range(300))
    assert [row.pk for row in written] == [row.pk for row in rows]


@contextlib.contextmanager
def held_elsewhere(*rows):
    """Another transaction has locked these rows."""
    other = connection.copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            marks = ", ".join(["%s"] * len(rows))
            cursor.execute(
                f"SELECT id FROM genesys_eventbridge_outboxevent WHERE id IN ({marks}) FOR UPDATE",
                [row.pk for row in rows],
            )
        yield
    finally:
        other.rollback()
        other.close()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite locks no rows")
class TestLockedRows:
    def test_a_locked_row_costs_no_other_its_outcome_and_has_its_own_after_the_lock(self, make):
        locked, free = event(), event()
        run, side, rows = make()
        for row in rows:
            side.took(taken(row, f"evt-{row.id}"))

        with held_elsewhere(locked):
            side.settle()
            states = (fresh(locked).state, fresh(free).state)
        run._collect()

        assert states == (State.PENDING, State.ACCEPTED)
        assert fresh(locked).state == State.ACCEPTED

    def test_with_its_follower_locked_a_head_is_written_after_the_lock(self, make):
        head, free = event(ordering_key="k"), event()
        follower = event(ordering_key="k", row={"key_held": True, "due_at": DatabaseNow(86400)})
        run, side, rows = make()
        for row in rows:
            side.took(taken(row, f"evt-{row.id}"))

        with held_elsewhere(follower):
            side.settle()
            states = (fresh(head).state, fresh(free).state)
        run._collect()

        assert states == (State.PENDING, State.ACCEPTED)
        assert fresh(head).state == State.ACCEPTED
        assert fresh(follower).key_held is None

    @pytest.mark.parametrize("left", [1.0, -1.0])
    def test_the_outcome_of_a_locked_row_is_kept_until_its_lease_ends(self, make, monkeypatch, left):
        locked = event()
        _run, side, (row,) = make()
        ends = row.started + settings_with().lease_seconds
        monkeypatch.setattr(batch, "steady", SimpleNamespace(monotonic=lambda: ends - left))

        side.took(taken(row))
        with held_elsewhere(locked):
            side.settle()

        assert (len(side.unwritten), side.report.lost) == ((1, 0) if left > 0 else (0, 1))

    def test_a_locked_row_that_is_to_end_keeps_no_pass_busy(self, make):
        spent = event(row={"attempts": 99})

        with held_elsewhere(spent):
            run, side, _rows = make()

            assert side.rests
            assert run._until_next_claim() is None
        assert not side.report.drained
        assert fresh(spent).state == State.PENDING

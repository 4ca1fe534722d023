"""A row that another transaction has locked holds up neither its neighbours nor the worker."""

from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection, connections

from genesys_eventbridge import conf, db, operations, relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor, bulk
from genesys_eventbridge.outbox import expiry, followers
from genesys_eventbridge.outbox.decide import decide
from genesys_eventbridge.outbox.followers import Locked, release
from genesys_eventbridge.outbox.settle import Settled, settle, take_late_answer
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.relay import batch
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import claim, ended, event, fresh, in_threads
from tests.scripted import ScriptedPlatform

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks"),
]


@contextmanager
def locked(*rows, wait=""):
    """These rows, by a transaction of another connection, as business code may hold them for long."""
    other = connections["default"].copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            ids = ", ".join(str(row.pk) for row in rows)
            table = "genesys_eventbridge_outboxevent"
            cursor.execute(f"SELECT id FROM {table} WHERE id IN ({ids}) FOR UPDATE {wait}")
        yield other
    finally:
        other.rollback()  # at the server a closed connection ends a moment later
        other.close()


@contextmanager
def referred_to(row):
    """A row that a transaction's insert refers to: that lock keeps nobody from writing it."""
    other = connections["default"].copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO genesys_eventbridge_eventact "
                "(event_id, act, username, via, from_state, to_state, reason, at)"
                f" VALUES ({row.pk}, 'retry', '', 'tests', 'pending', 'pending', '', '2026-01-02 00:00:00')"
            )
        yield
    finally:
        other.rollback()  # at the server a closed connection ends a moment later
        other.close()


def settled(row):
    outcome = Outcome(Verdict.ACCEPTED, status_code=202, remote_id=f"evt-{row.id}")
    return decide(row, outcome, conf.destination())


def test_the_others_of_a_group_are_written_and_the_locked_one_later():
    rows = [event() for _ in range(3)]
    group = [settled(row) for row in claim().rows]

    with locked(rows[1]):
        first = settle(group)
    second = settle(group[1:2])

    assert (first.won, first.locked) == ({rows[0].pk, rows[2].pk}, {rows[1].pk})
    assert second.won == {rows[1].pk}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="MariaDB locks the row")
def test_a_row_that_an_insert_refers_to_is_not_locked():
    row = event()
    group = [settled(claimed) for claimed in claim().rows]

    with referred_to(row):
        assert settle(group).won == {row.pk}


def test_a_locked_follower_holds_up_its_own_head_alone():
    head, follower, other = event(ordering_key="k"), event(ordering_key="k"), event()
    group = [settled(row) for row in claim().rows]

    with locked(follower):
        first = settle(group)
        assert fresh(head).state == State.PENDING
    second = settle([row for row in group if row.id in first.locked])

    assert (first.won, first.locked) == ({other.pk}, {head.pk})
    assert second.won == {head.pk}
    assert list(OutboxEvent.objects.due().filter(state=State.PENDING)) == [follower]


def test_a_pass_writes_the_outcome_of_a_locked_row_when_the_lock_ends(monkeypatch):
    rows = [event() for _ in range(5)]
    lock = locked(rows[2])
    found: list[Settled] = []

    def seen(outcomes, **keywords):
        if not found:
            lock.__enter__()
        found.append(settle(outcomes, **keywords))
        if len(found) == 1:
            lock.__exit__(None, None, None)
        return found[-1]

    monkeypatch.setattr(batch, "settle", seen)
    report = relay.publish_due(transport=ScriptedPlatform(202).transport)

    assert rows[2].pk in found[0].locked
    assert report.states["accepted"] == 5
    assert report.lost == 0
    assert {fresh(row).state for row in rows} == {State.ACCEPTED}


def test_a_pass_that_ends_leaves_a_locked_row_to_its_lease(monkeypatch):
    row, other = event(), event()
    lock = locked(row)

    def seen(outcomes, **keywords):
        if row.pk in {outcome.id for outcome in outcomes} and not held:
            held.append(lock.__enter__())
        return settle(outcomes, **keywords)

    held: list[object] = []
    monkeypatch.setattr(batch, "settle", seen)
    relay.publish_due(transport=ScriptedPlatform(202).transport, max_seconds=1.0)
    lock.__exit__(None, None, None)

    assert (fresh(row).state, fresh(other).state) == (State.PENDING, State.ACCEPTED)


def test_what_an_act_decides_on_does_not_change_before_it_is_written(monkeypatch):
    """A worker could bring a late answer, or another operator act, between the two."""
    row = event(row=ended(State.DEAD, Reason.REJECTED))
    update, others = bulk._update, []

    def seen(*arguments):
        try:
            with locked(row, wait="NOWAIT"):
                others.append("had the row")
        except OperationalError:
            others.append("must wait")
        return update(*arguments)

    monkeypatch.setattr(bulk, "_update", seen)

    assert operations.requeue([row.pk], Actor("tests", name="Ada"), reason="again").ids == [row.pk]
    assert others == ["must wait"]


def test_a_late_answer_waits_for_no_lock():
    row = event()
    (stale,) = claim().rows
    OutboxEvent.objects.update(**ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))

    with locked(row), pytest.raises(Locked):
        take_late_answer(settled(stale))
    assert take_late_answer(settled(stale))


def test_ends_without_a_request_pass_by_a_locked_row():
    rows = [event(row={"attempts": 1, "in_doubt_since": DatabaseNow(-30 * 3600)}) for _ in range(2)]

    with locked(rows[0]):
        assert expiry.expire(conf.destination()) == {State.UNRESOLVED.value: 1}
    assert expiry.expire(conf.destination()) == {State.UNRESOLVED.value: 1}


def test_a_follower_is_not_put_aside_while_a_worker_settles_what_it_waits_for():
    """Else its release would come before it was held, and it would wait for a day."""
    head, follower = event(ordering_key="k"), event(ordering_key="k")
    OutboxEvent.objects.filter(pk=head.pk).update(due_at=DatabaseNow(60))

    with locked(head):
        assert not claim().moved
        assert followers_due() == [follower]
    assert claim().moved
    assert followers_due() == []


def test_what_is_held_is_released_whoever_leaves_its_key_at_the_same_moment(monkeypatch):
    """The head and the next event leave at once: neither would see that the other has left."""
    event(ordering_key="k")
    group = [settled(row) for row in claim().rows]
    cancelled = event(ordering_key="k", delay=600)
    waiting, found = [], []

    def released(*arguments, **keywords):
        release(*arguments, **keywords)  # there is nothing to release yet
        waiting.extend(in_threads(1, lambda: event(ordering_key="k")))
        assert in_threads(1, lambda: claim().moved) == [True]
        found.extend(in_threads(1, lambda: settle(group)))

    monkeypatch.setattr(bulk, "release", released)
    operations.cancel([cancelled.pk], Actor("tests", name="Ada"), "withdrawn")
    found.append(settle(group))

    assert [(each.won, each.locked) for each in found] == [(set(), {group[0].id}), ({group[0].id}, set())]
    assert followers_due() == waiting


def test_an_operator_looks_again_if_what_is_behind_has_left_meanwhile(monkeypatch):
    head = event(ordering_key="k", delay=600)
    later = event(ordering_key="k", delay=600)
    follower = event(ordering_key="k")
    assert claim().moved
    looks: list[object] = []

    def seen(rows):
        if not looks:  # its own release found nothing held yet
            others = OutboxEvent.objects.filter(pk=later.pk)
            in_threads(
                1, lambda: others.update(**ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()))
            )
        looks.append(rows)
        return db.locked(rows)

    monkeypatch.setattr(followers, "locked", seen)
    operations.cancel([head.pk], Actor("tests", name="Ada"), "withdrawn")

    assert len(looks) == 2
    assert followers_due() == [follower]


def test_a_locked_follower_is_met_again_and_stops_no_claim():
    event(ordering_key="k", delay=600)
    follower, other = event(ordering_key="k"), event()

    with locked(follower):
        assert [row.id for row in claim().rows] == [other.pk]
    assert not fresh(follower).key_held


def followers_due():
    return list(OutboxEvent.objects.due().exclude(ordering_key=""))

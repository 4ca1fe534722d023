"""The settle: guarded by the token, grouped, and never stopped by one bad row."""

import logging
import uuid
from dataclasses import replace

import pytest
from django.db import connection

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.outbox import settle as settlements
from genesys_eventbridge.outbox.decide import decide, released
from genesys_eventbridge.outbox.decide import settled as unchanged
from genesys_eventbridge.outbox.settle import Attempt, settle, take_late_answer
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.states import AttemptKind, Reason, State
from tests.outbox_rows import CHECK, accepted, claim, ended, event, fresh, seconds_between

pytestmark = pytest.mark.django_db

OK = Outcome(Verdict.ACCEPTED, status_code=202, remote_id="evt-1", correlation_id="c-1")
NO = Outcome(Verdict.REJECTED, status_code=400, error="400: type is not registered")
HOUR = 3600.0
BUSY = Outcome(Verdict.UNKNOWN, status_code=503, error="503")


def settled(row, outcome=OK, **changes):
    """Each row accepted gets an id of its own, as a platform gives it."""
    if outcome is OK:
        outcome = replace(OK, remote_id=f"evt-{row.id}")
    return replace(decide(row, outcome, conf.destination()), **changes)


def attempt(row, **columns):
    return Attempt(
        **{
            "event_id": row.id,
            "kind": AttemptKind.PUBLISH,
            "started_at": row.claimed_at,
            "duration": 0.25,
            "verdict": Verdict.ACCEPTED,
            **columns,
        }
    )


def write(*rows):
    return settle(rows).won


def test_an_accepted_row_carries_its_proof_and_its_next_check():
    event()
    (row,) = claim().rows

    assert write(settled(row)) == {row.id}

    now = fresh(row)
    assert (now.state, now.remote_id, now.correlation_id) == (State.ACCEPTED, f"evt-{row.id}", "c-1")
    assert (now.claim_token, now.in_doubt_since, now.last_status_code) == (None, None, 202)
    assert now.accepted_at is not None
    assert 1 < seconds_between(now.accepted_at, now.due_at) < 3


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "finished"),
    [
        (replace(OK, final=Verdict.DELIVERED), State.DELIVERED, "", True),
        (NO, State.DEAD, Reason.REJECTED, False),
        (Outcome(Verdict.ACCEPTED), State.UNRESOLVED, Reason.UNTRACKED, False),
    ],
)
def test_a_row_that_is_not_open_has_no_next_step_and_no_token(outcome, state, reason, finished):
    event()
    (row,) = claim().rows

    write(settled(row, outcome))

    now = fresh(row)
    assert (now.state, now.reason, now.due_at, now.claim_token) == (state, reason, None, None)
    assert (now.finished_at is not None) is finished


def test_an_unknown_outcome_keeps_the_doubt_that_the_claim_noted():
    event()
    (row,) = claim().rows
    doubt = fresh(row).in_doubt_since

    write(settled(row, BUSY))

    now = fresh(row)
    assert (now.state, now.in_doubt_since, now.attempts) == (State.PENDING, doubt, 1)
    assert seconds_between(now.in_doubt_since, now.due_at) > 0


@pytest.mark.parametrize("outcome", [OK, Outcome(Verdict.ACCEPTED)], ids=["accepted", "untracked"])
def test_an_acceptance_remembers_since_when_the_platform_may_know_the_key(outcome):
    """G7: an earlier try may be the one that was taken, and the platform counts from that one."""
    before = event(row={"in_doubt_since": DatabaseNow(-20 * HOUR), "attempts": 3})
    (row,) = claim().rows

    write(settled(row, outcome))

    now = fresh(row)
    assert (now.in_doubt_since, now.key_known_since) == (None, before.in_doubt_since)
    assert seconds_between(now.key_known_since, now.accepted_at) > 19 * HOUR


def test_an_acceptance_written_by_a_worker_that_was_frozen_remembers_the_time_of_its_claim():
    """G7: nobody else came by, so its token still holds; the platform took the event long ago."""
    event()
    (row,) = claim().rows
    claimed = fresh(row).in_doubt_since

    with shifted(8 * 24 * HOUR):
        assert write(settled(row)) == {row.id}

    now = fresh(row)
    assert (now.state, now.key_known_since) == (State.ACCEPTED, claimed)


def test_only_an_acceptance_says_that_the_platform_may_know_the_key():
    event()
    (row,) = claim().rows

    write(settled(row, BUSY))

    assert fresh(row).key_known_since is None


def test_a_second_acceptance_under_the_same_key_counts_from_the_first():
    before = event(row={"key_known_since": DatabaseNow(-20 * HOUR), "attempts": 3})
    (row,) = claim().rows

    write(settled(row))

    assert fresh(row).key_known_since == before.key_known_since


def test_a_row_not_begun_goes_back_as_it_was_before_the_claim():
    before = event(row={"in_doubt_since": DatabaseNow(-60), "attempts": 3, "last_error": "503"})
    (row,) = claim().rows

    write(released(row))

    now = fresh(row)
    assert (now.attempts, now.in_doubt_since, now.last_error) == (3, before.in_doubt_since, "503")
    assert now.claim_token is None
    assert OutboxEvent.objects.due().exists()


def test_a_lost_claim_changes_nothing(caplog):
    """Fault 11: a stale write is refused by its token, and logged."""
    event()
    (stale,) = claim().rows
    with shifted(61):
        (holder,) = claim().rows
    before = OutboxEvent.objects.values().get()

    with caplog.at_level(logging.WARNING):
        won = write(settled(stale, attempt=attempt(stale)))

    assert won == set()
    assert OutboxEvent.objects.values().get() == before
    assert not DeliveryAttempt.objects.exists()
    assert "Claim lost" in caplog.text
    assert write(settled(holder)) == {holder.id}


@pytest.mark.parametrize("state", [State.DELIVERED, State.CANCELLED, State.DEAD])
def test_a_row_that_left_its_state_is_not_written(state):
    event()
    (row,) = claim().rows
    reason = "" if state is State.DELIVERED else Reason.OPERATOR
    finished = None if state is State.DEAD else DatabaseNow()
    OutboxEvent.objects.update(**ended(state, reason, finished_at=finished))

    assert write(settled(row)) == set()
    assert fresh(row).state == state


def test_one_lost_claim_in_a_group_does_not_cost_the_others_theirs():
    for _ in range(3):
        event()
    rows = claim().rows
    OutboxEvent.objects.filter(pk=rows[1].id).update(claim_token=uuid.uuid4())

    won = write(*(settled(row, attempt=attempt(row)) for row in rows))

    assert won == {rows[0].id, rows[2].id}
    assert set(DeliveryAttempt.objects.values_list("event_id", flat=True)) == won
    assert fresh(rows[1]).state == State.PENDING


def test_one_row_that_the_database_refuses_does_not_stop_the_others(caplog):
    for _ in range(3):
        event()
    rows = claim().rows
    bad = settled(rows[1], reason="no such reason")

    won = write(settled(rows[0]), bad, settled(rows[2]))

    assert won == {rows[0].id, rows[2].id}
    assert fresh(rows[1]).claim_token == rows[1].token
    assert f"event {rows[1].id}" in caplog.text


def test_rows_of_a_group_may_end_in_different_states():
    for _ in range(4):
        event()
    a, b, c, d = claim().rows

    won = write(settled(a), settled(b, NO), settled(c, BUSY), released(d))

    assert len(won) == 4
    states = [fresh(row).state for row in (a, b, c, d)]
    assert states == [State.ACCEPTED, State.DEAD, State.PENDING, State.PENDING]


def test_nothing_to_write_costs_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert write() == set()


@pytest.mark.parametrize(
    "text", ["it's", 'a "quoted" %s thing', "100 %", "back\\slash", "\U0001f600 € é", "?", "{}"]
)
def test_texts_are_written_as_they_are(text):
    event()
    (row,) = claim().rows

    write(settled(row, replace(NO, error=text, correlation_id=text)))

    assert (fresh(row).last_error, fresh(row).correlation_id) == (text, text)


def test_a_delivered_check_ends_the_row():
    accepted()
    (row,) = claim(CHECK).rows

    write(settled(row, Outcome(Verdict.DELIVERED, status_code=200)))

    now = fresh(row)
    assert (now.state, now.due_at) == (State.DELIVERED, None)
    assert now.finished_at is not None


def test_the_time_of_acceptance_is_written_once():
    first = accepted(accepted_at=DatabaseNow(-500))
    (row,) = claim(CHECK).rows

    write(replace(unchanged(row), due_in=5.0, accepted=True))

    assert fresh(first).accepted_at == first.accepted_at


class TestTheLog:
    def test_attempts_are_numbered_in_the_order_they_were_logged(self):
        event()
        for number in (1, 2, 3):
            with shifted(10_000 * number):
                (row,) = claim().rows
                write(settled(row, BUSY, attempt=attempt(row, verdict=Verdict.UNKNOWN)))

        log = DeliveryAttempt.objects.order_by("number")
        assert [entry.number for entry in log] == [1, 2, 3]

    def test_an_attempt_has_the_facts_of_its_request(self):
        event()
        (row,) = claim().rows

        write(
            settled(
                row,
                attempt=attempt(row, status_code=202, correlation_id="c-1", worker="host:1", retry_after=3.5),
            )
        )

        entry = DeliveryAttempt.objects.get()
        assert (entry.event_id, entry.kind, entry.verdict) == (row.id, "publish", "accepted")
        assert (entry.status_code, entry.duration, entry.worker, entry.retry_after) == (
            202,
            0.25,
            "host:1",
            3.5,
        )

    def test_a_row_released_leaves_no_trace_in_the_log(self):
        event()
        (row,) = claim().rows

        write(released(row))

        assert not DeliveryAttempt.objects.exists()


class TestFollowers:
    def follower_behind(self, **row):
        head = event(ordering_key="k", row=row)
        follower = event(ordering_key="k")
        (claimed,) = claim().rows
        assert claimed.id == head.pk
        assert not OutboxEvent.objects.due().exists()
        return claimed, follower

    def test_settling_a_head_makes_the_next_of_its_key_due_now(self):
        head, follower = self.follower_behind()

        write(settled(head))

        assert list(OutboxEvent.objects.due()) == [follower]

    def test_a_retried_head_keeps_its_followers_waiting(self):
        head, _follower = self.follower_behind()

        write(settled(head, BUSY))

        assert not OutboxEvent.objects.due().exists()

    def test_a_dead_head_that_holds_its_key_wakes_nobody(self):
        head, _follower = self.follower_behind()

        write(settled(head, NO))

        assert not OutboxEvent.objects.due().exists()

    def test_a_dead_head_that_does_not_hold_its_key_wakes_the_next(self, settings):
        own = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**own, "BLOCK_KEY_ON_DEAD": False}}
        head, follower = self.follower_behind()

        write(settled(head, NO))

        assert list(OutboxEvent.objects.due()) == [follower]

    @pytest.mark.parametrize("verdict", [Verdict.NOT_YET, Verdict.DELIVERED, Verdict.FAILED])
    def test_a_check_wakes_nobody(self, verdict):
        """The event left its key when it was accepted; what is held now waits for another one."""
        event(ordering_key="k", delay=600)
        accepted(ordering_key="k")
        held = event(ordering_key="k", row={"key_held": True, "due_at": DatabaseNow(86400)})
        (row,) = claim(CHECK).rows

        write(settled(row, Outcome(verdict, status_code=200)))

        assert (fresh(held).key_held, fresh(held).due_at) == (True, held.due_at)

    def test_a_delay_that_was_asked_for_is_kept(self):
        event(ordering_key="k")
        event(ordering_key="k", delay=30)
        (head,) = claim().rows

        write(settled(head))

        assert not OutboxEvent.objects.due().exists()

    def test_only_the_next_one_is_woken(self):
        head, follower = self.follower_behind()
        event(ordering_key="k")
        claim()

        write(settled(head))

        assert list(OutboxEvent.objects.due()) == [follower]


@pytest.mark.django_db(transaction=True)
def test_a_group_costs_a_fixed_number_of_statements(django_assert_max_num_queries):
    for _ in range(40):
        event()
    rows = [settled(row, attempt=attempt(row)) for row in claim().rows]
    # PostgreSQL: one UPDATE; elsewhere one executemany, which counts once a row on MariaDB only
    most = 6 if connection.vendor != "mysql" else 46

    with django_assert_max_num_queries(most):
        assert len(write(*rows)) == 40


@pytest.mark.django_db(transaction=True)
def test_a_settle_is_all_or_nothing_when_its_commit_fails(monkeypatch):
    """Crash point G: no half-written state."""
    event()
    (row,) = claim().rows

    def crash(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(settlements, "write_log", crash)
    with pytest.raises(KeyboardInterrupt):
        write(settled(row))

    now = fresh(row)
    assert (now.state, now.claim_token) == (State.PENDING, row.token)


class TestLateAnswers:
    def late(self, state, reason, **row):
        event()
        (stale,) = claim().rows
        OutboxEvent.objects.update(**ended(state, reason, **row))
        return stale

    def test_an_unresolved_row_takes_the_platforms_id_and_is_asked_about(self):
        """Fault 11: the only write without a token."""
        stale = self.late(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, in_doubt_since=DatabaseNow(-HOUR))
        doubt = fresh(stale).in_doubt_since

        assert write(settled(stale)) == set()
        assert take_late_answer(settled(stale))

        now = fresh(stale)
        assert (now.state, now.reason, now.remote_id) == (State.ACCEPTED, "", f"evt-{stale.id}")
        assert now.in_doubt_since is None
        assert now.key_known_since == doubt is not None
        assert OutboxEvent.objects.due().exists()

    def test_an_answer_that_needs_no_check_is_the_end(self):
        """By a protocol without a status request nobody could ever check it."""
        stale = self.late(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, in_doubt_since=DatabaseNow(-HOUR))

        assert take_late_answer(settled(stale, state=State.DELIVERED))

        now = fresh(stale)
        assert (now.state, now.reason, now.due_at, now.in_doubt_since) == (State.DELIVERED, "", None, None)
        assert now.finished_at is not None

    def test_its_key_is_free_for_the_next(self):
        head, follower = event(ordering_key="k"), event(ordering_key="k")
        (stale,) = claim().rows
        OutboxEvent.objects.filter(pk=head.pk).update(**ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))
        claim()
        assert fresh(follower).key_held

        assert take_late_answer(settled(stale))

        assert not fresh(follower).key_held
        assert OutboxEvent.objects.due().filter(pk=follower.pk).exists()

    def test_what_was_known_of_an_earlier_acceptance_stays(self):
        """An untracked event has no doubt any more; its key is known since its acceptance."""
        before = {"accepted_at": DatabaseNow(-30 * HOUR), "key_known_since": DatabaseNow(-31 * HOUR)}
        stale = self.late(State.UNRESOLVED, Reason.UNTRACKED, in_doubt_since=None, **before)
        known = OutboxEvent.objects.values_list("accepted_at", "key_known_since").get()

        assert take_late_answer(settled(stale))

        assert OutboxEvent.objects.values_list("accepted_at", "key_known_since").get() == known

    def test_an_id_that_proves_another_event_is_no_late_proof(self):
        stale = self.late(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, in_doubt_since=DatabaseNow(-HOUR))
        other = event()
        (held,) = claim().rows
        assert write(settled(held, remote_id="evt-twice")) == {other.pk}

        assert not take_late_answer(settled(stale, remote_id="evt-twice"))
        assert fresh(stale).state == State.UNRESOLVED

    @pytest.mark.parametrize(
        ("state", "reason", "row"),
        [
            (State.DEAD, Reason.REJECTED, {}),
            (State.CANCELLED, Reason.OPERATOR, {"finished_at": DatabaseNow()}),
            (State.DELIVERED, "", {"finished_at": DatabaseNow()}),
            (State.UNRESOLVED, Reason.UNCONFIRMED, {"remote_id": "evt-0"}),
        ],
    )
    def test_no_other_row_takes_a_late_answer(self, state, reason, row):
        stale = self.late(state, reason, **row)
        before = OutboxEvent.objects.values().get()

        assert not take_late_answer(settled(stale))
        assert OutboxEvent.objects.values().get() == before

    def test_a_row_that_another_worker_holds_takes_no_late_answer(self):
        event()
        (stale,) = claim().rows
        with shifted(61):
            claim()

            assert not take_late_answer(settled(stale))

    def test_an_answer_without_an_id_is_no_news(self):
        stale = self.late(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)

        assert not take_late_answer(settled(stale, Outcome(Verdict.ACCEPTED)))

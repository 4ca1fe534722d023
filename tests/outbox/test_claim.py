"""The claim: who gets which row, on every database."""

import threading
import uuid
from contextlib import ExitStack

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from genesys_eventbridge import conf
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import expiry
from genesys_eventbridge.outbox.decide import decide, released
from genesys_eventbridge.outbox.settle import settle
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import (
    CHECK,
    accepted,
    claim,
    ended,
    event,
    fresh,
    in_threads,
    seconds_between,
    settings_with,
)

pytestmark = pytest.mark.django_db

HOUR = 3600.0


def ids(batch):
    return [row.id for row in batch.rows]


def accepted_as(row):
    return Outcome(Verdict.ACCEPTED, status_code=202, remote_id=f"evt-{row.id}")


def test_a_claim_stamps_token_lease_attempt_and_doubt_before_anything_is_sent():
    row = event()

    (got,) = claim().rows

    now = fresh(row)
    assert now.claim_token == got.token
    assert now.attempts == got.attempts == 1
    assert now.state == State.PENDING
    assert now.in_doubt_since is not None
    assert 55 < seconds_between(now.in_doubt_since, now.due_at) <= 61


def test_a_claim_brings_the_exact_bytes_and_the_key_of_the_row():
    row = event(data={"é": "€"})

    (got,) = claim().rows

    assert (got.body, got.key) == (row.body, str(row.idempotency_key))


def test_a_raised_epoch_changes_the_key_on_the_wire_and_nothing_else():
    row = event(row={"key_epoch": 2})

    (got,) = claim().rows

    assert got.key == str(uuid.uuid5(row.idempotency_key, "2"))
    assert fresh(row).idempotency_key == row.idempotency_key


def test_a_claimed_row_is_nobody_elses():
    event()
    claim()

    assert claim().rows == []


def test_rows_go_in_the_order_they_became_due():
    late = event(row={"due_at": DatabaseNow(-10)})
    early = event(row={"due_at": DatabaseNow(-20)})
    later = event(row={"due_at": DatabaseNow(-5)})

    assert ids(claim()) == [early.pk, late.pk, later.pk]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_claim_takes_no_more_than_asked(limit):
    for _ in range(6):
        event()

    assert len(claim(limit=limit).rows) == limit


def test_a_delayed_event_is_not_due_before_its_time():
    row = event(delay=60)

    assert claim().rows == []
    with shifted(61):
        assert ids(claim()) == [row.pk]


@pytest.mark.parametrize(
    "state", [State.ACCEPTED, State.DELIVERED, State.DEAD, State.UNRESOLVED, State.CANCELLED]
)
def test_only_pending_rows_are_published(state):
    if state is State.ACCEPTED:
        accepted()
    else:
        finished = {"finished_at": DatabaseNow()} if state in (State.DELIVERED, State.CANCELLED) else {}
        reason = "" if state is State.DELIVERED else Reason.REJECTED
        event(row=ended(state, reason, **finished))

    assert claim().rows == []


def test_another_destinations_rows_are_not_touched(settings):
    from django.conf import settings as current

    both = {**current.GENESYS_EVENTBRIDGE, "other": current.GENESYS_EVENTBRIDGE["default"]}
    settings.GENESYS_EVENTBRIDGE = both
    row = event(destination="other")

    assert claim().rows == []
    assert fresh(row).attempts == 0


def test_a_check_is_counted_as_a_check_and_raises_no_doubt():
    row = accepted()

    (got,) = claim(CHECK).rows

    now = fresh(row)
    assert (now.checks, now.attempts, now.in_doubt_since) == (1, 0, None)
    assert (got.remote_id, got.checks) == (row.remote_id, 1)
    assert got.accepted_age is not None


class TestLeases:
    def test_a_lease_that_ran_out_makes_the_row_due_again_and_counts_the_lost_try(self):
        row = event()
        (lost,) = claim().rows

        with shifted(61):
            (got,) = claim().rows

        assert got.id == row.pk
        assert got.token != lost.token
        assert got.attempts == 2

    def test_a_row_whose_claim_lapsed_stays_in_doubt_since_its_first_try(self):
        row = event()
        claim()
        doubt = fresh(row).in_doubt_since

        with shifted(61):
            (got,) = claim().rows

        assert got.doubt_before == doubt
        assert fresh(row).in_doubt_since == doubt

    def test_rows_of_a_dead_worker_go_beside_others_and_leave_them_room(self):
        lapsed = [event() for _ in range(3)]
        claim()
        other = event(row={"due_at": DatabaseNow(60.9)})

        with shifted(61):
            assert ids(claim(lapsed=2)) == [lapsed[0].pk, lapsed[1].pk, other.pk]

    def test_only_a_row_that_lapsed_twice_in_a_row_is_a_suspect(self):
        """G11: what kills its worker charges its neighbours twice and then goes one at a time."""
        rows = [event() for _ in range(2)]
        claim()
        with shifted(61):
            first = claim(suspects=0)
        with shifted(122):
            second = claim(suspects=1)

        assert ids(first) == [row.pk for row in rows]
        assert not any(row.suspect for row in first.rows)
        assert ids(second) == [rows[0].pk]
        assert second.rows[0].suspect

    def test_what_kills_each_worker_that_sends_it_ends_and_charges_no_neighbour_more_than_twice(self):
        """A worker dies with all that it holds; the next one begins a lease later, beside fresh events."""
        settings = settings_with(max_attempts=6)
        poison = event()
        neighbours = [event() for _ in range(30)]
        ended: list[int] = []
        for round_ in range(12):
            with shifted(61 * round_):
                neighbours += [event() for _ in range(5)]
                while True:
                    batch = claim(settings=settings)
                    ended += batch.ended
                    if batch.ended:
                        expiry.end(settings, batch.ended)
                    if not batch.rows or poison.pk in ids(batch):
                        break
                    settle([decide(row, accepted_as(row), settings) for row in batch.rows])

        assert ended == [poison.pk]
        assert fresh(poison).state == State.UNRESOLVED
        assert {fresh(row).state for row in neighbours} == {State.ACCEPTED}
        # One claim of each is its own; the others are those that the poison took with it.
        assert max(fresh(row).attempts for row in neighbours) <= 1 + 2

    def test_a_settle_between_two_lapses_clears_the_suspicion(self):
        row = event()
        claim()
        with shifted(61):
            (got,) = claim().rows
            settle([released(got)])
            claim()
        with shifted(122):
            (again,) = claim(suspects=0).rows

        assert (again.id, again.lapsed, again.suspect) == (row.pk, True, False)

    @pytest.mark.parametrize("room", [0, -1])
    def test_where_no_lapsed_row_may_go_it_is_worth_to_look_again_soon(self, room):
        event()
        claim()

        with shifted(61):
            batch = claim(lapsed=room)

        assert (batch.rows, 0 < batch.wait < 1) == ([], True)

    def test_rows_of_many_dead_workers_hide_no_other_row(self):
        for _ in range(9):
            event(row={"claim_token": uuid.uuid4(), "attempts": 1, "in_doubt_since": DatabaseNow(-70)})
        other = event()

        assert other.pk in ids(claim(limit=2, lapsed=1))

    def test_a_row_with_its_attempts_used_up_is_not_sent_again(self):
        row = event(row={"attempts": 12})

        batch = claim()

        assert (batch.rows, batch.ended) == ([], [row.pk])


class TestTheWindow:
    def test_a_doubtful_row_is_claimed_while_its_window_outlasts_the_lease(self):
        row = event(row={"in_doubt_since": DatabaseNow(-22 * HOUR), "attempts": 1})

        (got,) = claim().rows

        assert got.id == row.pk
        assert HOUR - 5 <= got.doubt_left <= HOUR

    def test_no_row_is_claimed_whose_window_could_close_within_the_lease(self):
        """Not by a worker that claims and then sleeps either: it may send for a lease at most."""
        row = event(row={"in_doubt_since": DatabaseNow(-23 * HOUR + 59), "attempts": 1})

        batch = claim()

        assert batch.rows == []
        assert batch.moved
        assert fresh(row).attempts == 1
        with shifted(55):
            assert not OutboxEvent.objects.due().exists()
        with shifted(60):
            assert OutboxEvent.objects.due().exists()

    def test_a_row_past_its_window_is_never_claimed(self):
        row = event(row={"in_doubt_since": DatabaseNow(-23 * HOUR - 1), "attempts": 1})

        assert claim().rows == []
        assert fresh(row).attempts == 1


class TestAFrozenWorker:
    """Frozen after it saw that a row may go, and before it claims it: the row may not go any more."""

    @pytest.fixture
    def meanwhile(self, monkeypatch):
        """``meanwhile(work)``: call ``work()`` between the look and the claim."""
        original = claims._within

        def meanwhile(work):
            def within(*arguments):
                work()
                return original(*arguments)

            monkeypatch.setattr(claims, "_within", within)

        return meanwhile

    def test_claims_no_row_whose_window_is_closing(self, meanwhile):
        row = event(row={"in_doubt_since": DatabaseNow(-22 * HOUR), "attempts": 1})
        with ExitStack() as later:
            meanwhile(lambda: later.enter_context(shifted(HOUR - 59)))

            assert claim().rows == []

        assert fresh(row).attempts == 1

    def test_that_has_locked_its_rows_claims_none_of_them(self, monkeypatch):
        """The window of one closes: the others wait for the next claim."""
        write = claims._with_token
        closing = event(row={"in_doubt_since": DatabaseNow(-22 * HOUR), "attempts": 1})
        other = event()
        with ExitStack() as later:

            def thawed(*arguments):
                monkeypatch.undo()
                later.enter_context(shifted(HOUR - 59))
                return write(*arguments)

            monkeypatch.setattr(claims, "_with_token", thawed)

            assert claim().rows == []

            assert (fresh(closing).attempts, fresh(other).attempts) == (1, 0)
            assert ids(claim()) == [other.pk]

    def test_claims_a_row_whose_window_outlasts_the_lease(self, meanwhile):
        row = event(row={"in_doubt_since": DatabaseNow(-22 * HOUR), "attempts": 1})
        with ExitStack() as later:
            meanwhile(lambda: later.enter_context(shifted(HOUR - 65)))

            assert ids(claim()) == [row.pk]

    def test_claims_no_row_whose_attempts_are_used_up(self, meanwhile):
        row = event(row={"attempts": 11})
        meanwhile(lambda: OutboxEvent.objects.update(attempts=12))

        assert claim().rows == []
        assert fresh(row).attempts == 12

    @pytest.mark.parametrize("lapses", [None, 0], ids=["first lapse", "second lapse"])
    def test_claims_no_row_that_lapsed_since_it_was_seen(self, meanwhile, lapses):
        """It was not counted against the limits for rows of dead workers (G11)."""
        doubt = {"attempts": 1, "in_doubt_since": DatabaseNow(-100)}
        row = event(row={**doubt, "claim_token": None if lapses is None else uuid.uuid4(), "lapses": lapses})
        later = {"claim_token": uuid.uuid4(), "lapses": 0 if lapses is None else 1}
        meanwhile(lambda: OutboxEvent.objects.update(**later))

        assert claim().rows == []
        assert fresh(row).claim_token == later["claim_token"]


class TestOrderingKeys:
    def test_one_event_of_a_key_goes_at_a_time(self):
        first = event(ordering_key="ORD-7")
        event(ordering_key="ORD-7")
        other = event(ordering_key="ORD-8")

        assert ids(claim()) == [first.pk, other.pk]

    def test_keys_that_differ_in_case_or_a_trailing_space_are_different_keys(self):
        rows = [event(ordering_key=key) for key in ("a", "A", "a ")]

        assert ids(claim()) == [row.pk for row in rows]

    def test_events_without_a_key_never_wait_for_each_other(self):
        rows = [event() for _ in range(3)]

        assert ids(claim()) == [row.pk for row in rows]

    def test_the_same_key_at_another_destination_is_another_key(self, settings):
        from django.conf import settings as current

        both = {**current.GENESYS_EVENTBRIDGE, "other": current.GENESYS_EVENTBRIDGE["default"]}
        settings.GENESYS_EVENTBRIDGE = both
        event(ordering_key="k", destination="other")
        row = event(ordering_key="k")

        assert ids(claim()) == [row.pk]

    def test_a_follower_is_written_once_when_it_is_met(self):
        """Looked at once a lease, 100,000 of one dead event cost 1,937 updates a second, for ever."""
        event(ordering_key="k", row=ended(State.DEAD, Reason.REJECTED))
        follower = event(ordering_key="k")

        batch = claim()
        met = fresh(follower)

        assert (batch.rows, batch.moved, met.key_held) == ([], True, True)
        for seconds in (61, 3600, 6 * 3600):
            with shifted(seconds):
                assert not claim().moved
        assert fresh(follower).due_at == met.due_at

    def test_a_doubtful_follower_that_was_put_aside_ends_when_its_window_closes(self):
        event(ordering_key="k", delay=30 * 86400)
        follower = event(ordering_key="k", row={"attempts": 1, "in_doubt_since": DatabaseNow(-60)})
        claim()
        assert fresh(follower).key_held

        with shifted(23 * HOUR):
            expiry.expire(conf.destination())

        assert fresh(follower).state == State.UNRESOLVED

    def test_a_lapsed_follower_that_has_to_wait_again_stops_nobody(self):
        """A person requeued an earlier event of its key meanwhile; the probe's turn was with tried rows."""
        head = event(
            ordering_key="k", row=ended(State.DEAD, Reason.DELIVERY_FAILED, accepted_at=DatabaseNow())
        )
        follower = event(ordering_key="k")
        assert ids(claim()) == [follower.pk]
        OutboxEvent.objects.filter(pk=head.pk).update(state=State.PENDING, reason="", due_at=DatabaseNow())
        Destination.objects.update(paused_until=DatabaseNow(30))

        with shifted(61):
            assert ids(claim()) == [head.pk]
            assert fresh(follower).claim_token is None
            assert not OutboxEvent.objects.in_flight().filter(pk=follower.pk).exists()

    def test_a_delayed_head_holds_its_key(self):
        event(ordering_key="k", delay=600)
        event(ordering_key="k")

        assert claim().rows == []

    @pytest.mark.parametrize("blocks", [True, False])
    @pytest.mark.parametrize("state", [State.DEAD, State.UNRESOLVED])
    def test_a_dead_or_unresolved_head_holds_its_key_if_so_set(self, settings, state, blocks):
        settings.GENESYS_EVENTBRIDGE = {
            "default": {**settings.GENESYS_EVENTBRIDGE["default"], "BLOCK_KEY_ON_DEAD": blocks}
        }
        event(ordering_key="k", row=ended(state, Reason.REJECTED))
        follower = event(ordering_key="k")

        assert ids(claim()) == ([] if blocks else [follower.pk])

    def test_a_head_that_was_once_accepted_holds_nobody(self):
        event(ordering_key="k", row=ended(State.DEAD, Reason.DELIVERY_FAILED, accepted_at=DatabaseNow()))
        follower = event(ordering_key="k")

        assert ids(claim()) == [follower.pk]

    @pytest.mark.parametrize("state", [State.DELIVERED, State.CANCELLED])
    def test_a_finished_head_holds_nobody(self, state):
        reason = Reason.OPERATOR if state is State.CANCELLED else ""
        event(ordering_key="k", row=ended(state, reason, finished_at=DatabaseNow()))
        follower = event(ordering_key="k")

        assert ids(claim()) == [follower.pk]

    def test_a_claim_looks_at_a_bounded_number_of_rows(self):
        """However many followers wait, one claim reads four times what it wants and no more."""
        for _ in range(30):
            event(ordering_key="k")
        tail = event()

        first = claim(limit=3)
        assert len(first.rows) == 1
        moved = OutboxEvent.objects.filter(due_at__gt=DatabaseNow(), claim_token=None).count()
        assert moved == 3 * claims.LOOK_AHEAD - 1

        while not (batch := claim(limit=3)).rows:
            assert batch.moved
        assert ids(batch) == [tail.pk]

    def test_blocked_rows_are_visible_as_such(self):
        event(ordering_key="k")
        follower = event(ordering_key="k")
        event()

        assert list(OutboxEvent.objects.blocked()) == [follower]


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    def test_workers_claiming_at_once_never_share_a_row(self):
        """G5, with real connections."""
        for _ in range(60):
            event()
        start = threading.Barrier(4)

        def work():
            start.wait(10)
            return [pk for _ in range(12) for pk in ids(claim(limit=5))]

        won = [pk for part in in_threads(4, work) for pk in part]

        assert len(won) == len(set(won))
        while rest := ids(claim(limit=50)):
            won.extend(rest)
        assert sorted(won) == sorted(OutboxEvent.objects.values_list("id", flat=True))
        assert set(OutboxEvent.objects.values_list("attempts", flat=True)) == {1}

    def test_a_row_that_changed_after_it_was_seen_is_not_claimed(self, monkeypatch):
        """The compare-and-set decides, not the look before it."""
        row, other = event(), event()
        seen = claims._candidates

        def look(*args, **only):
            found = seen(*args, **only)
            OutboxEvent.objects.filter(pk=row.pk).update(due_at=DatabaseNow(60))
            return found

        monkeypatch.setattr(claims, "_candidates", look)

        assert ids(claim()) == [other.pk]
        assert fresh(row).attempts == 0


@pytest.mark.django_db(transaction=True)
def test_a_claim_costs_a_fixed_number_of_statements():
    claim()  # makes the destination's row
    for _ in range(50):
        event(ordering_key="k")
    for _ in range(50):
        event()

    with CaptureQueriesContext(connection) as queries:
        batch = claim()

    statements = [query["sql"].split()[0] for query in queries.captured_queries]
    work = [word for word in statements if word not in {"BEGIN", "COMMIT", "SET", "START"}]
    assert len(batch.rows) == 51
    # The gate, the look, a longer one because some of the first cannot go, the lock and the stamp; and for
    # followers that are met: their keys, what they wait for, both locked, the write. SQLite begins two
    # transactions with a write.
    assert len(work) <= 12


def test_an_idle_claim_costs_two_statements(django_assert_num_queries):
    claim()

    with django_assert_num_queries(2):
        claim()


def test_settings_of_the_claim_are_the_destinations_own():
    row = event()

    claim(settings=settings_with(lease_seconds=500.0))

    with shifted(400):
        assert claim().rows == []
    with shifted(501):
        assert ids(claim()) == [row.pk]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the other databases have statistics")
def test_on_sqlite_a_claim_finds_its_rows_by_their_ids_and_not_among_all_that_are_due():
    """Without statistics SQLite took an equality for ten rows: with a million due a claim took 0.27 s."""
    for _ in range(40):
        event()

    with CaptureQueriesContext(connection) as captured:
        assert len(claim(limit=30).rows) == 30

    by_ids = [query["sql"] for query in captured if '"id" IN (' in query["sql"]]
    assert len(by_ids) == 2  # the rows as they were, and the stamp
    with connection.cursor() as cursor:
        for sql in by_ids:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            assert "INTEGER PRIMARY KEY" in " ".join(row[3] for row in cursor.fetchall())


def test_a_claim_reads_the_due_events_in_the_order_of_their_index():
    """In the SELECT list of PostgreSQL a time is an expression: ordered by it, every due event was sorted."""
    for _ in range(3):
        event()

    with CaptureQueriesContext(connection) as captured:
        assert len(claim().rows) == 3

    blocked, due_at = map(connection.ops.quote_name, ("blocked", "due_at"))
    (look,) = [query["sql"] for query in captured if f"AS {blocked}" in query["sql"]]
    assert look.rpartition("ORDER BY ")[2].split()[0].endswith(f".{due_at}")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {look}")
            steps = " ".join(step for (step,) in cursor.fetchall())
        assert "Index Scan using eventbridge_due" in steps
        assert "Sort" not in steps


def refused_type(kind):
    """Events of this type wait for a turn, and no turn is due."""
    run = Refusals(since=timezone.now(), types=(kind,), seconds=10.0)
    Destination.objects.update(refusals=run.stored(), refused_until=DatabaseNow(60))


def test_a_row_of_a_refused_type_that_was_claimed_since_the_look_keeps_its_claim(monkeypatch):
    """Another worker, whose look was older than the run of refusals, claims it between look and write."""
    claim()  # makes the destination's row
    row, token = event("order.refused"), uuid.uuid4()
    refused_type("order.refused")

    def claimed_elsewhere(alias):
        now = DatabaseNow()
        OutboxEvent.objects.update(claim_token=token, due_at=DatabaseNow(60), in_doubt_since=now)

    monkeypatch.setattr(claims, "first_write", claimed_elsewhere)
    batch = claim()

    assert (batch.rows, batch.moved, fresh(row).claim_token) == ([], False, token)


def test_a_follower_that_was_claimed_since_the_look_keeps_its_claim(monkeypatch):
    """Meanwhile the head ended, another worker claimed the follower, and an operator requeued the head."""
    event(ordering_key="k", row={"due_at": DatabaseNow(60)})
    row, token = event(ordering_key="k"), uuid.uuid4()

    def claimed_elsewhere(alias):
        now = DatabaseNow()
        OutboxEvent.objects.filter(id=row.pk).update(
            claim_token=token, due_at=DatabaseNow(60), in_doubt_since=now
        )

    monkeypatch.setattr(claims, "first_write", claimed_elsewhere)
    batch = claim()

    assert (batch.rows, batch.moved, fresh(row).claim_token) == ([], False, token)


def test_a_claim_ends_what_held_the_row_behind_its_key():
    row = event(ordering_key="k", row={"key_held": True})

    assert ids(claim()) == [row.pk]
    assert fresh(row).key_held is None

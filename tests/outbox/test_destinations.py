"""A destination as all workers share it: pauses, the probe, the rate, the heartbeat."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from genesys_eventbridge.circuit import LATELY_SECONDS, Reply
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from tests.outbox_rows import (
    CHECK,
    PUBLISH,
    accepted,
    claim,
    event,
    fresh,
    in_threads,
    seconds_between,
    settings_with,
)

pytestmark = pytest.mark.django_db

PAGE = Outcome(Verdict.HALTED, halt=Halt.PERMISSION, error="a page", accuses=True)
REFUSED = Outcome(Verdict.REJECTED, status_code=400, error="400: no such schema")


def gate(kind=PUBLISH):
    return destinations.gate(kind, "default", "host:1")


def record(*replies, checking=False, **settings):
    return destinations.record(CHECK if checking else PUBLISH, settings_with(**settings), replies)


def length(recorded):
    """Seconds of the longest pause that the replies began; 0.0 where they began none."""
    return max(((pause.until - recorded.now).total_seconds() for pause in recorded.began), default=0.0)


def halted(kind="network", seconds=None, *, reason="connection refused", checking=False, **settings):
    """What a halted probe means: without a pause before it, the same as any halt."""
    outcome = Outcome(Verdict.HALTED, halt=Halt(kind), error=reason, retry_after=seconds)
    return length(record(Reply(1, outcome, probe=True), checking=checking, **settings))


def succeeded(*, types=("",), cleared=False, checking=False):
    """Whether an acceptance, or a check that found its event, ended the pause."""
    outcome = Outcome(Verdict.NOT_YET, found=True) if checking else Outcome(Verdict.ACCEPTED)
    replies = [Reply(99, outcome, type=kind, halts=int(cleared)) for kind in types]
    return record(*replies, checking=checking).resumed


def ids(batch):
    return [row.id for row in batch.rows]


def closes_in(seconds, event_type="order.created"):
    """An event in doubt that may be sent again for so long."""
    doubt = seconds - settings_with().doubt_seconds
    return event(event_type, row={"attempts": 1, "in_doubt_since": DatabaseNow(doubt)})


@contextmanager
def frozen_before_the_claim(monkeypatch, seconds):
    """A worker that has locked its rows writes the claim so many seconds later."""
    write = claims._with_token
    with ExitStack() as later:

        def thawed(*arguments):
            later.enter_context(shifted(seconds))
            return write(*arguments)

        monkeypatch.setattr(claims, "_with_token", thawed)
        yield


class TestPauses:
    def test_a_destination_is_open_until_there_is_trouble(self):
        assert gate().open

    def test_a_pause_closes_the_gate_for_every_worker_and_says_why(self):
        halted("auth", reason="invalid_client")

        closed = gate()

        assert (closed.open, closed.reason, closed.kind) == (False, "invalid_client", "auth")
        assert 55 < closed.paused_for <= 60

    @pytest.mark.parametrize(
        ("kind", "lengths"),
        [
            ("network", [5, 10, 20, 40, 60, 60]),
            ("auth", [60, 120, 240, 480, 900, 900]),
            ("permission", [60, 120, 240, 480, 900, 900]),
            ("config", [60, 120, 240, 480, 900, 900]),
        ],
    )
    def test_trouble_that_outlasts_its_pause_doubles_it(self, kind, lengths):
        later = 0.0
        for length in lengths:
            with shifted(later):
                assert halted(kind) == length
            later += length + 1

    def test_several_senders_that_meet_the_same_trouble_do_not_double_the_pause(self):
        assert [halted("network") for _ in range(16)] == [5.0] + [0.0] * 15
        assert Destination.objects.get().pause_seconds == 5.0

    def test_the_pause_lengths_for_network_trouble_are_settings(self):
        assert halted("network", pause_base=2.0, pause_cap=3.0) == 2.0

    def test_a_rate_pause_lasts_as_long_as_the_platform_asked(self):
        assert halted("rate", 480.0) == 480.0
        assert 470 < gate().paused_for <= 480

    def test_a_rate_pause_does_not_grow_by_repetition(self):
        halted("rate", 7.0)
        with shifted(8):
            assert halted("rate", 7.0) == 7.0

    def test_a_pause_never_gets_shorter_by_another(self):
        halted("rate", 480.0, reason="slow down")
        halted("network")

        assert gate().paused_for > 470
        assert gate().reason == "slow down"

    def test_a_longer_wait_prolongs_a_shorter_pause(self):
        halted("network")
        halted("rate", 480.0)

        assert gate().paused_for > 470

    def test_a_success_ends_a_network_pause_at_once(self):
        halted("network")

        assert succeeded()
        assert gate().open

    @pytest.mark.parametrize("kind", ["rate", "auth"])
    def test_a_success_ends_no_wait_that_was_asked_for_and_no_refused_login_before_its_time(self, kind):
        halted(kind, 60.0)

        assert not succeeded()
        assert not gate().open
        with shifted(61):
            assert succeeded()

    def test_a_success_makes_the_next_pause_start_short_again(self):
        halted("network")
        with shifted(6):
            halted("network")
            succeeded()
            assert halted("network") == 5.0

    def test_pausing_charges_no_event(self):
        row = event()
        halted("auth")

        assert claim().rows == []
        assert fresh(row).attempts == 0

    def test_a_pause_of_publishing_leaves_checking_alone(self):
        row = accepted()
        halted("network")

        assert ids(claim(CHECK)) == [row.pk]

    def test_a_rate_pause_holds_for_checking_too(self):
        accepted()
        halted("rate", 60.0)

        assert not gate(CHECK).open

    def test_a_pause_of_checking_leaves_publishing_alone(self):
        row = event()
        halted("permission", checking=True)

        assert not gate(CHECK).open
        assert ids(claim()) == [row.pk]
        assert succeeded(checking=True)
        assert gate(CHECK).open

    def test_a_429_on_a_check_pauses_publishing_too(self):
        halted("rate", 60.0, checking=True)

        assert not gate(PUBLISH).open


class TestHolds:
    def test_what_a_person_paused_stays_paused_whatever_succeeds(self):
        gate()
        Destination.objects.update(held_by="ana", held_reason="migration")

        assert not succeeded()
        for kind in (PUBLISH, CHECK):
            closed = gate(kind)
            assert (closed.open, closed.reason, closed.kind) == (False, "migration", "operator")
            assert math.isinf(closed.paused_for)

    def test_a_hold_with_an_end_ends_by_itself(self):
        gate()
        Destination.objects.update(
            held_by="ana", held_reason="migration", held_until=timezone.now() + timedelta(seconds=60)
        )

        assert not gate().open
        with shifted(61):
            assert gate().open


class TestTheProbe:
    def after_a_pause(self):
        halted("network")
        return shifted(6)

    def test_after_a_pause_one_row_goes_alone(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            assert len(claim().rows) == 1

    def test_while_one_worker_probes_the_others_wait(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            claim()

            closed = gate()

            assert not closed.open
            assert 0 < closed.paused_for <= 60

    def test_a_probe_whose_worker_died_is_taken_over(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            claim()
        with shifted(6 + 61):
            assert len(claim().rows) == 1

    def test_two_workers_that_saw_the_gate_open_do_not_both_probe(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            seen = gate()
            assert destinations.take_probe(settings_with())
            assert claims.claim(PUBLISH, settings_with(), seen, claims.Capacity(10)).rows == []

    def test_a_worker_that_saw_the_pause_end_takes_no_probe_where_it_began_again(self):
        event()
        with self.after_a_pause():
            seen = gate()
            halted("rate", 60.0)
            Destination.objects.update(probe_until=None)

            assert claims.claim(PUBLISH, settings_with(), seen, claims.Capacity(10)).rows == []
            assert Destination.objects.get().probe_until is None

    def test_no_turn_is_lost_where_the_probes_row_was_taken_meanwhile(self, monkeypatch):
        """Two workers saw the same row, and the other had it first."""
        row = event()
        with self.after_a_pause():
            look = claims._candidates

            def and_then_it_is_taken(*arguments, **only):
                found = look(*arguments, **only)
                OutboxEvent.objects.filter(pk=row.pk).update(due_at=DatabaseNow(60))
                return found

            monkeypatch.setattr(claims, "_candidates", and_then_it_is_taken)
            assert claim().rows == []

            assert gate().probing

    def test_nor_where_its_window_began_to_close_after_the_lock(self, monkeypatch):
        closes_in(75)
        with self.after_a_pause(), frozen_before_the_claim(monkeypatch, 20):
            assert claim().rows == []

            assert gate().probing

    def test_nor_where_the_rate_grants_no_request(self):
        event()
        slow = settings_with(rate_per_minute=6.0)
        with self.after_a_pause():
            drawn = destinations.draw(PUBLISH, slow, 1)
            destinations.spend(PUBLISH, slow, drawn, drawn.tokens)

            batch = claim(settings=slow)

            assert (batch.rows, batch.wait > 0) == ([], True)
            assert gate().probing

    def test_a_probe_that_got_an_answer_lets_the_next_one_go_at_once(self):
        for _ in range(3):
            event()
        succeeded()
        with self.after_a_pause():
            (row,) = claim().rows
            assert row.probe
            record(Reply(row.id, PAGE, probe=row.probe, turn_until=row.turn_until))

            assert len(claim().rows) == 1

    def test_one_that_stalled_past_its_lease_does_not_end_the_turn_of_the_next(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            (stalled,) = claim().rows
        with shifted(6 + 61):
            (probing,) = claim().rows
            answered(stalled, None)
            assert not gate().open

            answered(probing, None)
            assert gate().probing

    def test_a_failure_of_what_was_on_its_way_does_not_end_its_turn(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            claim()
            halted("rate", 1.0)
        with shifted(6 + 59):
            assert claim().rows == []

    def test_a_good_probe_opens_the_gate(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            claim()
            succeeded()

            assert len(claim().rows) == 2

    def test_a_bad_probe_pauses_for_twice_as_long(self):
        event()
        with self.after_a_pause():
            claim()

            assert halted("network") == 10.0

    def test_probes_take_turns_between_fresh_and_tried_rows(self):
        tried = [event(row={"attempts": 1, "due_at": DatabaseNow(-50)}) for _ in range(2)]
        fresh_rows = [event() for _ in range(2)]
        halted("network")
        probed = []
        for later in (6, 100, 200):
            with shifted(later):
                probed += ids(claim())
                halted("network")

        assert probed[0] == probed[2]  # one that is tried again and again gets somewhere
        kinds = ["tried" if pk in {row.pk for row in tried} else "fresh" for pk in probed]
        assert kinds == ["tried", "fresh", "tried"]
        assert len(fresh_rows) == 2

    def test_a_probe_takes_the_row_with_the_fewest_halts(self):
        event(row={"halts": 3, "due_at": DatabaseNow(-50)})
        innocent = event()

        with self.after_a_pause():
            assert ids(claim()) == [innocent.pk]

    def test_where_no_row_of_its_turn_is_due_the_probe_takes_another(self):
        row = event(row={"attempts": 1})

        with self.after_a_pause():
            assert ids(claim()) == [row.pk]

    def test_without_a_due_row_nobody_holds_the_probe(self):
        with self.after_a_pause():
            claim()
            row = event(row={"due_at": DatabaseNow()})

            assert ids(claim()) == [row.pk]


class TestRuns:
    def fail(self, *events, kind=Halt.NETWORK, probe=False, **settings):
        outcome = Outcome(Verdict.UNKNOWN, status_code=503, error="503", outage=kind)
        return length(record(*(Reply(number, outcome, probe=probe) for number in events), **settings))

    def test_a_run_of_failures_over_different_events_pauses(self):
        """max(5, 2 x CONCURRENCY) failures, 3 events."""
        assert self.fail(*range(31)) == 0.0
        assert self.fail(99) == 5.0

    def test_few_senders_make_a_short_run(self):
        assert self.fail(1, 2, 3, 4, concurrency=1) == 0.0
        assert self.fail(5, concurrency=1) == 5.0

    def test_one_or_two_events_that_fail_again_and_again_pause_no_others(self):
        for _ in range(3):
            event()
        for _ in range(50):
            assert self.fail(7007, concurrency=1) == 0.0
            assert self.fail(7007, 7008, concurrency=1) == 0.0

    def test_where_fewer_than_three_are_due_three_failures_are_a_run(self):
        """A long outage must be seen as one, too, where only one event waits (G9)."""
        event()

        assert [self.fail(7007), self.fail(7007), self.fail(7007)] == [0.0, 0.0, 5.0]

    def test_an_acceptance_between_closes_the_run(self):
        self.fail(1, 2, 3, 4, concurrency=1)
        succeeded()

        assert self.fail(5, concurrency=1) == 0.0

    @pytest.mark.parametrize(
        ("accepted", "kind", "seconds"), [(False, "config", 60.0), (True, "network", 5.0)]
    )
    def test_answers_without_proof_are_configuration_only_where_nothing_was_accepted(
        self, accepted, kind, seconds
    ):
        gate()
        if accepted:
            succeeded()

        assert self.fail(*range(9), kind=Halt.CONFIG, concurrency=1) == seconds
        assert Destination.objects.get().paused_kind == kind

    def test_a_failed_probe_pauses_again_without_a_run(self):
        event()
        halted("network")
        with shifted(6):
            claim()
            assert self.fail(1, probe=True) == 10.0


@pytest.mark.django_db(transaction=True)
def test_what_answers_mean_is_written_though_the_first_read_lost_its_connection(monkeypatch):
    gate()
    read, calls = destinations._read, []

    def lost_once(alias):
        calls.append(alias)
        if len(calls) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return read(alias)

    monkeypatch.setattr(destinations, "_read", lost_once)
    halted()

    assert Destination.objects.get().paused_until is not None


class TestTheRowOfTheReleaseBefore:
    """Old workers know one pause, in the columns that everybody can see; while both run those count."""

    def test_its_pause_counts(self):
        halted("network")
        Destination.objects.update(
            paused_until=DatabaseNow(600), paused_kind="auth", paused_reason="401", pause_seconds=600.0
        )

        assert (gate().kind, gate().reason) == ("auth", "401")
        assert 590 < gate().paused_for <= 600

    def test_so_does_its_success(self):
        halted("network")
        Destination.objects.update(paused_until=None, paused_kind="", paused_reason="", pause_seconds=0.0)

        assert gate().open
        assert not gate().probing

    def test_it_sees_the_latest_of_ours(self):
        halted("rate", 480.0, reason="slow down")
        halted("network")

        row = Destination.objects.get()
        assert (row.paused_kind, row.paused_reason) == ("rate", "slow down")
        halted("permission", checking=True)
        assert Destination.objects.get().check_paused_kind == "permission"

    @pytest.mark.parametrize(
        "stored", ["", "{", "[]", '{"publish": 3}', '{"publish": [["rate", "x", "", 1]]}']
    )
    def test_what_another_release_wrote_there_stops_nothing(self, stored):
        gate()
        Destination.objects.update(pauses=stored)

        assert gate().open
        halted("network")
        assert not gate().open


class TestTheRate:
    def draw(self, wanted=100, kind=PUBLISH, rate=600.0):
        """As a claim that wins every row it draws for."""
        settings = settings_with(rate_per_minute=rate)
        with transaction.atomic():
            seen = destinations.allowed(kind, settings, gate(kind), wanted)
            drawn = destinations.draw(kind, settings, wanted, publishing_is_due=seen.publishing_is_due)
            destinations.spend(kind, settings, drawn, drawn.tokens)
        assert seen.tokens <= drawn.tokens
        assert (drawn.tokens == 0) is (drawn.wait > 0)
        return drawn

    def test_without_a_rate_all_is_granted(self):
        gate()
        assert destinations.draw(PUBLISH, settings_with(), 1000).tokens == 1000

    def test_the_bucket_holds_one_seconds_worth(self):
        """600 a minute: 10 a second, of which 6 are for anyone."""
        for later in (0, 60):
            with shifted(later):
                assert self.draw().tokens == 6
                assert self.draw(kind=CHECK).tokens == 4

    def test_an_empty_bucket_says_how_long_to_wait(self):
        self.draw()
        empty = self.draw()

        assert empty.tokens == 0
        assert 0.05 <= empty.wait <= 1

    def test_over_a_minute_no_more_is_granted_than_the_rate(self):
        granted = 0
        began = timezone.now()
        for tenth in range(600):
            with shifted(tenth / 10):
                granted += self.draw().tokens

        allowed = 10 * seconds_between(began, Destination.objects.get().bucket_at)
        assert allowed - 20 <= granted <= allowed + 10

    def test_checks_are_guaranteed_a_fifth_while_publishing_takes_all_it_gets(self):
        event()
        checks = published = 0
        began = timezone.now()
        for tenth in range(600):
            with shifted(tenth / 10):
                published += self.draw().tokens
                checks += self.draw(kind=CHECK).tokens

        allowed = 10 * seconds_between(began, Destination.objects.get().bucket_at)
        assert 0.19 <= checks / allowed <= 0.21
        assert 0.77 <= published / allowed <= 0.82

    def test_checks_take_what_publishing_leaves(self):
        checks = 0
        began = timezone.now()
        for tenth in range(600):
            with shifted(tenth / 10):
                checks += self.draw(kind=CHECK).tokens

        allowed = 10 * seconds_between(began, Destination.objects.get().bucket_at)
        assert allowed - 20 <= checks <= allowed + 20

    def test_a_slow_rate_still_lets_one_through(self):
        """6 a minute: one in ten seconds."""
        granted = 0
        for second in range(300):
            with shifted(second):
                granted += self.draw(rate=6.0).tokens

        assert 27 <= granted <= 33

    def test_a_clock_that_is_set_back_refills_nothing_again(self):
        self.draw()
        with shifted(60):
            self.draw()
        with shifted(-60):
            assert self.draw().tokens == 0
            assert self.draw().wait < 1

    def test_a_claim_takes_no_more_rows_than_the_rate_grants(self):
        for _ in range(20):
            event()

        batch = claim(settings=settings_with(rate_per_minute=600.0))

        assert len(batch.rows) == 6
        again = claim(settings=settings_with(rate_per_minute=600.0))
        assert again.rows == []
        assert again.wait > 0

    def test_a_claim_spends_only_the_tokens_of_the_rows_it_won(self, monkeypatch):
        """Of six rows seen, another worker takes five meanwhile."""
        rows = [event() for _ in range(6)]
        draw = destinations.draw

        def meanwhile(*args, **keywords):
            OutboxEvent.objects.filter(pk__in=[row.pk for row in rows[1:]]).update(due_at=DatabaseNow(60))
            return draw(*args, **keywords)

        monkeypatch.setattr(destinations, "draw", meanwhile)

        batch = claim(settings=settings_with(rate_per_minute=600.0))

        assert ids(batch) == [rows[0].pk]
        assert 4.9 < Destination.objects.get().bucket_tokens < 6

    def test_a_worker_without_a_token_locks_nothing(self, monkeypatch):
        """It waits; a lock that 16 workers ask for would make those wait that have a token."""
        for _ in range(9):
            event()
        settings = settings_with(rate_per_minute=6.0)
        claim(settings=settings)
        monkeypatch.delattr(destinations, "_locked")

        batch = claim(settings=settings)

        assert (batch.rows, 9 < batch.wait < 14) == ([], True)

    def test_without_a_token_nothing_is_locked(self, django_assert_num_queries):
        settings = settings_with(rate_per_minute=6.0)
        for _ in range(3):
            event()
        claim(settings=settings)

        with django_assert_num_queries(2):  # the gate and the look
            assert claim(settings=settings).rows == []

    def test_rows_that_cannot_go_are_moved_away_without_a_token(self):
        settings = settings_with(rate_per_minute=6.0)
        event(ordering_key="k")
        claim(settings=settings)
        followers = [event(ordering_key="k") for _ in range(9)]

        assert claim(settings=settings).moved

        assert not OutboxEvent.objects.filter(
            pk__in=[row.pk for row in followers], due_at__lte=DatabaseNow()
        ).exists()

    def test_without_a_token_the_probe_is_left_to_others(self):
        for _ in range(9):
            event()
        settings = settings_with(rate_per_minute=6.0)
        seen = gate()
        claim(settings=settings)
        halted("network")
        with shifted(6):
            probing = replace(gate(), bucket=seen.bucket)  # it saw a token that is gone now

            batch = claims.claim(PUBLISH, settings, probing, claims.Capacity(9))

        assert (batch.rows, batch.wait > 0) == ([], True)
        assert Destination.objects.get().probe_until is None


@pytest.mark.django_db(transaction=True)
def test_of_workers_at_once_one_probes_whatever_a_stalled_one_reports_meanwhile():
    """Each has its own connection; the stalled one's answer comes while the others look for a turn."""
    for _ in range(20):
        event()
    halted("network")
    with shifted(6):
        (stalled,) = claim().rows
    turns = iter(range(4))
    together = threading.Barrier(4)

    def work():
        late = next(turns) == 0
        together.wait(30)
        with shifted(6 + 61):
            if late:
                answered(stalled, None)
                return []
            return [row for _ in range(3) for row in claim().rows]

    probes = [row for rows in in_threads(4, work) for row in rows]

    assert [row.probe for row in probes] == [True]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer and no row locks")
@pytest.mark.django_db(transaction=True)
class TestTheRateAmongWorkers:
    """One worker holds the row's lock, and another one comes to draw."""

    def contend(self, come):
        """What ``come`` returns while another connection holds the lock, and what that one saw.

        That one writes its time when it is waited for, or when ``come`` has ended. Returned are that time,
        too, and whether it was waited for.
        """
        gate()
        locked, done = threading.Event(), threading.Event()

        def hold():
            with transaction.atomic():
                destinations._locked("default")
                locked.set()
                while not (waited := _is_waited_for()) and not done.is_set():
                    done.wait(0.2)  # InnoDB's table of waits is renewed where it was not read for 0.1 s
                Destination.objects.update(bucket_at=DatabaseNow(), bucket_tokens=0.0)
            return Destination.objects.get().bucket_at, waited

        def come_meanwhile():
            assert locked.wait(30)
            try:
                with transaction.atomic():
                    return come()
            finally:
                done.set()

        with ThreadPoolExecutor(2) as pool:
            held, came = (pool.submit(in_threads, 1, work) for work in (hold, come_meanwhile))
        return came.result()[0], *held.result()[0]

    def test_the_time_is_read_after_the_lock_was_won(self):
        """A statement's clock stands still while it waits: it would be behind that of the lock's holder."""
        row, written, _waited = self.contend(lambda: destinations._locked("default"))

        assert row["bucket_at"] == written
        assert row["now"] > written

    def test_a_worker_does_not_queue_for_the_bucket(self):
        """The other one takes what is there. 16 that queue hold the lock in turn, and the tokens overflow."""
        settings = settings_with(rate_per_minute=600.0)

        drawn, _written, waited = self.contend(lambda: destinations.draw(PUBLISH, settings, 100))

        assert (drawn.tokens, waited) == (0, False)
        assert 0.05 <= drawn.wait <= 0.5


def _is_waited_for():
    """Whether another connection waits for a lock that this one holds."""
    waiting = {
        "postgresql": "SELECT COUNT(*) FROM pg_locks"
        " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))",
        "mysql": "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
        " ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(waiting)
        return cursor.fetchone()[0] > 0


class TestTheHeartbeat:
    def test_a_pass_leaves_a_sign_of_life(self):
        gate()

        row = Destination.objects.get()
        assert row.heartbeat_worker == "host:1"
        assert row.heartbeat_at is not None

    def test_a_heartbeat_is_written_every_thirty_seconds_at_most(self, django_assert_num_queries):
        gate()

        with shifted(29), django_assert_num_queries(1):
            gate()
        with shifted(31), django_assert_num_queries(2):
            gate()

    def test_a_paused_destination_still_shows_its_workers_alive(self):
        halted("auth")
        Destination.objects.update(heartbeat_at=None)

        gate()

        assert Destination.objects.get().heartbeat_at is not None


class TestWhoAccuses:
    """A page accuses an event only where others are accepted and none that had met a page is."""

    def test_where_nothing_was_accepted_lately_the_first_page_pauses(self):
        gate()

        assert suspected(1) == 60.0

    def test_where_something_was_the_third_event_in_a_row_does(self):
        gate()
        succeeded()

        assert [suspected(1), suspected(1), suspected(2), suspected(1)] == [0.0] * 4
        assert suspected(3) == 5.0

    def test_an_acceptance_between_them_begins_anew(self):
        gate()
        succeeded()
        suspected(1, 2)
        succeeded()

        assert [suspected(3), suspected(4)] == [0.0, 0.0]
        assert suspected(5) == 5.0

    def test_five_minutes_without_an_acceptance_end_the_benefit_of_the_doubt(self):
        gate()
        succeeded()
        Destination.objects.update(accepted_at=DatabaseNow(-LATELY_SECONDS))

        assert suspected(1) == 60.0

    def test_a_probe_that_meets_a_page_accuses_its_event_first(self):
        succeeded()
        halted("network")
        with shifted(6):
            assert [suspected(number, probe=True) for number in (1, 2, 3)] == [0.0, 0.0, 5.0]


def suspected(*events, probe=False):
    page = Outcome(Verdict.HALTED, halt=Halt.CONFIG, error="a page", accuses=True)
    return length(record(*(Reply(number, page, probe=probe) for number in events)))


class TestRefusals:
    """A run of refusals over different events pauses, and then its types go one at a time."""

    def test_a_run_is_so_many_different_events(self):
        assert refused(*range(9)) == 0.0
        assert refused(*range(9)) == 0.0
        assert Destination.objects.get().paused_until is None

        assert refused(9) == 5.0

        now = Destination.objects.get()
        run = Refusals.read(now.refusals)
        assert run is not None
        assert (now.paused_kind, run.count, run.types) == ("refusals", 10, ("a",))
        assert now.paused_reason == "400: no such schema"

    def test_an_acceptance_between_them_begins_a_new_run(self):
        refused(*range(9))
        succeeded(types=["b"])

        assert refused(*range(9)) == 0.0

    def test_the_pause_doubles_to_a_minute_while_its_probes_are_refused(self):
        lengths = [refused(*range(10))]
        for number in range(10, 16):
            Destination.objects.update(paused_until=DatabaseNow(-1), refused_until=DatabaseNow(-1))
            lengths.append(refused(number, probe=True))

        assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]

    def test_what_was_on_its_way_when_the_pause_began_is_no_probe_of_it(self):
        refused(*range(10))

        assert refused(10) == 0.0

        now = Destination.objects.get()
        run = Refusals.read(now.refusals)
        assert run is not None
        assert (run.count, run.seconds, now.pause_seconds) == (11, 5.0, 5.0)

    def test_an_acceptance_of_another_type_ends_the_pause_and_not_the_hold(self):
        refused(*range(10))

        assert succeeded(types=["b"])

        assert gate().open
        assert gate().refused_types == {"a"}

    def test_an_acceptance_of_the_type_ends_both(self):
        refused(*range(10))

        assert succeeded(types=["b", "a"])

        assert gate().open
        assert gate().refused_types == frozenset()
        assert Destination.objects.get().refusals is None

    def test_while_others_flow_a_refused_event_of_the_type_pauses_only_its_type(self):
        refused(*range(10))
        succeeded(types=["b"])

        assert refused(11) == 0.0
        assert gate().refused_for <= 5
        assert refused(12, turn=True, turn_until=Destination.objects.get().refused_until) == 0.0

        assert gate().open
        assert 5 < gate().refused_for <= 10

    @pytest.mark.parametrize("outcome", ["a refusal", "no result"])
    def test_a_turn_that_stalled_past_its_lease_does_not_end_that_of_the_next(self, outcome):
        refused(*range(10))
        succeeded(types=["b"])
        for _ in range(2):
            event("a")
        with shifted(6):
            (stalled,) = claim().rows
            assert stalled.turn
        with shifted(6 + 61):
            (trying,) = claim().rows
            turn = Destination.objects.get().refused_until
            answered(stalled, REFUSED if outcome == "a refusal" else None)
            assert Destination.objects.get().refused_until == turn

            answered(trying, REFUSED)
            assert gate().refused_for < 30

    def test_one_worker_at_a_time_tries_a_refused_type(self):
        refused(*range(10))
        assert not destinations.take_refused_turn(settings_with())

        Destination.objects.update(refused_until=DatabaseNow(-1))

        assert destinations.take_refused_turn(settings_with())
        assert not destinations.take_refused_turn(settings_with())

    def test_no_turn_is_lost_where_its_row_was_taken_meanwhile(self, monkeypatch):
        event("a")
        self.in_turn()
        look = claims._candidates

        def and_then_it_is_taken(*arguments, **only):
            found = look(*arguments, **only)
            OutboxEvent.objects.update(due_at=DatabaseNow(60))
            return found

        monkeypatch.setattr(claims, "_candidates", and_then_it_is_taken)
        assert claim().rows == []

        assert gate().refused_for == 0

    def test_nor_where_its_window_began_to_close_after_the_lock(self, monkeypatch):
        closes_in(75, "a")
        self.in_turn()
        with frozen_before_the_claim(monkeypatch, 20):
            assert claim().rows == []

            assert gate().refused_for == 0

    def in_turn(self):
        """The next event of the refused type may go."""
        refused(*range(10))
        succeeded(types=["b"])
        Destination.objects.update(refused_until=DatabaseNow(-1))

    def test_all_of_many_refused_types_are_held_back(self):
        """A wrong SOURCE refuses as many types as an application has, and one more may be accepted."""
        for number in range(200):
            refused(number, kinds=f"type.{number}")
        succeeded(types=["good"])

        assert len(gate().refused_types) == 200

    def test_what_another_release_wrote_there_is_no_run(self):
        gate()
        Destination.objects.update(refusals='{"since": "yesterday"}', refused_until=DatabaseNow(60))

        assert gate().refused_types == frozenset()
        succeeded()
        assert Destination.objects.get().refused_until is None


def refused(*events, kinds="a", **keywords):
    replies = [Reply(number, REFUSED, type=kinds, **keywords) for number in events]
    return length(record(*replies, concurrency=5))


def answered(row, outcome):
    """Record one answer to a claimed row."""
    return destinations.record_outcomes(PUBLISH, settings_with(), [(row, outcome)])

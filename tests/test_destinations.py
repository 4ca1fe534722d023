"""A destination as all workers share it: pauses, the probe, the rate, the heartbeat."""

import math
from datetime import timedelta

import pytest
from django.utils import timezone

from genesys_eventbridge import destinations
from genesys_eventbridge.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination
from genesys_eventbridge.refusals import Refusal, Refusals
from tests.outbox_rows import CHECK, PUBLISH, accepted, claim, event, fresh, seconds_between, settings_with

pytestmark = pytest.mark.django_db


def gate(kind=PUBLISH):
    return destinations.gate(kind, "default", "host:1")


def halted(kind="network", seconds=None, *, reason="connection refused", checking=False, **settings):
    return destinations.halted(settings_with(**settings), kind, reason, seconds, checking=checking)


def ids(batch):
    return [row.id for row in batch.rows]


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
        assert [halted("network") for _ in range(16)] == [5.0] * 16

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

        assert destinations.succeeded("default")
        assert gate().open

    @pytest.mark.parametrize("kind", ["rate", "auth", "permission", "config"])
    def test_a_success_ends_no_other_pause_before_its_time(self, kind):
        halted(kind, 60.0)

        assert not destinations.succeeded("default")
        assert not gate().open
        with shifted(61):
            assert destinations.succeeded("default")

    def test_a_success_makes_the_next_pause_start_short_again(self):
        halted("network")
        with shifted(6):
            halted("network")
            destinations.succeeded("default")
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
        assert destinations.succeeded("default", checking=True)
        assert gate(CHECK).open

    def test_a_429_on_a_check_pauses_publishing_too(self):
        halted("rate", 60.0, checking=True)

        assert not gate(PUBLISH).open


class TestHolds:
    def test_what_a_person_paused_stays_paused_whatever_succeeds(self):
        gate()
        Destination.objects.update(held_by="ana", held_reason="migration")

        assert not destinations.succeeded("default")
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
            assert destinations.take_probe(PUBLISH, settings_with())
            from genesys_eventbridge import claims

            assert claims.claim(PUBLISH, settings_with(), seen, 10, idle=True).rows == []

    def test_a_good_probe_opens_the_gate(self):
        for _ in range(3):
            event()
        with self.after_a_pause():
            claim()
            destinations.succeeded("default")

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

        kinds = ["tried" if pk in {row.pk for row in tried} else "fresh" for pk in probed]
        assert kinds == ["fresh", "tried", "fresh"]
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
    def fail(self, *events, **settings):
        return destinations.failed(settings_with(**settings), list(events), "network", "503")

    def test_a_run_of_failures_over_different_events_pauses(self):
        """max(5, 2 x CONCURRENCY) failures, 3 events."""
        assert self.fail(*range(31)) == 0.0
        assert self.fail(99) == 5.0

    def test_few_senders_make_a_short_run(self):
        assert self.fail(1, 2, 3, 4, concurrency=1) == 0.0
        assert self.fail(5, concurrency=1) == 5.0

    def test_one_event_that_fails_again_and_again_pauses_nobody(self):
        for _ in range(50):
            assert self.fail(7, concurrency=1) == 0.0

    def test_two_events_are_not_a_run(self):
        for _ in range(50):
            assert self.fail(7, 8, concurrency=1) == 0.0

    def test_an_acceptance_between_closes_the_run(self):
        self.fail(1, 2, 3, 4, concurrency=1)
        destinations.succeeded("default")

        assert self.fail(5, concurrency=1) == 0.0

    @pytest.mark.parametrize(
        ("accepted", "kind", "seconds"), [(False, "config", 60.0), (True, "network", 5.0)]
    )
    def test_answers_without_proof_are_configuration_only_where_nothing_was_accepted(
        self, accepted, kind, seconds
    ):
        gate()
        if accepted:
            destinations.succeeded("default")

        assert (
            destinations.failed(settings_with(concurrency=1), list(range(9)), "config", "a page") == seconds
        )
        assert Destination.objects.get().paused_kind == kind

    def test_a_failed_probe_pauses_again_without_a_run(self):
        event()
        halted("network")
        with shifted(6):
            claim()
            assert self.fail(1) == 10.0


class TestTheRate:
    def draw(self, wanted=100, kind=PUBLISH, rate=600.0):
        gate()
        return destinations.draw(kind, settings_with(rate_per_minute=rate), wanted)

    def test_without_a_rate_all_is_granted(self):
        gate()
        assert destinations.draw(PUBLISH, settings_with(), 1000).tokens == 1000

    def test_the_bucket_holds_one_seconds_worth(self):
        """600 a minute: 10 a second, of which the first fifth fills the reserve for checks."""
        assert self.draw().tokens == 8
        with shifted(60):
            assert self.draw().tokens == 10

    def test_an_empty_bucket_says_how_long_to_wait(self):
        self.draw()
        empty = self.draw()

        assert empty.tokens == 0
        assert 0 < empty.wait <= 1

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

    def test_a_claim_takes_no_more_rows_than_the_rate_grants(self):
        for _ in range(20):
            event()

        batch = claim(settings=settings_with(rate_per_minute=600.0))

        assert len(batch.rows) == 8
        again = claim(settings=settings_with(rate_per_minute=600.0))
        assert again.rows == []
        assert again.wait > 0


class TestTheHeartbeat:
    def test_a_pass_leaves_a_sign_of_life(self):
        gate()

        row = Destination.objects.get()
        assert row.heartbeat_worker == "host:1"
        assert row.heartbeat_at is not None

    def test_a_sign_of_life_is_written_every_ten_seconds_at_most(self, django_assert_num_queries):
        gate()

        with django_assert_num_queries(1):
            gate()
        with shifted(11), django_assert_num_queries(2):
            gate()

    def test_a_paused_destination_still_shows_its_workers_alive(self):
        halted("auth")
        Destination.objects.update(heartbeat_at=None)

        gate()

        assert Destination.objects.get().heartbeat_at is not None


class TestWhoAccuses:
    """A page accuses an event only where others are accepted and none that had met a page is."""

    def test_others_accepted_since_then_leave_the_event_alone_with_its_page(self):
        gate()
        before = timezone.now() - timedelta(seconds=5)
        assert not destinations.alone_since("default", before)

        destinations.succeeded("default")

        assert destinations.alone_since("default", before)
        assert not destinations.alone_since("default", timezone.now() + timedelta(seconds=60))

    def test_a_suspect_that_is_accepted_later_clears_them_all(self):
        """The pages came from a gateway that answers now and then."""
        gate()
        before = timezone.now() - timedelta(seconds=5)

        destinations.succeeded("default", cleared=True)

        assert not destinations.alone_since("default", before)

    def test_where_nothing_was_accepted_lately_the_first_page_pauses(self):
        gate()

        assert suspected(1) == 60.0

    def test_where_something_was_the_third_event_in_a_row_does(self):
        gate()
        destinations.succeeded("default")

        assert [suspected(1), suspected(1), suspected(2), suspected(1)] == [0.0] * 4
        assert suspected(3) == 5.0

    def test_an_acceptance_between_them_begins_anew(self):
        gate()
        destinations.succeeded("default")
        suspected(1, 2)
        destinations.succeeded("default")

        assert [suspected(3), suspected(4)] == [0.0, 0.0]
        assert suspected(5) == 5.0

    def test_five_minutes_without_an_acceptance_end_the_benefit_of_the_doubt(self):
        gate()
        destinations.succeeded("default")
        Destination.objects.update(accepted_at=DatabaseNow(-destinations.LATELY_SECONDS))

        assert suspected(1) == 60.0

    def test_a_probe_that_meets_a_page_pauses_again(self):
        destinations.succeeded("default")
        halted("network")
        Destination.objects.update(paused_until=DatabaseNow(-1))

        assert suspected(1) > 0


def suspected(*events):
    return destinations.suspected(settings_with(), list(events), "config", "a page")


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
        destinations.succeeded("default", types=["b"])

        assert refused(*range(9)) == 0.0

    def test_the_pause_doubles_to_a_minute_while_its_probes_are_refused(self):
        lengths = [refused(*range(10))]
        for number in range(10, 16):
            Destination.objects.update(paused_until=DatabaseNow(-1), refused_until=DatabaseNow(-1))
            lengths.append(refused(number))

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

        assert destinations.succeeded("default", types=["b"])

        assert gate().open
        assert gate().refused_types == {"a"}

    def test_an_acceptance_of_the_type_ends_both(self):
        refused(*range(10))

        assert destinations.succeeded("default", types=["b", "a"])

        assert gate().open
        assert gate().refused_types == frozenset()
        assert Destination.objects.get().refusals is None

    def test_while_others_flow_a_refused_event_of_the_type_pauses_only_its_type(self):
        refused(*range(10))
        destinations.succeeded("default", types=["b"])

        assert refused(11) == 0.0
        assert refused(12, before=True) == 0.0

        assert gate().open
        assert 15 < gate().refused_for <= 20

    def test_one_worker_at_a_time_tries_a_refused_type(self):
        refused(*range(10))
        assert not destinations.take_refused_turn(settings_with())

        Destination.objects.update(refused_until=DatabaseNow(-1))

        assert destinations.take_refused_turn(settings_with())
        assert not destinations.take_refused_turn(settings_with())

    def test_all_of_many_refused_types_are_held_back(self):
        """A wrong SOURCE refuses as many types as an application has, and one more may be accepted."""
        found = [Refusal(number, f"type.{number}", "400: no such source") for number in range(200)]
        destinations.refused(settings_with(), found)
        destinations.succeeded("default", types=["good"])

        assert len(gate().refused_types) == 200

    def test_what_another_release_wrote_there_is_no_run(self):
        gate()
        Destination.objects.update(refusals='{"since": "yesterday"}', refused_until=DatabaseNow(60))

        assert gate().refused_types == frozenset()
        destinations.succeeded("default")
        assert Destination.objects.get().refused_until is None


def refused(*events, before=False):
    found = [Refusal(number, "a", "400: no such schema") for number in events]
    given = {"refusals": [], "before": found} if before else {"refusals": found}
    seconds, _run = destinations.refused(settings_with(concurrency=5), **given)
    return seconds

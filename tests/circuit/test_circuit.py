"""What each answer means for the destination, in each state it may be in (guarantees G9, G20, G22)."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from genesys_eventbridge.circuit import (
    MOST_EVENTS,
    NONE_FOUND,
    POISON_HALTS,
    RUN_EVENTS,
    Circuit,
    Limits,
    Pause,
    Pauses,
    Reply,
    after,
)
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict

NOW = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)
LIMITS = Limits(base=5.0, cap=60.0, run_length=8)


def at(seconds):
    return NOW + dt.timedelta(seconds=seconds)


def paused(kind, until=-1.0, seconds=5.0):
    """A circuit with one pause for publishing, over by default."""
    return Circuit(NOW, publish=Pauses((Pause(kind, at(until), "why", seconds),)), probe_until=at(60))


def pauses(circuit, *, checking=False):
    """By kind: seconds to its end."""
    found = circuit.check if checking else circuit.publish
    return {each.kind: (each.until - circuit.now).total_seconds() for each in found.all}


ACCEPTED = Outcome(Verdict.ACCEPTED, status_code=202, remote_id="evt-1")
REFUSED = Outcome(Verdict.REJECTED, status_code=400, error="400: no such schema")
BUSY = Outcome(Verdict.UNAVAILABLE, status_code=423)
RUNNING = Outcome(Verdict.UNKNOWN, status_code=409)
BROKEN = Outcome(Verdict.UNKNOWN, status_code=500, error="500", outage=Halt.NETWORK)
UNPROVEN = Outcome(Verdict.UNKNOWN, status_code=200, error="a page", outage=Halt.CONFIG)
CONFLICT = Outcome(Verdict.UNKNOWN, status_code=202, error="another's id", conflict=True, outage=Halt.CONFIG)
UNREACHED = Outcome(Verdict.HALTED, error="refused", halt=Halt.NETWORK)
LOGIN = Outcome(Verdict.HALTED, status_code=401, error="401", halt=Halt.AUTH)
SLOW_DOWN = Outcome(Verdict.HALTED, status_code=429, error="429", halt=Halt.RATE, retry_after=30.0)
PAGE = Outcome(Verdict.HALTED, status_code=403, error="403", halt=Halt.PERMISSION, accuses=True)
ANSWERS = {name: value for name, value in globals().items() if isinstance(value, Outcome)}

OPEN: dict[str, float] = {}
#: What an open destination becomes by one answer: the kinds of pause and their seconds.
FIRST_ANSWER: dict[str, dict[str, float]] = {
    "ACCEPTED": OPEN,
    "REFUSED": OPEN,
    "BUSY": OPEN,
    "RUNNING": OPEN,
    "BROKEN": OPEN,
    "UNPROVEN": OPEN,
    "CONFLICT": OPEN,
    "UNREACHED": {"network": 5},
    "LOGIN": {"auth": 60},
    "SLOW_DOWN": {"rate": 30},
    "PAGE": {"permission": 60},
}
#: The same where the destination accepted an event a minute ago: short, and a page is a suspicion.
LATELY = FIRST_ANSWER | {"LOGIN": {"auth": 5}, "PAGE": OPEN}


class TestAnOpenDestination:
    @pytest.mark.parametrize("name", ANSWERS)
    def test_by_its_first_answer(self, name):
        step = after(Circuit(NOW), Reply(1, ANSWERS[name]), LIMITS, checking=False)

        assert pauses(step.circuit) == FIRST_ANSWER[name]
        assert step.paused == bool(FIRST_ANSWER[name])

    @pytest.mark.parametrize("name", ANSWERS)
    def test_that_accepted_something_lately(self, name):
        circuit = Circuit(NOW, accepted_at=at(-60))

        step = after(circuit, Reply(1, ANSWERS[name]), LIMITS, checking=False)

        assert pauses(step.circuit) == LATELY[name]

    def test_five_minutes_are_lately_and_no_more(self):
        for ago, seconds in ((299, 5), (300, 60)):
            circuit = Circuit(NOW, accepted_at=at(-ago))
            step = after(circuit, Reply(1, LOGIN), LIMITS, checking=False)
            assert pauses(step.circuit) == {"auth": seconds}


class TestLately:
    def test_between_pauses_sixty_requests_are_lately_too(self):
        """At one probe a minute five minutes are too few to see one success in ten."""
        long_ago = replace(paused("network"), accepted_at=at(-1800))

        assert replace(long_ago, misses=59).accepted_lately
        assert not replace(long_ago, misses=60).accepted_lately
        assert not replace(long_ago, publish=Pauses(), misses=0).accepted_lately
        assert not replace(long_ago, accepted_at=None, misses=0).accepted_lately

    def test_each_request_without_an_acceptance_counts(self):
        circuit = replace(Circuit(NOW), accepted_at=NOW)
        for number, answer in enumerate((BROKEN, LOGIN, PAGE, REFUSED, RUNNING), 1):
            circuit = after(circuit, Reply(number, answer), LIMITS, checking=False).circuit
            assert circuit.misses == number

        assert after(circuit, Reply(9, ACCEPTED), LIMITS, checking=False).circuit.misses == 0

    def test_three_probes_fail_before_a_pause_is_longer(self):
        circuit = replace(paused("network"), accepted_at=at(-60))
        found = []
        for number in range(3):
            circuit = after(circuit, Reply(number, BROKEN, probe=True), LIMITS, checking=False).circuit
            found.append(pauses(circuit))

        assert found == [{"network": -1}, {"network": -1}, {"network": 10}]

    @pytest.mark.parametrize("name", ["LOGIN", "SLOW_DOWN"])
    def test_but_one_where_a_login_or_a_limit_is_in_the_way(self, name):
        kind = ANSWERS[name].halt
        circuit = replace(paused(kind), accepted_at=at(-60))

        step = after(circuit, Reply(1, ANSWERS[name], probe=True), LIMITS, checking=False)

        assert pauses(step.circuit)[kind] > 0


#: (kind of the pause that is over, the probe's answer) -> the pauses then. Each answer not named: as before.
SAME = "the pause as it was, and the next probe at once"
PROBES: dict[tuple[str, str], dict[str, float]] = {
    **{(kind, "ACCEPTED"): OPEN for kind in Halt},
    **{(kind, name): OPEN for kind in Halt if kind != "refusals" for name in ("REFUSED", "BUSY", "RUNNING")},
    ("refusals", "REFUSED"): {"refusals": 10},
    ("network", "BROKEN"): {"network": 10},
    ("network", "UNREACHED"): {"network": 10},
    ("config", "UNPROVEN"): {"config": 60},
    ("config", "CONFLICT"): {"config": 60},
    ("auth", "LOGIN"): {"auth": 60},
    ("permission", "PAGE"): {"permission": 60},
    ("rate", "SLOW_DOWN"): {"rate": 30},
}
BEGUN = {
    "BROKEN": {"network": 5},
    "UNREACHED": {"network": 5},
    "UNPROVEN": {"config": 60},
    "CONFLICT": {"config": 60},
    "LOGIN": {"auth": 60},
    "PAGE": {"permission": 60},
    "SLOW_DOWN": {"rate": 30},
}


class TestTheProbe:
    @pytest.mark.parametrize("name", ANSWERS)
    @pytest.mark.parametrize("kind", Halt)
    def test_by_each_kind_of_pause_and_each_answer(self, kind, name):
        """The pause doubles by a failure of its kind; another failure begins another; an answer ends it."""
        step = after(paused(kind), Reply(1, ANSWERS[name], probe=True), LIMITS, checking=False)

        wanted = PROBES.get((kind, name))
        if wanted is None:
            wanted = {kind: -1.0, **BEGUN.get(name, {})}
        assert pauses(step.circuit) == wanted

    @pytest.mark.parametrize("name", ANSWERS)
    @pytest.mark.parametrize("kind", Halt)
    def test_any_answer_hands_its_turn_back(self, kind, name):
        step = after(
            paused(kind), Reply(1, ANSWERS[name], probe=True, turn_until=at(60)), LIMITS, checking=False
        )

        assert step.circuit.probe_until is None

    def test_one_that_was_not_begun_hands_it_back_too(self):
        step = after(paused("network"), Reply(1, None, probe=True, turn_until=at(60)), LIMITS, checking=False)

        assert step.circuit.probe_until is None
        assert pauses(step.circuit) == {"network": -1.0}

    @pytest.mark.parametrize("name", [*ANSWERS, None])
    def test_one_that_stalled_past_its_lease_hands_nothing_back(self, name):
        reply = Reply(1, name and ANSWERS[name], probe=True, turn_until=at(-1))

        assert after(paused("network"), reply, LIMITS, checking=False).circuit.probe_until == at(60)

    @pytest.mark.parametrize("name", ["BROKEN", "UNREACHED", "LOGIN", "SLOW_DOWN"])
    def test_a_request_that_was_on_its_way_does_not_lengthen_a_pause_of_its_kind(self, name):
        kind = {"BROKEN": "network", "UNREACHED": "network", "LOGIN": "auth"}.get(name, "rate")
        for until in (-1.0, 60.0):
            circuit = paused(kind, until)
            step = after(circuit, Reply(1, ANSWERS[name]), LIMITS, checking=False)

            assert step.paused
            assert step.circuit.probe_until == circuit.probe_until  # another worker's
            if name != "SLOW_DOWN":
                assert pauses(step.circuit) == {kind: until}

    def test_it_is_no_probe_where_another_worker_ended_the_pause(self):
        step = after(Circuit(NOW), Reply(1, BROKEN, probe=True), LIMITS, checking=False)

        assert pauses(step.circuit) == OPEN

    def test_a_page_is_a_suspicion_for_a_probe_too(self):
        circuit = replace(paused("network"), accepted_at=at(-60))

        step = after(circuit, Reply(1, PAGE, probe=True), LIMITS, checking=False)

        assert (pauses(step.circuit), step.paused) == ({"network": -1.0}, False)

    def test_turns_begin_with_the_pause(self):
        """So that the first probe goes to an event tried before."""
        circuit = replace(Circuit(NOW), probe_turn=7)
        begun = after(circuit, Reply(1, UNREACHED), LIMITS, checking=False).circuit
        assert begun.probe_turn == 0

        later = replace(begun, now=at(6), probe_turn=1)
        assert after(later, Reply(1, UNREACHED, probe=True), LIMITS, checking=False).circuit.probe_turn == 1

    @pytest.mark.parametrize(
        ("kind", "lately", "lengths"),
        [
            ("network", False, [5, 10, 20, 40, 60, 60]),
            ("auth", False, [60, 120, 240, 480, 900, 900]),
            ("auth", True, [5, 10, 20, 40, 60, 60]),
        ],
    )
    def test_a_pause_doubles_while_its_probes_fail(self, kind, lately, lengths):
        answer, found, now = Outcome(Verdict.HALTED, halt=Halt(kind)), [], NOW
        circuit = Circuit(NOW)
        for _ in lengths:
            circuit = replace(circuit, now=now, accepted_at=now - dt.timedelta(seconds=9) if lately else None)
            circuit = after(circuit, Reply(1, answer, probe=True), LIMITS, checking=False).circuit
            (pause,) = circuit.publish.all
            found.append((pause.until - now).total_seconds())
            now = pause.until

        assert found == lengths


class TestPausesOfDifferentKinds:
    """Each is a fact of its own; the latest end counts."""

    def test_a_network_pause_does_not_swallow_the_wait_that_the_platform_asked_for(self):
        circuit = after(Circuit(NOW), Reply(1, SLOW_DOWN), LIMITS, checking=False).circuit
        circuit = after(circuit, Reply(2, UNREACHED), LIMITS, checking=False).circuit
        assert pauses(circuit) == {"rate": 30, "network": 5}
        assert circuit.publish.latest is not None
        assert circuit.publish.latest.kind == "rate"

        circuit = after(circuit, Reply(3, ACCEPTED), LIMITS, checking=False).circuit

        assert pauses(circuit) == {"rate": 30}

    @pytest.mark.parametrize(
        ("kind", "ends"),
        [
            ("network", True),
            ("refusals", True),
            ("permission", True),
            ("config", True),
            ("auth", False),
            ("rate", False),
        ],
    )
    def test_what_a_late_acceptance_ends(self, kind, ends):
        """It proves the way; not that a login works again, nor that the platform wants more."""
        step = after(paused(kind, 60.0), Reply(1, ACCEPTED), LIMITS, checking=False)

        assert (pauses(step.circuit) == {}) is ends

    def test_a_late_refusal_ends_none_that_runs(self):
        step = after(paused("network", 60.0), Reply(1, REFUSED), LIMITS, checking=False)

        assert pauses(step.circuit) == {"network": 60}

    def test_a_longer_wait_prolongs_a_shorter_one_and_never_the_other_way(self):
        circuit = after(Circuit(NOW), Reply(1, SLOW_DOWN), LIMITS, checking=False).circuit
        for asked, seconds in ((10.0, 30), (90.0, 90), (1.0, 90)):
            answer = replace(SLOW_DOWN, retry_after=asked)
            circuit = after(circuit, Reply(1, answer), LIMITS, checking=False).circuit
            assert pauses(circuit) == {"rate": seconds}

    def test_a_503_that_names_a_wait_is_both(self):
        answer = replace(BROKEN, status_code=503, retry_after=40.0)

        circuit = after(paused("network"), Reply(1, answer, probe=True), LIMITS, checking=False).circuit

        assert pauses(circuit) == {"rate": 40, "network": 10}

    def test_checks_wait_for_their_own_pauses_and_for_a_wait_that_was_asked_for(self):
        circuit = Circuit(
            NOW,
            publish=Pauses((Pause("rate", at(30)), Pause("auth", at(900)))),
            check=Pauses((Pause("permission", at(-5)),)),
        )

        (held,) = [each for each in circuit.pauses(checking=True).all if each.until > NOW]
        assert held.kind == "rate"
        assert circuit.publish.latest is not None
        assert circuit.publish.latest.kind == "auth"

    def test_they_are_stored_and_read_again(self):
        kept = Pauses((Pause("rate", at(30), "429", 0.0), Pause("network", at(5), "refused", 10.0)))

        assert Pauses.read(kept.stored()) == kept

    def test_an_operator_ends_them_all_and_the_next_event_is_a_probe(self):
        circuit = replace(
            paused("auth", 900.0, 900.0),
            check=Pauses((Pause("permission", at(60)),)),
            refusals=Refusals(since=NOW),
            refused_until=at(60),
        ).resumed()

        assert (pauses(circuit), pauses(circuit, checking=True)) == ({"auth": 0}, {"permission": 0})
        assert (circuit.probe_until, circuit.refusals, circuit.refused_until) == (None, None, None)


class TestRunsOfFailures:
    def fail(self, circuit, *events, outcome=BROKEN, limits=LIMITS):
        steps = []
        for event in events:
            steps.append(after(circuit, Reply(event, outcome), limits, checking=False))
            circuit = steps[-1].circuit
        return circuit, steps

    def test_so_many_over_three_events_pause(self):
        circuit, _steps = self.fail(Circuit(NOW), 1, 2, 3, 1, 2, 3, 1)
        assert pauses(circuit) == {}

        assert pauses(self.fail(circuit, 2)[0]) == {"network": 5}

    def test_two_events_are_no_run_while_others_are_due(self):
        assert pauses(self.fail(Circuit(NOW), *[1, 2] * 20)[0]) == {}

    def test_three_in_a_row_are_a_run_where_no_others_are_due(self):
        few = replace(LIMITS, few_due=True)

        assert pauses(self.fail(Circuit(NOW), 1, 1, limits=few)[0]) == {}
        assert pauses(self.fail(Circuit(NOW), 1, 2, 1, limits=few)[0]) == {"network": 5}

    def test_where_failures_are_costly_each_failed_probe_makes_the_pause_longer_without_the_usual_cap(self):
        """Each probe that fails leaves an event to an operator."""
        costly = replace(LIMITS, costly=True)
        lately = replace(Circuit(NOW), accepted_at=at(-60))
        circuit, _steps = self.fail(lately, 1, 2, 3, limits=costly)
        lengths = []
        for event in range(4, 14):
            lengths += pauses(circuit).values()
            over = replace(circuit, publish=circuit.publish.over(NOW))
            circuit = after(over, Reply(event, BROKEN, probe=True), costly, checking=False).circuit

        assert lengths == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]

    def test_where_failures_are_costly_a_host_that_is_not_reached_keeps_the_usual_cap(self):
        costly = replace(LIMITS, costly=True)
        circuit = after(
            paused("network", seconds=60.0), Reply(1, UNREACHED, probe=True), costly, checking=False
        )

        assert pauses(circuit.circuit) == {"network": 60}

    def test_an_acceptance_between_begins_a_new_run(self):
        circuit, _steps = self.fail(Circuit(NOW), *range(7))
        circuit = after(circuit, Reply(99, ACCEPTED), LIMITS, checking=False).circuit

        assert pauses(self.fail(circuit, *range(7))[0]) == {}

    @pytest.mark.parametrize(("lately", "wanted"), [(False, {"config": 60}), (True, {"network": 5})])
    def test_successes_without_proof_are_configuration_only_where_nothing_was_accepted(self, lately, wanted):
        circuit = Circuit(NOW, accepted_at=at(-60) if lately else None)

        assert pauses(self.fail(circuit, *range(8), outcome=UNPROVEN)[0]) == wanted

    def test_an_event_pays_for_one_failure_of_a_run(self):
        """G9: while nothing is accepted in between the trouble is the destination's."""
        _circuit, steps = self.fail(Circuit(NOW), 1, 2, 1, 1, 2)

        assert [step.uncounted for step in steps] == [False, False, True, True, True]

    def test_after_an_acceptance_it_pays_again(self):
        circuit, _steps = self.fail(Circuit(NOW), 1, 1)
        circuit = after(circuit, Reply(99, ACCEPTED), LIMITS, checking=False).circuit

        assert not self.fail(circuit, 1)[1][0].uncounted

    @pytest.mark.parametrize("kind", ["network", "config"])
    def test_a_probe_pays_for_nothing(self, kind):
        step = after(paused(kind), Reply(1, BROKEN, probe=True), LIMITS, checking=False)

        assert step.uncounted

    def test_of_very_many_failing_events_none_pays(self):
        circuit = Circuit(NOW, failed=tuple(range(MOST_EVENTS)))

        assert self.fail(circuit, 10**6)[1][0].uncounted
        assert len(self.fail(circuit, 10**6)[0].failed) == MOST_EVENTS

    def test_a_conflict_always_counts(self):
        """Three of them are for an operator to decide, whatever holds the others."""
        _circuit, steps = self.fail(paused("network"), 1, 1, outcome=CONFLICT)

        assert not any(step.uncounted for step in steps)


class TestSuspects:
    """A page or a 403 to an event's own POST."""

    def met(self, circuit, *replies):
        for reply in replies:
            step = after(circuit, reply, LIMITS, checking=False)
            circuit = step.circuit
        return step

    def working(self):
        return Circuit(NOW, accepted_at=at(-60))

    def test_three_different_events_in_a_row_pause(self):
        two = self.met(self.working(), *(Reply(number, PAGE) for number in (1, 2, 1, 2)))
        assert (pauses(two.circuit), two.accuses) == ({}, False)

        assert pauses(self.met(two.circuit, Reply(3, PAGE)).circuit) == {"permission": 5}

    def test_an_acceptance_between_them_begins_a_new_row(self):
        step = self.met(
            self.working(), Reply(1, PAGE), Reply(2, PAGE), Reply(9, ACCEPTED), Reply(3, PAGE), Reply(4, PAGE)
        )

        assert pauses(step.circuit) == {}

    def test_an_event_that_met_it_before_is_accused_where_others_were_accepted_since(self):
        circuit = self.met(self.working(), Reply(1, PAGE), Reply(9, ACCEPTED)).circuit

        step = after(circuit, Reply(1, PAGE, halts=1, suspected_since=at(-1)), LIMITS, checking=False)

        assert step.accuses
        assert step.circuit == replace(circuit, misses=1)

    def test_not_where_none_was(self):
        circuit = self.met(self.working(), Reply(1, PAGE)).circuit

        assert not self.met(circuit, Reply(1, PAGE, halts=1, suspected_since=at(-1))).accuses

    def test_not_where_another_event_meets_its_first_page_meanwhile(self):
        """The gateway went down: what it says of the first is no better than what it says of the second."""
        circuit = self.met(self.working(), Reply(1, PAGE), Reply(9, ACCEPTED), Reply(2, PAGE)).circuit

        assert not self.met(circuit, Reply(1, PAGE, halts=3, suspected_since=at(-1))).accuses

    def test_not_where_one_that_had_met_it_was_accepted_since(self):
        """A gateway that answers now and then accuses no event."""
        cleared = self.met(self.working(), Reply(9, ACCEPTED, halts=1)).circuit

        assert not self.met(cleared, Reply(1, PAGE, halts=3, suspected_since=at(-1))).accuses

    def test_not_where_nothing_was_accepted_lately(self):
        circuit = Circuit(NOW, accepted_at=at(-301))

        step = self.met(circuit, Reply(1, PAGE, halts=POISON_HALTS, suspected_since=at(-400)))

        assert not step.accuses
        assert pauses(step.circuit) == {"permission": 60}

    def test_poison_alone_pauses_no_others(self):
        """Many of them at the end of a backlog: each is accused, and none stops what comes next."""
        circuit = self.met(self.working(), Reply(9, ACCEPTED)).circuit

        step = self.met(
            circuit, *(Reply(number, PAGE, halts=2, suspected_since=at(-9)) for number in range(20))
        )

        assert (pauses(step.circuit), step.paused) == ({}, False)


class TestChecks:
    FOUND = Outcome(Verdict.NOT_YET, status_code=200, found=True)
    MISSING = Outcome(Verdict.UNKNOWN, status_code=404, error="HTTP 404", found=False)
    LATER = Outcome(Verdict.NOT_YET, status_code=503)
    NO_RIGHT = Outcome(Verdict.HALTED, status_code=403, error="403", halt=Halt.PERMISSION)

    def ask(self, circuit, *replies):
        for reply in replies:
            step = after(circuit, reply, LIMITS, checking=True)
            circuit = step.circuit
        return step

    def test_a_missing_right_pauses_checks_alone_and_its_kind_is_kept(self):
        step = self.ask(Circuit(NOW), Reply(1, self.NO_RIGHT))

        assert step.paused
        assert pauses(step.circuit, checking=True) == {"permission": 60}
        assert pauses(step.circuit) == {}

    def test_a_wait_that_the_platform_asks_for_is_shared(self):
        assert pauses(self.ask(Circuit(NOW), Reply(1, SLOW_DOWN)).circuit) == {"rate": 30}

    @pytest.mark.parametrize("kind", Halt)
    def test_a_check_that_finds_its_event_ends_what_is_over(self, kind):
        circuit = Circuit(NOW, check=Pauses((Pause(kind, at(-1)),)))

        assert pauses(self.ask(circuit, Reply(1, self.FOUND)).circuit, checking=True) == {}

    def test_an_answer_that_says_nothing_ends_nothing(self):
        circuit = Circuit(NOW, check=Pauses((Pause("network", at(-1)),)))

        assert self.ask(circuit, Reply(1, self.LATER)).circuit == circuit

    def test_a_lost_event_is_accused_where_others_were_found_since_it_was_due(self):
        circuit = self.ask(Circuit(NOW), Reply(9, self.FOUND)).circuit

        assert self.ask(circuit, Reply(1, self.MISSING, due_since=at(-1))).accuses
        assert not self.ask(circuit, Reply(1, self.MISSING, due_since=at(1))).accuses

    def test_or_where_it_is_the_only_one(self):
        assert self.ask(Circuit(NOW), Reply(1, self.MISSING, due_since=at(-1), sole=True)).accuses
        assert not self.ask(Circuit(NOW), Reply(1, self.MISSING, due_since=at(-1))).accuses

    def test_different_events_in_a_row_are_about_the_path_and_end_none(self):
        circuit = Circuit(NOW)
        for number in range(1, RUN_EVENTS + 3):
            step = self.ask(circuit, Reply(number, self.MISSING, due_since=at(-1), sole=number >= RUN_EVENTS))
            assert not step.accuses
            circuit = step.circuit

        assert pauses(circuit, checking=True) == {"config": 60}
        (pause,) = circuit.check.all
        assert pause.reason == f"{NONE_FOUND} HTTP 404"
        assert step.paused

    @pytest.mark.parametrize("where", ["publish", "check"])
    def test_nor_while_the_path_is_in_question_anyway(self, where):
        over = Pauses((Pause("config", at(-1)),))
        circuit = replace(Circuit(NOW), publish=over) if where == "publish" else Circuit(NOW, check=over)

        assert not self.ask(circuit, Reply(1, self.MISSING, due_since=at(-1), sole=True)).accuses

    def test_its_probe_doubles_the_pause(self):
        circuit = Circuit(NOW, check=Pauses((Pause("config", at(-1), "", 60.0),)), missing=(1, 2, 3))

        step = self.ask(circuit, Reply(1, self.MISSING, probe=True))

        assert pauses(step.circuit, checking=True) == {"config": 120}

    def test_one_that_is_found_ends_the_row_and_the_pause(self):
        circuit = Circuit(NOW, check=Pauses((Pause("config", at(60)),)), missing=(1, 2, 3))

        now = self.ask(circuit, Reply(1, self.FOUND)).circuit

        assert (pauses(now, checking=True), now.missing) == ({}, ())


def test_a_turn_of_a_refused_type_that_comes_to_nothing_does_not_cost_a_lease():
    run = Refusals(since=NOW, types=("a",), seconds=10.0)
    circuit = Circuit(NOW, refusals=run, refused_until=at(60))

    step = after(circuit, Reply(1, BROKEN, type="a", turn=True, turn_until=at(60)), LIMITS, checking=False)

    assert step.circuit.refused_until == at(10)


def test_a_turn_that_is_over_is_nobody_elses():
    run = Refusals(since=NOW, types=("a",), seconds=10.0)
    circuit = Circuit(NOW, refusals=run, refused_until=at(-10))

    step = after(circuit, Reply(1, BROKEN, type="a", turn=True, turn_until=at(-60)), LIMITS, checking=False)

    assert step.circuit.refused_until == at(10)


@pytest.mark.parametrize("held", ["publish", "check"])
def test_after_the_clock_was_set_back_a_pause_lasts_its_own_length(held):
    ahead = Pauses((Pause("config", at(3605), "why", 5.0, 5.0),))

    changed: dict[str, Any] = {held: ahead}
    circuit = replace(Circuit(NOW), **changed).set_right(60.0)

    assert pauses(circuit, checking=held == "check") == {"config": 5.0}


@pytest.mark.parametrize(("until", "then"), [(3600, 0), (55, 55), (-5, -5)])
def test_after_the_clock_was_set_back_a_refused_type_does_not_wait_for_it(until, then):
    circuit = Circuit(NOW, refusals=Refusals(since=NOW, seconds=10.0), refused_until=at(until))

    assert circuit.set_right(60.0).refused_until == at(then)

"""A pause must never be the outage (guarantee G22): what fails now and then is drained soon after."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from genesys_eventbridge.states import State
from tests.simulation import rules
from tests.simulation.bench import FULL, Bench
from tests.simulation.platform import Kind, Rule

pytestmark = pytest.mark.django_db

HOUR = 3600.0
#: Simulated seconds: to be back at normal speed after the last fault, and for a whole plan.
SOON = 120.0
PLAN = 900.0

FAULTS = {
    "a 500": rules.status(500),
    "a reset connection": rules.reset,
    "a body cut off": rules.cut,
    "a page with 200": rules.page(200),
    "a page with 403": rules.page(403),
    "a page with 404": rules.page(404),
    "a read timeout": rules.read_timeout,
    "a 429 for a second": rules.rate_limit(1),
}
#: The plans of the report that made this a rule had this many events.
EVENTS = {"a reset connection": 177, "a body cut off": 177, "a page with 200": 177}


BEFORE, FRESH = "accepted before", "fresh"
STARTS = [BEFORE, FRESH]
#: The start, and how many requests of each event fail.
PLANS = [(start, tries) for start in STARTS for tries in (1, 2)] if FULL else [(BEFORE, 2), (FRESH, 1)]


@pytest.fixture
def begin(simulate) -> Callable[..., Bench]:
    """``begin(start, rules)``: a bench at a destination that accepted an event just before, or none ever."""

    def begin(start: str, *plan: Rule, **options) -> Bench:
        bench: Bench = simulate(**options)
        if start == BEFORE:
            bench.enqueue()
            bench.run(60)
        bench.platform.rules[:] = plan
        return bench

    return begin


def drained_soon(bench: Bench, numbers: range) -> None:
    """All of these events were taken once, and soon after the last fault."""
    platform = bench.platform
    missing = [number for number in numbers if number not in platform.accepted_at]
    assert missing == [], f"{len(missing)} of {len(numbers)} events are not accepted"
    assert {platform.taken[number] for number in numbers} == {1}
    drained_at = max(platform.accepted_at[number] for number in numbers)
    assert drained_at - platform.last_fault_at <= SOON


@pytest.mark.parametrize(("start", "tries"), PLANS)
@pytest.mark.parametrize("fault", FAULTS)
def test_events_whose_first_requests_fail_are_drained(begin, fault, start, tries):
    bench = begin(start, rules.first(tries, FAULTS[fault]))
    numbers = bench.enqueue(EVENTS.get(fault, 200))

    bench.run(PLAN)

    drained_soon(bench, numbers)
    assert bench.states() == {"delivered": bench.enqueued}


@pytest.mark.parametrize("start", STARTS)
def test_events_are_drained_while_one_request_in_ten_is_unauthorized(begin, start):
    """Also after a refresh."""
    bench = begin(start, rules.of(Kind.PUBLISH, rules.unauthorized(0.1)))
    numbers = bench.enqueue(200)

    bench.run(PLAN)

    drained_soon(bench, numbers)
    assert bench.states() == {"delivered": bench.enqueued}


@pytest.mark.parametrize("start", STARTS)
def test_events_that_a_firewall_blocks_stop_no_others(begin, start):
    """3 % are answered 403 with a page for ever: they end rejected, with the page's words."""
    bench = begin(start)
    numbers = bench.enqueue(200)
    blocked, started = numbers[20::33], bench.now
    bench.platform.rules[:] = [rules.of(Kind.PUBLISH, rules.events(blocked, rules.page(403)))]

    bench.run(PLAN)

    others = [number for number in numbers if number not in blocked]
    assert max(bench.platform.accepted_at[number] for number in others) - started <= SOON
    assert bench.states() == {"delivered": bench.enqueued - len(blocked), "dead/rejected": len(blocked)}
    for row in bench.rows(blocked):
        assert "Request blocked by the web firewall" in row.last_error


def test_events_are_drained_after_useless_answers_of_the_token_endpoint(simulate):
    """The token has expired when they come; an event was accepted just before."""
    bench = simulate(token_life=30.0)
    bench.enqueue()
    bench.run(60)
    useless = rules.in_turn(rules.page(200), rules.status(500), rules.cut, rules.status(500), rules.page(200))
    bench.platform.rules[:] = [rules.of(Kind.TOKEN, useless)]
    bench.clock.move_to(90.0)
    numbers = bench.enqueue(200)

    bench.run(PLAN)

    assert len(bench.platform.requests(Kind.TOKEN)) >= 7
    drained_soon(bench, numbers)
    assert bench.states() == {"delivered": bench.enqueued}


@pytest.mark.parametrize(
    ("poison", "end", "hours"),
    [
        (rules.status(500), "unresolved/outcome_unknown", 4),
        (rules.page(403), "dead/rejected", 1),
        (rules.refusal, "dead/rejected", 1),
    ],
    ids=["500", "403 with a page", "400"],
)
@pytest.mark.parametrize("start", STARTS if FULL else [BEFORE])
def test_poison_at_the_end_of_a_backlog_stops_nothing(begin, start, poison, end, hours):
    """Seven events that always fail. New events come every 10 s for five minutes, and then now and then."""
    bench = begin(start)
    numbers = bench.enqueue(57)
    bad = numbers[-7:]
    bench.platform.rules[:] = [rules.of(Kind.PUBLISH, rules.events(bad, poison))]
    started = bench.now
    bench.trickle(every=10.0, until=started + 300)
    bench.clock.at(started + 300, lambda: bench.trickle(every=600.0, until=started + hours * HOUR))

    bench.run(hours * HOUR)

    platform = bench.platform
    assert max(platform.accepted_at[number] for number in numbers[:-7]) - started <= SOON
    enqueued_at = [started + 10.0 * number for number in range(1, 30)]
    waited = [
        platform.accepted_at[number] - moment
        for number, moment in zip(range(numbers.stop, numbers.stop + 29), enqueued_at, strict=True)
    ]
    assert max(waited) <= 60.0
    assert bench.states() == {"delivered": bench.enqueued - 7, end: 7}


ALL_KINDS = rules.one_of(*FAULTS.values(), rules.status(401), rules.status(503), rules.refused_connection)
USELESS_TOKENS = rules.one_of(rules.page(200), rules.status(500), rules.cut)


@pytest.mark.parametrize("start", STARTS if FULL else [BEFORE])
@pytest.mark.parametrize("seed", range(1, 9) if FULL else [5])
def test_a_backlog_shrinks_while_one_request_in_ten_succeeds(begin, start, seed):
    """All kinds of failure for an hour, or half of one; of the token requests one in ten fails."""
    bench = begin(
        start,
        rules.of(Kind.TOKEN, rules.share(0.1, USELESS_TOKENS)),
        rules.of(Kind.PUBLISH, rules.share(0.9, ALL_KINDS)),
        seed=seed,
    )
    started = bench.now
    bench.enqueue(400)
    left = [bench.backlog()]
    whole = 60 if FULL else 30
    for minutes in range(10, whole + 1, 10):
        bench.clock.at(started + minutes * 60, lambda: left.append(bench.backlog()))

    bench.run(whole * 60)

    assert len(left) == whole / 10 + 1
    assert all(later < earlier or later == 0 for earlier, later in pairwise(left)), left
    ended = {state for state in bench.states() if not state.startswith((State.PENDING, State.ACCEPTED))}
    assert ended <= {"delivered"}

    bench.platform.rules.clear()
    healthy_from = bench.now
    numbers = bench.enqueue(1)
    bench.run(2 * HOUR)

    assert bench.platform.accepted_at[numbers[0]] - healthy_from <= SOON
    assert bench.states() == {"delivered": bench.enqueued}

"""A long outage is not the events' fault (guarantee G9): none ends, and each pause costs one request."""

import pytest

from genesys_eventbridge.models import OutboxEvent
from tests.simulation import rules
from tests.simulation.bench import FULL
from tests.simulation.platform import Kind

pytestmark = pytest.mark.django_db

HOUR = 3600.0
BEGINS = 60.0

OUTAGES = {
    "503": rules.status(503),
    "refused connections": rules.refused_connection,
    "read timeouts": rules.read_timeout,
}
#: Outage, events and hours.
SHORT = [("503", 1, 2), ("refused connections", 3, 2), ("read timeouts", 30, 2), ("503", 3000, 1)]
PLANS = [(outage, count, 12) for outage in OUTAGES for count in (1, 3, 30, 3000)] if FULL else SHORT
#: Requests before the first answers are looked at, and in the pauses until they have their full length.
FIRST_REQUESTS = 80


@pytest.fixture
def outage(simulate):
    """``outage(answer, count, hours)``: these events are enqueued when it begins, and it has just ended."""

    def outage(answer, count, hours):
        bench = simulate()
        bench.enqueue()
        bench.run(BEGINS)
        bench.clock.move_to(BEGINS)
        fault = rules.between(BEGINS, BEGINS + hours * HOUR, OUTAGES[answer])
        bench.platform.rules[:] = [lambda question: None if question.kind is Kind.TOKEN else fault(question)]
        bench.enqueue(count)
        bench.run(hours * HOUR)
        return bench

    return outage


@pytest.mark.parametrize(("answer", "count", "hours"), PLANS)
def test_no_event_ends_in_an_outage_of_half_a_day(outage, answer, count, hours):
    bench = outage(answer, count, hours)
    ends = BEGINS + hours * HOUR

    assert bench.states() == {"delivered": 1, "pending": count}
    assert set(OutboxEvent.objects.filter(state="pending").values_list("attempts", flat=True)) <= {0, 1, 2}
    # One for each pause, of a minute; a request that times out takes 20 s more.
    requests = bench.platform.requests(Kind.PUBLISH, start=BEGINS, end=ends)
    assert hours * 40 <= len(requests) <= FIRST_REQUESTS + hours * 60

    bench.run(HOUR)

    assert bench.states() == {"delivered": count + 1}
    assert max(bench.platform.accepted_at.values()) - ends <= 120.0
    assert set(bench.platform.taken.values()) == {1}


@pytest.mark.parametrize("answer", OUTAGES)
def test_only_doubtful_events_end_in_an_outage_longer_than_the_window(outage, settings, answer):
    """A key is good for half an hour (IDEMPOTENCY_WINDOW less its margin), and the outage lasts an hour."""
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            **settings.GENESYS_EVENTBRIDGE["default"],
            "IDEMPOTENCY_WINDOW": 1.5 * HOUR,
            "IDEMPOTENCY_MARGIN": HOUR,
        }
    }
    bench = outage(answer, 150, 1)
    bench.run(HOUR)

    first_asked: dict[int, float] = {}
    for one in bench.platform.requests(Kind.PUBLISH):
        first_asked.setdefault(one.event, one.at)
    ended = {int(row.subject) for row in OutboxEvent.objects.filter(reason="outcome_unknown")}
    assert bench.states()["delivered"] == bench.enqueued - len(ended)
    if answer == "refused connections":
        assert ended == set()
        return
    closed = {event for event, moment in first_asked.items() if 0 <= moment - BEGINS < HOUR / 2}
    # What closes within a lease is not sent any more, and the outage may be over before it is noticed.
    closing = {event for event, moment in first_asked.items() if 0 <= moment - BEGINS < HOUR / 2 + 180}
    assert 10 <= len(closed) <= 140
    assert closed <= ended <= closing

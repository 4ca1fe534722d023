"""The bench itself: time passes only in leaps, requests take as long as they say, and runs repeat."""

import random

import httpx
import pytest

from genesys_eventbridge import steady
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.relay import batch
from tests.outbox_rows import seconds_between
from tests.simulation import rules
from tests.simulation.bench import Bench
from tests.simulation.clock import SimulatedClock
from tests.simulation.platform import Kind

pytestmark = pytest.mark.django_db


def test_planned_calls_happen_on_the_way_in_their_order():
    clock, seen = SimulatedClock(), []
    for moment in (30.0, 10.0, 20.0, 50.0):
        clock.at(moment, lambda: seen.append(clock.now))

    clock.move_to(40.0)

    assert (seen, clock.now, clock.next_plan) == ([10.0, 20.0, 30.0], 40.0, 50.0)


def test_time_never_goes_back():
    clock = SimulatedClock()
    clock.move_to(40.0)

    clock.move_to(39.0)

    assert clock.now == 40.0


def test_the_databases_clock_leaps_with_the_bench(simulate):
    bench = simulate()
    bench.enqueue()
    before = next_due.database_now()

    bench.clock.move_to(86_400.0)

    assert 86_399 < seconds_between(before, next_due.database_now()) < 86_401


def test_the_clock_is_the_real_one_afterwards(simulate):
    clock = SimulatedClock()
    with clock.running():
        assert vars(batch)["steady"].monotonic() == 0.0

    assert vars(batch)["steady"] is steady


def test_events_are_published_and_confirmed(simulate):
    bench = simulate()
    bench.enqueue(100)

    bench.run(3600)

    assert bench.states() == {"delivered": 100}
    assert set(bench.platform.taken.values()) == {1}
    assert len(bench.platform.requests(Kind.PUBLISH)) == len(bench.platform.requests(Kind.CHECK)) == 100
    assert len(bench.platform.requests(Kind.TOKEN)) == 1


def test_as_many_requests_are_under_way_as_there_are_senders(simulate):
    """160 answers of a second each, 16 at a time."""
    bench = simulate(rules.of(Kind.PUBLISH, lambda question: rules.slowly(1.0, question)))
    bench.enqueue(160)

    bench.run(3600)

    begun = [one.at for one in bench.platform.requests(Kind.PUBLISH)]
    under_way = [sum(other <= moment < other + 1.0 for other in begun) for moment in begun]
    assert len(begun) == 160
    assert max(under_way) == 16
    assert max(begun) < 10


def test_a_request_without_an_answer_takes_until_its_deadline(simulate):
    bench = simulate(rules.first(1, rules.read_timeout))
    bench.enqueue()

    bench.run(3600)

    attempt = DeliveryAttempt.objects.get(number=1)
    assert (attempt.duration, attempt.verdict) == (20.05, "unknown")  # with the token's 0.05 s


def test_a_trickle_goes_on_during_a_pass(simulate):
    bench = simulate(lambda question: rules.slowly(10.0, question))
    bench.enqueue()
    bench.trickle(every=1.0, until=60.0)

    bench.run(3600)

    assert bench.enqueued == 60
    assert bench.states() == {"delivered": 60}


def test_a_bench_waits_for_what_is_planned(simulate):
    bench = simulate()
    bench.clock.at(7200.0, bench.enqueue)

    bench.run(10_000)

    assert bench.states() == {"delivered": 1}
    assert 7200 <= bench.platform.accepted_at[0] <= 7201


def test_a_key_that_was_used_is_answered_with_its_event(simulate):
    bench = simulate(rules.first(1, rules.read_timeout), seed=3)
    bench.enqueue(8)

    bench.run(3600)

    again = [exchange.event for exchange in bench.platform.requests(Kind.PUBLISH) if exchange.status == 409]
    assert bench.states() == {"delivered": 8}
    assert 0 < len(again) < 8
    assert set(bench.platform.taken.values()) == {1}


def everything_fails_now_and_then():
    return [rules.of(Kind.PUBLISH, rules.share(0.1, fault)) for fault in (rules.reset, rules.status(503))]


def test_a_run_repeats_itself():
    """To the time and order of each request."""
    runs = []
    for _ in range(2):
        for model in (DeliveryAttempt, OutboxEvent, Destination):
            model.objects.all().delete()
        random.seed(14)
        bench = Bench(*everything_fails_now_and_then())
        with bench.clock.running():
            bench.enqueue(60)
            bench.run(3600)
        runs.append([(one.at, one.kind, one.event, one.status) for one in bench.platform.exchanges])

    assert runs[0] == runs[1]


def test_a_bench_without_events_has_nothing_to_wait_for(simulate):
    bench = simulate(lambda _question: httpx.Response(503))

    assert bench.run(100) == 0.0

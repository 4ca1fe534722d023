"""Checking: a path that is wrong ends no event and pauses checking; a lost event ends alone."""

import pytest

from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.states import AttemptKind
from tests.simulation import rules
from tests.simulation.platform import Kind

pytestmark = pytest.mark.django_db

HOUR = 3600.0


def check_gate():
    return destinations.gate(AttemptKind.CHECK, "default", "tests")


@pytest.mark.parametrize("answer", [rules.not_found, rules.page(404)], ids=["platform", "page"])
def test_a_wrong_path_for_checks_pauses_checking_and_ends_nothing(simulate, answer):
    """EVENTS_PATH is right for publishing only; it is put right after an hour and a half."""
    bench = simulate(rules.between(0.0, 1.5 * HOUR, rules.of(Kind.CHECK, answer)))
    bench.enqueue(30)
    bench.trickle(every=300.0, until=1.4 * HOUR)

    bench.run(1.5 * HOUR - 1)

    assert bench.states() == {"accepted": bench.enqueued}
    gate = check_gate()
    assert (gate.open, gate.kind) == (False, "config")
    assert len(bench.platform.requests(Kind.CHECK, start=HOUR, end=1.5 * HOUR)) <= 30

    bench.run(4 * HOUR)

    assert bench.states() == {"delivered": bench.enqueued}


def test_an_event_that_the_platform_has_lost_ends_alone(simulate):
    bench = simulate(rules.of(Kind.CHECK, rules.events([7], rules.not_found)))
    bench.enqueue(30)
    bench.trickle(every=60.0, until=HOUR)

    bench.run(3 * HOUR)

    (lost,) = bench.rows([7])
    assert (lost.state, lost.reason) == ("unresolved", "unconfirmed")
    assert bench.states() == {"delivered": bench.enqueued - 1, "unresolved/unconfirmed": 1}

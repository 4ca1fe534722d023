"""A day at a platform where one request in twenty fails in some way."""

import pytest

from tests.simulation import rules
from tests.simulation.bench import FULL
from tests.simulation.platform import Kind
from tests.simulation.test_fault_plans import FAULTS

pytestmark = pytest.mark.django_db

HOUR = 3600.0


def test_only_poison_ends_in_a_day_of_few_failures(simulate):
    """Of all kinds, for publishing, checks and tokens; an event comes every five minutes."""
    failures = rules.one_of(*FAULTS.values(), rules.status(503), rules.refused_connection)
    token_failures = rules.one_of(rules.page(200), rules.status(500), rules.cut, rules.refused_connection)
    bench = simulate()
    poison = {40, 80}
    bench.platform.rules[:] = [
        rules.of(Kind.PUBLISH, rules.events(poison, rules.refusal)),
        rules.of(Kind.PUBLISH, rules.unauthorized(0.01)),
        rules.of(Kind.PUBLISH, rules.share(0.05, failures)),
        rules.of(Kind.CHECK, rules.share(0.05, failures)),
        rules.of(Kind.TOKEN, rules.share(0.05, token_failures)),
    ]
    hours = 24 if FULL else 8
    bench.trickle(every=300.0, until=hours * HOUR)

    bench.run((hours + 2) * HOUR)

    assert bench.enqueued == hours * 12 - 1
    assert bench.states() == {"delivered": bench.enqueued - 2, "dead/rejected": 2}
    assert set(bench.platform.taken.values()) == {1}
    waited = sorted(moment - 300.0 * (number + 1) for number, moment in bench.platform.accepted_at.items())
    assert waited[-1] <= 120.0

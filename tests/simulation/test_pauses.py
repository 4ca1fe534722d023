"""Pauses of different kinds are separate facts: none swallows, ends or hides another."""

import httpx
import pytest

from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.states import AttemptKind
from tests.simulation import rules
from tests.simulation.platform import Kind

pytestmark = pytest.mark.django_db


@pytest.fixture
def bench(simulate):
    """A destination that accepted an event in its first minute."""
    bench = simulate()
    bench.enqueue()
    bench.run(60)
    bench.clock.move_to(60.0)
    return bench


def test_a_network_pause_does_not_swallow_a_rate_pause(bench):
    """One sender is answered 429 with two minutes, another has its connection reset a moment later."""
    limited, cut_off = bench.enqueue(), bench.enqueue(5)
    bench.platform.rules[:] = [
        rules.between(0.0, 70.0, rules.events(limited, rules.rate_limit(120))),
        rules.between(0.0, 70.0, rules.events(cut_off, rules.late(2.0, httpx.ReadError("reset")))),
    ]

    bench.run(3600)

    assert bench.platform.requests(Kind.PUBLISH, start=61.0, end=180.0) == []
    assert bench.states() == {"delivered": 7}


def test_a_late_success_does_not_end_a_rate_pause(bench):
    """It was under way when another sender was answered 429."""
    slow, limited, waiting = bench.enqueue(), bench.enqueue(), bench.enqueue(40)
    bench.platform.rules[:] = [
        rules.events(slow, lambda question: rules.slowly(10.0, question)),
        rules.between(0.0, 70.0, rules.events(limited, rules.rate_limit(120))),
    ]

    bench.run(3600)

    assert bench.platform.accepted_at[slow[0]] == pytest.approx(70.0, abs=0.2)
    assert bench.platform.requests(Kind.PUBLISH, start=61.0, end=180.0) == []
    assert {bench.platform.taken[number] for number in waiting} == {1}


def test_a_late_success_ends_the_pause_of_the_network_and_not_that_of_the_rate(bench):
    """429 with eight seconds, resets after five, which pause for longer, and after six the success."""
    slow, limited, cut_off = bench.enqueue(), bench.enqueue(), bench.enqueue(5)
    bench.platform.rules[:] = [
        rules.events(slow, lambda question: rules.slowly(6.0, question)),
        rules.between(0.0, 70.0, rules.events(limited, rules.rate_limit(8))),
        rules.between(0.0, 70.0, rules.events(cut_off, rules.late(5.0, httpx.ReadError("reset")))),
    ]

    bench.run(3600)

    assert bench.platform.accepted_at[slow[0]] == pytest.approx(66.0, abs=0.2)
    assert bench.platform.requests(Kind.PUBLISH, start=61.0, end=68.0) == []
    assert bench.states() == {"delivered": 8}


def test_a_check_pause_of_the_past_does_not_hide_a_running_rate_pause(bench):
    """Checks are refused; when their pause is over and no check was made since, publishing meets a 429."""
    bench.platform.rules[:] = [
        rules.between(60.0, 65.0, rules.of(Kind.CHECK, rules.page(403))),
    ]
    bench.enqueue()
    bench.run(5)
    assert not destinations.gate(AttemptKind.CHECK, "default", "tests").open
    bench.platform.rules[:] = [
        rules.between(100.0, 130.0, rules.of(Kind.PUBLISH, rules.rate_limit(600))),
        rules.between(100.0, 125.0, rules.of(Kind.CHECK, rules.page(403))),
    ]
    bench.clock.at(121.0, bench.enqueue)

    bench.run(3600)

    (limited,) = [one.at for one in bench.platform.requests(Kind.PUBLISH) if one.status == 429]
    assert bench.platform.requests(Kind.CHECK, start=limited + 1, end=limited + 599) == []
    assert bench.states() == {"delivered": 3}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (rules.of(Kind.CHECK, rules.page(403)), "permission"),
        (rules.of(Kind.CHECK, rules.unauthorized(1.0)), "auth"),
        (rules.refused_token, "auth"),
        (rules.no_connection_for_token, "network"),
    ],
    ids=["403", "401", "no token: 401", "no token: no connection"],
)
def test_a_check_pause_remembers_its_kind(simulate, answer, kind):
    """The token has expired when the check is due."""
    bench = simulate(token_life=1.0)
    bench.enqueue()
    bench.clock.at(1.5, lambda: bench.platform.rules.append(answer))

    bench.run(3)

    gate = destinations.gate(AttemptKind.CHECK, "default", "tests")
    asked = [(each.at, each.kind.value, each.status) for each in bench.platform.exchanges]
    seen = f"{bench.states()} {asked} {bench.senders.settings.check_delays} {bench.senders.settings.confirm}"
    assert (gate.open, gate.kind) == (False, kind), seen

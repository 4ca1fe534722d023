"""``simulate(rules)`` returns a bench with a simulated clock, identical in each run."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from django.db import connection

from genesys_eventbridge import signals
from tests.simulation.bench import FULL, Bench


@pytest.fixture(autouse=True)
def where_it_counts() -> None:
    """Skip other databases unless EVENTBRIDGE_SIMULATION=full: the plans behave the same on each database."""
    if connection.vendor != "sqlite" and not FULL:
        pytest.skip("on SQLite, and everywhere with EVENTBRIDGE_SIMULATION=full")


@pytest.fixture
def simulate() -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:
        before = random.getstate()
        stack.callback(random.setstate, before)
        random.seed(14)

        def simulate(*rules, **options):
            bench = Bench(*rules, **options)
            stack.enter_context(bench.clock.running())

            def note(sender, reason, **_more):
                bench.pauses.append((bench.now, reason))

            signals.destination_paused.connect(note, weak=False)
            stack.callback(signals.destination_paused.disconnect, note)
            return bench

        yield simulate

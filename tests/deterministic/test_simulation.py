"""The simulation holds on this database, replays step for step, and finds that a guard is missing."""

import os
import re
import subprocess
import sys

import pytest
from hypothesis import settings

from tests import databases
from tests.deterministic.choices import Choices
from tests.deterministic.recorded import RECORDED
from tests.deterministic.shrinking import shrunk
from tests.deterministic.world import Run

DATABASE = os.environ.get(databases.CHOICE, "sqlite")
#: With EVENTBRIDGE_TEST_DEPTH=full about a minute on each database.
SEEDS = {"sqlite": 300, "postgresql": 150, "mysql": 200}[DATABASE] if settings().max_examples > 50 else 20


def simulate(*arguments: str) -> tuple[int, list[str]]:
    """The exit code and the lines of one run, without what it says about its speed."""
    environment = {name: value for name, value in os.environ.items() if name != databases.NAME}
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--database", DATABASE, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in lines if "per minute" not in line]


def test_the_guarantees_hold_in_every_interleaving_that_the_seeds_choose():
    assert simulate("--seeds", str(SEEDS)) == (0, [])


@pytest.mark.parametrize("seed", [7, 16, 41, 48, 170])
def test_a_seed_replays_step_for_step(seed):
    code, steps = simulate("--seed", str(seed))

    assert code == 0
    assert len(steps) > 100
    assert simulate("--seed", str(seed)) == (0, steps)


@pytest.fixture(scope="module")
def recorded():
    """What ``--recorded`` prints, by mutant."""
    _code, lines = simulate("--recorded")
    return {each.mutant: [line for line in lines if f" {each.mutant}: " in line] for each in RECORDED}


@pytest.mark.skipif(DATABASE != "sqlite", reason="the seeds are recorded on SQLite")
@pytest.mark.parametrize("mutant", [each.mutant for each in RECORDED])
def test_a_central_guard_that_is_missing_is_found(recorded, mutant):
    (line,) = recorded[mutant]

    assert line.startswith("noticed ")


@pytest.mark.skipif(DATABASE == "sqlite", reason="there seeds are recorded")
def test_a_guard_that_is_missing_is_found():
    code, lines = simulate("--mutant", "count at claim", "--seeds", "14")

    assert code == 0
    assert re.search("^caught .*claimed without an attempt", lines[0]), lines


def test_a_failure_is_shrunk_to_the_choices_that_it_needs():
    """Here: the third kill, in a run with at least one switch."""

    def run(kept=None):
        choices = Choices(1, kept)
        kills = [choices.one_of("kill", 9) for _ in range(40)]
        switches = [choices.one_of("switch", 9) for _ in range(40)]
        failure = f"event {len(choices.made)} is lost" if kills[2] and any(switches) else ""
        return Run(1, failure=failure, made=choices.made)

    small = shrunk(run(), run)

    assert ("kill", 3) in small.made
    assert len(small.made) == 2
    assert small.failure == "event 2 is lost"

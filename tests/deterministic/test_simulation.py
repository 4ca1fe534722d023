"""The simulation holds on this database, replays step for step, and finds that a guard is missing."""

import itertools
import os
import re
import subprocess
import sys

import pytest
from hypothesis import settings

from genesys_eventbridge import conf
from tests import databases, mutants
from tests.deterministic import command, reach, scope
from tests.deterministic.changes import Changes, Replays
from tests.deterministic.choices import Choices, as_text, from_text
from tests.deterministic.recorded import RECORDED
from tests.deterministic.shrinking import shrunk
from tests.deterministic.world import Run
from tests.model import spin
from tests.model.traces import Line

pytestmark = pytest.mark.database  # in processes of its own

DATABASE = os.environ.get(databases.CHOICE, "sqlite")
#: At full depth each profile comes twice, on a server once. The same seeds find nothing new from run to run:
#: `make simulation` tries more.
SEEDS = (50 if DATABASE == "sqlite" else 25) if settings().max_examples > 50 else 12


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
    """And what happens in them is what the model says, where SPIN is installed."""
    if not spin.is_installed():
        assert simulate("--seeds", str(SEEDS)) == (0, [])
        return

    code, lines = simulate("--seeds", str(SEEDS), "--model")

    assert code == 0, lines
    (accepted,) = lines
    found = re.match(r"\d{3,} lines of (\d+) runs accepted by the model", accepted)
    assert found, accepted
    assert int(found[1]) >= SEEDS // 3, accepted


@pytest.mark.one_leg
def test_seeds_replay_step_for_step_in_any_order():
    seeds = ["7", "41", "170"]
    first, again = (simulate("--seed", *order) for order in (seeds, seeds[::-1]))

    assert first[0] == again[0] == 0
    runs, others = by_seed(first[1]), by_seed(again[1])
    assert runs == others[::-1]
    assert [len(steps) > 100 for steps in runs] == [True] * 3


def by_seed(lines: list[str]) -> list[list[str]]:
    """The steps of each run; the first has the number 1."""
    begins = [*(at for at, line in enumerate(lines) if line.startswith("1 ")), len(lines)]
    return [lines[begin:end] for begin, end in itertools.pairwise(begins)]


@pytest.fixture(scope="module")
def recorded():
    """What ``--recorded`` prints, by mutant."""
    _code, lines = simulate("--recorded")
    return {each.mutant: [line for line in lines if f" {each.mutant}: " in line] for each in RECORDED}


@pytest.mark.one_leg
@pytest.mark.skipif(DATABASE != "sqlite", reason="the seeds are recorded on SQLite")
@pytest.mark.parametrize("mutant", [each.mutant for each in RECORDED])
def test_a_central_guard_that_is_missing_is_found(recorded, mutant):
    (line,) = recorded[mutant]

    assert line.startswith("noticed ")


@pytest.mark.one_leg
def test_every_mutant_in_scope_is_caught_or_has_a_reason():
    """A new one belongs into scope.py: ``python -m tests.simulation --mutants NAME`` tries it."""
    listed = [*scope.CAUGHT, *(name for names in scope.MISSED.values() for name in names)]
    wanted = [each.name for each in scope.mutants_in_scope() if each.database == "sqlite"]

    assert sorted(listed) == sorted(wanted)
    assert {each.mutant for each in RECORDED} <= set(scope.CAUGHT)


@pytest.mark.one_leg
def test_the_docs_have_the_table_of_mutants():
    page = (mutants.HOME / "docs" / "how-we-know.md").read_text(encoding="utf-8")

    assert "\n".join(scope.table()) in page


@pytest.mark.one_leg
def test_only_seeds_that_run_the_code_of_a_mutant_are_tried():
    text = (mutants.HOME / "genesys_eventbridge" / "outbox" / "claim.py").read_text(encoding="utf-8")
    mutant = next(each for each in scope.mutants_in_scope() if each.name == "window rule in the claim")
    line = 1 + text[: text.index(mutant.changes[0][0])].count("\n")

    assert reach.seeds(mutant, {mutant.file: {line: {3, 17}, line + 40: {5}}}) == {3, 17}
    assert reach.seeds(mutant, {mutant.file: {line + 40: {5}}}) == set()


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
        return Run(1, "mixed", conf.destination(), failure=failure, made=choices.made)

    small = shrunk(run(), run)

    assert ("kill", 3) in small.made
    assert len(small.made) == 2
    assert small.failure == "event 2 is lost"
    assert from_text(as_text(small.made)) == list(small.made)


@pytest.mark.one_leg
def test_a_shrunk_run_is_repeated_with_the_choices_that_it_made():
    simplest, one, again = (simulate("--seed", "7", "--choices", made) for made in ("", *["next 2"] * 2))

    assert one == again
    assert one[0] == simplest[0] == 0
    assert one[1] != simplest[1]


@pytest.mark.one_leg
def test_a_step_says_what_it_did_to_which_event():
    _code, lines = simulate("--seed", "7")

    for change in (r"pending, attempts 1,.* claim", "pending -> accepted"):
        assert any(re.search(rf"worker-.*: event \d+ \(N-\d+\): {change}", line) for line in lines)


@pytest.mark.one_leg
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "'0' is not a whole number of 1 or more"),
        (["--first", "99999"], "'99999' is not a seed: 1 to 11999"),
        (["--seed", "1", "0"], "'0' is not a seed"),
        (["--seed", "1", "2", "--choices", ""], "--choices and --trace need --seed with one seed"),
        (["--trace", "lines.jsonl"], "--choices and --trace need --seed with one seed"),
        (["--seed", "1", "--choices", "next"], "names and numbers, such as 'next 3, clock 1'"),
        (["--database", "mysql"], "--database mysql needs TEST_MYSQL_URL: mysql://user@127.0.0.1"),
    ],
)
def test_wrong_arguments_are_refused(monkeypatch, capsys, arguments, said):
    monkeypatch.delenv("TEST_MYSQL_URL", raising=False)

    with pytest.raises(SystemExit) as left:
        command.main(arguments)

    assert left.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.one_leg
def test_a_trace_is_what_the_model_replays(tmp_path):
    simulate("--seed", "7", "--trace", str(tmp_path / "lines.jsonl"))

    lines = [Line.from_json(text) for text in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert {line.what for line in lines} == {"row", "send", "accept"}


def a_row(**changed):
    """A pending row as the judge reads it."""
    return {
        "id": 1,
        "event_id": "one",
        "ordering_key": "",
        "key_epoch": 0,
        "state": "pending",
        "reason": "",
        "attempts": 0,
        "remote_id": "",
        **dict.fromkeys(("due_at", "created_at"), 1.0),
        **dict.fromkeys(("claim_token", "accepted_at", "finished_at", "failed_at")),
        **dict.fromkeys(("in_doubt_since", "key_known_since")),
        **changed,
    }


@pytest.mark.one_leg
@pytest.mark.skipif(not spin.is_installed(), reason=spin.MISSING)
def test_a_run_that_does_what_the_model_does_not_has_failed():
    """Here: the second claim counts no attempt."""
    row = a_row()
    lease = conf.destination().lease_seconds
    claim = {"claim_token": "1" * 32, "in_doubt_since": 2.0}
    first = {**row, **claim, "attempts": 1, "due_at": 2.0 + lease}
    second = {**first, "claim_token": "2" * 32, "due_at": 3.0 + 2 * lease}

    def run(last):
        changes = Changes()
        changes.row(None, row, 1.0)
        changes.row(row, first, 2.0)
        changes.row(first, last, 3.0 + lease)
        settings = conf.destination()
        with Replays() as replays:
            return replays.judged(Run(1, "mixed", settings, changes=changes.lines(settings))).failure

    assert run({**second, "attempts": 2}) == ""
    assert "no transition of the model" in run(second)


def test_a_retry_was_written_before_it_became_due():
    """Its worker was frozen until long after that, before the commit."""
    row = a_row(attempts=1, in_doubt_since=1.0)
    claimed = {**row, "claim_token": "1" * 32, "due_at": 2.0 + 60.0}
    changes = Changes()
    changes.row(row, claimed, 2.0)
    changes.row(claimed, {**row, "due_at": 5.0}, 90_000.0)

    assert [line.t for line in changes.lines(conf.destination())] == [2.0, 5.0]

"""``python -m tests.simulation``: run seeds, replay one, or try the mutants."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import databases

#: The last steps of a failed run that are printed.
LAST = 40
#: Directories whose mutants a run may notice.
CONCERNED = ("relay/", "outbox/", "circuit/", "operations/", "db/__init__", "db/clock", "db/transactions")
#: A copy of the tables that were just created, for processes that start from it.
TEMPLATE = "EVENTBRIDGE_SIMULATION_TEMPLATE"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=100, metavar="N", help="how many seeds to run (default: 100)"
    )
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first of them (default: 1)")
    parser.add_argument("--database", choices=["sqlite", *databases.URLS], default="sqlite")
    parser.add_argument("--seed", type=int, metavar="SEED", help="replay this seed and print each step")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write changes of rows and messages as JSON lines"
    )
    parser.add_argument("--mutant", metavar="NAME", help="apply this mutant of tests/mutants.py first")
    parser.add_argument(
        "--mutants", nargs="*", metavar="WORD", help="try all that have one of these words, or all"
    )
    parser.add_argument("--quick", action="store_true", help="end at the first failure, and shrink nothing")
    options = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of texts is part of a run
        given = sys.argv[1:] if arguments is None else arguments
        environment = {**os.environ, "PYTHONHASHSEED": "0", databases.CHOICE: options.database}
        return subprocess.run(
            [sys.executable, "-m", "tests.simulation", *given], env=environment, check=False
        ).returncode
    if options.mutant or options.mutants is not None:
        return _mutants(options)
    with _database() as name:
        del name
        return _run(options)


@contextmanager
def _database() -> Iterator[str]:
    """The tables, in a database of their own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.db import connection

    with databases.folder():
        name = str(connection.settings_dict["NAME"])
        if os.environ.get(TEMPLATE):
            shutil.copy(os.environ[TEMPLATE], name)
        else:
            connection.creation.create_test_db(verbosity=0, autoclobber=True)
        try:
            yield name
        finally:
            connection.close()
            if connection.vendor != "sqlite":
                connection.creation.destroy_test_db(name, verbosity=0)


def _run(options: argparse.Namespace) -> int:
    from tests.deterministic import world
    from tests.deterministic.database import Database

    seeds = (
        [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    )
    began, steps, failed, traces = time.monotonic(), 0, 0, set[int]()
    database = Database()
    try:
        for seed in seeds:
            run = world.run(database, seed)
            steps += run.steps
            traces.add(hash(tuple(run.trace)))
            if options.trace:
                _write(options.trace, run, more=seed != seeds[0])
            if options.seed is not None:
                _say("\n".join(run.trace))
            if run.failure:
                failed += 1
                _explain(database, run, options)
                if options.quick:
                    return 1
    finally:
        database.close()
    minutes = (time.monotonic() - began) / 60
    _say(
        f"{options.database}: {len(seeds)} seeds, {len(traces)} different interleavings, {steps} steps, "
        f"{failed} failed; {len(seeds) / minutes:.0f} seeds and {steps / minutes:.0f} steps per minute"
    )
    return 1 if failed else 0


def _explain(database: object, run: object, options: argparse.Namespace) -> None:
    """Print a failure so that it can be understood and repeated."""
    from tests.deterministic import world
    from tests.deterministic.database import Database
    from tests.deterministic.shrinking import shrunk
    from tests.deterministic.world import Run

    assert isinstance(database, Database)
    assert isinstance(run, Run)
    _say(f"seed {run.seed} ({run.profile}): {run.failure.strip()}")
    if options.quick:
        return
    small = shrunk(run, lambda kept: world.run(database, run.seed, kept))
    _say(
        f"  shrunk from {len(run.made)} choices and {run.steps} steps to {len(small.made)} and "
        f"{small.steps}: {small.failure.strip()}"
    )
    for fault in small.faults:
        _say(f"  fault: {fault}")
    _say("  choices: " + ", ".join(f"{stream} {number}" for stream, number in small.made))
    _say("  the last steps of the shrunk run:")
    for line in small.trace[-LAST:]:
        _say(f"    {line}")
    _say(f"  repeat it: python -m tests.simulation --database {options.database} --seed {run.seed}")


def _write(path: Path, run: object, *, more: bool) -> None:
    with path.open("a" if more else "w", encoding="utf-8") as file:
        file.write(json.dumps({"what": "run", "detail": {"seed": run.seed}}) + "\n")  # type: ignore[attr-defined]
        file.writelines(json.dumps(line, default=str) + "\n" for line in run.lines)  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------- mutants


def _mutants(options: argparse.Namespace) -> int:
    """Run the seeds on a copy of the tree with each mutant; a table of what was caught by what."""
    from tests.mutants import MUTANTS

    if options.mutant:
        chosen = [each for each in MUTANTS if each.name == options.mutant]
    else:
        named = [each for each in MUTANTS if each.file.startswith(CONCERNED)]
        words = options.mutants
        chosen = [
            each
            for each in named
            if not words or any(word in each.name or word in each.file for word in words)
        ]
    if not chosen:
        _say("no such mutant")
        return 2
    caught = 0
    with tempfile.TemporaryDirectory(prefix="eventbridge-simulation-") as folder:
        template = Path(folder) / "template.sqlite3"
        if options.database == "sqlite":
            with _database() as name:
                from django.db import connection

                with connection.cursor() as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                shutil.copy(name, template)
        for mutant in chosen:
            failure = _try(mutant, options, template)
            tried = not failure.startswith("NOT TRIED")
            caught += bool(failure) and tried
            word = "caught" if failure else "not caught"
            _say(f"{word:<10} {mutant.file:<24} {mutant.name}: {failure or '-'}")
    _say(f"{caught} of {len(chosen)} mutants caught by {options.seeds} seeds on {options.database}")
    return 0


def _try(mutant: object, options: argparse.Namespace, template: Path) -> str:
    """The failure that the first failing seed reports; empty if none fails."""
    from tests import mutants

    with tempfile.TemporaryDirectory(prefix="eventbridge-mutant-") as folder:
        copy = mutants._copied(folder)
        (copy / "genesys_eventbridge" / mutant.file).write_text(mutants.mutated(mutant), encoding="utf-8")  # type: ignore[attr-defined,arg-type]
        environment = {name: value for name, value in os.environ.items() if name != databases.NAME}
        environment |= {"PYTHONPATH": str(copy), databases.CHOICE: options.database}
        if template.exists():
            environment[TEMPLATE] = str(template)
        seeds = ["--seeds", str(options.seeds), "--first", str(options.first), "--database", options.database]
        run = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--quick", *seeds],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode == 0:
        return ""
    if not run.stdout.startswith("seed "):
        return f"NOT TRIED: {run.stderr[-2000:]}"
    lines = run.stdout.strip().splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0].partition(':')[0]}: {lines[-1]}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

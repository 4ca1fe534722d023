"""``python -m tests.simulation``: run seeds, replay one, or try the mutants."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

from tests import databases, mutants
from tests.deterministic import reach, scope
from tests.deterministic.choices import Choice, as_text, from_text
from tests.deterministic.profiles import END, PROFILES, in_turn, of_seed
from tests.deterministic.reach import Lines
from tests.mutants import Mutant

if TYPE_CHECKING:
    from tests.deterministic.world import Run

#: The last steps of a failed run that are printed.
LAST = 40
#: How many seeds are run without a mutant to see which code they run: about four of each profile.
SURVEYED = 96
SAME = "the same steps as without it"
#: A copy of the tables that were just created, for processes that start from it.
TEMPLATE = "EVENTBRIDGE_SIMULATION_TEMPLATE"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "--seeds", type=_positive, default=100, metavar="N", help="how many seeds to run (default: 100)"
    )
    parser.add_argument(
        "--first", type=_seed, default=1, metavar="SEED", help="the first of them (default: 1)"
    )
    parser.add_argument(
        "--profile", nargs="*", metavar="WORD", help="only seeds whose profile has one of these words"
    )
    parser.add_argument("--database", choices=["sqlite", *databases.URLS], default="sqlite")
    parser.add_argument(
        "--seed", type=_seed, nargs="+", metavar="SEED", help="replay these seeds and print each step"
    )
    parser.add_argument(
        "--choices",
        type=_choices,
        metavar="TEXT",
        help="with one --seed: make only these of its choices, as a shrunk run prints them",
    )
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="with one --seed: write the lines that the model replays"
    )
    parser.add_argument("--mutant", metavar="NAME", help="apply this mutant of tests/mutants.py first")
    parser.add_argument(
        "--mutants", nargs="*", metavar="WORD", help="try all that have one of these words, or all"
    )
    parser.add_argument(
        "--recorded", action="store_true", help="try the central guards with the seeds of recorded.py"
    )
    parser.add_argument(
        "--model",
        action="store_true",
        help="also replay each run against the model (apt-get install spin gcc)",
    )
    parser.add_argument("--quick", action="store_true", help="end at the first failure, and shrink nothing")
    parser.set_defaults(known={})
    options = parser.parse_args(arguments)
    if len(options.seed or ()) != 1 and (options.choices is not None or options.trace):
        parser.error("--choices and --trace need --seed with one seed")
    url = databases.URLS.get(options.database)
    if url and not os.environ.get(url):
        parser.error(f"--database {options.database} needs {url}: {options.database}://user@127.0.0.1")
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of texts is part of a run
        given = sys.argv[1:] if arguments is None else arguments
        environment = {**os.environ, "PYTHONHASHSEED": "0", databases.CHOICE: options.database}
        return subprocess.run(
            [sys.executable, "-m", "tests.simulation", *given], env=environment, check=False
        ).returncode
    if options.recorded:
        return _recorded(options)
    if options.mutant or options.mutants is not None:
        return _mutants(options)
    with _database() as name:
        del name
        return _run(options)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < END:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: 1 to {END - 1}")
    return int(text)


def _choices(text: str) -> list[Choice]:
    try:
        return from_text(text)
    except ValueError:
        raise argparse.ArgumentTypeError("names and numbers, such as 'next 3, clock 1'") from None


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


def _run(options: argparse.Namespace, seeds: Sequence[int] = ()) -> int:
    from tests.deterministic import world
    from tests.deterministic.changes import Replays
    from tests.deterministic.database import Database

    seeds = seeds or options.seed or _seeds(options)
    began, steps, failed, traces = time.monotonic(), 0, 0, dict[int, int]()
    with ExitStack() as stack:
        database = stack.enter_context(closing(Database()))
        replays = stack.enter_context(Replays()) if options.model else None

        def run_one(seed: int, kept: Collection[Choice] | None = None) -> Run:
            run = world.run(database, seed, kept)
            return replays.judged(run) if replays else run

        for seed in seeds:
            run = run_one(seed, options.choices)
            steps += run.steps
            traces[seed] = hash(tuple(run.trace))
            if options.trace:
                lines = (f"{line.as_json()}\n" for line in run.changes)
                options.trace.write_text("".join(lines), encoding="utf-8")
            if options.seed and not options.mutant:
                _say("\n".join(run.trace))
            if run.failure:
                failed += 1
                _explain(run, partial(run_one, seed), options)
                if options.quick:
                    return 1
    if options.known:
        _say(f"{len(seeds)} seeds, {_differing(traces, options.known)}")
        return 0
    minutes = (time.monotonic() - began) / 60
    _say(
        f"{options.database}: {len(seeds)} seeds, {len(set(traces.values()))} different interleavings, "
        f"{steps} steps, {failed} failed; {len(seeds) / minutes:.0f} seeds and "
        f"{steps / minutes:.0f} steps per minute"
    )
    if replays:
        _say(
            f"{replays.lines} lines of {replays.runs} runs accepted by the model; it cannot follow the "
            f"webhook, a clock that is set, or dead events that hold back no others"
        )
    return 1 if failed else 0


def _differing(traces: dict[int, int], known: dict[int, int]) -> str:
    number = sum(steps != known.get(seed, steps) for seed, steps in traces.items())
    return f"{number} with other steps" if number else SAME


def _seeds(options: argparse.Namespace) -> list[int]:
    """The seeds to run: from the first on, as many as wanted, of the profiles that were asked for."""
    words = options.profile or [""]
    if not any(word in profile.name for word in words for profile in PROFILES):
        raise SystemExit(f"no profile has one of the words {words}")
    wanted = (seed for seed in in_turn(options.first) if any(word in of_seed(seed).name for word in words))
    seeds = list(itertools.islice(wanted, options.seeds))
    if not seeds:
        raise SystemExit(f"no seed from {options.first} on has such a profile")
    return seeds


def _explain(run: Run, again: Callable[[Collection[Choice]], Run], options: argparse.Namespace) -> None:
    """Print a failure so that it can be understood and repeated."""
    from tests.deterministic.shrinking import shrunk

    _say(f"seed {run.seed} ({run.profile}): {run.failure.strip()}")
    if options.quick or options.choices is not None:
        return
    small = shrunk(run, again)
    _say(
        f"  shrunk from {len(run.made)} choices and {run.steps} steps to {len(small.made)} and "
        f"{small.steps}: {small.failure.strip()}"
    )
    for fault in small.faults:
        _say(f"  fault: {fault}")
    _say("  the last steps of the shrunk run:")
    for line in small.trace[-LAST:]:
        _say(f"    {line}")
    repeat = f"python -m tests.simulation --database {options.database} --seed {run.seed}"
    _say(f"  repeat it: {repeat}")
    _say(f'  repeat the shrunk run: {repeat} --choices "{as_text(small.made)}"')


# ------------------------------------------------------------------------------------------------- mutants


def _mutants(options: argparse.Namespace) -> int:
    """Try each mutant with seeds that run the code it changes; a table of what was caught by what."""
    if options.mutant:
        chosen = [each for each in mutants.MUTANTS if each.name == options.mutant]
    else:
        words = options.mutants
        chosen = [
            each
            for each in scope.mutants_in_scope()
            if not words or any(word in each.name or word in each.file for word in words)
        ]
    if not chosen:
        _say("no such mutant")
        return 2
    words, unnoticed = Counter[str](), 0
    with _ready_to_fork(options):
        survey = None if options.mutant else _surveyed(options)
        for mutant in chosen:
            word, failure = _classified(mutant, survey, options)
            words[word] += 1
            unnoticed += survey is not None and mutant.name in scope.CAUGHT and word != "caught"
            _say(f"{word:<14} {mutant.file:<24} {mutant.name}: {failure or '-'}")
    totals = ", ".join(f"{number} {word}" for word, number in words.most_common())
    _say(f"{len(chosen)} mutants on {options.database}: {totals}; {unnoticed} of scope.CAUGHT not caught")
    return 1 if unnoticed and options.database == "sqlite" else 0


@dataclass(frozen=True)
class Survey:
    """What seeds do without a mutant: a hash of their steps, and which lines they run."""

    steps: dict[int, int]
    lines: Lines


def _surveyed(options: argparse.Namespace) -> Survey:
    seeds = _seeds(argparse.Namespace(**{**vars(options), "seeds": SURVEYED}))

    def work() -> int:
        steps: dict[int, int] = {}

        def run_all(begin: Callable[[int], None]) -> None:
            with _database():
                from tests.deterministic import world
                from tests.deterministic.database import Database

                with closing(Database()) as database:
                    for seed in seeds:
                        begin(seed)
                        run = world.run(database, seed)
                        steps[seed] = hash(tuple(run.trace))
                        if run.failure:
                            raise SystemExit(f"seed {seed} fails without a mutant: {run.failure}")

        lines = reach.measured(run_all)
        _say(repr(Survey(steps, lines)))
        return 0

    code, text = _in_a_fork(work)
    if code:
        raise SystemExit(text)
    found: Survey = eval(text)
    return found


def _classified(mutant: Mutant, survey: Survey | None, options: argparse.Namespace) -> tuple[str, str]:
    """What became of a mutant, and how.

    As ``_tried``, or "not run" if none of the surveyed seeds runs the code that it changes, or "no effect" if
    the seeds take the same steps as without it.
    """
    if survey is None:
        return _tried(mutant, lambda: _run(options))
    if mutant.database != options.database:
        return "other database", mutant.database
    reaching = reach.seeds(mutant, survey.lines)
    seeds = sorted(survey.steps if reaching == {0} else reaching - {0})[: options.seeds]
    if first := scope.CAUGHT.get(mutant.name):
        seeds = [*scope.seeds_like(first), *seeds]
    if not seeds:
        return "not run", ""
    options.known = survey.steps
    word, text = _tried(mutant, lambda: _run(options, seeds))
    if word == "missed" and SAME in text:
        return "no effect", text
    return word, text


def _recorded(options: argparse.Namespace) -> int:
    """Try the central guards: each must be noticed by what its record says."""
    from tests.deterministic.recorded import RECORDED

    named, unnoticed = {each.name: each for each in mutants.MUTANTS}, 0
    with _ready_to_fork(options):
        for each in RECORDED:
            word, failure = _tried(
                named[each.mutant], partial(_run, options, list(scope.seeds_like(each.seed)))
            )
            good = word == "caught" and re.search(each.broken, failure) is not None
            unnoticed += not good
            _say(f"{'noticed' if good else 'UNNOTICED'} {each.guarantee} {each.mutant}: {failure or word}")
    return 1 if unnoticed else 0


@contextmanager
def _ready_to_fork(options: argparse.Namespace) -> Iterator[None]:
    """Prepare what all mutants share."""
    import django.db.models
    import httpx

    del django, httpx
    options.quick, options.known = True, {}
    with tempfile.TemporaryDirectory(prefix="eventbridge-simulation-") as folder:
        if options.database == "sqlite":
            template = Path(folder) / "template.sqlite3"
            _in_a_fork(lambda: _make_template(template))
            os.environ[TEMPLATE] = str(template)
        try:
            yield
        finally:
            os.environ.pop(TEMPLATE, None)


def _make_template(path: Path) -> int:
    with _database() as name:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(name, path)
    return 0


def _tried(mutant: Mutant, run: Callable[[], int]) -> tuple[str, str]:
    """What became of a mutant ("caught", "crashed", "missed" or "not tried"), and the first failure.

    A mutant that raises what the package does not expect, such as a NameError, crashes: that proves nothing.
    """

    def work() -> int:
        _replace(mutant)
        with _database():
            return run()

    code, text = _in_a_fork(work)
    lines = text.strip().splitlines()
    if code == 0:
        return "missed", lines[-1] if lines else ""
    if not text.startswith("seed "):
        return "not tried", text[-2000:]
    if len(lines) == 1:
        return "caught", lines[0]
    return "crashed", f"{lines[0].partition(':')[0]}: {lines[-1]}"


def _replace(mutant: Mutant) -> None:
    """Let this process import the mutant instead of its module."""
    path, text = mutants.HOME / "genesys_eventbridge" / mutant.file, mutants.mutated(mutant)
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if Path(self.path) != path:
            return original(self, fullname)
        return compile(text, self.path, "exec", dont_inherit=True)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]


def _in_a_fork(work: Callable[[], int]) -> tuple[int, str]:
    """The result of ``work`` and what it printed; here nothing of the package is imported before."""
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+") as file:
        pid = os.fork()
        if not pid:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            code = 3
            try:
                code = work()
            except BaseException:  # noqa: BLE001 - the parent reads it
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        file.seek(0)
        return os.waitstatus_to_exitcode(status), file.read()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

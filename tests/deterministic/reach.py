"""Which seeds run the code that a mutant changes: no other can notice it."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterator
from functools import cache

import coverage

from tests import mutants
from tests.mutants import Mutant

PACKAGE = mutants.HOME / "genesys_eventbridge"

#: By file of the package and line: the seeds that run it, and 0 for what runs when it is imported.
Lines = dict[str, dict[int, set[int]]]


def measured(run: Callable[[Callable[[int], None]], None]) -> Lines:
    """``run`` calls what it is given with each seed before it runs it."""
    measuring = coverage.Coverage(data_file=None, config_file=False, source=[str(PACKAGE)], context="0")

    def begin(seed: int) -> None:
        measuring.switch_context(str(seed))

    measuring.start()
    try:
        run(begin)
    finally:
        measuring.stop()
    data, lines = measuring.get_data(), Lines()
    for path in data.measured_files():
        of_file = lines[path.removeprefix(f"{PACKAGE}/")] = {}
        for line, contexts in data.contexts_by_lineno(path).items():
            of_file[line] = {int(context.rpartition("|")[2]) for context in contexts}
    return lines


def seeds(mutant: Mutant, lines: Lines) -> set[int]:
    """The seeds that run one of the statements that it changes."""
    of_file, found = lines.get(mutant.file, {}), set[int]()
    for line in _changed(mutant):
        for each in _statement(mutant.file, line):
            found |= of_file.get(each, set())
    return found


def _changed(mutant: Mutant) -> Iterator[int]:
    """The lines that it replaces or removes, or after which it adds some."""
    before = _text(mutant.file).splitlines()
    after = mutants.mutated(mutant).splitlines()
    for what, first, last, *_others in difflib.SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        if what != "equal":
            yield from range(first + 1, last + 1) if last > first else (first,)


def _statement(file: str, line: int) -> range:
    """The lines of the innermost statement there; of one with a body, those before it."""
    found = [
        each
        for each in ast.walk(_parsed(file))
        if isinstance(each, ast.stmt) and each.lineno <= line <= (each.end_lineno or 0)
    ]
    if not found:
        return range(0)
    innermost = max(found, key=lambda each: each.lineno)
    body: list[ast.stmt] = getattr(innermost, "body", [])
    last = max(innermost.lineno, body[0].lineno - 1) if body else innermost.end_lineno or 0
    return range(innermost.lineno, last + 1)


def _text(file: str) -> str:
    return (PACKAGE / file).read_text(encoding="utf-8")


@cache
def _parsed(file: str) -> ast.Module:
    return ast.parse(_text(file))

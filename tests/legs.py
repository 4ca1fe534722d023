"""Which tests a leg of CI leaves out, because another leg runs them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from tests import databases

ROOT = Path(__file__).parent
#: Each Python and Django gives the same result: these read the files of this repository, simulate time, kill
#: processes at random for as long as a database needs to show a race, or run a whole project to try what the
#: docs say, whose parts have tests of their own. On a server all of them run.
ONE_LEG = (
    "chaos/test_storm.py",
    "model",
    "simulation",
    "test_architecture.py",
    "test_blocks.py",
    "test_ci.py",
    "test_docs.py",
    "test_imports.py",
    "test_mutants.py",
    "test_prose.py",
    "test_translations.py",
    "test_workflows.py",
    "testing/test_foreign_project.py",
)
WITHOUT = "EVENTBRIDGE_TEST_ONE_LEG"  # off: without the tests above
PASSED = (
    "EVENTBRIDGE_TEST_PASSED"  # a file: a run on a server writes what passed, one on SQLite leaves it out
)


@cache  # for each test: some 20,000 times
def is_one_leg(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / name) for name in ONE_LEG)


def left_out(item: pytest.Item) -> bool:
    if _on_server():
        return False
    if item.get_closest_marker("one_leg"):
        return os.environ.get(WITHOUT) == "off"
    return item.nodeid in _passed()


def note(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and PASSED in os.environ and _on_server():
        with Path(os.environ[PASSED]).open("a", encoding="utf-8") as file:
            print(report.nodeid, file=file)


@cache
def _passed() -> frozenset[str]:
    file = Path(os.environ.get(PASSED, os.devnull))
    return frozenset(file.read_text(encoding="utf-8").split("\n"))


def _on_server() -> bool:
    return os.environ.get(databases.CHOICE, "sqlite") != "sqlite"

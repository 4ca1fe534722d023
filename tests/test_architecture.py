"""docs/architecture.md describes this tree: paths that exist, every package, the contract's layers."""

import re
import subprocess
import sys

import pytest

from tests.package import PACKAGE
from tests.pages import ROOT, codes, first_cells, prose, section
from tests.test_imports import CONTRACTS

PAGE = "docs/architecture.md"
#: Of the tree's root; all other paths are the package's.
ROOTS = ("docs/", "tests/", "genesys_eventbridge/")
#: What looks like a path in code: a slash, or the name of a file.
PATHS = sorted(code for code in codes(prose(PAGE)) if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?|[\w-]+\.py", code))


def names() -> set[str]:
    """The packages and the modules at the root of the package."""
    packages = {init.parent.name for init in PACKAGE.glob("*/__init__.py")}
    return packages | {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path):
    base = ROOT if path.startswith(ROOTS) else PACKAGE

    assert (base / path).exists()


def test_paths_are_found():
    """Reading nothing would prove nothing."""
    assert {"model_events/saves.py", "outbox/claim.py", "states.py", "admin/dashboard"} <= set(PATHS)


def test_an_event_passes_each_file_of_its_way():
    """The first event of a process, which also fetches a token."""
    trace = [sys.executable, "-m", "tests.trace_event", "--cold"]
    done = subprocess.run(trace, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    passed = set(re.findall(r"^[ <] (\S+\.py) ", done.stdout, re.MULTILINE))

    named = codes(section(PAGE, "## One event, from save to delivered"))
    assert {path for path in named if path.endswith(".py")} <= passed
    assert {path for path in named & names() if not any(file.startswith(path) for file in passed)} == set()


def test_every_package_and_module_has_its_line():
    assert first_cells(PAGE, "## Packages and modules") == names()


def test_the_layers_are_those_of_the_contract():
    block = section(PAGE, "## Layers").split("```\n")[1]

    assert block.splitlines() == CONTRACTS["layers"]["layers"]


def test_the_modules_without_django_are_those_of_the_contract():
    sentence = re.search(r"^(`[^`]*`, .*) work\s+without Django", section(PAGE, "## Layers"), re.MULTILINE)
    assert sentence

    modules = CONTRACTS["no-django"]["source_modules"]
    assert codes(sentence[1]) == {module.removeprefix("genesys_eventbridge.") for module in modules}

"""The list of faults and their tests is whole, and every test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"\| (\d+) \| .+? \| (.+) \|")
TEST = re.compile(r"`([a-z_/]*test_\w+\.py)::(test_\w+)`")
ROWS = {
    int(number): text
    for number, text in ROW.findall(Path(__file__).with_name("faults.md").read_text(encoding="utf-8"))
}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_no_fault_is_left_out():
    assert list(ROWS) == list(range(1, 121))


@pytest.mark.parametrize(("number", "text"), ROWS.items(), ids=str)
def test_each_fault_names_tests_that_exist_or_says_why_none_can(number, text):
    named = TEST.findall(text)

    assert named or text.startswith("none can: ")
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []

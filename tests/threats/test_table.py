"""The table of threats: every number has its tests, every test named exists, and the docs say the rest."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("threats.md").read_text(encoding="utf-8")
SECURITY = " ".join((TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8").split())

ROWS = {row[0]: row[1] for row in re.findall(r"^\| (T[0-9]+) \| (.*) \|$", TABLE, re.MULTILINE)}
WANTED = [f"T{number}" for number in (*range(1, 5), *range(13, 25), *range(28, 34), *range(35, 38))]


@pytest.mark.parametrize("number", WANTED)
def test_every_threat_has_a_test(number):
    assert named(ROWS[number])


@pytest.mark.parametrize(
    "test", sorted({test for row in ROWS.values() for test in re.findall(r"`([a-z_/]*test_[^`]+)`", row)})
)
def test_every_test_of_the_table_exists(test):
    file, *path = test.split("::")
    body: list[ast.stmt] = ast.parse((TESTS / file).read_text(encoding="utf-8")).body
    for name in path:
        found = [
            node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        ]
        assert found, name
        body = found[0].body


def named(row):
    return re.findall(r"`([a-z_/]*test_[^`]+)`", row)


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        ("T21", "signed pickle, keyed by `SECRET_KEY`"),
        ("T21", "pickles **without** a signature"),
        ("T21", "a `SECRET_KEY` for each site"),
        ("T21", "Redis with a password and TLS"),
        ("T21", "leave django_q out of `INSTALLED_APPS` and run `eventbridge_publish --loop`"),
        ("T22", "`Schedule.func` is any dotted path"),
        ("T22", "every permission of the app `django_q` for superusers only"),
        ("T22", "Resubmit"),
        ("T23", "does not use `SECRET_KEY_FALLBACKS`"),
        ("T24", "send it no real personal data"),
        ("T35", "python manage.py dumpdata --exclude genesys_eventbridge"),
        ("T35", "every backup of the database"),
        ("T35", "`PAYLOAD_RETENTION_DAYS`"),
    ],
)
def test_the_security_page_says_what_only_the_operator_can_do(threat, words):
    assert words in SECURITY, threat

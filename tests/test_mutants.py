"""Each mutant in mutants.py fits the tree, and one that does not stops no other."""

from collections import Counter
from dataclasses import replace

import pytest

from tests import mutants
from tests.mutants import MUTANTS, Mutant

FITS = Mutant("fits", "guard.py", (("limit = 1", "limit = 2"), ("limit = 2", "limit = 3")), "test_guard.py")
TESTS = "class TestGuard:\n    def test_in_a_class(self): ...\ndef test_alone(): ...\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A project of one file and its tests, in the place of this one."""
    for path, text in {
        "genesys_eventbridge/guard.py": "limit = 1\n",
        "tests/test_guard.py": TESTS,
        "tests/test_red.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.setattr(mutants, "HOME", tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_finds_its_text_once_and_its_tests_exist(mutant):
    assert mutants.problems(mutant) == []


def test_no_two_mutants_have_the_same_name():
    names = Counter(each.name for each in MUTANTS)

    assert [name for name, number in names.items() if number > 1] == []


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "gone.py"}, "has no file gone.py"),
        ({"changes": (("gone", ""),)}, "found 0 times in guard.py, not once: 'gone'"),
        ({"changes": (("i", "x"),)}, "found 2 times in guard.py, not once: 'i'"),
        ({"changes": (("limit = 1", ""), ("limit = 1", ""))}, "found 0 times in guard.py"),
        ({"changes": (("limit = 1", "limit = 1"),)}, "replaced by itself"),
        ({"changes": (("limit = 1", "limit ="),)}, "no longer Python"),
        ({"changes": ()}, "changes nothing"),
        ({"tests": ""}, "names no tests"),
        ({"tests": "test_guard.py test_gone.py"}, "tests/test_gone.py does not exist"),
        ({"tests": "test_gone.py::test_alone"}, "tests/test_gone.py::test_alone does not exist"),
        ({"tests": "test_guard.py::test_in_a_class"}, "test_guard.py::test_in_a_class does not exist"),
        ({"tests": "test_guard.py::TestGuard::test_alone"}, "TestGuard::test_alone does not exist"),
    ],
)
def test_a_mutant_that_does_not_fit_is_found(changes, words):
    assert [words in problem for problem in mutants.problems(replace(FITS, **changes))] == [True]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    "tests",
    [
        "test_guard.py",
        "test_guard.py test_red.py",
        "test_guard.py::test_alone[1-2] test_guard.py::TestGuard::test_in_a_class",
        "test_guard.py::TestGuard",
    ],
)
def test_a_mutant_that_fits_has_no_problem(tests):
    assert mutants.problems(replace(FITS, tests=tests)) == []


@pytest.fixture
def tried(tree, monkeypatch):
    """The tests that ran on a mutant and failed; without a mutant, only test_red.py fails."""
    tried = []

    def pytest(tree, tests, database):
        if "limit = 3" in (tree / "genesys_eventbridge" / "guard.py").read_text(encoding="utf-8"):
            tried.append(tests)
            return ["FAILED for the mutant"]
        return ["FAILED tests/test_red.py"] if tests == "test_red.py" else []

    monkeypatch.setattr(mutants, "_pytest", pytest)
    mutants.failures.cache_clear()
    yield tried
    mutants.failures.cache_clear()


def test_a_mutant_that_does_not_fit_stops_no_other_and_fails_the_run(monkeypatch, capsys, tried):
    gone = replace(FITS, name="text is gone", changes=(("gone", ""),))
    red = replace(FITS, name="tests are red", tests="test_red.py")
    monkeypatch.setattr(mutants, "MUTANTS", [gone, red, FITS])

    assert mutants.main([]) == 1

    assert tried == ["test_guard.py"]
    assert capsys.readouterr().out.splitlines() == [
        "NOT TRIED text is gone: found 0 times in guard.py, not once: 'gone'",
        "NOT TRIED tests are red: without any mutant, on sqlite: FAILED tests/test_red.py",
        "caught    fits",
        "1 caught, 0 MISSED, 2 NOT TRIED, 0 skipped",
    ]


def test_a_mutant_that_no_test_notices_fails_the_run(monkeypatch, capsys, tried):
    unnoticed = replace(FITS, name="unnoticed", changes=(("limit = 1", "limit = 1.5"),))
    monkeypatch.setattr(mutants, "MUTANTS", [unnoticed, FITS])

    assert mutants.main([]) == 1
    assert mutants.main(["fits"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "MISSED    unnoticed",
        "caught    fits",
        "1 caught, 1 MISSED, 0 NOT TRIED, 0 skipped",
        "caught    fits",
        "1 caught, 0 MISSED, 0 NOT TRIED, 0 skipped",
    ]


def test_no_mutant_with_the_given_word_is_wrong_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        mutants.main(["a word in no name"])

    assert "no mutant has one of these words" in capsys.readouterr().err

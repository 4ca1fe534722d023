"""Every Python block and every shell line of the pages runs, or names the reason why it cannot."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from tests.blocks import ELSEWHERE, SKIPPED_BLOCKS, SKIPPED_LINES, Piece, pieces
from tests.pages import PAGES, ROOT

PIECES = {page: list(pieces(page)) for page in PAGES}
RUN_HERE = [
    page for page in PAGES if page not in ELSEWHERE and any(not piece.reason for piece in PIECES[page])
]


#: Runs the pages that stdin names, and one that is not there: what it shows fails.
CODE = (
    "import sys; from tests import pages, blocks;"
    "pages.PAGES['docs/negative.md'] = '```python\\nenqueue(\"x\", {})\\n```\\n\\n"
    "    python manage.py eventbridge_show 7777\\n';"
    "blocks.main(map(str.strip, sys.stdin))"
)
RUNNER = [sys.executable, "-W", "ignore", "-c", CODE]


@pytest.fixture(scope="module")
def ran():
    """``ran(page)``: kind, text and problem ("" if there is none) of each piece that ran."""
    with subprocess.Popen(
        RUNNER, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdin
        assert runner.stdout
        asked, answers = runner.stdin, runner.stdout

        def ran(page: str) -> list[tuple[str, str, str]]:
            print(page, file=asked, flush=True)
            results: list[tuple[str, str, str]] = []
            for line in answers:
                if isinstance(answer := json.loads(line), int):
                    assert answer == 0
                    return results
                results.append(tuple(answer))
            raise AssertionError(f"it ended during {page}")

        yield ran
        asked.close()


@pytest.mark.parametrize("page", RUN_HERE)
def test_every_block_of_a_page_runs_as_it_stands(ran, page):
    results = ran(page)

    assert [(text, problem) for _kind, text, problem in results if problem] == []
    assert [(kind, text) for kind, text, _problem in results] == [
        (piece.kind, piece.text) for piece in PIECES[page] if not piece.reason
    ]


def test_a_block_that_fails_is_reported(ran):
    """The runner of the pages would say so: the negative control of the test above."""
    problems = [problem for _kind, _text, problem in ran("docs/negative.md")]

    assert [problem.partition(":")[0] for problem in problems] == ["NotInTransaction", "AssertionError"]


def test_every_reason_to_skip_is_used():
    skipped = [piece for each in PIECES.values() for piece in each if piece.reason]

    assert {piece.reason for piece in skipped} == {*SKIPPED_LINES.values(), *SKIPPED_BLOCKS.values()}


def test_most_blocks_run():
    """Kinds of pieces, and how many of them run: a reason must not become the rule."""
    counts = Counter((piece.kind, bool(piece.reason)) for each in PIECES.values() for piece in each)

    assert counts["python", False] > 40
    assert counts["shell", False] > 100
    assert counts["python", True] <= 3
    assert counts["shell", True] <= 45


def test_no_language_of_a_block_is_overlooked():
    """A block of another language is data or a file of another program; Python and shell have their names."""
    from tests.pages import blocks

    languages = {language for page in PAGES for language, _text in blocks(page)}

    assert languages <= {"python", "sh", "indented", "json", "ini", "yaml", "dockerfile", ""}


def test_a_command_and_its_remark_are_kept_apart():
    assert Piece("README.md", "shell", "make demo").reason
    assert not Piece("README.md", "shell", "python manage.py eventbridge_ping").reason

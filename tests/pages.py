"""Parts of README, CHANGELOG and docs/ for tests: blocks, inline code, tables, links, commands."""

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FILES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
#: Path of a page in the repository -> its text.
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in _FILES}

#: The package index shows the README without the repository, so its links are absolute.
IN_REPOSITORY = "https://github.com/django-genesys-eventbridge/django-genesys-eventbridge/blob/main/"
RAW_FILES = "https://raw.githubusercontent.com/django-genesys-eventbridge/django-genesys-eventbridge/main/"

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)  # indented in a list
#: Fixtures for users' tests, which are no commands.
FIXTURES = {"eventbridge_outbox", "eventbridge_drain"}
_INDENTED = re.compile(r"^(?: {4}.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def prose(name: str) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", PAGES[name])


def section(name: str, heading: str) -> str:
    """The text below one heading, up to the next heading of the same level."""
    hashes, _, _ = heading.partition(" ")
    _, _, rest = PAGES[name].partition(f"\n{heading}\n")
    assert rest, f"{name} has no {heading!r}"
    return re.split(rf"^#{{1,{len(hashes)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def introduction(name: str) -> str:
    """The text before the first section."""
    return PAGES[name].partition("\n## ")[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row in ``text``, without the headers."""
    lines = [*text.splitlines(), ""]
    for line, following in itertools.pairwise(lines):
        if line.startswith("|") and "| ---" not in (line[:5], following[:5]):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def first_cells(name: str, heading: str) -> set[str]:
    """For each cell in the first column of a section's tables, its words in code, or else its whole text."""
    cells = [row[0] for row in rows(section(name, heading))]
    return {word for cell in cells for word in codes(cell) or {cell}}


def codes(text: str) -> set[str]:
    """Everything in `backticks`."""
    return set(_INLINE.findall(text))


def python_blocks(name: str) -> list[str]:
    return [body for language, body in blocks(name) if language == "python"]


def blocks(name: str) -> Iterator[tuple[str, str]]:
    """Language and text of each block in the order of the page; four spaces make an "indented" one."""
    text = PAGES[name]
    plain = _BLOCK.sub(lambda block: re.sub(r"[^\n]", "x", block[0]), text)
    found = [(block.start(), block[1], textwrap.dedent(block[2])) for block in _BLOCK.finditer(text)]
    found += [(block.start(), "indented", textwrap.dedent(block[0])) for block in _INDENTED.finditer(plain)]
    yield from ((language, body) for _, language, body in sorted(found))


def assigned(name: str, variable: str) -> Iterator[ast.expr]:
    """The values that Python blocks assign to a variable."""
    for block in python_blocks(name):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
                yield node.value


def command_lines(name: str) -> Iterator[str]:
    """Every command after ``manage.py``, from blocks and from inline code."""
    shown = [body for _, body in _BLOCK.findall(PAGES[name])] + _INDENTED.findall(prose(name))
    for line in "\n".join(shown).splitlines():
        plain = line.replace('", "', " ")  # a list of arguments, as containers write it
        for typed in plain.split("manage.py ")[1:]:
            yield re.split(r'"}?\]| +(?:#|>|&&)|$', typed, maxsplit=1)[0].strip()
    for inline in _INLINE.findall(prose(name)):
        found = re.fullmatch(r"(?:python )?manage\.py ([^.]+)|(eventbridge_\w+(?: .*)?)", inline)
        if found and inline not in FIXTURES:
            yield found[1] or found[2]


def links(name: str) -> list[str]:
    """The targets of all links. Those into the repository are paths from the page, as if relative."""
    return [_local(name, target) for target in _LINK.findall(prose(name))]


def written_links(name: str) -> list[str]:
    """The targets of all links and pictures as the page writes them."""
    text = prose(name)
    return [*_LINK.findall(text), *(target for _, target in _IMAGE.findall(text))]


def _local(name: str, target: str) -> str:
    for start in (IN_REPOSITORY, RAW_FILES):
        if target.startswith(start):
            return "../" * name.count("/") + target.removeprefix(start)
    return target


def images(name: str) -> list[tuple[str, str]]:
    """The alternative text and the file of each picture."""
    return [(words, _local(name, file)) for words, file in _IMAGE.findall(prose(name))]


def anchors(name: str) -> set[str]:
    """The anchors of a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose(name))
    }


def tests_in(path: str) -> set[str]:
    """``test_name`` and ``TestClass::test_name`` for every test in one file of the suite."""
    names: set[str] = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return names

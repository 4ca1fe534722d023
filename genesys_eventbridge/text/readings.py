"""The readings of a text: as it is, and with the escapes of JSON, HTML, URLs and Python undone."""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: A repeated text is escaped once, and again by each envelope around it.
ROUNDS = 4
#: Each escape begins with one of these.
ESCAPE_SIGNS = ("\\", "%", "&")
_ESCAPE = re.compile(
    r"""
    (?P<bytes> (?: %[0-9A-Fa-f]{2} )+ | (?: \\x[0-9A-Fa-f]{2} )+ )
  | (?P<pair>  \\u[dD][89abAB][0-9A-Fa-f]{2} \\u[dD][c-fC-F][0-9A-Fa-f]{2} )
  | (?P<unit>  \\u[0-9A-Fa-f]{4} )
  | (?P<point> \\U00[01][0-9A-Fa-f]{5} )
  | (?P<html>  &(?: \#[0-9]{1,7} | \#[xX][0-9A-Fa-f]{1,6} | [A-Za-z]{2,8} ); )
  | (?P<sign>  \\["'\\/bfnrt] )
    """,
    re.VERBOSE,
)
_SIGNS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Reading(NamedTuple):
    """``text``, and the original position at which each of its characters, and its end, begins."""

    text: str
    starts: Sequence[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The position in the original of the characters from ``start`` to ``end``."""
        return self.starts[start], self.starts[end]


def readings(text: str) -> Iterator[Reading]:
    """``text`` as it is, then with its escapes undone repeatedly until none is left."""
    reading = Reading(text, range(len(text) + 1))
    yield reading
    for _round in range(ROUNDS):
        if not any(sign in reading.text for sign in ESCAPE_SIGNS):
            return
        undone = _undone(reading)
        if undone.text == reading.text:
            return
        reading = undone
        yield reading


def plain(text: str) -> str:
    """``text`` with all escapes undone."""
    *_others, last = readings(text)
    return last.text


def _undone(reading: Reading) -> Reading:
    parts: list[str] = []
    starts = array("L")
    done = 0
    for match in _ESCAPE.finditer(reading.text):
        parts.append(reading.text[done : match.start()])
        starts.extend(reading.starts[done : match.start()])
        place = match.start()
        for letters, length in _letters(match):
            parts.append(letters)
            starts.extend([reading.starts[place]] * len(letters))
            place += length
        done = match.end()
    parts.append(reading.text[done:])
    starts.extend(reading.starts[done:])
    return Reading("".join(parts), starts)


def _letters(match: re.Match[str]) -> list[tuple[str, int]]:
    """What an escape means, with the length of each part as written."""
    escape = match[0]
    match match.lastgroup:
        case "bytes":
            return _of_bytes(escape)
        case "pair":
            units = bytes.fromhex(escape[2:6] + escape[8:12])
            return [(units.decode("utf-16-be"), len(escape))]
        case "unit" | "point":
            code = int(f"0x{escape[2:]}", 0)
            return [(chr(code) if code <= 0x10FFFF else escape, len(escape))]
        case "html":
            return [(html.unescape(escape), len(escape))]
    return [(_SIGNS.get(escape[1], escape[1]), len(escape))]


def _of_bytes(escape: str) -> list[tuple[str, int]]:
    mark = "%" if escape[0] == "%" else r"\x"
    width = len(mark) + 2
    raw = bytes.fromhex(escape.replace(mark, ""))
    try:
        return [(letter, width * len(letter.encode())) for letter in raw.decode()]
    except UnicodeDecodeError:
        return [(letter, width) for letter in raw.decode("latin-1")]

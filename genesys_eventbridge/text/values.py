"""Finds the values of an event's data in the text of a platform's response."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any

from genesys_eventbridge.text.readings import Reading, plain, readings

#: Shorter values occur in ordinary words, and reveal little.
SHORTEST_VALUE = 4
#: If the platform truncates a value, this many of its first characters still reveal it.
SHORTEST_CUT = 8
#: Card, account and phone numbers are also found if grouped differently: the least number of characters
#: without separators, the most groups, and the most separators between two of them.
SHORTEST_NUMBER = 8
MOST_GROUPS = 12
LONGEST_GAP = 3
#: Text that is not searched is not shown: the rest of a longer text is masked as a whole.
LONGEST_SEARCHED = 2048
#: Exponents beyond this are not expanded.
_LARGEST_EXPONENT = 40

# The platform's own words, never masked even if a value is equal: its codes (the error body of the Platform
# API), its status words, and the limit that a 413 reports.
_PLATFORM_WORDS = re.compile(
    r"(?<![\w.])(?:(?:"
    + "|".join(
        re.escape(word)
        for word in (
            *("bad.request", "invalid.value", "invalid.date"),
            *("authentication.required", "bad.credentials", "credentials.expired"),
            *("not.authorized", "missing.permissions", "missing.any.permissions"),
            *("missing.division.permission", "not.found", "client.timeout", "request.entity.too.large"),
            *("unsupported.media.type", "too.many.requests.retry.after", "too.many.requests"),
            *("internal.server.error", "service.unavailable", "request.timeout"),
            *("authentication.request.timeout", "invalid_client", "invalid_request", "invalid_scope"),
            *("accepted", "delivered", "failed", "pending", "rejected", "error"),
        )
    )
    + r")(?!\.?\w)|maximum\ bytes:?\s{0,4}[0-9]{1,12}(?![\w]))",
    re.IGNORECASE,
)
# A number, with or without groups, fraction and exponent; a word; a run of non-ASCII symbols.
_TOKEN = re.compile(
    r"""
    (?P<number> (?: [0-9]{1,3} (?: ,[0-9]{3} )+ | [0-9]+ ) (?: \.[0-9]+ )? (?: [eE][+-]?[0-9]+ )? (?!\w) )
  | [^\W_] (?: \w* [^\W_] )?
  | [^\x00-\x7f\s\w]+
    """,
    re.VERBOSE,
)
# What follows a text that was, or may have been, truncated.
_CUT = re.compile(r"""[\s@.,:;/+_-]{0,3}(?:\.\.\.|…|\[\.|['"`»”\u2019)\]*<\\]|&|$)""")
# Separators of values in data that is one text: XML, CSV, a form.
_DELIMITERS = re.compile(r"""[<>&;|,="\r\n\t]+""")

_SIGNS = re.compile(r"[\W_]+")
_DIGIT = re.compile("[0-9]")
_Node = dict[str, Any]
_END = ""  # no token is empty


class PayloadValues:
    """Finds the values of one event's data in a text, as whole tokens.

    A value is a string or number of the data, at any depth, of 4 characters or more; member names, booleans
    and null do not count. It is found in any case, escaped, with other separators between its words, as
    another spelling of the same number, grouped differently, and if the platform truncated it after 8
    characters or more. ``body`` is the CloudEvent as sent; it is parsed when there is a text to search.
    With ``is_named``, only values below a member whose name it accepts count.
    """

    def __init__(self, body: str, is_named: Callable[[str], bool] | None = None) -> None:
        self.body = body
        self._is_named = is_named

    def spans(self, text: str, longest: int = LONGEST_SEARCHED) -> Iterator[tuple[int, int]]:
        """Spans of values in ``text`` as (start, end), which may overlap; the platform's codes are left out.

        Text after ``longest`` characters is not searched and becomes one span.
        """
        if len(text) > longest:
            yield longest, len(text)
            text = text[:longest]
        found = [(reading, list(_TOKEN.finditer(reading.text))) for reading in readings(text)]
        words = {_canonical(token) for _reading, tokens in found for token in tokens}
        cuts = tuple(
            {
                _canonical(token)
                for reading, tokens in found
                for token in tokens
                if _CUT.match(reading.text, token.end())
            }
        )
        tree = self._tree(words, cuts)
        for reading, tokens in found:
            spared = [match.span() for match in _PLATFORM_WORDS.finditer(reading.text)]
            for start, end in (
                *_matches(tree, reading, tokens),
                *self._regrouped(tokens),
                *self._as_they_stand(reading),
            ):
                if not any(begun <= start and end <= ended for begun, ended in spared):
                    yield reading.original(start, end)

    @cached_property
    def _leaves(self) -> list[tuple[str, list[str]]]:
        """Each value that is long enough, with its tokens."""
        found = ((value.strip(), _tokens(value)) for value in _leaves(self.body, self._is_named))
        return [
            (value, tokens)
            for value, tokens in found
            if max(len(value), _size(tokens)) >= SHORTEST_VALUE and not _PLATFORM_WORDS.fullmatch(value)
        ]

    @cached_property
    def _values(self) -> list[list[str]]:
        """The tokens of values that have enough of them to be recognised."""
        return [tokens for _value, tokens in self._leaves if _size(tokens) >= SHORTEST_VALUE]

    def _as_they_stand(self, reading: Reading) -> Iterator[tuple[int, int]]:
        for value in self._signs:
            if value in reading.text:
                yield from (match.span() for match in re.finditer(re.escape(value), reading.text))

    def _regrouped(self, tokens: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
        """Numbers that contain letters or separators: "DE89 3704" matches DE893704, and vice versa."""
        parts = [_squeezed(token[0]) for token in tokens]
        for first, token in enumerate(tokens):
            text, end = "", token.start()
            for place in range(first, min(first + MOST_GROUPS, len(tokens))):
                if tokens[place].start() - end > LONGEST_GAP:
                    break
                text, end = text + parts[place], tokens[place].end()
                if text in self._numbers:
                    yield token.start(), end

    @cached_property
    def _numbers(self) -> set[str]:
        """Values that contain digits, without the separators that group them."""
        found = {_squeezed(value) for value, _tokens in self._leaves}
        return {text for text in found if len(text) >= SHORTEST_NUMBER and _DIGIT.search(text)}

    @cached_property
    def _signs(self) -> list[str]:
        """Values that are mostly symbols, such as "-5.0": found only as they are."""
        return [value for value, tokens in self._leaves if _size(tokens) < SHORTEST_VALUE]

    def _tree(self, words: set[str], cuts: tuple[str, ...]) -> _Node:
        """The values by their tokens, as far as they can occur in a text of these words."""
        root: _Node = {}
        for tokens in self._values:
            node = root
            for token in tokens:
                if token in words:
                    node = node.setdefault(token, {})
                    continue
                if token.startswith(cuts):
                    for cut in cuts:
                        if token.startswith(cut):
                            node.setdefault(cut, {})
                break
            else:
                node[_END] = node
        return root


def _matches(tree: _Node, reading: Reading, tokens: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """The longest value at each token."""
    keys = [_canonical(token) for token in tokens]
    for first, token in enumerate(tokens):
        node, end = tree, -1
        for place in range(first, len(tokens)):
            if keys[place] not in node:
                break
            node = node[keys[place]]
            reached = tokens[place].end()
            if _END in node or (
                reached - token.start() >= SHORTEST_CUT and _CUT.match(reading.text, reached)
            ):
                end = reached
        if end >= 0:
            yield token.start(), end


def _squeezed(text: str) -> str:
    return _SIGNS.sub("", text).casefold()


def _tokens(value: str) -> list[str]:
    return [_canonical(token) for token in _TOKEN.finditer(value)]


def _size(tokens: list[str]) -> int:
    return sum(map(len, tokens))


def _canonical(token: re.Match[str]) -> str:
    """One spelling for all: words without case, numbers as digits without superfluous zeros."""
    text = token[0]
    if token["number"] is None:
        return text.casefold()
    text = text.replace(",", "")
    if "e" in text or "E" in text:
        number, exponent = re.split("[eE]", text)
        if len(number) > _LARGEST_EXPONENT or abs(int(exponent[:9])) > _LARGEST_EXPONENT:
            return text.lower()
        text = format(Decimal(text), "f")
    whole, _point, fraction = text.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _leaves(body: str, is_named: Callable[[str], bool] | None) -> Iterator[str]:
    """Every string and number of the data, once each; numbers as written."""
    event = _read(body)
    if not isinstance(event, dict):
        return
    data = event.get("data")
    texts = [data] if isinstance(data, str) else []
    if isinstance(packed := event.get("data_base64"), str):
        texts += [packed, _unpacked(packed)]
    pieces = [piece for text in texts for piece in _DELIMITERS.split(text)]
    seen: set[str] = set()
    todo: list[Any] = [data, *texts, *pieces] if is_named is None else list(_named(data, is_named))
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, str) and item not in seen:
            seen.add(item)
            yield item
            if (undone := plain(item)) != item:
                yield undone
            if item.lstrip()[:1] in ("{", "["):  # a document within the document
                todo.append(_read(item))


def _named(data: Any, is_named: Callable[[str], bool]) -> Iterator[Any]:
    """The values of members with such names, at any depth."""
    todo = [data]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            for name, value in item.items():
                if is_named(name):
                    yield value
                else:
                    todo.append(value)
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, str) and item.lstrip()[:1] in ("{", "["):
            todo.append(_read(item))


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _unpacked(packed: str) -> str:
    try:
        return base64.b64decode(packed).decode("utf-8", "replace")
    except ValueError:
        return ""

"""Text from outside made fit to store, log and show: one bounded line, controls escaped, secrets masked."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

REDACTED = "[redacted]"

# Names of members that hold credentials wherever they turn up. Compared without case, "-" and "_", and
# as a part of a longer name: "secret" also covers "clientSecret" and "x-webhook-secret".
DEFAULT_REDACT_KEYS: tuple[str, ...] = (
    "access_token",
    "refresh_token",
    "id_token",
    "auth_token",
    "session_token",
    "authorization",
    "bearer",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "api_key",
    "private_key",
    "credential",
    "cookie",
    "card_number",
    "cvv",
    "iban",
)


def clean(text: object, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters, fit for a log, a column and a page.

    Control, line-end, direction and invisible characters become visible escapes (``\\x1b``,
    ``\\u202e``), a lone surrogate becomes U+FFFD, and a cut text ends with "…". Never raises.
    """
    whole = _as_str(text)
    # Escaping never shortens, so what lies past the limit cannot come back into sight.
    escaped = _UNSAFE.sub(_escape, whole[: max(limit, 0)])
    if len(whole) <= limit and len(escaped) <= limit:
        return escaped
    return escaped[: limit - 1] + "…" if limit > 0 else ""


def redact(value: Any, keys: Collection[str]) -> Any:
    """A copy of a JSON value in which every member named like one of ``keys`` reads "[redacted]".

    Names are compared without case, "-" and "_", and as a part of the member's name; at any depth.
    """
    return _redacted(value, _folded(tuple(keys)), _as_it_is)


def redact_text(text: str, keys: Collection[str], secrets: Collection[str] = ()) -> str:
    """``text`` without credentials: JSON stays JSON, with ``redact`` applied; other text is searched.

    Masked everywhere, also inside JSON strings: what follows ``Bearer`` or ``Basic``, JSON web tokens,
    ``key=value``, ``key: value``, ``"key":"value"`` and ``<key>value</key>`` for each of ``keys``, and
    every string of ``secrets`` as it stands, percent-encoded or JSON-escaped. Apply it before ``clean``.
    A text above 64 Ki characters is searched even where it is JSON.
    """
    folded, forms = _folded(tuple(keys)), _forms(tuple(secrets))
    if "\\" not in text and "\n" not in text and not _suspicious(text, folded, forms):
        return text

    def mask(part: str) -> str:
        return _masked(part, folded, forms) if _suspicious(part, folded, forms) else part

    if len(text) > _LONGEST_PARSED:
        return mask(_ESCAPED.sub(lambda escape: escape[2] or chr(int(escape[1], 16)), text))
    try:
        return json.dumps(_redacted(json.loads(text), folded, mask), ensure_ascii=False)
    except (ValueError, RecursionError):
        return mask(text)


# Parsed JSON takes up to a hundred times its length, and of a long text only the start is ever shown.
_LONGEST_PARSED = 64 * 1024
# Plain characters that need no escape in JSON and may have one all the same.
_ESCAPED = re.compile(r"\\(?:u(00[2-7][0-9A-Fa-f])|(/))")
# C0, DEL, C1; the line ends of Unicode; what turns the reading direction or is not seen at all.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def _as_str(text: object) -> str:
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    try:
        return str(text)
    except Exception:  # noqa: BLE001 - the __str__ of a stranger; the caller is reporting a failure already
        return f"<{type(text).__name__} without a text>"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


@lru_cache(maxsize=64)
def _folded(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(folded for key in keys if (folded := _fold(key)))


def _fold(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _as_it_is(text: str) -> str:
    return text


def _redacted(value: Any, folded: tuple[str, ...], mask: Callable[[str], str]) -> Any:
    """A redacted copy, built without recursion: a hostile answer may be nested without end."""
    top: list[Any] = [value]
    todo: list[list[Any] | dict[Any, Any]] = [top]
    while todo:
        box: Any = todo.pop()
        for place, item in list(box.items() if isinstance(box, dict) else enumerate(box)):
            if isinstance(item, str):
                box[place] = mask(item)
            elif isinstance(item, Mapping):
                todo.append(members := _redacted_members(item, folded, mask))
                box[place] = members
            elif isinstance(item, list | tuple):
                todo.append(items := list(item))
                box[place] = items
    return top[0]


def _redacted_members(
    members: Mapping[Any, Any], folded: tuple[str, ...], mask: Callable[[str], str]
) -> dict[Any, Any]:
    copy: dict[Any, Any] = {}
    for key, item in members.items():
        name = _fold(str(key))
        copy[mask(key)] = REDACTED if any(part in name for part in folded) else item
    return copy


@lru_cache(maxsize=4)
def _forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Each secret as it stands, percent-encoded and JSON-escaped, longest first."""
    forms: set[str] = set()
    for secret in secrets:
        forms |= {secret, quote(secret, safe="", errors="replace"), json.dumps(secret)[1:-1]}
    return tuple(sorted(forms - {""}, key=len, reverse=True))


def _suspicious(text: str, folded: tuple[str, ...], forms: tuple[str, ...]) -> bool:
    """Whether ``text`` may hold something to mask: a cheap look, as almost no text does."""
    squeezed = text.translate(_SQUEEZE).lower()
    for word in (*_TELLTALES, *folded):  # not any(): this runs three times for every event
        if word in squeezed:
            return True
    return any(form in text for form in forms)


_SQUEEZE = str.maketrans("", "", "-_ .")
_TELLTALES = ("bearer", "basic", "eyj")


def _masked(text: str, folded: tuple[str, ...], forms: tuple[str, ...]) -> str:
    """Every search looks at the original: what one has found cannot hide something from the next."""
    spans = [match.span(1) for pattern in _TOKENS for match in pattern.finditer(text)]
    spans += _occurrences(text, forms)
    spans += _values(text, folded)
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not parts:
            parts += text[done:start], REDACTED
        done = max(done, end)
    return "".join(parts) + text[done:]


_TOKENS = (
    re.compile(
        r"""(?:(?:bearer|(?<![a-z])basic)(?:\s|%20|[+:="'\\]){1,8})+([^\s"'<>\\,;)}\]][^\s"'<>\\]*)""",
        re.IGNORECASE,
    ),
    re.compile(r"(?<![\w-])(eyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)*)"),  # a JSON web token
)


def _occurrences(text: str, forms: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for form in forms:
        start = text.find(form)
        while start >= 0:
            yield start, start + len(form)
            start = text.find(form, start + len(form))


def _values(text: str, folded: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Where the values are that follow a name and a separator. Linear: no place is walked over twice."""
    word_end = sealed = 0
    for name in _names(folded).finditer(text) if folded else ():
        if name.start() < sealed:
            continue
        separator = _SEPARATOR.match(text, _end(_TAIL, text, name.end()))
        if separator is None or (
            separator[2] and separator.end() < word_end
        ):  # a word inside a word ends with it
            continue
        start = separator.end()
        if marked := _MARKED.match(text, start):
            end = sealed = marked.end()
        elif separator[1]:
            end = sealed = _end(_LINE, text, start)
        elif separator[2]:
            end = word_end = _end(_WORD, text, start)
        else:
            end = sealed = _element_end(text, start)
        if end > start:
            yield start, end


@lru_cache(maxsize=64)
def _names(folded: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join("[-_ .]?".join(map(re.escape, key)) for key in folded), re.IGNORECASE)


_TAIL = re.compile(r"""[\w.-]{0,32}[\]"'\\]{0,8}\s{0,8}""")
_SEPARATOR = re.compile(r"(?:(:|%3a)|(=>?|%3d)|>)\s{0,8}", re.IGNORECASE)
_MARKED = re.compile(
    r"""
    (?: \[redacted\]
      | [{\[] .*                               # an end that no pattern could find: all of it goes
      | " (?: [^"\\] | \\. )* "?
      | ' (?: [^'\\] | \\. )* '?
      | \\+["'] [^"'\\]* (?: \\+ ["']? )?
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_LINE = re.compile(r"[^\r\n<]*")
_WORD = re.compile(r"""[^\s&;,"'<>]*""")
_ELEMENT = re.compile(r"[^<]*")


def _element_end(text: str, start: int) -> int:
    """The end of what an opening tag holds; a closing tag, or no tag at all, holds nothing."""
    tag = text.rfind("<", max(0, start - 100), start)
    return start if tag < 0 or text.startswith("</", tag) else _end(_ELEMENT, text, start)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a pattern that may match nothing ends."""
    match = pattern.match(text, start)
    return match.end() if match else start

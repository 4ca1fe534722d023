"""Makes external text fit to store, log and show: one bounded line, controls escaped, secrets masked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from genesys_eventbridge.text.readings import ESCAPE_SIGNS, plain, readings
from genesys_eventbridge.text.values import LONGEST_SEARCHED, PayloadValues

REDACTED = "[redacted]"

# Names of members whose values are credentials. Compared without case, "-" and "_", and as a part of a longer
# name: "secret" also covers "clientSecret" and "x-webhook-secret".
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
    ``\\u202e``), a lone surrogate becomes U+FFFD, and a truncated text ends with "…". Never raises.
    """
    whole = _as_str(text)
    # Escaping never shortens, so text past the limit cannot come back into view.
    escaped = _UNSAFE.sub(_escape, whole[: max(limit, 0)])
    if len(whole) <= limit and len(escaped) <= limit:
        return escaped
    return escaped[: limit - 1] + "…" if limit > 0 else ""


def is_storable(text: str) -> bool:
    """Whether every database can store and compare ``text``: no NUL and no lone surrogate."""
    return _UNSTORABLE.search(text) is None


def redact(value: Any, keys: Collection[str]) -> Any:
    """A copy of a JSON value in which members named like one of ``keys`` have the value "[redacted]".

    Names are compared without case, "-" and "_", and as a part of the member's name; at any depth.
    """
    return _redacted(value, _folded(tuple(keys)), _as_it_is)


def redact_text(
    text: str,
    keys: Collection[str],
    secrets: Collection[str] = (),
    values: PayloadValues | None = None,
) -> str:
    """``text`` without credentials: JSON stays JSON, with ``redact`` applied; other text is searched.

    Masked everywhere, also inside JSON strings: what looks like a credential after ``Bearer`` or ``Basic``,
    JSON web tokens, ``key=value``, ``key: value``, ``"key":"value"`` and ``<key>value</key>`` for each of
    ``keys``, anything quoted in a sentence that names one of them, and every string of ``secrets``, also
    escaped (JSON, HTML, URL, ``\\x``; repeatedly) and in base64. A secret of fewer than 8 characters is
    masked only as a whole word. Call it before ``clean``. Text above 64 Ki characters is searched even if it
    is JSON, and everything after them is masked. Text about an event is passed with the ``values`` to mask in
    it; it is searched as well, and cut after 2 Ki characters.
    """
    folded, forms = _folded(tuple(keys)), _forms(tuple(secrets))
    if values is None and "\\" not in text and "\n" not in text and not _suspicious(text, folded, forms):
        return text

    def mask(part: str, accused: bool = False) -> str:
        if values is None and not accused and not _suspicious(part, folded, forms):
            return part
        spans = _found(part, folded, forms, values)
        if len(part) > _LONGEST_PARSED:
            spans.append((_LONGEST_PARSED, len(part)))
        return _without(part, [*spans, *_accused(part)] if accused else spans)

    longest = _LONGEST_PARSED if values is None else LONGEST_SEARCHED
    if values is not None or len(text) > longest:
        start = text[: longest + _LONGEST_SECRET]
        return mask(_ESCAPED.sub(lambda escape: escape[2] or chr(int(escape[1], 16)), start))
    try:
        return json.dumps(_redacted(json.loads(text), folded, mask), ensure_ascii=False)
    except (ValueError, RecursionError):
        return mask(text)


def mask_values(text: str, values: PayloadValues) -> str:
    """``text``, of any length, without the ``values`` of an event."""
    return _without(text, list(values.spans(text, len(text))))


# Parsed JSON takes up to a hundred times its length, and only the start of a long text is ever shown.
_LONGEST_PARSED = 64 * 1024
#: Characters searched after the end of what is shown, for secrets that begin before it.
_LONGEST_SECRET = 16 * 1024
# Plain characters that need no escape in JSON but may have one.
_ESCAPED = re.compile(r"\\(?:u(00[2-7][0-9A-Fa-f])|(/))")
# C0, DEL, C1; Unicode line ends; characters that change the reading direction or are invisible.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
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


#: Masks a text; True if it belongs to an error about one of the keys.
_Mask = Callable[[str, bool], str]


def _as_it_is(text: str, _accused: bool) -> str:
    return text


def _redacted(value: Any, folded: tuple[str, ...], mask: _Mask) -> Any:
    """A redacted copy, built without recursion: a hostile response may be nested arbitrarily deep."""

    top: list[Any] = [value]
    todo: list[tuple[list[Any] | dict[Any, Any], bool]] = [(top, False)]
    while todo:
        box, accused = todo.pop()
        members: Any = box
        for place, item in list(members.items() if isinstance(box, dict) else enumerate(box)):
            if isinstance(item, str):
                members[place] = mask(item, accused)
            elif isinstance(item, Mapping):
                inner = _redacted_members(item, folded, mask, accused)
                todo.append((inner, accused or _names_a_key(item, folded)))
                members[place] = inner
            elif isinstance(item, list | tuple):
                todo.append((items := list(item), accused))
                members[place] = items
            elif _is_number(item) and mask(text := str(item), False) != text:
                members[place] = REDACTED
    return top[0]


def _redacted_members(
    members: Mapping[Any, Any], folded: tuple[str, ...], mask: _Mask, accused: bool
) -> dict[Any, Any]:
    copy: dict[Any, Any] = {}
    accused = accused or _names_a_key(members, folded)
    for key, item in members.items():
        name = _fold(str(key))
        hidden = _holds_key(name, folded) or (accused and name in _VALUE_MEMBERS)
        copy[mask(key, False)] = REDACTED if hidden else item
    return copy


# Members in which errors name the member they concern, and in which they repeat its value: problem+json,
# JSON:API, validators of JSON Schema, Spring, .NET, pydantic and others. Compared like member names.
_NAMING_MEMBERS = frozenset(
    {
        "field",
        "fieldname",
        "name",
        "path",
        "property",
        "propertyname",
        "propertypath",
        "parameter",
        "parametername",
        "param",
        "pointer",
        "key",
        "attribute",
        "location",
        "loc",
        "member",
        "target",
        "instancepath",
        "instancelocation",
        "datapath",
        "jsonpath",
        "source",
        "argument",
    }
)
_VALUE_MEMBERS = frozenset(
    {
        "value",
        "values",
        "rejectedvalue",
        "invalidvalue",
        "attemptedvalue",
        "currentvalue",
        "submittedvalue",
        "actualvalue",
        "propertyvalue",
        "fieldvalue",
        "actual",
        "received",
        "input",
        "inputvalue",
        "given",
        "provided",
        "got",
        "found",
        "data",
        "rejected",
        "submitted",
        "attempted",
    }
)


def _names_a_key(members: Mapping[Any, Any], folded: tuple[str, ...]) -> bool:
    """Whether an error's members say that it concerns one of the keys."""
    for name, item in members.items():
        if _fold(str(name)) in _NAMING_MEMBERS:
            parts = item.values() if isinstance(item, Mapping) else item if isinstance(item, list) else [item]
            if any(isinstance(part, str) and _holds_key(_fold(part), folded) for part in parts):
                return True
    return False


def names_a_key(name: str, keys: Collection[str]) -> bool:
    """Whether a member or header of this name has a value to mask for one of ``keys``."""
    return _holds_key(_fold(name), _folded(tuple(keys)))


def _holds_key(name: str, folded: tuple[str, ...]) -> bool:
    return any(part in name for part in folded)


def _is_number(item: object) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool)


class _Forms(NamedTuple):
    """What to search for: texts masked anywhere, parts of base64, and whole words."""

    anywhere: tuple[str, ...]
    encoded: tuple[str, ...]
    words: re.Pattern[str] | None
    #: A text that contains none of these contains no secret but words, even if its escapes are undone.
    telltales: tuple[str, ...]

    def may_stand_in(self, text: str) -> bool:
        for telltale in self.telltales:
            if telltale in text:
                return True
        return self.words is not None and self.words.search(text) is not None


#: A shorter secret occurs in ordinary words.
SHORTEST_ANYWHERE = 8


@lru_cache(maxsize=16)
def _forms(secrets: tuple[str, ...]) -> _Forms:
    """Each secret as it is, with its own escapes undone, form-encoded, in hex and in base64."""
    anywhere: set[str] = set()
    encoded: set[str] = set()
    words: set[str] = set()
    for secret in secrets:
        forms = {secret, plain(secret), secret.replace(" ", "+")} - {""}
        words |= {form for form in forms if len(form) < SHORTEST_ANYWHERE}
        anywhere |= {form for form in forms if len(form) >= SHORTEST_ANYWHERE}
        raw = secret.encode("utf-8", "replace")
        in_hex = {raw.hex(), raw.hex().upper()}
        if len(secret) >= SHORTEST_ANYWHERE:
            anywhere |= in_hex
            encoded |= set(_in_base64(raw))
        elif secret:
            words |= {*in_hex, base64.b64encode(raw).decode().rstrip("=")}
    boundary = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return _Forms(
        tuple(sorted(anywhere, key=len, reverse=True)),
        tuple(sorted(encoded)),
        re.compile(rf"(?<!\w)(?:{boundary})(?!\w)") if words else None,
        (*ESCAPE_SIGNS, *anywhere, *encoded) if anywhere else (),
    )


def _in_base64(raw: bytes) -> Iterator[str]:
    """The parts that base64 of a longer text must contain: it depends on how many bytes precede ours."""
    for skipped in range(3):
        part = raw[skipped:]
        text = base64.b64encode(part[: len(part) // 3 * 3]).decode()
        yield text
        yield text.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")


def _suspicious(text: str, folded: tuple[str, ...], forms: _Forms) -> bool:
    """Whether ``text`` may contain something to mask: a cheap test, as almost no text does."""
    # Not four calls of replace(): faster, but hostile answers of 1 MiB then take half as much memory again.
    squeezed = text.translate(_SQUEEZE).lower()
    for word in (*_TELLTALES, *folded):  # not any(): this runs three times for every event
        if word in squeezed:
            return True
    return forms.may_stand_in(text)


_SQUEEZE = str.maketrans("", "", "-_ .")
_TELLTALES = ("bearer", "basic", "eyj")


def _found(
    text: str, folded: tuple[str, ...], forms: _Forms, values: PayloadValues | None
) -> list[tuple[int, int]]:
    """Spans to mask. Every search uses the original text: a match of one hides nothing from the next."""
    spans = [*_credentials(text), *_occurrences(text, forms), *_values(text, folded)]
    if folded:
        spans += _in_sentences(text, folded)
        if _naming(folded).search(text):
            spans += _values(text, _VALUE_NAMES)
    if values is not None:
        spans += values.spans(text)
    return spans


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not parts:
            parts += text[done:start], REDACTED
        done = max(done, end)
    return "".join(parts) + text[done:]


def _credentials(text: str) -> Iterator[tuple[int, int]]:
    """What follows Bearer or Basic, unless it looks like a word in a sentence; and JSON web tokens."""
    for match in _AUTHORIZED.finditer(text):
        if match["quote"] or _is_no_word(match["value"]):
            yield match.span("value")
    for match in _WEB_TOKEN.finditer(text):
        yield match.span(1)


def _is_no_word(value: str) -> bool:
    """Whether this is a credential rather than English: it has digits, or capitals within a word."""
    return len(value) >= SHORTEST_ANYWHERE and (
        any(sign.isdigit() for sign in value) or _CAPITAL_WITHIN.search(value) is not None or len(value) > 24
    )


_CAPITAL_WITHIN = re.compile("[a-z][A-Z]|[A-Z]{2}[a-z]")
_AUTHORIZED = re.compile(
    r"""(?:(?:bearer|(?<![a-z])basic)(?:\s|%20|[+:='\\]|(?P<quote>")){1,8})+"""
    r"""(?P<value>[^\s"'<>\\,;)}\]][^\s"'<>\\]*)""",
    re.IGNORECASE,
)
_WEB_TOKEN = re.compile(r"(?<![\w-])(eyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)*)")


def _occurrences(text: str, forms: _Forms) -> Iterator[tuple[int, int]]:
    """Where secrets occur, in each reading of the text."""
    if not forms.may_stand_in(text):
        return
    for reading in readings(text):
        for form in forms.anywhere:
            for start, end in _finds(reading.text, form):
                yield reading.original(start, end)
        for form in forms.encoded:  # including its edges, which contain the rest of the secret
            for start, end in _finds(reading.text, form):
                edges = _edges(reading.text, start, end)
                yield reading.original(*edges)
        for match in forms.words.finditer(reading.text) if forms.words else ():
            yield reading.original(*match.span())


def _finds(text: str, form: str) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + len(form))


def _edges(text: str, start: int, end: int) -> tuple[int, int]:
    before = _BASE64_END.search(text, max(0, start - 4), start)
    return before.start() if before else start, _end(_BASE64_START, text, end)


_BASE64_END = re.compile(r"[A-Za-z0-9+/_-]{1,4}\Z")
_BASE64_START = re.compile(r"[A-Za-z0-9+/=_-]{0,4}")


def _in_sentences(text: str, folded: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """The values in sentences about a key, such as "Invalid value 'x' for card_number"."""
    if not _names(folded).search(text):
        return
    begun = 0
    ends = (match.end() for match in _SENTENCE_END.finditer(text) if match["end"])
    for ended in (*ends, len(text)):
        sentence = text[begun:ended]
        if _mention(folded).search(sentence):
            for start, end in _accused(sentence):
                if not _path_to_key(sentence[start:end], folded):
                    yield begun + start, begun + end
        begun = ended


def _accused(sentence: str) -> list[tuple[int, int]]:
    """Possible values in a sentence about a key: anything quoted, following "value", or a long number."""
    found = [
        match.span(match.lastgroup or 0)
        for match in _QUOTED.finditer(sentence)
        if match[match.lastgroup or 0] != REDACTED
    ]
    found += [
        match.span(1)
        for match in _AFTER_VALUE.finditer(sentence)
        if match[1].lower().rstrip(".,") not in _NO_VALUES
    ]
    found += [match.span() for match in _LONG_WORD.finditer(sentence) if _has_digit(match[0])]
    if (first := _FIRST_WORD.match(sentence)) and _has_digit(first[1]):
        found.append(first.span(1))
    return found


def _has_digit(text: str) -> bool:
    return any(sign.isdigit() for sign in text)


def _path_to_key(quoted: str, folded: tuple[str, ...]) -> bool:
    return _PATH.fullmatch(quoted) is not None and _names(folded).search(quoted) is not None


@lru_cache(maxsize=64)
def _mention(folded: tuple[str, ...]) -> re.Pattern[str]:
    """A key named in a sentence: after another word, or first in it and not followed by a separator."""
    name = rf"(?:{_names(folded).pattern})"
    path = r"""["'`(]{0,2}[\w$./#\[\]'"~-]{0,64}?"""
    return re.compile(
        rf"""[^\W\d_]["'`):,]?\s{{1,3}}{path}{name}"""
        rf"""|^\s{{0,3}}{path}{name}[\w.-]{{0,32}}[\]"'`)]{{0,4}}\s{{1,3}}(?![=:>])""",
        re.IGNORECASE,
    )


@lru_cache(maxsize=64)
def _naming(folded: tuple[str, ...]) -> re.Pattern[str]:
    """A member that names a key, in text that is not JSON or is truncated."""
    return re.compile(
        r"""(?:field|name|path|property|param|parameter|pointer|key|attribute|loc|location|member|target)"""
        r"""["'\\]{0,3}\s{0,3}[:=>]\s{0,3}["'\\]{0,3}[\w$./#\[\]~-]{0,64}?"""
        rf"""(?:{_names(folded).pattern})""",
        re.IGNORECASE,
    )


# Members that contain the value next to them, as parts of longer names such as rejectedValue.
_VALUE_NAMES = ("value", "actual", "received", "input", "attempted", "submitted", "provided")
# A dot or semicolon within quotes or within a word does not end a sentence.
_SENTENCE_END = re.compile(r"""'[^'\n]{0,256}'|"[^"\n]{0,256}"|(?P<end>\n|[.!?;](?=\s|$))""")
_QUOTED = re.compile(
    r"""
    (?<!\w) \\? ' (?P<single> [^\n]{1,256}? ) ' (?!\w)
  | (?<!\w) \\? " (?P<double> [^\n]{1,256}? ) " (?!\w)
  | ` (?P<tick> [^`\n]{1,256} ) `
  | “ (?P<curly> [^”\n]{1,256} ) ”
  | \u2018 (?P<curl> [^\u2019\n]{1,256} ) \u2019
  | « (?P<angle> [^»\n]{1,256} ) »
    """,
    re.VERBOSE,
)
_AFTER_VALUE = re.compile(
    r"""\b(?:value|input|received|got|actual)\b\s{0,3}[:=]?\s{0,3}([^\s"'`,;)“\u2018«]{1,256})""",
    re.IGNORECASE,
)
_NO_VALUES = frozenset(
    {
        "for",
        "at",
        "in",
        "of",
        "on",
        "is",
        "was",
        "are",
        "were",
        "must",
        "may",
        "can",
        "cannot",
        "should",
        "has",
        "have",
        "had",
        "does",
        "do",
        "not",
        "no",
        "a",
        "an",
        "the",
        "to",
        "too",
        "from",
        "by",
        "with",
        "and",
        "or",
        "that",
        "which",
        "given",
        "provided",
        "supplied",
        "specified",
        "required",
        "missing",
    }
)
_LONG_WORD = re.compile(r"\w{7,256}")
_FIRST_WORD = re.compile(r"\s{0,3}([^\s\"'`]{4,256})\s+(?:is|was|does|cannot|isn't|must)\b")
_PATH = re.compile(r"""[\w$./#\[\]'"~-]{1,128}""")


def _values(text: str, folded: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Where values follow a name and a separator. Linear: no part is scanned twice."""
    word_end = sealed = 0
    for name in _names(folded).finditer(text) if folded else ():
        if name.start() < sealed:
            continue
        separator = _SEPARATOR.match(text, _end(_TAIL, text, name.end()))
        if separator is None or (
            separator[2] and separator.end() < word_end
        ):  # a word within a word ends with it
            continue
        start = separator.end()
        if separator[1] and _COMPLAINT.match(text, start):
            continue
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
# Messages of validators after "password: ", in exactly these words up to the end of the line: not values.
_COMPLAINT_BEGINS = "is|are|must|may|cannot|should|has|does|not|missing|required|invalid"
_COMPLAINING = (
    _COMPLAINT_BEGINS + "|was|were|can|have|do|be|expected|blank"
    "|null|empty|unknown|unexpected|allowed|supported|short|long|weak|wrong|expired|no|a|an|the|too|to|of|in|at"
    "|least|most|or|and|only|valid|string|text|number|boolean|value|field|property|characters|digits|letters"
)
_COMPLAINT = re.compile(
    rf"(?:{_COMPLAINT_BEGINS})(?:,?\s(?:{_COMPLAINING}|[0-9]{{1,2}})){{0,15}}[;.)]?\s{{0,3}}(?:[\r\n<]|\Z)",
    re.IGNORECASE,
)
_WORD = re.compile(r"""[^\s&;,"'<>]*""")
_ELEMENT = re.compile(r"[^<]*")


def _element_end(text: str, start: int) -> int:
    """The end of an opening tag's content; a closing tag, or no tag, has none."""
    tag = text.rfind("<", max(0, start - 100), start)
    return start if tag < 0 or text.startswith("</", tag) else _end(_ELEMENT, text, start)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a pattern that may match nothing ends."""
    match = pattern.match(text, start)
    return match.end() if match else start

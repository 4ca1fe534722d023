"""One HTTP response, parsed without trusting it: whatever its bytes are, parsing never raises."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from genesys_eventbridge.platform import retry_after
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Rules, Sent, Verdict
from genesys_eventbridge.text import clean, mask_values, names_a_key, redact, redact_text
from genesys_eventbridge.text.values import PayloadValues

ERROR_LIMIT = 500
_MESSAGE_LIMIT = 220  # leaves room for the hint that follows
_EXCERPT_LIMIT = 4096
_LONGEST_NAMED = 512  # characters after the excerpt that are searched too: a value may be cut at its end
CORRELATION_LIMIT = 128
_LONG_WAIT = 180.0  # above this the official SDKs give up: it is probably a daily limit, not a burst
_USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,254}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_PAGE = "the body is an HTML or XML page"
_TEXT = "the body is not JSON"
_EMPTY = "the body is empty"
_PAGE_LIMIT = 8192  # characters of a page that are searched for its first words
_PROBLEM_TYPE = "application/problem+json"
_CODE = re.compile(r"[A-Za-z]+(?:\.[A-Za-z]+)+")  # the platform's format: bad.request
_FAILURE_WORDS = frozenset({"rejected", "refused", "denied", "error", "failed", "failure", "invalid"})
_MESSAGE_MEMBERS = ("message", "error_description", "description", "detail", "title")


@dataclass(frozen=True, slots=True)
class Answer:
    """One parsed response. ``message`` and ``code`` are the platform's own words, not yet redacted."""

    status: int
    fields: Sequence[tuple[str, str]]  # header fields, names in lower case, repeated ones included
    resource: str  # last part of the requested path, "" if the request is unknown
    document: Mapping[str, Any] | None  # the body if it is a JSON object
    shape: str  # what the body is instead, as text; "" with a document
    broken_off: str  # how the body broke off, a network failure; may quote it; "" if it is complete
    text: str = field(repr=False)
    rules: Rules = field(repr=False)
    secrets: Collection[str] = field(repr=False)
    values: PayloadValues = field(repr=False)

    def say(self, text: object, limit: int) -> str:
        """External text made fit to store and show: without secrets and without values of the event."""
        return clean(redact_text(str(text), self.rules.redact_keys, self.secrets, self.values), limit)

    def header(self, name: str) -> str:
        """The value of a header, given in lower case; repeated ones joined by commas, "" without one."""
        return ", ".join(text for each, text in self.fields if each == name)

    @property
    def is_page(self) -> bool:
        return self.shape == _PAGE

    @property
    def is_empty(self) -> bool:
        return self.shape == _EMPTY

    @property
    def is_cloudevent(self) -> bool:
        """Whether the document is an event, so that ``type`` and ``time`` are an event's attributes."""
        return bool(self.word("specversion") and self.word("source"))

    @property
    def is_refusal(self) -> bool:
        """Whether the platform itself refuses: a JSON object in its error format, or in that of RFC 9457.

        The platform's has ``message`` and one of ``code``, ``contextId``, ``errors`` or an integer ``status``
        equal to the HTTP status (official Python SDK, ``error_body.py``). Gateways send a page, or just
        ``{"message": ...}``.
        """
        named = self.word("code") or self.word("contextId") or self.member("errors") or self._names_status
        return bool(self.word("message") and named) or self.is_problem

    @property
    def is_problem(self) -> bool:
        """Whether the document is a problem of RFC 9457, even if its media type was lost on the way."""
        if self.document is None or self.is_cloudevent:
            return False
        title, detail = self.word("title"), self.word("detail")
        if self.header("content-type").partition(";")[0].strip().lower() == _PROBLEM_TYPE:
            return bool(title or detail)
        return bool(title and (detail or self.word("type") or self._names_status))

    @property
    def _names_status(self) -> bool:
        status = self.member("status")
        return type(status) is int and status == self.status

    def member(self, name: str) -> Any:
        """A member of the document; None if it is null or missing, or there is no document."""
        return None if self.document is None else self.document.get(name)

    def word(self, name: str) -> str:
        """A text member of the document in lower case; "" if there is none."""
        return _word(self.member(name))

    @property
    def message(self) -> str:
        """The platform's explanation, in its own error format, OAuth's, or that of RFC 9457."""
        if self.document is None:
            return ""
        texts = [self.document.get(name) for name in _MESSAGE_MEMBERS]
        error = self.document.get("error")
        texts += [error.get("message") if isinstance(error, Mapping) else error]
        first = next((text for text in texts if isinstance(text, str) and text.strip()), "")
        return "; ".join(text for text in (first, *self._nested_messages()) if text)

    def _nested_messages(self) -> list[str]:
        errors = self.member("errors")
        items = errors[:3] if isinstance(errors, list) else []
        texts = [self._message_of(item) if isinstance(item, Mapping) else item for item in items]
        return [text for text in texts if isinstance(text, str)]

    def _message_of(self, error: Mapping[str, Any]) -> Any:
        """Its message, masked if a neighbouring member names one of the keys."""
        members = {name: text for name, text in error.items() if isinstance(text, str)}
        return redact(members, self.rules.redact_keys).get("message")

    @property
    def code(self) -> str:
        found = (self.member(name) for name in ("code", "error"))
        return next((code for code in found if isinstance(code, str)), "")

    @property
    def correlation_id(self) -> str:
        """The id that Genesys support asks for, or else the id of the CDN in front."""
        found = (
            self.header("inin-correlation-id"),
            self.member("contextId"),
            self.header("x-amz-cf-id"),
        )
        first = next((text for text in found if isinstance(text, str) and text), "")
        # Avoids parsing the event for text that cannot contain an identifiable value.
        return first if first == "" or _UUID.fullmatch(first) else self.say(first, CORRELATION_LIMIT)

    @property
    def first_words(self) -> str:
        """The visible start of a body that is not JSON: for a page, its text without tags."""
        if self.shape not in {_PAGE, _TEXT}:
            return ""
        # Mask before removing tags: a tag may be what names a secret.
        start = redact_text(self.text[: 2 * _PAGE_LIMIT], self.rules.redact_keys, self.secrets)[:_PAGE_LIMIT]
        start = start.removeprefix("\ufeff")
        return _visible(start) if self.is_page else " ".join(start.split())

    @property
    def excerpt(self) -> str:
        """The start of the raw body, without secrets and without the values that REDACT_KEYS name.

        Values of the event's own data under these names are masked in every sentence.
        """
        keys, body = self.rules.redact_keys, self.values.body
        text = redact_text(self.text, keys, self.secrets)
        text = " ".join(line.strip() for line in text.split("\n"))
        if text and names_a_key(body, keys):  # a cheap test, as few events contain such a name
            named = PayloadValues(body, lambda name: names_a_key(name, keys))
            text = mask_values(text[: _EXCERPT_LIMIT + _LONGEST_NAMED], named)
        return clean(text, _EXCERPT_LIMIT)

    def complains(self, sent: Sent | None) -> bool:
        """Whether the document reports an error, whatever the status code.

        The attributes of our event, ``sent``, do not count if the platform repeats them. The event is parsed
        only if there is a complaint at all.
        """
        return self._complains({}) and (sent is None or self._complains(sent.attributes))

    def _complains(self, own: Mapping[str, Any]) -> bool:
        given = {name: value for name, value in (self.document or {}).items() if own.get(name, ...) != value}
        status = given.get("status")
        word = _word(given.get("deliveryStatus") if status is None else status)
        return (
            any(given.get(name) for name in ("errors", "error", "fault"))
            or any(_is_false(given.get(name)) for name in ("success", "ok"))
            or _is_error_number(status)
            or (word in _FAILURE_WORDS and word not in self.rules.failed_statuses)
            or _is_error_code(given.get("code"), with_message=bool(_word(given.get("message"))))
            or bool(_word(given.get("title")) and _word(given.get("detail")))
            or (self.is_problem and "title" in given)
        )

    def echoes(self, sent: Sent) -> bool:
        """Whether the document repeats our own event."""
        echo = (self.member("source"), self.member("type"), self.member("id"))
        return echo == (sent.source, sent.type, sent.event_id)

    def usable_id(self, value: object) -> str:
        """``value`` if it is usable as an id in a URL and in a column, else ""."""
        if not isinstance(value, str) or not _USABLE_ID.fullmatch(value):
            return ""
        # An id may equal a value of the event: it often is one of the caller's ids.
        return value if redact_text(value, self.rules.redact_keys, self.secrets) == value else ""

    def reported_status(self) -> str:
        """The platform's status of the event; ``deliveryStatus`` counts only if ``status`` is absent."""
        return self.word("deliveryStatus" if self.member("status") is None else "status")

    def final_verdict(self) -> Verdict | None:
        """DELIVERED or FAILED if the reported status is final."""
        status = self.reported_status()
        if status in self.rules.delivered_statuses:
            return Verdict.DELIVERED
        return Verdict.FAILED if status in self.rules.failed_statuses else None

    def line(self, hint: str) -> str:
        """One line for operators: status, code, the platform's message or the body's shape, and the hint."""
        code = f" ({self.say(self.code, 60)})" if self.code else ""
        words = self.say(self.message, _MESSAGE_LIMIT).rstrip(".") or self._described()
        return clean(f"HTTP {self.status}{code}" + (f": {words}. " if words else ". ") + hint, ERROR_LIMIT)

    def _described(self) -> str:
        words = self.say(self.broken_off or self.first_words, _MESSAGE_LIMIT).rstrip(".")
        return f"{self.shape}: {words}" if words else self.shape

    def outcome(self, verdict: Verdict, hint: str = "", **more: Any) -> Outcome:
        """An outcome with this response's details; with a ``hint``, it also has an error text."""
        return Outcome(
            verdict,
            error=self.line(hint) if hint else "",
            status_code=self.status,
            correlation_id=self.correlation_id,
            excerpt=self.excerpt,
            **more,
        )

    def asked_wait(self) -> float | None:
        """Seconds of a valid ``Retry-After`` header, or None."""
        own = [(name, text) for name, text in self.fields if name in {"retry-after", "date"}]
        return retry_after.retry_after(
            own, "", default=None, cap=self.rules.retry_after_cap, now=datetime.now(tz=UTC)
        )

    def rate_wait(self) -> float:
        """Seconds to wait after a rate limit: what the platform asks for, or the default."""
        wait = retry_after.retry_after(
            self.fields,
            self.message,
            default=None,
            cap=self.rules.retry_after_cap,
            now=datetime.now(tz=UTC),
        )
        return self.rules.retry_after_default if wait is None else wait

    def rate_halt(self) -> Outcome:
        """The outcome of a 429, for a publish or a check."""
        wait = self.rate_wait()
        return self.outcome(Verdict.HALTED, self.rate_hint(wait), halt=Halt.RATE, retry_after=wait)

    def rate_hint(self, wait: float) -> str:
        limit = self.member("limit")
        key = limit.get("key") if isinstance(limit, Mapping) else None
        which = f" Limit {self.say(key, 80)}." if isinstance(key, str) else ""
        if wait <= _LONG_WAIT:
            return f"Nothing is sent for {wait:g} s.{which}"
        cut = " (cut to RETRY_AFTER_CAP)" if wait >= self.rules.retry_after_cap else ""
        return (
            f"Nothing is sent for {wait:g} s{cut}: more than {_LONG_WAIT:g} s suggests a daily limit, not a "
            f"burst. Lower RATE_PER_MINUTE or ask Genesys support to raise the limit.{which}"
        )


def parsed(
    status: int,
    fields: Sequence[tuple[str, str]],
    content: bytes,
    *,
    rules: Rules,
    secrets: Collection[str] = (),
    body: str = "",
    resource: str = "",
    unusable: str = "",
    broken_off: str = "",
) -> Answer:
    """Parse a response: its status, header fields (names in lower case) and whole content.

    ``secrets`` are texts to mask. ``body`` is the event that was published or checked, as it was sent: its
    values are masked in errors too. ``resource`` is the last part of the requested path. ``unusable`` says
    why the content is not the body; ``broken_off`` how the body broke off.
    """
    text, document, shape = ("", None, clean(unusable, 100)) if unusable else _body(content)
    return Answer(
        status, fields, resource, document, shape, broken_off, text, rules, secrets, PayloadValues(body)
    )


def _body(content: bytes) -> tuple[str, Mapping[str, Any] | None, str]:
    """The body as text, as a JSON object if it is one, and else what it is instead."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace"), None, "the body is not UTF-8"
    try:
        # A BOM and NaN are not JSON: a platform that sends them is not the expected one.
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text, None, _shape(text)
    except RecursionError:
        return text, None, "the body is JSON nested too deeply"
    if isinstance(value, dict):
        return text, value, ""
    return text, None, f"the body is JSON, but {_JSON_NAMES[type(value)]}"


_JSON_NAMES = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _shape(text: str) -> str:
    start = text[:200].strip("\ufeff \t\r\n")
    if not start:
        return _EMPTY
    return _PAGE if start.startswith("<") else _TEXT


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _is_false(value: object) -> bool:
    return (isinstance(value, int) and not value) or _word(value) == "false"


def _is_error_code(code: object, *, with_message: bool) -> bool:
    """``too.many.requests``, any word next to a message, or an error number."""
    if isinstance(code, str) and not code.strip().isdecimal():
        return bool(code.strip()) if with_message else _CODE.fullmatch(code.strip()) is not None
    return _is_error_number(code)


def _is_error_number(number: object) -> bool:
    """An HTTP error status or beyond, also as text."""
    if isinstance(number, str) and number.strip().isdecimal():
        number = int(number.strip()[:9])
    return isinstance(number, int) and not isinstance(number, bool) and number >= 400


def _visible(page: str) -> str:
    reader = _PageReader()
    reader.feed(page)
    reader.close()
    return " ".join(dict.fromkeys(" ".join(part.split()) for part in reader.parts if part.strip()))


class _PageReader(HTMLParser):
    """Collects the text between tags, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style"}:
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

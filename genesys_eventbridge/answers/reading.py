"""What one HTTP answer says, read without trust: whatever its bytes are, reading it never raises."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from genesys_eventbridge import backoff
from genesys_eventbridge.text import clean, redact_text
from genesys_eventbridge.verdicts import Halt, Outcome, Rules, Verdict

ERROR_LIMIT = 500
_MESSAGE_LIMIT = 220  # leaves room for the hint behind it
_EXCERPT_LIMIT = 4096
CORRELATION_LIMIT = 128
_LONG_WAIT = 180.0  # past this the official SDKs give up: it is a daily limit rather than a burst
_USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,254}")
_PAGE = "the body is an HTML or XML page"
_MESSAGE_MEMBERS = ("message", "error_description", "description", "detail", "title")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, taken apart. ``message`` and ``code`` are the platform's own words, not yet redacted."""

    status: int
    headers: httpx.Headers
    resource: str  # last part of the path that was asked for, "" where the request is not known
    document: Mapping[str, Any] | None  # the body where it is a JSON object
    shape: str  # what the body is instead, in words; "" with a document
    text: str = field(repr=False)
    rules: Rules = field(repr=False)
    secrets: Collection[str] = field(repr=False)

    def say(self, text: object, limit: int) -> str:
        """Words from outside, fit to store and show."""
        return clean(redact_text(str(text), self.rules.redact_keys, self.secrets), limit)

    @property
    def is_page(self) -> bool:
        return self.shape == _PAGE

    def member(self, name: str) -> Any:
        """A member of the document; None where it is null, missing, or there is no document."""
        return None if self.document is None else self.document.get(name)

    def word(self, name: str) -> str:
        """A text member of the document in lower case; "" where there is none."""
        value = self.member(name)
        return value.strip().lower() if isinstance(value, str) else ""

    @property
    def message(self) -> str:
        """The platform's explanation: of its own error shape, of OAuth's, or of RFC 9457's."""
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
        texts = [item.get("message") if isinstance(item, Mapping) else item for item in items]
        return [text for text in texts if isinstance(text, str)]

    @property
    def code(self) -> str:
        found = (self.member(name) for name in ("code", "error"))
        return next((code for code in found if isinstance(code, str)), "")

    @property
    def correlation_id(self) -> str:
        """What Genesys support asks for, or else the id of the CDN in front."""
        found = (
            self.headers.get("ININ-Correlation-Id"),
            self.member("contextId"),
            self.headers.get("X-Amz-Cf-Id"),
        )
        return next(
            (self.say(text, CORRELATION_LIMIT) for text in found if isinstance(text, str) and text), ""
        )

    @property
    def excerpt(self) -> str:
        text = redact_text(self.text, self.rules.redact_keys, self.secrets)
        return clean(" ".join(line.strip() for line in text.split("\n")), _EXCERPT_LIMIT)

    @property
    def complaint(self) -> bool:
        """Whether the document says that something went wrong, whatever the status code says."""
        status = self.member("status")
        return (
            bool(self.member("errors") or self.member("error"))
            or self.word("status") == "error"
            or (isinstance(status, int) and status >= 400)
        )

    def usable_id(self, value: object) -> str:
        """``value`` where it may serve as an id in a URL and in a column, else ""."""
        if not isinstance(value, str) or not _USABLE_ID.fullmatch(value):
            return ""
        return value if self.say(value, len(value)) == value else ""

    def reported_status(self) -> str:
        """The platform's status of the event; ``deliveryStatus`` decides only where ``status`` is absent."""
        return self.word("deliveryStatus" if self.member("status") is None else "status")

    def final_verdict(self) -> Verdict | None:
        """DELIVERED or FAILED where the reported status is a final one."""
        status = self.reported_status()
        if status in self.rules.delivered_statuses:
            return Verdict.DELIVERED
        return Verdict.FAILED if status in self.rules.failed_statuses else None

    def line(self, hint: str) -> str:
        """One line for people: status, code, the platform's words or the body's shape, and what to do."""
        code = f" ({self.say(self.code, 60)})" if self.code else ""
        said = self.say(self.message, _MESSAGE_LIMIT).rstrip(".") or self.shape
        return clean(f"HTTP {self.status}{code}" + (f": {said}. " if said else ". ") + hint, ERROR_LIMIT)

    def outcome(self, verdict: Verdict, hint: str = "", **more: Any) -> Outcome:
        """This answer decided; with a ``hint``, it is trouble that people should read about."""
        return Outcome(
            verdict,
            error=self.line(hint) if hint else "",
            status_code=self.status,
            correlation_id=self.correlation_id,
            excerpt=self.excerpt,
            **more,
        )

    def asked_wait(self) -> float | None:
        """Seconds of a usable ``Retry-After`` header."""
        own = [(name, text) for name, text in self.headers.multi_items() if name in {"retry-after", "date"}]
        return backoff.retry_after(
            own, "", default=None, cap=self.rules.retry_after_cap, now=datetime.now(tz=UTC)
        )

    def rate_wait(self) -> float:
        """Seconds to hold back after a rate limit: what the platform asks for, or the default."""
        wait = backoff.retry_after(
            self.headers.multi_items(),
            self.message,
            default=None,
            cap=self.rules.retry_after_cap,
            now=datetime.now(tz=UTC),
        )
        return self.rules.retry_after_default if wait is None else wait

    def rate_halt(self) -> Outcome:
        """The outcome of a 429, of a publish and of a check alike."""
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
            f"Nothing is sent for {wait:g} s{cut}: more than {_LONG_WAIT:g} s is rather a daily limit than a "
            f"burst. Lower RATE_PER_MINUTE or ask Genesys support to raise the limit.{which}"
        )


def read(response: httpx.Response, rules: Rules, secrets: Collection[str]) -> Answer:
    """Take an answer apart. Its body must have been read; ``secrets`` are texts that must not be shown."""
    text, document, shape = _body(response)
    return Answer(
        response.status_code, response.headers, _resource(response), document, shape, text, rules, secrets
    )


def _resource(response: httpx.Response) -> str:
    try:
        return response.request.url.path.rpartition("/")[2]
    except RuntimeError:  # httpx raises it where the answer was not told its request
        return ""


def _body(response: httpx.Response) -> tuple[str, Mapping[str, Any] | None, str]:
    """The body as text, as a JSON object where it is one, and what it is where it is none."""
    if problem := response.extensions.get("body_problem"):
        return "", None, clean(problem, 100)
    try:
        text = response.content.decode("utf-8")
    except UnicodeDecodeError:
        return response.content.decode("utf-8", "replace"), None, "the body is not UTF-8"
    try:
        # A BOM and NaN are no JSON: a platform that sends them is not the one we know.
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
    bool: "a truth value",
    type(None): "null",
}


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _shape(text: str) -> str:
    start = text[:200].strip("\ufeff \t\r\n")
    if not start:
        return "the body is empty"
    return _PAGE if start.startswith("<") else "the body is not JSON"

"""What a response from the platform means, as plain values: verdict, halt, outcome, token, and the rules."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.values import clean_all, setting
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, REDACTED, clean


class Verdict(StrEnum):
    """The result of a publish or a check, as stored in ``DeliveryAttempt.verdict``.

    A publish is accepted, rejected, unavailable, unknown or halted; a check is delivered, failed,
    not_yet, unknown (can no longer be confirmed) or halted.
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    HALTED = "halted"
    DELIVERED = "delivered"
    FAILED = "failed"
    NOT_YET = "not_yet"


#: Verdicts that are not errors.
WELL = frozenset({Verdict.ACCEPTED, Verdict.DELIVERED, Verdict.NOT_YET})


class Halt(StrEnum):
    """Why no event can succeed now; see ``errors.Halted.kind``."""

    AUTH = "auth"
    PERMISSION = "permission"
    CONFIG = "config"
    RATE = "rate"
    NETWORK = "network"
    REFUSALS = "refusals"  # the platform refuses one event after another


#: How the error of an event begins that was refused before a request: no platform was asked.
NOT_SENT = "Not sent: "


@dataclass(frozen=True, slots=True)
class Sent:
    """The attributes of our event, to compare with a response."""

    event_id: str
    source: str
    type: str
    subject: str = ""
    time: datetime | None = None
    #: The encoded event, to recognise its values in a response.
    body: str = field(default="", repr=False)

    @property
    def attributes(self) -> dict[str, Any]:
        """The members of the event; empty if the body is unknown."""
        event = json.loads(self.body) if self.body else None
        return event if isinstance(event, dict) else {}


@dataclass(frozen=True, slots=True)
class Rules:
    """How responses are interpreted. Times are in seconds; lists become sets; statuses ignore case."""

    accepted_codes: frozenset[int] = setting(values.codes, (200, 201, 202))
    duplicate_codes: frozenset[int] = setting(values.codes, (409,))
    delivered_statuses: frozenset[str] = setting(values.some_statuses, ("delivered",))
    failed_statuses: frozenset[str] = setting(values.statuses, ("failed",))
    not_found_grace: float = setting(values.seconds_or_zero, 300.0)
    confirm_for: float = setting(values.seconds, 3600.0)
    retry_after_default: float = setting(values.seconds, 5.0)
    retry_after_cap: float = setting(values.seconds, 6 * 3600.0)
    redact_keys: tuple[str, ...] = setting(values.words, DEFAULT_REDACT_KEYS)

    def __post_init__(self) -> None:
        clean_all(self)

    @property
    def statuses(self) -> dict[str, frozenset[str]]:
        return {"delivered_statuses": self.delivered_statuses, "failed_statuses": self.failed_statuses}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The interpretation of one response or failure. Every text is cleaned, redacted and bounded.

    ``error``        one line for operators, at most 500 characters; "" if nothing is wrong
    ``remote_id``    the platform's id of the event, safe in a URL; "" if unknown
    ``final``        publish: DELIVERED or FAILED if the accepting response already says so
    ``duplicate``    accepted as a repetition of an earlier request
    ``conflict``     the response is about a different event
    ``halt``         only with HALTED
    ``accuses``      HALTED by an HTTP response to the event's own POST, so the event may be at fault;
                     nothing else counts against an event (guarantee G20)
    ``retry_after``  seconds the platform asked us to wait
    ``found``        check: whether the platform knows the event's id; None if that is uncertain
    ``outage``       UNKNOWN that counts toward a run of failures: NETWORK for 5xx and transport errors,
                     CONFIG for a 2xx without proof
    ``excerpt``      the response body, at most 4096 characters
    """

    verdict: Verdict
    error: str = ""
    status_code: int | None = None
    correlation_id: str = ""
    remote_id: str = ""
    final: Verdict | None = None
    duplicate: bool = False
    conflict: bool = False
    halt: Halt | None = None
    accuses: bool = False
    retry_after: float | None = None
    found: bool | None = None
    outage: Halt | None = None
    excerpt: str = field(default="", repr=False)


#: Characters that are stored of each text.
_LIMITS = {"error": 500, "correlation_id": 128, "excerpt": 4096}


def storable(outcome: object) -> Outcome:
    """A protocol's outcome, with its texts cut and cleaned. Raises TypeError, naming an unusable field.

    A protocol may be a user's code. A value that no column takes would keep its row from being settled.
    """
    if not isinstance(outcome, Outcome):
        raise TypeError(f"not an Outcome: {type(outcome).__name__}")
    given: Any = outcome
    halt, status, wait, remote_id = given.halt, given.status_code, given.retry_after, given.remote_id
    fits = {
        "verdict": isinstance(given.verdict, Verdict),
        "halt": isinstance(halt, Halt) or (halt is None and outcome.verdict is not Verdict.HALTED),
        "outage": given.outage is None or isinstance(given.outage, Halt),
        "status_code": status is None or (isinstance(status, int) and 0 <= status <= 999),
        "retry_after": wait is None or (isinstance(wait, (int, float)) and 0 <= wait <= values.LONGEST),
        "remote_id": isinstance(remote_id, str) and len(remote_id) <= 255 and remote_id.isprintable(),
        **{name: isinstance(getattr(outcome, name), str) for name in _LIMITS},
    }
    if wrong := [name for name, good in fits.items() if not good]:
        raise TypeError(f"an Outcome with an unusable {wrong[0]}")
    changed: dict[str, Any] = {
        name: clean(text, limit)
        for name, limit in _LIMITS.items()
        if len(text := getattr(outcome, name)) > limit or not text.isprintable()
    }
    return replace(outcome, **changed) if changed else outcome


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token that is valid in a header; ``expires_in`` is in seconds from its arrival."""

    value: str
    expires_in: float

    def __repr__(self) -> str:
        return f"Token(value={REDACTED!r}, expires_in={self.expires_in!r})"

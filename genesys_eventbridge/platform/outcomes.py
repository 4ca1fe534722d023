"""What an answer of the platform means, as plain values: verdict, halt, outcome, token, and the rules."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.values import clean_all, setting
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, REDACTED


class Verdict(StrEnum):
    """What a publish or a check came to; the words stored in ``DeliveryAttempt.verdict``.

    A publish is accepted, rejected, unavailable, unknown or halted; a check is delivered, failed,
    not_yet, unknown (unconfirmed for good) or halted.
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    HALTED = "halted"
    DELIVERED = "delivered"
    FAILED = "failed"
    NOT_YET = "not_yet"


class Halt(StrEnum):
    """Why no event can succeed now; ``errors.Halted.kind``."""

    AUTH = "auth"
    PERMISSION = "permission"
    CONFIG = "config"
    RATE = "rate"
    NETWORK = "network"
    REFUSALS = "refusals"  # the platform refuses one event after the other


@dataclass(frozen=True, slots=True)
class Sent:
    """What our event says of itself, to compare an answer with."""

    event_id: str
    source: str
    type: str
    subject: str = ""
    time: datetime | None = None
    #: The encoded event, to recognise its own words in an answer.
    body: str = field(default="", repr=False)

    @property
    def attributes(self) -> dict[str, Any]:
        """The members of the event; empty where no body is known."""
        event = json.loads(self.body) if self.body else None
        return event if isinstance(event, dict) else {}


@dataclass(frozen=True, slots=True)
class Rules:
    """How answers are read. Times are seconds; lists are taken for sets, and statuses in any case."""

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
    """One answer or failure, decided. Every text is cleaned, redacted and bounded.

    ``error``        one line for people, at most 500 characters; "" when all is well
    ``remote_id``    the platform's id of the event, safe in a URL; "" where none is known
    ``final``        publish: DELIVERED or FAILED where the accepting answer already says so
    ``duplicate``    accepted as the original of an earlier request
    ``conflict``     the answer is about another event than ours
    ``halt``         only with HALTED
    ``accuses``      HALTED by an HTTP answer to the event's own POST, which may be this event's fault:
                     nothing else counts against an event (guarantee G20)
    ``retry_after``  seconds the platform asked us to wait
    ``found``        check: whether the platform answers for the event's id; None where that stays open
    ``outage``       UNKNOWN that counts to a run of failures: NETWORK for 5xx and transport trouble,
                     CONFIG for a 2xx without proof
    ``excerpt``      the answer's body, at most 4096 characters
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


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token fit for a header, and how many seconds it lives from its arrival."""

    value: str
    expires_in: float

    def __repr__(self) -> str:
        return f"Token(value={REDACTED!r}, expires_in={self.expires_in!r})"

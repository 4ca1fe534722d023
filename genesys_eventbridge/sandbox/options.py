"""The sandbox's options: every switch with its default and its bounds, as one frozen value."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from genesys_eventbridge.platform.wire import is_free_header_name, is_media_type, is_url_path
from genesys_eventbridge.sandbox.start import WEBHOOK_TOKEN


class Scenario(StrEnum):
    """How the platform behaves; each member's ``meaning`` describes it."""

    HAPPY = "happy"
    FLAKY = "flaky"
    OUTAGE = "outage"
    RATE_LIMITED = "rate-limited"
    SLOW = "slow"
    EXPIRED_TOKEN = "expired-token"  # noqa: S105  a name, not a secret
    ACCEPTED_THEN_FAILED = "accepted-then-failed"
    LOST_RESPONSE = "lost-response"
    HOSTILE = "hostile"

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    Scenario.HAPPY: "everything is accepted and delivered",
    Scenario.FLAKY: "every 3rd new event is answered 503 twice before it is accepted",
    Scenario.OUTAGE: "503 for everything, tokens included",
    Scenario.RATE_LIMITED: "429 with Retry-After above the rate (60 per minute if none is set)",
    Scenario.SLOW: "every answer comes late",
    Scenario.EXPIRED_TOKEN: "each token is refused after its 5th request, whatever expires_in promised; "
    "like happy at the webhook, which needs no token",
    Scenario.ACCEPTED_THEN_FAILED: "events are accepted, then their delivery fails; "
    "like happy at the webhook, which reports no delivery",
    Scenario.LOST_RESPONSE: "each event is accepted and the connection closed without an answer",
    Scenario.HOSTILE: "HTML, half bodies, wrong ids, redirects, echoes of secrets, one after another",
}


class Protocol(StrEnum):
    """Which ways in for events the sandbox has."""

    EVENTBRIDGE = "eventbridge"
    WEBHOOK = "webhook"
    BOTH = "both"

    @property
    def spoken(self) -> tuple[str, ...]:
        """The names of the protocols, without ``both``."""
        return tuple(_ENDPOINTS) if self is Protocol.BOTH else (self.value,)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints that answer; the first one accepts events."""
        return tuple(endpoint for protocol in self.spoken for endpoint in _ENDPOINTS[protocol])


_ENDPOINTS = {"eventbridge": ("publish", "status", "token"), "webhook": ("webhook",)}


# Minimum and maximum of each number; if the minimum is an int, only whole numbers are allowed.
_MOST = 1_000_000_000
_BOUNDS: dict[str, tuple[float, float]] = {
    "latency": (0.0, 3600.0),
    "slow_latency": (0.0, 3600.0),
    "deliver_after": (0.0, _MOST),
    "rate_window": (0.001, _MOST),
    "idempotency_window": (0.001, _MOST),
    "rate": (1, _MOST),
    "token_rate": (1, _MOST),
    "token_lifetime": (1, _MOST),
    "max_event_bytes": (1, _MOST),
    "token_uses": (1, _MOST),
    "flaky_every": (1, _MOST),
    "flaky_failures": (0, _MOST),
}


_WEBHOOK_TOKEN = re.compile(r"[A-Za-z0-9._~-]{4,255}")  # as WEBHOOK_TOKEN of the settings


def shown(value: object) -> str:
    """An invalid value as a message shows it: ASCII, and short whatever it contains."""
    return reprlib.repr(value).encode("ascii", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Options:
    """Every switch of the sandbox. Times are seconds, sizes bytes. Wrong values raise ValueError.

    ``credentials`` maps client ids to secrets; None takes any that are not empty. ``webhook_token`` is the
    only one that the webhook takes. ``registered_types`` None allows every type but ``refused_types``; a
    webhook allows every type. ``rate`` is the number of publish, status and webhook requests allowed in
    each ``rate_window``, ``token_rate`` the same for tokens; None does not limit.
    ``replay_status`` answers a known key: 409 or 200, both with the original event. The status of an
    event turns final ``deliver_after`` its acceptance; the key memory forgets after ``idempotency_window``.
    """

    scenario: Scenario = Scenario.HAPPY
    protocol: Protocol = Protocol.BOTH
    latency: float = 0.0
    rate: int | None = None
    rate_window: float = 60.0
    token_rate: int | None = None
    deliver_after: float = 1.0
    registered_types: frozenset[str] | None = None
    refused_types: frozenset[str] = frozenset()
    replay_status: int = 409
    idempotency_window: float = 24 * 3600.0
    token_lifetime: int = 24 * 3600
    max_event_bytes: int = 512_000
    credentials: Mapping[str, str] | None = field(default=None, repr=False)
    webhook_token: str = field(default=WEBHOOK_TOKEN, repr=False)
    token_path: str = "/oauth/token"  # noqa: S105  a path, not a secret
    events_path: str = "/api/v2/eventbridge/events"
    content_type: str = "application/cloudevents+json"
    idempotency_header: str = "Idempotency-Key"
    slow_latency: float = 3.0
    token_uses: int = 5
    flaky_every: int = 3
    flaky_failures: int = 2

    def __post_init__(self) -> None:
        self._as_member("scenario", Scenario)
        self._as_member("protocol", Protocol)
        if self.replay_status not in (200, 409):
            raise ValueError(f"replay_status: {self.replay_status!r} is not 200 or 409")
        for name, (least, most) in _BOUNDS.items():
            self._within(name, least, most)
        self._check_wire()
        object.__setattr__(self, "refused_types", frozenset(self.refused_types))
        if self.registered_types is not None:
            object.__setattr__(self, "registered_types", frozenset(self.registered_types))

    def allows(self, event_type: str) -> bool:
        """Whether the platform knows this event type."""
        registered = self.registered_types is None or event_type in self.registered_types
        return registered and event_type not in self.refused_types

    @property
    def allowed(self) -> int | None:
        """How many publish, status and webhook requests are allowed per window; None if unlimited."""
        if self.rate is None and self.scenario is Scenario.RATE_LIMITED:
            return max(1, round(self.rate_window))
        return self.rate

    @property
    def wait(self) -> float:
        """How long a response is delayed."""
        return max(self.latency, self.slow_latency) if self.scenario is Scenario.SLOW else self.latency

    def _as_member(self, name: str, choices: type[StrEnum]) -> None:
        value = getattr(self, name)
        if value not in list(choices):
            raise ValueError(f"{name}: {shown(value)} is unknown; choose from {', '.join(choices)}")
        object.__setattr__(self, name, choices(value))

    def _check_wire(self) -> None:
        for name in ("token_path", "events_path"):
            if not is_url_path(getattr(self, name)):
                raise ValueError(f"{name}: {getattr(self, name)!a} is not a URL path such as /oauth/token")
        if self.token_path == self.events_path:
            raise ValueError(f"events_path: {self.events_path!a} is the token_path, too")
        token: object = self.webhook_token
        if not (isinstance(token, str) and _WEBHOOK_TOKEN.fullmatch(token) and token.strip(".")):
            raise ValueError("webhook_token: must be 4 to 255 letters, digits or the characters . _ ~ -")
        if not is_media_type(self.content_type):
            raise ValueError(f"content_type: {self.content_type!a} is not a media type")
        if not is_free_header_name(self.idempotency_header):
            raise ValueError(
                f"idempotency_header: {self.idempotency_header!a} is not the name of a header, or every "
                "request sets it for another purpose"
            )

    def _within(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if value is None and name in ("rate", "token_rate"):
            return
        whole = isinstance(least, int)
        kind = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not kind or not least <= value <= most:
            what = "a whole number" if whole else "a number"
            raise ValueError(
                f"{name}: {shown(value)} is not {what} of at least {least:g} and at most {most:g}"
            )

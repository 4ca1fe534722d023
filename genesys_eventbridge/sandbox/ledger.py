"""The ledger: what the platform received and accepted, exact under threads, for tests of the sender."""

import hashlib
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from genesys_eventbridge.sandbox.webhook import attribute_headers, masked
from genesys_eventbridge.sandbox.wire import Request

RECENT = 50
BODY_KEPT = 64 * 1024
_ATTRIBUTES = ("source", "id", "type", "subject")
_BRING_EVENTS = ("publish", "webhook")


@dataclass(slots=True)
class Attempt:
    """One request to one of the platform's endpoints: token, publish, status, webhook or other.

    ``path`` shows ``{token}`` in place of a webhook's token. ``started`` and ``ended`` are readings of the
    sandbox's clock, ``started_at`` is seconds since the epoch. ``status`` is the HTTP status as text,
    "closed" if the connection closed without a response, "" while the request runs.
    """

    number: int
    endpoint: str
    method: str
    path: str
    correlation_id: str
    started: float
    started_at: float
    ended: float | None = None
    status: str = ""
    source: str = ""
    id: str = ""
    type: str = ""
    subject: str = ""
    idempotency_key: str = ""
    body_sha256: str = ""
    accepted: bool = False
    remote_id: str = ""

    @property
    def event(self) -> str:
        """Source and id of the event; unambiguous if the source is a URI-reference, without spaces."""
        return f"{self.source} {self.id}" if self.source and self.id else ""


class Received(NamedTuple):
    """What the page shows of a request: the headers that carry an event's attributes, and the body."""

    attempt: Attempt
    headers: Mapping[str, str]
    body: bytes


class Ledger:
    """Counts every request once and every acceptance once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Forgets everything; requests that run now are no longer counted."""
        with self._lock:
            self._attempts: list[Attempt] = []
            self._recent: deque[Received] = deque(maxlen=RECENT)
            self._running: dict[str, list[int]] = {}
            self._requests: Counter[str] = Counter()
            self._accepts: Counter[str] = Counter()
            self._accepts_by_key: Counter[str] = Counter()
            self._bodies_by_key: dict[str, list[str]] = {}
            self._overlaps: list[dict[str, Any]] = []

    def begin(
        self,
        endpoint: str,
        request: Request,
        event: Mapping[str, Any],
        *,
        webhook_token: str,
        key: str = "",
        remote_id: str = "",
    ) -> Attempt:
        """Records a request that arrived, with its event's attributes."""
        body = request.body if endpoint in _BRING_EVENTS else b""
        source, event_id, event_type, subject = (
            value if isinstance(value := event.get(name), str) else "" for name in _ATTRIBUTES
        )
        attempt = Attempt(
            number=next(self._numbers),
            endpoint=endpoint,
            method=request.method,
            path=masked(request.path, webhook_token),
            correlation_id=request.correlation_id,
            started=self._clock(),
            started_at=time.time(),
            idempotency_key=key,
            body_sha256=hashlib.sha256(body).hexdigest() if endpoint in _BRING_EVENTS else "",
            remote_id=masked(remote_id, webhook_token),
            source=source,
            id=event_id,
            type=event_type,
            subject=subject,
        )
        with self._lock:
            self._attempts.append(attempt)
            self._recent.append(Received(attempt, attribute_headers(request), body[:BODY_KEPT]))
            self._note_body(attempt)
            self._note_overlap(attempt)
        return attempt

    def accept(self, attempt: Attempt, remote_id: str) -> None:
        """Records that the platform accepted the event of this attempt."""
        with self._lock:
            attempt.accepted = True
            attempt.remote_id = remote_id
            self._accepts[attempt.event] += 1
            if attempt.idempotency_key:
                self._accepts_by_key[attempt.idempotency_key] += 1

    def end(self, attempt: Attempt, status: str) -> None:
        """Records the response; the sender has not seen it yet."""
        with self._lock:
            attempt.ended = self._clock()
            attempt.status = status
            running = self._running.get(attempt.event, [])
            if attempt.number in running:
                running.remove(attempt.number)
                self._requests[f"{attempt.endpoint} {attempt.method} {status}"] += 1
            if not running:
                self._running.pop(attempt.event, None)

    def attempts(self) -> list[Attempt]:
        """Every request, oldest first; copies."""
        with self._lock:
            return [replace(attempt) for attempt in self._attempts]

    def recent(self) -> list[Received]:
        """The last requests, newest first."""
        with self._lock:
            return list(reversed(self._recent))

    def counts(self) -> dict[str, Any]:
        """The numbers for people: requests, and how many acceptances, drifts and overlaps."""
        with self._lock:
            return {
                "requests": dict(sorted(self._requests.items())),
                "accepted": self._accepts.total(),
                "accepted twice": sum(times > 1 for times in self._accepts.values()),
                "keys sent with different bodies": sum(len(b) > 1 for b in self._bodies_by_key.values()),
                "overlapping attempts": len(self._overlaps),
            }

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON.

        ``accepts`` by event ("<source> <id>") and ``accepts_by_key``; ``bodies_by_key`` the sha-256 of each
        different body a key was sent with; ``drift`` the keys with more than one; ``overlaps`` pairs of
        attempts (numbers) for one event that ran at the same time; ``requests`` by endpoint, method and
        status; ``attempts`` one by one, as in Attempt.
        """
        with self._lock:
            return {
                "accepts": dict(self._accepts),
                "accepts_by_key": dict(self._accepts_by_key),
                "bodies_by_key": {key: list(bodies) for key, bodies in self._bodies_by_key.items()},
                "drift": [key for key, bodies in self._bodies_by_key.items() if len(bodies) > 1],
                "overlaps": [dict(overlap) for overlap in self._overlaps],
                "requests": dict(self._requests),
                "attempts": [asdict(attempt) for attempt in self._attempts],
            }

    def _note_body(self, attempt: Attempt) -> None:
        if attempt.idempotency_key:
            bodies = self._bodies_by_key.setdefault(attempt.idempotency_key, [])
            if attempt.body_sha256 not in bodies:
                bodies.append(attempt.body_sha256)

    def _note_overlap(self, attempt: Attempt) -> None:
        running = self._running.setdefault(attempt.event, [])
        if attempt.event:
            self._overlaps.extend(
                {"event": attempt.event, "attempts": [other, attempt.number]} for other in running
            )
        running.append(attempt.number)

"""A model of the platform: each organisation remembers keys for a window, from the arrival of a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict

#: The possible results of a publish request: does the platform accept the event, and the sender's outcome.
PUBLISH_FATES: dict[str, tuple[bool, Outcome]] = {
    "taken": (True, Outcome(Verdict.ACCEPTED, status_code=202)),
    "taken and delivered": (True, Outcome(Verdict.ACCEPTED, status_code=201, final=Verdict.DELIVERED)),
    "taken and failed": (True, Outcome(Verdict.ACCEPTED, status_code=201, final=Verdict.FAILED)),
    "taken without an id": (True, Outcome(Verdict.ACCEPTED, status_code=202)),
    "taken, answer lost": (True, Outcome(Verdict.UNKNOWN, error="read timeout", outage=Halt.NETWORK)),
    "taken, answer garbled": (True, Outcome(Verdict.UNKNOWN, status_code=200, outage=Halt.CONFIG)),
    "not taken, 500": (False, Outcome(Verdict.UNKNOWN, status_code=500, outage=Halt.NETWORK)),
    "not taken, 503 with Retry-After": (
        False,
        Outcome(Verdict.UNKNOWN, status_code=503, outage=Halt.NETWORK, retry_after=9.0),
    ),
    "locked": (False, Outcome(Verdict.UNAVAILABLE, status_code=423)),
    "refused": (False, Outcome(Verdict.REJECTED, status_code=400, error="400: not registered")),
    "conflict": (False, Outcome(Verdict.UNKNOWN, status_code=409, conflict=True, error="another event")),
    "halted, auth": (False, Outcome(Verdict.HALTED, status_code=401, halt=Halt.AUTH)),
    "halted, permission": (
        False,
        Outcome(Verdict.HALTED, status_code=403, halt=Halt.PERMISSION, accuses=True),
    ),
    "halted, a page": (False, Outcome(Verdict.HALTED, status_code=400, halt=Halt.CONFIG, accuses=True)),
    "halted, config": (False, Outcome(Verdict.HALTED, error="a certificate", halt=Halt.CONFIG)),
    "halted, rate": (False, Outcome(Verdict.HALTED, status_code=429, halt=Halt.RATE, retry_after=30.0)),
    "halted, network": (False, Outcome(Verdict.HALTED, error="refused", halt=Halt.NETWORK)),
}

#: The possible results of a check; None: the platform's actual status.
CHECK_FATES: dict[str, Outcome | None] = {
    "the status": None,
    "not yet": Outcome(Verdict.NOT_YET, status_code=200),
    "no answer": Outcome(Verdict.NOT_YET, error="read timeout"),
    "unknown id": Outcome(Verdict.UNKNOWN, status_code=404, error="404 after the grace"),
    "halted, rate": Outcome(Verdict.HALTED, status_code=429, halt=Halt.RATE, retry_after=30.0),
    "halted, permission": Outcome(Verdict.HALTED, status_code=403, halt=Halt.PERMISSION),
}


@dataclass(slots=True)
class Request:
    """One publish request; times are from the workers' monotonic clock."""

    row: int
    event: str
    key: str
    body: str
    fate: str
    began: float
    arrives: float
    ends: float
    #: The organisation that receives it. Organisations share only the ids of events, not the keys.
    organisation: UUID | None = None
    answer: Outcome | None = None
    #: The sender died before the request was sent.
    cut: bool = False


@dataclass(slots=True)
class Taken:
    event: str
    remote_id: str
    at: float
    status: str = "delivered"


@dataclass(slots=True)
class ModelPlatform:
    """``window``: seconds for which keys are remembered. ``on_accept(row)`` is called for each acceptance."""

    window: float
    on_accept: Callable[[int], None]
    requests: list[Request] = field(default_factory=list)
    accepts: Counter[str] = field(default_factory=Counter)
    by_key: dict[tuple[UUID | None, str], Taken] = field(default_factory=dict)
    by_id: dict[str, Taken] = field(default_factory=dict)
    _waiting: list[Request] = field(default_factory=list)

    def send(self, request: Request) -> None:
        self.requests.append(request)
        self._waiting.append(request)

    def run_until(self, now: float) -> None:
        """Answer every request that has arrived by ``now``, in the order of arrival."""
        arrived = sorted(
            (each for each in self._waiting if each.arrives <= now), key=lambda each: each.arrives
        )
        for request in arrived:
            self._waiting.remove(request)
            if not request.cut:
                request.answer = self._answer(request)

    def cut_off(self, rows: set[int], now: float) -> None:
        """The senders of these rows died: requests that have not arrived by ``now`` never will."""
        for request in self._waiting:
            if request.row in rows and request.arrives > now:
                request.cut = True

    def status(self, remote_id: str) -> Outcome:
        verdict = Verdict.DELIVERED if self.by_id[remote_id].status == "delivered" else Verdict.FAILED
        return Outcome(verdict, status_code=200, remote_id=remote_id)

    def taken(self, request: Request) -> Taken | None:
        """What this request's organisation accepted under its key, if anything."""
        return self.by_key.get((request.organisation, request.key))

    def _answer(self, request: Request) -> Outcome:
        takes, answer = PUBLISH_FATES[request.fate]
        if not takes:
            return answer
        known = self.taken(request)
        duplicate = known is not None and request.arrives - known.at < self.window
        if known is None or not duplicate:
            known = self._take(request)
        if answer.final is not None and not duplicate:
            known.status = str(answer.final)
        if answer.verdict is not Verdict.ACCEPTED:
            return answer
        final = answer.final and (Verdict.DELIVERED if known.status == "delivered" else Verdict.FAILED)
        remote_id = "" if request.fate == "taken without an id" else known.remote_id
        return Outcome(
            Verdict.ACCEPTED,
            status_code=409 if duplicate else answer.status_code,
            remote_id=remote_id,
            final=final,
            duplicate=duplicate,
        )

    def _take(self, request: Request) -> Taken:
        taken = Taken(request.event, f"evt-{len(self.by_id) + 1}", request.arrives)
        self.by_key[request.organisation, request.key] = taken
        self.by_id[taken.remote_id] = taken
        self.accepts[request.event] += 1
        self.on_accept(request.row)
        return taken

"""Compares the platform's ledger with the tables, and reports what was lost, duplicated or invented."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.states import AttemptKind, State
from tests.chaos.crew import GHOST
from tests.invariants import broken
from tests.shop.models import Order


@dataclass
class Findings:
    """Each list contains events; all are empty if every guarantee held."""

    #: Committed, but not delivered or not at the platform.
    lost: list[str] = field(default_factory=list)
    #: Accepted more than once; with ON_DOUBT "resend" only what was sent again after a known acceptance.
    doubled: list[str] = field(default_factory=list)
    #: Sent again although it may have been accepted: by itself with "ask", without the mark with "resend".
    blind: list[str] = field(default_factory=list)
    #: Sent or stored with other bytes than were enqueued.
    drifted: list[str] = field(default_factory=list)
    #: At the platform or in the outbox without a committed business row.
    invented: list[str] = field(default_factory=list)
    #: Two requests for one event at the same time.
    overlapping: list[str] = field(default_factory=list)
    #: Accepted before an earlier event of the same ordering key.
    misordered: list[str] = field(default_factory=list)
    #: Written by a worker that no longer held the claim.
    stale: list[str] = field(default_factory=list)
    #: Broken invariants of the tables.
    broken: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def counts(self) -> dict[str, int]:
        return {each.name: len(getattr(self, each.name)) for each in fields(self)}


#: Endpoints that bring events.
PUBLISHES = ("publish", "webhook")
#: Answers after which an event was certainly not accepted.
REFUSED = {"400", "401", "403", "404", "405", "410", "415", "421", "422", "423", "425", "429"}


def judge(ledger: dict[str, Any], *, stale: list[str] | None = None, on_doubt: str = "") -> Findings:
    """Everything that is wrong, once the backlog is drained.

    ``on_doubt`` is the setting of that name if the protocol honours no key: with "ask" an event may be
    unresolved, with "resend" it may be accepted twice, if the attempt log says so.
    """
    found = Findings(stale=list(stale or ()), broken=broken())
    rows = {f"{row.source} {row.event_id}": row for row in OutboxEvent.objects.all()}
    accepted = _acceptances(ledger)
    for name, row in rows.items():
        asked = on_doubt == "ask" and row.state == State.UNRESOLVED
        if not asked and (row.state != State.DELIVERED or name not in accepted):
            found.lost.append(f"{name} is {row.state} {row.reason}")
        if hashlib.sha256(row.body.encode()).hexdigest() != row.body_sha256:
            found.drifted.append(name)
    twice = {name for name, times in ledger["accepts"].items() if times > 1}
    if on_doubt:
        found.blind += blind(ledger, on_doubt)
    if on_doubt == "resend":
        twice &= _sent_again_though_known(ledger)
    found.doubled += sorted(twice)
    for attempt in ledger["attempts"]:
        row_sent = rows.get(f"{attempt['source']} {attempt['id']}")
        # Half a body, from a sender that was killed, names no event.
        if attempt["endpoint"] in PUBLISHES and row_sent and attempt["body_sha256"] != row_sent.body_sha256:
            found.drifted.append(row_sent.event_id)
    for name, attempt in accepted.items():
        if name not in rows or attempt["subject"].startswith(GHOST):
            found.invented.append(name)
    found.invented += list(Order.objects.filter(number__startswith=GHOST).values_list("number", flat=True))
    found.overlapping += [overlap["event"] for overlap in ledger["overlaps"]]
    found.misordered += _misordered(rows, accepted)
    return found


def blind(ledger: dict[str, Any], on_doubt: str) -> list[str]:
    """Events sent again although an earlier request may have arrived.

    With "ask" every one, unless an operator has sent it again (``key_epoch``); with "resend" those whose
    repeated requests are not marked in the attempt log.
    """
    arrived = _may_have_arrived(ledger)
    if on_doubt == "ask":
        sent = _requests(ledger)
        rows = OutboxEvent.objects.filter(key_epoch=0)
        names = [f"{row.source} {row.event_id}" for row in rows]
        return [name for name in names if any(arrived[name] < start for start in sent[name])]
    began = _began(ledger)
    return [
        f"{name}, attempt {attempt.number}"
        for name, attempt in _logged()
        if arrived[name] < began.get(attempt.correlation_id, attempt.started_at.timestamp())
        and not attempt.may_duplicate
    ]


def never_requested(ledger: dict[str, Any]) -> list[str]:
    """Unresolved events without a request that may have arrived: their worker died before it began one."""
    arrived = _may_have_arrived(ledger)
    unknown = {name for name, attempt in _logged() if attempt.verdict == Verdict.UNKNOWN}
    rows = OutboxEvent.objects.filter(state=State.UNRESOLVED)
    names = [f"{row.source} {row.event_id}" for row in rows]
    return [name for name in names if name not in unknown and arrived[name] == float("inf")]


def _sent_again_though_known(ledger: dict[str, Any]) -> set[str]:
    """Events with a request after one whose acceptance is in the attempt log."""
    sent, began = _requests(ledger), _began(ledger)
    return {
        name
        for name, attempt in _logged()
        if attempt.verdict == Verdict.ACCEPTED
        and any(began.get(attempt.correlation_id, float("inf")) < start for start in sent[name])
    }


def _requests(ledger: dict[str, Any]) -> dict[str, list[float]]:
    """By event, when its requests began."""
    found: dict[str, list[float]] = defaultdict(list)
    for attempt in ledger["attempts"]:
        if attempt["endpoint"] in PUBLISHES:
            found[f"{attempt['source']} {attempt['id']}"].append(attempt["started_at"])
    return found


def _began(ledger: dict[str, Any]) -> dict[str, float]:
    """By correlation id, when the request began; the attempt log may be of a worker with another clock."""
    return {attempt["correlation_id"]: attempt["started_at"] for attempt in ledger["attempts"]}


def _may_have_arrived(ledger: dict[str, Any]) -> dict[str, float]:
    """By event, when the first request began after which it may have been accepted; else infinity."""
    found: dict[str, float] = defaultdict(lambda: float("inf"))
    for attempt in ledger["attempts"]:
        name = f"{attempt['source']} {attempt['id']}"
        if attempt["endpoint"] in PUBLISHES and attempt["status"] not in REFUSED:
            found[name] = min(found[name], attempt["started_at"])
    return found


def _logged() -> list[tuple[str, DeliveryAttempt]]:
    """The attempts in the log, each with the name of its event."""
    publishes = DeliveryAttempt.objects.filter(kind=AttemptKind.PUBLISH).select_related("event")
    return [(f"{each.event.source} {each.event.event_id}", each) for each in publishes.order_by("id")]


#: Seconds that an event may wait between two steps by design: a lapsed lease and a backoff.
DUE_AGAIN = 8.0 + 6.0


@dataclass
class Standstill:
    """The time between two steps of one event."""

    event: str = ""
    began: float = 0.0
    seconds: float = 0.0
    #: It was accepted, and waited for a check.
    accepted: bool = False
    #: Events first sent (or, after acceptance, checked) meanwhile that became due only later: almost
    #: none if it waited in a queue, many if it was passed over.
    overtaken: int = 0
    #: Its attempts without a request, in its whole life: their worker was killed first. A lower bound:
    #: a request that led to a pause is not an attempt.
    in_vain: int = 0
    #: The longest time within it in which no event was sent: pauses, and probes whose worker died.
    silence: float = 0.0

    def __str__(self) -> str:
        step = "to be checked" if self.accepted else "to be sent"
        passed = f"overtaken by {self.overtaken}, {self.in_vain} attempts without a request"
        return f"{self.seconds:.1f} s, {step}, {passed}, silence {self.silence:.1f} s"


def longest_standstills(ledger: dict[str, Any]) -> tuple[Standstill, Standstill]:
    """The longest standstill of any event from insert to end, and the longest after the previous events
    of its ordering key were known to be accepted.
    """
    rows = list(OutboxEvent.objects.order_by("id"))
    sent, asked = _steps(ledger, rows)
    accepted = {name: attempt["started_at"] for name, attempt in _acceptances(ledger).items()}
    free: dict[str, float] = {}
    longest, alone = Standstill(), Standstill()
    for row in rows:
        name = f"{row.source} {row.event_id}"
        born = row.created_at.timestamp()
        ends: dt.datetime | None = row.finished_at
        moments = sorted([*sent[name], *asked[name], *([ends.timestamp()] if ends else [])])
        freed = max(born, free.get(row.ordering_key, born) if row.ordering_key else born)
        longest = max([longest, *_gaps(name, [born, *moments])], key=lambda gap: gap.seconds)
        moments = [freed, *(moment for moment in moments if moment > freed)]
        alone = max([alone, *_gaps(name, moments)], key=lambda gap: gap.seconds)
        if row.accepted_at:
            free[row.ordering_key] = max(freed, row.accepted_at.timestamp())
    all_sent = sorted(time for times in sent.values() for time in times)
    claims = {f"{row.source} {row.event_id}": row.attempts for row in rows}
    born_at = {f"{row.source} {row.event_id}": row.created_at.timestamp() for row in rows}
    for gap in (longest, alone):
        gap.accepted = accepted.get(gap.event, float("inf")) <= gap.began
        due, first = (accepted, asked) if gap.accepted else (born_at, sent)
        gap.in_vain = max(0, claims.get(gap.event, 0) - len(sent[gap.event]))
        ends_at = gap.began + gap.seconds
        heard = [gap.began, *(time for time in all_sent if gap.began < time < ends_at), ends_at]
        gap.silence = max(after - before for before, after in pairwise(heard))
        gap.overtaken = sum(
            gap.began + DUE_AGAIN < since and min(first[name]) < ends_at
            for name, since in due.items()
            if first[name]
        )
    return longest, alone


def _gaps(name: str, moments: list[float]) -> list[Standstill]:
    return [Standstill(name, before, after - before) for before, after in pairwise(moments)]


def _steps(
    ledger: dict[str, Any], rows: list[OutboxEvent]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """By event, the times it was sent, and the times it was checked."""
    sent: dict[str, list[float]] = defaultdict(list)
    asked: dict[str, list[float]] = defaultdict(list)
    by_remote_id = {row.remote_id: f"{row.source} {row.event_id}" for row in rows if row.remote_id}
    for attempt in ledger["attempts"]:
        if attempt["source"]:
            sent[f"{attempt['source']} {attempt['id']}"].append(attempt["started_at"])
        elif attempt["remote_id"] in by_remote_id:
            asked[by_remote_id[attempt["remote_id"]]].append(attempt["started_at"])
    return sent, asked


def _acceptances(ledger: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The first accepting request of each event, in the order of acceptance."""
    accepted: dict[str, dict[str, Any]] = {}
    for attempt in ledger["attempts"]:
        if attempt["accepted"]:
            accepted.setdefault(f"{attempt['source']} {attempt['id']}", attempt)
    return accepted


def _misordered(rows: dict[str, OutboxEvent], accepted: dict[str, dict[str, Any]]) -> list[str]:
    last: dict[str, int] = {}
    wrong = []
    for name in accepted:
        row = rows.get(name)
        if row is None or not row.ordering_key:
            continue
        if row.pk < last.get(row.ordering_key, 0):
            wrong.append(name)
        last[row.ordering_key] = max(row.pk, last.get(row.ordering_key, 0))
    return wrong

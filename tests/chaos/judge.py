"""Compares the platform's ledger with the tables, and reports what was lost, duplicated or invented."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import State
from tests.chaos.crew import GHOST
from tests.invariants import broken
from tests.shop.models import Order


@dataclass
class Findings:
    """Each list contains events; all are empty if every guarantee held."""

    #: Committed, but not delivered or not at the platform.
    lost: list[str] = field(default_factory=list)
    #: Accepted more than once.
    doubled: list[str] = field(default_factory=list)
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


def judge(ledger: dict[str, Any], *, stale: list[str] | None = None) -> Findings:
    """Everything that is wrong, once the backlog is drained."""
    found = Findings(stale=list(stale or ()), broken=broken())
    rows = {f"{row.source} {row.event_id}": row for row in OutboxEvent.objects.all()}
    accepted = _acceptances(ledger)
    for name, row in rows.items():
        if row.state != State.DELIVERED or name not in accepted:
            found.lost.append(f"{name} is {row.state} {row.reason}")
        if hashlib.sha256(row.body.encode()).hexdigest() != row.body_sha256:
            found.drifted.append(name)
    found.doubled += [name for name, times in ledger["accepts"].items() if times > 1]
    for attempt in ledger["attempts"]:
        row_sent = rows.get(f"{attempt['source']} {attempt['id']}")
        # Half a body, from a sender that was killed, names no event.
        if attempt["endpoint"] == "publish" and row_sent and attempt["body_sha256"] != row_sent.body_sha256:
            found.drifted.append(row_sent.event_id)
    for name, attempt in accepted.items():
        if name not in rows or attempt["subject"].startswith(GHOST):
            found.invented.append(name)
    found.invented += list(Order.objects.filter(number__startswith=GHOST).values_list("number", flat=True))
    found.overlapping += [overlap["event"] for overlap in ledger["overlaps"]]
    found.misordered += _misordered(rows, accepted)
    return found


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

"""The judge: reads the platform's ledger and the tables, and says what was lost, doubled or invented."""

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
    """Each list names events; all are empty when every guarantee held."""

    #: Committed, and not delivered or not at the platform.
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
    #: Written by a worker that held the claim no more.
    stale: list[str] = field(default_factory=list)
    #: Invariants of the tables that do not hold.
    broken: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def counts(self) -> dict[str, int]:
        return {each.name: len(getattr(self, each.name)) for each in fields(self)}


def judge(ledger: dict[str, Any], *, stale: list[str] | None = None) -> Findings:
    """All that is wrong, when everything has been drained."""
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
        if attempt["door"] == "publish" and row_sent and attempt["body_sha256"] != row_sent.body_sha256:
            found.drifted.append(row_sent.event_id)
    for name, attempt in accepted.items():
        if name not in rows or attempt["subject"].startswith(GHOST):
            found.invented.append(name)
    found.invented += list(Order.objects.filter(number__startswith=GHOST).values_list("number", flat=True))
    found.overlapping += [overlap["event"] for overlap in ledger["overlaps"]]
    found.misordered += _misordered(rows, accepted)
    return found


def longest_standstills(ledger: dict[str, Any]) -> tuple[float, float]:
    """Seconds between two steps of one event, from its insert to its end: the longest, and the longest once
    the events before it in its ordering key had been accepted.
    """
    steps: dict[str, list[float]] = defaultdict(list)
    for attempt in ledger["attempts"]:
        if attempt["source"]:
            steps[f"{attempt['source']} {attempt['id']}"].append(attempt["started_at"])
    accepted = _acceptances(ledger)
    free: dict[str, float] = {}
    longest = alone = 0.0
    for row in OutboxEvent.objects.order_by("id"):
        name = f"{row.source} {row.event_id}"
        born = row.created_at.timestamp()
        ends: dt.datetime | None = row.finished_at
        moments = sorted([born, *steps[name], *([ends.timestamp()] if ends else [])])
        longest = max([longest, *(after - before for before, after in pairwise(moments))])
        freed = max(born, free.get(row.ordering_key, born) if row.ordering_key else born)
        later = [freed, *(moment for moment in moments if moment > freed)]
        alone = max([alone, *(after - before for before, after in pairwise(later))])
        if name in accepted:
            free[row.ordering_key] = max(freed, accepted[name]["started_at"])
    return longest, alone


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

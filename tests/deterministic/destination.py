"""The rules for the row of the destination: pauses, an operator's hold, the one probe, and the rate (G9)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from genesys_eventbridge.circuit.rate import CHECK_SHARE, capacity
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox.destinations import Drawn, Gate
from genesys_eventbridge.states import AttemptKind
from tests.deterministic.claims import CLOSE
from tests.deterministic.database import Database
from tests.deterministic.scheduler import Broken
from tests.deterministic.stand_ins import EPOCH

TABLE = "genesys_eventbridge_destination"
COLUMNS = ("id", "paused_until", "paused_kind", "check_paused_until", "probe_until", "held_by", "held_until")
#: Seconds that the platform asks to wait with a 429.
RETRY_AFTER = 3.0

Row = dict[str, Any]


class DestinationJudge:
    """Sees the row after each commit, and each gate that a pass goes through."""

    def __init__(
        self,
        database: Database,
        settings: DestinationSettings,
        operators: Collection[str],
        step: Callable[[str], None],
    ) -> None:
        self.database, self.settings, self.operators, self.step = database, settings, operators, step
        self.row: Row = {}
        self.clock_is_steady = True
        #: An operator may have ended a pause.
        self.touched = False
        self._prober = ""

    def look(self, process: str) -> None:
        """Called after each commit, by the task that made it."""
        before, found = self.row, self.database.rows(TABLE, COLUMNS)
        if not found or found[0] == before:
            return
        self.row = after = found[0]
        if process in self.operators:
            self.touched = True
        elif before and self.clock_is_steady:
            self._judge(process, before, after)
        if after["probe_until"] is not None and after["probe_until"] != before.get("probe_until"):
            self._prober = process

    def _judge(self, process: str, before: Row, after: Row) -> None:
        latest = self.database.latest
        if (before["held_by"], before["held_until"]) != (after["held_by"], after["held_until"]):
            raise Broken(f"{process} changes the pause that an operator made")
        until = before["paused_until"] or -math.inf
        if before["paused_kind"] == "rate" and until > latest + CLOSE and not _later(after, until):
            raise Broken(f"{process} shortens a pause that the platform asked for")
        probe = before["probe_until"] or -math.inf
        taken = after["probe_until"] is not None and after["probe_until"] > probe + CLOSE
        if probe > latest + CLOSE and taken and process != self._prober:
            raise Broken(f"{process} probes while {self._prober} does")

    def through_gate(
        self, gate: Callable[[AttemptKind, str, str], Gate], kind: AttemptKind, alias: str, worker: str
    ) -> Gate:
        """Replaces ``destinations.gate``: raises Broken if it is not what the row says."""
        before = self.row
        found = gate(kind, alias, worker)
        if not before or before != self.row or not self.clock_is_steady:
            return found
        now = found.read_at.timestamp() - EPOCH
        ahead = {
            name: (before[name] or -math.inf) - now
            for name in ("paused_until", "check_paused_until", "probe_until", "held_until")
        }
        publishes = kind is AttemptKind.PUBLISH
        held = bool(before["held_by"]) and (before["held_until"] is None or ahead["held_until"] > 0)
        waits = [ahead["paused_until" if publishes else "check_paused_until"]]
        if publishes and before["paused_until"] is not None:
            waits.append(ahead["probe_until"])
        if found.open and (held or max(waits) > CLOSE):
            raise Broken(f"{worker} goes through the gate, and the destination is paused: {before}")
        if found.open and found.probing:
            self.step("is to probe")
        if publishes and not found.open and not held and max(waits) < -CLOSE:
            raise Broken(f"{worker} finds the gate closed, and nothing is paused: {before}")
        return found

    def of_the_rate(
        self,
        allowed: Callable[[AttemptKind, DestinationSettings, Gate, int], Drawn],
        kind: AttemptKind,
        settings: DestinationSettings,
        gate: Gate,
        wanted: int,
    ) -> Drawn:
        """Replaces ``destinations.allowed``: a fifth of the rate belongs to checks, whatever else is due."""
        found, bucket = allowed(kind, settings, gate, wanted), gate.bucket
        if bucket is None or bucket.at is None or settings.rate_per_minute is None or found.tokens:
            return found
        share = CHECK_SHARE if kind is AttemptKind.CHECK else 1 - CHECK_SHARE
        stored = bucket.reserve if kind is AttemptKind.CHECK else bucket.tokens
        refill = (gate.read_at - bucket.at).total_seconds() * settings.rate_per_minute / 60 * share
        if stored + refill > 1.01 and self.clock_is_steady:
            raise Broken(f"a {kind} waits for the rate, and {stored + refill:.2f} tokens are there for it")
        return found

    def judge_asked_to_wait(self, name: str, answered_at: float) -> None:
        """A 429 was settled: the pause is in force before another worker can claim."""
        if self.clock_is_steady and not self.touched and not _later(self.row, answered_at + RETRY_AFTER):
            raise Broken(f"{name}: the platform asked to wait, and the destination is not paused for so long")

    def judge_rate(self, times: list[float]) -> None:
        """``times`` of all claims: in no time span more than the bucket held and got."""
        rate = self.settings.rate_per_minute
        if rate is None or not self.clock_is_steady:
            return
        most, times = sum(capacity(rate)), sorted(times)
        for first, began in enumerate(times):
            for last in range(first, len(times)):
                allowed = most + (times[last] - began + 2 * CLOSE) * rate / 60
                if last - first + 1 > allowed:
                    raise Broken(
                        f"{last - first + 1} claims in {times[last] - began:.3f} s, allowed {allowed:.2f}"
                    )


def _later(row: Row, until: float) -> bool:
    return row["paused_until"] is not None and row["paused_until"] >= until - CLOSE

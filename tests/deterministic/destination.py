"""The rules for the row of the destination: pauses, an operator's hold, the one probe, and the rate (G9)."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Collection
from typing import Any

from genesys_eventbridge.circuit.rate import CHECK_SHARE, capacity
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox.destinations import Drawn, Gate
from genesys_eventbridge.states import AttemptKind
from tests.deterministic.claims import CLOSE
from tests.deterministic.database import Database
from tests.deterministic.scheduler import Broken, Scheduler
from tests.deterministic.stand_ins import EPOCH

TABLE = "genesys_eventbridge_destination"
COLUMNS = (
    "id", "paused_until", "paused_kind", "check_paused_until", "probe_until", "held_by", "held_until",
    "pauses", "refusals", "refused_until", "bucket_tokens", "bucket_reserve", "bucket_at",
)  # fmt: skip
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
        scheduler: Scheduler,
    ) -> None:
        self.database, self.settings, self.operators = database, settings, operators
        self.scheduler = scheduler
        self.row: Row = {}
        self.clock_is_steady = True
        #: An operator may have ended a pause.
        self.touched = False
        self._prober = ""
        #: Whether a worker may stop before it tries a refused type.
        self.tries_types = False
        #: By process: when it last drew from the bucket, by the database's clock.
        self._drawn_at: dict[str, float] = {}
        #: When each claimed row's token was drawn.
        self._requests: list[float] = []
        #: By process: the end of the turn of a refused type that it took last.
        self._turns: dict[str, float] = {}
        #: By process: what the last gate said, and the step before it was read.
        self.gates: dict[str, tuple[Gate, int]] = {}

    def look(self, process: str) -> None:
        """Called after each commit, by the task that made it."""
        before, found = self.row, self.database.rows(TABLE, COLUMNS)
        if not found or found[0] == before:
            return
        self.row = after = found[0]
        if process in self.operators:
            self.touched = True
            ended = bool(before) and before["pauses"] != after["pauses"]
            if ended and (after["refusals"] or after["refused_until"] is not None):
                raise Broken(f"{process} ends the pauses, and a run of refusals continues")
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
        if taken and until > latest + CLOSE:
            raise Broken(f"{process} probes, and the destination is paused until {until}")

    def takes_probe(self, before: Row, process: str) -> bool:
        """Whether the latest commit took the turn to probe."""
        probe = self.row.get("probe_until")
        if process in self.operators or not before or not self.clock_is_steady or probe is None:
            return False
        return bool(probe > (before["probe_until"] or -math.inf) + CLOSE)

    def takes_turn(self, before: Row, process: str) -> bool:
        """Whether the latest commit took the turn to try a refused type."""
        taken = self._turns.pop(process, None)
        return taken is not None and before.get("refused_until") != taken == self.row["refused_until"]

    def judge_claim(self, process: str) -> None:
        """The latest commit claimed events: the gate that its pass read last was open (G9)."""
        gate, _began = self.gates.get(process, (None, 0))
        if gate is None or not gate.open:
            raise Broken(f"{process} claims, and its gate was closed")

    def judge_bucket(self, process: str, before: Row, claims: int) -> None:
        """The latest commit made so many claims: so many tokens, and no more, have left the bucket (G9)."""
        rate, after = self.settings.rate_per_minute, self.row
        if claims and rate is not None:
            self._requests += [self._drawn_at[process]] * claims
        if rate is None or not before or before["bucket_at"] is None or not self.clock_is_steady:
            return
        if not claims and after["bucket_at"] == before["bucket_at"]:
            return
        refill = (after["bucket_at"] - before["bucket_at"]) * rate / 60
        if refill < -CLOSE:
            raise Broken(f"the bucket's time is set back from {before['bucket_at']} to {after['bucket_at']}")
        had, caps = (before["bucket_tokens"], before["bucket_reserve"]), capacity(rate)
        shares = (1 - CHECK_SHARE, CHECK_SHARE)
        parts = zip(had, caps, shares, strict=True)
        least = sum(min(tokens + refill * share, cap) for tokens, cap, share in parts) - claims
        most = min(sum(had) + refill, sum(caps)) - claims
        found, close = after["bucket_tokens"] + after["bucket_reserve"], 2 * CLOSE * rate / 60 + 1e-6
        if not least - close <= found <= max(0.0, most) + close:
            raise Broken(f"{claims} claims leave {found:.3f} tokens, not {least:.3f} to {most:.3f}")

    def through_gate(
        self, gate: Callable[[AttemptKind, str, str], Gate], kind: AttemptKind, alias: str, worker: str
    ) -> Gate:
        """Replaces ``destinations.gate``: raises Broken if it is not what the row says."""
        before, began = self.row, self.scheduler.steps
        found = gate(kind, alias, worker)
        self.gates[worker] = (found, began)
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
        if not publishes:  # a wait that the platform asked for holds checks, too
            waits += [until - now for kind_of, until in _stored(before) if kind_of == "rate"]
        if publishes and before["paused_until"] is not None:
            waits.append(ahead["probe_until"])
        if found.open and (held or max(waits) > CLOSE):
            raise Broken(f"{worker} goes through the gate, and the destination is paused: {before}")
        if found.open and found.probing:
            self.scheduler.step("is to probe")
        elif found.refused_types and self.tries_types:
            self.scheduler.step("is to try a refused type")
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
        if kind is AttemptKind.PUBLISH and self.clock_is_steady:
            self._judge_wait(gate, found.wait)
        share = CHECK_SHARE if kind is AttemptKind.CHECK else 1 - CHECK_SHARE
        stored = bucket.reserve if kind is AttemptKind.CHECK else bucket.tokens
        refill = (gate.read_at - bucket.at).total_seconds() * settings.rate_per_minute / 60 * share
        if stored + refill > 1.01 and self.clock_is_steady:
            raise Broken(f"a {kind} waits for the rate, and {stored + refill:.2f} tokens are there for it")
        return found

    def of_the_bucket(
        self,
        draw: Callable[..., Drawn],
        kind: AttemptKind,
        settings: DestinationSettings,
        wanted: int,
        **more: Any,
    ) -> Drawn:
        """Replaces ``destinations.draw``: the rate counts a request from now, even if its worker freezes."""
        found = draw(kind, settings, wanted, **more)
        self._drawn_at[self.scheduler.me.process] = self.database.latest
        return found

    def of_the_turn(
        self, take: Callable[[DestinationSettings], dt.datetime | None], settings: DestinationSettings
    ) -> dt.datetime | None:
        """Replaces ``destinations.take_refused_turn``."""
        until = take(settings)
        if until is not None:
            self._turns[self.scheduler.me.process] = until.timestamp() - EPOCH
        return until

    def _judge_wait(self, gate: Gate, wait: float) -> None:
        """A worker that waits for a token comes when there is one: it does not look in vain."""
        bucket, rate = gate.bucket, self.settings.rate_per_minute
        assert bucket is not None
        assert bucket.at is not None
        assert rate is not None
        refill = ((gate.read_at - bucket.at).total_seconds() + wait) * rate / 60
        spilt = max(0.0, bucket.reserve + refill * CHECK_SHARE - capacity(rate)[1])
        there = bucket.tokens + refill * (1 - CHECK_SHARE) + spilt
        if there < 1 - 2 * CLOSE * rate / 60:
            raise Broken(f"a worker waits {wait:.3f} s for a token, of which {there:.3f} are there then")

    def judge_asked_to_wait(self, name: str, answered_at: float) -> None:
        """A 429 was settled: the pause is in force before another worker can claim."""
        if self.clock_is_steady and not self.touched and not _later(self.row, answered_at + RETRY_AFTER):
            raise Broken(f"{name}: the platform asked to wait, and the destination is not paused for so long")

    def judge_rate(self) -> None:
        """In no time span more requests were drawn than the bucket held and got."""
        rate = self.settings.rate_per_minute
        if rate is None or not self.clock_is_steady:
            return
        most, times = sum(capacity(rate)), sorted(self._requests)
        for first, began in enumerate(times):
            for last in range(first, len(times)):
                allowed = most + (times[last] - began + 2 * CLOSE) * rate / 60
                if last - first + 1 > allowed:
                    raise Broken(
                        f"{last - first + 1} requests in {times[last] - began:.3f} s, allowed {allowed:.2f}"
                    )


def _stored(row: Row) -> list[tuple[str, float]]:
    """The kinds of the pauses that hold publishing, and their ends."""
    pauses = json.loads(row["pauses"] or "{}").get("publish", [])
    return [(each[0], dt.datetime.fromisoformat(each[1]).timestamp() - EPOCH) for each in pauses]


def _later(row: Row, until: float) -> bool:
    return row["paused_until"] is not None and row["paused_until"] >= until - CLOSE

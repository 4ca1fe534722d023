"""One pass over one destination: claim, ask, settle, until nothing is due or the time is over."""

from __future__ import annotations

import datetime as dt
import logging
import os
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from django.db import DatabaseError, connections

from genesys_eventbridge import claims, destinations, expiry, health, rollups, settlements, transitions
from genesys_eventbridge.claims import Claimed
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.decisions import decide, released
from genesys_eventbridge.destinations import Gate, Recorded
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.senders import Report, Senders
from genesys_eventbridge.settlements import Settlement, settle, take_late_answer
from genesys_eventbridge.settlements_log import Attempt
from genesys_eventbridge.states import OPEN, AttemptKind, State
from genesys_eventbridge.text import clean
from genesys_eventbridge.verdicts import Halt, Outcome, Verdict

logger = logging.getLogger("genesys_eventbridge")

#: Outcomes are written when so many wait, or a step of the batch, or the oldest waits so long (seconds).
SETTLE_ROWS = 100
SETTLE_SECONDS = 0.1
#: Seconds until a kind of which nothing was due is looked at again, while the other is at work.
LOOK_AGAIN = 0.5
#: The longest time until a pause is looked at again, in seconds: an operator may have ended it.
LOOK_AT_PAUSE = 5.0
#: Seconds; no shorter wait between two claims while nothing is in flight.
SHORTEST_WAIT = 0.001
#: Rows left to each sender, the one in its hands among them, while the database is asked for more.
ROWS_A_SENDER = 2


@dataclass(slots=True)
class PassReport:
    """What one pass did, in numbers of events."""

    destination: str
    kind: AttemptKind
    claimed: int = 0
    #: Rows by the state they went to; ``pending`` and ``accepted`` count those to be tried or asked again.
    states: Counter[str] = field(default_factory=Counter)
    #: Claimed and not begun: given back uncharged.
    released: int = 0
    #: Sent back uncharged because the whole destination halted.
    halted: int = 0
    #: Claims lost to another worker; their outcome is the other's to write.
    lost: int = 0
    #: Why nothing (more) was sent, and for how long in seconds, where the destination is paused.
    paused_for: float = 0.0
    paused_reason: str = ""
    #: Nothing was due any more when the pass ended.
    drained: bool = False

    @property
    def moved(self) -> int:
        """Rows that a request was made for, or that were settled without one."""
        return sum(self.states.values())


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class Pass:
    """One pass over one destination, for one kind or for both side by side, with one database connection.

    ``kinds`` says after how many seconds each kind is claimed for the first time. A kind that is not claimed
    at once joins only while another is at work.
    """

    def __init__(
        self,
        kinds: Mapping[AttemptKind, float],
        settings: DestinationSettings,
        senders: Senders,
        *,
        limit: int | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.senders = senders
        self.stop = stop or threading.Event()
        self.clock = clock or time.monotonic
        self.began = self.clock()
        # Each statement costs the same for one row and for many; senders that run dry cost more.
        spare = settings.batch_size - ROWS_A_SENDER * senders.count
        self.step = max(1, settings.batch_size // 4, spare)
        self.sides = {kind: Side(kind, settings, senders, limit=limit, step=self.step) for kind in kinds}
        for kind, wait in kinds.items():
            self.sides[kind].rests = wait > 0
            self.sides[kind].ask_at = self.began + wait
        #: Its next row may be what killed a worker: it goes when nothing else is in flight.
        self.alone: Side | None = None

    def run(self) -> list[PassReport]:
        """The reports of the kinds that were looked at, in the order of ``kinds``."""
        for side in self.sides.values():
            if not side.rests:
                side.begin()
        if self._time_to_stop():
            self._end_claims()
        while True:
            self._claim()
            if self._in_flight():
                self._collect()
            elif (wait := self._until_next_claim()) is not None:
                self.stop.wait(wait)
            else:
                break
            if self._time_to_stop():
                self._end_claims()
                self.senders.stop()
            if self._elapsed() >= self.settings.pass_seconds:
                break
        return [side.finish() for side in self.sides.values() if side.begun]

    def _claim(self) -> None:
        """Claim for each kind whose time has come; the one that has the least in its hands goes first."""
        for side in sorted(self.sides.values(), key=lambda side: side.held()):
            in_flight = self._in_flight()
            side.most = self._most(side)
            if side.ends or self.clock() < side.ask_at or not side.has_room():
                continue
            if side.rests and not any(each.is_at_work() for each in self.sides.values() if each is not side):
                continue
            if self.alone and (self.alone is not side or in_flight):
                continue
            self.alone = None
            if side.claim(self.clock, in_flight=in_flight):
                self.alone = side

    def _most(self, side: Side) -> int:
        """How many rows it may hold. Senders take them in turn: checks leave most of them to due events."""
        publishing = self.sides.get(AttemptKind.PUBLISH)
        if side is publishing or publishing is None or not publishing.is_at_work():
            return self.settings.batch_size
        return max(1, self.settings.batch_size // 5)

    def _until_next_claim(self) -> float | None:
        """Seconds, where nothing is in flight; None where the pass has nothing more to do."""
        sides = [side for side in self.sides.values() if not side.ends]
        if all(side.rests for side in sides):
            return None
        next_in = min(side.ask_at for side in sides) - self.clock()
        return min(max(next_in, SHORTEST_WAIT), 1.0)

    def _in_flight(self) -> int:
        return sum(len(side.in_flight) for side in self.sides.values())

    def _end_claims(self) -> None:
        for side in self.sides.values():
            side.ends = True

    def _time_to_stop(self) -> bool:
        """A request begun after this could not end within the pass."""
        late = self._elapsed() >= self.settings.pass_seconds - self.settings.request_deadline
        return late or self.stop.is_set()

    def _elapsed(self) -> float:
        return self.clock() - self.began

    def _collect(self) -> None:
        """Wait for answers a moment, and write them when enough or old enough."""
        until = time.monotonic() + SETTLE_SECONDS
        enough = min(SETTLE_ROWS, self.step)
        while enough > 0 and self._in_flight():
            try:
                answer = self.senders.reports.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            side = self.sides.get(answer.claimed.kind)
            if side is not None and side.took(answer):
                enough -= 1
        for side in self.sides.values():
            side.settle()


class Side:
    """One kind within a pass: its claims, what it has in flight, its answers and its report."""

    def __init__(
        self,
        kind: AttemptKind,
        settings: DestinationSettings,
        senders: Senders,
        *,
        limit: int | None,
        step: int,
    ) -> None:
        self.kind = kind
        self.settings = settings
        self.senders = senders
        self.limit = limit
        self.step = step
        #: Rows that it may hold now.
        self.most = settings.batch_size
        self.worker = worker_name()
        self.report = PassReport(settings.alias, kind)
        self.in_flight: dict[int, Claimed] = {}
        self.answers: list[Report] = []
        #: An answer of this pass paused the destination.
        self.paused = False
        self.tally = rollups.Tally(settings.alias)
        self.begun = False
        #: Not claimed before this time of the pass's clock.
        self.ask_at = 0.0
        #: Nothing can go now: looked at again only while the other kind is at work.
        self.rests = False
        #: Claims nothing more in this pass.
        self.ends = False
        #: What is in flight ends before the next claim.
        self._finishes_first = False

    def claim(self, clock: Callable[[], float], *, in_flight: int) -> bool:
        """Claim and hand out; returns whether the next row waits until the pass has nothing in flight.

        ``in_flight`` is what the whole pass has there. A database that is lost meanwhile does not cost it its
        outcome.
        """
        try:
            self.begin()
            more, wait, alone = self._claim(idle=not in_flight)
        except DatabaseError as error:
            if not in_flight:
                raise
            logger.warning("Nothing more of %s claimed now: %s", self.kind.value, type(error).__name__)
            self.rests, self.ask_at = True, clock() + LOOK_AGAIN
            return False
        self.rests = not more
        if self.rests:
            wait = min(self.report.paused_for, LOOK_AT_PAUSE) if self.report.paused_for else LOOK_AGAIN
        self.ask_at = clock() + wait
        self.ends = self.limit is not None and self.report.claimed >= self.limit
        return alone

    def begin(self) -> None:
        """Once: what ends without a request, also during a pause."""
        if self.begun:
            return
        self.begun = True
        connection = connections[outbox_alias()]
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        if self.kind is AttemptKind.PUBLISH:
            self.report.states.update(expiry.expire(self.settings))
        elif not self.settings.confirm:
            self.report.states.update(expiry.close_unconfirmed(self.settings))

    def _claim(self, *, idle: bool) -> tuple[bool, float, bool]:
        """Whether another claim may bring more, after how many seconds, and only with nothing in flight."""
        self._finishes_first = False
        if self.senders.is_stopped(self.kind):
            if self.in_flight:
                self._finishes_first = True
                return True, 0.0, False
            self.senders.resume(self.kind)
        gate = destinations.gate(self.kind, self.settings.alias, self.worker)
        self.senders.accepted_lately = gate.accepted_lately
        if self._report_pause(gate):
            return False, 0.0, False
        self.report.paused_for, self.report.paused_reason = 0.0, ""
        if gate.probing and self.in_flight:
            self._finishes_first = True
            return True, 0.0, False
        batch = claims.claim(self.kind, self.settings, gate, self._wanted(), idle=idle)
        if batch.used_up:
            self.report.states.update(expiry.give_up(self.settings, batch.used_up))
        for row in batch.rows:
            self.in_flight[row.id] = row
        self.report.claimed += len(batch.rows)
        self.senders.send(batch.rows)
        self._finishes_first = gate.probing
        more = bool(batch.rows or batch.used_up or batch.moved or batch.after_flight or batch.wait)
        self.report.drained = not more
        return more, batch.wait, batch.after_flight

    def finish(self) -> PassReport:
        """Count what was done, and report it."""
        self.tally.write(self.report.states)
        if self.paused and not self.report.paused_for:
            # The answer came after the last claim: nothing else was due by then, or the limit was reached.
            self._report_pause(destinations.gate(self.kind, self.settings.alias, self.worker))
        return self.report

    def _report_pause(self, gate: Gate) -> bool:
        """Whether the destination is paused; then the report says so, and that events may still be due."""
        if gate.open:
            return False
        self.report.paused_for, self.report.paused_reason = gate.paused_for, gate.reason
        self.report.drained = False
        return True

    def is_at_work(self) -> bool:
        return bool(self.in_flight) or not (self.rests or self.ends)

    def held(self) -> int:
        return len(self.in_flight) + len(self.answers)

    def _wanted(self) -> int:
        room = self.most - self.held()
        if self.limit is not None:
            room = min(room, self.limit - self.report.claimed)
        return max(1, room)

    def has_room(self) -> bool:
        """Claim again before the senders run dry, but never for single rows while many are held."""
        if self._finishes_first and self.in_flight:
            return False
        step = self.step if self.most == self.settings.batch_size else max(1, self.most // 2)
        return not self.held() or self.held() <= self.most - step

    def took(self, answer: Report) -> bool:
        """Whether the answer is one that this pass waits for."""
        if self.in_flight.get(answer.claimed.id) is not answer.claimed:
            return False
        del self.in_flight[answer.claimed.id]
        self.answers.append(answer)
        return True

    def settle(self) -> None:
        """Record what the answers mean for the destination, then for each row."""
        answers, self.answers = self.answers, []
        if not answers:
            return
        lease_ends = min(answer.claimed.started for answer in answers) + self.settings.lease_seconds
        answers = self._each_proven_once(answers, until=lease_ends)
        recorded = self._record_health(answers)
        rows = {answer.claimed.id: self._decide(answer, recorded) for answer in answers}
        won = settle(self.settings, list(rows.values()), until=lease_ends)
        moved: list[Settlement] = []
        for answer in answers:
            row = rows[answer.claimed.id]
            if row.id not in won:
                self.report.lost += 1
                if row.accepted:
                    take_late_answer(row)
            elif answer.outcome is None:
                self.report.released += 1
            else:
                moved.append(row)
                self._count(answer, answer.outcome, row)
        transitions.announce(self.settings.alias, moved)

    def _each_proven_once(self, answers: list[Report], *, until: float | None = None) -> list[Report]:
        """An id of the platform proves one event: for a second one it is another event's answer.

        Where several answers name the same id it belongs to the request that began first: a cache or a
        mixed-up connection can repeat only what was answered before.
        """
        outcomes = [answer.outcome for answer in answers if answer.outcome]
        named = {outcome.remote_id for outcome in outcomes if outcome.remote_id}
        if not named:
            return answers
        try:
            owners = settlements.owners(self.settings.alias, named, until=until)
        except DatabaseError as error:  # then the unique column decides
            logger.warning("Remote ids of %s not compared: %s", self.settings.alias, type(error).__name__)
            owners = {}
        for answer in sorted(answers, key=lambda answer: answer.began):
            if answer.outcome and answer.outcome.remote_id:
                owners.setdefault(answer.outcome.remote_id, {answer.claimed.id})
        return [
            replace(answer, outcome=_names_another(answer.outcome, min(proven)))
            if answer.outcome
            and (proven := owners.get(answer.outcome.remote_id))
            and answer.claimed.id not in proven
            else answer
            for answer in answers
        ]

    def _record_health(self, answers: list[Report]) -> Recorded | None:
        """What the answers mean for the destination; None where the database does not take it.

        The rows' outcomes are written all the same: they accuse no event then.
        """
        try:
            recorded = health.record(
                self.kind, self.settings, [(answer.claimed, answer.outcome) for answer in answers]
            )
        except DatabaseError as error:
            logger.warning("Health of %s not written: %s", self.settings.alias, type(error).__name__)
            return None
        if recorded.paused:
            self.paused = True
            self.senders.stop()
        return recorded

    def _count(self, answer: Report, outcome: Outcome, row: Settlement) -> None:
        self.tally.asked(self.kind, outcome)
        if row.state is State.DELIVERED:
            self.tally.took(answer.claimed.age + time.monotonic() - answer.claimed.started)
        if outcome.verdict is Verdict.HALTED and row.state in OPEN:
            self.report.halted += 1
        else:
            self.report.states[row.state.value] += 1

    def _decide(self, answer: Report, recorded: Recorded | None) -> Settlement:
        claimed, outcome = answer.claimed, answer.outcome
        if outcome is None:
            return released(claimed)
        row = decide(
            claimed,
            outcome,
            self.settings,
            elapsed=time.monotonic() - claimed.started,
            uncounted=recorded is not None and claimed.id in recorded.uncounted,
            accused=recorded is not None and claimed.id in recorded.accused,
            paused=recorded is not None and recorded.paused,
        )
        news = (outcome.status_code, outcome.error) != (claimed.last_status_code, claimed.last_error)
        if claimed.kind is AttemptKind.CHECK and row.state is State.ACCEPTED and not news:
            return row
        row.attempt = self._attempt(answer, outcome)
        return row

    def _attempt(self, answer: Report, outcome: Outcome) -> Attempt:
        claimed = answer.claimed
        return Attempt(
            event_id=claimed.id,
            kind=claimed.kind.value,
            started_at=claimed.claimed_at + dt.timedelta(seconds=answer.began - claimed.started),
            duration=round(answer.duration, 6),
            verdict=outcome.verdict.value,
            status_code=outcome.status_code,
            error=outcome.error,
            correlation_id=outcome.correlation_id,
            retry_after=outcome.retry_after,
            response_excerpt=outcome.excerpt,
            worker=self.worker[:128],
        )


def _names_another(outcome: Outcome, owner: int) -> Outcome:
    """An acceptance whose remote id is the proof of another event: no proof of this one.

    The text does not repeat the id, which may be a value of the event's data.
    """
    line = (
        f"HTTP {outcome.status_code}: the answer has the remote id of event {owner}. "
        "A stub, a cache or a proxy may answer for the platform. Check API_BASE_URL and PROXY."
    )
    return replace(
        outcome,
        verdict=Verdict.UNKNOWN,
        error=clean(line, 500),
        remote_id="",
        final=None,
        duplicate=False,
        conflict=True,
        outage=Halt.CONFIG,
    )

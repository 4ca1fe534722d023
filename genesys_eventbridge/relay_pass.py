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
from dataclasses import dataclass, field, replace

from django.db import DatabaseError, connections

from genesys_eventbridge import claims, destinations, expiry, health, rollups, settlements, transitions
from genesys_eventbridge.claims import Claimed
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.decisions import decide, released
from genesys_eventbridge.destinations import Gate
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
    """One pass of one kind over one destination; owns the only database connection it uses."""

    def __init__(
        self,
        kind: AttemptKind,
        settings: DestinationSettings,
        senders: Senders,
        limit: int | None,
        stop: threading.Event | None,
    ) -> None:
        self.kind = kind
        self.settings = settings
        self.senders = senders
        self.limit = limit
        self.stop = stop or threading.Event()
        self.worker = worker_name()
        self.report = PassReport(settings.alias, kind)
        self.began = time.monotonic()
        self.in_flight: dict[int, Claimed] = {}
        self.answers: list[Report] = []
        #: An answer of this pass paused the destination.
        self.paused = False
        self.tally = rollups.Tally(settings.alias)
        # Each statement costs the same for one row and for many; senders that run dry cost more.
        spare = settings.batch_size - ROWS_A_SENDER * senders.count
        self.step = max(1, settings.batch_size // 4, spare)

    def run(self) -> PassReport:
        self._expire()
        hungry, wait = self._time_to_claim(), 0.0
        while hungry or self.in_flight:
            if hungry and self._has_room():
                hungry, wait = self._claim_more()
            if self.in_flight:
                self._collect()
            elif wait and hungry:
                self.stop.wait(min(wait, 1.0))
            if not self._time_to_claim():
                hungry = False
            if self._time_to_stop():
                self.senders.stop()
            if self._elapsed() >= self.settings.pass_seconds:
                break
        self.tally.write(self.report.states)
        if self.paused and not self.report.paused_for:
            # The answer came after the last claim: nothing else was due by then, or the limit was reached.
            self._report_pause(destinations.gate(self.kind, self.settings.alias, self.worker))
        return self.report

    def _expire(self) -> None:
        """What ends without a request; also during a pause."""
        connection = connections[outbox_alias()]
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        if self.kind is AttemptKind.PUBLISH:
            self.report.states.update(expiry.expire(self.settings))
        elif not self.settings.confirm:
            self.report.states.update(expiry.close_unconfirmed(self.settings))

    def _claim_more(self) -> tuple[bool, float]:
        """As ``_claim``; a database that is lost meanwhile does not cost what is in flight its outcome."""
        try:
            return self._claim()
        except DatabaseError as error:
            if not self.in_flight:
                raise
            logger.warning("No further claim in this pass: %s", type(error).__name__)
            return False, 0.0

    def _claim(self) -> tuple[bool, float]:
        """Claim and hand out; returns whether another claim may bring more, and after how many seconds."""
        if self.senders.stopped:
            if self.in_flight:
                return True, 0.0
            self.senders.resume()
        gate = destinations.gate(self.kind, self.settings.alias, self.worker)
        self.senders.accepted_lately = gate.accepted_lately
        if self._report_pause(gate):
            return False, 0.0
        self.report.paused_for, self.report.paused_reason = 0.0, ""
        if gate.probing and self.in_flight:
            return True, 0.0
        batch = claims.claim(self.kind, self.settings, gate, self._wanted(gate), idle=not self.in_flight)
        if batch.used_up:
            self.report.states.update(expiry.give_up(self.settings, batch.used_up))
        for row in batch.rows:
            self.in_flight[row.id] = row
        self.report.claimed += len(batch.rows)
        self.senders.send(batch.rows)
        if gate.probing and batch.rows:
            self._finish_flight()
        more = bool(batch.rows or batch.used_up or batch.moved or batch.after_flight or batch.wait)
        self.report.drained = not more
        return more, batch.wait

    def _report_pause(self, gate: Gate) -> bool:
        """Whether the destination is paused; then the report says so, and that events may still be due."""
        if gate.open:
            return False
        self.report.paused_for, self.report.paused_reason = gate.paused_for, gate.reason
        self.report.drained = False
        return True

    def _wanted(self, gate: Gate) -> int:
        room = self.settings.batch_size - len(self.in_flight) - len(self.answers)
        if self.limit is not None:
            room = min(room, self.limit - self.report.claimed)
        return max(1, room)

    def _has_room(self) -> bool:
        """Claim again before the senders run dry, but never for single rows while many are held."""
        held = len(self.in_flight) + len(self.answers)
        return held == 0 or held <= self.settings.batch_size - self.step

    def _time_to_claim(self) -> bool:
        within_limit = self.limit is None or self.report.claimed < self.limit
        return within_limit and not self._time_to_stop()

    def _time_to_stop(self) -> bool:
        """A request begun after this could not end within the pass."""
        late = self._elapsed() >= self.settings.pass_seconds - self.settings.request_deadline
        return late or self.stop.is_set()

    def _elapsed(self) -> float:
        return time.monotonic() - self.began

    def _finish_flight(self) -> None:
        while self.in_flight and self._elapsed() < self.settings.pass_seconds:
            self._collect()

    def _collect(self) -> None:
        """Wait for answers a moment, and write them when enough or old enough."""
        until = time.monotonic() + SETTLE_SECONDS
        enough = min(SETTLE_ROWS, self.step)
        while len(self.answers) < enough and self.in_flight:
            try:
                answer = self.senders.reports.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if self.in_flight.get(answer.claimed.id) is answer.claimed:
                del self.in_flight[answer.claimed.id]
                self.answers.append(answer)
        self._settle()

    def _settle(self) -> None:
        """Record what the answers mean for the destination, then for each row."""
        answers, self.answers = self.answers, []
        if not answers:
            return
        lease_ends = min(answer.claimed.started for answer in answers) + self.settings.lease_seconds
        answers = self._each_proven_once(answers, until=lease_ends)
        paused = self._record_health(answers)
        rows = {answer.claimed.id: self._decide(answer, paused=paused) for answer in answers}
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

    def _record_health(self, answers: list[Report]) -> bool:
        """Whether the answers paused the destination.

        One whose health cannot be written keeps its last one; the rows' outcomes go first.
        """
        outcomes = [(answer.claimed, answer.outcome) for answer in answers if answer.outcome is not None]
        try:
            if health.record(self.kind, self.settings, outcomes):
                self.paused = True
                self.senders.stop()
                return True
        except DatabaseError as error:
            logger.warning("Health of %s not written: %s", self.settings.alias, type(error).__name__)
        return False

    def _count(self, answer: Report, outcome: Outcome, row: Settlement) -> None:
        self.tally.asked(self.kind, outcome)
        if row.state is State.DELIVERED:
            self.tally.took(answer.claimed.age + time.monotonic() - answer.claimed.started)
        if outcome.verdict is Verdict.HALTED and row.state in OPEN:
            self.report.halted += 1
        else:
            self.report.states[row.state.value] += 1

    def _decide(self, answer: Report, *, paused: bool) -> Settlement:
        claimed, outcome = answer.claimed, answer.outcome
        if outcome is None:
            return released(claimed)
        row = decide(
            claimed,
            outcome,
            self.settings,
            elapsed=time.monotonic() - claimed.started,
            others_accepted=outcome.accuses and self._is_alone(claimed),
            paused=paused,
        )
        news = (outcome.status_code, outcome.error) != (claimed.last_status_code, claimed.last_error)
        if claimed.kind is AttemptKind.CHECK and row.state is State.ACCEPTED and not news:
            return row
        row.attempt = self._attempt(answer, outcome)
        return row

    def _is_alone(self, claimed: Claimed) -> bool:
        """Whether others were accepted since this row waits; not, where the database cannot say so."""
        try:
            return destinations.alone_since(self.settings.alias, claimed.waiting_since)
        except DatabaseError as error:
            logger.warning("Acceptances of %s not read: %s", self.settings.alias, type(error).__name__)
            return False

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

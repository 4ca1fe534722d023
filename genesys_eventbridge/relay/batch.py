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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.db import Error, connections

from genesys_eventbridge import counters
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import PASSING
from genesys_eventbridge.db.transactions import is_conflict
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.outbox import announce, destinations, expiry, health
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import settle as settlements
from genesys_eventbridge.outbox.attempts import Attempt
from genesys_eventbridge.outbox.claim import Capacity, Claimed
from genesys_eventbridge.outbox.decide import decide, released
from genesys_eventbridge.outbox.destinations import Gate, Recorded
from genesys_eventbridge.outbox.followers import Locked
from genesys_eventbridge.outbox.settle import Transition, settle, take_late_answer
from genesys_eventbridge.outbox.sweep import sweep
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.relay.senders import Report, Senders
from genesys_eventbridge.states import OPEN, AttemptKind, State
from genesys_eventbridge.text import clean

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
ROWS_PER_SENDER = 2
#: The share of the senders that rows of dead workers may keep busy.
SHARE_OF_LAPSED = 0.75


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
        spare = settings.batch_size - ROWS_PER_SENDER * senders.count
        self.step = max(1, settings.batch_size // 4, spare)
        self.sides = {kind: Side(kind, settings, senders, limit=limit, step=self.step) for kind in kinds}
        for kind, wait in kinds.items():
            self.sides[kind].rests = wait > 0
            self.sides[kind].ask_at = self.began + wait

    def run(self) -> list[PassReport]:
        """The reports of the kinds that were looked at, in the order of ``kinds``."""
        for side in self.sides.values():
            if not side.rests:
                side.begin()
        if self._time_to_stop():
            self._end_claims()
        while True:
            self._claim()
            if self._waits():
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
            side.most = self._most(side)
            if side.ends or self.clock() < side.ask_at or not side.has_capacity():
                continue
            if side.rests and not any(each.is_at_work() for each in self.sides.values() if each is not side):
                continue
            side.claim(self.clock, *self._capacity_for_lapsed(), alone=not self._waits())

    def _capacity_for_lapsed(self) -> tuple[int, int]:
        """How many more rows of dead workers may be claimed, and how many that may have killed theirs."""
        rows = [row for side in self.sides.values() for row in side.in_flight.values()]
        most = max(1, int(SHARE_OF_LAPSED * self.senders.count))
        return most - sum(row.lapsed for row in rows), 1 - sum(row.suspect for row in rows)

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

    def _waits(self) -> bool:
        """Whether anything is in flight, or answered and not written yet."""
        return any(side.held() for side in self.sides.values())

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
        self.senders.bury()
        while enough > 0 and any(side.in_flight or side.is_locked_out() for side in self.sides.values()):
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
        #: What answers make of their rows, to be written.
        self.unwritten: list[tuple[Report, Transition]] = []
        #: Acceptances of rows that this worker holds no longer.
        self.late: list[Transition] = []
        #: The organisation that gets the events.
        self.about: UUID | None = None
        #: An answer of this pass paused the destination.
        self.paused = False
        self.tally = counters.PassCounters(settings.alias)
        self.begun = False
        #: Not claimed before this time of the pass's clock.
        self.ask_at = 0.0
        #: Nothing can go now: looked at again only while the other kind is at work.
        self.rests = False
        #: Claims nothing more in this pass.
        self.ends = False
        #: What is in flight ends before the next claim.
        self._finishes_first = False

    def claim(self, clock: Callable[[], float], lapsed: int, suspects: int, *, alone: bool) -> None:
        """Claim and hand out, at most ``lapsed`` rows of dead workers, ``suspects`` of which lapsed twice.

        While the pass holds rows, not ``alone``, a database that is lost does not cost it their outcomes.
        """
        try:
            self.begin()
            more, wait = self._claim(lapsed, suspects)
        except Error as error:
            if alone and not is_conflict(error):
                raise
            self._report_error(error, "Nothing more claimed now")
            self.rests, self.ask_at = not alone, clock() + LOOK_AGAIN
            return
        self.rests = not more
        if self.rests:
            wait = min(self.report.paused_for, LOOK_AT_PAUSE) if self.report.paused_for else LOOK_AGAIN
        self.ask_at = clock() + wait
        self.ends = self.limit is not None and self.report.claimed >= self.limit

    def begin(self) -> None:
        """Once: what ends without a request, also during a pause."""
        if self.begun:
            return
        self.begun = True
        connection = connections[outbox_alias()]
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        if self.kind is AttemptKind.PUBLISH:
            self.about = destinations.organisation(self.settings)
            self.report.states.update(expiry.expire(self.settings))
            self.report.states.update(sweep(self.settings))
        elif not self.settings.confirm:
            self.report.states.update(expiry.close_unconfirmed(self.settings))

    def _claim(self, lapsed: int, suspects: int) -> tuple[bool, float]:
        """Whether another claim may bring more, and after how many seconds."""
        self._finishes_first = False
        if self.senders.is_stopped(self.kind):
            if self.in_flight:
                self._finishes_first = True
                return True, 0.0
            self.senders.resume(self.kind)
        gate = destinations.gate(self.kind, self.settings.alias, self.worker)
        self.senders.accepted_lately = gate.accepted_lately
        if self._report_pause(gate):
            return False, 0.0
        self.report.paused_for, self.report.paused_reason = 0.0, ""
        if gate.probing and self.in_flight:
            self._finishes_first = True
            return True, 0.0
        room = Capacity(self._wanted(), lapsed, suspects)
        batch = claims.claim(self.kind, self.settings, gate, room, self.about)
        self._hand_out(batch.rows)
        # None of those that another transaction holds: asked for at once, they would be met again at once.
        ended = expiry.end(self.settings, batch.ended) if batch.ended else Counter[str]()
        self.report.states.update(ended)
        self._finishes_first = gate.probing
        more = bool(batch.rows or ended or batch.moved or batch.wait)
        self.report.drained = not (more or batch.ended)
        return more, batch.wait

    def _hand_out(self, rows: list[Claimed]) -> None:
        """Send them, but for events whose body is not the one that was enqueued."""
        for row in rows:
            self.in_flight[row.id] = row
        self.report.claimed += len(rows)
        altered = [row for row in rows if row.altered]
        self.senders.send([row for row in rows if not row.altered])
        for row in altered:
            self.took(Report(row, _ALTERED, row.started))

    def finish(self) -> PassReport:
        """Count what was done, and report it."""
        self.tally.write(self.report.states)
        if self.paused and not self.report.paused_for:
            # The answer came after the last claim: nothing else was due by then, or the limit was reached.
            try:
                self._report_pause(destinations.gate(self.kind, self.settings.alias, self.worker))
            except Error as error:
                self._report_error(error, "The pause is not in the report")
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
        return len(self.in_flight) + len(self.answers) + len(self.unwritten) + len(self.late)

    def is_locked_out(self) -> bool:
        """All that it holds are rows that other transactions have locked: time must pass."""
        return bool(self.unwritten or self.late) and not (self.in_flight or self.answers)

    def _wanted(self) -> int:
        room = self.most - self.held()
        if self.limit is not None:
            room = min(room, self.limit - self.report.claimed)
        return max(1, room)

    def has_capacity(self) -> bool:
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
        """Record what the answers mean for the destination, then for each row; and what was locked before.

        Nothing that fails here may cost another row its outcome.
        """
        answers, self.answers = self.answers, []
        if answers:
            until = self._lease_ends(answers)
            answers = self._each_proven_once(answers, until=until)
            recorded = self._record_health(answers, until=until)
            self.unwritten += [(answer, self._decide(answer, recorded)) for answer in answers]
        if self.unwritten:
            self._write()
        if self.late:
            self._take_late_answers()

    def _lease_ends(self, answers: Iterable[Report]) -> float:
        return max(answer.claimed.started for answer in answers) + self.settings.lease_seconds

    def _write(self) -> None:
        outcomes, self.unwritten = self.unwritten, []
        until = self._lease_ends(answer for answer, _row in outcomes)
        settled = settle(self.settings, [row for _answer, row in outcomes], until=until)
        moved: list[Transition] = []
        for answer, row in outcomes:
            if row.id in settled.locked and time.monotonic() < self._lease_ends([answer]):
                self.unwritten.append((answer, row))
            elif row.id not in settled.won:
                self.report.lost += 1
                if row.accepted:
                    self.late.append(row)
            elif answer.outcome is None:
                self.report.released += 1
            else:
                moved.append(row)
                self._count(answer, answer.outcome, row)
        try:
            announce.announce(self.settings.alias, moved)
        except Error as error:  # the outcomes are written; the receivers of signals miss these
            self._report_error(error, "Outcomes not announced")

    def _take_late_answers(self) -> None:
        late, self.late = self.late, []
        for row in late:
            try:
                take_late_answer(row, until=time.monotonic() + self.settings.lease_seconds)
            except Locked:
                self.late.append(row)
            except Error as error:
                self._report_error(error, f"The late acceptance of event {row.id} is lost")

    def _report_error(self, error: Error, what: str) -> None:
        """Trouble of the database, which must not cost a row its outcome."""
        report(
            error,
            "%s: %s of destination %s (%s)",
            what,
            self.kind.value,
            self.settings.alias,
            type(error).__name__,
            level=logging.WARNING,
            expected=PASSING,
        )

    def _each_proven_once(self, answers: list[Report], *, until: float | None = None) -> list[Report]:
        """An id of the platform proves one event: for a second one it is another event's answer.

        Where several answers name the same id it belongs to the request that was on its way first, by
        the middle of its time: a cache or a mixed-up connection can repeat only what was answered before.
        Requests that overlap may reach a gateway in another order than they began, and their answers may
        be read in another order than they were sent.
        """
        outcomes = [answer.outcome for answer in answers if answer.outcome]
        named = {outcome.remote_id for outcome in outcomes if outcome.remote_id}
        if not named:
            return answers
        try:
            owners = settlements.owners(self.settings.alias, named, until=until)
        except Error as error:  # then the unique column decides
            self._report_error(error, "Remote ids not compared")
            owners = {}
        for answer in sorted(answers, key=lambda answer: answer.began + answer.duration / 2):
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

    def _record_health(self, answers: list[Report], *, until: float) -> Recorded | None:
        """What the answers mean for the destination; None where the database does not take it.

        The rows' outcomes are written all the same: they accuse no event then.
        """
        try:
            pairs = [(answer.claimed, answer.outcome) for answer in answers if answer.outcome is not _ALTERED]
            recorded = health.record(self.kind, self.settings, pairs, until=until)
        except Error as error:
            self._report_error(error, "What answers mean for the destination is not written")
            return None
        if recorded.paused:
            self.paused = True
            self.senders.stop()
        return recorded

    def _count(self, answer: Report, outcome: Outcome, row: Transition) -> None:
        self.tally.asked(self.kind, outcome)
        if row.state is State.DELIVERED:
            self.tally.took(answer.claimed.age + time.monotonic() - answer.claimed.started)
        if outcome.verdict is Verdict.HALTED and row.state in OPEN:
            self.report.halted += 1
        else:
            self.report.states[row.state.value] += 1

    def _decide(self, answer: Report, recorded: Recorded | None) -> Transition:
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


#: For an event that is not sent, because its body was changed after it was enqueued.
_ALTERED = Outcome(
    Verdict.REJECTED,
    error="Not sent: the body was changed after the event was enqueued. Cancel it, and enqueue another one.",
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

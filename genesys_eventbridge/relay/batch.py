"""One pass over one destination: claim, send, settle, until nothing is due or the time limit is reached."""

from __future__ import annotations

import datetime as dt
import logging
import os
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.db import Error

from genesys_eventbridge import counters, steady
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import PASSING, renew_connection
from genesys_eventbridge.db.transactions import is_conflict
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.outbox import claim, destinations, expiry
from genesys_eventbridge.outbox.claim import Capacity, Claimed
from genesys_eventbridge.outbox.decide import decide, released
from genesys_eventbridge.outbox.destinations import Gate, Recorded
from genesys_eventbridge.outbox.followers import Locked
from genesys_eventbridge.outbox.settle import Attempt, Transition, announce, owners, settle, take_late_answer
from genesys_eventbridge.outbox.sweep import sweep
from genesys_eventbridge.platform.outcomes import NOT_SENT, Halt, Outcome, Verdict
from genesys_eventbridge.relay.senders import Report, Senders
from genesys_eventbridge.states import OPEN, AttemptKind, State
from genesys_eventbridge.text import clean

logger = logging.getLogger("genesys_eventbridge")

#: Outcomes are written once this many (or ``Pass.step``, if fewer) are waiting, or after SETTLE_SECONDS.
SETTLE_ROWS = 100
SETTLE_SECONDS = 0.1
#: Seconds until a kind that had nothing due is tried again, while the other kind is working.
LOOK_AGAIN = 0.5
#: A pause is checked again after at most this many seconds: an operator may have ended it.
LOOK_AT_PAUSE = 5.0
#: Minimum seconds between two claims while nothing is in flight.
SHORTEST_WAIT = 0.001
#: Claim more when this many rows per sender are left, including the one being sent.
ROWS_PER_SENDER = 2
#: The share of the senders that rows of dead workers may occupy.
SHARE_OF_LAPSED = 0.75


@dataclass(slots=True)
class PassReport:
    """What one pass did, in numbers of events."""

    destination: str
    kind: AttemptKind
    claimed: int = 0
    #: Events by new state. ``pending`` counts those to be retried, ``accepted`` those to be checked again.
    states: Counter[str] = field(default_factory=Counter)
    #: Of ``states``, those that ended without a request.
    ended: int = 0
    #: Claimed but not sent; given back without counting an attempt.
    released: int = 0
    #: Not counted as attempts, because the whole destination halted.
    halted: int = 0
    #: The latest error of these.
    halted_by: str = ""
    #: Claims lost to another worker, which records the outcome.
    lost: int = 0
    #: If the destination is paused: for how many more seconds, and why.
    paused_for: float = 0.0
    paused_reason: str = ""
    #: Nothing was due when the pass ended.
    drained: bool = False

    @property
    def moved(self) -> int:
        """Events that were sent, checked, or settled without a request."""
        return sum(self.states.values())


def worker_name() -> str:
    """``host:process id``, as the heartbeat and the attempt log show it."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class NextClaim:
    """When a side may claim again."""

    #: Seconds until another claim may bring more; None: nothing can go now.
    wait: float | None = 0.0
    #: Not before everything in flight has been answered.
    after_in_flight: bool = False


def _rows_held(settings: DestinationSettings, senders: Senders) -> int:
    """How many rows a pass may hold.

    Each of them may have been sent, once its worker dies. Where the platform recognises no repetition, that
    is a question to an operator, so each row held must be one that is being sent.
    """
    return settings.batch_size if settings.honours_key else min(settings.batch_size, senders.count)


class Pass:
    """One pass over one destination, for one or both kinds, on one database connection.

    ``kinds`` maps each kind to the seconds until its first claim. A kind with a wait joins only if the other
    is still working by then.
    """

    def __init__(
        self,
        kinds: Mapping[AttemptKind, float],
        settings: DestinationSettings,
        senders: Senders,
        *,
        limit: int | None = None,
        only: Collection[int] | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.senders = senders
        self.stop = stop or threading.Event()
        self.clock = clock or steady.monotonic
        self.began = self.clock()
        #: Seconds after which no request is started: it might not finish within the pass.
        self.begins_for = settings.pass_seconds - settings.request_deadline
        self.rows = _rows_held(settings, senders)
        # A statement costs about the same for one row as for many, but idle senders cost more.
        spare = self.rows - ROWS_PER_SENDER * senders.count
        self.step = max(1, self.rows // 4, spare)
        self.sides = {
            kind: Side(kind, settings, senders, limit=limit, only=only, step=self.step) for kind in kinds
        }
        for kind, wait in kinds.items():
            self.sides[kind].rests = wait > 0
            self.sides[kind].ask_at = self.began + wait

    def run(self) -> list[PassReport]:
        """A report for each kind that was begun, in the order of ``kinds``."""
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
        """Claim for each kind whose time has come, first for the one that holds the fewest rows."""
        for side in sorted(self.sides.values(), key=lambda side: side.held()):
            side.most = self._most(side)
            if side.ends or self.clock() < side.ask_at or not side.has_capacity():
                continue
            if side.rests and not any(each.is_at_work() for each in self.sides.values() if each is not side):
                continue
            side.claim(self.clock, *self._capacity_for_lapsed(), alone=not self._waits())

    def _capacity_for_lapsed(self) -> tuple[int, int]:
        """How many more rows of dead workers may be claimed, and how many that may have caused the death."""
        rows = [row for side in self.sides.values() for row in side.in_flight.values()]
        most = max(1, int(SHARE_OF_LAPSED * self.senders.count))
        return most - sum(row.lapsed for row in rows), 1 - sum(row.suspect for row in rows)

    def _most(self, side: Side) -> int:
        """How many rows the side may hold. While events are due, checks get a fifth of the batch."""
        publishing = self.sides.get(AttemptKind.PUBLISH)
        if side is publishing or publishing is None or not publishing.is_at_work():
            return self.rows
        return max(1, self.rows // 5)

    def _until_next_claim(self) -> float | None:
        """Seconds to wait while nothing is in flight; None if the pass is done."""
        sides = [side for side in self.sides.values() if not side.ends]
        if all(side.rests for side in sides):
            return None
        next_in = min(side.ask_at for side in sides) - self.clock()
        return min(max(next_in, SHORTEST_WAIT), 1.0)

    def _waits(self) -> bool:
        """Whether anything is in flight, or answered but not written yet."""
        return any(side.held() for side in self.sides.values())

    def _end_claims(self) -> None:
        for side in self.sides.values():
            side.ends = True

    def _time_to_stop(self) -> bool:
        return self._elapsed() >= self.begins_for or self.stop.is_set()

    def _elapsed(self) -> float:
        return self.clock() - self.began

    def _collect(self) -> None:
        """Collect answers for up to SETTLE_SECONDS, or until there are enough for one write; write them."""
        until = steady.monotonic() + SETTLE_SECONDS
        enough = min(SETTLE_ROWS, self.step)
        self.senders.bury()
        while enough > 0 and any(side.in_flight or side.is_locked_out() for side in self.sides.values()):
            try:
                answer = self.senders.reports.get(timeout=max(0.0, until - steady.monotonic()))
            except queue.Empty:
                break
            side = self.sides.get(answer.claimed.kind)
            if side is not None and side.took(answer):
                enough -= 1
        for side in self.sides.values():
            side.settle()


class Side:
    """One kind (publish or check) within a pass: its claims, rows in flight, answers and report."""

    def __init__(
        self,
        kind: AttemptKind,
        settings: DestinationSettings,
        senders: Senders,
        *,
        limit: int | None,
        step: int,
        only: Collection[int] | None = None,
    ) -> None:
        self.kind = kind
        self.settings = settings
        self.senders = senders
        self.limit = limit
        self.only = only
        self.step = step
        #: How many rows a pass may hold, and how many this side may hold now.
        self.rows = _rows_held(settings, senders)
        self.most = self.rows
        self.worker = worker_name()
        self.report = PassReport(settings.alias, kind)
        self.in_flight: dict[int, Claimed] = {}
        self.answers: list[Report] = []
        #: Answers with the transitions to write.
        self.unwritten: list[tuple[Report, Transition]] = []
        #: Acceptances of rows whose claim was lost.
        self.late: list[Transition] = []
        #: The organisation that receives the events.
        self.about: UUID | None = None
        #: Whether an answer of this pass paused the destination.
        self.paused = False
        self.tally = counters.PassCounters(settings.alias)
        self.begun = False
        #: No claim before this time of the pass's clock.
        self.ask_at = 0.0
        #: Nothing can go now: tried again only while the other kind is working.
        self.rests = False
        #: Claims nothing more in this pass.
        self.ends = False
        #: No claim until everything in flight has been answered.
        self._finishes_first = False

    def claim(self, clock: Callable[[], float], lapsed: int, suspects: int, *, alone: bool) -> None:
        """Claim and send: at most ``lapsed`` rows of dead workers, of which ``suspects`` lapsed twice.

        A database error is raised only if the pass holds no rows (``alone``). Otherwise it is logged, so that
        the outcomes of those rows can still be written.
        """
        self._finishes_first = False
        try:
            self.begin()
            upcoming = self._claim(lapsed, suspects)
        except Error as error:
            if alone and not is_conflict(error):
                raise
            self._report_error(error, "Nothing more claimed now")
            self.rests, self.ask_at = not alone, clock() + LOOK_AGAIN
            return
        self.rests = upcoming.wait is None
        self._finishes_first = upcoming.after_in_flight
        if upcoming.wait is not None:
            wait = upcoming.wait
        else:
            wait = min(self.report.paused_for, LOOK_AT_PAUSE) if self.report.paused_for else LOOK_AGAIN
        self.ask_at = clock() + wait
        self.ends = self.limit is not None and self.report.claimed >= self.limit

    def begin(self) -> None:
        """On the first call: end events that need no request. Runs during a pause, too."""
        if self.begun:
            return
        self.begun = True
        renew_connection(outbox_alias())
        if self.kind is AttemptKind.PUBLISH:
            self.about = destinations.organisation(self.settings)
            self._end_unsent(expiry.expire(self.settings))
            self._end_unsent(sweep(self.settings))
        elif not self.settings.platform.protocol.confirms:
            self._end_unsent(expiry.end_without_status(self.settings))
        elif not self.settings.confirm:
            self._end_unsent(expiry.close_unconfirmed(self.settings))

    def _end_unsent(self, ended: Counter[str]) -> None:
        """Report events that ended without a request."""
        self.report.states.update(ended)
        self.report.ended += ended.total()

    def _claim(self, lapsed: int, suspects: int) -> NextClaim:
        if self.kind is AttemptKind.CHECK and not self.settings.platform.protocol.confirms:
            self.report.drained = True
            return NextClaim(wait=None)
        if self.senders.is_stopped(self.kind):
            if self.in_flight:
                return NextClaim(after_in_flight=True)
            self.senders.resume(self.kind)
        gate = destinations.gate(self.kind, self.settings.alias, self.worker)
        self.senders.accepted_lately = gate.accepted_lately
        if self._report_pause(gate):
            return NextClaim(wait=None)
        self.report.paused_for, self.report.paused_reason = 0.0, ""
        if gate.probing and self.in_flight:
            return NextClaim(after_in_flight=True)
        capacity = Capacity(self._wanted(), lapsed, suspects)
        batch = claim.claim(self.kind, self.settings, gate, capacity, self.about, only=self.only)
        self._hand_out(batch.rows)
        ended = expiry.end(self.settings, batch.ended) if batch.ended else Counter[str]()
        self._end_unsent(ended)
        # Rows to end that another transaction has locked do not count: the next claim would meet them again.
        more = bool(batch.rows or ended or batch.moved or batch.wait)
        self.report.drained = not (more or batch.ended)
        return NextClaim(batch.wait if more else None, after_in_flight=gate.probing)

    def _hand_out(self, rows: list[Claimed]) -> None:
        """Send the rows, except those whose body was changed after they were enqueued."""
        for row in rows:
            self.in_flight[row.id] = row
        self.report.claimed += len(rows)
        altered = [row for row in rows if row.altered]
        self.senders.send([row for row in rows if not row.altered])
        for row in altered:
            self.took(Report(row, _ALTERED, row.started))
        self.report.ended += len(altered)

    def finish(self) -> PassReport:
        """Write the counters and return the report."""
        self.tally.write(self.report.states)
        if self.paused and not self.report.paused_for:
            # The pausing answer came after the last claim, so no claim has seen the pause.
            try:
                self._report_pause(destinations.gate(self.kind, self.settings.alias, self.worker))
            except Error as error:
                self._report_error(error, "The pause is not in the report")
        return self.report

    def _report_pause(self, gate: Gate) -> bool:
        """Whether the destination is paused. If so, note it in the report: events may still be due."""
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
        """Whether all the rows it holds are locked by other transactions, so that it can only wait."""
        return bool(self.unwritten or self.late) and not (self.in_flight or self.answers)

    def _wanted(self) -> int:
        room = self.most - self.held()
        if self.limit is not None:
            room = min(room, self.limit - self.report.claimed)
        return max(1, room)

    def has_capacity(self) -> bool:
        """Whether to claim again: before the senders run out of work, but never just to top up a few rows."""
        if self._finishes_first and self.in_flight:
            return False
        step = self.step if self.most == self.rows else max(1, self.most // 2)
        return not self.held() or self.held() <= self.most - step

    def took(self, answer: Report) -> bool:
        """Keep the answer, if this pass is waiting for it; returns whether it is."""
        if self.in_flight.get(answer.claimed.id) is not answer.claimed:
            return False
        del self.in_flight[answer.claimed.id]
        self.answers.append(answer)
        return True

    def settle(self) -> None:
        """Record what the answers mean for the destination, then for each row; retry rows locked earlier.

        A failure here must never lose the outcome of another row.
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
        settled = settle([row for _answer, row in outcomes], until=until)
        moved: list[Transition] = []
        for answer, row in outcomes:
            if row.id in settled.locked and steady.monotonic() < self._lease_ends([answer]):
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
        self._announce(moved)

    def _announce(self, moved: list[Transition]) -> None:
        try:
            announce(self.settings.alias, moved)
        except Error as error:  # the outcomes are written, but signal receivers are not called
            self._report_error(error, "Outcomes not announced")

    def _take_late_answers(self) -> None:
        late, self.late = self.late, []
        taken: list[Transition] = []
        for row in late:
            try:
                if take_late_answer(row, until=steady.monotonic() + self.settings.lease_seconds):
                    taken.append(row)
            except Locked:
                self.late.append(row)
            except Error as error:
                self._report_error(error, f"The late acceptance of event {row.id} is lost")
        self._announce(taken)

    def _report_error(self, error: Error, what: str) -> None:
        """Log a database error after which the pass continues."""
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
        """A remote id proves the acceptance of one event only; drop it from answers for any other event.

        If several answers have the same id, it belongs to the request whose midpoint in time is earliest: a
        cache or a mixed-up connection can only repeat an earlier answer. Neither the start nor the end would
        do: overlapping requests may reach a gateway in a different order than they were started, and their
        answers may be read in a different order than they were sent.
        """
        outcomes = [answer.outcome for answer in answers if answer.outcome]
        named = {outcome.remote_id for outcome in outcomes if outcome.remote_id}
        if not named:
            return answers
        try:
            proven = owners(self.settings.alias, named, until=until)
        except Error as error:  # the unique column still prevents duplicates
            self._report_error(error, "Remote ids not compared")
            proven = {}
        for answer in sorted(answers, key=lambda answer: answer.began + answer.duration / 2):
            if answer.outcome and answer.outcome.remote_id:
                proven.setdefault(answer.outcome.remote_id, {answer.claimed.id})
        return [
            replace(answer, outcome=_names_another(answer.outcome, min(events)))
            if answer.outcome
            and (events := proven.get(answer.outcome.remote_id))
            and answer.claimed.id not in events
            else answer
            for answer in answers
        ]

    def _record_health(self, answers: list[Report], *, until: float) -> Recorded | None:
        """Record what the answers mean for the destination; None if the database fails.

        The outcomes of the rows are still written, but then no event is treated as the culprit.
        """
        try:
            pairs = [(answer.claimed, answer.outcome) for answer in answers if answer.outcome is not _ALTERED]
            recorded = destinations.record_outcomes(self.kind, self.settings, pairs, until=until)
        except Error as error:
            self._report_error(error, "The health of the destination is not updated")
            return None
        if recorded.paused:
            self.paused = True
            self.senders.stop()
        return recorded

    def _count(self, answer: Report, outcome: Outcome, row: Transition) -> None:
        self.tally.asked(self.kind, outcome)
        if row.state is State.DELIVERED:
            seconds = answer.claimed.age + steady.monotonic() - answer.claimed.started
            self.tally.took(seconds, answer.claimed.type)
        if outcome.verdict is Verdict.HALTED and row.state in OPEN:
            self.report.halted += 1
            self.report.halted_by = outcome.error
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
            elapsed=steady.monotonic() - claimed.started,
            uncounted=recorded is not None and claimed.id in recorded.uncounted,
            accused=recorded is not None and claimed.id in recorded.accused,
            paused=recorded is not None and recorded.paused,
        )
        news = (outcome.status_code, outcome.error) != (claimed.last_status_code, claimed.last_error)
        if claimed.kind is AttemptKind.CHECK and row.state is State.ACCEPTED and not news:
            return row
        row.attempt = self._attempt(answer, outcome)
        return row

    def _may_duplicate(self, claimed: Claimed) -> bool | None:
        """Whether the platform may have accepted the event before and could not recognise it."""
        publishes = claimed.kind is AttemptKind.PUBLISH
        repeated = claimed.doubt_before is not None or claimed.renewed
        return True if publishes and repeated and not self.settings.honours_key else None

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
            may_duplicate=self._may_duplicate(claimed),
            worker=self.worker[:128],
        )


_ALTERED = Outcome(
    Verdict.REJECTED,
    error=f"{NOT_SENT}the body was changed after the event was enqueued. Cancel it and enqueue a new event.",
)


def _names_another(outcome: Outcome, owner: int) -> Outcome:
    """The acceptance as an unknown outcome, because its remote id already belongs to another event.

    The text does not repeat the id, which may be a value of the event's data.
    """
    line = (
        f"HTTP {outcome.status_code}: the answer has the remote id of event {owner}. "
        "A stub, a cache or a proxy may be answering for the platform. Check API_BASE_URL and PROXY."
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

"""One run of a worker at one destination: publish and check while something is due, then linger briefly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from genesys_eventbridge import relay
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox import destinations, next_due
from genesys_eventbridge.outbox.next_due import NextDue
from genesys_eventbridge.outbox.sweep import sweep
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay.batch import LOOK_AGAIN, LOOK_AT_PAUSE
from genesys_eventbridge.relay.senders import Senders, TransportFactory
from genesys_eventbridge.states import AttemptKind

#: A worker stays while something was due in the last LINGER seconds or will be in the next. This is longer
#: than wakes are coalesced, so the last commit of a burst, which sends no wake, is not missed.
LINGER = 2.0
#: How many seconds ahead a worker looks: more than it waits between two looks.
HORIZON = 5.0
#: Seconds between two looks of a worker that stays.
LOOK_EVERY = 0.1
#: If another worker had an event accepted within LINGER, it is probably still running. Give it this many
#: seconds to take what is due, so that steady traffic occupies one worker and not the whole cluster.
COLLEAGUE_FIRST = 0.15


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """What one run did."""

    #: Events that were sent, checked, or settled without a request.
    moved: int = 0
    #: Seconds since the last look that found nothing due; None if every look found something.
    idle_for: float | None = 0.0
    #: The time limit was reached while something was still due.
    unfinished: bool = False


class Worker:
    """Publishes and checks at one destination, round by round, with the same sender threads."""

    def __init__(
        self,
        settings: DestinationSettings,
        senders: Senders,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._senders = senders
        self._stop = stop
        self._clock = clock
        self._held_until: dict[AttemptKind, float] = {}

    def next_in(self, upcoming: NextDue) -> float | None:
        """Seconds until there is something to do, allowing for pauses; 0 or less: now; None: nothing."""
        return next_due.soonest(self._times(upcoming).values())

    def round(self, upcoming: NextDue, seconds: float | None = None) -> list[PassReport]:
        """Publish and check what is due, in one pass of at most ``seconds`` (default PASS_SECONDS).

        Returns a report for each kind that was begun; none if nothing is due or time is too short.
        """
        times = self._times(upcoming)
        late = seconds is not None and seconds < self.settings.request_deadline
        if not is_due(next_due.soonest(times.values())) or late or self._stop.is_set():
            return []
        now = self._clock()
        kinds = {
            # What is not due now may be in a moment. A paused kind waits for the end of its pause.
            kind: max(self._held_until.get(kind, now) - now, 0.0 if is_due(due_in) else LOOK_AGAIN)
            for kind, due_in in times.items()
        }
        reports = relay.serve(
            self.settings.alias,
            kinds,
            max_seconds=seconds,
            senders=self._senders,
            stop=self._stop,
            clock=self._clock,
        )
        for report in reports:
            if report.paused_for:
                self._held_until[report.kind] = self._clock() + min(report.paused_for, LOOK_AT_PAUSE)
        return reports

    def _times(self, upcoming: NextDue) -> dict[AttemptKind, float | None]:
        times = {AttemptKind.PUBLISH: upcoming.publish_in, AttemptKind.CHECK: upcoming.check_in}
        now = self._clock()
        return {
            kind: None if due_in is None else max(due_in, self._held_until.get(kind, now) - now)
            for kind, due_in in times.items()
        }


def run_worker(
    settings: DestinationSettings,
    *,
    upcoming: NextDue | None = None,
    stop: threading.Event | None = None,
    transport: TransportFactory | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> WorkerRun:
    """Send while something is due, linger while more may come, and return within PASS_SECONDS.

    If the first look (or ``upcoming``, if the caller has already looked) finds nothing due, leave a heartbeat
    to show that the worker is alive, and return at once.
    """
    stop = stop or threading.Event()
    ends = clock() + settings.pass_seconds
    upcoming = upcoming or next_due.next_due(settings.alias, within=HORIZON)
    if is_due(upcoming.next_in) and upcoming.accepted_ago is not None and upcoming.accepted_ago < LINGER:
        stop.wait(COLLEAGUE_FIRST)
        upcoming = next_due.next_due(settings.alias, within=HORIZON)
    if not is_due(upcoming.next_in) and upcoming.whole_in:
        stop.wait(upcoming.whole_in)
        upcoming = next_due.next_due(settings.alias, within=HORIZON)
    if not is_due(upcoming.next_in):
        idle(settings, upcoming)
        return WorkerRun()
    with Senders(settings, settings.concurrency, transport=transport) as senders:
        return _stay(Worker(settings, senders, stop, clock), ends, stop, clock)


def _stay(worker: Worker, ends: float, stop: threading.Event, clock: Callable[[], float]) -> WorkerRun:
    moved, last_due = 0, clock()
    idle_since: float | None = None
    unfinished = False
    # Requests of a round started later might not finish in time.
    while (left := ends - clock()) >= worker.settings.request_deadline and not stop.is_set():
        upcoming = next_due.next_due(worker.settings.alias, within=HORIZON)
        next_in = worker.next_in(upcoming)
        unfinished = is_due(next_in)
        if unfinished:
            reports = worker.round(upcoming, left)
            if any(report.claimed or report.moved for report in reports):
                moved, last_due = moved + sum(report.moved for report in reports), clock()
                continue
        else:
            idle_since = clock()
        quiet = clock() - last_due >= LINGER and (next_in is None or not 0 < next_in <= LINGER)
        if quiet and not upcoming.whole_in:
            unfinished = False
            break
        stop.wait(LOOK_EVERY if next_in is None or next_in <= 0 else min(LOOK_EVERY, next_in))
    return WorkerRun(moved, None if idle_since is None else clock() - idle_since, unfinished)


def is_due(seconds: float | None) -> bool:
    return seconds is not None and seconds <= 0


def is_heartbeat_due(ago: float | None) -> bool:
    return ago is None or ago >= destinations.HEARTBEAT_SECONDS


def idle(settings: DestinationSettings, upcoming: NextDue) -> None:
    """With nothing to send: leave a heartbeat and sweep, each only if it is time to."""
    if is_heartbeat_due(upcoming.heartbeat_ago):
        destinations.beat(settings.alias, relay.worker_name())
    sweep(settings)

"""A worker's shift at one destination: publish and ask while something is due, then stay a moment."""

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

#: A shift stays while something was due within so many seconds, or will be: longer than wakes are coalesced,
#: so that the last commit of a burst, whose wake was left out, is not left behind.
LINGER = 2.0
#: How far ahead a worker looks, in seconds: longer than it waits between two looks.
HORIZON = 5.0
#: How often a worker that stays looks again.
LOOK_EVERY = 0.1
#: Where a colleague had an event accepted within LINGER it is still there; it gets the chance to take what is
#: due, so that steady traffic keeps one worker busy and not every worker of the cluster.
COLLEAGUE_FIRST = 0.15


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """What a shift did: events moved, and seconds since a look found nothing due; None where none did."""

    moved: int = 0
    idle_for: float | None = 0.0
    #: Its time was over, and its last look had found something that could go.
    unfinished: bool = False


class Worker:
    """Publishes and asks at one destination, round by round, with the same sender threads."""

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
        """Seconds until there is something to do, pauses considered; 0 or less: now. None: nothing."""
        return next_due.soonest(self._times(upcoming).values())

    def round(self, upcoming: NextDue, seconds: float | None = None) -> list[PassReport]:
        """Publish what is due and ask about what is due, side by side; the reports of the kinds looked at.

        It has ended within ``seconds``, or within PASS_SECONDS.
        """
        times = self._times(upcoming)
        late = seconds is not None and seconds < self.settings.request_deadline
        if not is_due(next_due.soonest(times.values())) or late or self._stop.is_set():
            return []
        now = self._clock()
        kinds = {
            # What is not due now may be in a moment; a pause is left in peace.
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
    """Work while something is due, stay while something may be, and have ended by PASS_SECONDS.

    Leaves at once where the first look (``ahead``, if it was taken already) finds nothing due; it then
    leaves a heartbeat, so that an idle worker is seen to live.
    """
    stop = stop or threading.Event()
    ends = clock() + settings.pass_seconds
    upcoming = upcoming or next_due.next_due(settings.alias, within=HORIZON)
    if is_due(upcoming.next_in) and upcoming.accepted_ago is not None and upcoming.accepted_ago < LINGER:
        stop.wait(COLLEAGUE_FIRST)
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
    # A round begun later could not end its requests within the pass.
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
        if clock() - last_due >= LINGER and (next_in is None or not 0 < next_in <= LINGER):
            unfinished = False
            break
        stop.wait(LOOK_EVERY if next_in is None or next_in <= 0 else min(LOOK_EVERY, next_in))
    return WorkerRun(moved, None if idle_since is None else clock() - idle_since, unfinished)


def is_due(seconds: float | None) -> bool:
    return seconds is not None and seconds <= 0


def idle(settings: DestinationSettings, upcoming: NextDue) -> None:
    """What a worker does that has nothing to send: show that it lives, and sweep, each only now and then."""
    if upcoming.heartbeat_ago is None or upcoming.heartbeat_ago >= destinations.HEARTBEAT_SECONDS:
        destinations.gate(AttemptKind.PUBLISH, settings.alias, relay.worker_name())
    sweep(settings)

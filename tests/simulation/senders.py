"""Senders in simulated time: the real ones, with a schedule of requests instead of threads."""

import heapq
import itertools
import queue
from collections import deque
from typing import Any

from genesys_eventbridge.client import Sender
from genesys_eventbridge.client.auth import ClientCredentials
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox.claim import Claimed
from genesys_eventbridge.relay.senders import Report, Senders
from genesys_eventbridge.states import AttemptKind
from tests.simulation.clock import SimulatedClock
from tests.simulation.platform import SimulatedPlatform


class SimulatedSenders(Senders):
    """Each of ``count`` senders sends one event after another; the response sets how long a request takes.

    All run in the thread of the pass: while it waits for reports, time jumps to the end of the next request.
    """

    def __init__(
        self, settings: DestinationSettings, count: int, platform: SimulatedPlatform, clock: SimulatedClock
    ) -> None:
        super().__init__(settings, count, transport=lambda: platform)
        self.clock = clock
        self.reports: Any = _Reports(self)
        self._sending = Sender(
            self._platform, ClientCredentials(self._platform, clock=clock), transport=platform, clock=clock
        )
        #: Requests in flight: when each ends, a number that keeps their order, the report, and whether it
        #: stops the others.
        self._begun: list[tuple[float, int, Report, bool]] = []
        self._numbers = itertools.count()
        self._ended: deque[Report] = deque()

    def send(self, rows: list[Claimed]) -> None:
        for row in rows:
            self._rows.put(row)
        self._begin()

    def next_report(self, timeout: float) -> Report:
        until = self.clock.now + timeout
        while not self._ended:
            if not self._begun or self._begun[0][0] > until:
                self.clock.move_to(until)
                raise queue.Empty
            ends, _number, report, stops = heapq.heappop(self._begun)
            self.clock.move_to(ends)
            if stops:
                self.stop()
            self._ended.append(report)
            self._begin()
        return self._ended.popleft()

    def _begin(self) -> None:
        """Give waiting rows to free senders."""
        while len(self._begun) < self.count:
            try:
                row = self._rows.get_nowait()
            except queue.Empty:
                return
            if row is not None:
                self._begin_one(row)

    def _begin_one(self, row: Claimed) -> None:
        """Send the request now, and deliver the response once its time has passed."""
        began, before = self.clock.now, {kind: self.is_stopped(kind) for kind in AttemptKind}
        report = self._ask(self._sending, row)
        ends, self.clock.now = self.clock.now, began
        stops = any(self.is_stopped(kind) and not before[kind] for kind in AttemptKind)
        for kind in AttemptKind:
            if not before[kind]:
                self._stopped[kind].clear()
        heapq.heappush(self._begun, (ends, next(self._numbers), report, stops))


class _Reports:
    """The queue of reports that the pass waits on."""

    def __init__(self, senders: SimulatedSenders) -> None:
        self._senders = senders

    def get(self, block: bool = True, timeout: float = 0.0) -> Report:
        return self._senders.next_report(timeout)

    def get_nowait(self) -> Report:
        return self._senders.next_report(0.0)

"""One worker for one destination in simulated time, pass by pass."""

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from genesys_eventbridge import conf, outbox, relay
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.states import AttemptKind, State
from tests.simulation.clock import SimulatedClock
from tests.simulation.platform import Rule, SimulatedPlatform
from tests.simulation.senders import SimulatedSenders

ALIAS = "default"
#: Run all plans at full length, which takes half an hour. An hour of probes takes a second.
FULL = os.environ.get("EVENTBRIDGE_SIMULATION") == "full"
#: Minimum seconds between two passes, and seconds to wait after something is due: SQLite compares times as
#: text, where 1.25 is before 1.250000.
STEP = 0.01
MOMENT = 0.002
#: Maximum seconds between two passes: events that end without a request are handled during a pause, too.
LONGEST_LOOK = 300.0

PASSES = {AttemptKind.PUBLISH: relay.publish_due, AttemptKind.CHECK: relay.check_accepted}


class Bench:
    """Enqueues events, and runs passes when something can happen; ``platform`` records the results."""

    def __init__(self, *rules: Rule, **options: Any) -> None:
        self.clock = SimulatedClock()
        self.platform = SimulatedPlatform(self.clock, rules, **options)
        self.pauses: list[tuple[float, str]] = []
        settings = conf.destination(ALIAS)
        self.senders = SimulatedSenders(settings, settings.concurrency, self.platform, self.clock)
        self.passes: list[PassReport] = []
        self.enqueued = 0
        self._held_until: dict[AttemptKind, float] = {}

    @property
    def now(self) -> float:
        return self.clock.now

    def enqueue(self, count: int = 1, **keywords: object) -> range:
        """Enqueue events now; returns their numbers."""
        numbers = range(self.enqueued, self.enqueued + count)
        self.enqueued += count
        outbox.enqueue_many(
            [
                {"type": "order.created", "subject": str(number), "data": {"number": number}, **keywords}
                for number in numbers
            ],
            standalone=True,
        )
        return numbers

    def trickle(self, every: float, until: float) -> None:
        """Enqueue one event every ``every`` seconds from now, the last before simulated second ``until``."""
        moment = self.now + every
        while moment < until:
            self.clock.at(moment, self.enqueue)
            moment += every

    def run(self, seconds: float) -> float:
        """Start passes for ``seconds``, or until no event is open and nothing is planned.

        Returns the seconds that passed; they can be more, because a started pass is not cut short.
        """
        started, ends = self.now, self.now + seconds
        while self.now < ends:
            ahead = next_due.next_due(ALIAS)
            waits = {AttemptKind.PUBLISH: ahead.publish_in, AttemptKind.CHECK: ahead.check_in}
            if ahead.next_in is None and self.clock.next_plan is None:
                break
            moved = False
            for kind, due_in in waits.items():
                if due_in is not None and self._ready_at(kind, due_in) <= self.now:
                    moved = self._pass(kind) or moved
            if moved:
                continue
            times = [self._ready_at(kind, due_in) for kind, due_in in waits.items() if due_in is not None]
            if self.clock.next_plan is not None:
                times.append(self.clock.next_plan)
            self.clock.move_to(min([*(max(time + MOMENT, self.now + STEP) for time in times), ends]))
        return self.now - started

    def _ready_at(self, kind: AttemptKind, due_in: float) -> float:
        """The simulated time at which a pass of this kind has something to do."""
        return max(self.now + due_in, self._held_until.get(kind, 0.0))

    def _pass(self, kind: AttemptKind) -> bool:
        """Run one pass; returns whether it changed anything."""
        stop: Any = self.clock
        report = PASSES[kind](ALIAS, senders=self.senders, stop=stop)
        self.passes.append(report)
        moved = bool(report.claimed or report.moved)
        if moved:
            self._held_until.clear()  # a response to one kind of request may end a pause of the other
        if report.paused_for:
            self._held_until[kind] = self.now + min(report.paused_for, LONGEST_LOOK)
        return moved

    def states(self) -> Counter[str]:
        """The number of events by ``state`` or ``state/reason``."""
        return Counter(
            f"{state}/{reason}" if reason else state
            for state, reason in OutboxEvent.objects.values_list("state", "reason")
        )

    def backlog(self) -> int:
        """The number of events still to be published."""
        return OutboxEvent.objects.filter(state=State.PENDING).count()

    def rows(self, numbers: Iterable[int]) -> list[OutboxEvent]:
        """The events with these numbers, in their order."""
        return list(OutboxEvent.objects.filter(subject__in=map(str, numbers)).order_by("id"))

    def destination(self) -> Destination:
        return Destination.objects.get(alias=ALIAS)

"""Passes on a simulated clock until nothing is left to do: publish, check, retry, without waiting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from asgiref.sync import sync_to_async
from django.db.models import Q

from genesys_eventbridge import conf, relay
from genesys_eventbridge.client import Sender
from genesys_eventbridge.client.auth import ClientCredentials
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db.transactions import refuse_in_transaction
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.reporting.explain import explain
from genesys_eventbridge.reporting.facts import facts_for
from genesys_eventbridge.states import OPEN, AttemptKind, State
from genesys_eventbridge.testing.sandbox import EventBridgeSandbox, SimulatedClock, forget

#: Simulated seconds a drain covers at most: a day, longer than all retries of an event.
WITHIN = 86400.0
#: Rounds of passes at most. An event that fails every time is dead after MAX_ATTEMPTS (12).
MOST_ROUNDS = 200
#: Give up after this many rounds in a row in which no event made progress.
MOST_IN_VAIN = 30
#: Simulated seconds between two rounds if something due did not go: doubled up to LONGEST_STEP.
SHORTEST_STEP, LONGEST_STEP = 0.5, 300.0


@dataclass(frozen=True, slots=True)
class LeftEvent:
    """An event that is still open after a drain, and why, as one line of text."""

    event: OutboxEvent
    why: str

    def __str__(self) -> str:
        event = self.event
        name = f"{event.type} {event.subject}".strip()
        return f"event {event.pk} ({name}) is {event.state}: {self.why}"


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did. ``events`` are those it found or met, as they are now, oldest first."""

    events: list[OutboxEvent] = field(repr=False)
    #: Those that are still pending or accepted, and why.
    left: list[LeftEvent]
    #: Rounds of passes over all destinations, and how many seconds passed on the simulated clock.
    rounds: int
    seconds: float

    @property
    def idle(self) -> bool:
        """Whether no event is left: each one is delivered, or an operator must decide."""
        return not self.left

    @property
    def delivered(self) -> list[OutboxEvent]:
        return self._in(State.DELIVERED)

    @property
    def dead(self) -> list[OutboxEvent]:
        return self._in(State.DEAD)

    @property
    def unresolved(self) -> list[OutboxEvent]:
        return self._in(State.UNRESOLVED)

    def __str__(self) -> str:
        counts = {state: len(self._in(state)) for state in State}
        what = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
        lines = [f"{what or 'no events'} after {self.rounds} rounds and {self.seconds:.0f} simulated seconds"]
        ended = [LeftEvent(event, event.last_error) for event in (*self.dead, *self.unresolved)]
        lines += [f"  {event}" for event in (*ended, *self.left)]
        return "\n".join(lines)

    def _in(self, state: State) -> list[OutboxEvent]:
        return [event for event in self.events if event.state == state]


class EventBridgeDrain:
    """``drain()`` publishes, checks and retries on the sandbox's clock until nothing is left to do.

    ``await drain.adrain()`` in async tests. It never sleeps. Later drains continue at the time at which the
    last one ended.
    """

    def __init__(self, sandbox: EventBridgeSandbox) -> None:
        self._sandbox = sandbox

    def __call__(self, *, within: float = WITHIN) -> DrainReport:
        """Drain all destinations; ends after ``within`` simulated seconds, or if no event makes progress.

        Raises TransactionManagementError inside ``atomic()``, except for the blocks of TestCase, and
        ImproperlyConfigured for wrong settings. An event that cannot be delivered is no error: see ``left``
        of the report.
        """
        refuse_in_transaction(outbox_alias(), "eventbridge_drain() sends nothing")
        rows = OutboxEvent.objects.on_outbox()
        last = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
        found = list(rows.filter(state__in=OPEN).values_list("pk", flat=True))
        clock = self._sandbox.clock
        began = clock.ahead
        forget()
        try:
            with clock.running():
                rounds = self._rounds(within)
                events = list(rows.filter(Q(pk__in=found) | Q(pk__gt=last)).order_by("pk"))
                left = [LeftEvent(event, _why(event)) for event in events if event.state in OPEN]
        finally:
            forget()
        return DrainReport(events, left, rounds, clock.ahead - began)

    async def adrain(self, *, within: float = WITHIN) -> DrainReport:
        """The same for async tests."""
        return await sync_to_async(self.__call__)(within=within)

    def _rounds(self, within: float) -> int:
        """Rounds over all destinations; returns how many."""
        clock = self._sandbox.clock
        ends = clock.ahead + within
        in_vain = 0
        with ExitStack() as stack:
            senders = {
                alias: stack.enter_context(_Senders(conf.sending(alias), clock)) for alias in conf.aliases()
            }
            for rounds in range(1, MOST_ROUNDS + 1):
                waits: list[float] = []
                moved = 0
                for alias, pool in senders.items():
                    reports = relay.serve(
                        alias,
                        {AttemptKind.PUBLISH: 0.0, AttemptKind.CHECK: 0.0},
                        senders=pool,
                        stop=clock,
                        clock=clock,
                    )
                    moved += sum(report.moved for report in reports)
                    waits += _waits(reports, next_due.next_due(alias))
                in_vain = 0 if moved else in_vain + 1
                wait = min(waits, default=math.inf)
                # Something due that did not go waits for another event, a probe or a rate.
                step = min(LONGEST_STEP, SHORTEST_STEP * 2**in_vain) if in_vain else 0.0
                wait = max(wait, step, 0.001)
                if in_vain >= MOST_IN_VAIN or clock.ahead + wait > ends:
                    return rounds
                clock.advance(wait)
        return rounds


class _Senders(Senders):
    """One sender, whose token expires, and whose failed login is remembered, by the simulated clock."""

    def __init__(self, settings: DestinationSettings, clock: SimulatedClock) -> None:
        super().__init__(settings, 1)
        self._credentials = ClientCredentials(settings.platform, clock=clock)

    def _sender(self) -> Sender:
        return Sender(self._platform, self._credentials)


def _waits(reports: list[PassReport], upcoming: next_due.NextDue) -> Iterator[float]:
    """Seconds until each kind may go: when something is due, but not before its pause ends."""
    paused = {report.kind: report.paused_for for report in reports}
    for kind, due in (
        (AttemptKind.PUBLISH, upcoming.publish_in),
        (AttemptKind.CHECK, upcoming.check_in),
    ):
        if due is not None:
            yield max(due, paused.get(kind) or 0.0)


def _why(event: OutboxEvent) -> str:
    """What it waits for, with the last error."""
    sentence = explain(event, facts_for(event))
    if event.last_error and event.last_error not in sentence:
        sentence = f"{sentence} Last error: {event.last_error}"
    return sentence

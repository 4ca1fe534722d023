"""Runs passes until nothing is due, and reports them: the single runs of publish, poll and retry."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge import conf, relay
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.formatting import span
from genesys_eventbridge.management.output import counted, listed, next_step
from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.relay import PassReport
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.reporting.problems import first_look
from genesys_eventbridge.states import NEEDS_OPERATOR, AttemptKind, State
from genesys_eventbridge.text import clean

#: Display words for the state that an event moved to; ``pending`` and ``accepted`` are open.
WORDS = {
    State.DELIVERED: "delivered",
    State.ACCEPTED: "accepted",
    State.PENDING: "tried again later",
    State.DEAD: "dead",
    State.UNRESOLVED: "unresolved",
}


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a destination sends nothing, and for how many seconds; infinite for a pause until resumed."""

    alias: str
    seconds: float
    reason: str
    #: Events that wait because of it.
    events: int = 0

    @property
    def lines(self) -> list[str]:
        """Why it sends nothing, and the command that shows more."""
        until = "until resumed" if math.isinf(self.seconds) else f"for another {span(self.seconds)}"
        return [
            f"  {self.alias} is paused {until}: {clean(self.reason, 300) or 'no reason was given'}",
            next_step(f"eventbridge_status --destination {self.alias}"),
        ]

    @property
    def data(self) -> dict[str, Any]:
        """``seconds`` is None for a pause until resumed."""
        seconds = None if math.isinf(self.seconds) else round(self.seconds, 1)
        return {"seconds": seconds, "reason": clean(self.reason, 500)}

    @property
    def skipped(self) -> dict[str, Any]:
        """The same with the destination and the number of its events."""
        return {"destination": self.alias, "events": self.events, **self.data}


@dataclass(slots=True)
class Drained(PassReport):
    """What the passes over one destination did together, in how many seconds.

    Unless it is ``drained``, a limit, the time limit, a signal or a pause ended it.
    """

    seconds: float = 0.0

    @property
    def pause(self) -> Pause | None:
        """The pause that ended it; None if there was none."""
        if not self.paused_for:
            return None
        return Pause(self.destination, self.paused_for, self.paused_reason, self.halted + self.released)

    @property
    def needs_operator(self) -> bool:
        ended_badly = self.states[State.DEAD] or self.states[State.UNRESOLVED]
        return bool(ended_badly or self.paused_for)

    def add(self, report: PassReport) -> None:
        self.claimed += report.claimed
        self.ended += report.ended
        self.states.update(report.states)
        self.released += report.released
        self.halted += report.halted
        self.halted_by = report.halted_by or self.halted_by
        self.lost += report.lost
        self.drained = report.drained
        self.paused_for, self.paused_reason = report.paused_for, report.paused_reason


def drain(
    kind: AttemptKind,
    alias: str,
    *,
    progress: Progress,
    stop: threading.Event,
    limit: int | None = None,
    only: Collection[int] | None = None,
    max_seconds: float | None = None,
    concurrency: int | None = None,
) -> Drained:
    """Run pass after pass until nothing is due, ``limit`` events are claimed, time is up, or ``stop``."""
    settings = conf.sending(alias)
    if max_seconds is not None:
        settings = settings.changed(request_deadline=min(settings.request_deadline, max_seconds / 2))
    run = relay.publish_due if kind is AttemptKind.PUBLISH else relay.check_accepted
    done = Drained(alias, kind)
    began = time.monotonic()
    with Senders(settings, concurrency or settings.concurrency, on_report=progress.saw) as senders:
        while (seconds := _left(settings, max_seconds, began)) and not stop.is_set():
            left = None if limit is None else limit - done.claimed
            report = run(alias, limit=left, only=only, max_seconds=seconds, stop=stop, senders=senders)
            done.add(report)
            if report.drained or report.paused_for or (limit is not None and done.claimed >= limit):
                break
    done.seconds = time.monotonic() - began
    return done


def _left(settings: DestinationSettings, max_seconds: float | None, began: float) -> float:
    """Seconds that the next pass may take; 0 if no request begun in it could end in time."""
    if max_seconds is None:
        return settings.pass_seconds
    left = max_seconds - (time.monotonic() - began)
    return min(left, settings.pass_seconds) if left >= 2 * settings.request_deadline - 0.001 else 0.0


def lines(done: Drained) -> list[str]:
    """What happened at one destination, what was skipped and why, and the next command."""
    verb = "sent" if done.kind is AttemptKind.PUBLISH else "checked"
    asked = max(0, done.moved - done.ended)
    rate = f", {asked / done.seconds:,.0f}/s" if asked and done.seconds > 1 else ""
    lines = [f"{done.destination}: {counted(asked, 'event')} {verb} in {span(done.seconds)}{rate}"]
    if done.ended:
        lines.append(f"  {counted(done.ended, 'event')} ended without a request")
    if done.moved:
        lines.append(f"  {listed({word(state): count for state, count in done.states.items()})}")
    elif done.drained and not (done.halted or done.released):
        lines = [f"{done.destination}: nothing was due"]
    if done.halted or done.released:
        later = (
            "sent later, without using an attempt" if done.kind is AttemptKind.PUBLISH else "checked later"
        )
        lines.append(f"  {counted(done.halted + done.released, 'event')} put back to be {later}")
        if done.halted_by and not done.pause:
            lines.append(f"  latest error: {clean(done.halted_by, 300)}")
            lines.append(next_step(f"eventbridge_ping --destination {done.destination}"))
    if done.lost:
        lines.append(f"  {counted(done.lost, 'event')} lost to another worker, which took over the claim")
    if done.pause:
        lines += done.pause.lines
    honours_key = conf.destination(done.destination).honours_key
    lines += [
        next_step(first_look(state, done.destination, honours_key=honours_key))
        for state in NEEDS_OPERATOR
        if done.states[state]
    ]
    return lines


def data(done: Drained) -> dict[str, Any]:
    """The same for programs; the keys are documented in the commands."""
    return {
        **{state.value: done.states[state] for state in WORDS},
        "released": done.released,
        "halted": done.halted,
        "lost": done.lost,
        "seconds": round(done.seconds, 3),
        "drained": done.drained,
        "paused": done.pause.data if done.pause else None,
    }


def word(state: str) -> str:
    """The display word of a stored state."""
    return WORDS.get(State(state), state)

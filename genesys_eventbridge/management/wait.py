"""Watches one event until its final state. Only reads the row; sends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from genesys_eventbridge.formatting import span
from genesys_eventbridge.management.output import Result, next_step
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.management.work import report_line
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.reporting.explain import explain, facts_for
from genesys_eventbridge.states import OPEN, State
from genesys_eventbridge.text import clean

#: Seconds between two reads of the row.
EVERY = 0.2


def watch(pk: int, options: dict[str, Any], *, clock: Callable[[], float] = time.monotonic) -> Result:
    """Report each new state for ``options["wait"]`` seconds; any result but delivered needs an operator."""
    began = clock()
    seen = ""
    with stop_on_signal(partial(report_line, options)) as stop:
        while True:
            event = OutboxEvent.objects.on_outbox().get(pk=pk)
            if event.state != seen:
                seen = event.state
                report_line(options, f"{clock() - began:6.1f} s  {event.get_state_display()}")
            final = event.state not in OPEN
            if final or clock() - began >= options["wait"] or stop.wait(EVERY):
                break
    waited = clock() - began
    verb = "is" if final else "is still"
    lines = [
        f"Event {pk} ({event.type}) {verb} {event.get_state_display()} after {span(waited)}.",
        f"  {clean(explain(event, facts_for(event)), 2000)}",
    ]
    if event.state != State.DELIVERED:
        lines.append(next_step(f"eventbridge_show {pk}"))
    found = {"event": data(event), "waited": round(waited, 3), "final": final}
    return Result(lines, found, needs_operator=event.state != State.DELIVERED)


def data(event: OutboxEvent) -> dict[str, Any]:
    """One event for programs, without its payload."""
    return {
        "id": event.pk,
        "event_id": event.event_id,
        "type": event.type,
        "destination": event.destination,
        "state": event.state,
        "reason": event.reason,
        "remote_id": event.remote_id,
        "last_error": event.last_error,
    }

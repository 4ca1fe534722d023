"""After the commit: one log line and one signal for each transition, neither of which can change it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.dispatch import Signal

from genesys_eventbridge import signals
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox.settle import Transition
from genesys_eventbridge.states import State

logger = logging.getLogger("genesys_eventbridge")

SIGNALS: dict[State, Signal] = {
    State.PENDING: signals.event_retried,
    State.ACCEPTED: signals.event_accepted,
    State.DELIVERED: signals.event_delivered,
    State.DEAD: signals.event_dead,
    State.UNRESOLVED: signals.event_unresolved,
}
LEVELS = {State.DEAD: logging.ERROR, State.UNRESOLVED: logging.ERROR, State.PENDING: logging.WARNING}


def announce(destination: str, rows: Sequence[Transition]) -> None:
    """Tell the log and the receivers about rows that moved. A check that learnt nothing tells nobody."""
    moved = [row for row in rows if row.from_state is not row.state or row.state is State.PENDING]
    for row in moved:
        _log(destination, row)
    heard = [row for row in moved if SIGNALS[row.state].has_listeners(OutboxEvent)]
    if not heard:
        return
    events = OutboxEvent.objects.on_outbox().in_bulk([row.id for row in heard])
    for row in heard:
        if row.id in events:
            SIGNALS[row.state].send_robust(sender=OutboxEvent, event=events[row.id])


def announce_paused(alias: str, reason: str, seconds: float) -> None:
    logger.error("Destination %s paused for %.0f s: %s", alias, seconds, reason)
    signals.destination_paused.send_robust(sender=Destination, alias=alias, reason=reason)


def announce_resumed(alias: str) -> None:
    logger.info("Destination %s resumed", alias)
    signals.destination_resumed.send_robust(sender=Destination, alias=alias, reason="")


def _log(destination: str, row: Transition) -> None:
    level = logging.ERROR if row.conflict else LEVELS.get(row.state, logging.INFO)
    if not logger.isEnabledFor(level):
        return
    attempt = row.attempt
    logger.log(
        level,
        "Event %d of %s is %s%s: %s",
        row.id,
        destination,
        row.state.value,
        f" ({row.reason})" if row.reason else "",
        row.error or f"status {row.status_code}",
        extra={
            "event": row.id,
            "event_id": row.event_id,
            "type": row.type,
            "destination": destination,
            "state": row.state.value,
            "reason": str(row.reason),
            "attempt": row.attempts,
            "verdict": attempt.verdict if attempt else "",
            "status_code": row.status_code,
            "correlation_id": row.correlation_id,
            "duration": attempt.duration if attempt else None,
        },
    )

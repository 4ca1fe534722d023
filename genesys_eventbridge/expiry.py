"""Ends that need no request: a closed window, attempts used up, and confirmation switched off."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from django.db.models import Q

from genesys_eventbridge.clock import DatabaseNow
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.database import in_small_transaction
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.settlements import wake_next_of_key
from genesys_eventbridge.states import Reason, State
from genesys_eventbridge.transitions import LEVELS, SIGNALS

logger = logging.getLogger("genesys_eventbridge")

#: Rows ended in one go; what is left is found by the next pass.
BATCH = 1000


def expire(settings: DestinationSettings) -> Counter[str]:
    """End doubtful rows whose window has closed or whose attempts are used up; also during a pause.

    A blind resend past the window could be taken twice, so a person decides. Returns rows by state.
    """
    closed = Q(in_doubt_since__lte=DatabaseNow(-settings.doubt_seconds))
    doubtful = _pending_due(settings).filter(
        closed | Q(attempts__gte=settings.max_attempts), in_doubt_since__isnull=False
    )
    ids = list(doubtful.order_by("in_doubt_since").values_list("id", flat=True)[:BATCH])
    if not ids:
        return Counter()
    return _end(doubtful, ids, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)


def give_up(settings: DestinationSettings, ids: Sequence[int]) -> Counter[str]:
    """End rows whose attempts are used up: dead, or unresolved where one is in doubt (G11)."""
    spent = _pending_due(settings).filter(attempts__gte=settings.max_attempts)
    return _end(spent.filter(in_doubt_since__isnull=True), ids, State.DEAD, Reason.EXHAUSTED) + _end(
        spent.filter(in_doubt_since__isnull=False), ids, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN
    )


def close_unconfirmed(settings: DestinationSettings) -> Counter[str]:
    """CONFIRM was switched off: accepted counts as delivered, also for rows accepted before."""
    accepted = OutboxEvent.objects.on_outbox().filter(
        state=State.ACCEPTED, destination=settings.alias, due_at__lte=DatabaseNow()
    )
    ids = list(accepted.order_by("due_at", "id").values_list("id", flat=True)[:BATCH])
    return _end(accepted, ids, State.DELIVERED, "") if ids else Counter()


def _pending_due(settings: DestinationSettings) -> OutboxQuerySet:
    return OutboxEvent.objects.on_outbox().filter(
        state=State.PENDING, destination=settings.alias, due_at__lte=DatabaseNow()
    )


def _end(rows: OutboxQuerySet, ids: Sequence[int], state: State, reason: str) -> Counter[str]:
    """One guarded UPDATE a row, so that exactly the rows won are announced."""
    finished = DatabaseNow() if state is State.DELIVERED else None

    def work() -> list[int]:
        won = [
            pk
            for pk in ids
            if rows.filter(id=pk).update(
                state=state, reason=reason, due_at=None, claim_token=None, finished_at=finished
            )
        ]
        wake_next_of_key(outbox_alias(), won)
        return won

    won = in_small_transaction(outbox_alias(), work)
    for event in OutboxEvent.objects.on_outbox().filter(id__in=won):
        logger.log(
            LEVELS.get(state, logging.INFO),
            "Event %d of %s is %s%s without a request",
            event.pk,
            event.destination,
            state.value,
            f" ({reason})" if reason else "",
            extra={
                "event": event.pk,
                "event_id": event.event_id,
                "type": event.type,
                "destination": event.destination,
                "state": state.value,
            },
        )
        SIGNALS[state].send_robust(sender=OutboxEvent, event=event)
    return Counter({str(state.value): len(won)}) if won else Counter()

"""End events without a request: window closed, attempts used up, or CONFIRM switched off."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import first_write, in_small_transaction, retried, unlocked
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.db.compiled import compiled
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.outbox.followers import Locked, release
from genesys_eventbridge.outbox.settle import LEVELS, SIGNALS
from genesys_eventbridge.states import NEEDS_OPERATOR, Reason, State

logger = logging.getLogger("genesys_eventbridge")

#: Rows ended per call; the next pass finds the rest.
BATCH = 1000


def expire(settings: DestinationSettings) -> Counter[str]:
    """End rows in doubt whose idempotency window has closed, even during a pause. Returns rows by state.

    Sent again after the window, an event could be accepted twice, so an operator must decide.
    """
    if settings.resends_in_doubt:
        return Counter()
    which = outbox_alias(), settings.alias, settings.doubt_seconds
    ids = [pk for (pk,) in retried(outbox_alias(), _first_closed(*which).rows)]
    return _end(_closed(*which), ids, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN) if ids else Counter()


def _closed(database: str, alias: str, doubt_seconds: float) -> OutboxQuerySet:
    # Not only due rows: one that waits for its ordering key can be in doubt, too.
    pending = OutboxEvent.objects.using(database).filter(state=State.PENDING, destination=alias)
    return pending.not_in_flight().filter(in_doubt_since__lte=DatabaseNow(-doubt_seconds))


@compiled
def _first_closed(database: str, alias: str, doubt_seconds: float) -> Any:
    return _closed(database, alias, doubt_seconds).order_by("in_doubt_since").values_list("id")[:BATCH]


def end_used_up(settings: DestinationSettings) -> Counter[str]:
    """End rows in doubt whose attempts are used up. Claims do that, too, but there are none during a pause.

    Reads all rows in doubt. Returns rows by state.
    """
    pending = due_events(settings.alias, State.PENDING)
    spent = pending.filter(in_doubt_since__isnull=False, attempts__gte=settings.max_attempts)
    return _end(spent, _first(spent.order_by("in_doubt_since")), State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)


def end(settings: DestinationSettings, ids: Sequence[int]) -> Counter[str]:
    """End rows that may not be sent again: dead, or unresolved if they are in doubt (G11).

    Their attempts are used up, or another organisation than the current one may have accepted them. Returns
    rows by state.
    """
    pending = due_events(settings.alias, State.PENDING)
    spent = pending.filter(attempts__gte=settings.max_attempts, in_doubt_since__isnull=True)
    return _end(spent, ids, State.DEAD, Reason.EXHAUSTED) + _end(
        pending.filter(in_doubt_since__isnull=False), ids, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN
    )


def close_unconfirmed(settings: DestinationSettings) -> Counter[str]:
    """With CONFIRM off, mark rows that were accepted before as delivered. Returns rows by state."""
    accepted = due_events(settings.alias, State.ACCEPTED)
    ids = _first(accepted.order_by("due_at", "id"))
    return _end(accepted, ids, State.DELIVERED, "", was=State.ACCEPTED)


def end_without_status(settings: DestinationSettings) -> Counter[str]:
    """End accepted rows whose delivery can no longer be asked for, because the PROTOCOL was changed.

    They were accepted with a promise of a confirmation, so an operator must decide. Returns rows by state.
    """
    accepted = due_events(settings.alias, State.ACCEPTED)
    ids = _first(accepted.order_by("due_at", "id"))
    return _end(accepted, ids, State.UNRESOLVED, Reason.UNCONFIRMED, was=State.ACCEPTED)


def _first(rows: OutboxQuerySet) -> list[int]:
    return retried(outbox_alias(), lambda: list(rows.values_list("id", flat=True)[:BATCH]))


def _end(
    rows: OutboxQuerySet, ids: Sequence[int], state: State, reason: str, *, was: State = State.PENDING
) -> Counter[str]:
    """One guarded UPDATE per row, so that only changed rows are announced; the next pass ends locked ones."""
    if not ids:
        return Counter()
    times: dict[str, DatabaseNow | None] = {
        "finished_at": DatabaseNow() if state is State.DELIVERED else None,
        **({"failed_at": DatabaseNow()} if state in NEEDS_OPERATOR else {}),
    }

    def work() -> list[int]:
        first_write(outbox_alias())
        free = unlocked(rows.filter(id__in=ids).order_by("id")).values_list("id", flat=True)
        won = [
            pk
            for pk in free
            if rows.filter(id=pk).update(state=state, reason=reason, due_at=None, claim_token=None, **times)
        ]
        if was is State.PENDING:  # what was accepted has left its key before
            release(won)
        return won

    try:
        won = in_small_transaction(outbox_alias(), work)
    except Locked:
        if len(ids) == 1:
            return Counter()
        return sum((_end(rows, [pk], state, reason, was=was) for pk in ids), Counter())
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
                "reason": str(reason),
            },
        )
        SIGNALS[state].send_robust(sender=OutboxEvent, event=event)
    return Counter({str(state.value): len(won)}) if won else Counter()

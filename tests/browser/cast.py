"""Data for every situation that a page can show: events in all states, with their history."""

from __future__ import annotations

import uuid
from typing import Any

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, cancel, requeue, resend
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import accepted, ended, event

WHO = Actor("admin")
ERROR = "400 from the platform: the event type order.paid is not registered in this organisation"
DATA = {"number": "ORD-7", "amount": "49.90", "customer": {"email": "ana@example.com"}}


def cast() -> dict[str, OutboxEvent]:
    """Create one event per situation, oldest first, and a worker that has just reported."""
    Destination.objects.update_or_create(
        alias="default",
        defaults={
            "heartbeat_at": DatabaseNow(-4),
            "heartbeat_worker": "worker-1:4711",
            "accepted_at": DatabaseNow(-9),
        },
    )
    events = {
        "waiting": _one(),
        "in flight": _one(
            row={
                "attempts": 1,
                "claim_token": uuid.uuid4(),
                "in_doubt_since": DatabaseNow(),
                "due_at": DatabaseNow(60),
            }
        ),
        "waiting for a retry": _one(
            row={"attempts": 3, "due_at": DatabaseNow(240), "last_status_code": 503, "last_error": "503"}
        ),
        "in doubt": _one(
            row={
                "attempts": 2,
                "due_at": DatabaseNow(90),
                "in_doubt_since": DatabaseNow(-60),
                "last_error": "ReadTimeout",
            }
        ),
        "accepted": accepted(subject="ORD-9", due_at=DatabaseNow(30)),
        "dead": _one(row=dead()),
        "dead, requeued before": _one(row=dead()),
        "before another in its key": _one(ordering_key="ORD-8"),
        "behind a dead one": _one(ordering_key="ORD-8"),
        "unresolved": _one(
            row=ended(
                State.UNRESOLVED,
                Reason.OUTCOME_UNKNOWN,
                attempts=12,
                remote_id="evt-77",
                in_doubt_since=DatabaseNow(-90_000),
                last_error="ReadTimeout",
            )
        ),
        "delivered": _one(row=ended(State.DELIVERED, attempts=1, finished_at=DatabaseNow(-60))),
        "cancelled": _one(),
        "blanked": _one(row=ended(State.DELIVERED, attempts=1, body="", finished_at=DatabaseNow(-60))),
    }
    OutboxEvent.objects.filter(pk=events["before another in its key"].pk).update(**dead())
    for name in ("waiting for a retry", "in doubt", "dead", "dead, requeued before", "unresolved"):
        _tried(events[name])
    requeue([events["dead, requeued before"].pk], WHO, reason="the type is registered now")
    OutboxEvent.objects.filter(pk=events["dead, requeued before"].pk).update(**dead())
    cancel([events["cancelled"].pk], WHO, "the customer withdrew")
    events["resent"] = resend(events["delivered"].pk, WHO, "their system lost it")
    return events


def _one(**keywords: Any) -> OutboxEvent:
    return event("order.paid", DATA, subject="ORD-7", **keywords)


def dead() -> dict[str, Any]:
    """The columns of an event whose type the platform does not know."""
    row: dict[str, Any] = ended(
        State.DEAD, Reason.REJECTED, attempts=2, last_status_code=400, last_error=ERROR
    )
    return row


def _tried(row: OutboxEvent) -> None:
    """Two attempts: the first could not connect, the second got a response."""
    common = {"event": row, "kind": "publish", "worker": "worker-1:4711"}
    DeliveryAttempt.objects.create(
        number=1,
        started_at=DatabaseNow(-90),
        duration=0.2,
        verdict="unavailable",
        status_code=503,
        error="503 Service Unavailable",
        **common,
    )
    DeliveryAttempt.objects.create(
        number=2,
        started_at=DatabaseNow(-30),
        duration=0.1,
        verdict="rejected",
        status_code=400,
        error=ERROR,
        correlation_id="5e0f6a1c-7d1b-4c1e-9a52-8d3f5a0e7b11",
        response_excerpt='{"code": "bad.request", "message": "the event type is not registered"}',
        **common,
    )

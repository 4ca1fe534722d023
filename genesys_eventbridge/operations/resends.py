"""Resend as new: a delivered event's content once more, as another event that names its origin."""

from __future__ import annotations

import uuid

from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge.db import first_write, in_small_transaction
from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.operations.audit import Acted, Actor, needed, record
from genesys_eventbridge.operations.copies import content
from genesys_eventbridge.operations.jobs import Order, note
from genesys_eventbridge.operations.results import Skip
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.states import Act, State


class CannotResend(EventBridgeError):
    """This event cannot be resent as a new one; the text says why."""


def resend(event_id: int, actor: Actor, reason: str, *, once: str = "") -> OutboxEvent:
    """Enqueue a delivered event's content as a new event with its own id and key.

    ``event_id`` is ``OutboxEvent.id``. The event's time is kept. The same ``once`` twice returns the same new
    event, so that a form submitted twice does no harm. Raises CannotResend, and ValueError without a reason.
    """
    kept = needed(reason)

    def work() -> OutboxEvent:
        first_write(outbox_alias())
        origin = _found(OutboxEvent.objects.on_outbox().select_for_update(), event_id)
        if why_not := _why_not(origin):
            raise CannotResend(why_not.label)
        return _copy(origin, actor, kept, once)

    return in_small_transaction(outbox_alias(), work)


def _found(rows: OutboxQuerySet, event_id: int) -> OutboxEvent:
    """The event, or an empty one, which is not delivered."""
    return rows.filter(id=event_id).first() or OutboxEvent()


def _why_not(origin: OutboxEvent) -> Skip | None:
    if origin.state != State.DELIVERED:
        return Skip.NOT_DELIVERED
    return None if origin.body else Skip.BLANKED


def _copy(origin: OutboxEvent, actor: Actor, reason: str, once: str) -> OutboxEvent:
    try:
        event = enqueue(
            **content(origin.body),
            ordering_key=origin.ordering_key or None,
            idempotency_key=uuid.uuid5(origin.idempotency_key, f"resend {once}") if once else None,
            destination=origin.destination,
            standalone=True,
        )
    except (EventBridgeError, ImproperlyConfigured) as error:
        raise CannotResend(str(error)) from error
    if event.origin_id == origin.pk:
        return event
    event.origin = origin
    event.object_type, event.object_id = origin.object_type, origin.object_id
    event.save(using=outbox_alias(), update_fields=["origin", "object_type", "object_id"])
    job = note(Order(Act.RESEND, actor, reason, about=f"#{origin.pk}"), total=1)
    record(job, actor, [Acted(origin.pk, origin.event_id, origin.type, State.DELIVERED, State.DELIVERED)])
    return event

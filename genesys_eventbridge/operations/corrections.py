"""Correct and resend: a dead event's data is corrected, sent as a new event, and the old one is cancelled."""

from __future__ import annotations

import uuid
from typing import Any

from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge import conf
from genesys_eventbridge.db import first_write, in_small_transaction
from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.operations.audit import Acted, Actor, needed, record
from genesys_eventbridge.operations.bulk import Action, Batch, decide, locked, named, write
from genesys_eventbridge.operations.copies import content
from genesys_eventbridge.operations.jobs import Order, note
from genesys_eventbridge.operations.results import Result, Skip
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.outbox.rows import build_row
from genesys_eventbridge.states import NEEDS_OPERATOR, Act, Reason, State
from genesys_eventbridge.text.differences import Difference, as_json, differences


class CannotCorrect(EventBridgeError):
    """This event cannot be corrected; the text says why."""


@sensitive_variables()
def correct(event_id: int, data: Any, actor: Actor, reason: str, *, once: str = "") -> OutboxEvent:
    """Enqueue a dead event with this JSON value as data, as a new event, and cancel the old one.

    ``event_id`` is ``OutboxEvent.id``. The new event has an id and a key of its own, names its origin, and
    goes to the end of its ordering key. What was changed is kept in the audit. The same ``once`` twice
    returns the same new event. Raises CannotCorrect; InvalidEvent, which names the field, if the data does
    not match the schema or is too large; and ValueError without a reason.
    """
    kept = needed(reason)

    def work() -> OutboxEvent:
        alias = outbox_alias()
        first_write(alias)
        origin = locked(named([event_id])).first()
        if origin is None:
            raise CannotCorrect(Skip.NO_SUCH_EVENT.label)
        if (known := made_before(origin, once)) is not None:
            return known
        changes = changed(origin, data)
        event = enqueue(
            **{**content(origin.body), "data": data},
            ordering_key=origin.ordering_key or None,
            idempotency_key=_key(origin, once) if once else None,
            destination=origin.destination,
            standalone=True,
        )
        event.origin = origin
        event.object_type, event.object_id = origin.object_type, origin.object_id
        event.save(using=alias, update_fields=["origin", "object_type", "object_id"])
        job = note(Order(Act.CORRECT, actor, kept, about=f"#{origin.pk}"), total=1)
        [(row, action)] = decide(named([origin.pk]), lambda _row: _CANCELLED)
        if not write([(row, action)], Batch(job, actor, [row.id])):
            raise CannotCorrect(Skip.CHANGED.label)
        record(job, actor, [Acted(row.id, row.event_id, row.type, row.state, action.to, as_json(changes))])
        return event

    return in_small_transaction(outbox_alias(), work)


_CANCELLED = Action(State.CANCELLED, reason=Reason.OPERATOR)


def foresee(rows: OutboxQuerySet) -> list[Result]:
    """Which of these events can be corrected, and why the others cannot."""
    return [Result(event.pk, why_not(event), event.destination, event.type) for event in rows]


def why_not(origin: OutboxEvent) -> Skip | None:
    if origin.state != State.DEAD:
        return Skip.NOT_DEAD
    if origin.destination not in conf.aliases():
        return Skip.NOT_CONFIGURED
    return Skip.BINARY if isinstance(origin.data, bytes) else None


@sensitive_variables()
def changed(origin: OutboxEvent, data: Any) -> list[Difference]:
    """What a correction would change, once it is valid. Raises as ``correct``, and writes nothing."""
    if (skip := why_not(origin)) is not None:
        raise CannotCorrect(skip.label)
    settings = conf.destination(origin.destination)
    changes = differences(origin.data, data, settings.platform.rules.redact_keys)
    if not changes:
        raise CannotCorrect(Skip.UNCHANGED.label)
    build_row(**{**content(origin.body), "data": data}, destination=origin.destination)
    return changes


def behind(origin: OutboxEvent) -> int:
    """How many unfinished events of its ordering key a corrected event will go behind."""
    if not origin.ordering_key:
        return 0
    rows = OutboxEvent.objects.on_outbox().filter(
        ordering_key=origin.ordering_key, state__in=[State.PENDING, *NEEDS_OPERATOR]
    )
    return rows.filter(destination=origin.destination).exclude(pk=origin.pk).count()


def made_before(origin: OutboxEvent, once: str) -> OutboxEvent | None:
    """The event that ``correct`` made of this one with the same ``once``."""
    return (
        OutboxEvent.objects.on_outbox().filter(idempotency_key=_key(origin, once)).first() if once else None
    )


def _key(origin: OutboxEvent, once: str) -> uuid.UUID:
    return uuid.uuid5(origin.idempotency_key, f"correct {once}")

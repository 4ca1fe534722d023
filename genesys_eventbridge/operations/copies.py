"""Copies of events: the same content as new events that name their origin, in the batches of a job."""

from __future__ import annotations

import datetime as dt
import json
import logging
import uuid
from base64 import b64decode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction

from genesys_eventbridge import conf, outbox
from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.cloudevents.attributes import CORE_NAMES
from genesys_eventbridge.db.clock import LONGEST_WAIT
from genesys_eventbridge.db.transactions import after_commit
from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.models import JobItem, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.operations.audit import Acted, Actor, record
from genesys_eventbridge.operations.bulk import Batch, Changed, locked, named
from genesys_eventbridge.operations.results import Result, Skip
from genesys_eventbridge.outbox.rows import build_row
from genesys_eventbridge.states import Act, State

logger = logging.getLogger("genesys_eventbridge")

#: Events read at once; each has a body.
PAGE = 100
#: Items of a job before the present batch in which its newest event is looked for.
LOOK_BACK = 1_000


def make(states: Collection[State], batch: Batch) -> list[Result]:
    """Within a batch's transaction: a new event for each of those that are in one of ``states``.

    Its id and key follow from the job's key and its origin, so that no event gets two copies in one job.
    """
    found = {event.pk: event for event in locked(named(batch.ids))}
    pace, skipped, made = _pace(batch), dict[int, Skip](), list[OutboxEvent]()
    for event in found.values():
        row = _copied(event, states, batch.job.key, pace.delay)
        if isinstance(row, Skip):
            skipped[event.pk] = row
        else:
            made.append(row)
            pace.delay += pace.step
    if not _inserted(made):
        if not batch.alone:
            raise Changed
        made, skipped = [], dict.fromkeys(found, Skip.INVALID)
    new = {row.origin_id: row.pk for row in made}
    acted = [found[row.origin_id] for row in made if row.origin_id is not None]
    record(
        batch.job,
        batch.actor,
        [Acted(each.pk, each.event_id, each.type, State(each.state), State(each.state)) for each in acted],
    )
    after_commit(outbox_alias(), _committed, batch.actor, batch.act, made)
    results = [
        Result(event.pk, skipped.get(event.pk), event.destination, event.type, new_id=new.get(event.pk))
        for event in found.values()
    ]
    return [*results, *(Result(pk, Skip.NO_SUCH_EVENT) for pk in batch.ids if pk not in found)]


def foresee(states: Collection[State], rows: OutboxQuerySet) -> list[Result]:
    """What ``make`` would do with these events now; writes and locks nothing."""
    ids, results = list(rows.values_list("pk", flat=True)), []
    for start in range(0, len(ids), PAGE):
        for event in named(ids[start : start + PAGE]):
            row = _copied(event, states, uuid.uuid4(), 0.0)
            skip = row if isinstance(row, Skip) else None
            results.append(Result(event.pk, skip, event.destination, event.type))
    return results


def content(body: str) -> dict[str, Any]:
    """The stored event as arguments of ``enqueue``, without its id."""
    members = json.loads(body)
    names = ("type", "source", "subject", "time", "datacontenttype", "dataschema")
    data = members.get("data", NO_DATA)
    if "data_base64" in members:
        data = b64decode(members["data_base64"])
    return {
        "data": data,
        **{name: members[name] for name in names if name in members},
        "extensions": {name: value for name, value in members.items() if name not in CORE_NAMES},
    }


def _copied(
    origin: OutboxEvent, states: Collection[State], key: uuid.UUID, delay: float
) -> OutboxEvent | Skip:
    """The unsaved row of a new event, due in ``delay`` seconds, or why there is none."""
    if origin.state not in states:
        return Skip(origin.state) if State.ACCEPTED in states else Skip.NOT_DELIVERED
    if origin.destination not in conf.aliases():
        return Skip.NOT_CONFIGURED
    if not origin.body:
        return Skip.BLANKED
    try:
        row = build_row(
            **content(origin.body),
            ordering_key=origin.ordering_key or None,
            event_id=uuid.uuid5(key, origin.event_id),
            idempotency_key=uuid.uuid5(key, f"copy of {origin.idempotency_key}"),
            destination=origin.destination,
            delay=min(delay, LONGEST_WAIT),
        )
    except (EventBridgeError, ImproperlyConfigured) as error:
        logger.info("Event %d cannot be enqueued again: %s", origin.pk, error, extra={"event": origin.pk})
        return Skip.INVALID
    row.origin = origin
    row.object_type, row.object_id = origin.object_type, origin.object_id
    return row


def _inserted(rows: Sequence[OutboxEvent]) -> bool:
    """Whether these rows were written; False if one of their ids or keys is taken."""
    try:
        with transaction.atomic(using=outbox_alias()):
            outbox.add(rows)
    except IntegrityError:
        return False
    OutboxEvent.objects.on_outbox().bulk_update(rows, ["origin"])
    return True


@dataclass(slots=True)
class _Pace:
    """Seconds until the next new event is due, and between two of them."""

    delay: float
    step: float


def _pace(batch: Batch) -> _Pace:
    """``rate`` is in events per minute; a ``spread`` is divided among all events of the job.

    The next event follows the one that the job made last, so that a job that was interrupted makes no burst.
    """
    job: Any = batch.job
    how = json.loads(job.options)
    rate, spread = how.get("rate") or 0.0, how.get("spread") or 0.0
    step = max(60.0 / rate if rate else 0.0, spread / max(1, job.total))
    if step and (last := _last_due(batch)) is not None:
        return _Pace(max(0.0, (last - job.now).total_seconds() + step), step)
    passed = (job.now - job.created_at).total_seconds()
    return _Pace(max(0.0, (how.get("delay") or 0.0) + job.done * step - passed), step)


def _last_due(batch: Batch) -> dt.datetime | None:
    """When the newest event of this job is due first; None if it made none lately."""
    items = JobItem.objects.using(outbox_alias()).filter(job=batch.job, event_number__lt=batch.ids[0])
    lately = items.order_by("-event_number").values_list("new_number", flat=True)[:LOOK_BACK]
    newest = next((number for number in lately if number is not None), 0)
    event = OutboxEvent.objects.on_outbox().filter(pk=newest).only("not_before", "created_at").first()
    return None if event is None else event.not_before or event.created_at


def _committed(actor: Actor, act: Act, made: Sequence[OutboxEvent]) -> None:
    for row in made:
        logger.info(
            "Event %d is a copy of event %d: %s by %s",
            row.pk,
            row.origin_id,
            act.value,
            actor.username,
            extra={
                "event": row.pk,
                "event_id": row.event_id,
                "type": row.type,
                "destination": row.destination,
                "state": State.PENDING.value,
                "act": act.value,
                "via": actor.via,
            },
        )

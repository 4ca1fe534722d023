"""Erasure: what finished events say is blanked, in the batches of a job; ids, times and hashes stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.models import EventAct, Job, JobItem, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.operations import choices
from genesys_eventbridge.operations.audit import Acted, record
from genesys_eventbridge.operations.bulk import Action, Batch, Row, decide, locked, named, write
from genesys_eventbridge.operations.results import Result, Skip
from genesys_eventbridge.outbox import retention
from genesys_eventbridge.states import FINISHED

#: Replaces the erased data in a reason.
ERASED = "[erased]"

#: What to do with an event; None: look at it again later.
Chosen = Action | Skip | None


def erase(cancel: bool, same_data: bool, batch: Batch) -> list[Result]:
    """Within a batch's transaction: blank finished events; with ``cancel``, unfinished ones are cancelled.

    Events that are accepted or in flight wait until they are finished. Events that were made of an erased one
    after the job listed its events join the job; with ``same_data`` only those whose data is the same.
    Raises Changed.
    """
    plan = decide(locked(named(batch.ids)), choice(cancel))
    erased = [(row, action) for row, action in plan if isinstance(action, Action)]
    if not write([(row, action) for row, action in erased if row.state not in FINISHED], batch):
        return [result(row, Skip.CHANGED) for row, _action in plan]
    _add_copies(batch.job, [row.id for row, _action in erased], same_data=same_data)
    _forget([row.id for row, _action in erased])
    record(
        batch.job,
        batch.actor,
        [Acted(row.id, row.event_id, row.type, row.state, action.to) for row, action in erased],
    )
    missing = set(batch.ids) - {row.id for row, _chosen in plan}
    return [
        *(result(row, chosen) for row, chosen in plan),
        *(Result(pk, Skip.NO_SUCH_EVENT) for pk in sorted(missing)),
    ]


def foresee(cancel: bool, rows: OutboxQuerySet) -> list[Result]:
    """What ``erase`` would do with these events now; writes and locks nothing."""
    return [result(row, chosen) for row, chosen in decide(rows, choice(cancel))]


def choice(cancel: bool) -> Callable[[Row], Chosen]:
    """What to do with each event."""
    withdraw = choices.cancel()
    finished = {state: Action(state) for state in FINISHED}

    def choose(row: Row) -> Chosen:
        if row.state in FINISHED:
            return finished[row.state]
        action = withdraw(row)
        if isinstance(action, Skip):
            return None  # accepted, or being sent or checked
        return action if cancel else Skip.UNFINISHED

    return choose


def result(row: Row, chosen: Chosen) -> Result:
    skip = chosen if isinstance(chosen, Skip) else None
    return Result(row.id, skip, row.destination, row.type, waits=chosen is None)


def mention(texts: Collection[str]) -> re.Pattern[str]:
    """Finds any of ``texts`` in what people wrote: in any case, and not within a longer word."""
    parts = []
    for text in sorted(filter(None, texts), key=len, reverse=True):
        before = r"(?<!\w)" if re.match(r"\w", text) else ""
        after = r"(?!\w)" if re.match(r"\w", text[-1]) else ""
        parts.append(f"{before}{re.escape(text)}{after}")
    return re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)


def rewrite(row: Model, column: str, pattern: re.Pattern[str]) -> None:
    """Replace in this column what the pattern finds."""
    text: str = getattr(row, column)
    if pattern.search(text):
        length = row._meta.get_field(column).max_length  # type: ignore[union-attr]
        rows: QuerySet[Any] = type(row)._default_manager.using(row._state.db)
        rows.filter(pk=row.pk).update(**{column: pattern.sub(ERASED, text)[:length]})


def history() -> QuerySet[Any] | None:
    """The entries about events in Django's admin history, which repeat reasons; None without the admin."""
    if not apps.is_installed("django.contrib.admin"):
        return None
    from django.contrib.admin.models import LogEntry

    return LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(OutboxEvent))


@sensitive_variables()
def _add_copies(job: Job, ids: Sequence[int], *, same_data: bool) -> None:
    """Add the events that were made of these and are not listed yet: a replay may run at the same time."""
    rows = OutboxEvent.objects.on_outbox()
    items = JobItem.objects.using(outbox_alias()).filter(job=job)
    made = rows.filter(origin__in=ids).order_by("id").values_list("id", "origin")
    copies = [(pk, origin) for pk, origin in made if origin is not None]
    listed = set(
        items.filter(event_number__in=[pk for pk, _origin in copies]).values_list("event_number", flat=True)
    )
    new = [(pk, origin) for pk, origin in copies if pk not in listed]
    if new and same_data:
        data = {event.pk: event.data for event in rows.filter(pk__in={pk for pair in new for pk in pair})}
        new = [(pk, origin) for pk, origin in new if data[pk] == data[origin]]
    JobItem.objects.using(outbox_alias()).bulk_create(
        JobItem(job=job, event_number=pk) for pk, _origin in new
    )
    job.total += len(new)


@sensitive_variables()
def _forget(ids: Sequence[int]) -> None:
    """Blank these finished events, the differences of corrections, and what reasons repeat of them."""
    rows = OutboxEvent.objects.on_outbox().filter(id__in=ids)
    own: dict[int, re.Pattern[str]] = {}
    with_details = set(ids)
    for pk, origin, *texts in rows.values_list("id", "origin", "subject", "ordering_key", "object_id"):
        own[pk] = mention(texts)
        if origin is not None:
            with_details.add(origin)
    acts = EventAct.objects.using(outbox_alias())
    acts.filter(event__in=with_details, details__isnull=False).update(details=None)
    for act in acts.filter(event__in=ids).exclude(reason="").only("event", "reason"):
        rewrite(act, "reason", own[act.event_id])  # type: ignore[index]
    if (entries := history()) is not None:
        for entry in entries.filter(object_id__in=[str(pk) for pk in ids]):
            rewrite(entry, "change_message", own[int(entry.object_id)])
    retention.blank(ids, subject="", ordering_key="", object_id="")

"""Retention: delete old finished events and blank their bodies, in small committed batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from genesys_eventbridge import conf, counters
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.db import first_write, in_small_transaction, retried, still_in
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import (
    DeliveryAttempt,
    Destination,
    EventAct,
    JobItem,
    OutboxEvent,
    OutboxQuerySet,
    outbox_alias,
)
from genesys_eventbridge.outbox import orphans
from genesys_eventbridge.states import FINISHED, JobState

DAY = 86400.0
#: Rows read per query. Ids follow creation time closely enough that a page without old rows ends the scan.
PAGE = 1000
#: Seconds between two prunes by workers.
PRUNE_EVERY = 3600.0
#: A destination that is not configured here is pruned only if no worker reported for this many seconds: until
#: then it is another project's, which has its own retention.
FORSAKEN = 7 * DAY
#: Seconds for which the list of a job's events is kept, if the job has ended.
ITEMS_KEPT = 30 * DAY


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did, or with ``dry_run`` would do."""

    #: Events removed, and events whose body was blanked.
    rows: int = 0
    blanked: int = 0
    #: False if the time limit was reached.
    complete: bool = True


class Rules(Protocol):
    """What a destination's settings say about retention."""

    @property
    def alias(self) -> str: ...
    @property
    def retention_days(self) -> float | None: ...
    @property
    def payload_retention_days(self) -> float | None: ...
    @property
    def idempotency_window(self) -> float: ...


@dataclass(frozen=True, slots=True)
class DefaultRules:
    """The default settings, for a destination that is no longer configured."""

    alias: str
    retention_days: float | None = conf.DEFAULTS["RETENTION_DAYS"]
    payload_retention_days: float | None = conf.DEFAULTS["PAYLOAD_RETENTION_DAYS"]
    idempotency_window: float = conf.DEFAULTS["IDEMPOTENCY_WINDOW"]


def rules(alias: str) -> Rules:
    """The retention rules of a destination.

    Raises ImproperlyConfigured for wrong settings, and for a destination that is neither configured nor in
    the tables.
    """
    return DefaultRules(alias) if orphans.is_left(alias) else conf.destination(alias)


def prune(
    settings: Rules,
    *,
    older_than_days: float | None = None,
    batch_size: int = 1000,
    max_seconds: float | None = None,
    dry_run: bool = False,
    alone: bool = False,
) -> Pruned:
    """Remove events of one destination that finished more than RETENTION_DAYS ago, and blank old bodies.

    ``older_than_days`` replaces RETENTION_DAYS, where None keeps events for ever. No event is removed
    within IDEMPOTENCY_WINDOW, while the platform remembers its key. ``max_seconds`` ends the work between
    two batches; ``dry_run`` only counts. Unless ``alone``, destinations that no project serves any more are
    pruned, too, with the default settings. Raises ValueError for an age below the window and for a batch
    size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: must be 1 or more, got {batch_size}.")
    clock = _Clock(max_seconds)
    rows, blanked = _prune(settings, older_than_days, batch_size, clock, dry_run=dry_run)
    if not alone:
        for alias in orphans.orphans(FORSAKEN):
            rows += _prune(DefaultRules(alias), None, batch_size, clock, dry_run=dry_run)[0]
    if not dry_run:
        _forget(counters.prune, batch_size, clock)
        _forget(_remove_items, batch_size, clock)
    return Pruned(rows, blanked, complete=not clock.over)


def _prune(
    settings: Rules, older_than_days: float | None, batch_size: int, clock: _Clock, *, dry_run: bool
) -> tuple[int, int]:
    """The number of events removed, and of bodies blanked."""
    days = settings.retention_days if older_than_days is None else older_than_days
    rows = blanked = 0
    if days is not None:
        seconds = _beyond_the_window(settings, days, asked=older_than_days is not None)
        for ids in clock.until_over(_old(settings, seconds, batch_size)):
            rows += len(ids) if dry_run else in_small_transaction(outbox_alias(), partial(_remove, ids))
    if settings.payload_retention_days is not None:
        seconds = settings.payload_retention_days * DAY
        for ids in clock.until_over(_old(settings, seconds, batch_size, with_body=True)):
            blanked += len(ids) if dry_run else in_small_transaction(outbox_alias(), partial(blank, ids))
    return rows, blanked


def is_due(pruned_ago: float | None) -> bool:
    """Whether the last prune began at least an hour ago, or never; ``pruned_ago`` is in seconds."""
    return pruned_ago is None or pruned_ago >= PRUNE_EVERY


def take_turn(alias: str) -> bool:
    """Whether this worker should prune now: of several that find it due, one gets True."""
    set_back = Q(pruned_at__gt=DatabaseNow(SET_BACK_SECONDS))
    due = Q(pruned_at__isnull=True) | Q(pruned_at__lte=DatabaseNow(-PRUNE_EVERY)) | set_back
    turn = _destination(alias).filter(due)
    return retried(outbox_alias(), lambda: turn.update(pruned_at=DatabaseNow())) > 0


def began(alias: str) -> None:
    """Note that a scheduled prune begins, so that workers do not prune for an hour."""
    retried(outbox_alias(), lambda: _destination(alias).update(pruned_at=DatabaseNow()))


def _destination(alias: str) -> QuerySet[Destination]:
    return Destination.objects.using(outbox_alias()).filter(alias=alias)


def _forget(remove: Callable[[int], int], batch_size: int, clock: _Clock) -> None:
    """Run ``remove``, which deletes up to N old rows and returns how many, until none is left."""
    for _batch in clock.until_over(iter(lambda: [remove(batch_size)], [0])):
        continue


def _remove_items(batch_size: int) -> int:
    """Forget which events old jobs were about; the jobs and the acts on the events stay, as the audit."""
    items = JobItem.objects.using(outbox_alias())
    old = items.filter(job__created_at__lt=DatabaseNow(-ITEMS_KEPT)).exclude(job__state=JobState.QUEUED)
    ids = list(old.order_by("id").values_list("id", flat=True)[:batch_size])
    return in_small_transaction(outbox_alias(), items.filter(id__in=ids).delete)[0] if ids else 0


class _Clock:
    """Ends a scan between two batches when the time limit is reached."""

    def __init__(self, seconds: float | None) -> None:
        self._ends = math.inf if seconds is None else time.monotonic() + seconds
        self.over = False

    def until_over(self, batches: Iterator[list[int]]) -> Iterator[list[int]]:
        for batch in batches:
            if time.monotonic() >= self._ends:
                self.over = True
                return
            yield batch


def _beyond_the_window(settings: Rules, days: float, *, asked: bool) -> float:
    """The age in seconds, at least the window. A shorter age that was ``asked`` for raises ValueError."""
    seconds = days * DAY
    if asked and seconds < settings.idempotency_window:
        raise ValueError(
            f"older_than_days: {days:g} is less than the IDEMPOTENCY_WINDOW of {settings.alias!r}; the keys "
            f"of such events are still needed. Use {settings.idempotency_window / DAY:g} or more."
        )
    return max(seconds, settings.idempotency_window)


def _old(settings: Rules, seconds: float, batch_size: int, *, with_body: bool = False) -> Iterator[list[int]]:
    """Batches of ids of old finished events, oldest first.

    Rows are read in the order of the index, up to the first page without old rows: to remove one day of
    events, a nightly prune does not read a month of them.
    """
    for state in FINISHED:
        rows = OutboxEvent.objects.on_outbox().filter(state=state, destination=settings.alias)
        if with_body:
            rows = rows.exclude(body="")
        dated = rows.order_by("id").annotate(limit=DatabaseNow(-seconds))
        last = 0
        while True:
            page = list(
                dated.filter(id__gt=last).values_list("id", "created_at", "finished_at", "limit")[:PAGE]
            )
            ids = [pk for pk, _created, finished, limit in page if finished and finished < limit]
            for start in range(0, len(ids), batch_size):
                yield ids[start : start + batch_size]
            if len(page) < PAGE or all(created >= limit for _pk, created, _finished, limit in page):
                break
            last = page[-1][0]


def _remove(ids: Sequence[int]) -> int:
    """Within a transaction: delete events with their attempts; acts stay. A resent event loses its origin."""
    first_write(outbox_alias())
    _name_in_audit(ids)
    _forget_differences(ids)
    _total, numbers = _finished(ids).only("id").delete()
    return numbers.get(OutboxEvent._meta.label, 0)


def _name_in_audit(ids: Sequence[int]) -> None:
    """Acts that a worker of an earlier release recorded name their event only by the foreign key."""
    acts = EventAct.objects.using(outbox_alias()).filter(event__in=ids, event_number__isnull=True)
    named = OutboxEvent.objects.filter(id=OuterRef("event")).values("event_id")
    acts.update(event_number=F("event_id"), cloudevent_id=Subquery(named))


def blank(ids: Sequence[int], **columns: str) -> int:
    """Within a transaction: blank bodies of finished events, and what may repeat them.

    That is responses, errors, and the differences that the audit keeps of corrections.

    ``columns`` are further columns of the events and their new values; all others stay. Returns how many.
    """
    first_write(outbox_alias())
    attempts = DeliveryAttempt.objects.using(outbox_alias()).filter(event__in=ids)
    attempts.update(response_excerpt="", error="")
    _forget_differences(ids)
    return _finished(ids).update(body="", last_error="", **columns)


def _forget_differences(ids: Sequence[int]) -> None:
    """A correction's difference holds data of the event that was corrected; the act stays."""
    acts = EventAct.objects.using(outbox_alias()).filter(event__in=ids, details__isnull=False)
    acts.update(details=None)


def _finished(ids: Sequence[int]) -> OutboxQuerySet:
    return still_in(OutboxEvent.objects.on_outbox(), ids, *FINISHED)

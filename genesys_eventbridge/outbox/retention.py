"""Retention: old finished events are pruned, and their bodies blanked, in small committed batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from django.db.models import Q, QuerySet

from genesys_eventbridge import conf, counters
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.db import first_write, in_small_transaction, retried, still_in
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.outbox import orphans
from genesys_eventbridge.states import FINISHED

DAY = 86400.0
#: Rows looked at together; ids are so nearly in the order of time that an all-young page ends the walk.
PAGE = 1000


#: Workers prune so often; seconds.
PRUNE_EVERY = 3600.0
#: A destination that is not configured here is another project's, which has retention of its own, unless none
#: of that project's workers reported for this many seconds.
FORSAKEN = 7 * DAY


@dataclass(frozen=True, slots=True)
class Pruned:
    """Events removed, and events whose body was blanked; ``complete`` is False where the time was over."""

    rows: int = 0
    blanked: int = 0
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
    """For a destination that is not configured any more."""

    alias: str
    retention_days: float | None = conf.DEFAULTS["RETENTION_DAYS"]
    payload_retention_days: float | None = conf.DEFAULTS["PAYLOAD_RETENTION_DAYS"]
    idempotency_window: float = conf.DEFAULTS["IDEMPOTENCY_WINDOW"]


def rules(alias: str) -> Rules:
    """Raises ImproperlyConfigured for wrong settings, and for a destination that was never there."""
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
    """Remove events of one destination that finished longer ago than RETENTION_DAYS, and blank bodies.

    ``older_than_days`` stands in for RETENTION_DAYS, whose None keeps events for ever. No event is
    removed before the platform has forgotten its key. ``max_seconds`` ends the work between two batches.
    Unless ``alone``, destinations that no project serves any more are pruned with it, by the defaults.
    Raises ValueError for an age below that window, or a batch that is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: must be 1 or more, got {batch_size}.")
    clock = _Clock(max_seconds)
    rows, blanked = _prune(settings, older_than_days, batch_size, clock, dry_run=dry_run)
    if not alone:
        for alias in orphans.orphans(FORSAKEN):
            rows += _prune(DefaultRules(alias), None, batch_size, clock, dry_run=dry_run)[0]
    if not dry_run:
        _forget_rollups(batch_size, clock)
    return Pruned(rows, blanked, complete=not clock.over)


def _prune(
    settings: Rules, older_than_days: float | None, batch_size: int, clock: _Clock, *, dry_run: bool
) -> tuple[int, int]:
    """Events removed and bodies blanked."""
    days = settings.retention_days if older_than_days is None else older_than_days
    rows = blanked = 0
    if days is not None:
        seconds = _beyond_the_window(settings, days, asked=older_than_days is not None)
        for ids in clock.until_over(_old(settings, seconds, batch_size)):
            rows += len(ids) if dry_run else in_small_transaction(outbox_alias(), partial(_remove, ids))
    if settings.payload_retention_days is not None:
        seconds = settings.payload_retention_days * DAY
        for ids in clock.until_over(_old(settings, seconds, batch_size, with_body=True)):
            blanked += len(ids) if dry_run else in_small_transaction(outbox_alias(), partial(_blank, ids))
    return rows, blanked


def is_due(pruned_ago: float | None) -> bool:
    """Whether the last prune began an hour ago, in seconds of the database's clock, or never."""
    return pruned_ago is None or pruned_ago >= PRUNE_EVERY


def take_turn(alias: str) -> bool:
    """Whether this worker is the one that prunes now: of several that see it due, one begins."""
    set_back = Q(pruned_at__gt=DatabaseNow(SET_BACK_SECONDS))
    due = Q(pruned_at__isnull=True) | Q(pruned_at__lte=DatabaseNow(-PRUNE_EVERY)) | set_back
    turn = _destination(alias).filter(due)
    return retried(outbox_alias(), lambda: turn.update(pruned_at=DatabaseNow())) > 0


def began(alias: str) -> None:
    """A scheduled prune begins: workers that run beside it need not prune for an hour."""
    retried(outbox_alias(), lambda: _destination(alias).update(pruned_at=DatabaseNow()))


def _destination(alias: str) -> QuerySet[Destination]:
    return Destination.objects.using(outbox_alias()).filter(alias=alias)


def _forget_rollups(batch_size: int, clock: _Clock) -> None:
    """The dashboard's numbers of long ago, of every destination; no event is among them."""
    for _batch in clock.until_over(iter(lambda: [counters.prune(batch_size)], [0])):
        continue


class _Clock:
    """Ends a walk between two batches when the time is over."""

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
    """The age in seconds; a setting shorter than the window is lengthened, a person's wish refused."""
    seconds = days * DAY
    if asked and seconds < settings.idempotency_window:
        raise ValueError(
            f"older_than_days: {days:g} is less than the IDEMPOTENCY_WINDOW of {settings.alias!r}; the keys "
            f"of such events are still needed. Give {settings.idempotency_window / DAY:g} or more."
        )
    return max(seconds, settings.idempotency_window)


def _old(settings: Rules, seconds: float, batch_size: int, *, with_body: bool = False) -> Iterator[list[int]]:
    """Ids of old finished events, oldest first; each batch begins behind the last.

    Rows are walked in the order of the index, and the walk ends at the first page that is all younger:
    a nightly prune does not look at a month of rows to remove a day of them.
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
    """Within a transaction; attempts and acts go with their event, a resent event forgets its origin."""
    first_write(outbox_alias())
    _total, numbers = _finished(ids).only("id").delete()
    return numbers.get(OutboxEvent._meta.label, 0)


def _blank(ids: Sequence[int]) -> int:
    """Within a transaction; what was answered may repeat what was sent. Ids, codes, times and hashes stay."""
    first_write(outbox_alias())
    attempts = DeliveryAttempt.objects.using(outbox_alias()).filter(event__in=ids)
    attempts.update(response_excerpt="", error="")
    return _finished(ids).update(body="", last_error="")


def _finished(ids: Sequence[int]) -> OutboxQuerySet:
    return still_in(OutboxEvent.objects.on_outbox(), ids, *FINISHED)

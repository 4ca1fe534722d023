"""Followers: events that wait for an earlier event of their ordering key (G8)."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Exists, OuterRef, Q, Subquery

from genesys_eventbridge.db import locked, still_in, unlocked
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, blocking
from genesys_eventbridge.states import NEEDS_OPERATOR, State

#: A held follower becomes due after this many seconds at the latest. Normally ``release`` makes it due
#: earlier.
HELD_SECONDS = 86400.0
#: At most this many followers are released per call of ``release_missed``.
MISSED = 1000
#: How often ``release`` looks for what is behind if that has left its key while ``release`` waited for it;
#: then ``release_missed`` finds it.
LOOKS = 5


def with_dead_behind(rows: OutboxQuerySet) -> OutboxQuerySet:
    """These events, and the later dead ones of their ordering keys."""
    earlier = rows.filter(
        ordering_key=OuterRef("ordering_key"), destination=OuterRef("destination"), id__lt=OuterRef("id")
    ).exclude(ordering_key="")
    behind = Q(Exists(earlier.order_by()), state=State.DEAD)
    return OutboxEvent.objects.on_outbox().filter(behind | Q(pk__in=rows.order_by().values("pk")))


class Locked(Exception):
    """Another transaction has locked a follower to be released; try again later."""


def hold(ids: Collection[int]) -> int:
    """Within a transaction: hold due rows that wait for an earlier row of their key; returns how many.

    The earlier row is locked meanwhile, so that a worker that settles it releases the followers before or
    after this, never in between. Rows locked by other transactions are left for the next look.
    """
    rows = OutboxEvent.objects.on_outbox()
    due = still_in(rows, ids, State.PENDING).filter(due_at__lte=NOW)
    keys: dict[str, list[int]] = {}
    for pk, key in due.order_by("id").values_list("id", "ordering_key"):
        keys.setdefault(key, []).append(pk)
    # What blocks the first row of a key blocks the others, too.
    firsts = still_in(rows, [waiting[0] for waiting in keys.values()], State.PENDING)
    blocker = Subquery(OutboxEvent.objects.blockers().values("id")[:1])
    found = dict(firsts.annotate(blocker=blocker).values_list("ordering_key", "blocker"))
    blockers = still_in(rows, set(found.values()) - {None}, State.PENDING, *NEEDS_OPERATOR)
    kept = set(unlocked(blockers.order_by("id")).values_list("id", flat=True))
    held = [pk for key, waiting in keys.items() if found.get(key) in kept for pk in waiting]
    free = list(unlocked(due.filter(id__in=held).order_by("id")).values_list("id", flat=True))
    # Clears a lapsed claim, too: otherwise the row would be found again and again.
    return still_in(rows, free, State.PENDING).update(
        due_at=DatabaseNow(HELD_SECONDS), key_held=True, claim_token=None
    )


def release(ids: Collection[int], *, wait: bool = False) -> None:
    """Within a transaction: make the first pending row behind each of these due, if they have left their key.

    That row is locked, held or not: if another transaction takes it off the key now, neither of the two sees
    that the other leaves, and the rows behind both would stay held. If it is locked elsewhere, wait for it
    (``wait``) or raise Locked.
    """
    if not ids:
        return
    rows = OutboxEvent.objects.on_outbox()
    behind = (
        rows.filter(
            ordering_key=OuterRef("ordering_key"),
            destination=OuterRef("destination"),
            state=State.PENDING,
            id__gt=OuterRef("id"),
        )
        .exclude(ordering_key="")  # for the index, which leaves these out
        .order_by("id")
    )
    ahead = rows.filter(id__in=ids).exclude(ordering_key="").exclude(blocking())
    next_ids = ahead.annotate(following=Subquery(behind.values("id")[:1])).values_list("following", flat=True)
    for _look in range(LOOKS if wait else 1):
        try:
            _release(rows, {pk for pk in next_ids.all() if pk is not None}, wait=wait)
        except Locked:
            if not wait:
                raise
        else:
            return


def release_missed(destination: str) -> int:
    """Within a transaction: release held followers that nothing blocks any more; returns how many.

    Needed after BLOCK_KEY_ON_DEAD or rows were changed by hand. Raises Locked.
    """
    rows = OutboxEvent.objects.on_outbox()
    held = rows.filter(state=State.PENDING, destination=destination, due_at__gt=NOW, key_held=True)
    missed = held.exclude(Exists(OutboxEvent.objects.blockers()))
    return _release(rows, list(missed.order_by("id").values_list("id", flat=True)[:MISSED]))


def _release(rows: OutboxQuerySet, ids: Collection[int], *, wait: bool = False) -> int:
    """Raises Locked if one of them is locked elsewhere, or was and is no longer pending."""
    if not ids:
        return 0
    # ``moved``: rescheduled by a worker of the previous release, which does not set key_held.
    not_asked_for = Q(not_before__isnull=True) | Q(not_before__lte=NOW)
    moved = Q(not_asked_for, attempts=0, key_held__isnull=True)
    waits = Q(Q(key_held=True) | moved, claim_token__isnull=True, due_at__gt=NOW)
    still = still_in(rows, ids, State.PENDING).order_by("id")
    found = dict((locked if wait else unlocked)(still).annotate(waits=waits).values_list("id", "waits"))
    if len(found) < len(ids):
        raise Locked
    wanted = [pk for pk, waits in found.items() if waits]
    return still_in(rows, wanted, State.PENDING).update(due_at=NOW, key_held=None) if wanted else 0

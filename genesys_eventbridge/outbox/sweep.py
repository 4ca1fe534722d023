"""Rare repairs: end events that a pause hides, release missed followers, correct times in the future."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Q

from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import first_write, in_small_transaction, retried, still_in, unlocked
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.outbox import expiry, followers
from genesys_eventbridge.outbox.due import SHARE
from genesys_eventbridge.outbox.followers import HELD_SECONDS, MISSED, Locked
from genesys_eventbridge.states import OPEN, State

#: Seconds between two sweeps of one destination by one process, up to MOST if a sweep takes long.
EVERY = 60.0
MOST = 600.0
#: Rows corrected per sweep; the next one continues.
BATCH = 1000

_again_at: dict[str, float] = {}


def sweep(settings: DestinationSettings, *, clock: Callable[[], float] = time.monotonic) -> Counter[str]:
    """Sweep, unless this process did so recently. Returns the number of ended events by state."""
    began = clock()
    if began < _again_at.get(settings.alias, began):
        return Counter()
    _again_at[settings.alias] = began + EVERY
    _release_missed(settings)
    pull_in(settings)
    ended = expiry.end_used_up(settings)
    now = clock()
    _again_at[settings.alias] = now + min(max(EVERY, (now - began) / SHARE), MOST)
    return ended


def forget() -> None:
    """Start over, as a new process would; for tests."""
    _again_at.clear()


def _release_missed(settings: DestinationSettings) -> None:
    def work() -> int:
        first_write(outbox_alias())
        return followers.release_missed(settings.alias)

    try:
        while in_small_transaction(outbox_alias(), work) == MISSED:
            continue
    except Locked:
        return  # the next sweep will find them


def pull_in(settings: DestinationSettings) -> int:
    """Correct times of open events that were written while the database's clock was ahead.

    Such times are in the future, or further ahead than the longest possible wait. A delay that the caller
    asked for is kept. Returns how many events were corrected.
    """
    found = retried(outbox_alias(), lambda: list(_from_the_future(settings).values(*_TIMES, "now")[:BATCH]))
    corrections = {row["id"]: changes for row in found if (changes := _corrected(row, settings))}

    def work() -> int:
        first_write(outbox_alias())
        rows = still_in(OutboxEvent.objects.on_outbox(), corrections, *OPEN)
        free = list(unlocked(rows).values_list("id", "due_at"))
        seen = {row["id"]: row["due_at"] for row in found}
        return sum(rows.filter(id=pk).update(**corrections[pk]) for pk, due_at in free if due_at == seen[pk])

    return in_small_transaction(outbox_alias(), work) if corrections else 0


_TIMES = (
    "id",
    "state",
    "claim_token",
    "key_held",
    "attempts",
    "halts",
    "due_at",
    "created_at",
    "not_before",
    "in_doubt_since",
    "accepted_at",
    "key_known_since",
)


def _from_the_future(settings: DestinationSettings) -> OutboxQuerySet:
    """Rows that may need a correction, and few others."""
    ahead = DatabaseNow(SET_BACK_SECONDS)
    claimed = Q(claim_token__isnull=False, due_at__gt=_ahead(settings.lease_seconds))
    held = Q(key_held=True, due_at__gt=_ahead(HELD_SECONDS))
    asked_for = Q(attempts=0, not_before__isnull=False)
    waiting = Q(claim_token__isnull=True, key_held__isnull=True) & ~asked_for
    waits = Q()
    for state in OPEN:
        waits |= waiting & Q(state=state, due_at__gt=_ahead(_longest_wait(settings, state)))
    late = Q(created_at__gt=ahead) | Q(accepted_at__gt=ahead) | Q(key_known_since__gt=ahead)
    rows = OutboxEvent.objects.on_outbox().filter(destination=settings.alias, state__in=OPEN)
    return rows.filter(
        (Q(due_at__gt=ahead) & (late | claimed | held | waits)) | Q(in_doubt_since__gt=ahead)
    ).annotate(now=NOW)


def _corrected(row: Mapping[str, Any], settings: DestinationSettings) -> dict[str, Any]:
    """The columns to correct, with values relative to the database's clock."""

    def ahead(moment: dt.datetime | None, by: float = 0.0) -> bool:
        return moment is not None and (moment - row["now"]).total_seconds() > by + SET_BACK_SECONDS

    changes: dict[str, Any] = {
        name: NOW for name in ("in_doubt_since", "accepted_at", "key_known_since") if ahead(row[name])
    }
    untried = row["state"] == State.PENDING and not row["attempts"] and row["claim_token"] is None
    if ahead(row["created_at"]):
        asked = (row["not_before"] - row["created_at"]).total_seconds() if row["not_before"] else 0.0
        changes["created_at"] = NOW
        if row["not_before"]:
            changes["not_before"] = DatabaseNow(max(0.0, asked))
        if untried and not row["key_held"]:
            return {**changes, "due_at": DatabaseNow(max(0.0, asked))}
    if row["claim_token"] is not None:
        longest = settings.lease_seconds
    elif row["key_held"]:
        longest = HELD_SECONDS
    elif untried and row["not_before"]:
        return changes
    else:
        longest = _longest_wait(settings, row["state"])
    if ahead(row["due_at"], longest):
        changes["due_at"] = DatabaseNow(longest if row["claim_token"] else 0.0)
    return changes


def _longest_wait(settings: DestinationSettings, state: str) -> float:
    """The longest wait that the settings allow, in seconds, including jitter."""
    steps = settings.check_delays if state == State.ACCEPTED else (settings.backoff_cap,)
    return 1.1 * max(*steps, settings.platform.rules.retry_after_cap, settings.lease_seconds)


def _ahead(seconds: float) -> DatabaseNow:
    return DatabaseNow(seconds + SET_BACK_SECONDS)

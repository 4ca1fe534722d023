"""One operator action on many rows: read under a lock, choose row by row, write by guarded UPDATEs."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import F, TextChoices
from django.utils.translation import gettext_lazy

from genesys_eventbridge import conf, counters, wake
from genesys_eventbridge.db import first_write, in_small_transaction, still_in
from genesys_eventbridge.db.clock import LONGEST_WAIT, DatabaseNow
from genesys_eventbridge.models import OutboxEvent, is_claimed, outbox_alias
from genesys_eventbridge.operations.audit import Actor, record
from genesys_eventbridge.outbox.followers import release
from genesys_eventbridge.outbox.settle import SIGNALS
from genesys_eventbridge.states import FINISHED, OPEN, Act, State

logger = logging.getLogger("genesys_eventbridge")

#: Rows per transaction, so that a bulk action never holds many locks.
CHUNK = 500
#: Minimum number of steps of a spread, if there are enough rows.
STEPS = 100


class Skip(TextChoices):
    """Why an action leaves an event as it is; the label follows "skipped:"."""

    BEING_SENT = "being_sent", gettext_lazy("being sent right now")
    BEING_CHECKED = "being_checked", gettext_lazy("being checked right now")
    PENDING = "pending", gettext_lazy("already waiting to be sent")
    ACCEPTED = "accepted", gettext_lazy("already accepted by the platform")
    DELIVERED = "delivered", gettext_lazy("already delivered")
    DEAD = "dead", gettext_lazy("dead: requeue it")
    UNRESOLVED = "unresolved", gettext_lazy("unresolved: resolve it")
    CANCELLED = "cancelled", gettext_lazy("already cancelled")
    ALREADY_DUE = "already_due", gettext_lazy("already due")
    NEVER_TRIED = "never_tried", gettext_lazy("never tried: it is scheduled for later")
    NO_ID = "no_id", gettext_lazy("the platform returned no id to check")
    NO_STATUS = "no_status", gettext_lazy("the protocol of its destination has no delivery status")
    MAY_DUPLICATE = "may_duplicate", gettext_lazy("may duplicate: it may have been delivered already")
    NOT_CONFIGURED = (
        "not_configured",
        gettext_lazy("its destination is no longer in GENESYS_EVENTBRIDGE: move it, or cancel it"),
    )
    IN_USE = "in_use", gettext_lazy("its destination is in use")
    SERVED = "served", gettext_lazy("a worker served its destination within the last 3 minutes")
    ELSEWHERE = "elsewhere", gettext_lazy("it may have reached the organisation of its destination")
    NOT_DELIVERED = "not_delivered", gettext_lazy("only a delivered event can be resent as new")
    BLANKED = (
        "blanked",
        gettext_lazy("its body was blanked (PAYLOAD_RETENTION_DAYS): there is nothing to send"),
    )
    CHANGED = "changed", gettext_lazy("it changed just now")
    NO_SUCH_EVENT = "no_such_event", gettext_lazy("no such event")


@dataclass(frozen=True, slots=True)
class Done:
    """The result of an action: the ``ids`` it changed, and those it ``skipped``, by the reason.

    ``may_duplicate`` are those of ``ids`` that got a new key: the platform could accept them twice.
    """

    ids: list[int] = field(default_factory=list)
    skipped: dict[Skip, list[int]] = field(default_factory=dict)
    may_duplicate: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One event as the action found it, by the database clock."""

    id: int
    destination: str
    type: str
    event_id: str
    state: State
    reason: str
    attempts: int
    remote_id: str
    claim_token: UUID | None
    due_at: dt.datetime | None
    accepted_at: dt.datetime | None
    in_doubt_since: dt.datetime | None
    key_known_since: dt.datetime | None
    doubt_about: UUID | None
    now: dt.datetime

    @property
    def in_flight(self) -> bool:
        return is_claimed(self.claim_token, self.due_at, self.now)


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """The new state of rows, and what else is written; rows with the same action share one UPDATE."""

    to: State
    reason: str = ""
    #: Further columns, in this order: MySQL and MariaDB read the new values of columns further left.
    changes: Mapping[str, Any] = field(default_factory=dict)
    #: The age that MAX_AGE limits starts again at zero.
    fresh: bool = False
    may_duplicate: bool = False
    #: The due time stays unchanged.
    keeps_due: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator does and why; ``choose`` returns an Action for a row, or why it is skipped."""

    actor: Actor
    act: Act
    reason: str
    choose: Callable[[Row], Action | Skip]


def perform(operation: Operation, ids: Iterable[int], *, spread: float = 0.0, dry_run: bool = False) -> Done:
    """Do it to each event that ``choose`` has an Action for; each chunk is one transaction with its audit.

    ``spread`` distributes the due times over that many seconds. A dry run writes and locks nothing.
    Raises ValueError for a spread that is negative or more than 10 years.
    """
    if not 0 <= spread <= LONGEST_WAIT:
        raise ValueError("spread: must be seconds from 0 to 10 years.")
    wanted = sorted(set(ids))
    done = Done()
    for start, chunk in _chunks(wanted, spread):
        if dry_run:
            plan = _plan(_read(chunk, lock=False), operation)
        else:
            plan = _write(operation, chunk, spread * start / len(wanted))
        _add(done, chunk, plan)
    return done


_Plan = list[tuple[Row, Action | Skip]]


def _chunks(ids: Sequence[int], spread: float) -> Iterator[tuple[int, Sequence[int]]]:
    """Slices with their start; a spread makes smaller ones, since the rows of a slice share a due time."""
    size = min(CHUNK, max(1, len(ids) // STEPS)) if spread else CHUNK
    for start in range(0, len(ids), size):
        yield start, ids[start : start + size]


def _read(ids: Sequence[int], *, lock: bool) -> list[Row]:
    rows = OutboxEvent.objects.on_outbox().filter(id__in=ids).order_by("id")
    if lock and connections[outbox_alias()].features.has_select_for_update:
        rows = rows.select_for_update()
    names = [name for name in Row.__dataclass_fields__ if name != "now"]
    found = rows.annotate(now=DatabaseNow()).values(*names, "now")
    return [Row(**{**values, "state": State(values["state"])}) for values in found]


def _plan(rows: Iterable[Row], operation: Operation) -> _Plan:
    return [(row, operation.choose(row)) for row in rows]


class _Short(Exception):
    """Fewer rows were written than read: another process changed one in between."""


def _write(operation: Operation, ids: Sequence[int], due_in: float) -> _Plan:
    """One transaction for all; if one row changed meanwhile, one for each, so that it blocks no other."""
    alias = outbox_alias()
    try:
        return in_small_transaction(alias, partial(_act, operation, ids, due_in))
    except _Short:
        return [step for pk in ids for step in _write_one(alias, operation, pk, due_in)]


def _write_one(alias: str, operation: Operation, pk: int, due_in: float) -> _Plan:
    try:
        return in_small_transaction(alias, partial(_act, operation, [pk], due_in))
    except _Short:
        return [(row, Skip.CHANGED) for row in _read([pk], lock=False)]


def _act(operation: Operation, ids: Sequence[int], due_in: float) -> _Plan:
    """Within a transaction: lock, choose, write and audit. Raises _Short if a guard did not hold."""
    alias = outbox_alias()
    first_write(alias)
    plan = _plan(_read(ids, lock=True), operation)
    won = [(row, chosen) for row, chosen in plan if isinstance(chosen, Action)]
    groups: dict[tuple[Action, State], list[int]] = defaultdict(list)
    for row, chosen in won:
        groups[chosen, row.state].append(row.id)
    for (chosen, state), members in groups.items():
        if _update(members, state, chosen, due_in) != len(members):
            raise _Short
    if won:
        moved = {row.id: (row.state, chosen.to, f"{row.type} {row.event_id}") for row, chosen in won}
        record(alias, operation.actor, operation.act, operation.reason, moved)
        release([row.id for row, chosen in won if chosen.to is not State.PENDING], wait=True)
        transaction.on_commit(
            partial(_committed, operation.actor, operation.act, won), using=alias, robust=True
        )
    return plan


def _update(ids: Sequence[int], state: State, chosen: Action, due_in: float) -> int:
    due = DatabaseNow(due_in)
    changes: dict[str, Any] = {
        **chosen.changes,
        "state": chosen.to,
        "reason": chosen.reason,
        "claim_token": None,
        "due_at": (F("due_at") if chosen.keeps_due else due) if chosen.to in OPEN else None,
        "finished_at": DatabaseNow() if chosen.to in FINISHED else None,
    }
    if chosen.fresh:
        changes["not_before"] = due
    guarded = still_in(OutboxEvent.objects.on_outbox(), ids, state).not_in_flight()
    return guarded.update(**changes)


def _committed(actor: Actor, act: Act, won: list[tuple[Row, Action]]) -> None:
    """Log lines, signals and a hint to the workers; none of them can change what was done."""
    for row, chosen in won:
        logger.info(
            "Event %d of %s is %s, was %s: %s by %s",
            row.id,
            row.destination,
            chosen.to.value,
            row.state.value,
            act.value,
            actor.username,
            extra={
                "event": row.id,
                "event_id": row.event_id,
                "type": row.type,
                "destination": row.destination,
                "state": chosen.to.value,
                "act": act.value,
                "via": actor.via,
            },
        )
    for state in (State.DELIVERED, State.DEAD):
        ended = [row.id for row, chosen in won if chosen.to is state and row.state is not state]
        if ended and SIGNALS[state].has_listeners(OutboxEvent):
            for event in OutboxEvent.objects.on_outbox().filter(id__in=ended):
                SIGNALS[state].send_robust(sender=OutboxEvent, event=event)
    _roll_up(won)
    touched = {chosen.changes.get("destination", row.destination) for row, chosen in won}
    for destination in sorted(touched & set(conf.aliases())):
        wake.wake(destination)


def _roll_up(won: list[tuple[Row, Action]]) -> None:
    """Count what operators brought to an end in the dashboard's numbers, too."""
    ended: dict[str, Counter[str]] = defaultdict(Counter)
    for row, chosen in won:
        if chosen.to in counters.ENDS and row.state is not chosen.to:
            ended[row.destination][chosen.to.value] += 1
    for destination, numbers in sorted(ended.items()):
        counters.add(destination, numbers)


def _add(done: Done, ids: Sequence[int], plan: _Plan) -> None:
    for row, chosen in plan:
        if isinstance(chosen, Skip):
            done.skipped.setdefault(chosen, []).append(row.id)
        else:
            done.ids.append(row.id)
            if chosen.may_duplicate:
                done.may_duplicate.append(row.id)
    missing = set(ids) - {row.id for row, _chosen in plan}
    if missing:
        done.skipped.setdefault(Skip.NO_SUCH_EVENT, []).extend(sorted(missing))

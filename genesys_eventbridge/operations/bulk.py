"""State changes by an operator: read rows under a lock, choose row by row, write by guarded UPDATEs."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from django.db import connections
from django.db.models import F

from genesys_eventbridge import conf, counters, wake
from genesys_eventbridge.db import still_in
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.db.transactions import after_commit
from genesys_eventbridge.models import Job, OutboxEvent, OutboxQuerySet, blocking, is_claimed, outbox_alias
from genesys_eventbridge.operations.audit import Acted, Actor, record
from genesys_eventbridge.operations.results import Result, Skip
from genesys_eventbridge.outbox.followers import release
from genesys_eventbridge.outbox.settle import SIGNALS
from genesys_eventbridge.states import FINISHED, OPEN, Act, State

logger = logging.getLogger("genesys_eventbridge")
T = TypeVar("T")


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
    halts: int
    last_error: str
    key_held: bool | None
    remote_id: str
    claim_token: UUID | None
    due_at: dt.datetime | None
    accepted_at: dt.datetime | None
    in_doubt_since: dt.datetime | None
    key_known_since: dt.datetime | None
    doubt_about: UUID | None
    blocks_key: bool
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


#: Returns what to do with a row, or why it is left as it is.
Choose = Callable[[Row], Action | Skip]


class Changed(Exception):
    """Fewer rows were written than read: another process changed one in between."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events of a job, to be acted on within one transaction."""

    job: Job
    actor: Actor
    ids: Sequence[int]
    #: Seconds from now until what becomes due is due.
    due_in: float = 0.0

    @property
    def alone(self) -> bool:
        return len(self.ids) == 1

    @property
    def act(self) -> Act:
        return Act(self.job.act)


def change(choose: Choose, batch: Batch) -> list[Result]:
    """Lock, choose, write and audit. Raises Changed if a guard did not hold for one of several events."""
    plan = decide(locked(named(batch.ids)), choose)
    won = [(row, chosen) for row, chosen in plan if isinstance(chosen, Action)]
    if not write(won, batch):
        return _results(batch.ids, [(row, Skip.CHANGED) for row, _chosen in plan])
    if won:
        record(
            batch.job,
            batch.actor,
            [Acted(row.id, row.event_id, row.type, row.state, chosen.to) for row, chosen in won],
        )
    return _results(batch.ids, plan)


def foresee(choose: Choose, rows: OutboxQuerySet) -> list[Result]:
    """What ``change`` would do with these rows now; writes and locks nothing."""
    plan = decide(rows, choose)
    return _results([row.id for row, _chosen in plan], plan)


def write(won: Sequence[tuple[Row, Action]], batch: Batch) -> bool:
    """Within a transaction: write the new states, release followers, and announce it after the commit.

    Returns False if the only event of the batch has changed; raises Changed if one of several has.
    """
    groups: dict[tuple[Action, State], list[int]] = defaultdict(list)
    for row, chosen in won:
        groups[chosen, row.state].append(row.id)
    for (chosen, state), members in groups.items():
        if _update(members, state, chosen, batch.due_in) != len(members):
            if not batch.alone:
                raise Changed
            return False
    leaving = [row.id for row, chosen in won if row.blocks_key and chosen.to is not State.PENDING]
    release(leaving, wait=True)
    after_commit(outbox_alias(), _committed, batch.actor, batch.act, won)
    return True


def decide(rows: OutboxQuerySet, choose: Callable[[Row], T]) -> list[tuple[Row, T]]:
    """Each of ``rows``, with what ``choose`` says about it."""
    found = [Row(**{**values, "state": State(values["state"])}) for values in _read(rows)]
    return [(row, choose(row)) for row in found]


def named(ids: Sequence[int]) -> OutboxQuerySet:
    """The events with these ids, in order of id."""
    return OutboxEvent.objects.on_outbox().filter(id__in=ids).order_by("id")


def locked(rows: Any) -> Any:
    """Within a transaction: ``rows``, locked until it ends, unless the database locks as a whole (SQLite)."""
    return rows.select_for_update() if connections[outbox_alias()].features.has_select_for_update else rows


def _read(rows: OutboxQuerySet) -> Any:
    return rows.annotate(blocks_key=blocking(), now=DatabaseNow()).values(*Row.__dataclass_fields__)


def _results(ids: Sequence[int], plan: Sequence[tuple[Row, Action | Skip]]) -> list[Result]:
    results = [
        Result(row.id, chosen, row.destination, row.type)
        if isinstance(chosen, Skip)
        else Result(row.id, None, row.destination, row.type, chosen.may_duplicate)
        for row, chosen in plan
    ]
    missing = set(ids) - {row.id for row, _chosen in plan}
    return [*results, *(Result(pk, Skip.NO_SUCH_EVENT) for pk in sorted(missing))]


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


def _committed(actor: Actor, act: Act, won: Sequence[tuple[Row, Action]]) -> None:
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


def _roll_up(won: Sequence[tuple[Row, Action]]) -> None:
    """Count what operators brought to an end in the dashboard's numbers, too."""
    ended: dict[str, Counter[str]] = defaultdict(Counter)
    for row, chosen in won:
        if chosen.to in counters.ENDS and row.state is not chosen.to:
            ended[row.destination][chosen.to.value] += 1
    for destination, numbers in sorted(ended.items()):
        counters.add(destination, numbers)

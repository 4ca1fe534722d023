"""Settle: write many outcomes and their attempts in one guarded UPDATE and one commit, then log and signal.

A row whose claim was lost is not changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

from django.db import Error, IntegrityError, connections
from django.db.models.functions import Coalesce
from django.dispatch import Signal

from genesys_eventbridge import signals
from genesys_eventbridge.db import PASSING, in_small_transaction, json_rows, json_table, retried, unlocked
from genesys_eventbridge.db.clock import NOW, now_sql
from genesys_eventbridge.db.compiled import Given, OneOf, compiled, places_for
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent, outbox_alias
from genesys_eventbridge.outbox.followers import Locked, release
from genesys_eventbridge.states import FINISHED, NEEDS_OPERATOR, OPEN, State
from genesys_eventbridge.text.failures import failure_id

logger = logging.getLogger("genesys_eventbridge")

SIGNALS: dict[State, Signal] = {
    State.PENDING: signals.event_retried,
    State.ACCEPTED: signals.event_accepted,
    State.DELIVERED: signals.event_delivered,
    State.DEAD: signals.event_dead,
    State.UNRESOLVED: signals.event_unresolved,
}
LEVELS = {State.DEAD: logging.ERROR, State.UNRESOLVED: logging.ERROR, State.PENDING: logging.WARNING}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and its answer: the columns of ``DeliveryAttempt`` without a model instance."""

    event_id: int
    kind: str
    started_at: dt.datetime
    #: Seconds.
    duration: float
    verdict: str
    status_code: int | None = None
    error: str = ""
    correlation_id: str = ""
    #: Seconds the platform asked us to wait.
    retry_after: float | None = None
    response_excerpt: str = field(default="", repr=False)
    may_duplicate: bool | None = None
    worker: str = ""


@dataclass(slots=True)
class Transition:
    """The new values of one row, written only if the claim's token is still valid."""

    id: int
    destination: str
    event_id: str
    type: str
    token: uuid.UUID
    from_state: State
    state: State
    attempts: int
    checks: int
    halts: int
    doubt: dt.datetime | None
    remote_id: str
    status_code: int | None
    error: str
    correlation_id: str
    ordering_key: str
    reason: str = ""
    #: When it first halted.
    suspected_since: dt.datetime | None = None
    #: Seconds from now to the next step; used only in an open state.
    due_in: float = 0.0
    #: The outcome of this attempt is unknown: keep the time of doubt that the claim set.
    keep_doubt: bool = False
    accepted: bool = False
    #: The answer was about another event.
    conflict: bool = False
    #: The attempt to log; None if no request was made or a check brought nothing new.
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Ids of the rows that were written, and of those to retry because another transaction locked them."""

    won: set[int] = field(default_factory=set)
    locked: set[int] = field(default_factory=set)


def settle(rows: Sequence[Transition], *, until: float | None = None) -> Settled:
    """Write the transitions whose claim is still valid.

    All are written in one commit, except rows locked by another transaction. If that fails, or one claim was
    lost, they are written one by one, so that one bad row never stops the others. ``until``, a value of
    ``steady.monotonic()``, limits how long a lost database is waited for. Does not raise for the database.
    """
    if not rows:
        return Settled()
    alias = outbox_alias()
    try:
        return in_small_transaction(alias, lambda: _write_unlocked(alias, rows), until=until)
    except (_Short, Locked, Error):
        settled = [_settle_alone(alias, row, until) for row in rows]
        won, locked = (set[int]().union(*each) for each in zip(*settled, strict=True))
        return Settled(won, locked)


def take_late_answer(row: Transition, *, until: float | None = None) -> bool:
    """Mark an unresolved row as accepted, because a late answer brings its remote id. Needs no token.

    This worker was frozen, and the row became unresolved meanwhile. With the remote id its status can be
    checked; if the answer itself means ``delivered``, the row is. Returns whether the row was changed; raises
    Locked if another transaction has locked it. ``until`` is as for ``settle``.
    """
    if not row.remote_id:
        return False
    delivered = row.state is State.DELIVERED
    state = State.DELIVERED if delivered else State.ACCEPTED
    unresolved = OutboxEvent.objects.on_outbox().filter(
        id=row.id, state=State.UNRESOLVED, remote_id="", claim_token__isnull=True
    )

    def work() -> int:
        if len(unlocked(unresolved).values_list("id")) < len(unresolved.values_list("id")):
            raise Locked
        taken = unresolved.update(
            state=state,
            reason="",
            remote_id=row.remote_id,
            remote_key=remote_key(row.destination, row.remote_id),
            accepted_at=Coalesce("accepted_at", NOW),
            # Before the column it reads, because MySQL assigns from left to right. Keeps an earlier
            # acceptance.
            key_known_since=Coalesce("key_known_since", "in_doubt_since"),
            in_doubt_since=None,
            due_at=None if delivered else NOW,
            finished_at=NOW if delivered else None,
        )
        if taken:
            release([row.id])
        return taken

    try:
        taken = in_small_transaction(outbox_alias(), work, until=until)
    except IntegrityError:
        logger.error("A late answer has the remote id of another event; event %d stays unresolved", row.id)
        return False
    if taken:
        logger.warning("Event %d was unresolved and is %s now: a late answer arrived", row.id, state.value)
    return bool(taken)


@lru_cache(maxsize=1024)  # asked for twice per event
def remote_key(destination: str, remote_id: str) -> uuid.UUID | None:
    """The value of the unique column: within a destination a remote id belongs to one event.

    Half of a SHA-256 as a valid version 5 UUID: MariaDB refuses other bits in a column of that type.
    """
    if not remote_id:
        return None
    digest = hashlib.sha256(f"{destination}\0{remote_id}".encode()).digest()
    return uuid.UUID(bytes=digest[:16], version=5)


def owners(
    destination: str, remote_ids: Collection[str], *, until: float | None = None
) -> dict[str, set[int]]:
    """Remote id -> ids of the rows whose acceptance it proved. One query.

    Looks in remote_id for rows written by the previous release, and in remote_key for rows that an operator
    has sent again since. ``until`` is as for ``settle``.
    """
    alias = outbox_alias()
    return retried(alias, partial(_owners, alias, destination, remote_ids), until=until)


def _owners(alias: str, destination: str, remote_ids: Collection[str]) -> dict[str, set[int]]:
    named = {remote_key(destination, remote_id): remote_id for remote_id in remote_ids}
    found: dict[str, set[int]] = {}
    rows = _proven(alias, destination, places_for(named)).rows(
        least=min(remote_ids), most=max(remote_ids), ids=[*named.values()], keys=[*named]
    )
    for remote_id, key, pk in rows:
        found.setdefault(named.get(key, remote_id), set()).add(pk)
    return found


@compiled
def _proven(alias: str, destination: str, places: int) -> Any:
    """The rows with one of the given remote ids or keys."""
    remote_id, remote_key = map(OutboxEvent._meta.get_field, ("remote_id", "remote_key"))
    rows: Any = OutboxEvent.objects.using(alias).values_list("remote_id", "remote_key", "id")
    by_id = rows.filter(
        OneOf("remote_id", "ids", places, remote_id),
        destination=destination,
        # The range makes PostgreSQL use the index even before the table has statistics.
        remote_id__range=(Given("least", remote_id), Given("most", remote_id)),
    )
    # A union instead of OR: each part uses its index on every database.
    return by_id.union(rows.filter(OneOf("remote_key", "keys", places, remote_key)))


def announce(destination: str, rows: Sequence[Transition]) -> None:
    """Log the rows that moved and send their signals. A check without news does neither."""
    moved = [row for row in rows if row.from_state is not row.state or row.state is State.PENDING]
    for row in moved:
        _log(destination, row)
    heard = [row for row in moved if SIGNALS[row.state].has_listeners(OutboxEvent)]
    if not heard:
        return
    events = OutboxEvent.objects.on_outbox().in_bulk([row.id for row in heard])
    for row in heard:
        if row.id in events:
            SIGNALS[row.state].send_robust(sender=OutboxEvent, event=events[row.id])


def _log(destination: str, row: Transition) -> None:
    level = logging.ERROR if row.conflict else LEVELS.get(row.state, logging.INFO)
    if not logger.isEnabledFor(level):
        return
    attempt = row.attempt
    logger.log(
        level,
        "Event %d of %s is %s%s: %s",
        row.id,
        destination,
        row.state.value,
        f" ({row.reason})" if row.reason else "",
        row.error or f"status {row.status_code}",
        extra={
            "event": row.id,
            "event_id": row.event_id,
            "type": row.type,
            "destination": destination,
            "state": row.state.value,
            "reason": str(row.reason),
            "attempt": row.attempts,
            "verdict": attempt.verdict if attempt else "",
            "status_code": row.status_code,
            "correlation_id": row.correlation_id,
            "duration": attempt.duration if attempt else None,
        },
    )


class _Short(Exception):
    """Fewer rows were written than requested: at least one claim was lost."""


def _settle_alone(alias: str, row: Transition, until: float | None) -> tuple[set[int], set[int]]:
    """The ids that were written, and those that are locked: one in all, or none if it was lost."""
    try:
        settled = in_small_transaction(alias, lambda: _write_unlocked(alias, [row]), until=until)
    except _Short:
        logger.warning("Claim lost: the current owner of event %s will record its outcome", row.id)
    except Locked:
        return set(), {row.id}
    except Error as error:
        report(
            error,
            "Cannot write the outcome of event %s (%s); its lease will expire",
            row.id,
            type(error).__name__,
            expected=PASSING,
        )
    else:
        return settled.won, settled.locked
    return set(), set()


def _write_unlocked(alias: str, rows: Sequence[Transition]) -> Settled:
    """Within a transaction: write all rows except those that another transaction has locked."""
    free, locked = list(rows), set[int]()
    if connections[alias].features.has_select_for_update_skip_locked:
        ids = [row.id for row in rows]
        kept = {pk for (pk,) in _unlocked_ids(alias, places_for(ids)).rows(ids=ids)}
        if len(kept) < len(rows):
            there = OutboxEvent.objects.using(alias).filter(id__in=ids)
            locked = set(there.exclude(id__in=kept).values_list("id", flat=True))
            free = [row for row in rows if row.id not in locked]
    if free:
        _write_all(alias, free)
    return Settled({row.id for row in free}, locked)


@compiled
def _unlocked_ids(alias: str, places: int) -> Any:
    rows = OutboxEvent.objects.using(alias).filter(OneOf("id", "ids", places, OutboxEvent._meta.pk))
    return unlocked(rows.order_by("id")).values_list("id")


def _write_all(alias: str, rows: Sequence[Transition]) -> None:
    if _update(alias, rows) != len(rows):
        raise _Short
    write_log(alias, [row.attempt for row in rows if row.attempt is not None])
    release([row.id for row in rows if row.ordering_key and _ends_the_wait(row)])


_COLUMNS = {
    "id": "bigint",
    "token": "uuid",
    "from_state": "text",
    "state": "text",
    "reason": "text",
    "due_in": "float8",
    "attempts": "int",
    "checks": "int",
    "halts": "int",
    "suspected_since": "timestamptz",
    "keep_doubt": "int",
    "doubt": "timestamptz",
    "remote_id": "text",
    "remote_key": "uuid",
    "status_code": "int",
    "error": "text",
    "failure": "text",
    "failed": "int",
    "correlation_id": "text",
    "accepted": "int",
    "finished": "int",
}


def _update(alias: str, rows: Sequence[Transition]) -> int:
    """Write all rows; returns how many were written. The statement depends on the database, for speed.

    PostgreSQL joins a table of values: 35 times faster than Django's bulk_update, 5 times faster than
    executemany. SQLite and MariaDB use executemany. No name in the SQL comes from outside.
    """
    connection = connections[alias]
    values = [_values(row) for row in rows]
    for name, column in (
        ("token", "claim_token"),
        ("doubt", "in_doubt_since"),
        ("suspected_since", "suspected_since"),
        ("remote_key", "remote_key"),
    ):
        prepared: Any = OutboxEvent._meta.get_field(column)
        for row in values:
            row[name] = prepared.get_db_prep_value(row[name], connection)
    table = connection.ops.quote_name(OutboxEvent._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = {name: f"v.{name}" for name in _COLUMNS}
            cursor.execute(
                f"UPDATE {table} AS t SET {_assignments(connection, columns, 't.')} "  # noqa: S608
                f"FROM {json_table(_COLUMNS)} "
                "WHERE t.id = v.id AND t.claim_token = v.token AND t.state = v.from_state",
                [json_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in values])],
            )
        else:
            columns = {name: f"%({name})s" for name in _COLUMNS}
            cursor.executemany(
                f"UPDATE {table} SET {_assignments(connection, columns, '')} "  # noqa: S608
                "WHERE id = %(id)s AND claim_token = %(token)s AND state = %(from_state)s",
                values,
            )
        return int(cursor.rowcount)


def _assignments(connection: Any, v: dict[str, str], t: str) -> str:
    """The SET clause; ``v`` maps names to SQL of the new values, ``t`` is the prefix of the current columns.

    MySQL and MariaDB assign from left to right, so an assignment that reads another column must precede it.
    """
    now = now_sql(connection, "0")
    return (
        f"state = {v['state']}, reason = {v['reason']}, "
        f"due_at = CASE WHEN {v['due_in']} >= 0 THEN {now_sql(connection, v['due_in'])} ELSE NULL END, "
        f"claim_token = NULL, attempts = {v['attempts']}, checks = {v['checks']}, halts = {v['halts']}, "
        f"suspected_since = {v['suspected_since']}, "
        f"key_known_since = CASE WHEN {v['accepted']} = 1 AND {t}key_known_since IS NULL "
        f"THEN {t}in_doubt_since ELSE {t}key_known_since END, "
        f"in_doubt_since = CASE WHEN {v['keep_doubt']} = 1 THEN {t}in_doubt_since ELSE {v['doubt']} END, "
        f"remote_id = {v['remote_id']}, "
        f"remote_key = CASE WHEN {v['accepted']} = 1 THEN {v['remote_key']} ELSE {t}remote_key END, "
        f"last_status_code = {v['status_code']}, last_error = {v['error']}, "
        f"failure = {v['failure']}, "
        f"failed_at = CASE WHEN {v['failed']} = 1 THEN {now} WHEN {v['failed']} = 0 THEN NULL "
        f"ELSE {t}failed_at END, "
        f"correlation_id = {v['correlation_id']}, "
        f"accepted_at = CASE WHEN {v['accepted']} = 1 AND {t}accepted_at IS NULL THEN {now} "
        f"ELSE {t}accepted_at END, "
        f"finished_at = CASE WHEN {v['finished']} = 1 THEN {now} ELSE NULL END"
    )


def _values(row: Transition) -> dict[str, Any]:
    is_open = row.state in OPEN
    return {
        "id": row.id,
        "token": row.token,
        "from_state": str(row.from_state),
        "state": str(row.state),
        "reason": str(row.reason),
        "due_in": max(0.0, row.due_in) if is_open else -1.0,
        "attempts": row.attempts,
        "checks": row.checks,
        "halts": row.halts,
        "suspected_since": row.suspected_since,
        "keep_doubt": int(row.keep_doubt),
        "doubt": row.doubt,
        "remote_id": row.remote_id,
        "remote_key": remote_key(row.destination, row.remote_id),
        "status_code": row.status_code,
        "error": row.error,
        "failure": failure_id(row.status_code, row.error),
        "failed": _failed(row),
        "correlation_id": row.correlation_id,
        "accepted": int(row.accepted),
        "finished": int(row.state in FINISHED),
    }


def _failed(row: Transition) -> int:
    """1: it failed now; 0: it did not; -1: nothing new, its last failure stands."""
    if row.state in NEEDS_OPERATOR:
        return 1
    if not row.error:
        return 0
    return 1 if row.attempt is not None else -1


def _ends_the_wait(row: Transition) -> bool:
    """Whether its ordering key no longer waits for an attempt; what was accepted left the key before."""
    return row.from_state is State.PENDING and row.state is not State.PENDING


_ATTEMPT_COLUMNS = {
    "event_id": "bigint",
    "kind": "text",
    "duration": "float8",
    "verdict": "text",
    "status_code": "int",
    "error": "text",
    "correlation_id": "text",
    "retry_after": "float8",
    "response_excerpt": "text",
    "may_duplicate": "boolean",
    "worker": "text",
    "started_at": "timestamptz",
    "number": "int",
}
#: The columns whose values need no conversion for any database.
_plain = attrgetter(*[name for name in _ATTEMPT_COLUMNS if name not in {"started_at", "number"}])


def write_log(alias: str, attempts: Sequence[Attempt]) -> None:
    """Number the attempts, each of a different event, and insert them.

    Without the ORM, which compiles each value: with it this took a third of a worker's own time per event.
    """
    if not attempts:
        return
    connection = connections[alias]
    log = connection.ops.quote_name(DeliveryAttempt._meta.db_table)
    ids = [attempt.event_id for attempt in attempts]
    started_at: Any = DeliveryAttempt._meta.get_field("started_at")
    names = ", ".join(_ATTEMPT_COLUMNS)
    into = f"INSERT INTO {log} ({names})"
    with connection.cursor() as cursor:
        cursor.execute(
            # The range makes PostgreSQL use the index even before the table has statistics.
            f"SELECT event_id, MAX(number) FROM {log} WHERE event_id IN ({', '.join(['%s'] * len(ids))}) "  # noqa: S608
            "AND event_id BETWEEN %s AND %s GROUP BY event_id",
            [*ids, min(ids), max(ids)],
        )
        last: dict[int, int] = dict(cursor.fetchall())
        rows = [
            (
                *_plain(attempt),
                started_at.get_db_prep_save(attempt.started_at, connection),
                last.get(attempt.event_id, 0) + 1,
            )
            for attempt in attempts
        ]
        if connection.vendor == "postgresql":
            table = json_table(_ATTEMPT_COLUMNS)
            cursor.execute(f"{into} SELECT {names} FROM {table}", [json_rows(_ATTEMPT_COLUMNS, rows)])  # noqa: S608
        else:
            cursor.executemany(f"{into} VALUES ({', '.join(['%s'] * len(_ATTEMPT_COLUMNS))})", rows)

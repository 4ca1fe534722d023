"""The settle: many outcomes in one guarded statement and one commit; a lost claim changes nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import Error, IntegrityError, connections
from django.db.models.functions import Coalesce

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import PASSING, in_small_transaction, json_rows, json_table, retried, unlocked
from genesys_eventbridge.db.clock import DatabaseNow, now_sql
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.outbox.attempts import Attempt, write_log
from genesys_eventbridge.outbox.followers import Locked, release
from genesys_eventbridge.states import FINISHED, NEEDS_OPERATOR, OPEN, State

logger = logging.getLogger("genesys_eventbridge")


@dataclass(slots=True)
class Transition:
    """What one row becomes, if the token still holds it."""

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
    #: Its first halt.
    suspected_since: dt.datetime | None = None
    #: Seconds from now to the next step; used where the state is open.
    due_in: float = 0.0
    #: The outcome of this very try is unknown: the doubt that the claim noted stays.
    keep_doubt: bool = False
    accepted: bool = False
    #: The answer was about another event.
    conflict: bool = False
    #: The request and its answer, for the log; None where no request was made or nothing new was said.
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Ids of the rows that were written, and of those that another transaction holds: to be tried again."""

    won: set[int] = field(default_factory=set)
    locked: set[int] = field(default_factory=set)


def settle(
    settings: DestinationSettings, rows: Sequence[Transition], *, until: float | None = None
) -> Settled:
    """Write what the rows become, where their token still holds.

    All go in one commit, but for those that another transaction has locked. Where one of them fails, or one
    claim is lost, they go one by one, so that one bad row never stops the others. ``until`` bounds the wait
    for a lost database, by ``time.monotonic()``.
    """
    if not rows:
        return Settled()
    alias = outbox_alias()
    try:
        return in_small_transaction(alias, lambda: _write_unlocked(alias, settings, rows), until=until)
    except (_Short, Locked, Error):
        settled = [_settle_alone(alias, settings, row, until) for row in rows]
        won, locked = (set[int]().union(*each) for each in zip(*settled, strict=True))
        return Settled(won, locked)


def take_late_answer(row: Transition, *, until: float | None = None) -> bool:
    """The one write without a token: proof of acceptance for a row that was given up as unresolved.

    The worker was frozen, others ended the doubt without an answer, and now the platform's id is known:
    ask by it. Returns whether the row took it; raises Locked where another
    transaction holds it. ``until`` is as for ``settle``.
    """
    if not row.remote_id:
        return False
    unresolved = OutboxEvent.objects.on_outbox().filter(
        id=row.id, state=State.UNRESOLVED, remote_id="", claim_token__isnull=True
    )

    def work() -> int:
        if len(unlocked(unresolved).values_list("id")) < len(unresolved.values_list("id")):
            raise Locked
        taken = unresolved.update(
            state=State.ACCEPTED,
            reason="",
            remote_id=row.remote_id,
            remote_key=remote_key(row.destination, row.remote_id),
            accepted_at=Coalesce("accepted_at", DatabaseNow()),
            # To the left of what it reads, because of MySQL. It may be known from an earlier acceptance.
            key_known_since=Coalesce("key_known_since", "in_doubt_since"),
            in_doubt_since=None,
            due_at=DatabaseNow(),
        )
        if taken:
            release([row.id])
        return taken

    try:
        taken = in_small_transaction(outbox_alias(), work, until=until)
    except IntegrityError:
        logger.error("A late answer names the remote id of another event; event %d stays unresolved", row.id)
        return False
    if taken:
        logger.warning("Event %d was unresolved; a late answer says it is accepted", row.id)
    return bool(taken)


def remote_key(destination: str, remote_id: str) -> uuid.UUID | None:
    """What of ``remote_id`` is unique: one id of the platform proves one event of the destination.

    Half of a SHA-256, in the form of a UUID: MariaDB refuses other bits in a column of that type.
    """
    if not remote_id:
        return None
    digest = hashlib.sha256(f"{destination}\0{remote_id}".encode()).digest()
    return uuid.UUID(bytes=digest[:16], version=5)


def owners(
    destination: str, remote_ids: Collection[str], *, until: float | None = None
) -> dict[str, set[int]]:
    """The rows that these ids of the platform have proven, by remote id. One query.

    By id rows of the release before are found, by key those that an operator sent again since. ``until`` is
    as for ``settle``.
    """
    return retried(outbox_alias(), partial(_owners, destination, remote_ids), until=until)


def _owners(destination: str, remote_ids: Collection[str]) -> dict[str, set[int]]:
    named = {remote_key(destination, remote_id): remote_id for remote_id in remote_ids}
    found: dict[str, set[int]] = {}
    rows = OutboxEvent.objects.on_outbox().values_list("remote_id", "remote_key", "id")
    # With the range PostgreSQL takes the index also while the table has no statistics yet.
    between = (min(remote_ids), max(remote_ids))
    by_id = rows.filter(destination=destination, remote_id__in=remote_ids, remote_id__range=between)
    # A union and no OR: each part has its index on every database.
    for remote_id, key, pk in by_id.union(rows.filter(remote_key__in=named)):
        found.setdefault(named.get(key, remote_id), set()).add(pk)
    return found


class _Short(Exception):
    """Fewer rows were written than asked for: at least one claim is lost."""


def _settle_alone(
    alias: str, settings: DestinationSettings, row: Transition, until: float | None
) -> tuple[set[int], set[int]]:
    """Its id among those won, or among those locked."""
    try:
        settled = in_small_transaction(alias, lambda: _write_unlocked(alias, settings, [row]), until=until)
    except _Short:
        logger.warning("Claim lost: the outcome of event %s is left to who holds it now", row.id)
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


def _write_unlocked(alias: str, settings: DestinationSettings, rows: Sequence[Transition]) -> Settled:
    """Within a transaction: all rows but those that another transaction holds."""
    free, locked = list(rows), set[int]()
    if connections[alias].features.has_select_for_update_skip_locked:
        ids = [row.id for row in rows]
        there = OutboxEvent.objects.on_outbox().filter(id__in=ids).order_by("id")
        kept = set(unlocked(there).values_list("id", flat=True))
        if len(kept) < len(rows):
            locked = set(there.exclude(id__in=kept).values_list("id", flat=True))
            free = [row for row in rows if row.id not in locked]
    if free:
        _write_all(alias, settings, free)
    return Settled({row.id for row in free}, locked)


def _write_all(alias: str, settings: DestinationSettings, rows: Sequence[Transition]) -> None:
    if _update(alias, rows) != len(rows):
        raise _Short
    write_log(alias, [row.attempt for row in rows if row.attempt is not None])
    release([row.id for row in rows if row.ordering_key and _leaves(settings, row)])


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
    "correlation_id": "text",
    "accepted": "int",
    "finished": "int",
}


def _update(alias: str, rows: Sequence[Transition]) -> int:
    """One UPDATE for all rows; the statement differs by database because of its price.

    PostgreSQL joins a table (35 times cheaper than Django's bulk_update, 5 times than executemany there);
    SQLite and MariaDB run the same guarded UPDATE for each row in one call. Every name in them is ours.
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
    """The SET clause, where ``v`` gives each value and ``t`` begins a column of the row as it is.

    MySQL and MariaDB read columns that stand to the left as new: who reads another column comes before it.
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
        "correlation_id": row.correlation_id,
        "accepted": int(row.accepted),
        "finished": int(row.state in FINISHED),
    }


def _leaves(settings: DestinationSettings, row: Transition) -> bool:
    """Whether it holds its key no longer."""
    waits = row.state in NEEDS_OPERATOR and settings.block_key_on_dead and not row.accepted
    return row.state is not State.PENDING and not waits

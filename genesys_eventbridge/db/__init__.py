"""Small transactions that survive a deadlock or a lost connection, and many rows in one statement."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, QuerySet

from genesys_eventbridge.db.transactions import is_conflict

logger = logging.getLogger("genesys_eventbridge")
T = TypeVar("T")
Rows = TypeVar("Rows", bound=QuerySet[Any])

#: Trouble of the database that passes: a lost connection, a deadlock, a lock that was waited for in vain.
PASSING = (OperationalError, InterfaceError)
#: Tries of one small transaction before its error is let through; of one that only lost against others.
TRIES = 5
TRIES_OF_CONFLICTS = 12


def in_small_transaction(alias: str, work: Callable[[], T], *, until: float | None = None) -> T:
    """Run ``work`` in one transaction; on a passing database error roll back and run the whole again.

    With isolation set at the server each statement may lose against another transaction, so every write of a
    worker goes through here. ``until`` is a ``time.monotonic()`` value: while it lies ahead, a lost database
    is waited for. Inside a transaction of the caller (a test's) it runs once. Raises the last database error.
    """

    def run() -> T:
        with transaction.atomic(using=alias):
            return work()

    return _repeated(alias, run, until)


def retried(alias: str, work: Callable[[], T], *, until: float | None = None) -> T:
    """``work`` is one statement, or only reads: run again as a small transaction is, but without one."""
    return _repeated(alias, work, until)


def _repeated(alias: str, run: Callable[[], T], until: float | None) -> T:
    connection = connections[alias]
    if connection.in_atomic_block:
        return run()
    tries = 0
    while True:
        tries += 1
        try:
            return run()
        except PASSING as error:
            most = TRIES_OF_CONFLICTS if is_conflict(error) else TRIES
            late = until is not None and time.monotonic() >= until
            if late or (tries >= most and until is None):
                raise
            logger.warning("Database error, trying again: %s", type(error).__name__)
            connection.close_if_unusable_or_obsolete()
            pause(min(1.0, 0.02 * 2**tries) * (0.5 + random.random()))  # noqa: S311 - jitter, no secret


def drop_connection(alias: str) -> None:
    """Close a connection that an error came from; the next statement opens another.

    After a failover it may be alive and refuse every write, and be kept for ever (CONN_MAX_AGE None). Within
    a transaction it is left to whoever opened that.
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        return
    with suppress(Error):  # a driver may refuse to close what is broken; Django has forgotten it all the same
        if connection.connection is not None and has_pool(alias):
            connection.connection.close()  # or the pool would hand it out again
        connection.close()


def release_connection(alias: str) -> None:
    """Give a connection back to its pool, for a wait; without a pool it is kept."""
    connection = connections[alias]
    if has_pool(alias) and not connection.in_atomic_block:
        connection.close()


def has_pool(alias: str) -> bool:
    """Whether the connections of this database come from a pool (Django's ``OPTIONS`` on PostgreSQL)."""
    return bool(connections[alias].settings_dict["OPTIONS"].get("pool"))


#: Pools and connections that a parent process had opened. Kept: to close one would end its session.
_of_the_parent: list[Any] = []


def leave_pools_to_parent() -> None:
    """In a forked process: open new pools. Those of the parent talk over sockets that both have.

    django-q2 forks its workers after it has used the database. With the same pool two processes read each
    other's answers, and both wait for ever.
    """
    backend = sys.modules.get("django.db.backends.postgresql.base")
    pools = getattr(getattr(backend, "DatabaseWrapper", None), "_connection_pools", None)
    if not pools:
        return
    for connection in connections.all(initialized_only=True):
        if has_pool(connection.alias) and not connection.in_atomic_block:
            _of_the_parent.append(connection.connection)
            connection.connection = None
    _of_the_parent.append(dict(pools))
    pools.clear()


def install() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=leave_pools_to_parent)


def first_write(alias: str) -> None:
    """On SQLite begin the transaction with a write, so that it waits for its turn instead of failing.

    A transaction that reads first and then writes fails there at once, whatever the busy timeout.
    """
    connection = connections[alias]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("UPDATE genesys_eventbridge_destination SET alias = alias WHERE 1 = 0")


def unlocked(rows: Rows) -> Rows:
    """Within a transaction: those of ``rows`` that no other transaction holds, locked now.

    A worker must not wait for a lock that business code may hold for as long as its transaction takes. All of
    ``rows`` where the database cannot skip locks: SQLite has none, and MySQL and MariaDB before 8.0 and 10.6.
    """
    features = connections[rows.db].features
    if not features.has_select_for_update_skip_locked:
        return rows
    # A key-share lock, as of an insert that refers to the row, is no obstacle to the UPDATE that follows.
    return rows.select_for_update(skip_locked=True, no_key=features.has_select_for_no_key_update)


def json_table(columns: Mapping[str, str]) -> str:
    """PostgreSQL only: SQL that reads the parameter ``json_rows(columns, ...)`` as a table of these types.

    An array for each column is the other way; psycopg then escapes each quotation mark of each text in
    Python, which takes twice as long for rows with bodies, and more than the database itself.
    """
    return (
        f"json_to_recordset(%s::json) AS v({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
    )


def json_rows(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as one parameter; UUIDs and datetimes go as their text."""
    return _encode([dict(zip(columns, row, strict=True)) for row in rows])


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - between two tries of a small transaction


class _NoIndex(Func):
    """A text column as it is, which the database then looks up in no index."""

    template = "CONCAT(%(expressions)s, '')"
    arity = 1

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


def still_in(rows: Rows, ids: Collection[int], *states: str) -> Rows:
    """Those of ``rows`` with these ids that are in one of these states, found by their ids.

    Without statistics, or with old ones, a database takes ``state = ?`` for few rows and would walk all of
    that state instead, on PostgreSQL also what an old snapshot keeps of it: with a million pending, a claim
    of 100 took 0.27 s on SQLite.
    """
    return rows.alias(state_now=_NoIndex("state")).filter(id__in=ids, state_now__in=states)

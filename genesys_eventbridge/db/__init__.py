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
from django.db.models import CharField, DateTimeField, F, Func, Lookup, Q, QuerySet, TextField, Value

from genesys_eventbridge import steady
from genesys_eventbridge.db.transactions import is_conflict

logger = logging.getLogger("genesys_eventbridge")
T = TypeVar("T")
Rows = TypeVar("Rows", bound=QuerySet[Any])

#: Temporary database errors: a lost connection, a deadlock, a lock timeout.
PASSING = (OperationalError, InterfaceError)
#: Attempts for a small transaction before its error is raised; for one that only lost to another.
TRIES = 5
TRIES_OF_CONFLICTS = 12


def in_small_transaction(alias: str, work: Callable[[], T], *, until: float | None = None) -> T:
    """Run ``work`` in one transaction. After a temporary database error, roll back and run all of it again.

    Depending on the server's isolation level any statement may lose to another transaction, so all writes of
    a worker use this. ``until`` is a ``steady.monotonic()`` value: until then, wait for a lost database.
    Inside a transaction of the caller (a test's) it runs once. Raises the last database error.
    """

    def run() -> T:
        with transaction.atomic(using=alias):
            return work()

    return retried(alias, run, until=until)


def retried(alias: str, work: Callable[[], T], *, until: float | None = None) -> T:
    """Like ``in_small_transaction`` but without a transaction, for a single statement or only reads."""
    connection = connections[alias]
    if connection.in_atomic_block:
        return work()
    tries = 0
    while True:
        tries += 1
        try:
            return work()
        except PASSING as error:
            most = TRIES_OF_CONFLICTS if is_conflict(error) else TRIES
            late = until is not None and steady.monotonic() >= until
            if late or (tries >= most and until is None):
                raise
            logger.warning("Database error, trying again: %s", type(error).__name__)
            connection.close_if_unusable_or_obsolete()
            pause(min(1.0, 0.02 * 2**tries) * (0.5 + random.random()))  # noqa: S311 - jitter, no secret


def drop_connection(alias: str) -> None:
    """Close a connection after an error; the next statement opens another.

    After a failover it may be alive but refuse every write, and be kept forever (CONN_MAX_AGE None). Inside
    a transaction it is left to the code that opened the transaction.
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        return
    with suppress(Error):  # a driver may refuse to close a broken connection; Django has dropped it anyway
        if connection.connection is not None and has_pool(alias):
            connection.connection.close()  # or the pool would hand it out again
        connection.close()


def renew_connection(alias: str) -> None:
    """Before a pass: close a connection that is broken or older than CONN_MAX_AGE.

    CONN_MAX_AGE 0, Django's default, means one connection per request. A pass is no request: a worker makes
    several a second, and would spend more time on connecting than on its statements.
    """
    connection = connections[alias]
    if not connection.in_atomic_block and (
        connection.errors_occurred or connection.settings_dict["CONN_MAX_AGE"] != 0
    ):
        connection.close_if_unusable_or_obsolete()


def release_connection(alias: str) -> None:
    """Return a connection to its pool while waiting; without a pool it is kept."""
    connection = connections[alias]
    if has_pool(alias) and not connection.in_atomic_block:
        connection.close()


def has_pool(alias: str) -> bool:
    """Whether this database's connections come from a pool (Django's ``OPTIONS`` on PostgreSQL)."""
    return bool(connections[alias].settings_dict["OPTIONS"].get("pool"))


#: Pools and connections opened by a parent process. Kept, because closing one would end its session.
_of_the_parent: list[Any] = []


def leave_pools_to_parent() -> None:
    """In a forked process, open new pools: the parent's sockets are shared.

    django-q2 forks its workers after it has used the database. With a shared pool two processes read each
    other's responses, and both wait forever.
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
    """On SQLite, begin the transaction with a write so that it waits for its turn instead of failing.

    A transaction that reads first and then writes fails there at once, whatever the busy timeout.
    """
    connection = connections[alias]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("UPDATE genesys_eventbridge_destination SET alias = alias WHERE 1 = 0")


def unlocked(rows: Rows) -> Rows:
    """The ``rows`` that no other transaction has locked, locked now. Use it inside a transaction.

    A worker must not wait for a lock that business code may hold for its whole transaction. Returns all
    ``rows`` if the database cannot skip locks: SQLite, MySQL before 8.0 and MariaDB before 10.6.
    """
    features = connections[rows.db].features
    if not features.has_select_for_update_skip_locked:
        return rows
    # A key-share lock, as of an insert that refers to the row, does not block the UPDATE that follows.
    return rows.select_for_update(skip_locked=True, no_key=features.has_select_for_no_key_update)


def locked(rows: Rows) -> Rows:
    """The ``rows``, locked when no other transaction locks them any more. Use it inside a transaction."""
    return rows.select_for_update(no_key=connections[rows.db].features.has_select_for_no_key_update)


def json_table(columns: Mapping[str, str]) -> str:
    """PostgreSQL only: SQL that reads the parameter ``json_rows(columns, ...)`` as a table of these types.

    ``columns`` maps column names to SQL types. The alternative is an array per column, for which psycopg
    escapes each quotation mark in Python: twice as slow for rows with bodies, and slower than the database.
    """
    return (
        f"json_to_recordset(%s::json) AS v({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
    )


def json_rows(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> str:
    """``rows``, in the order of ``columns``, as one JSON parameter; UUIDs and datetimes become text."""
    return _encode([dict(zip(columns, row, strict=True)) for row in rows])


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - between two tries of a small transaction


class AnyOf(Lookup):
    """Condition: the column has one of these ids, as one parameter: databases limit their number.

    A lookup, like all of our conditions: behind a function in WHERE, Django 6.1 writes ``= True`` on SQLite
    and MySQL, which then use no index.
    """

    def __init__(self, column: str, ids: Collection[int]) -> None:
        super().__init__(F(column), Value(json.dumps([*ids]), output_field=TextField()))

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        numbers = "SELECT CAST(JSON_ARRAY_ELEMENTS_TEXT(CAST(%s AS json)) AS bigint)"
        return self._as_sql(compiler, numbers)

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self._as_sql(compiler, "SELECT value FROM JSON_EACH(%s)")

    def as_mysql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self._as_sql(
            compiler, "SELECT number FROM JSON_TABLE(%s, '$[*]' COLUMNS(number BIGINT PATH '$')) AS numbers"
        )

    def _as_sql(self, compiler: Any, numbers: str) -> tuple[str, list[Any]]:
        column, ids = self.get_source_expressions()
        left, parameters = compiler.compile(column)
        text, values = compiler.compile(ids)
        return f"{left} IN ({numbers.replace('%s', text)})", [*parameters, *values]


class NoIndex(Func):
    """A column as an expression for which the database uses no index."""

    arity = 1

    def as_sql(  # type: ignore[override]  # the stubs name every keyword
        self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        return super().as_sql(compiler, connection, **{"template": self._template(), **context})

    def _template(self) -> str:
        """A time is left as it is: no server prefers its index to a range of ids."""
        field = self.get_source_expressions()[0].output_field
        if isinstance(field, CharField):
            return "CONCAT(%(expressions)s, '')"
        return "%(expressions)s" if isinstance(field, DateTimeField) else "(%(expressions)s + 0)"

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


def still_in(rows: Rows, ids: Collection[int] | Lookup, *states: str) -> Rows:
    """The ``rows`` with these ids, or of this condition, that are in one of these states, looked up by id.

    Without current statistics, a database assumes that ``state = ?`` matches few rows and would walk all
    rows of that state, on PostgreSQL even dead ones kept by an old snapshot: with a million pending, a claim
    of 100 took 0.27 s on SQLite.
    """
    which = ids if isinstance(ids, Lookup) else Q(id__in=ids)
    return rows.alias(state_now=NoIndex("state")).filter(which, state_now__in=states)

"""Small transactions that survive a deadlock or a lost connection, and many rows in one statement."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, QuerySet

logger = logging.getLogger("genesys_eventbridge")
T = TypeVar("T")
Rows = TypeVar("Rows", bound=QuerySet[Any])

#: Tries of one small transaction before its error is let through.
TRIES = 5


def in_small_transaction(alias: str, work: Callable[[], T], *, until: float | None = None) -> T:
    """Run ``work`` in one transaction; on a passing database error roll back and run the whole again.

    ``until`` is a ``time.monotonic()`` value: while it lies ahead, a lost database is waited for.
    Inside a transaction of the caller (a test's) it runs once. Raises the last database error.
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        with transaction.atomic(using=alias):
            return work()
    tries = 0
    while True:
        tries += 1
        try:
            with transaction.atomic(using=alias):
                return work()
        except (OperationalError, InterfaceError) as error:
            late = until is not None and time.monotonic() >= until
            if late or (tries >= TRIES and until is None):
                raise
            logger.warning("Database error, trying again: %s", type(error).__name__)
            connection.close_if_unusable_or_obsolete()
            pause(min(1.0, 0.02 * 2**tries) * (0.5 + random.random()))  # noqa: S311 - jitter, no secret


def first_write(alias: str) -> None:
    """On SQLite begin the transaction with a write, so that it waits for its turn instead of failing.

    A transaction that reads first and then writes fails there at once, whatever the busy timeout.
    """
    connection = connections[alias]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("UPDATE genesys_eventbridge_destination SET alias = alias WHERE 1 = 0")


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
    time.sleep(seconds)


class _NoIndex(Func):
    """A column as it is, which SQLite then looks up in no index."""

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


def still_in(rows: Rows, ids: Collection[int], *states: str) -> Rows:
    """Those of ``rows`` with these ids that are in one of these states, found by their ids.

    Without statistics SQLite takes ``state = ?`` for ten rows and would walk all of that state instead: with
    a million pending, a claim of 100 took 0.27 s.
    """
    return rows.alias(state_now=_NoIndex("state")).filter(id__in=ids, state_now__in=states)

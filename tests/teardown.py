"""Makes the end of each test that commits cheap.

Django empties all tables and creates all content types and permissions anew, in about 40 ms. Here only the
tables with rows are emptied, and content types and permissions stay unless a test changed them. On PostgreSQL
rows are deleted, as on the other databases: truncating replaces files. Django then connects again, which
costs PostgreSQL 20 ms: a new session knows none of the tables. Here sessions that work are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import DatabaseError, connections
from django.test import TransactionTestCase

#: What a flush by Django creates again.
KEPT = (ContentType, Permission)

Counts = tuple[int, ...]


def install() -> None:
    """Patch Django in this process."""
    _delete_instead_of_truncate()
    _empty_only_what_has_rows()
    _keep_sessions()


def _empty_only_what_has_rows() -> None:
    flush: Callable[[TransactionTestCase], None] = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]
    after_flush: dict[str, Counts] = {}

    def teardown(self: TransactionTestCase) -> None:
        aliases = self._databases_names(include_mirrors=False)  # type: ignore[attr-defined]
        if self.serialized_rollback or not all(_emptied(alias, after_flush.get(alias)) for alias in aliases):
            flush(self)
            after_flush.update((alias, _look(alias, ())[1]) for alias in aliases)

    TransactionTestCase._fixture_teardown = teardown  # type: ignore[attr-defined]


def _keep_sessions() -> None:
    def close_the_broken(_self: TransactionTestCase) -> bool:
        for connection in connections.all(initialized_only=True):
            if connection.errors_occurred and not connection.is_usable():
                connection.close()
            connection.errors_occurred = False
        return False

    TransactionTestCase._should_reload_connections = close_the_broken  # type: ignore[attr-defined]


def _emptied(alias: str, after_flush: Counts | None) -> bool:
    """Whether the database is now as after the last flush by Django."""
    kept = {model._meta.db_table for model in KEPT}
    connection = connections[alias]
    tables = [
        table
        for table in connection.introspection.django_table_names(include_views=False)
        if table not in kept
    ]
    try:
        filled, counts = _look(alias, tables)
    except DatabaseError:  # a table is missing
        return False
    if counts != after_flush:
        return False
    if filled:
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), filled))
    return True


def _look(alias: str, tables: Sequence[str]) -> tuple[list[str], Counts]:
    """Those of the tables that have rows; the number of rows and the highest id of each table in KEPT."""
    quote = connections[alias].ops.quote_name
    parts = [f"EXISTS (SELECT 1 FROM {quote(table)})" for table in tables]
    for model in KEPT:
        table = quote(model._meta.db_table)
        parts += [f"(SELECT COUNT(*) FROM {table})", f"(SELECT MAX(id) FROM {table})"]
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}")
        found = cursor.fetchone()
    filled = [table for table, has_rows in zip(tables, found, strict=False) if has_rows]
    return filled, tuple(found[len(tables) :])


def _delete_instead_of_truncate() -> None:
    """On PostgreSQL. It still truncates to reset sequences or to cascade.

    Django's foreign keys are deferred, so the rows may be deleted in any order within a flush's transaction.
    """
    try:
        from django.db.backends.postgresql.operations import DatabaseOperations
    except ImportError:  # no driver
        return
    truncate = DatabaseOperations.sql_flush

    def sql_flush(
        self: DatabaseOperations,
        style: Any,
        tables: Sequence[str],
        *,
        reset_sequences: bool = False,
        allow_cascade: bool = False,
    ) -> list[str]:
        if reset_sequences or allow_cascade:
            return truncate(self, style, tables, reset_sequences=reset_sequences, allow_cascade=allow_cascade)
        return [f"DELETE FROM {self.quote_name(table)};" for table in tables]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign, assignment]

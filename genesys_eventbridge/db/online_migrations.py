"""Migrations that run beside the traffic: they wait for a lock only briefly, and can be run again.

A statement that changes a table waits until every transaction that has touched the table ends, and all later
statements queue behind it: with a report open, every save of the site would stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

#: Seconds that a migration waits for a lock, and so the longest time that it holds up a save.
LONGEST_LOCK_WAIT = 2

#: PostgreSQL's lock_not_available, MySQL's ER_LOCK_WAIT_TIMEOUT.
_NOT_AVAILABLE = frozenset({"55P03", 1205})


class OnlineMigration(migrations.Migration):
    """A migration whose statements wait LONGEST_LOCK_WAIT for a lock, or less where the session says less."""

    def apply(
        self, project_state: ProjectState, schema_editor: BaseDatabaseSchemaEditor, collect_sql: bool = False
    ) -> ProjectState:
        with short_waits(schema_editor):
            state = super().apply(project_state, schema_editor, collect_sql)
            _finish(schema_editor)
            return state

    def unapply(
        self, project_state: ProjectState, schema_editor: BaseDatabaseSchemaEditor, collect_sql: bool = False
    ) -> ProjectState:
        with short_waits(schema_editor):
            state = super().unapply(project_state, schema_editor, collect_sql)
            _finish(schema_editor)
            return state


class AddField(migrations.AddField):
    """Skips a column that is there: MySQL and MariaDB keep what a migration did before it failed."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        connection = schema_editor.connection
        if connection.vendor == "mysql" and self._is_there(connection, app_label, to_state):
            return
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def _is_there(self, connection: BaseDatabaseWrapper, app_label: str, to_state: ProjectState) -> bool:
        model = to_state.apps.get_model(app_label, self.model_name)
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, model._meta.db_table)
        return model._meta.get_field(self.name).column in {column.name for column in columns}


@contextmanager
def short_waits(schema_editor: BaseDatabaseSchemaEditor) -> Iterator[None]:
    """Raises CommandError where a lock could not be had in time."""
    connection = schema_editor.connection
    if schema_editor.collect_sql:  # sqlmigrate
        if connection.vendor == "postgresql" and schema_editor.atomic_migration:
            schema_editor.execute(f"SET LOCAL lock_timeout = '{LONGEST_LOCK_WAIT}s'")
        yield
        return
    before = _lower(connection)
    try:
        yield
    except OperationalError as error:
        if not connection.in_atomic_block:
            _restore(connection, before)
        if _code(error) not in _NOT_AVAILABLE:
            raise
        raise CommandError(_advice(connection)) from error
    _restore(connection, before)


def _finish(schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Foreign keys, which Django leaves to the end, wait for locks of other tables."""
    while schema_editor.deferred_sql and not schema_editor.collect_sql:
        schema_editor.execute(schema_editor.deferred_sql.pop(0), None)


def _lower(connection: BaseDatabaseWrapper) -> str | None:
    """Shorten the session's limit; returns the one before, or None where nothing was changed."""
    if connection.vendor not in _LIMITS:
        return None
    ask, _say, unit = _LIMITS[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(ask)
        before = float(cursor.fetchone()[0])
    wanted = LONGEST_LOCK_WAIT * unit
    if 0 < before <= wanted:
        return None
    _say_limit(connection, wanted)
    return str(int(before))


def _restore(connection: BaseDatabaseWrapper, before: str | None) -> None:
    if before is not None:
        _say_limit(connection, before)


def _say_limit(connection: BaseDatabaseWrapper, value: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"{_LIMITS[connection.vendor][1]} = {int(value)}")


#: How to ask, how to say, and how many of its units are a second. PostgreSQL's 0 is no limit.
_LIMITS = {
    "postgresql": (
        "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'lock_timeout'",
        "SET lock_timeout",
        1000,
    ),
    "mysql": ("SELECT @@SESSION.lock_wait_timeout", "SET lock_wait_timeout", 1),
}


def _code(error: OperationalError) -> object:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or next(iter(error.args), None)


def _advice(connection: BaseDatabaseWrapper) -> str:
    find = {
        "postgresql": "SELECT pid, state, xact_start, query FROM pg_stat_activity "
        "WHERE xact_start IS NOT NULL ORDER BY xact_start",
        "mysql": "SELECT trx_mysql_thread_id, trx_started, trx_query FROM information_schema.innodb_trx "
        "ORDER BY trx_started",
    }[connection.vendor]
    return (
        f"Another transaction uses a table of genesys_eventbridge: a report, a dump or an idle session, for "
        f"instance. migrate gave up after {LONGEST_LOCK_WAIT} s, so that no save waits behind it. Let that "
        f"transaction end, and run migrate again. To find it: {find};"
    )

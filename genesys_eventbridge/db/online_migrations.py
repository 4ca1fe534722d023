"""Migrations for use under traffic: they wait for locks only briefly and can be run again.

A statement that changes a table waits until all transactions that touched the table end, and all later
statements queue behind it: with a report open, every save of the site would block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from genesys_eventbridge.db.indexes import SparseIndex

#: Seconds that a migration waits for a lock, which is also the longest time it can block a save.
LONGEST_LOCK_WAIT = 2

#: PostgreSQL's lock_not_available, MySQL's ER_LOCK_WAIT_TIMEOUT.
_NOT_AVAILABLE = frozenset({"55P03", 1205})


class OnlineMigration(migrations.Migration):
    """A migration whose statements wait at most LONGEST_LOCK_WAIT, or the session's limit, for a lock."""

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
    """Skips an existing column: MySQL and MariaDB keep what a migration did before it failed."""

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


class AddIndex(migrations.AddIndex):
    """Adds an index without blocking traffic while it is built (PostgreSQL), and can be run again.

    Use it in a plain ``Migration`` with ``atomic = False``, like ``AddUnique``.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        connection = schema_editor.connection
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(connection.alias, model):
            return
        if connection.vendor == "postgresql" and not schema_editor.atomic_migration:
            # If an earlier run was interrupted, the index exists but is invalid: start again.
            schema_editor.execute(
                f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}"
            )
            sql = self.index.create_sql(model, schema_editor, concurrently=True)
            schema_editor.execute(str(sql), params=None)
        elif schema_editor.collect_sql or not self._is_there(connection, model):
            with nullcontext() if schema_editor.atomic_migration else short_waits(schema_editor):
                super().database_forwards(app_label, schema_editor, from_state, to_state)

    def _is_there(self, connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
        """SQLite, MySQL and MariaDB keep the indexes that a migration made before it failed."""
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":  # get_constraints parses SQL: half the time of migrate
                cursor.execute(
                    "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = %s", [self.index.name]
                )
                return cursor.fetchone() is not None
            return self.index.name in connection.introspection.get_constraints(cursor, model._meta.db_table)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor == "postgresql" and not schema_editor.atomic_migration:
            schema_editor.execute(
                f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}"
            )
        else:
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class ReplaceIndex(migrations.AddIndex):
    """Gives an index of the same name another definition, if the database's statement for it changes.

    On PostgreSQL the new one is built without blocking traffic before the old one is dropped; it can be run
    again. Use it in a plain ``Migration`` with ``atomic = False``.
    """

    def __init__(self, model_name: str, index: models.Index, before: models.Index) -> None:
        super().__init__(model_name, index)
        self.before = before

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        name, args, kwargs = super().deconstruct()
        return name, args, {**kwargs, "before": self.before}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.remove_index(app_label, self.model_name_lower, self.index.name)
        super().state_forwards(app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._replace(app_label, schema_editor, to_state, self.before, self.index)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._replace(app_label, schema_editor, to_state, self.index, self.before)

    def _replace(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        state: ProjectState,
        old: models.Index,
        new: models.Index,
    ) -> None:
        model = state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _replace_index(model, schema_editor, old, new)


class _OnPostgreSQL(Operation):
    """Changes how PostgreSQL stores rows, and no model. Use it in a ``Migration`` with ``atomic = False``."""

    reversible = True
    model_name: str

    def change(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, *, forwards: bool
    ) -> None:
        raise NotImplementedError

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models do not change."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._change(app_label, schema_editor, to_state, forwards=True)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._change(app_label, schema_editor, to_state, forwards=False)

    def _change(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState, *, forwards: bool
    ) -> None:
        model = state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if connection.vendor == "postgresql" and self.allow_migrate_model(connection.alias, model):
            self.change(model, schema_editor, forwards=forwards)


class SparseForeignKey(_OnPostgreSQL):
    """On PostgreSQL, the index that Django made for a foreign key leaves out rows without a value.

    The model and the other databases stay as they are: MySQL and MariaDB need the index for the constraint,
    SQLite would copy the table.
    """

    def __init__(self, model_name: str, name: str) -> None:
        self.model_name = model_name
        self.name = name

    def describe(self) -> str:
        return f"Leave out rows without {self.name} in its index on {self.model_name}"

    def change(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, *, forwards: bool
    ) -> None:
        field: Any = model._meta.get_field(self.name)
        named: Any = schema_editor  # the name that Django gave it
        name = named._create_index_name(model._meta.db_table, [field.column])
        whole, sparse = (kind(fields=[self.name], name=name) for kind in (models.Index, SparseIndex))
        old, new = (whole, sparse) if forwards else (sparse, whole)
        _replace_index(model, schema_editor, old, new)


class SetFillFactor(_OnPostgreSQL):
    """PostgreSQL fills pages of the table, or of the ``index``, only up to ``percent``: room for more rows.

    In a table the room is for updates of the rows of the page. Holds for pages to come, and waits for no
    reads or writes.
    """

    def __init__(self, model_name: str, percent: int, index: str = "") -> None:
        self.model_name = model_name
        self.percent = percent
        self.index = index

    def describe(self) -> str:
        return f"Fill pages of {self.index or self.model_name} up to {self.percent} %"

    def change(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, *, forwards: bool
    ) -> None:
        change = f"SET (fillfactor = {self.percent})" if forwards else "RESET (fillfactor)"
        with short_waits(schema_editor):
            kind, name = ("INDEX", self.index) if self.index else ("TABLE", model._meta.db_table)
            schema_editor.execute(f"ALTER {kind} {schema_editor.quote_name(name)} {change}")


def _replace_index(
    model: type[models.Model],
    schema_editor: BaseDatabaseSchemaEditor,
    old: models.Index,
    new: models.Index,
) -> None:
    """Replace an index by one of the same name; on PostgreSQL without blocking traffic."""
    if str(old.create_sql(model, schema_editor)) == str(new.create_sql(model, schema_editor)):
        return
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.execute(f"DROP INDEX IF EXISTS {schema_editor.quote_name(old.name)}")
        schema_editor.add_index(model, new)
        return
    built = new.clone()
    built.name = f"{new.name[:26]}_new"
    current, temporary = schema_editor.quote_name(old.name), schema_editor.quote_name(built.name)
    # If an earlier run was interrupted, this index exists and may be invalid: start again.
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {temporary}")
    schema_editor.execute(str(built.create_sql(model, schema_editor, concurrently=True)), params=None)
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {current}")
    with short_waits(schema_editor):
        schema_editor.execute(f"ALTER INDEX {temporary} RENAME TO {current}")


class AddUnique(migrations.AddConstraint):
    """Makes columns unique together, without locking the table for long (PostgreSQL) or copying it (SQLite).

    If the table has rows, use it in a plain ``Migration`` with ``atomic = False``: PostgreSQL then builds the
    index without blocking traffic. An OnlineMigration would abort the build after LONGEST_LOCK_WAIT.
    """

    constraint: models.UniqueConstraint

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        vendor, quote = schema_editor.connection.vendor, schema_editor.quote_name
        name, table = quote(self.constraint.name), quote(model._meta.db_table)
        columns = ", ".join(quote(model._meta.get_field(field).column) for field in self.constraint.fields)
        if vendor == "postgresql" and not schema_editor.atomic_migration:
            # If an earlier run was interrupted, the index exists but is invalid: start again.
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            schema_editor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns})")
            with short_waits(schema_editor):  # not while building the index, which blocks no writes
                schema_editor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")
        elif vendor == "sqlite":
            schema_editor.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {table} ({columns})")
        elif schema_editor.atomic_migration:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        else:
            with short_waits(schema_editor):
                super().database_forwards(app_label, schema_editor, from_state, to_state)


@contextmanager
def short_waits(schema_editor: BaseDatabaseSchemaEditor) -> Iterator[None]:
    """Limit lock waits within this block. Raises CommandError if a lock is not available in time."""
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
    """Add foreign keys, which Django defers to the end: they wait for locks of other tables."""
    while schema_editor.deferred_sql and not schema_editor.collect_sql:
        schema_editor.execute(schema_editor.deferred_sql.pop(0), None)


def _lower(connection: BaseDatabaseWrapper) -> str | None:
    """Lower the session's limit. Returns the previous one, or None if it was not changed."""
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


#: SQL to read the limit, SQL to set it, and its units per second. In PostgreSQL 0 means no limit.
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
        f"Another transaction is using a table of genesys_eventbridge, for instance a report, a dump or "
        f"an idle session. migrate gave up after {LONGEST_LOCK_WAIT} s so that no save has to wait. End that "
        f"transaction and run migrate again. To find it: {find};"
    )

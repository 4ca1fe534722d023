"""Indexes that cost nothing for rows that no query looks for in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import F, Lookup

from genesys_eventbridge.db.folding import NOTHING
from genesys_eventbridge.states import State


class SparseIndex(models.Index):
    """Leaves out rows whose first column is NULL; on MySQL and MariaDB, which cannot, it holds all rows.

    Not an index with a ``condition``: Django's check would warn about it on MySQL and MariaDB.
    """

    kept = "IS NOT NULL"

    def create_sql(
        self,
        model: type[models.Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        statement = super().create_sql(model, schema_editor, using=using, **kwargs)
        if self.is_partial(schema_editor.connection):
            return self._without_others(statement, model, schema_editor)
        return statement

    def _without_others(
        self, statement: Statement, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> Statement:
        field: Any = model._meta.get_field(self.fields[0])
        statement.template += (
            f" WHERE {schema_editor.quote_name(field.column)} {self.kept_by(schema_editor.connection)}"
        )
        return statement

    def kept_by(self, connection: BaseDatabaseWrapper) -> str:
        """What the first column has to meet."""
        return self.kept

    def is_partial(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.features.supports_partial_indexes


class FilledIndex(SparseIndex):
    """Leaves out rows whose first column is an empty text; only on PostgreSQL, the others hold all rows.

    PostgreSQL uses it if the query compares the column with a text that is not empty, or says so itself (a
    join). SQLite does not look at the values of parameters, so it would never use it.
    """

    kept = "<> ''"

    def is_partial(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "postgresql"


class FailedStatusIndex(SparseIndex):
    """For HTTP statuses. On PostgreSQL it leaves out those below 300, which nearly all rows end with."""

    def kept_by(self, connection: BaseDatabaseWrapper) -> str:
        return ">= 300" if connection.vendor == "postgresql" else self.kept


class UndeliveredIndex(FilledIndex):
    """Leaves out delivered rows, which are nearly all; its first column is the state. Only on PostgreSQL.

    There the order of the states is turned round: new entries of ``accepted``, the most frequent ones, then
    come last, where a full page is followed by a new one. Anywhere else it is split into two halves, which
    stay half empty.
    """

    kept = f"<> '{State.DELIVERED.value}'"

    def create_sql(
        self,
        model: type[models.Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        if not self.is_partial(schema_editor.connection):
            return super().create_sql(model, schema_editor, using=using, **kwargs)
        state, *others = self.fields
        index = models.Index(fields=[f"-{state}", *others], name=self.name)
        statement = index.create_sql(model, schema_editor, using=using, **kwargs)
        return self._without_others(statement, model, schema_editor)


class Troubled(Lookup):
    """Condition: the event has an error or a reason. Word for word that of TroubledIndex.

    SQLite uses a partial index only if the query repeats its condition, without parameters.
    """

    def __init__(self) -> None:
        super().__init__(F("last_error"), F("reason"))

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[()]]:
        (error, _none), (reason, _none) = map(compiler.compile, self.get_source_expressions())
        return f"({error} <> '' OR {reason} <> '')", ()


class _IndexOfSome(models.Index):
    """Holds the rows that meet a condition, and exists only on some databases."""

    def exists_on(self, connection: BaseDatabaseWrapper) -> bool:
        raise NotImplementedError

    def condition_sql(self, quote: Callable[[str], str]) -> str:
        raise NotImplementedError

    def create_sql(
        self,
        model: type[models.Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Any:
        if not self.exists_on(schema_editor.connection):
            return _nothing(schema_editor)
        statement = super().create_sql(model, schema_editor, using=using, **kwargs)
        statement.template += f" WHERE {self.condition_sql(schema_editor.quote_name)}"
        return statement

    def remove_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, **kwargs: Any
    ) -> Any:
        if not self.exists_on(schema_editor.connection):
            return _nothing(schema_editor)
        return super().remove_sql(model, schema_editor, **kwargs)


class DeliveredIndex(_IndexOfSome):
    """Holds the delivered rows, which ``UndeliveredIndex`` leaves out; exists only on PostgreSQL."""

    def exists_on(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "postgresql"

    def condition_sql(self, quote: Callable[[str], str]) -> str:
        return f"{quote('state')} = '{State.DELIVERED.value}'"


class TroubledIndex(_IndexOfSome):
    """Holds the rows that ``Troubled`` finds: an event that is delivered at the first try costs nothing.

    MySQL and MariaDB have no such index, and none instead: a full one would cost every event.
    """

    def exists_on(self, connection: BaseDatabaseWrapper) -> bool:
        return connection.features.supports_partial_indexes

    def condition_sql(self, quote: Callable[[str], str]) -> str:
        return f"({quote('last_error')} <> '' OR {quote('reason')} <> '')"


def _nothing(schema_editor: BaseDatabaseSchemaEditor) -> str:
    """A statement that does nothing; Django executes what ``create_sql`` returns."""
    return NOTHING if schema_editor.connection.vendor == "mysql" else "SELECT 0"

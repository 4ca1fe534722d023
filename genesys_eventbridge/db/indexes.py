"""Indexes that cost nothing for rows without a value."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement


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
            field: Any = model._meta.get_field(self.fields[0])
            statement.template += f" WHERE {schema_editor.quote_name(field.column)} {self.kept}"
        return statement

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

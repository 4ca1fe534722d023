"""An index that costs nothing for rows without a value."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement


class SparseIndex(models.Index):
    """Leaves out rows whose first column is NULL; on MySQL and MariaDB, which cannot, it holds all rows.

    Not an index with a ``condition``: Django's check would warn about it on MySQL and MariaDB.
    """

    def create_sql(
        self,
        model: type[models.Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        statement = super().create_sql(model, schema_editor, using=using, **kwargs)
        if schema_editor.connection.features.supports_partial_indexes:
            field: Any = model._meta.get_field(self.fields[0])
            statement.template += f" WHERE {schema_editor.quote_name(field.column)} IS NOT NULL"
        return statement

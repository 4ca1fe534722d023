"""Text in any case, by its beginning or its end: SQL expressions and indexes for them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import CharField, F, Func, Index, Model

#: Characters of the end of a text that ``FoldedEnd`` keeps: more than an order number has.
END = 24


class Folded(Func):
    """The text in lower case, ordered by code point. SQLite folds only A to Z."""

    function = "LOWER"
    arity = 1
    output_field = CharField()

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template='(LOWER(%(expressions)s) COLLATE "C")', **context)


class FoldedEnd(Func):
    """The last ``END`` characters in lower case, backwards, so that an index orders texts by their ends."""

    template = f"LEFT(REVERSE(LOWER(%(expressions)s)), {END})"
    arity = 1
    output_field = CharField()

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template=f'({self.template} COLLATE "C")', **context)

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """SQLite has no REVERSE, and an index may only use its own functions."""
        characters = " || ".join(f"SUBSTR(%(expressions)s, -{place}, 1)" for place in range(1, END + 1))
        return self.as_sql(compiler, connection, template=f"LOWER({characters})", **context)


class FoldedIndex(Index):
    """An index on ``Folded`` of one field. MySQL and MariaDB have none: there the search reads rows.

    It names a field and no expression, because Django warns about every index on an expression that the
    database cannot have.
    """

    expression: ClassVar[type[Func]] = Folded

    def create_sql(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Any:
        if schema_editor.connection.vendor == "mysql":
            return NOTHING
        (field,) = self.fields
        index = Index(self.expression(F(field)), name=self.name)
        return index.create_sql(model, schema_editor, using, **kwargs)

    def remove_sql(self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, **kwargs: Any) -> Any:
        if schema_editor.connection.vendor == "mysql":
            return NOTHING
        return super().remove_sql(model, schema_editor, **kwargs)


class FoldedEndIndex(FoldedIndex):
    """An index on ``FoldedEnd`` of one field."""

    expression = FoldedEnd


#: A statement that does nothing; Django executes what ``create_sql`` returns, and None is no statement.
NOTHING = "DO 0"

"""Between tests PostgreSQL deletes rows, as the other databases do: truncating costs files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def install() -> None:
    """For this process; where sequences are to be reset, or tables to cascade, Django truncates as always.

    Django's foreign keys are deferred, so that rows may go in any order within the transaction of a flush.
    """
    from django.db.backends.postgresql.operations import DatabaseOperations

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

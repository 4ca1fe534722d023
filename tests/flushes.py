"""Makes PostgreSQL delete rows between tests, as the other databases do: truncating replaces files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def install() -> None:
    """Patch Django in this process. It still truncates to reset sequences or to cascade.

    Django's foreign keys are deferred, so the rows may be deleted in any order within a flush's transaction.
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

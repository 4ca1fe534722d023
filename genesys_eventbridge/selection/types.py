"""The event types in the table."""

from __future__ import annotations

from django.db import connections

from genesys_eventbridge.models import OutboxEvent, outbox_alias

#: From one type to the next along the index, so that the cost depends on the types and not on the events.
_NEXT = """
WITH RECURSIVE seen (type, place) AS (
    SELECT MIN(type), 1 FROM {table}
    UNION ALL
    SELECT (SELECT MIN(later.type) FROM {table} later WHERE later.type > seen.type), seen.place + 1
    FROM seen WHERE seen.type IS NOT NULL AND seen.place < %s
)
SELECT type FROM seen WHERE type IS NOT NULL
"""


def seen(limit: int) -> list[str]:
    """The types that stored events have, sorted; the first ``limit`` of them. One query."""
    with connections[outbox_alias()].cursor() as cursor:
        cursor.execute(_NEXT.format(table=OutboxEvent._meta.db_table), [limit])
        return sorted(name for (name,) in cursor.fetchall())

"""How a database would run a query."""

from django.db import connection


def plan(sql: str) -> list[str]:
    """The steps of a query with its parameters written out, as EXPLAIN describes them."""
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}", None)
        return [str(row[-1]) for row in cursor.fetchall()]

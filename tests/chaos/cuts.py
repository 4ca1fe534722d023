"""Cuts the workers' connections to the database."""

from django.db import connection


def cut_connections() -> int:
    """Terminate every other session of this database; returns their number. Does nothing on SQLite."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
            return int(cursor.fetchone()[0])
        if connection.vendor == "mysql":
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            ids = [pk for (pk,) in cursor.fetchall()]
            for pk in ids:
                cursor.execute(f"KILL CONNECTION {int(pk)}")
            return len(ids)
    return 0

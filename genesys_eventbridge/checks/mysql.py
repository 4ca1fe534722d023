"""Whether a MySQL or MariaDB database stores what it is given: engine and character set.

Django itself warns if sql_mode is not strict (mysql.W002).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.model_events.registry import models_of, registrations


def problems(connection: BaseDatabaseWrapper, tables: set[str]) -> Iterator[Problem]:
    """What is wrong with this MySQL or MariaDB database. Tables that do not exist yet are not a problem."""
    yield from _engines(connection, tables)
    yield from _character_sets(connection, tables)


def _engines(connection: BaseDatabaseWrapper, tables: set[str]) -> Iterator[Problem]:
    """Includes the registered models: without transactions they cannot roll back with their events."""
    registered = {model._meta.db_table for found in registrations() for model in models_of(found)}
    without = _rows(
        connection,
        "SELECT t.table_name, t.engine FROM information_schema.tables t "
        "LEFT JOIN information_schema.engines e ON e.engine = t.engine "
        "WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' "
        "AND COALESCE(e.transactions, 'NO') <> 'YES' ORDER BY t.table_name",
    )
    unsafe = [(table, engine) for table, engine in without if table in tables | registered]
    if unsafe:
        named = ", ".join(f"{table} ({engine})" for table, engine in unsafe)
        yield Problem(
            "E032",
            "",
            f"Tables with a non-transactional engine in database {connection.alias!r}: {named}. An event "
            "would be kept although its business data was rolled back.",
            "\n".join(f"ALTER TABLE {_quoted(connection, table)} ENGINE=InnoDB;" for table, _ in unsafe),
        )
    standard = _rows(
        connection,
        "SELECT engine FROM information_schema.engines "
        "WHERE engine = @@default_storage_engine AND COALESCE(transactions, 'NO') <> 'YES'",
    )
    for (engine,) in standard:
        yield Problem(
            "E032",
            "DATABASES",
            f"New tables of database {connection.alias!r} would be {engine}, which has no transactions.",
            f'Set DATABASES["{connection.alias}"]["OPTIONS"]["init_command"] = '
            "\"SET default_storage_engine=InnoDB, sql_mode='STRICT_TRANS_TABLES'\".",
        )


def _character_sets(connection: BaseDatabaseWrapper, tables: set[str]) -> Iterator[Problem]:
    [[database, of_database, of_connection]] = _rows(
        connection, "SELECT DATABASE(), @@character_set_database, @@character_set_connection"
    )
    if of_connection != "utf8mb4":
        yield Problem(
            "E036",
            "DATABASES",
            f"Connections to database {connection.alias!r} use {of_connection}: some characters, emoji "
            "among them, cannot be written.",
            f'Set DATABASES["{connection.alias}"]["OPTIONS"]["charset"] = "utf8mb4".',
        )
    if of_database != "utf8mb4":
        yield Problem(
            "E036",
            "",
            f"Database {connection.alias!r} has the character set {of_database}, which new tables inherit: "
            "some characters, emoji among them, cannot be stored.",
            f"ALTER DATABASE {_quoted(connection, database)} CHARACTER SET utf8mb4;",
        )
    others = _rows(
        connection,
        "SELECT table_name, column_name, character_set_name, column_type, is_nullable "
        "FROM information_schema.columns WHERE table_schema = DATABASE() "
        "AND character_set_name <> 'utf8mb4' ORDER BY table_name, ordinal_position",
    )
    columns = [column for column in others if column[0] in tables]
    if columns:
        # Column by column: CONVERT TO would also remove the collations that distinguish "A" from "a".
        yield Problem(
            "E036",
            "",
            f"Columns of database {connection.alias!r} that cannot hold every character: "
            + ", ".join(f"{table}.{column} ({charset})" for table, column, charset, *_ in columns)
            + ".",
            "\n".join(_modified(connection, column) for column in columns),
        )


def _modified(connection: BaseDatabaseWrapper, found: Sequence[str]) -> str:
    table, column, _charset, kind, nullable = found
    return (
        f"ALTER TABLE {_quoted(connection, table)} MODIFY {_quoted(connection, column)} {kind} "
        f"CHARACTER SET utf8mb4 {'NULL' if nullable == 'YES' else 'NOT NULL'};"
    )


def _quoted(connection: BaseDatabaseWrapper, name: str) -> str:
    return str(connection.ops.quote_name(name))


def _rows(connection: BaseDatabaseWrapper, sql: str) -> list[Sequence[str]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())

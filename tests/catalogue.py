"""What the database itself says of the app's tables; Django's models and migrations are not asked.

Two databases with equal catalogues have the same columns (types, NULL, defaults, collations), indexes,
constraints and foreign keys. The order of the columns counts on servers. On SQLite it depends on the history,
because Django copies a table to alter a column and puts that column last; nothing reads columns by position.
"""

import re
from collections.abc import Sequence
from typing import Any

from django.db import connection

Catalogue = dict[str, dict[str, Any]]


def tables() -> list[str]:
    names = connection.introspection.table_names()
    return sorted(name for name in names if name.startswith("genesys_eventbridge_"))


def catalogue() -> Catalogue:
    """By table."""
    describe = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}[connection.vendor]
    return {table: describe(table) for table in tables()}


def _rows(statement: str, parameters: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
           a.attstorage, pg_get_expr(d.adbin, d.adrelid), c.collname
      FROM pg_attribute a
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      LEFT JOIN pg_collation c ON c.oid = a.attcollation
     WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum
"""
_CONSTRAINTS = """
    SELECT conname, contype, pg_get_constraintdef(oid), convalidated, condeferrable, condeferred,
           conindid::regclass::text, confrelid::regclass::text
      FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n' ORDER BY conname
"""
_INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisunique, indisprimary, indisvalid,
           indisready
      FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1
"""


def _postgresql(table: str) -> dict[str, Any]:
    return {
        "columns": _rows(_COLUMNS, [table]),
        "constraints": _rows(_CONSTRAINTS, [table]),
        "indexes": _rows(_INDEXES, [table]),
    }


def _mysql(table: str) -> dict[str, Any]:
    ((_table, statement),) = _rows(f"SHOW CREATE TABLE {table}")
    return {"statement": re.sub(r" AUTO_INCREMENT=\d+", "", statement).splitlines()}


def _sqlite(table: str) -> dict[str, Any]:
    ((statement,),) = _rows("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [table])
    indexes = _rows("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s", [table])
    columns = _rows(f"PRAGMA table_xinfo({table})")
    return {
        "definitions": sorted(_definitions(statement)),  # columns and constraints, as SQLite keeps their text
        "columns": sorted(column[1:] for column in columns),
        "indexes": sorted((name, sql) for name, sql in indexes if sql),
        "uniques": sorted(_index(row) for row in _rows(f"PRAGMA index_list({table})")),
        "keys": sorted(key[2:] for key in _rows(f"PRAGMA foreign_key_list({table})")),
    }


def _index(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """SQLite numbers the indexes of UNIQUE in a table: those names depend on the order of its parts."""
    _number, name, unique, origin, partial = row
    columns = [column[2:] for column in _rows(f"PRAGMA index_xinfo({name})") if column[5]]
    return "" if name.startswith("sqlite_autoindex_") else name, unique, origin, partial, columns


def _definitions(statement: str) -> list[str]:
    """The parts between the outer parentheses of CREATE TABLE."""
    parts, depth, quoted = [""], 0, False
    for character in statement[statement.index("(") + 1 : statement.rindex(")")]:
        if character == "'":
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]

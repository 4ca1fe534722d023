"""Queries that Django compiles once.

A worker executes the same few queries again and again, and Django takes about ten times as long to build one
and compile it to SQL as SQLite takes to execute it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sized
from functools import lru_cache, partial, wraps
from typing import Any, Concatenate, ParamSpec

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, F, Lookup, QuerySet
from django.db.models.sql import UpdateQuery
from django.db.models.sql.constants import ROW_COUNT

from genesys_eventbridge.db.clock import compiling_once, now_sql

Shape = ParamSpec("Shape")

#: Compiled queries kept for each function; those used least recently are forgotten.
KEPT = 256


class Given(Expression):
    """A value that a compiled query gets when it is executed; ``field`` converts it for the database."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:  # type: ignore[override]
        return "%s", [self.value]

    def value(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> Any:
        return self.output_field.get_db_prep_value(values[self.name], connection)


class OneOf(Lookup):
    """Condition: the column has one of the values that a compiled query gets under ``name``, in a sequence.

    ``places`` is ``places_for`` them: the last value is repeated, so that few queries are compiled.
    PostgreSQL gets one array, because psycopg parses a statement with more than 50 parameters each time.
    """

    def __init__(self, column: str, name: str, places: int, field: Any) -> None:
        super().__init__(F(column), Given(name, field))
        self.places = places

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        column, given = self.get_source_expressions()
        left, parameters = compiler.compile(column)
        if connection.vendor == "postgresql":
            return f"{left} = ANY(%s)", [*parameters, partial(_all, given)]
        places = ", ".join(["%s"] * self.places)
        parameters = [*parameters, *(partial(_nth, given, at) for at in range(self.places))]
        return f"{left} IN ({places})", parameters


def places_for(values: Sized) -> int:
    """The next power of two."""
    return 1 << max(0, len(values) - 1).bit_length()


def _all(given: Any, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
    return [given.output_field.get_db_prep_value(value, connection) for value in values[given.name]]


def _nth(given: Any, at: int, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> Any:
    own = values[given.name]
    return given.output_field.get_db_prep_value(own[min(at, len(own) - 1)], connection)


class Compiled:
    """One compiled query; each execution gets the values of its ``Given`` by name."""

    def __init__(self, database: str, query: Any) -> None:
        self._database = database
        self._compiler = query.get_compiler(database)
        with compiling_once():
            self._sql, self._parameters = self._compiler.as_sql()
        self._compiler.connection = None  # each thread has its own

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """Execute a SELECT."""
        return list(self._bound(values).results_iter(tuple_expected=True))

    def update(self, **values: Any) -> int:
        """Execute an UPDATE; returns the number of rows."""
        with transaction.mark_for_rollback_on_error(using=self._database):
            return int(self._bound(values).execute_sql(ROW_COUNT))

    def _bound(self, values: Mapping[str, Any]) -> Any:
        """A compiler that returns the SQL and these values instead of compiling again."""
        connection = connections[self._database]
        parameters = [each(values, connection) if callable(each) else each for each in self._parameters]
        compiler = copy.copy(self._compiler)
        compiler.connection = connection
        compiler.as_sql = lambda *_args, **_options: (self._sql, tuple(parameters))
        return compiler


def changed(rows: QuerySet[Any], **changes: Any) -> Any:
    """The UPDATE that ``rows.update(**changes)`` would execute."""
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(changes)
    query.clear_select_clause()
    return query


def compiled(build: Callable[Concatenate[str, Shape], Any]) -> Callable[Concatenate[str, Shape], Compiled]:
    """Decorate a function that builds a query: it is called once for each set of arguments.

    The first argument is the alias of the database; the others, all hashable, decide the query's SQL. It
    returns rows as ``values_list()`` does, or ``changed()``. What differs at each execution is a ``Given``.
    """

    @lru_cache(maxsize=KEPT)
    def made(_server: object, database: str, shape: tuple[Any, ...], options: tuple[Any, ...]) -> Compiled:
        built = build(database, *shape, **dict(options))
        return Compiled(database, built.query if isinstance(built, QuerySet) else built)

    @wraps(build)
    def of(database: str, /, *shape: Shape.args, **options: Shape.kwargs) -> Compiled:
        connection = connections[database]
        skips_locked = connection.features.has_select_for_update_skip_locked
        # How it reads the time is part of the SQL: it depends on the zone in which Django stores times.
        server = connection.vendor, skips_locked, now_sql(connection, "0", 0.0)
        return made(server, database, shape, tuple(options.items()))

    return of

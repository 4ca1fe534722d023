"""Rows as their transaction sees them: model events describe these, not what an instance in memory holds."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, router
from django.db.models import CharField, Field, IntegerField, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django.utils.functional import cached_property

from genesys_eventbridge.db import AnyOf, first_write
from genesys_eventbridge.model_events import payload
from genesys_eventbridge.model_events.changes import Values
from genesys_eventbridge.model_events.columns import (
    UNSURE,
    Rule,
    is_plain,
    rule_of,
    saves_as_django,
    settled,
    stored_by,
)

_CACHES = (cached_property, functools.cached_property)


@dataclass(frozen=True, slots=True)
class Needs:
    """What an event reads from a row: columns by attname, and foreign keys to follow (``customer__shop``)."""

    columns: frozenset[str]
    relations: frozenset[str] = frozenset()
    read_back: bool = False
    """Whether triggers set columns, so that all must be read from the database."""
    runs_code: bool = True
    """Whether methods, properties or callables of the user see the row, or only these columns are read."""

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.columns | other.columns,
            self.relations | other.relations,
            self.read_back or other.read_back,
            self.runs_code or other.runs_code,
        )


def needs_of_paths(model: type[Model], paths: Iterable[Sequence[str]]) -> Needs:
    """What is needed to read these paths. A property or method may read any column."""
    needs = Needs(frozenset(field.attname for field in model._meta.pk_fields), runs_code=False)
    for path in paths:
        field = payload.concrete_field(model, path[0])
        if field is not None and len(path) == 1 and is_plain(field):
            needs |= Needs(frozenset({field.attname}), runs_code=False)
        elif field is not None and (len(path) == 1 or field.is_relation or is_plain(field)):
            needs |= Needs(frozenset({field.attname}), frozenset(_followed(model, path)))
        elif field is not None or payload.relation_named(model, path[0]) is None:
            needs |= everything(model)
        else:
            needs |= Needs(frozenset(_led_by(model, path[0])))
    return needs


def _led_by(model: type[Model], name: str) -> Iterator[str]:
    """The columns that rows of a reverse relation refer to, such as those of ``to_field``."""
    for relation in model._meta.related_objects:
        if relation.get_accessor_name() == name and not relation.many_to_many:
            own = {field.attname for field in model._meta.concrete_fields}
            yield from own & {field.attname for field in relation.field.foreign_related_fields}


def everything(model: type[Model]) -> Needs:
    return Needs(frozenset(field.attname for field in model._meta.concrete_fields))


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of a row without reading it: written columns, and values read under a lock before."""

    columns: frozenset[str]
    inserted: bool = False
    before: Values = field(default_factory=dict)
    """Values of columns that neither the save nor the database changes."""

    @classmethod
    def by_save(
        cls,
        instance: Model,
        update_fields: Collection[str] | None,
        *,
        inserted: bool = False,
        held: Values | None = None,
        before: Values | None = None,
    ) -> Written:
        """``held`` is what the instance held before the save, ``before`` the values in its row."""
        if update_fields is None and saves_as_django(type(instance)):
            return _all_written(type(instance), inserted)
        is_settled = settled(instance, held)
        columns, others = set(), set()
        for column in _columns(type(instance)):
            name = column.attname
            if column in column.model._meta.pk_fields:
                columns.add(name)
            elif update_fields is None or column.name in update_fields or name in update_fields:
                if is_settled(name):
                    columns.add(name)
            elif not getattr(column, "generated", False):
                others.add(name)
        kept = {name: value for name, value in (before or {}).items() if name in others}
        return cls(frozenset(columns), inserted, kept)


NOT_WRITTEN = Written(frozenset())


@functools.cache
def _all_written(model: type[Model], inserted: bool) -> Written:
    return Written(everything(model).columns, inserted)


def known_values(instance: Model, alias: str, written: Written, needs: Needs) -> dict[str, Any]:
    """The needed columns whose values in the row are known without reading it, by attname."""
    model = type(instance)
    if needs.read_back:
        return {}
    known: dict[str, Any] = {}
    values = vars(instance)
    certain = written.columns if written.inserted else written.columns - _found_by_collation(model, alias)
    for name, column, rule in _needed(model, needs.columns):
        if name in certain and name in values:
            value = stored_by(rule, column, values[name])
            if value is not UNSURE and not (isinstance(value, dt.datetime) and _loses(value, alias)):
                known[name] = value
        elif name in written.before:
            known[name] = written.before[name]
    return known


def row_of(
    instance: Model, alias: str, needs: Needs, written: Written = NOT_WRITTEN, *, lock: bool = False
) -> Model | None:
    """``rows_of`` for one instance."""
    known = known_values(instance, alias, written, needs)
    (row,) = rows_of([instance], alias, needs, [known], lock=lock)
    return row


def loaded(instance: Model) -> Values:
    """The column values that an instance holds, by attname; equal to the row's if it was just read."""
    columns = {column.attname for column in _columns(type(instance))}
    return {name: value for name, value in vars(instance).items() if name in columns}


def rows_of(
    instances: Sequence[Model], alias: str, needs: Needs, known: Sequence[Values], *, lock: bool = False
) -> list[Model | None]:
    """The row of each instance as its transaction sees it; None if there is no such row.

    ``known`` has the known values of each instance. Missing ones are read with one query for all. A row is an
    object of the instance's class with the values of the row, plus the instance's attributes that are neither
    columns nor cached values.
    """
    if not instances:
        return []
    model = type(instances[0])
    lacking = {
        instance.pk
        for instance, values in zip(instances, known, strict=True)
        if lock or needs.columns - values.keys() or any(_leads_somewhere(model, needs, values))
    }
    if lacking and not needs.runs_code and not lock and _are_numbers(model, lacking):
        read = _read_columns(model, lacking, alias, needs.columns)
    else:
        read = read_rows(model, lacking, alias, needs, lock=lock)
    rows: list[Model | None] = []
    for instance, values in zip(instances, known, strict=True):
        row = read.get(instance.pk) if instance.pk in lacking else _made(model, alias, values)
        rows.append(with_extras(row, instance) if row is not None and needs.runs_code else row)
    return rows


def read_rows(
    model: type[Model], keys: Collection[Any], alias: str, needs: Needs, *, lock: bool = False
) -> dict[Any, Model]:
    """Key as given -> row, with the needed columns and related rows.

    MariaDB cannot lock only one table of a join: there the related rows of a locked row are read on access.
    """
    if not keys:
        return {}
    query: QuerySet[Model] = QuerySet(model, using=alias)
    names = {field.attname: field.name for field in _columns(model)}
    if not names.keys() <= needs.columns:
        query = query.only(*(names[attname] for attname in needs.columns))
    joins = bool(needs.relations) and (not lock or _locks_without_joins(model, alias))
    if joins:
        query = query.select_related(*sorted(needs.relations))
    if lock:
        query = locked(query, alias, of=("self",) if joins else ())
    found = _by_key(query, keys)
    missing = keys - found.keys() if joins else ()
    if missing:  # the related row may not exist, if the foreign key's constraint is deferred or absent
        found |= read_rows(model, missing, alias, Needs(needs.columns), lock=lock)
    return found


def _are_numbers(model: type[Model], keys: Collection[Any]) -> bool:
    """Whether these are keys of a column of numbers, so that they can be passed as one parameter."""
    pk = model._meta.pk
    return isinstance(pk, IntegerField) and is_plain(pk) and all(type(key) is int for key in keys)


def _read_columns(
    model: type[Model], keys: Collection[Any], alias: str, columns: Collection[str]
) -> dict[Any, Model]:
    """``read_rows`` for rows that only ``payload`` sees: made in half the time."""
    key = model._meta.pk.attname
    names = [key, *sorted({*columns} - {key})]
    found: QuerySet[Any, Any] = QuerySet(model, using=alias).filter(AnyOf(key, keys)).values_list(*names)
    return {values[0]: _made(model, alias, dict(zip(names, values, strict=True))) for values in found}


def read_values(
    model: type[Model], key: Any, alias: str, fields: Collection[Field[Any, Any]], *, lock: bool
) -> Values | None:
    """These columns of the row; None if there is no such row."""
    query: QuerySet[Model] = QuerySet(model, using=alias).filter(pk=key)
    names = [field.attname for field in fields]
    found = next(iter((locked(query, alias) if lock else query).values_list(*names)), None)
    return None if found is None else dict(zip(names, found, strict=True))


def is_there(model: type[Model], key: Any, alias: str) -> bool:
    """Whether the row exists. Takes no lock: on MySQL a lock on a missing row blocks inserts."""
    return QuerySet(model, using=alias).filter(pk=key).exists()


def locked(query: QuerySet[Model], alias: str, of: Sequence[str] = ()) -> QuerySet[Model]:
    """Lock the rows of one model and its parents against changes, but not against new rows referring to them.

    Outside a transaction they are only read.
    """
    connection = connections[alias]
    if not connection.in_atomic_block and connection.get_autocommit():
        return query
    if connection.vendor == "sqlite" and getattr(connection, "transaction_mode", None) in (None, "DEFERRED"):
        first_write(alias)
    features = connection.features
    return query.select_for_update(
        of=of if features.has_select_for_update_of else (), no_key=features.has_select_for_no_key_update
    )


def _locks_without_joins(model: type[Model], alias: str) -> bool:
    features = connections[alias].features
    return not features.has_select_for_update or (
        features.has_select_for_update_of and not model._meta.parents
    )


@contextmanager
def reading_from(alias: str) -> Iterator[None]:
    """Read models that are written to ``alias`` from there and not from a replica, within this block."""
    if not router.routers:
        yield
        return
    if _to_writer not in router.routers:
        router.routers.insert(0, _to_writer)
    token = _writer.set(alias)
    try:
        yield
    finally:
        _writer.reset(token)


class _ToWriter:
    """A database router that decides only within ``reading_from``."""

    def db_for_read(self, model: type[Model], **_: Any) -> str | None:
        alias = _writer.get()
        return alias if alias is not None and router.db_for_write(model) == alias else None


_writer: ContextVar[str | None] = ContextVar("genesys_eventbridge_writer", default=None)
_to_writer = _ToWriter()


def values_in(row: Model, fields: Iterable[Field[Any, Any]]) -> dict[str, Any]:
    """The values of these columns in a row from this module, by attname; files as their name."""
    values = vars(row)
    return {field.attname: _plain(values[field.attname]) for field in fields if field.attname in values}


def _followed(model: type[Model], path: Sequence[str]) -> Iterator[str]:
    """The foreign keys that ``path`` follows, in the form for select_related.

    Stops at a related model with its own base manager, which may return other classes: its rows are read by
    it.
    """
    steps: list[str] = []
    for name in path[:-1]:
        field = payload.concrete_field(model, name)
        related = None if field is None else field.related_model
        if field is None or not isinstance(related, type) or related._meta.base_manager_name:
            break
        steps.append(field.name)
        model = related
    if steps:
        yield "__".join(steps)


def _leads_somewhere(model: type[Model], needs: Needs, values: Values) -> Iterator[bool]:
    for relation in needs.relations:
        field = payload.concrete_field(model, relation.partition("__")[0])
        yield field is None or values.get(field.attname) is not None


@functools.cache
def _columns(model: type[Model]) -> tuple[Field[Any, Any], ...]:
    return tuple(model._meta.concrete_fields)


@functools.cache
def _needed(
    model: type[Model], columns: frozenset[str]
) -> tuple[tuple[str, Field[Any, Any], Rule | None], ...]:
    """The columns of these names, with what predicts their values."""
    return tuple(
        (column.attname, column, rule_of(column)) for column in _columns(model) if column.attname in columns
    )


def _loses(value: dt.datetime, alias: str) -> bool:
    """Whether a database without zones changes a time: it stores the repeated hour of October once."""
    connection = connections[alias]
    zone = connection.timezone
    if zone is None or connection.features.supports_timezones:
        return False
    read = timezone.make_naive(value, zone).replace(fold=0)
    return timezone.make_aware(read, zone).astimezone(dt.UTC) != value


def _found_by_collation(model: type[Model], alias: str) -> frozenset[str]:
    """Key columns that the row may spell differently: MySQL finds "DE" by "de" and UPDATE writes no key."""
    if connections[alias].vendor != "mysql":
        return frozenset()
    keys = (column for column in _columns(model) if column in column.model._meta.pk_fields)
    return frozenset(key.attname for key in keys if isinstance(_target(key), CharField))


def _target(field: Any) -> Any:
    """The column that a foreign key refers to in the end; another field is its own."""
    while field.remote_field is not None:
        field = field.target_field
    return field


def _by_key(query: QuerySet[Model], keys: Collection[Any]) -> dict[Any, Model]:
    """Rows by key, in one query. A key may be ``"5"`` for 5, or equal only by MySQL's collation."""
    if len(keys) == 1:
        row = next(iter(query.filter(pk__in=list(keys))), None)
        return {} if row is None else dict.fromkeys(keys, row)
    rows = query.in_bulk(list(keys))
    pk = query.model._meta.pk
    found = {key: rows[value] for key in keys if (value := pk.to_python(key)) in rows}
    if isinstance(pk, CharField):
        for key in keys - found.keys():
            found |= _by_key(query, {key})
    return found


def _made(model: type[Model], alias: str, values: Values) -> Model:
    """A row with these values. Columns that are not in ``values`` are deferred."""
    made = model.__new__(model)
    made._state = ModelState()
    made._state.adding = False
    made._state.db = alias
    vars(made).update(values)
    return made


def with_extras(row: Model, instance: Model) -> Model:
    """The row, with the instance's other attributes added."""
    own = vars(row)
    own.update({name: value for name, value in _extras(instance).items() if name not in own})
    return row


def _extras(instance: Model) -> Mapping[str, Any]:
    """Attributes of an instance that are not columns: ``order.changed_by = user``; without cached values."""
    model = type(instance)
    left_out = {"_state", "_prefetched_objects_cache", *(field.attname for field in _columns(model))}
    return {
        name: value
        for name, value in vars(instance).items()
        if name not in left_out and not isinstance(inspect.getattr_static(model, name, None), _CACHES)
    }


def _plain(value: Any) -> Any:
    return (value.name or "") if isinstance(value, FieldFile) else value

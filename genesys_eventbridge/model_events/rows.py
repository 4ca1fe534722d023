"""Rows as their transaction sees them: what model events are made from, whatever an instance holds."""

from __future__ import annotations

import copy
import datetime as dt
import functools
import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, router
from django.db.models import CharField, Field, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django.utils.functional import cached_property

from genesys_eventbridge.db import first_write
from genesys_eventbridge.model_events import payload
from genesys_eventbridge.model_events.changes import Values
from genesys_eventbridge.model_events.columns import UNSURE, is_plain, settled, stored

_CACHES = (cached_property, functools.cached_property)


@dataclass(frozen=True, slots=True)
class Needs:
    """What an event reads of a row: columns by attname, and foreign keys it follows (``customer__shop``)."""

    columns: frozenset[str]
    relations: frozenset[str] = frozenset()
    read_back: bool = False
    """Whether triggers set columns, so that only the database knows them."""

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.columns | other.columns, self.relations | other.relations, self.read_back or other.read_back
        )


def needs_of_paths(model: type[Model], paths: Iterable[Sequence[str]]) -> Needs:
    """What reading these paths takes. A property or method on the way may read any column."""
    needs = Needs(frozenset(field.attname for field in model._meta.pk_fields))
    for path in paths:
        field = payload.concrete_field(model, path[0])
        if field is not None and (len(path) == 1 or field.is_relation or is_plain(field)):
            needs |= Needs(frozenset({field.attname}), frozenset(_followed(model, path)))
        elif field is not None or payload.relation_named(model, path[0]) is None:
            needs |= everything(model)
        else:
            needs |= Needs(frozenset(_led_by(model, path[0])))
    return needs


def _led_by(model: type[Model], name: str) -> Iterator[str]:
    """The columns by which the rows of a relation to others find this row, such as those of ``to_field``."""
    for relation in model._meta.related_objects:
        if relation.get_accessor_name() == name and not relation.many_to_many:
            own = {field.attname for field in model._meta.concrete_fields}
            yield from own & {field.attname for field in relation.field.foreign_related_fields}


def everything(model: type[Model]) -> Needs:
    return Needs(frozenset(field.attname for field in model._meta.concrete_fields))


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of a row without reading it: what was written, and what was read under a lock before."""

    columns: frozenset[str]
    inserted: bool = False
    before: Values = field(default_factory=dict)
    """Columns that were not written and that nothing else sets."""

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
        """``held`` is what the instance held before the save, ``before`` what its row held."""
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


def known_values(instance: Model, alias: str, written: Written, needs: Needs) -> dict[str, Any]:
    """The needed columns whose values in the row are certain without reading it, by attname."""
    model = type(instance)
    if needs.read_back:
        return {}
    known: dict[str, Any] = {}
    values = vars(instance)
    for column in _columns(model):
        name = column.attname
        if name not in needs.columns:
            continue
        if name in written.columns and name in values and not _finds_by_collation(column, alias, written):
            value = stored(column, values[name])
            if value is not UNSURE and _keeps(value, alias):
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
    """The columns that an instance holds, by attname: those of its row if it has just been read."""
    columns = {column.attname for column in _columns(type(instance))}
    return {name: value for name, value in vars(instance).items() if name in columns}


def rows_of(
    instances: Sequence[Model], alias: str, needs: Needs, known: Sequence[Values], *, lock: bool = False
) -> list[Model | None]:
    """The row of each instance as its transaction sees it; None where there is no such row.

    ``known`` has the certain values of each. The others are read with one query for all. A row is an object
    of the instance's class with nothing in it but the row, and what else the instance carries that is no
    column and no cached value.
    """
    if not instances:
        return []
    model = type(instances[0])
    lacking = {
        instance.pk
        for instance, values in zip(instances, known, strict=True)
        if lock or needs.columns - values.keys() or any(_leads_somewhere(model, needs, values))
    }
    read = read_rows(model, lacking, alias, needs, lock=lock)
    rows: list[Model | None] = []
    for instance, values in zip(instances, known, strict=True):
        if instance.pk not in lacking:
            rows.append(_made(instance, alias, values))
        elif (row := read.get(instance.pk)) is not None:
            rows.append(with_extras(row, instance))
        else:
            rows.append(None)
    return rows


def read_rows(
    model: type[Model], keys: Collection[Any], alias: str, needs: Needs, *, lock: bool = False
) -> dict[Any, Model]:
    """Rows by the keys given, with the needed columns and the related rows.

    MariaDB cannot lock one row of a join: there the related rows of a locked row are read when they are used.
    """
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
    if missing:  # a foreign key may lead to a row that is not there: a constraint that is deferred, or none
        found |= read_rows(model, missing, alias, Needs(needs.columns), lock=lock)
    return found


def read_values(
    model: type[Model], key: Any, alias: str, fields: Collection[Field[Any, Any]], *, lock: bool
) -> Values | None:
    """These columns of the row; None if there is no such row."""
    query: QuerySet[Model] = QuerySet(model, using=alias).filter(pk=key)
    names = [field.attname for field in fields]
    found = next(iter((locked(query, alias) if lock else query).values_list(*names)), None)
    return None if found is None else dict(zip(names, found, strict=True))


def is_there(model: type[Model], key: Any, alias: str) -> bool:
    """Whether the row is there, without a lock: one on a missing row stops inserts on MySQL."""
    return QuerySet(model, using=alias).filter(pk=key).exists()


def locked(query: QuerySet[Model], alias: str, of: Sequence[str] = ()) -> QuerySet[Model]:
    """The rows of one model, its parents' included, locked against changes but not against new children.

    Without a transaction they are only read.
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
    """Send reads to the database of the transaction, not to a replica, for models that are written there."""
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
    """A database router without an opinion outside ``reading_from``."""

    def db_for_read(self, model: type[Model], **_: Any) -> str | None:
        alias = _writer.get()
        return alias if alias is not None and router.db_for_write(model) == alias else None


_writer: ContextVar[str | None] = ContextVar("genesys_eventbridge_writer", default=None)
_to_writer = _ToWriter()


def twin(row: Model, made: dict[int, Model] | None = None) -> Model:
    """The row and its related rows as objects of their own, for a callable that may change them."""
    made = {} if made is None else made
    if id(row) not in made:
        copied = made[id(row)] = type(row).__new__(type(row))
        vars(copied).update({name: _own(value) for name, value in vars(row).items()})
        copied._state = copy.copy(row._state)
        copied._state.fields_cache = {
            name: twin(related, made) if isinstance(related, Model) else related
            for name, related in row._state.fields_cache.items()
        }
    return made[id(row)]


def values_in(row: Model, fields: Iterable[Field[Any, Any]]) -> dict[str, Any]:
    """The values of these columns in a row that was read or made here, by attname; files by their name."""
    values = vars(row)
    return {field.attname: _plain(values[field.attname]) for field in fields if field.attname in values}


def _followed(model: type[Model], path: Sequence[str]) -> Iterator[str]:
    """The foreign keys that ``path`` follows, as select_related takes them.

    A related model with a base manager of its own may give objects of other classes: it is asked itself.
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


def _keeps(value: Any, alias: str) -> bool:
    """Whether a time comes back from a database without time zones, which has one hour of October once."""
    zone = connections[alias].timezone
    if zone is None or connections[alias].features.supports_timezones or not isinstance(value, dt.datetime):
        return True
    read = timezone.make_naive(value, zone).replace(fold=0)
    return timezone.make_aware(read, zone).astimezone(dt.UTC) == value


def _finds_by_collation(field: Any, alias: str, written: Written) -> bool:
    """MySQL finds the key "DE" by "de", and an UPDATE does not write keys."""
    if written.inserted or connections[alias].vendor != "mysql" or field not in field.model._meta.pk_fields:
        return False
    while field.remote_field is not None:
        field = field.target_field
    return isinstance(field, CharField)


def _by_key(query: QuerySet[Model], keys: Collection[Any]) -> dict[Any, Model]:
    """One query. A key finds its row also if it is ``"5"`` for 5, or equal by MySQL's collation only."""
    if not keys:
        return {}
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


def _made(instance: Model, alias: str, values: Values) -> Model:
    """The row without reading it. A column that is not in ``values`` is deferred."""
    made = type(instance).__new__(type(instance))
    vars(made).update(_extras(instance))
    made._state = ModelState()
    made._state.adding = False
    made._state.db = alias
    vars(made).update(values)
    return made


def with_extras(row: Model, instance: Model) -> Model:
    """The row, with what the instance carries beside its own."""
    own = vars(row)
    own.update({name: value for name, value in _extras(instance).items() if name not in own})
    return row


def _extras(instance: Model) -> Mapping[str, Any]:
    """What an instance carries beside its row: ``order.changed_by = user``. Values it cached are no facts."""
    model = type(instance)
    left_out = {"_state", "_prefetched_objects_cache", *(field.attname for field in _columns(model))}
    return {
        name: value
        for name, value in vars(instance).items()
        if name not in left_out and not isinstance(inspect.getattr_static(model, name, None), _CACHES)
    }


def _own(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, (dict, list)) else value


def _plain(value: Any) -> Any:
    return (value.name or "") if isinstance(value, FieldFile) else value

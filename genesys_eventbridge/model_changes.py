"""What an instance last saw of its row: how a save knows what it changed, without asking the database."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Field, JSONField, Model
from django.db.models.fields.files import FieldFile

#: Where an instance keeps what it saw: (primary key, {attname: ((value, moment), ...)}), newest last.
_SEEN: Final = "_eventbridge_seen"
#: Values remembered of one field: each rolled-back transaction may leave one. Without the oldest the next
#: save counts as a change.
_MAX_SEEN: Final = 8
_IMMUTABLE = (
    *(str, bytes, int, float, bool, type(None), decimal.Decimal, uuid.UUID),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object; given to ``data`` and ``when`` where they take two arguments.

    ``kind`` is created, updated, deleted, or the name of a many-to-many field. ``before`` and ``after`` hold
    the fields named in ``changed`` that did change (without ``changed=``: all that did), by name, a foreign
    key as its key; a value that nobody saw before is missing in ``before``. A created object has
    all of them in ``after``, a deleted one in ``before``. ``added`` and ``removed`` are primary keys, for a
    many-to-many field.
    """

    kind: str
    before: Mapping[str, Any] = field(default_factory=dict, repr=False)
    after: Mapping[str, Any] = field(default_factory=dict, repr=False)
    added: frozenset[Any] = frozenset()
    removed: frozenset[Any] = frozenset()


class Unknown:
    """The type of UNKNOWN: a value that nobody saw."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
Difference = tuple[Any, Any]
"""Before and after; before is UNKNOWN where the instance never saw it."""


def loaded(instance: Model, watched: Iterable[Field[Any, Any]], alias: str) -> None:
    """Remember what the instance just read of its row from database ``alias``."""
    when = _moment(alias)
    values = instance.__dict__
    seen = {
        item.attname: ((frozen(values[item.attname]), when),) for item in watched if item.attname in values
    }
    values[_SEEN] = (instance.pk, seen)


def written(
    instance: Model, watched: Iterable[Field[Any, Any]], alias: str, only: Collection[str] | None = None
) -> None:
    """Remember what the instance holds as what its row holds, if this transaction commits.

    ``only``, names or attnames, limits it to these fields, as ``update_fields`` does.
    """
    when = _moment(alias)
    pk, seen = instance.__dict__.get(_SEEN, (None, {}))
    kept = dict(seen) if pk == instance.pk else {}
    for item in watched:
        if only is None or item.name in only or item.attname in only:
            value = instance.__dict__.get(item.attname, UNKNOWN)
            if value is UNKNOWN or is_expression(value):
                kept.pop(item.attname, None)
            else:
                kept[item.attname] = _after(kept.get(item.attname, ()), frozen(value), when)
    instance.__dict__[_SEEN] = (instance.pk, kept)


def forget(instance: Model) -> None:
    """Know nothing: the next save counts as a change."""
    instance.__dict__.pop(_SEEN, None)


def differences(
    instance: Model, watched: Iterable[Field[Any, Any]], only: Collection[str] | None = None
) -> dict[str, Difference]:
    """What a save that wrote ``only`` these fields (None: all) has changed, by attname. Never queries."""
    pk, seen = instance.__dict__.get(_SEEN, (None, {}))
    if pk != instance.pk:  # another row than the one that was read
        seen = {}
    found = {}
    for item in watched:
        if only is None or item.name in only or item.attname in only:
            value = instance.__dict__.get(item.attname, UNKNOWN)
            after = value if value is UNKNOWN or is_expression(value) else frozen(value)
            before, same = _before(item, seen.get(item.attname, ()), after)
            if not same:
                found[item.attname] = (before, after)
    return found


def values_of(instance: Model, watched: Iterable[Field[Any, Any]]) -> dict[str, Any]:
    """What the instance holds of these fields, by attname; the deferred are missing."""
    values = instance.__dict__
    return {item.attname: frozen(values[item.attname]) for item in watched if item.attname in values}


def between(former: Model, present: Model, watched: Iterable[Field[Any, Any]]) -> dict[str, Difference]:
    """The differences of two readings of one row."""
    found = {}
    for item in watched:
        before, after = (frozen(getattr(row, item.attname)) for row in (former, present))
        if before != after:
            found[item.attname] = (before, after)
    return found


def is_expression(value: object) -> bool:
    """Whether the database, and not Python, knows the value: ``F("stock") - 1``."""
    return hasattr(value, "resolve_expression")


def frozen(value: Any) -> Any:
    """The value as it is now, whatever is done to a list or dict in place later."""
    if isinstance(value, _IMMUTABLE) or is_expression(value):
        return value
    if isinstance(value, FieldFile):
        return value.name
    if isinstance(value, memoryview):
        return bytes(value)
    return copy.deepcopy(value)


class _Moment:
    """A stretch of one transaction. What was seen in it holds while it is open, and after its commit.

    It is its own ``on_commit`` callback: a rollback, also of an inner ``atomic()``, drops the callback and
    all after it, and that is how it knows. Once dropped it may be rolled back, or committed a moment ago:
    nobody can tell. (Django drops none at ``transaction.savepoint_rollback()``, called by hand.)
    """

    __slots__ = ("alias", "committed", "position", "savepoints")

    def __init__(self, alias: str, savepoints: tuple[str, ...], position: int) -> None:
        self.alias = alias
        self.savepoints = savepoints
        self.position = position
        self.committed = False

    def __call__(self) -> None:
        self.committed = True

    def __bool__(self) -> bool:
        if self.committed:
            return True
        hooks = connections[self.alias].run_on_commit
        return self.position < len(hooks) and hooks[self.position][1] is self

    def __reduce__(self) -> tuple[type[bool], tuple[bool]]:
        """A pickled instance keeps a plain True or False, so that caches outlive this package."""
        return bool, (self.committed,)


def _moment(alias: str) -> _Moment | bool:
    """What is seen now is certain (True), certain if this transaction commits, or unsure (False)."""
    connection = connections[alias]
    if not connection.in_atomic_block:
        return connection.autocommit  # the attribute: asking by the method would open a connection
    savepoints = tuple(sid for sid in connection.savepoint_ids if sid)
    latest: _Moment | None = vars(connection).get("_eventbridge_moment")
    if latest is not None and latest.savepoints == savepoints and not latest.committed and latest:
        return latest
    moment = _Moment(alias, savepoints, len(connection.run_on_commit))
    connection.on_commit(moment)
    vars(connection)["_eventbridge_moment"] = moment
    return moment


def _after(
    entries: tuple[tuple[Any, _Moment | bool], ...], value: Any, when: _Moment | bool
) -> tuple[tuple[Any, _Moment | bool], ...]:
    """One more entry, in the place of what the same moment wrote before."""
    if not isinstance(when, _Moment):
        return ((value, when),)
    kept = tuple(entry for entry in entries if entry[1] is not when)
    return (*kept, (value, when))[-_MAX_SEEN:]


def _before(item: Field[Any, Any], entries: tuple[tuple[Any, _Moment | bool], ...], after: Any) -> Difference:
    """The value that is known to hold, newest first, and whether the row surely held ``after`` already.

    Values of moments that may be rolled back stand above it: the row may hold any of them.
    """
    same = after is not UNKNOWN and not is_expression(after)
    for value, when in reversed(entries):
        same = same and _equal(item, value, after)
        if when:
            return value, same
    return UNKNOWN, False


def _equal(item: Field[Any, Any], before: Any, after: Any) -> bool:
    if isinstance(item, JSONField):  # 1 == True == 1.0 in Python, but not in JSON
        return repr(before) == repr(after)
    if before == after:
        return True
    if type(before) is type(after) or before is None or after is None:
        return False
    try:  # "10.00" was assigned where the row gave Decimal("10.00")
        return bool(item.to_python(before) == item.to_python(after))
    except (ValidationError, TypeError, ValueError):
        return False

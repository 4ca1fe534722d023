"""Predict what a column returns for a value assigned to it, without reading the row.

Only for Django's own fields, and only for values whose conversion to the column and back is known. For any
other field or value the result is UNSURE, and the row must be read.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Field, Model
from django.db.models.fields.files import FieldFile
from django.utils import timezone


class Unsure:
    """The type of UNSURE: only the database knows the value."""

    def __repr__(self) -> str:
        return "UNSURE"


UNSURE: Final = Unsure()

#: The attributes that decide how a value is written and read back. A third-party field that overrides one
#: of them is not trusted.
_BEHAVIOUR: Final = frozenset(
    {
        *("contribute_to_class", "descriptor_class", "attr_class", "pre_save", "to_python", "from_db_value"),
        *(
            "get_prep_value",
            "get_db_prep_value",
            "get_db_prep_save",
            "get_placeholder",
            "get_placeholder_sql",
        ),
        *("db_type", "rel_db_type", "db_parameters", "get_internal_type"),
    }
)
#: SQLite stores decimals as floating-point numbers, so more digits than this may change.
_DECIMAL_DIGITS: Final = 15
#: Numbers that jsonb formats differently from Python.
_JSON_NUMBERS: Final = re.compile(r"\d[eE][-+]?\d|-0\b|NaN|Infinity")


Rule = Callable[[Any, Any], Any]
"""Takes a field and a value assigned to it; returns what SELECT returns, or UNSURE."""


def is_expression(value: object) -> bool:
    """Whether the database computes the value, as for ``F("stock") - 1``."""
    return hasattr(value, "resolve_expression")


def stored(field: Field[Any, Any], value: Any) -> Any:
    """What a SELECT returns after ``value`` was written to the column of ``field``, or UNSURE."""
    return stored_by(rule_of(field), field, value)


def stored_by(rule: Rule | None, field: Field[Any, Any], value: Any) -> Any:
    """``stored`` for a known ``rule_of(field)``, which takes longer to find than to apply."""
    if rule is None or is_expression(value):
        return UNSURE
    if value is None:
        return None
    try:
        return rule(field, value)
    except (ValidationError, TypeError, ValueError, ArithmeticError):
        return UNSURE


def is_plain(field: Field[Any, Any]) -> bool:
    """Whether the field is Django's own, so that its attribute reads only its own column."""
    return rule_of(field) is not None


def settled(instance: Model, former: Mapping[str, Any] | None) -> Callable[[str], bool]:
    """A predicate: whether an attribute kept its value during the save, so that this value was written.

    ``former`` is what the instance held before. The ``pre_save`` of a third-party field may change any
    attribute after its value was taken, and a model may override how its rows are written.
    """
    if saves_as_django(type(instance)):
        return lambda name: True  # noqa: ARG005
    if former is None or not _writes_as_django(type(instance)):
        return lambda name: False  # noqa: ARG005
    values = vars(instance)

    def unchanged(name: str) -> bool:
        value = values.get(name, UNSURE)
        return value is former.get(name) and not isinstance(value, (dict, list, set))

    return unchanged


@functools.cache
def saves_as_django(model: type[Model]) -> bool:
    """Whether only Django's code takes part in writing a row."""
    fields = model._meta.concrete_fields
    own = all(_is_djangos(type(field).pre_save) and "pre_save" not in vars(field) for field in fields)
    return own and _writes_as_django(model)


@functools.cache
def _writes_as_django(model: type[Model]) -> bool:
    return all(_is_djangos(getattr(model, name, None)) for name in ("_do_update", "_do_insert"))


def same(field: Field[Any, Any], before: Any, after: Any) -> bool:
    """Whether two values of one column, as returned by SELECT, are equal."""
    if isinstance(field, models.JSONField):  # 1 == True == 1.0 in Python, but not in JSON
        return _json_text(field, before) == _json_text(field, after)
    if isinstance(before, memoryview) or isinstance(after, memoryview):
        before, after = _bytes(before), _bytes(after)
    if _is_aware(before) and _is_aware(after):  # Python never finds them equal in an hour that occurs twice
        before, after = before.astimezone(dt.UTC), after.astimezone(dt.UTC)
    return bool(before == after) or (before != before and after != after)  # noqa: PLR0124 - NaN


def _is_aware(value: Any) -> bool:
    return isinstance(value, dt.datetime) and timezone.is_aware(value)


def _is_djangos(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("django.")


@functools.cache
def rule_of(field: Field[Any, Any]) -> Rule | None:
    """How values of this column are converted; None if that is not known."""
    if not field.model._meta.managed:
        return None  # its columns may have any type
    lineage = type(field).__mro__
    known = next((cls for cls in lineage if cls in _RULES), None)
    if known is None or _BEHAVIOUR & vars(field).keys():
        return None
    for cls in lineage[: lineage.index(known)]:
        if not cls.__module__.startswith("django.") and _BEHAVIOUR & vars(cls).keys():
            return None
    descriptor = inspect.getattr_static(field.model, field.attname, None)
    return _RULES[known] if type(descriptor).__module__.startswith("django.") else None


def _text(field: Field[Any, Any], value: Any) -> Any:
    text = field.to_python(value)
    if isinstance(text, enum.Enum):
        text = text.value
    return UNSURE if field.max_length and len(text) > field.max_length else str(text)


def _integer(field: Field[Any, Any], value: Any) -> int:
    return int(field.to_python(value))


def _boolean(field: Field[Any, Any], value: Any) -> Any:
    return field.to_python(value)


def _decimal(field: Any, value: Any) -> Any:
    number: decimal.Decimal = field.to_python(value)
    exact = number.quantize(decimal.Decimal(1).scaleb(-field.decimal_places), context=field.context)
    rounded = exact != number or (exact.is_zero() and exact.is_signed())
    return UNSURE if rounded or len(exact.as_tuple().digits) > _DECIMAL_DIGITS else exact


def _float(field: Field[Any, Any], value: Any) -> Any:
    number = float(field.to_python(value))
    # SQLite stores NaN as NULL; SQLite and MySQL store -0.0 as 0.0.
    return UNSURE if not math.isfinite(number) or (number == 0 and math.copysign(1, number) < 0) else number


def _datetime(field: Field[Any, Any], value: Any) -> Any:
    moment = value if isinstance(value, dt.date) else field.to_python(value)
    if not isinstance(moment, dt.datetime):
        return UNSURE
    if not settings.USE_TZ:
        return moment if timezone.is_naive(moment) else UNSURE
    if timezone.is_naive(moment):  # as Django itself reads it when it saves
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.astimezone(dt.UTC)


def _time(field: Field[Any, Any], value: Any) -> Any:
    time = field.to_python(value)
    return time if time.tzinfo is None else UNSURE


def _simple(field: Field[Any, Any], value: Any) -> Any:
    return field.to_python(value)


def _binary(field: Field[Any, Any], value: Any) -> Any:  # noqa: ARG001
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else UNSURE


def _json(field: Any, value: Any) -> Any:
    text = json.dumps(value, cls=field.encoder)
    return UNSURE if _JSON_NUMBERS.search(text) else json.loads(text, cls=field.decoder)


def _file(field: Field[Any, Any], value: Any) -> Any:
    name = (value.name if isinstance(value, FieldFile) else value) or ""
    if not isinstance(name, str) or (field.max_length and len(name) > field.max_length):
        return UNSURE
    return name


def _key(field: Any, value: Any) -> Any:
    return UNSURE if value == "" else stored(field.target_field, value)


_RULES: Final[dict[type, Callable[[Field[Any, Any], Any], Any]]] = {
    models.CharField: _text,
    models.TextField: _text,
    models.FilePathField: _text,
    models.IntegerField: _integer,
    models.BooleanField: _boolean,
    models.DecimalField: _decimal,
    models.FloatField: _float,
    models.DateTimeField: _datetime,
    models.DateField: _simple,
    models.TimeField: _time,
    models.DurationField: _simple,
    models.UUIDField: _simple,
    models.BinaryField: _binary,
    models.JSONField: _json,
    models.FileField: _file,
    models.ForeignKey: _key,
}


def _json_text(field: Any, value: Any) -> str:
    """With sorted keys, because jsonb has its own order."""
    return json.dumps(value, sort_keys=True, cls=field.encoder, default=repr)


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value

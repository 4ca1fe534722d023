"""Columns that behave the same on every database: text compared exactly, and times always readable."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, DateTimeField, F, Func, Model
from django.db.models.expressions import OrderBy

if TYPE_CHECKING:
    _Text = CharField[str, str]
    _Time = DateTimeField[Any, Any]
else:
    _Text, _Time = CharField, DateTimeField

#: The range PostgreSQL may return; any zone's offset, or a century, can be added to it.
_FIRST, _LAST = "1000-01-01 00:00:00+00", "9000-01-01 00:00:00+00"


class ExactCharField(_Text):
    """Text that identifies: ``A`` differs from ``a``, and trailing spaces count.

    Default collations of MySQL and MariaDB ignore case (and pad with spaces), so that two ordering keys or
    event ids would be equal.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = dict(super().db_parameters(connection))
        if connection.vendor == "mysql":
            mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
        return parameters


class _ReadableDateTimeField(_Time):
    """A time that Python can hold. Migrations see a DateTimeField.

    PostgreSQL stores years after 9999 and infinity, and the driver raises when it reads one, so that a single
    row would break every query that finds it. Such a time is read as the year 9000. One before the year 1000
    is read as None. The stored value is unchanged, also in conditions and ordering.
    """

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        if compiler.connection.vendor != "postgresql":
            return sql, params
        # Not CASE, which would compute a subquery three times; NULL stays NULL.
        first, last = f"TIMESTAMPTZ '{_FIRST}'", f"TIMESTAMPTZ '{_LAST}'"
        return f"NULLIF(LEAST(GREATEST({sql}, {first}), {last}), {first})", params

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _path, arguments, keywords = super().deconstruct()
        return name, "django.db.models.DateTimeField", arguments, keywords


if TYPE_CHECKING:
    ReadableDateTimeField = DateTimeField  # its values' types, null or not, are Django's
else:
    ReadableDateTimeField = _ReadableDateTimeField


class Stored(Func):
    """A column as it is stored, for ORDER BY.

    Django orders by the place of a column in the SELECT list if it is selected. There a ReadableDateTimeField
    is an expression, for which there is no index: PostgreSQL would sort every row that a query could return.
    """

    template = "%(expressions)s"
    arity = 1


def by_stored(model: type[Model], name: Any) -> Any:
    """What orders by the field ``name`` of the model, or ``-name``, with its index; others are left alone."""
    if not isinstance(name, str) or "__" in name:
        return name
    column = name.removeprefix("-")
    field = next((each for each in model._meta.concrete_fields if each.name == column), None)
    if not isinstance(field, _ReadableDateTimeField):
        return name
    return OrderBy(Stored(F(column)), descending=name != column)

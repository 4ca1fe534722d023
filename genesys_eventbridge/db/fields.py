"""Columns that behave alike on every database: text that is compared exactly, and times that can be read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, DateTimeField

if TYPE_CHECKING:
    _Text = CharField[str, str]
    _Time = DateTimeField[Any, Any]
else:
    _Text, _Time = CharField, DateTimeField

#: What PostgreSQL may return; in between, a century can be added and any zone's offset, too.
_FIRST, _LAST = "1000-01-01 00:00:00+00", "9000-01-01 00:00:00+00"


class ExactCharField(_Text):
    """Text that identifies: ``A`` is not ``a``, and a trailing space counts.

    MySQL's and MariaDB's default collations ignore case (and pad with spaces), so that two ordering keys
    or event ids would be one.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = dict(super().db_parameters(connection))
        if connection.vendor == "mysql":
            mariadb = getattr(connection, "mysql_is_mariadb", False)
            parameters["collation"] = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
        return parameters


class _ReadableDateTimeField(_Time):
    """A time that Python can hold. To migrations it is a DateTimeField.

    PostgreSQL stores years after 9999 and infinity; the driver raises as soon as it reads one, so that a
    single row would stop every query that finds it. Such a time is read as the year 9000. One before the
    year 1000 is read as none. The value in the table is left alone, also in conditions and in the order.
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
    ReadableDateTimeField = DateTimeField  # the types of its values, null or not, are Django's
else:
    ReadableDateTimeField = _ReadableDateTimeField

"""A CharField whose values are compared exactly, on every database."""

from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField

if TYPE_CHECKING:
    _Text = CharField[str, str]
else:
    _Text = CharField


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

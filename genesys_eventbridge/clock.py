"""The database's clock as one SQL expression: every due time of every worker on every host comes from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func
from django.utils import timezone

_shift: ContextVar[float] = ContextVar("genesys_eventbridge_clock_shift", default=0.0)


class DatabaseNow(Func):
    """The database's present time plus ``seconds``, as Django would store it.

    Django's ``Now()`` is the session's time on MySQL and MariaDB, and UTC on SQLite even where
    DATABASES TIME_ZONE or USE_TZ=False make Django read values in another zone; there the distance of
    that zone is added.
    """

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = float(seconds)

    def as_sql(  # type: ignore[override]  # the stubs know text and int parameters only
        self, compiler: Any, connection: BaseDatabaseWrapper, **extra_context: Any
    ) -> tuple[str, tuple[float]]:
        return now_sql(connection, "%s"), (self.seconds,)

    def get_group_by_cols(self) -> list[Any]:
        return []


def now_sql(connection: BaseDatabaseWrapper, seconds: str) -> str:
    """SQL for the present time plus ``seconds``, itself a piece of SQL: a placeholder or a column."""
    moved = _shift.get()
    if connection.vendor == "postgresql":
        return f"(STATEMENT_TIMESTAMP() + ({seconds} + {moved!r}) * INTERVAL '1 second')"
    moved += _zone_offset(connection)
    if connection.vendor == "mysql":
        return f"TIMESTAMPADD(MICROSECOND, ROUND(({seconds} + {moved!r}) * 1000000), UTC_TIMESTAMP(6))"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', PRINTF('%%+.3f seconds', {seconds} + {moved!r}))"


@contextmanager
def shifted(seconds: float) -> Iterator[None]:
    """Read the database's clock ``seconds`` later (or earlier) within this block: for tests only."""
    token = _shift.set(_shift.get() + float(seconds))
    try:
        yield
    finally:
        _shift.reset(token)


def _zone_offset(connection: BaseDatabaseWrapper) -> float:
    """Seconds between UTC and the zone in which Django reads this connection's naive values."""
    zone = connection.timezone if settings.USE_TZ else timezone.get_default_timezone()
    offset = dt.datetime.now(zone).utcoffset()
    return offset.total_seconds() if offset else 0.0

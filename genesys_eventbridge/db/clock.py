"""The database's clock as one SQL expression: every due time of every worker on every host comes from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func
from django.utils import timezone

#: How far ahead a due time may lie, in seconds: 10 years. More is a mistake, such as milliseconds.
LONGEST_WAIT = 3652.5 * 86400

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


def require_steady_zone(alias: str, what: str) -> None:
    """Raise ImproperlyConfigured where ``changing_zone`` names one; ``what`` begins the sentence."""
    zone = changing_zone(alias)
    if zone:
        raise ImproperlyConfigured(
            f"{what}: Django keeps the times of database {alias!r} in {zone}, where clocks change: in that "
            f"hour leases, pauses and doubts would be wrong by an hour. {steady_zone_hint(alias)}"
        )


def changing_zone(alias: str) -> str:
    """The zone in which Django keeps this database's times, if its offset from UTC changes; else "".

    Naive times of such a zone cannot be computed with: in autumn an hour comes twice, and nothing in the
    stored value says which one it is. Neither can aware ones that carry the zone, because Python subtracts
    two times of one zone by their wall clocks. Opens no connection.
    """
    zone = _zone(connections[alias])
    return str(zone) if _changes(zone) else ""


def steady_zone_hint(alias: str) -> str:
    if not settings.USE_TZ:
        return "Set USE_TZ = True, or a TIME_ZONE without daylight saving, such as UTC."
    return f'Remove "TIME_ZONE" from DATABASES[{alias!r}], or keep the outbox in another database.'


@cache
def _changes(zone: dt.tzinfo) -> bool:
    """Whether the offset differs within the last year or as far ahead as a due time may lie.

    Looked at once per week: the shortest daylight saving, that of Ramadan in Morocco, lasts a month.
    """
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=366)
    weeks = range(int((LONGEST_WAIT / 86400 + 366) / 7))
    offsets = {(begin + dt.timedelta(weeks=week)).astimezone(zone).utcoffset() for week in weeks}
    return len(offsets) > 1


def _zone(connection: BaseDatabaseWrapper) -> dt.tzinfo:
    return connection.timezone or timezone.get_default_timezone()


def _zone_offset(connection: BaseDatabaseWrapper) -> float:
    """Seconds between UTC and the zone in which Django reads this connection's naive values."""
    offset = dt.datetime.now(_zone(connection)).utcoffset()
    return offset.total_seconds() if offset else 0.0

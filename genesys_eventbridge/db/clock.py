"""The database's clock as one SQL expression, the source of every due time of every worker on every host."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func
from django.utils import timezone

#: How far ahead a due time may be, in seconds: 10 years. More is a mistake, such as milliseconds.
LONGEST_WAIT = 3652.5 * 86400

_shift: ContextVar[float] = ContextVar("genesys_eventbridge_clock_shift", default=0.0)
_compiles_once: ContextVar[bool] = ContextVar("genesys_eventbridge_clock_compiles_once", default=False)


class DatabaseNow(Func):
    """The database's current time plus ``seconds``, as Django would store it.

    Django's ``Now()`` is the session's time on MySQL and MariaDB. On SQLite it is UTC even if DATABASES
    TIME_ZONE or USE_TZ=False make Django read values in another zone; the offset of that zone is then added.
    """

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = float(seconds)

    def as_sql(  # type: ignore[override]  # the stubs know text and int parameters only
        self, compiler: Any, connection: BaseDatabaseWrapper, **extra_context: Any
    ) -> tuple[str, tuple[Any]]:
        return now_sql(connection, "%s", 0.0), (self._ahead if _compiles_once.get() else self._ahead(),)

    def _ahead(self, *_execution: object) -> float:
        return self.seconds + shift()

    def get_group_by_cols(self) -> list[Any]:
        return []


#: The current time. Shared by all queries: Django copies an expression when it resolves it.
NOW: Final = DatabaseNow()


def now_sql(connection: BaseDatabaseWrapper, seconds: str, moved: float | None = None) -> str:
    """SQL for the current time plus ``seconds``, which is SQL too: a placeholder or a column.

    ``moved`` is by how many seconds the clock is shifted, if not by ``shift()``.
    """
    moved = shift() if moved is None else moved
    if connection.vendor == "postgresql":
        if seconds == "0" and not moved:
            return "STATEMENT_TIMESTAMP()"
        return f"(STATEMENT_TIMESTAMP() + ({seconds} + {moved!r}) * INTERVAL '1 second')"
    offset = dt.datetime.now(_zone(connection)).utcoffset()  # of the zone in which Django reads naive values
    moved += offset.total_seconds() if offset else 0.0
    if connection.vendor == "mysql":
        return f"TIMESTAMPADD(MICROSECOND, ROUND(({seconds} + {moved!r}) * 1000000), UTC_TIMESTAMP(6))"
    if seconds == "0" and not moved:
        return "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', PRINTF('%%+.3f seconds', {seconds} + {moved!r}))"


@contextmanager
def shifted(seconds: float) -> Iterator[None]:
    """Shift the database's clock by ``seconds`` within this block; for tests only."""
    token = _shift.set(_shift.get() + float(seconds))
    try:
        yield
    finally:
        _shift.reset(token)


@contextmanager
def compiling_once() -> Iterator[None]:
    """In queries that are compiled within this block, the parameters of DatabaseNow are functions.

    They return the seconds when they are called, whatever their arguments: the clock may be shifted later.
    """
    token = _compiles_once.set(True)
    try:
        yield
    finally:
        _compiles_once.reset(token)


def shift() -> float:
    """By how many seconds the clock is shifted: 0 outside tests."""
    return _shift.get()


def require_steady_zone(alias: str, what: str) -> None:
    """Raise ImproperlyConfigured if ``changing_zone`` returns a zone; ``what`` begins the message."""
    zone = changing_zone(alias)
    if zone:
        raise ImproperlyConfigured(
            f"{what}: Django stores the times of database {alias!r} in {zone}, where clocks change. During "
            f"the change leases, pauses and deadlines would be wrong by an hour. {steady_zone_hint(alias)}"
        )


def changing_zone(alias: str) -> str:
    """The zone in which Django stores this database's times, if its offset from UTC changes; else "".

    Naive times in such a zone are ambiguous: in autumn an hour occurs twice. Aware times with such a zone
    are no better, because Python subtracts two times of one zone by their wall clocks. Opens no connection.
    """
    zone = _zone(connections[alias])
    return str(zone) if _changes(zone) else ""


def steady_zone_hint(alias: str) -> str:
    if not settings.USE_TZ:
        return "Set USE_TZ = True, or a TIME_ZONE without daylight saving, such as UTC."
    return f'Remove "TIME_ZONE" from DATABASES[{alias!r}], or keep the outbox in another database.'


@cache
def _changes(zone: dt.tzinfo) -> bool:
    """Whether the offset changes between a year ago and the latest possible due time.

    Sampled once per week: the shortest daylight saving change, for Ramadan in Morocco, lasts a month.
    """
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=366)
    weeks = range(int((LONGEST_WAIT / 86400 + 366) / 7))
    offsets = {(begin + dt.timedelta(weeks=week)).astimezone(zone).utcoffset() for week in weeks}
    return len(offsets) > 1


def _zone(connection: BaseDatabaseWrapper) -> dt.tzinfo:
    return connection.timezone or timezone.get_default_timezone()

"""Simulated time in seconds since the start, for the database, for the relay's durations and for waits."""

import datetime as dt
import heapq
import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from django.db.backends.base.base import BaseDatabaseWrapper

from genesys_eventbridge import steady
from genesys_eventbridge.db import clock

PACKAGE = "genesys_eventbridge"
#: How SQL reads the time on each database, and the fixed time that replaces it: a late statement must not
#: see a different time, or runs would not be repeatable.
DATABASE_TIME = {
    "sqlite": (r"'NOW'", "'{:%Y-%m-%d %H:%M:%S}'"),
    "postgresql": (r"(?:statement|clock)_timestamp\(\)", "TIMESTAMPTZ '{:%Y-%m-%d %H:%M:%S}+00'"),
    "mysql": (r"utc_timestamp\(6\)", "TIMESTAMP '{:%Y-%m-%d %H:%M:%S}'"),
}


class SimulatedClock:
    """Advances only when moved. It replaces ``time.monotonic`` and the stop event of a pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self._plans: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    def at(self, moment: float, do: Callable[[], object]) -> None:
        """Call ``do()`` when simulated time reaches ``moment``."""
        heapq.heappush(self._plans, (moment, next(self._numbers), do))

    @property
    def next_plan(self) -> float | None:
        """When the next planned call is due; None if nothing is planned."""
        return self._plans[0][0] if self._plans else None

    def move_to(self, moment: float) -> None:
        """Advance to ``moment``, never backwards, and run the planned calls on the way."""
        while self._plans and self._plans[0][0] <= moment:
            planned, _number, do = heapq.heappop(self._plans)
            self.now = max(self.now, planned)
            do()
        self.now = max(self.now, moment)

    def wait(self, seconds: float) -> bool:
        self.move_to(self.now + seconds)
        return False

    def is_set(self) -> bool:
        return False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Set the database's clock to the start plus ``now``, and measure durations in simulated time."""
        started = dt.datetime.now(dt.UTC).replace(microsecond=0, tzinfo=None)

        def stopped_sql(connection: BaseDatabaseWrapper, seconds: str, *moved: float) -> str:
            sql = now_sql(connection, seconds, *moved)
            pattern, literal = DATABASE_TIME[connection.vendor]
            stopped, found = re.subn(pattern, literal.format(started), sql, flags=re.IGNORECASE)
            assert found, f"{sql} does not read the time as DATABASE_TIME expects"
            return stopped

        now_sql = clock.now_sql
        package = [module for name, module in sys.modules.items() if name.startswith(PACKAGE)]
        with ExitStack() as patches:
            # Only there: for other modules a shifted clock is another one, and this is the same all the time.
            patches.enter_context(mock.patch.object(clock, "shift", self))
            for module in package:
                for name, original, stand_in in (
                    ("now_sql", now_sql, stopped_sql),
                    ("time", time, _Time(self)),
                    ("steady", steady, _Time(self)),
                ):
                    if vars(module).get(name) is original:
                        patches.enter_context(mock.patch.object(module, name, stand_in))
            yield


class _Time:
    """Replaces the module ``time``, with another monotonic clock."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

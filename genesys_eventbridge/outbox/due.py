"""Which events are due, and where a worker starts scanning for them."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.models import BigIntegerField, DateTimeField, Expression, F, Func
from django.db.models.lookups import GreaterThanOrEqual

from genesys_eventbridge.db.clock import NOW, shift
from genesys_eventbridge.db.compiled import Given
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.states import State

#: If full scans of the index are slow, a worker spends at most this share of its time on them, but does one
#: at least every LONGEST_PAUSE seconds.
SHARE = 0.01
LONGEST_PAUSE = 10.0
#: Scans are slow if the last WALKS all took longer than this many seconds: one alone may mean a busy machine.
CHEAP = 0.003
WALKS = 3

#: An event's place in the index: ``due_at`` and ``id``.
Place = tuple[dt.datetime, int]


def due_events(alias: str, state: State) -> OutboxQuerySet:
    """The events of one destination in this state that are due."""
    return OutboxEvent.objects.on_outbox().filter(state=state, destination=alias, due_at__lte=NOW)


class Pace:
    """Limits how often something slow is done: the longer it takes, the less often; see SHARE."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._costs: deque[float] = deque(maxlen=WALKS)
        self._again_at = 0.0

    def waits(self) -> float:
        """Seconds until it may be done again; 0: now."""
        return max(0.0, self._again_at - self._clock())

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the work in this block. If it raises, nothing is recorded."""
        began = self._clock()
        yield
        ended = self._clock()
        self._costs.append(ended - began)
        least = min(self._costs)
        dear = len(self._costs) == WALKS and least > CHEAP
        self._again_at = ended + min(least / SHARE, LONGEST_PAUSE) if dear else ended


class Scan:
    """Where the next look at the due events of one destination and state starts.

    A long transaction, such as a report or a backup, keeps the database from removing index entries of
    events that have moved on, and a scan from the beginning walks all of them. So a look starts at the
    first event that the last one saw. Events whose transaction commits late lie before that place; the next
    scan from the beginning finds them (``Pace``), so whoever finds nothing makes that one before it rests:
    see ``ScanRead.whole_in``. A place on one clock means nothing on another.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._place: Place | None = None
        self._shift = shift()

    @contextmanager
    def read(self) -> Iterator[ScanRead]:
        """One look; call its ``saw()`` with what was found."""
        if self._shift != shift():
            self._place, self._shift = None, shift()
        waits = self._pace.waits()
        if self._place is None or not waits:
            read = ScanRead(None)
            with self._pace.measured():
                yield read
        else:
            read = ScanRead(self._place, waits)
            yield read
        self._place = read.next or self._place


class ScanRead:
    """One look of a ``Scan``: where it starts, and where the next one will."""

    def __init__(self, place: Place | None, whole_in: float = 0.0) -> None:
        self._place = place
        #: Seconds until a look may start at the beginning; 0 if this one did.
        self.whole_in = whole_in
        self.next: Place | None = None

    @property
    def is_whole(self) -> bool:
        """Whether this look starts at the beginning."""
        return self._place is None

    def place(self, prefix: str = "") -> dict[str, Any]:
        """The values of ``given_place(prefix)``; none if this look starts at the beginning."""
        if self._place is None:
            return {}
        due_at, pk = self._place
        return {f"{prefix}place_at": due_at, f"{prefix}place_id": pk}

    def saw(self, first: Place | None, now: dt.datetime) -> None:
        """Start the next look at the first event seen, or at ``now``, a time before this look, if earlier."""
        self.next = min(first, (now, 0)) if first else (now, 0)


def from_place(rows: OutboxQuerySet, due_at: Expression, pk: Expression) -> OutboxQuerySet:
    """Those of ``rows`` at or after a place."""
    place = GreaterThanOrEqual(_pair(F("due_at"), F("id")), _pair(due_at, pk))
    # due_at__gte alone is what MySQL and MariaDB can use the index for.
    return rows.filter(place, due_at__gte=due_at)


def given_place(prefix: str = "") -> tuple[Given, Given]:
    """A place that a compiled query gets from ``ScanRead.place(prefix)``."""
    # No AutoField: 0 comes before every id, and Django 5.2 refuses it there on MySQL and MariaDB.
    due_at = Given(f"{prefix}place_at", OutboxEvent._meta.get_field("due_at"))
    return due_at, Given(f"{prefix}place_id", BigIntegerField())


def _pair(due_at: Expression | F, pk: Expression | F) -> Func:
    return Func(due_at, pk, template="(%(expressions)s)", output_field=DateTimeField())


_scans: dict[tuple[str, State], Scan] = {}


def scan(alias: str, state: State) -> Scan:
    """This process's scan. On SQLite each look starts at the beginning: it has no such index entries."""
    if connections[outbox_alias()].vendor == "sqlite":
        return Scan()
    return _scans.setdefault((alias, state), Scan())


def forget() -> None:
    """Start over, as a new process would; for tests."""
    _scans.clear()

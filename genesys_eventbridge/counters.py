"""Counters for the dashboard and for metrics: what a pass did, added to five-minute buckets and to totals.

Each table takes one statement, all in one transaction: a total and its buckets agree, whatever is killed.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections
from django.db.models import Model, QuerySet

from genesys_eventbridge.db import PASSING, in_small_transaction
from genesys_eventbridge.db.clock import DatabaseNow, now_sql
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import DeliveryTime, Rollup, Total, outbox_alias
from genesys_eventbridge.platform.outcomes import WELL, Outcome
from genesys_eventbridge.states import AttemptKind, State

logger = logging.getLogger("genesys_eventbridge")

#: Lengths of buckets and how long they are kept, in seconds: one day more than the longest range shown.
BUCKET = 300
HOUR = 3600
KEPT = 31 * 86400.0
#: Delivery times by type are kept this long per BUCKET, and as long as all others per HOUR.
TIMES_KEPT = 2.0 * HOUR
#: So many types of a destination per day are timed separately; others are timed together, as type "".
TYPES = 50
#: Final states that are counted.
ENDS = (State.DELIVERED, State.DEAD, State.UNRESOLVED)
#: Kinds of errors counted separately per pass; further ones are counted as "other".
ERRORS = 20
OTHER = "other"
#: Measures that have a total, apart from MILLISECONDS; their number is bounded.
TOTALLED = ("publish:", "check:", "within:")
#: The measure of the sum of all delivery times, which only has a total.
MILLISECONDS = "milliseconds"
#: Delivery times are counted in steps of half powers of two, starting at this many seconds.
FINEST = 0.1
COARSEST = 60

_EXCEPTION = re.compile(r"[A-Z][A-Za-z]{0,30}(?:Error|Timeout)\b")
#: Rows per statement.
ROWS = 500
_told: set[str] = set()
#: By destination: the hour in which its types were read, and the types that are timed separately.
_types: dict[str, tuple[int, set[str]]] = {}

#: Events delivered, by type and step.
Times = Mapping[tuple[str, int], int]


class PassCounters:
    """What one pass over one destination did: numbers of events and requests by measure."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self._numbers: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._times: Counter[tuple[str, int]] = Counter()
        self._seconds = 0.0

    def asked(self, kind: AttemptKind, outcome: Outcome) -> None:
        """Count one request and its outcome."""
        self._numbers[f"{kind.value}:{outcome.verdict.value}"] += 1
        if outcome.verdict not in WELL:
            self._errors[error_class(outcome)] += 1

    def took(self, seconds: float, event_type: str) -> None:
        """Count one event of this type delivered ``seconds`` after it could have been."""
        self._numbers[f"within:{step(seconds)}"] += 1
        self._times[event_type, step(seconds)] += 1
        self._seconds += max(0.0, seconds)

    def write(self, states: Mapping[str, int]) -> None:
        """Write all counters, and the events by their new state. Does nothing if everything is zero."""
        numbers = self._numbers + Counter({end.value: states.get(end.value, 0) for end in ENDS})
        common = dict(self._errors.most_common(ERRORS))
        numbers.update({f"error:{name}": number for name, number in common.items()})
        if rest := self._errors.total() - sum(common.values()):
            numbers[f"error:{OTHER}"] += rest
        add(self.destination, numbers, self._times, self._seconds)


def add(
    destination: str, numbers: Mapping[str, int], times: Times | None = None, seconds: float = 0.0
) -> None:
    """Add numbers and delivery times to the current buckets and to the totals; ``seconds`` is their sum.

    Database errors are logged once and dropped, buckets and totals together.

    All workers write rows in the same order, so that two of them cannot deadlock.
    """
    rows = [(measure, number) for measure, number in sorted(numbers.items()) if number > 0]
    if not rows:
        return
    try:
        alias = outbox_alias()
        timed = _bounded(alias, destination, times) if times else []
        totals = [row for row in rows if row[0].startswith(TOTALLED)]
        if milliseconds := round(seconds * 1000):
            totals = sorted([*totals, (MILLISECONDS, milliseconds)])
        in_small_transaction(alias, partial(_write, alias, destination, rows, timed, totals))
    except DatabaseError as error:
        name = type(error).__name__
        if name not in _told:
            _told.add(name)
            report(
                error,
                "Cannot write the dashboard's counters for %s (%s)",
                destination,
                name,
                level=logging.WARNING,
                expected=PASSING,
            )
    else:
        _told.clear()


def prune(batch_size: int) -> int:
    """Delete up to ``batch_size`` old rows of each kind, of any destination; returns how many."""
    alias = outbox_alias()
    numbers = Rollup.objects.using(alias).filter(starts_at__lt=DatabaseNow(-KEPT))
    times = DeliveryTime.objects.using(alias)
    fine = times.filter(seconds=BUCKET, starts_at__lt=DatabaseNow(-TIMES_KEPT))
    coarse = times.filter(seconds=HOUR, starts_at__lt=DatabaseNow(-KEPT))
    return sum(_delete(alias, old, batch_size) for old in (numbers, fine, coarse))


def _delete(alias: str, old: QuerySet[Any], batch_size: int) -> int:
    ids = list(old.order_by("starts_at").values_list("id", flat=True)[:batch_size])
    rows = old.model._default_manager.using(alias).filter(id__in=ids)
    return in_small_transaction(alias, rows.delete)[0] if ids else 0


def error_class(outcome: Outcome) -> str:
    """A short name for what went wrong: the HTTP status, the exception, or the kind of halt."""
    if outcome.status_code is not None:
        return str(outcome.status_code)
    if named := _EXCEPTION.match(outcome.error):
        return named[0]
    return outcome.halt.value if outcome.halt else OTHER


def step(seconds: float) -> int:
    """The smallest n with ``seconds <= upper(n)``, at most COARSEST."""
    if seconds <= FINEST:
        return 0
    return min(COARSEST, math.ceil(round(2 * math.log2(seconds / FINEST), 6)))


def upper(n: int) -> float:
    """The longest time in seconds that ``within:<n>`` counts."""
    return FINEST * math.sqrt(2) ** n


def forget() -> None:
    """Start over, as a new process would; for tests."""
    _told.clear()
    _types.clear()


def _bounded(alias: str, destination: str, times: Times) -> list[tuple[str, int, int]]:
    """Type, step and number, sorted; the types of the day beyond the first TYPES are one type, ""."""
    hour = int(time.time() // HOUR)
    read, known = _types.get(destination, (0, set()))
    if read != hour:
        day = DeliveryTime.objects.using(alias).filter(seconds=HOUR, starts_at__gt=DatabaseNow(-24 * HOUR))
        found = day.filter(destination=destination).order_by().values_list("type", flat=True).distinct()
        known = set(found[: 2 * TYPES]) - {""}
        _types[destination] = hour, known
    common: Counter[str] = Counter()
    for (event_type, _step), number in times.items():
        common[event_type] += number
    for event_type, _number in common.most_common():
        if len(known) < TYPES:
            known.add(event_type)
    bounded: Counter[tuple[str, int]] = Counter()
    for (event_type, step_), number in times.items():
        bounded[event_type if event_type in known else "", step_] += number
    return [(*key, number) for key, number in sorted(bounded.items())]


def _write(
    alias: str,
    destination: str,
    rows: list[tuple[str, int]],
    times: list[tuple[str, int, int]],
    totals: list[tuple[str, int]],
) -> None:
    """Add in one statement each, without reading first."""
    connection = connections[alias]
    _upsert(
        connection,
        Rollup,
        ("starts_at", "destination", "measure"),
        [(_bucket(connection, BUCKET), (destination, *row)) for row in rows],
    )
    _upsert(
        connection,
        DeliveryTime,
        ("starts_at", "seconds", "destination", "type", "step"),
        [
            (_bucket(connection, seconds), (seconds, destination, *row))
            for seconds in (BUCKET, HOUR)
            for row in times
        ],
    )
    _upsert(connection, Total, ("destination", "measure"), [("", (destination, *row)) for row in totals])


def _upsert(
    connection: Any, model: type[Model], key: tuple[str, ...], rows: list[tuple[str, tuple[Any, ...]]]
) -> None:
    """Each row is SQL for its bucket, or "", then the rest of its key and the number.

    No name comes from outside.
    """
    table = connection.ops.quote_name(model._meta.db_table)
    if connection.vendor == "mysql":
        conflict = "ON DUPLICATE KEY UPDATE number = number + VALUES(number)"
    else:
        conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET number = {table}.number + excluded.number"
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        values = ", ".join(
            f"({', '.join([*filter(None, [bucket]), *(['%s'] * len(given))])})" for bucket, given in part
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(key)}, number) VALUES {values} {conflict}",  # noqa: S608
                [value for _bucket, values in part for value in values],
            )


def _bucket(connection: Any, length: int) -> str:
    """SQL for the start of the current bucket of ``length`` seconds, by the database's clock."""
    now = now_sql(connection, "0")
    if connection.vendor == "postgresql":
        return f"TO_TIMESTAMP(FLOOR(EXTRACT(EPOCH FROM {now}) / {length}) * {length})"
    if connection.vendor == "mysql":
        epoch = "TIMESTAMP'1970-01-01 00:00:00'"
        seconds = f"FLOOR(TIMESTAMPDIFF(SECOND, {epoch}, {now}) / {length}) * {length}"
        return f"TIMESTAMPADD(SECOND, {seconds}, {epoch})"
    seconds = f"CAST(STRFTIME('%%s', {now}) AS INTEGER) / {length} * {length}"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', {seconds}, 'unixepoch')"

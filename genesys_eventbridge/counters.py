"""Counters for the dashboard: what a pass did, added to its five-minute bucket in one statement."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections

from genesys_eventbridge.db import PASSING, in_small_transaction
from genesys_eventbridge.db.clock import DatabaseNow, now_sql
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import Rollup, outbox_alias
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.states import AttemptKind, State

logger = logging.getLogger("genesys_eventbridge")

#: Length of one bucket and how long buckets are kept, in seconds.
BUCKET = 300
KEPT = 30 * 86400.0
#: Final states that are counted.
ENDS = (State.DELIVERED, State.DEAD, State.UNRESOLVED)
#: Verdicts that are not errors.
WELL = frozenset({Verdict.ACCEPTED, Verdict.DELIVERED, Verdict.NOT_YET})
#: Kinds of errors counted separately per pass; further ones are counted as "other".
ERRORS = 20
OTHER = "other"
#: Delivery times are counted in steps of half powers of two, starting at this many seconds.
FINEST = 0.1
COARSEST = 60

_EXCEPTION = re.compile(r"[A-Z][A-Za-z]{0,30}(?:Error|Timeout)\b")
_told: set[str] = set()


class PassCounters:
    """What one pass over one destination did: numbers of events and requests by measure."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self._numbers: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    def asked(self, kind: AttemptKind, outcome: Outcome) -> None:
        """Count one request and its outcome."""
        self._numbers[f"{kind.value}:{outcome.verdict.value}"] += 1
        if outcome.verdict not in WELL:
            self._errors[error_class(outcome)] += 1

    def took(self, seconds: float) -> None:
        """Count one event delivered ``seconds`` after it could have been."""
        self._numbers[f"within:{step(seconds)}"] += 1

    def write(self, states: Mapping[str, int]) -> None:
        """Write all counters, and the events by their new state. Does nothing if everything is zero."""
        numbers = self._numbers + Counter({end.value: states.get(end.value, 0) for end in ENDS})
        common = dict(self._errors.most_common(ERRORS))
        numbers.update({f"error:{name}": number for name, number in common.items()})
        if rest := self._errors.total() - sum(common.values()):
            numbers[f"error:{OTHER}"] += rest
        add(self.destination, numbers)


def add(destination: str, numbers: Mapping[str, int]) -> None:
    """Add ``numbers`` to the current bucket. Database errors are logged once and dropped.

    All workers write rows in the same order, so that two of them cannot deadlock.
    """
    rows = [(measure, number) for measure, number in sorted(numbers.items()) if number > 0]
    if not rows:
        return
    try:
        alias = outbox_alias()
        in_small_transaction(alias, partial(_upsert, alias, destination, rows))
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
    """Delete up to ``batch_size`` rows older than 30 days, of any destination; returns how many."""
    alias = outbox_alias()
    rows = Rollup.objects.using(alias)
    old = rows.filter(starts_at__lt=DatabaseNow(-KEPT)).order_by("starts_at")
    ids = list(old.values_list("id", flat=True)[:batch_size])
    return in_small_transaction(alias, rows.filter(id__in=ids).delete)[0] if ids else 0


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


def _upsert(alias: str, destination: str, rows: list[tuple[str, int]]) -> None:
    """Add in one statement, without reading first. No name in it comes from outside."""
    connection = connections[alias]
    table = connection.ops.quote_name(Rollup._meta.db_table)
    values = ", ".join([f"({_bucket(connection)}, %s, %s, %s)"] * len(rows))
    if connection.vendor == "mysql":
        conflict = "ON DUPLICATE KEY UPDATE number = number + VALUES(number)"
    else:
        conflict = (
            "ON CONFLICT (starts_at, destination, measure) "
            f"DO UPDATE SET number = {table}.number + excluded.number"
        )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (starts_at, destination, measure, number) VALUES {values} {conflict}",  # noqa: S608
            [value for measure, number in rows for value in (destination, measure, number)],
        )


def _bucket(connection: Any) -> str:
    """SQL for the start of the current five minutes, by the database's clock."""
    now = now_sql(connection, "0")
    if connection.vendor == "postgresql":
        return f"TO_TIMESTAMP(FLOOR(EXTRACT(EPOCH FROM {now}) / {BUCKET}) * {BUCKET})"
    if connection.vendor == "mysql":
        epoch = "TIMESTAMP'1970-01-01 00:00:00'"
        seconds = f"FLOOR(TIMESTAMPDIFF(SECOND, {epoch}, {now}) / {BUCKET}) * {BUCKET}"
        return f"TIMESTAMPADD(SECOND, {seconds}, {epoch})"
    seconds = f"CAST(STRFTIME('%%s', {now}) AS INTEGER) / {BUCKET} * {BUCKET}"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', {seconds}, 'unixepoch')"

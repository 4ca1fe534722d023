"""Reads the counters: a range in numbers, per bar of a chart, and by type; three queries, summed in SQL."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, F, Func, IntegerField, Q, QuerySet, Sum, TextChoices, Value
from django.utils.translation import gettext_lazy

from genesys_eventbridge import counters
from genesys_eventbridge.counters import ENDS, upper
from genesys_eventbridge.models import DeliveryTime, Rollup, outbox_alias
from genesys_eventbridge.states import State

#: Types listed separately.
TYPES = 20


class Range(TextChoices):
    """How far back the dashboard looks."""

    HOUR = "hour", gettext_lazy("past hour")
    DAY = "day", gettext_lazy("past 24 hours")
    WEEK = "week", gettext_lazy("past 7 days")
    MONTH = "month", gettext_lazy("past 30 days")

    @property
    def lasts(self) -> dt.timedelta:
        match self:
            case Range.HOUR:
                return dt.timedelta(hours=1)
            case Range.DAY:
                return dt.timedelta(days=1)
            case Range.WEEK:
                return dt.timedelta(days=7)
            case Range.MONTH:
                return dt.timedelta(days=30)
            case _ as never:
                assert_never(never)

    @property
    def bar(self) -> int:
        """Seconds per bar of a chart."""
        match self:
            case Range.HOUR:
                return counters.BUCKET
            case Range.DAY:
                return 900
            case Range.WEEK:
                return 2 * counters.HOUR
            case Range.MONTH:
                return 6 * counters.HOUR
            case _ as never:
                assert_never(never)

    def begins(self, now: dt.datetime) -> dt.datetime:
        """The start of its first bucket: the range and up to one bucket more, so that nothing is halved."""
        begun = now.replace(second=0, microsecond=0) - self.lasts
        if self is Range.HOUR:
            return begun.replace(minute=begun.minute - begun.minute % 5)
        return begun.replace(minute=0)


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers by measure (see Rollup) of the last hour and of the chosen range."""

    hour: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)

    @property
    def success_1h(self) -> float | None:
        """The share of the hour's ended events that were delivered, 0 to 1; None if none ended."""
        return _success(self.hour)

    @property
    def success(self) -> float | None:
        """The same of the range."""
        return _success(self.whole)

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the range's deliveries took place (±20 %); None if none."""
        steps = {
            int(measure.removeprefix("within:")): number
            for measure, number in self.whole.items()
            if measure.startswith("within:")
        }
        return quantile(steps, share)

    @property
    def errors(self) -> list[tuple[str, int]]:
        """Failed requests of the range by kind of error, the most common first."""
        found = {
            measure.removeprefix("error:"): number
            for measure, number in self.whole.items()
            if measure.startswith("error:")
        }
        return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def quantile(steps: Mapping[int, int], share: float) -> float | None:
    """Seconds within which this share of events by step (see ``counters.upper``) was delivered."""
    counted = {step: number for step, number in steps.items() if number > 0}
    left = share * sum(counted.values())
    for step in sorted(counted):
        if left <= counted[step]:
            shortest = upper(step - 1) if step else upper(0) / 2
            return shortest * math.pow(upper(step) / shortest, left / counted[step])
        left -= counted[step]
    return upper(max(counted)) if counted else None


def figures(
    now: dt.datetime, chosen: Range = Range.DAY, aliases: Iterable[str] | None = None
) -> dict[str, Figures]:
    """Figures by alias, for those that have any. Whole buckets only; see ``Range.begins``."""
    rows = (
        _rows(Rollup, aliases)
        .filter(starts_at__gte=chosen.begins(now))
        .order_by()
        .values_list("destination", "measure")
        .annotate(whole=Sum("number"), hour=Sum("number", filter=Q(starts_at__gte=Range.HOUR.begins(now))))
    )
    found: dict[str, Figures] = {}
    for alias, measure, whole, hour in rows:
        mine = found.setdefault(alias, Figures())
        mine.whole[measure] = int(whole or 0)
        mine.hour[measure] = int(hour or 0)
    return found


def merged(parts: Iterable[Figures]) -> Figures:
    """Combine several destinations into one."""
    hour: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for part in parts:
        hour.update(part.hour)
        whole.update(part.whole)
    return Figures(hour, whole)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: how many events were delivered, became dead and became unresolved in it."""

    begins: dt.datetime
    delivered: int = 0
    dead: int = 0
    unresolved: int = 0

    @property
    def total(self) -> int:
        return self.delivered + self.dead + self.unresolved


def bars(now: dt.datetime, chosen: Range = Range.DAY, aliases: Iterable[str] | None = None) -> list[Bar]:
    """The bars of the range, oldest first; the last one is still running."""
    first, length = chosen.begins(now), dt.timedelta(seconds=chosen.bar)
    rows = (
        _rows(Rollup, aliases)
        .filter(starts_at__gte=first, measure__in=ENDS)
        .order_by()
        .annotate(bar=_Place(first, chosen.bar))
        .values_list("bar", "measure")
        .annotate(total=Sum("number"))
    )
    numbers: dict[tuple[int, str], int] = {(int(bar), measure): int(total) for bar, measure, total in rows}
    count = math.floor((now - first) / length) + 1
    return [
        Bar(first + place * length, *(numbers.get((place, end.value), 0) for end in ENDS))
        for place in range(count)
    ]


@dataclass(frozen=True, slots=True)
class TypeTimes:
    """How long deliveries of one type took; ``type`` is "" for all types that are not listed."""

    destination: str
    type: str
    steps: Counter[int]

    @property
    def number(self) -> int:
        """Events delivered."""
        return self.steps.total()

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share was delivered (±20 %)."""
        return quantile(self.steps, share)


def type_times(
    now: dt.datetime,
    chosen: Range = Range.DAY,
    aliases: Iterable[str] | None = None,
    *,
    shown: int = TYPES,
) -> list[TypeTimes]:
    """Delivery times by destination and type, those with most deliveries first; the rest is one line."""
    rows = (
        _rows(DeliveryTime, aliases)
        .filter(
            seconds=counters.BUCKET if chosen is Range.HOUR else counters.HOUR,
            starts_at__gte=chosen.begins(now),
        )
        .order_by()
        .values_list("destination", "type", "step")
        .annotate(total=Sum("number"))
    )
    found: dict[tuple[str, str], Counter[int]] = {}
    for destination, event_type, step, total in rows:
        found.setdefault((destination, event_type), Counter())[step] += int(total)
    named = sorted(
        (TypeTimes(*key, steps) for key, steps in found.items() if key[1]),
        key=lambda each: (-each.number, each.destination, each.type),
    )
    rest: dict[str, Counter[int]] = {}
    others = [TypeTimes(*key, steps) for key, steps in found.items() if not key[1]]
    for each in (*named[shown:], *others):
        rest.setdefault(each.destination, Counter()).update(each.steps)
    return [*named[:shown], *(TypeTimes(alias, "", steps) for alias, steps in sorted(rest.items()))]


def _success(numbers: Mapping[str, int]) -> float | None:
    ended = sum(numbers.get(end, 0) for end in ENDS)
    return numbers.get(State.DELIVERED, 0) / ended if ended else None


def _rows(model: type[Rollup | DeliveryTime], aliases: Iterable[str] | None) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._default_manager.using(outbox_alias())
    return rows if aliases is None else rows.filter(destination__in=list(aliases))


class _Place(Func):
    """How many times ``length`` seconds after ``first`` a bucket starts."""

    output_field = IntegerField()

    def __init__(self, first: dt.datetime, length: int) -> None:
        super().__init__(F("starts_at"), Value(first, DateTimeField()), length=length)

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        (column, one), (first, other) = (compiler.compile(part) for part in self.get_source_expressions())
        length = int(self.extra["length"])
        match connection.vendor:
            case "postgresql":
                sql = f"CAST(FLOOR(EXTRACT(EPOCH FROM ({column} - {first})) / {length}) AS INTEGER)"
            case "mysql":
                sql = f"FLOOR(TIMESTAMPDIFF(SECOND, {first}, {column}) / {length})"
                return sql, [*other, *one]
            case _:
                column, first = (f"CAST(STRFTIME('%%s', {part}) AS INTEGER)" for part in (column, first))
                sql = f"(({column} - {first}) / {length})"
        return sql, [*one, *other]

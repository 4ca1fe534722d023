"""Reads the roll-up: a destination's last hour and day in numbers and per quarter hour; two queries."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db.models import Q, QuerySet, Sum

from genesys_eventbridge.counters import ENDS, upper
from genesys_eventbridge.models import Rollup, outbox_alias
from genesys_eventbridge.states import State

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
#: Seconds per bar of the day chart (three buckets), and the number of bars.
BAR = 900
BARS = 96

DRAWN = (State.DELIVERED.value, State.DEAD.value)


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers by measure (see Rollup) of the last hour and of the last day."""

    hour: Counter[str] = field(default_factory=Counter)
    day: Counter[str] = field(default_factory=Counter)

    @property
    def success_1h(self) -> float | None:
        """The share of ended events that were delivered, 0 to 1; None if none ended."""
        ended = sum(self.hour[end] for end in ENDS)
        return self.hour[State.DELIVERED] / ended if ended else None

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the day's deliveries took place (±20 %); None if none."""
        steps = {
            int(measure.removeprefix("within:")): number
            for measure, number in self.day.items()
            if measure.startswith("within:") and number > 0
        }
        left = share * sum(steps.values())
        for n in sorted(steps):
            if left <= steps[n]:
                shortest = upper(n - 1) if n else upper(0) / 2
                return shortest * math.pow(upper(n) / shortest, left / steps[n])
            left -= steps[n]
        return upper(max(steps)) if steps else None

    @property
    def errors(self) -> list[tuple[str, int]]:
        """Failed requests of the day by kind of error, the most common first."""
        found = {
            measure.removeprefix("error:"): number
            for measure, number in self.day.items()
            if measure.startswith("error:")
        }
        return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def figures(now: dt.datetime, aliases: Iterable[str] | None = None) -> dict[str, Figures]:
    """Figures by alias, for those that have any. Whole buckets only: an hour may be up to 5 minutes short."""
    rows = (
        _rows(aliases)
        .filter(starts_at__gte=now - DAY)
        .order_by()
        .values_list("destination", "measure")
        .annotate(day=Sum("number"), hour=Sum("number", filter=Q(starts_at__gte=now - HOUR)))
    )
    found: dict[str, Figures] = {}
    for alias, measure, day, hour in rows:
        mine = found.setdefault(alias, Figures())
        mine.day[measure] = int(day or 0)
        mine.hour[measure] = int(hour or 0)
    return found


def merged(parts: Iterable[Figures]) -> Figures:
    """Combine several destinations into one."""
    hour: Counter[str] = Counter()
    day: Counter[str] = Counter()
    for part in parts:
        hour.update(part.hour)
        day.update(part.day)
    return Figures(hour, day)


@dataclass(frozen=True, slots=True)
class Quarter:
    """Fifteen minutes of one or all destinations: how many events were delivered and became dead."""

    begins: dt.datetime
    delivered: int = 0
    dead: int = 0


def quarters(now: dt.datetime, aliases: Iterable[str] | None = None) -> list[Quarter]:
    """The last 24 hours, oldest first; the last quarter is still running."""
    last = _quarter(now)
    first = last - dt.timedelta(seconds=BAR * (BARS - 1))
    rows = _rows(aliases).filter(starts_at__gte=first, measure__in=DRAWN)
    numbers: Counter[tuple[dt.datetime, str]] = Counter()
    for starts_at, measure, number in rows.values_list("starts_at", "measure", "number"):
        numbers[_quarter(starts_at), measure] += number
    begins = [first + dt.timedelta(seconds=BAR * bar) for bar in range(BARS)]
    return [_bar(begin, numbers) for begin in begins]


def _bar(begins: dt.datetime, numbers: Mapping[tuple[dt.datetime, str], int]) -> Quarter:
    return Quarter(begins, *(numbers[begins, measure] for measure in DRAWN))


def _quarter(moment: dt.datetime) -> dt.datetime:
    """Rounded down to the quarter hour, which is correct in every time zone."""
    return moment.replace(minute=moment.minute - moment.minute % (BAR // 60), second=0, microsecond=0)


def _rows(aliases: Iterable[str] | None) -> QuerySet[Rollup]:
    rows = Rollup.objects.using(outbox_alias())
    return rows if aliases is None else rows.filter(destination__in=list(aliases))

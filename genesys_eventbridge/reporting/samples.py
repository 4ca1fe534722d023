"""Counts events of each kind: all of them, or a bounded number, as fast with a million events as with ten."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce

from genesys_eventbridge.models import (
    TRIED,
    OutboxEvent,
    OutboxQuerySet,
    failed_since,
    in_flight,
    outbox_alias,
)
from genesys_eventbridge.reporting.parts import EVERY, aggregated, moment_of
from genesys_eventbridge.states import NEEDS_OPERATOR, State

#: Seconds per bar of the retries chart, and the number of bars.
BAR = 300
BARS = 24
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Head:
    """An event that needs an operator and holds back others of its ordering key."""

    id: int
    state: State


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of one kind, or the first of them by due time; ``is_least`` if there are more."""

    number: int = 0
    in_flight: int = 0
    retrying: int = 0
    #: Behind an earlier event of their ordering key; and those of them behind one that needs an operator.
    held: int = 0
    stuck: int = 0
    #: Those that hold others back: the one with the lowest id, and the one with the highest.
    first_head: Head | None = None
    last_head: Head | None = None
    #: Failed within the past hour.
    recent: int = 0
    #: Since when the oldest of those that nothing holds back could have gone.
    oldest: dt.datetime | None = None
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """One destination: pending rows that are due, pending rows that are not yet, and the other states."""

    due: Sample = Sample()
    later: Sample = Sample()
    accepted: Sample = Sample()
    dead: Sample = Sample()
    unresolved: Sample = Sample()


def samples(aliases: Sequence[str], now: dt.datetime, most: int | None = None) -> dict[str, Samples]:
    """Samples by alias, up to ``most`` rows of each kind, or all; one query for all destinations."""
    limit = EVERY if most is None else most + 1
    parts = [_facts(rows, now)[:limit] for alias in aliases for rows in _kinds(alias, now)]
    sums = (
        "COUNT(*), SUM(flying), SUM(again), SUM(behind), COUNT(head), MIN(head), MAX(head), SUM(recent), "
        "MIN(CASE WHEN behind = 0 THEN since END)"
    )
    found = iter(aggregated(parts, sums, compiles_slowly=True))
    return {alias: Samples(*(_sample(next(found), most) for _kind in range(5))) for alias in aliases}


def coming(aliases: Sequence[str], now: dt.datetime, most: int) -> tuple[Counter[int], bool]:
    """Attempts per five-minute bar from now on, and whether there are more than were counted.

    These are retries, requeued events and delayed ones; not those in flight, nor those that wait for an
    earlier event of their ordering key, whose due time says nothing.
    """
    bars = [now + dt.timedelta(seconds=BAR * bar) for bar in range(1, BARS + 1)]
    ahead = Case(
        *(When(due_at__lt=end, then=Value(bar)) for bar, end in enumerate(bars)),
        default=Value(BARS),
        output_field=IntegerField(),
    )
    planned = _flag(Q(claim_token__isnull=True, key_held__isnull=True))
    kinds = (_pending(alias).filter(due_at__gt=now).order_by("due_at", "id") for alias in aliases)
    parts = [rows.annotate(bar=ahead, planned=planned).values("bar", "planned")[: most + 1] for rows in kinds]
    numbers: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for part, bar, rows, attempts in aggregated(parts, "bar, COUNT(*), SUM(planned)", "GROUP BY bar"):
        seen[part] += rows
        numbers[bar] += int(attempts or 0)
    return +numbers, any(number > most for number in seen.values())


def _kinds(alias: str, now: dt.datetime) -> list[OutboxQuerySet]:
    """In the order of ``Samples``; each is one range of the index, read from its start."""
    others = [_rows(alias).filter(state=state) for state in (State.ACCEPTED, *NEEDS_OPERATOR)]
    kinds = [_pending(alias).filter(due_at__lte=now), _pending(alias).filter(due_at__gt=now), *others]
    return [rows.order_by("due_at", "id") for rows in kinds]


def _rows(alias: str) -> OutboxQuerySet:
    return OutboxEvent.objects.on_outbox().filter(destination=alias)


def _pending(alias: str) -> OutboxQuerySet:
    return _rows(alias).filter(state=State.PENDING)


def _flag(condition: Q) -> Case:
    return Case(When(condition, then=Value(1)), default=Value(0), output_field=IntegerField())


def _facts(rows: OutboxQuerySet, now: dt.datetime) -> Any:
    """An event that its ordering key holds back is not late, however old it is."""
    taken = in_flight(now)
    could_go = Q(not_before__isnull=True) | Q(not_before__lte=now)
    keyed = Q(state=State.PENDING) & ~Q(ordering_key="")
    blockers = OutboxEvent.objects.blockers().using(outbox_alias())
    needing = blockers.filter(state__in=NEEDS_OPERATOR).order_by("id")
    place = F("id") * 2 + _flag(Q(state=State.UNRESOLVED))
    heads = needing.annotate(place=place).values("place")[:1]
    behind = Case(
        When(keyed, then=Cast(Exists(blockers), IntegerField())),
        default=Value(0),
        output_field=IntegerField(),
    )
    return rows.annotate(
        flying=_flag(taken),
        again=_flag(TRIED & ~taken),
        behind=behind,
        head=Case(When(keyed, then=Subquery(heads)), output_field=BigIntegerField()),
        recent=_flag(failed_since(now - HOUR)),
        since=Case(
            When(could_go, then=Coalesce("not_before", "created_at")),
            output_field=DateTimeField(),
        ),
    ).values("flying", "again", "behind", "head", "recent", "since")


def _sample(row: tuple[Any, ...], most: int | None) -> Sample:
    _part, number, flying, again, behind, stuck, first, last, recent, oldest = row
    return Sample(
        number=number,
        in_flight=int(flying or 0),
        retrying=int(again or 0),
        held=int(behind or 0),
        stuck=stuck,
        first_head=_head(first),
        last_head=_head(last),
        recent=int(recent or 0),
        oldest=moment_of(oldest),
        is_least=most is not None and number > most,
    )


def _head(place: int | None) -> Head | None:
    """``place`` is twice the id, and one more if it is unresolved: one column in the order of ids."""
    if place is None:
        return None
    return Head(place // 2, State.UNRESOLVED if place % 2 else State.DEAD)

"""Failure groups: events that fail for the same reason, counted; one query, and one for the examples."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import BigIntegerField, Case, DateTimeField, F, IntegerField, Q, Value, When
from django.db.models.functions import Coalesce

from genesys_eventbridge.models import TRIED, OutboxEvent, OutboxQuerySet, failed_since, in_flight
from genesys_eventbridge.reporting.parts import EVERY, aggregated, moment_of
from genesys_eventbridge.states import NEEDS_OPERATOR, State
from genesys_eventbridge.text import clean
from genesys_eventbridge.text.failures import normalised

#: The trend compares this many seconds with as many before them.
TREND = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Events of one destination and type with the same failure: dead, unresolved or waiting for a retry."""

    destination: str
    type: str
    #: ``OutboxEvent.failure``; None for events without an error.
    failure: str | None
    dead: int = 0
    unresolved: int = 0
    retrying: int = 0
    #: When the first and the last of them failed.
    first: dt.datetime
    last: dt.datetime
    #: How many of them failed in the past hour, and in the hour before.
    recent: int = 0
    before: int = 0
    #: The id of the newest one, its error, and what is the same in all of them.
    example: int
    error: str = ""
    pattern: str = ""

    @property
    def number(self) -> int:
        return self.dead + self.unresolved + self.retrying


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """``groups`` with the most events first; ``others`` were found, too, but are not listed."""

    groups: list[Group]
    others: int = 0
    #: Only so many of the newest events of each state and destination were read; None: all were read.
    capped_at: int | None = None

    @property
    def number(self) -> int:
        """Events in the listed groups."""
        return sum(group.number for group in self.groups)


def failures(
    aliases: Sequence[str],
    now: dt.datetime,
    *,
    since: dt.datetime | None = None,
    shown: int | None = None,
    most: int | None = None,
) -> Failures:
    """The failure groups of these destinations, of events that failed at or after ``since``.

    ``shown`` limits the groups, ``most`` the events that are read of each destination and kind.
    """
    parts = [
        (alias, state, rows)
        for alias in aliases
        for state in (State.PENDING, *NEEDS_OPERATOR)
        for rows in _kinds(alias, state, now, limited=most is not None)
    ]
    found: dict[tuple[str, str, str | None], Group] = {}
    read = [0] * len(parts)
    for part, *columns in aggregated(
        [_facts(rows, now, since)[: EVERY if most is None else most + 1] for _alias, _state, rows in parts],
        "type, failure, COUNT(*), COUNT(failed), MIN(failed), MAX(failed), SUM(late), SUM(early), MAX(pk)",
        "GROUP BY type, failure",
        compiles_slowly=True,
    ):
        alias, state, _rows = parts[part]
        read[part] += columns[2]
        if columns[3]:
            group = _group(alias, state, columns)
            place = (alias, group.type, group.failure)
            found[place] = _merged(found[place], group) if place in found else group
    groups = sorted(
        found.values(), key=lambda each: (-each.number, each.destination, each.type, each.pattern)
    )
    return Failures(
        groups=_with_examples(groups[:shown]),
        others=len(groups) - len(groups[:shown]),
        capped_at=most if most is not None and max(read, default=0) > most else None,
    )


def _kinds(alias: str, state: State, now: dt.datetime, *, limited: bool) -> Iterator[OutboxQuerySet]:
    """Each is one range of the index; if only a part is read, due and later rows are read separately."""
    rows = OutboxEvent.objects.on_outbox().filter(destination=alias, state=state)
    if not limited:
        yield (rows.filter(TRIED) if state is State.PENDING else rows).order_by()
    elif state is State.PENDING:
        yield rows.filter(due_at__lte=now).order_by("due_at", "id")
        yield rows.filter(due_at__gt=now).order_by("due_at", "id")
    else:
        yield rows.order_by("-due_at", "-id")


def _facts(rows: OutboxQuerySet, now: dt.datetime, since: dt.datetime | None) -> Any:
    """The values of ``aggregated``; NULL and 0 for rows that do not count."""
    counts = ~Q(state=State.PENDING) | (TRIED & ~in_flight(now))
    if since is not None:
        counts &= failed_since(since)
    hour, two = (now - dt.timedelta(seconds=TREND * hours) for hours in (1, 2))

    def flag(condition: Q) -> Case:
        return Case(When(counts & condition, then=Value(1)), default=Value(0), output_field=IntegerField())

    return (
        rows.annotate(at=Coalesce("failed_at", "created_at"))
        .annotate(
            failed=Case(When(counts, then=F("at")), output_field=DateTimeField()),
            late=flag(Q(at__gte=hour)),
            early=flag(Q(at__lt=hour, at__gte=two)),
            counted=Case(When(counts, then=F("id")), output_field=BigIntegerField()),
        )
        .values("type", "failure", "failed", "late", "early", pk=F("counted"))
    )


def _group(alias: str, state: State, columns: Sequence[Any]) -> Group:
    event_type, failure, _read, number, first, last, recent, before, example = columns
    return Group(
        destination=alias,
        type=event_type,
        failure=failure,
        dead=number if state is State.DEAD else 0,
        unresolved=number if state is State.UNRESOLVED else 0,
        retrying=number if state is State.PENDING else 0,
        first=_time(first),
        last=_time(last),
        recent=int(recent or 0),
        before=int(before or 0),
        example=example,
    )


def _time(value: Any) -> dt.datetime:
    """Never NULL in a group that counts an event."""
    found = moment_of(value)
    if found is None:
        raise TypeError(f"{value!r} is no time")
    return found


def _merged(one: Group, other: Group) -> Group:
    return replace(
        one,
        dead=one.dead + other.dead,
        unresolved=one.unresolved + other.unresolved,
        retrying=one.retrying + other.retrying,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        recent=one.recent + other.recent,
        before=one.before + other.before,
        example=max(one.example, other.example),
    )


def _with_examples(groups: Sequence[Group]) -> list[Group]:
    ids = [group.example for group in groups]
    errors: dict[int, str] = {}
    for start in range(0, len(ids), 500):
        rows = OutboxEvent.objects.on_outbox().filter(id__in=ids[start : start + 500])
        errors.update(rows.values_list("id", "last_error"))
    return [
        replace(
            group,
            error=clean(errors.get(group.example, ""), 500),
            pattern=clean(normalised(errors.get(group.example, "")), 500),
        )
        for group in groups
    ]

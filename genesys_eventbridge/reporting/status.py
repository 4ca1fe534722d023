"""The state of each destination in numbers: counted, or sampled from a bounded number of events.

Both read the same facts of each event. Counting scans all unfinished events, in five queries for all
destinations and a bounded one for each. Sampling takes four queries, whatever the size of the table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from genesys_eventbridge import conf, formatting
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import next_due, orphans
from genesys_eventbridge.reporting.facts import healths, is_held
from genesys_eventbridge.reporting.figures import Figures
from genesys_eventbridge.reporting.samples import Sample, Samples, samples
from genesys_eventbridge.states import NEEDS_OPERATOR, OPEN, State

#: Deliveries of the last hour are counted among this many of the newest delivered events.
RECENT = 20_000


@dataclass(frozen=True, slots=True)
class HeldBack:
    """How many events wait for an earlier one of their ordering key; held is not late."""

    number: int = 0
    #: Those of them behind an event that needs an operator.
    stuck: int = 0
    #: The first event that needs an operator and holds others back, its state, and whether there are more.
    head: int | None = None
    state: State | None = None
    several: bool = False
    is_least: bool = False

    @property
    def sentence(self) -> str:
        """ "14 held behind #40001 (dead)"; "" if no event that needs an operator holds others back."""
        if self.head is None or self.state is None:
            return ""
        words = {
            "count": formatting.number(self.stuck, at_least=self.is_least),
            "id": self.head,
            "state": self.state.label,
        }
        if self.several:
            return _("%(count)s held behind #%(id)s (%(state)s) and others") % words
        return _("%(count)s held behind #%(id)s (%(state)s)") % words


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationStatus:
    """One destination at ``now``, by the database clock: numbers of events, ages in seconds."""

    alias: str
    now: dt.datetime
    #: False if the settings no longer contain it, so none of its events will be sent.
    configured: bool = True
    #: Whether the platform recognises a repeated event.
    honours_key: bool = True
    #: Never tried; to be retried; claimed by a worker at this moment.
    waiting: int = 0
    retrying: int = 0
    in_flight: int = 0
    accepted: int = 0
    dead: int = 0
    unresolved: int = 0
    #: Age of the oldest event that could have been delivered by now but is not, apart from those that their
    #: ordering key holds back; None if there is none.
    oldest: float | None = None
    #: Of the waiting and retrying ones, those behind an earlier event of their ordering key.
    held_back: HeldBack = HeldBack()
    delivered_1h: int = 0
    #: There are more deliveries than were counted.
    delivered_1h_is_least: bool = False
    #: Share delivered of the events that ended within the hour, 0 to 1; the others failed within it.
    success_1h: float | None = None
    #: Dead and unresolved events that failed within the hour.
    failed_1h: int = 0
    #: Names of the numbers above that are lower bounds.
    least: frozenset[str] = frozenset()
    #: The row; an empty one if no worker has reported yet.
    health: Destination = field(default_factory=Destination)

    @property
    def undelivered(self) -> int:
        return self.waiting + self.retrying + self.in_flight + self.accepted

    def shown(self, number: int, *names: str) -> str:
        """A sum of these numbers for display: "1,204", or "10,000+" if it is a lower bound."""
        return formatting.number(number, at_least=not self.least.isdisjoint(names))

    @property
    def served(self) -> bool:
        """A worker reported recently; another project's if it is not configured here."""
        return orphans.is_served(self.health.heartbeat_at, self.now)

    @property
    def held(self) -> bool:
        """An operator has paused it."""
        return is_held(self.health, self.now)

    @property
    def heartbeat_ago(self) -> float | None:
        """Seconds since any worker reported; None if never, or if the clock was set back since."""
        seen = self.health.heartbeat_at
        ago = None if seen is None else (self.now - seen).total_seconds()
        return None if ago is None or ago < -SET_BACK_SECONDS else ago


def statuses(aliases: Sequence[str] | None = None) -> list[DestinationStatus]:
    """These destinations; by default all configured ones, and others with events that no worker will send."""
    now = next_due.database_now()
    wanted = list(aliases) if aliases is not None else [*conf.aliases(), *_left_over()]
    found = []
    for at in _statuses(wanted, now, None):
        delivered, is_least = _delivered_1h(at.alias)
        failed = at.failed_1h
        found.append(
            replace(
                at,
                delivered_1h=delivered,
                delivered_1h_is_least=is_least,
                success_1h=delivered / (delivered + failed) if delivered + failed else None,
            )
        )
    return found


def sampled(now: dt.datetime, figures: Mapping[str, Figures], most: int) -> list[DestinationStatus]:
    """The same from up to ``most`` events of each kind; the last hour comes from the roll-up."""
    found = [
        replace(
            at,
            delivered_1h=figures.get(at.alias, Figures()).hour[State.DELIVERED],
            success_1h=figures.get(at.alias, Figures()).success_1h,
        )
        for at in _statuses(None, now, most)
    ]
    return [at for at in found if at.configured or at.undelivered or at.dead or at.unresolved]


def _all_held_back(parts: Sequence[HeldBack]) -> HeldBack:
    first = min(
        (part for part in parts if part.head is not None), key=lambda part: part.head or 0, default=None
    )
    return HeldBack(
        number=sum(part.number for part in parts),
        stuck=sum(part.stuck for part in parts),
        head=first.head if first else None,
        state=first.state if first else None,
        several=any(part.several for part in parts) or sum(part.head is not None for part in parts) > 1,
        is_least=any(part.is_least for part in parts),
    )


def of_rows(known: Mapping[str, Destination], now: dt.datetime, most: int) -> list[DestinationStatus]:
    """The same of the destinations whose rows are given, by alias, without the last hour."""
    return _statuses(list(known), now, most, known)


def _left_over() -> list[str]:
    """Destinations with unfinished events that the settings no longer contain."""
    unfinished = OutboxEvent.objects.on_outbox().filter(state__in=[*OPEN, *NEEDS_OPERATOR])
    found = unfinished.order_by().values_list("destination", flat=True).distinct()
    return sorted(set(found) - set(conf.aliases()))


def _statuses(
    aliases: Sequence[str] | None,
    now: dt.datetime,
    most: int | None,
    known: Mapping[str, Destination] | None = None,
) -> list[DestinationStatus]:
    known = healths() if known is None else known
    wanted = list(aliases) if aliases is not None else list(dict.fromkeys([*conf.aliases(), *sorted(known)]))
    found = samples(wanted, now, most)
    return [
        replace(_status(alias, now, found[alias], most), health=known.get(alias, Destination()))
        for alias in wanted
    ]


def merged(parts: Sequence[DestinationStatus]) -> DestinationStatus:
    """The sum of one or more destinations, without alias, health and success rate."""
    return DestinationStatus(
        alias="",
        now=parts[0].now,
        waiting=sum(at.waiting for at in parts),
        retrying=sum(at.retrying for at in parts),
        in_flight=sum(at.in_flight for at in parts),
        accepted=sum(at.accepted for at in parts),
        dead=sum(at.dead for at in parts),
        unresolved=sum(at.unresolved for at in parts),
        oldest=max((at.oldest for at in parts if at.oldest is not None), default=None),
        held_back=_all_held_back([at.held_back for at in parts]),
        delivered_1h=sum(at.delivered_1h for at in parts),
        least=frozenset().union(*(at.least for at in parts)),
    )


def _status(alias: str, now: dt.datetime, found: Samples, most: int | None) -> DestinationStatus:
    due, later = found.due, found.later
    pending = due.is_least or later.is_least
    oldest = min((part.oldest for part in (due, later, found.accepted) if part.oldest), default=None)
    least = {
        "waiting": pending,
        "retrying": pending,
        "in_flight": later.is_least,
        "accepted": found.accepted.is_least,
        "dead": found.dead.is_least,
        "unresolved": found.unresolved.is_least,
        "oldest": pending or found.accepted.is_least,
        "held": pending,
    }
    in_flight, retrying = due.in_flight + later.in_flight, due.retrying + later.retrying

    def capped(number: int) -> int:
        return number if most is None else min(most, number)

    return DestinationStatus(
        alias=alias,
        now=now,
        configured=alias in conf.aliases(),
        honours_key=alias not in conf.aliases() or conf.destination(alias).honours_key,
        waiting=capped(due.number + later.number - in_flight - retrying),
        retrying=capped(retrying),
        in_flight=in_flight,
        accepted=capped(found.accepted.number),
        dead=capped(found.dead.number),
        unresolved=capped(found.unresolved.number),
        oldest=None if oldest is None else (now - oldest).total_seconds(),
        held_back=_held_back(due, later, capped, is_least=pending),
        failed_1h=found.dead.recent + found.unresolved.recent,
        least=frozenset(name for name, is_least in least.items() if is_least),
    )


def _held_back(due: Sample, later: Sample, capped: Callable[[int], int], *, is_least: bool) -> HeldBack:
    heads = {head for part in (due, later) for head in (part.first_head, part.last_head) if head is not None}
    first = min(heads, default=None, key=lambda head: head.id)
    return HeldBack(
        number=capped(due.held + later.held),
        stuck=capped(due.stuck + later.stuck),
        head=first.id if first else None,
        state=first.state if first else None,
        several=len(heads) > 1,
        is_least=is_least,
    )


def _delivered_1h(alias: str) -> tuple[int, bool]:
    """Only the newest events are counted, read in the order of the index."""
    # ``due_at`` of a finished row is always NULL. With this, MySQL, MariaDB and SQLite need not sort.
    newest = (
        OutboxEvent.objects.on_outbox()
        .filter(state=State.DELIVERED, destination=alias, due_at__isnull=True)
        .order_by("-id")
        .values("finished_at")[:RECENT]
    )
    found = newest.aggregate(number=Count("finished_at", filter=Q(finished_at__gte=DatabaseNow(-3600))))
    return found["number"], found["number"] == RECENT

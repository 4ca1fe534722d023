"""The state of each destination in numbers: counted, or sampled from a bounded number of events.

Counting takes three queries for all destinations and a bounded one for each, and scans all unfinished
events. Sampling takes four queries, whatever the size of the table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce

from genesys_eventbridge import conf
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import TRIED, Destination, OutboxEvent, in_flight
from genesys_eventbridge.outbox import next_due, orphans
from genesys_eventbridge.reporting.facts import healths, is_held
from genesys_eventbridge.reporting.figures import Figures
from genesys_eventbridge.reporting.samples import Samples, samples
from genesys_eventbridge.states import NEEDS_OPERATOR, OPEN, State

#: Deliveries of the last hour are counted among this many of the newest delivered events.
RECENT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationStatus:
    """One destination at ``now``, by the database clock: numbers of events, ages in seconds."""

    alias: str
    now: dt.datetime
    #: False if the settings no longer contain it, so none of its events will be sent.
    configured: bool = True
    #: Never tried; to be retried; claimed by a worker at this moment.
    waiting: int = 0
    retrying: int = 0
    in_flight: int = 0
    accepted: int = 0
    dead: int = 0
    unresolved: int = 0
    #: Age of the oldest event that could have been delivered by now but is not; None if there is none.
    oldest: float | None = None
    delivered_1h: int = 0
    #: There are more deliveries than were counted.
    delivered_1h_is_least: bool = False
    #: Share delivered of the events that ended within the hour, or were created in it and need an operator: 0
    #: to 1.
    success_1h: float | None = None
    #: Names of the numbers above that are lower bounds.
    least: frozenset[str] = frozenset()
    #: The row; an empty one if no worker has reported yet.
    health: Destination = field(default_factory=Destination)

    @property
    def undelivered(self) -> int:
        return self.waiting + self.retrying + self.in_flight + self.accepted

    def shown(self, number: int, *names: str) -> str:
        """A sum of these numbers for display: "1,204", or "10,000+" if it is a lower bound."""
        return f"{number:,}+" if self.least.intersection(names) else f"{number:,}"

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
    now, known, counts = next_due.database_now(), healths(), _counts()
    wanted = list(aliases if aliases is not None else conf.aliases())
    left_over = sorted(set(counts) - set(conf.aliases())) if aliases is None else []
    return [_status(alias, now, counts.get(alias, {}), known) for alias in [*wanted, *left_over]]


def sampled(now: dt.datetime, figures: Mapping[str, Figures], most: int) -> list[DestinationStatus]:
    """The same from up to ``most`` events of each kind; the last hour comes from the roll-up."""
    known = healths()
    wanted = list(dict.fromkeys([*conf.aliases(), *sorted(known)]))
    found = samples(wanted, now, most)
    sampled_by_alias = {
        alias: _sampled(alias, now, found[alias], figures.get(alias, Figures()), most) for alias in wanted
    }
    found_statuses = [
        replace(at, health=known.get(alias, Destination())) for alias, at in sampled_by_alias.items()
    ]
    return [at for at in found_statuses if at.configured or at.undelivered or at.dead or at.unresolved]


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
        delivered_1h=sum(at.delivered_1h for at in parts),
        least=frozenset().union(*(at.least for at in parts)),
    )


def _sampled(alias: str, now: dt.datetime, found: Samples, figures: Figures, most: int) -> DestinationStatus:
    due, later = found.due, found.later
    pending = due.is_least or later.is_least
    ages = [_age(now, part.oldest) for part in (due, later, found.accepted) if part.oldest is not None]
    least = {
        "waiting": pending,
        "retrying": pending,
        "in_flight": later.is_least,
        "accepted": found.accepted.is_least,
        "dead": found.dead.is_least,
        "unresolved": found.unresolved.is_least,
        "oldest": pending or found.accepted.is_least,
    }
    in_flight, retrying = due.in_flight + later.in_flight, due.retrying + later.retrying
    return DestinationStatus(
        alias=alias,
        now=now,
        configured=alias in conf.aliases(),
        waiting=min(most, due.number + later.number - in_flight - retrying),
        retrying=min(most, retrying),
        in_flight=in_flight,
        accepted=min(most, found.accepted.number),
        dead=min(most, found.dead.number),
        unresolved=min(most, found.unresolved.number),
        oldest=max(ages, default=None),
        delivered_1h=figures.hour[State.DELIVERED],
        success_1h=figures.success_1h,
        least=frozenset(name for name, is_least in least.items() if is_least),
    )


def _status(
    alias: str, now: dt.datetime, counts: dict[str, dict[str, object]], known: dict[str, Destination]
) -> DestinationStatus:
    pending, accepted = counts.get(State.PENDING, {}), counts.get(State.ACCEPTED, {})
    dead, unresolved = counts.get(State.DEAD, {}), counts.get(State.UNRESOLVED, {})
    ages = [row["oldest"] for row in (pending, accepted) if row.get("oldest") is not None]
    delivered, is_least = _delivered_1h(alias)
    failed = _int(dead, "recent") + _int(unresolved, "recent")
    in_flight, retrying = _int(pending, "in_flight"), _int(pending, "retrying")
    return DestinationStatus(
        alias=alias,
        now=now,
        configured=alias in conf.aliases(),
        waiting=_int(pending, "number") - in_flight - retrying,
        retrying=retrying,
        in_flight=in_flight,
        accepted=_int(accepted, "number"),
        dead=_int(dead, "number"),
        unresolved=_int(unresolved, "number"),
        oldest=max((_age(now, moment) for moment in ages), default=None),
        delivered_1h=delivered,
        delivered_1h_is_least=is_least,
        success_1h=delivered / (delivered + failed) if delivered + failed else None,
        health=known.get(alias, Destination()),
    )


def _counts() -> dict[str, dict[str, dict[str, object]]]:
    """By alias and state, in one scan of the unfinished rows; finished rows are not read."""
    taken = in_flight()
    could_go = Q(not_before__isnull=True) | Q(not_before__lte=DatabaseNow())
    rows = (
        OutboxEvent.objects.on_outbox()
        .filter(state__in=[*OPEN, *NEEDS_OPERATOR])
        .order_by()
        .values("destination", "state")
        .annotate(
            number=Count("id"),
            in_flight=Count("id", filter=taken),
            retrying=Count("id", filter=TRIED & ~taken),
            oldest=Min(Coalesce("not_before", "created_at"), filter=could_go),
            recent=Count("id", filter=Q(created_at__gte=DatabaseNow(-3600))),
        )
    )
    found: dict[str, dict[str, dict[str, object]]] = {}
    for row in rows:
        found.setdefault(row["destination"], {})[row["state"]] = dict(row)
    return found


def _delivered_1h(alias: str) -> tuple[int, bool]:
    """No index has the end of an event, so only the newest events are counted."""
    # Ordered like the index, in which ``due_at`` of a finished row is empty.
    newest = (
        OutboxEvent.objects.on_outbox()
        .filter(state=State.DELIVERED, destination=alias)
        .order_by("-due_at", "-id")
        .values("finished_at")[:RECENT]
    )
    found = newest.aggregate(number=Count("finished_at", filter=Q(finished_at__gte=DatabaseNow(-3600))))
    return found["number"], found["number"] == RECENT


def _age(now: dt.datetime, moment: object) -> float:
    return (now - moment).total_seconds() if isinstance(moment, dt.datetime) else 0.0


def _int(row: dict[str, object], name: str) -> int:
    value = row.get(name, 0)
    return value if isinstance(value, int) else 0

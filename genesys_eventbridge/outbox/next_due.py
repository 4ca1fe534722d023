"""When a destination next has something to do: one indexed read, cheap enough to repeat while waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from genesys_eventbridge import conf
from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.db.compiled import compiled
from genesys_eventbridge.models import Destination, OutboxEvent, outbox_alias
from genesys_eventbridge.outbox.due import from_place, given_place, scan
from genesys_eventbridge.states import State


@dataclass(frozen=True, slots=True)
class NextDue:
    """Times of one destination in seconds, by the database's clock; None if there is no such time."""

    #: Until the next event is due to be published, and to be checked; negative: overdue.
    publish_in: float | None = None
    check_in: float | None = None
    #: Since the platform last accepted an event, and since a worker last left a heartbeat.
    accepted_ago: float | None = None
    heartbeat_ago: float | None = None
    #: Since a worker last began to prune, and since one last listened for notifications.
    pruned_ago: float | None = None
    heard_ago: float | None = None
    #: Until a look finds what committed late, too; 0: this one did. Look again then before a longer rest.
    whole_in: float = 0.0

    @property
    def next_in(self) -> float | None:
        return soonest((self.publish_in, self.check_in))


def next_due(alias: str, *, within: float | None = None) -> NextDue:
    """When one destination next has something to do. Pauses are ignored: a due event may have to wait.

    Events due later than ``within`` seconds from now are ignored.
    """
    with scan(alias, State.PENDING).read() as pending, scan(alias, State.ACCEPTED).read() as accepted:
        look = _times(outbox_alias(), alias, within, pending.is_whole, accepted.is_whole)
        places = {**pending.place("pending_"), **accepted.place("accepted_")}
        row = next(iter(look.rows(**places)), None)
        if row is None:
            Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
            (row,) = look.rows(**places)
        *times, now = row
        pending.saw(times[0] and (times[0], 0), now)
        accepted.saw(times[1] and (times[1], 0), now)
    publish, check, *past = (_seconds(time, now) for time in times)
    accepted_ago, heartbeat_ago, pruned_ago, heard_ago = map(_ago, past)
    whole_in = max(pending.whole_in, accepted.whole_in)
    return NextDue(publish, check, accepted_ago, heartbeat_ago, pruned_ago, heard_ago, whole_in)


def database_now() -> dt.datetime:
    """The current time by the database's clock."""
    rows = Destination.objects.using(outbox_alias())
    now = rows.annotate(now=NOW).values_list("now", flat=True)
    found = now.first()
    if found is None:
        rows.get_or_create(alias=conf.aliases()[0])
        found = now.get()
    return found


def soonest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)


@compiled
def _times(
    database: str, alias: str, within: float | None, pending_is_whole: bool, accepted_is_whole: bool
) -> QuerySet[Any]:
    publish_at = _next(State.PENDING, within, "" if pending_is_whole else "pending_")
    check_at = _next(State.ACCEPTED, within, "" if accepted_is_whole else "accepted_")
    return (
        Destination.objects.using(database)
        .filter(alias=alias)
        .annotate(publish_at=publish_at, check_at=check_at, now=NOW)
        .values_list("publish_at", "check_at", "accepted_at", "heartbeat_at", "pruned_at", "heard_at", "now")
    )


def _next(state: State, within: float | None, place: str) -> Subquery:
    """A subquery per state instead of ``state IN (...)``: it reads one index entry, whatever the backlog."""
    rows = OutboxEvent.objects.filter(state=state, destination=OuterRef("alias"), due_at__isnull=False)
    if within is not None:
        rows = rows.filter(due_at__lte=DatabaseNow(within))
    if place:
        rows = from_place(rows, *given_place(place))
    return Subquery(rows.order_by("due_at", "id").values("due_at")[:1])


def _seconds(time: dt.datetime | None, now: dt.datetime) -> float | None:
    return None if time is None else (time - now).total_seconds()


def _ago(seconds: float | None) -> float | None:
    """None for a time in the future, which means nothing: the clock has been set back since."""
    return None if seconds is None or seconds > SET_BACK_SECONDS else -seconds

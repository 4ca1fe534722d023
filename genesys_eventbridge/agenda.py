"""When a destination's next steps come: one indexed read, cheap enough to repeat while a worker waits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from genesys_eventbridge import conf
from genesys_eventbridge.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.states import State


@dataclass(frozen=True, slots=True)
class Agenda:
    """What lies ahead, in seconds by the database's clock; None where there is nothing, or never was."""

    #: Until the next event is to be published, and until the next is to be asked about; negative: overdue.
    publish_in: float | None = None
    check_in: float | None = None
    #: Since the platform accepted any event, and since any worker left its heartbeat.
    accepted_ago: float | None = None
    heartbeat_ago: float | None = None
    #: Since a worker last began to prune.
    pruned_ago: float | None = None

    @property
    def next_in(self) -> float | None:
        return soonest((self.publish_in, self.check_in))


def look(alias: str) -> Agenda:
    """The agenda of one destination, pauses not considered: what is due may still have to wait."""
    ahead = (
        Destination.objects.using(outbox_alias())
        .filter(alias=alias)
        .annotate(publish_at=_next(State.PENDING), check_at=_next(State.ACCEPTED), now=DatabaseNow())
        .values_list("publish_at", "check_at", "accepted_at", "heartbeat_at", "pruned_at", "now")
    )
    row = ahead.first()
    if row is None:
        Destination.objects.using(outbox_alias()).get_or_create(alias=alias)
        row = ahead.get()
    *times, now = row
    publish, check, accepted, heartbeat, pruned = (_seconds(time, now) for time in times)
    return Agenda(publish, check, _ago(accepted), _ago(heartbeat), _ago(pruned))


def due(alias: str, state: State) -> OutboxQuerySet:
    """The events of one destination whose next step in this state is due."""
    return OutboxEvent.objects.on_outbox().filter(state=state, destination=alias, due_at__lte=DatabaseNow())


def database_now() -> dt.datetime:
    """The database's present time."""
    rows = Destination.objects.using(outbox_alias())
    now = rows.annotate(now=DatabaseNow()).values_list("now", flat=True)
    found = now.first()
    if found is None:
        rows.get_or_create(alias=conf.aliases()[0])
        found = now.get()
    return found


def soonest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _next(state: State) -> Subquery:
    """Two subqueries and no ``state IN (...)``: each reads one entry of the index, at any backlog."""
    rows = OutboxEvent.objects.filter(state=state, destination=OuterRef("alias"), due_at__isnull=False)
    return Subquery(rows.order_by("due_at", "id").values("due_at")[:1])


def _seconds(time: dt.datetime | None, now: dt.datetime) -> float | None:
    return None if time is None else (time - now).total_seconds()


def _ago(seconds: float | None) -> float | None:
    return None if seconds is None else -seconds

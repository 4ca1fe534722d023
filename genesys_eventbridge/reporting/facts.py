"""The facts needed to explain what happens next to an event, read from the database in three queries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, fields

from django.db.models import Subquery

from genesys_eventbridge import conf
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, EventAct, OutboxEvent, outbox_alias
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.states import AttemptKind, State


@dataclass(frozen=True, slots=True)
class Blocker:
    """The earlier event of the same ordering key that holds this one back."""

    id: int
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A destination's row; all fields are empty if no worker has reported yet."""

    heartbeat_at: dt.datetime | None = None
    heartbeat_worker: str = ""
    #: When a django-q2 task last ran; if that was recently, commits wake a worker.
    task_at: dt.datetime | None = None
    paused_until: dt.datetime | None = None
    paused_reason: str = ""
    paused_kind: str = ""
    check_paused_until: dt.datetime | None = None
    check_paused_reason: str = ""
    check_paused_kind: str = ""
    #: Until when the platform asked us to slow down, and its message; checks wait as well.
    rate_until: dt.datetime | None = None
    rate_reason: str = ""
    held_by: str = ""
    held_reason: str = ""
    held_until: dt.datetime | None = None
    #: When the platform last accepted an event.
    accepted_at: dt.datetime | None = None
    #: The stored ``Refusals``: events of its types are sent one at a time, the next at ``refused_until``.
    refusals: str | None = None
    refused_until: dt.datetime | None = None

    def is_held(self, now: dt.datetime) -> bool:
        """Whether an operator's pause lasts longer than ``now``."""
        return destinations.is_held(self.held_by, self.held_until, now)

    @property
    def refused(self) -> Refusals | None:
        """The run of refusals that holds events back; None if there is none."""
        return Refusals.read(self.refusals) if self.refused_until is not None else None

    @property
    def others_flow(self) -> bool:
        """Whether events of other types were accepted since that run began."""
        run = self.refused
        return run is not None and self.accepted_at is not None and self.accepted_at > run.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``now`` is the database clock; ``settings`` is None if the destination is no longer configured."""

    now: dt.datetime
    settings: DestinationSettings | None
    health: Health = Health()
    blocker: Blocker | None = None
    #: The last operator action on it.
    last_act: EventAct | None = None


def facts_for(event: OutboxEvent, *, acts: Sequence[EventAct] | None = None) -> Facts:
    """Collect the facts of one event; ``acts`` are its operator actions, oldest first, if already loaded."""
    row = OutboxEvent.objects.on_outbox().filter(pk=event.pk).annotate(now=DatabaseNow())
    blocker: Blocker | None = None
    if event.state == State.PENDING and event.ordering_key:
        first = OutboxEvent.objects.blockers().using(outbox_alias()).order_by("id")
        row = row.annotate(
            head=Subquery(first.values("id")[:1]), head_state=Subquery(first.values("state")[:1])
        )
        now, head, head_state = row.values_list("now", "head", "head_state").get()
        blocker = Blocker(head, State(head_state)) if head else None
    else:
        now = row.values_list("now", flat=True).get()
    if acts is None:
        acts = list(EventAct.objects.using(outbox_alias()).filter(event=event.pk).order_by("-id")[:1])
    return Facts(
        now=now,
        settings=settings_of(event.destination),
        health=healths(event.destination).get(event.destination, Health()),
        blocker=blocker,
        last_act=acts[-1] if acts else None,
    )


def settings_of(destination: str) -> DestinationSettings | None:
    return conf.destination(destination) if destination in conf.aliases() else None


def healths(*aliases: str) -> dict[str, Health]:
    """Health by alias of these destinations, or of all; only those that have a row. One query."""
    rows = Destination.objects.using(outbox_alias())
    if aliases:
        rows = rows.filter(alias__in=aliases)
    return {row.alias: health_of(row) for row in rows}


def health_of(row: Destination) -> Health:
    rate = destinations.pauses_of(row, AttemptKind.PUBLISH).of(Halt.RATE)
    return Health(
        **{field.name: getattr(row, field.name) for field in fields(Health) if hasattr(row, field.name)},
        rate_until=rate.until if rate else None,
        rate_reason=rate.reason if rate else "",
    )

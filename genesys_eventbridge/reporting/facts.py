"""The facts needed to explain what happens next to an event, read from the database in three queries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Subquery

from genesys_eventbridge import conf
from genesys_eventbridge.circuit import Pause
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
class Facts:
    """``now`` is the database clock; ``settings`` is None if the destination is no longer configured."""

    now: dt.datetime
    settings: DestinationSettings | None
    #: The destination's row; an empty one if no worker has reported yet.
    health: Destination = field(default_factory=Destination)
    #: The pause that the platform asked for by a rate limit; checks wait for it as well.
    rate: Pause | None = None
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
    health = healths(event.destination).get(event.destination, Destination())
    return Facts(
        now=now,
        settings=settings_of(event.destination),
        health=health,
        rate=destinations.pauses_of(health, AttemptKind.PUBLISH).of(Halt.RATE),
        blocker=blocker,
        last_act=acts[-1] if acts else None,
    )


def facts_of(
    events: Sequence[OutboxEvent], now: dt.datetime, known: Mapping[str, Destination]
) -> dict[int, Facts]:
    """The facts of the next steps of a page of events, by id; without their acts. At most one query.

    ``known`` are the rows of the destinations, by alias.
    """
    if not events:
        return {}
    keyed = [event.pk for event in events if event.ordering_key and event.state == State.PENDING]
    first = OutboxEvent.objects.blockers().using(outbox_alias()).order_by("id")
    rows = OutboxEvent.objects.on_outbox().filter(pk__in=keyed)
    heads = rows.annotate(
        head=Subquery(first.values("id")[:1]), head_state=Subquery(first.values("state")[:1])
    ).values_list("pk", "head", "head_state")
    blockers = {pk: Blocker(head, State(state)) for pk, head, state in heads if head} if keyed else {}
    found = {}
    for event in events:
        health = known.get(event.destination, Destination())
        found[event.pk] = Facts(
            now=now,
            settings=settings_of(event.destination),
            health=health,
            rate=destinations.pauses_of(health, AttemptKind.PUBLISH).of(Halt.RATE),
            blocker=blockers.get(event.pk),
        )
    return found


def settings_of(destination: str) -> DestinationSettings | None:
    return conf.destination(destination) if destination in conf.aliases() else None


def healths(*aliases: str) -> dict[str, Destination]:
    """The rows of these destinations, or of all, by alias. One query."""
    rows = Destination.objects.using(outbox_alias())
    if aliases:
        rows = rows.filter(alias__in=aliases)
    return {row.alias: row for row in rows}


def known_aliases() -> list[str]:
    """The configured destinations, then others that ever had a worker or a pause. One query."""
    return list(dict.fromkeys([*conf.aliases(), *sorted(healths())]))


def is_held(health: Destination, now: dt.datetime) -> bool:
    """Whether an operator's pause lasts longer than ``now``."""
    return destinations.is_held(health.held_by, health.held_until, now)


def refused(health: Destination) -> Refusals | None:
    """The run of refusals that holds events back; None if there is none."""
    return Refusals.read(health.refusals) if health.refused_until is not None else None


def others_flow(health: Destination) -> bool:
    """Whether events of other types were accepted since that run began."""
    run = refused(health)
    return run is not None and health.accepted_at is not None and health.accepted_at > run.since

"""The events that a bulk action applies to: named individually, or by filters up to a limit."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.core.management.base import CommandParser
from django.db.models import Count, Max, Min
from django.utils import timezone

from genesys_eventbridge.formatting import moment
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.draining import Pause
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting.facts import healths, is_held
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.states import NEEDS_OPERATOR, OPEN, Reason, State
from genesys_eventbridge.text import clean, is_storable

#: What ``--since`` and ``--until`` compare.
Times = Literal["created", "accepted"]
_WITH_A_REASON = {*NEEDS_OPERATOR, State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Selection:
    """``matched`` events match; ``ids`` are those acted on, oldest first, each with its state."""

    words: str
    matched: int = 0
    ids: dict[int, State] = field(default_factory=dict)
    types: Counter[str] = field(default_factory=Counter)
    #: Destinations that are skipped because they are paused.
    paused: list[Pause] = field(default_factory=list)

    def of(self, *states: State) -> list[int]:
        return [pk for pk, state in self.ids.items() if state in states]


def add_filters(
    parser: CommandParser, *, states: Sequence[str] = State.values, times: Times = "created"
) -> None:
    """The flags that ``event_filter`` reads; ``--destination`` is a flag of every command.

    ``times`` is what ``--since`` and ``--until`` compare: when events were created, or accepted.
    """
    add = parser.add_argument
    several = "(repeatable)"
    add("--state", action="append", choices=states, help=f"only events in this state {several}")
    add("--type", action="append", metavar="T", help=f"only this event type {several}")
    add("--reason", action="append", choices=Reason.values, help=f"only those that ended like this {several}")
    add(
        "--status-code",
        type=arguments.status_code,
        metavar="CODE",
        help="only those whose last response had this HTTP status: 503, 5xx, or none",
    )
    add("--ordering-key", metavar="K", help="only events with this ordering key")
    add("--subject", metavar="S", help="only events with exactly this subject")
    add("--error", metavar="TEXT", help="only those whose last error contains this, in any case")
    zone = timezone.get_current_timezone_name()
    add(
        "--since",
        type=arguments.moment,
        metavar="T",
        help=f"{times} at this time or later ({zone} unless it has an offset); 2h means 2 hours ago",
    )
    add("--until", type=arguments.moment, metavar="T", help=f"{times} before this time")


def event_filter(options: dict[str, Any], *, times: Times = "created") -> EventFilter:
    """The filter that the flags of ``add_filters`` describe. Raises WrongUsage, which names the flag."""
    since, until = options["since"], options["until"]
    if since and until and since >= until:
        raise WrongUsage("--since must be before --until.")
    states = tuple(map(State, options["state"] or ()))
    if options["reason"] and states and not set(states) & _WITH_A_REASON:
        raise WrongUsage("--reason needs --state dead, unresolved or cancelled.")
    for flag in ("ordering_key", "subject", "error"):
        if options[flag] == "":
            raise WrongUsage(f"--{flag.replace('_', '-')} must not be empty.")
    spans = {"created": ("since", "until"), "accepted": ("accepted_since", "accepted_until")}
    return EventFilter(
        states=states,
        types=tuple(dict.fromkeys(options["type"] or ())),
        destinations=arguments.aliases(options, stored=True) if options["destination"] else (),
        reasons=tuple(map(Reason, options["reason"] or ())),
        status_code=options["status_code"],
        ordering_key=options["ordering_key"] or "",
        subject=options["subject"] or "",
        error=options["error"] or "",
        **dict(zip(spans[times], (since, until), strict=True)),
    )


def rows(options: dict[str, Any]) -> OutboxQuerySet:
    """Every event that matches the filters, in any state."""
    named = OutboxEvent.objects.on_outbox().filter(destination__in=arguments.aliases(options, stored=True))
    return _filtered(named, options)


def select(options: dict[str, Any]) -> Selection:
    """The selection of ``eventbridge_retry``. Raises CommandError for filters that cannot be combined."""
    state = State(options["state"]) if options["state"] else None
    found = OutboxEvent.objects.on_outbox()
    if options["ids"]:
        found = found.filter(pk__in=arguments.event_numbers(options["ids"]))
        found = found.filter(state=state) if state else found
    else:
        state = state or State.PENDING
        found = found.retrying() if state is State.PENDING else found.filter(state=state)
    if options["reason"] and state not in NEEDS_OPERATOR:
        raise WrongUsage("--reason needs --state dead or --state unresolved.")
    if options["since"] and options["until"] and options["since"] >= options["until"]:
        raise WrongUsage("--since must be before --until.")
    aliases = arguments.aliases(options, stored=True)
    if options["destination"] or not options["ids"]:
        found = found.filter(destination__in=aliases)
    found = _filtered(found, options)
    paused = _paused(found, aliases)
    found = found.exclude(destination__in=[each.alias for each in paused])
    return _selected(found, options, state, paused)


def undecided(options: dict[str, Any]) -> list[int]:
    """The events named, or every event of ``--destination`` that is open or needs an operator."""
    if not options["ids"] and not options["destination"]:
        raise WrongUsage("Name events, or use --destination for all its unfinished events.")
    found = OutboxEvent.objects.on_outbox()
    if options["destination"]:
        found = found.filter(destination__in=arguments.aliases(options, stored=True))
    if options["ids"]:
        numbers = arguments.event_numbers(options["ids"])
        return (
            list(found.filter(id__in=numbers).values_list("id", flat=True))
            if options["destination"]
            else numbers
        )
    undecided = found.filter(state__in=[*OPEN, *NEEDS_OPERATOR])
    return list(undecided.order_by("id").values_list("id", flat=True))


def _filtered(rows: OutboxQuerySet, options: dict[str, Any]) -> OutboxQuerySet:
    if options["type"]:
        rows = rows.filter(type__in=[name for name in options["type"] if is_storable(name)])
    filters = {
        "reason": options["reason"],
        "created_at__gte": options["since"],
        "created_at__lt": options["until"],
    }
    return rows.filter(**{name: value for name, value in filters.items() if value})


def _paused(rows: OutboxQuerySet, aliases: tuple[str, ...]) -> list[Pause]:
    """Destinations paused by an operator, or by errors for some time to come."""
    found = []
    now = next_due.database_now()
    for alias, health in healths(*aliases).items():
        if is_held(health, now):
            until, reason = health.held_until, health.held_reason
        elif health.paused_until is not None and health.paused_until > now:
            until, reason = health.paused_until, health.paused_reason
        else:
            continue
        events = rows.filter(destination=alias).count()
        seconds = (until - now).total_seconds() if until else float("inf")
        if events:
            found.append(Pause(alias, seconds, reason, events))
    return found


def _selected(
    rows: OutboxQuerySet, options: dict[str, Any], state: State | None, paused: list[Pause]
) -> Selection:
    types = Counter(dict(rows.order_by().values_list("type").annotate(Count("id"))))
    times = rows.aggregate(first=Min("created_at"), last=Max("created_at"))
    ids = dict(rows.order_by("id").values_list("id", "state")[: options["limit"]])
    words = [str(word) for word in (state, options["reason"]) if word]
    words += [f"type {clean(name, 80)}" for name in dict.fromkeys(options["type"] or ())]
    if times["first"]:
        words.append(_span(times["first"], times["last"]))
    return Selection(
        words=f" ({', '.join(words)})" if words else "",
        matched=types.total(),
        ids={pk: State(value) for pk, value in ids.items()},
        types=types,
        paused=paused,
    )


def _span(first: dt.datetime, last: dt.datetime) -> str:
    now = dt.datetime.now(first.tzinfo)
    begin, end = moment(first, now), moment(last, now)
    return begin if begin == end else f"{begin} to {end}"

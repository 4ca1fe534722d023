"""The events that a bulk act applies to: named one by one, or chosen by filters."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.core.management.base import CommandParser
from django.db.models import Count, Max, Min
from django.utils import timezone

from genesys_eventbridge.formatting import between
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.draining import Pause
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.outbox.followers import with_dead_behind
from genesys_eventbridge.reporting.facts import healths, is_held
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.states import NEEDS_OPERATOR, OPEN, Reason, State

#: Types that a selection lists.
TYPES = 20

#: What ``--since`` and ``--until`` compare.
Times = Literal["created", "accepted"]
_WITH_A_REASON = {*NEEDS_OPERATOR, State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of a bulk act: ``matched`` of them, described by ``words``, such as "dead, rejected"."""

    rows: OutboxQuerySet
    words: str = ""
    matched: int = 0
    #: Of all that match the filters, if a limit leaves some out; else the same as ``matched``.
    total: int = 0
    states: Counter[State] = field(default_factory=Counter)
    #: The most frequent types, and how many others there are.
    types: Counter[str] = field(default_factory=Counter)
    other_types: int = 0
    #: Destinations that are skipped because they are paused.
    paused: list[Pause] = field(default_factory=list)

    def of(self, *states: State) -> OutboxQuerySet:
        return self.rows.filter(state__in=states)


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
    add("--failure", metavar="ID", help="only this failure group of eventbridge_status --failures")
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
    for flag in ("ordering_key", "subject", "error", "failure"):
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
        failure=options["failure"] or "",
        **dict(zip(spans[times], (since, until), strict=True)),
    )


def select(
    options: dict[str, Any],
    rows: OutboxQuerySet | None = None,
    *,
    skip_paused: bool = False,
    times: Times = "created",
) -> Selection:
    """The events that the options name or filter, among ``rows`` (default: all), up to ``--limit``.

    ``skip_paused`` leaves out those of destinations that send nothing now. Raises CommandError for unknown
    events and for filters that cannot be combined.
    """
    chosen = event_filter(options, times=times)
    found = chosen.rows()
    if options["ids"]:
        found = found.filter(pk__in=arguments.event_numbers(options["ids"]))
    if rows is not None:
        found = found & rows
    paused = _paused(found, arguments.aliases(options, stored=True)) if skip_paused else []
    if options.get("whole_key"):
        found = with_dead_behind(found)
    found = found.exclude(destination__in=[each.alias for each in paused])
    total = 0
    if limit := options.get("limit"):
        total = found.count()
        ids = found.order_by("id").values_list("id", flat=True)
        last = ids[limit - 1 : limit].first()
        found = found if last is None else found.filter(id__lte=last)
    return _selected(found, chosen, total, paused, named=bool(options["ids"]))


def undecided() -> OutboxQuerySet:
    """Events that are open or need an operator."""
    return OutboxEvent.objects.on_outbox().filter(state__in=[*OPEN, *NEEDS_OPERATOR])


def require_choice(options: dict[str, Any]) -> None:
    """Raises WrongUsage if neither events nor filters are given: it would be about every event."""
    if not options["ids"] and event_filter(options).is_empty:
        raise WrongUsage("Name events, or give filters: --state, --type, --destination, ...")


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
    rows: OutboxQuerySet, chosen: EventFilter, total: int, paused: list[Pause], *, named: bool
) -> Selection:
    groups = list(rows.order_by().values_list("state", "type").annotate(Count("id")))
    states: Counter[State] = Counter()
    types: Counter[str] = Counter()
    for state, kind, number in groups:
        states[State(state)] += number
        types[kind] += number
    times = rows.aggregate(first=Min("created_at"), last=Max("created_at"))
    words = [] if chosen.is_empty else [chosen.words()]
    if times["first"] and not named:
        now = dt.datetime.now(times["first"].tzinfo)
        words.append(f"created {between(times['first'], times['last'], now)}")
    return Selection(
        rows=rows,
        words=f" ({', '.join(words)})" if words else "",
        matched=states.total(),
        total=total or states.total(),
        states=states,
        types=Counter(dict(types.most_common(TYPES))),
        other_types=max(0, len(types) - TYPES),
        paused=paused,
    )

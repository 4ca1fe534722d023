"""The metrics of the dashboard, each with a link to the events behind it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from genesys_eventbridge import formatting
from genesys_eventbridge.formatting import span
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.reporting.figures import Figures, Range, TypeTimes
from genesys_eventbridge.reporting.problems import Limits
from genesys_eventbridge.reporting.status import DestinationStatus, merged
from genesys_eventbridge.selection import EventFilter, Progress
from genesys_eventbridge.states import State
from genesys_eventbridge.text import clean


@dataclass(frozen=True, slots=True)
class Urls:
    """Makes the links: to the list of these events, and to the failures since a time."""

    events: Callable[[EventFilter], str]
    failures: Callable[[dt.datetime, str], str]


@dataclass(frozen=True, slots=True)
class Number:
    """``label`` and ``value`` as shown; ``tone`` is "bad" if an operator should look, else ""."""

    label: str
    value: str
    url: str
    note: str = ""
    tone: str = ""


def numbers(
    statuses: Sequence[DestinationStatus],
    figures: Figures,
    chosen: Range,
    urls: Urls,
    destination: str,
) -> list[Number]:
    """Metrics of one or several destinations; ``destination`` narrows the linked lists."""
    at = merged(statuses)
    only = (destination,) if destination else ()
    since = chosen.begins(at.now)

    def linked(**conditions: Any) -> str:
        return urls.events(EventFilter(destinations=only, **conditions))

    def new(state: State) -> str:
        words = {"count": formatting.number(figures.whole[state]), "range": chosen.label}
        return _("%(count)s new in the %(range)s") % words

    half, most, nearly = (figures.quantile(share) for share in (0.5, 0.95, 0.99))
    found = [
        Number(
            _("Oldest undelivered"),
            _oldest(at),
            linked(progress=Progress.OPEN),
            tone="bad" if at.oldest is not None and at.oldest > Limits().max_age else "",
        ),
        Number(_("Waiting"), at.shown(at.waiting, "waiting"), linked(progress=Progress.WAITING)),
        Number(_("Retrying"), at.shown(at.retrying, "retrying"), linked(progress=Progress.RETRYING)),
        Number(_("In flight"), at.shown(at.in_flight, "in_flight"), linked(progress=Progress.IN_FLIGHT)),
    ]
    if at.held_back.number:
        note = at.held_back.sentence or _("behind an event of their ordering key that goes first")
        found.append(Number(_("Held back"), at.shown(at.held_back.number, "held"), linked(held=True), note))
    found += [
        Number(
            _("Accepted"),
            at.shown(at.accepted, "accepted"),
            linked(states=(State.ACCEPTED,)),
            _("awaiting confirmation") if any(map(confirms, statuses)) else _("no confirmation to wait for"),
        ),
        Number(
            _("Dead"),
            at.shown(at.dead, "dead"),
            linked(states=(State.DEAD,)),
            new(State.DEAD),
            "bad" if at.dead else "",
        ),
        Number(
            _("Unresolved"),
            at.shown(at.unresolved, "unresolved"),
            linked(states=(State.UNRESOLVED,)),
            new(State.UNRESOLVED),
            "bad" if at.unresolved else "",
        ),
        Number(
            _("Delivered"),
            formatting.number(figures.whole[State.DELIVERED]),
            linked(states=(State.DELIVERED,), finished_since=since),
            _("in the %(range)s") % {"range": chosen.label},
        ),
        Number(
            _("Success rate"),
            share(figures.success),
            urls.failures(since, destination),
            _("in the %(range)s") % {"range": chosen.label},
        ),
        Number(
            _("Time to delivery"),
            span(half) if half is not None else "-",
            linked(states=(State.DELIVERED,), finished_since=since),
            _("median of the %(range)s; 95 %% within %(most)s, 99 %% within %(nearly)s")
            % {"range": chosen.label, "most": span(most), "nearly": span(nearly)}
            if most is not None and nearly is not None
            else _("nothing delivered in the %(range)s") % {"range": chosen.label},
        ),
    ]
    return found


def confirms(at: DestinationStatus) -> bool:
    """Whether its accepted events wait for a confirmation."""
    settings = settings_of(at.alias)
    return settings is not None and settings.confirms


def times(found: Sequence[TypeTimes], chosen: Range, now: dt.datetime, urls: Urls) -> list[list[Any]]:
    """Rows of the table of delivery times: destination, type, deliveries with their URL, percentiles."""
    since = chosen.begins(now)
    rows = []
    for each in found:
        which = EventFilter(
            states=(State.DELIVERED,),
            types=(each.type,),
            destinations=(each.destination,),
            finished_since=since,
        )
        rows.append(
            [
                each.destination,
                clean(each.type, 255) or _("other types"),
                formatting.number(each.number),
                urls.events(which) if each.type else "",
                *(span(each.quantile(share) or 0) for share in (0.5, 0.95, 0.99)),
            ]
        )
    return rows


def line(at: DestinationStatus, figures: Figures) -> list[str]:
    """One destination's cells in the table of destinations, in the order of the template's headings."""
    half, most = figures.quantile(0.5), figures.quantile(0.95)
    return [
        _oldest(at),
        at.shown(at.waiting + at.retrying + at.in_flight, "waiting", "retrying", "in_flight"),
        at.shown(at.accepted, "accepted"),
        at.shown(at.dead, "dead"),
        at.shown(at.unresolved, "unresolved"),
        formatting.number(figures.whole[State.DELIVERED]),
        share(figures.success),
        f"{span(half)} / {span(most)}" if half is not None and most is not None else "-",
    ]


def share(of: float | None) -> str:
    """The share as text, rounded down so that 100 % means all: 0.9999 is "99.9 %"."""
    return "-" if of is None else _("%(share)s %%") % {"share": f"{math.floor(of * 1000) / 10:g}"}


def _oldest(at: DestinationStatus) -> str:
    if at.oldest is None:
        return "-"
    return f"{span(at.oldest)}+" if "oldest" in at.least else span(at.oldest)

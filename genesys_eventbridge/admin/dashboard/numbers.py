"""The metrics of the dashboard, each with a link to the events behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.http import urlencode
from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import span
from genesys_eventbridge.reporting.figures import Figures
from genesys_eventbridge.reporting.problems import Limits
from genesys_eventbridge.reporting.status import DestinationStatus, merged
from genesys_eventbridge.states import State


@dataclass(frozen=True, slots=True)
class Number:
    """``label`` and ``value`` as shown; ``tone`` is "bad" if an operator should look, else ""."""

    label: str
    value: str
    url: str
    note: str = ""
    tone: str = ""


def numbers(
    statuses: Sequence[DestinationStatus], figures: Figures, events_url: str, destination: str
) -> list[Number]:
    """Metrics of one or several destinations; ``destination`` narrows the linked lists."""
    at = merged(statuses)

    def linked(**filters: str) -> str:
        only = {"destination": destination} if destination else {}
        return f"{events_url}?{urlencode({**filters, **only})}"

    new = figures.day[State.DEAD]
    lost = figures.day[State.UNRESOLVED]
    half, most = figures.quantile(0.5), figures.quantile(0.95)
    return [
        Number(
            _("Oldest undelivered"),
            _oldest(at),
            linked(progress="open"),
            tone="bad" if at.oldest is not None and at.oldest > Limits().max_age else "",
        ),
        Number(_("Waiting"), at.shown(at.waiting, "waiting"), linked(progress="waiting")),
        Number(_("Retrying"), at.shown(at.retrying, "retrying"), linked(progress="retrying")),
        Number(_("In flight"), at.shown(at.in_flight, "in_flight"), linked(progress="in_flight")),
        Number(
            _("Accepted"),
            at.shown(at.accepted, "accepted"),
            linked(state=State.ACCEPTED),
            _("awaiting confirmation"),
        ),
        Number(
            _("Dead"),
            at.shown(at.dead, "dead"),
            linked(state=State.DEAD),
            _("%(count)s new in 24 h") % {"count": f"{new:,}"},
            "bad" if at.dead else "",
        ),
        Number(
            _("Unresolved"),
            at.shown(at.unresolved, "unresolved"),
            linked(state=State.UNRESOLVED),
            _("%(count)s new in 24 h") % {"count": f"{lost:,}"},
            "bad" if at.unresolved else "",
        ),
        Number(_("Delivered"), f"{at.delivered_1h:,}", linked(state=State.DELIVERED), _("in the last hour")),
        Number(
            _("Success rate"),
            share(figures.success_1h),
            linked(attention="person", created="1h"),
            _("in the last hour"),
        ),
        Number(
            _("Time to delivery"),
            span(half) if half is not None else "-",
            linked(state=State.DELIVERED, created="24h"),
            _("median over 24 h; 95 %% within %(span)s") % {"span": span(most)}
            if most is not None
            else _("nothing delivered in 24 h"),
        ),
    ]


def line(at: DestinationStatus, figures: Figures) -> list[str]:
    """One destination's cells in the table of destinations, in the order of the template's headings."""
    half, most = figures.quantile(0.5), figures.quantile(0.95)
    return [
        _oldest(at),
        at.shown(at.waiting + at.retrying + at.in_flight, "waiting", "retrying", "in_flight"),
        at.shown(at.accepted, "accepted"),
        at.shown(at.dead, "dead"),
        at.shown(at.unresolved, "unresolved"),
        f"{at.delivered_1h:,}",
        share(figures.success_1h),
        f"{span(half)} / {span(most)}" if half is not None and most is not None else "-",
    ]


def share(of: float | None) -> str:
    """The share as text, rounded down so that 100 % means all: 0.9999 is "99.9 %"."""
    return "-" if of is None else _("%(share)s %%") % {"share": f"{math.floor(of * 1000) / 10:g}"}


def _oldest(at: DestinationStatus) -> str:
    if at.oldest is None:
        return "-"
    return f"{span(at.oldest)}+" if "oldest" in at.least else span(at.oldest)

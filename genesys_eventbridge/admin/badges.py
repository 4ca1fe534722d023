"""Building blocks of the pages: states with symbols, relative times, names. Colour is never the only cue."""

from __future__ import annotations

import datetime as dt
import re

from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import exact, number, relative
from genesys_eventbridge.operations.results import Skip, Some
from genesys_eventbridge.states import State
from genesys_eventbridge.text import clean

#: Shown before the word for quick scanning; screen readers read only the word.
SYMBOLS = {
    State.PENDING: "○",
    State.ACCEPTED: "◐",
    State.DELIVERED: "●",
    State.DEAD: "✕",
    State.UNRESOLVED: "?",
    State.CANCELLED: "⊘",
}

#: Characters of a name that fit on one line of a column.
UNBROKEN = 16


def state_badge(state: str) -> str:
    """The state as HTML: a symbol and a word."""
    known = State(state) if state in State.values else None
    return format_html(
        '<span class="eventbridge-state eventbridge-{}"><span aria-hidden="true">{}</span> {}</span>',
        known.value if known else "other",
        SYMBOLS[known] if known else "·",
        known.label if known else clean(state, 16),
    )


def breakable(name: str, fits: int = UNBROKEN) -> str:
    """A type or source as HTML; a long one wraps behind its dots, slashes and underscores."""
    whole = clean(name, 255)
    if len(whole) <= fits:
        return whole
    return format_html_join("", "{}<wbr>", ((part,) for part in re.findall(r"[^./_]*[./_]+|[^./_]+", whole)))


def when(moment: dt.datetime | None, now: dt.datetime) -> str:
    """A relative time as HTML, with the exact time as its tooltip."""
    if moment is None:
        return "-"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment), relative(moment, now)
    )


def numbers(parts: dict[Skip, Some]) -> str:
    """The reason: "already due"; several ones with their counts: "being sent right now (3), dead (1)"."""
    if len(parts) == 1:
        (why,) = parts
        return str(why.label)
    return ", ".join(
        _("%(reason)s (%(count)s)") % {"count": number(some.count), "reason": why.label}
        for why, some in parts.items()
    )

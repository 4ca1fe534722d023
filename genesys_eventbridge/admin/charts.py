"""Charts as plain shapes: numbers in, bar positions out, for a template to draw. No styling here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import clock_time, moment, span
from genesys_eventbridge.reporting import samples
from genesys_eventbridge.reporting.figures import Quarter
from genesys_eventbridge.text import clean

#: Width of a bar including the gap, and of the bar itself, in drawing units.
STEP = 10
BAR = 8
#: Height of the drawing, and the minimum height of a nonzero bar.
HEIGHT = 100
LEAST = 2.0
#: Number of error kinds drawn, and the height of one row including its gap.
ERRORS = 8
RANK = 28


@dataclass(frozen=True, slots=True)
class Shape:
    """A rectangle. Values are strings, because templates localise numbers."""

    tone: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Shapes that belong together, and their tooltip."""

    label: str
    shapes: list[Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart. ``kind`` is "bars" or "ranks"; ``table`` has the same numbers as rows of text."""

    name: str
    kind: str
    title: str
    about: str
    width: str
    height: str
    heads: list[str]
    bars: list[Bar] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)
    #: The number at the top of the drawing, and the labels below it from left to right.
    top: str = ""
    ticks: list[str] = field(default_factory=list)
    #: Pairs of tone and label.
    legend: list[tuple[str, str]] = field(default_factory=list)
    #: Shown instead of the drawing if there is nothing to draw.
    nothing: str = ""


def day(quarters: Sequence[Quarter], now: dt.datetime) -> Chart:
    """Delivered and dead events, stacked, per quarter hour."""
    delivered, dead = sum(each.delivered for each in quarters), sum(each.dead for each in quarters)
    top = _round_up(max(each.delivered + each.dead for each in quarters))
    words = {"delivered": f"{delivered:,}", "dead": f"{dead:,}"}
    about = _("Past 24 hours: %(delivered)s delivered, %(dead)s dead.") % words
    bars, table = [], []
    for place, each in enumerate(quarters):
        if not (each.delivered or each.dead):
            continue
        row = [moment(each.begins, now), f"{each.delivered:,}", f"{each.dead:,}"]
        label = _("%(begin)s: %(delivered)s delivered, %(dead)s dead") % dict(
            zip(("begin", "delivered", "dead"), row, strict=True)
        )
        bars.append(Bar(label, _stacked(place, [("good", each.delivered), ("bad", each.dead)], top)))
        table.append(row)
    return Chart(
        name="day",
        kind="bars",
        title=_("Delivered and dead"),
        about=about,
        width=str(len(quarters) * STEP),
        height=str(HEIGHT),
        heads=[_("From"), _("Delivered"), _("Dead")],
        bars=bars,
        table=table,
        top=f"{top:,}",
        ticks=[*(clock_time(quarters[at].begins) for at in (0, 24, 48, 72)), _("now")],
        legend=[("good", _("delivered")), ("bad", _("dead"))],
        nothing="" if bars else _("No events were delivered or became dead in the past 24 hours."),
    )


def wave(retries: Mapping[int, int], now: dt.datetime, *, more: bool) -> Chart:
    """Upcoming retries per five minutes; shows the wave of retries after an outage."""
    ahead = {bar: number for bar, number in retries.items() if bar < samples.BARS}
    later = retries.get(samples.BARS, 0)
    top = _round_up(max(ahead.values(), default=0))
    words = {"count": f"{sum(ahead.values()):,}", "later": f"{later:,}"}
    about = _("In the next 2 hours: %(count)s retries; later: %(later)s.") % words
    if more:
        about += " " + _("There are more retries than shown.")
    bars, table = [], []
    for place, number in sorted(ahead.items()):
        begin = moment(now + dt.timedelta(seconds=samples.BAR * place), now)
        label = _("from %(begin)s: %(count)s") % {"begin": begin, "count": f"{number:,}"}
        bars.append(Bar(label, _stacked(place, [("wait", number)], top)))
        table.append([begin, f"{number:,}"])
    if later:
        table.append([_("later"), f"{later:,}"])
    return Chart(
        name="wave",
        kind="bars",
        title=_("Upcoming retries"),
        about=about,
        width=str(samples.BARS * STEP),
        height=str(HEIGHT),
        heads=[_("From"), _("Retries")],
        bars=bars,
        table=table,
        top=f"{top:,}",
        ticks=[_("now"), *(f"+{span(minutes * 60)}" for minutes in (30, 60, 90, 120))],
        legend=[("wait", _("retries"))],
        nothing="" if bars else _("No retries are due in the next 2 hours."),
    )


def errors(found: Sequence[tuple[str, int]]) -> Chart:
    """The most common kinds of failed requests of the past day, as horizontal bars."""
    drawn = [(_named(name), number) for name, number in found[:ERRORS]]
    longest = drawn[0][1] if drawn else 1
    total = sum(number for _name, number in found)
    bars = [
        Bar(
            f"{name}: {number:,}",
            [Shape("bad", "0", str(place * RANK + 4), _text(_share(number, longest)), str(RANK - 8))],
        )
        for place, (name, number) in enumerate(drawn)
    ]
    return Chart(
        name="errors",
        kind="ranks",
        title=_("Failed requests"),
        about=_("Past 24 hours: %(count)s requests failed.") % {"count": f"{total:,}"},
        width=str(HEIGHT),
        height=str(max(1, len(drawn)) * RANK),
        heads=[_("What"), _("Requests")],
        bars=bars,
        table=[[name, f"{number:,}"] for name, number in drawn],
        nothing="" if bars else _("No requests failed in the past 24 hours."),
    )


def _named(name: str) -> str:
    """The display name of a kind of error; see ``counters.error_class``."""
    if name.isdigit():
        return (
            _("%(status)s, invalid response") % {"status": name} if name.startswith("2") else f"HTTP {name}"
        )
    return {
        "auth": _("login failed"),
        "permission": _("permission denied"),
        "config": _("configuration error"),
        "rate": _("too many requests"),
        "network": _("network error"),
        "other": _("other"),
    }.get(name, clean(name, 40))


def _stacked(place: int, parts: Sequence[tuple[str, int]], top: int) -> list[Shape]:
    """Rectangles stacked from the bottom up."""
    shapes, ground = [], float(HEIGHT)
    for tone, number in parts:
        if number:
            height = min(ground, _share(number, top))
            ground -= height
            shapes.append(
                Shape(tone, str(place * STEP + (STEP - BAR) // 2), _text(ground), str(BAR), _text(height))
            )
    return shapes


def _share(number: int, of: int) -> float:
    """Never too small to be seen."""
    return max(LEAST, HEIGHT * number / of)


def _text(length: float) -> str:
    return f"{length:.2f}".rstrip("0").rstrip(".")


def _round_up(number: int) -> int:
    """Round up to one significant digit."""
    if number <= 2:
        return 2
    power: int = 10 ** (len(str(number)) - 1)
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= number)

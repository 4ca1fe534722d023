"""Charts as plain shapes: numbers in, bar positions out, for a template to draw. No styling here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge import formatting
from genesys_eventbridge.formatting import clock_time, day, moment, span
from genesys_eventbridge.reporting import samples
from genesys_eventbridge.reporting.figures import Bar as Ended
from genesys_eventbridge.reporting.figures import Range
from genesys_eventbridge.text import clean

#: Width of a bar including the gap, and of the bar itself, in drawing units.
STEP = 10
BAR = 8
#: Height of the drawing, and the minimum height of a nonzero bar.
HEIGHT = 100
LEAST = 2.0
#: Labels below a chart of the past, apart from "now".
TICKS = 4
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
    #: The numbers at the top and in the middle of the drawing, with their unit, and the labels below it from
    #: left to right.
    top: str = ""
    middle: str = ""
    ticks: list[str] = field(default_factory=list)
    #: Pairs of tone and label.
    legend: list[tuple[str, str]] = field(default_factory=list)
    #: Shown instead of the drawing if there is nothing to draw.
    nothing: str = ""


def ended(bars_: Sequence[Ended], chosen: Range, now: dt.datetime) -> Chart:
    """Delivered, dead and unresolved events, stacked, per bar of the range."""
    kinds = [("good", _("delivered")), ("bad", _("dead")), ("wait", _("unresolved"))]
    top = _round_up(max(each.total for each in bars_))
    words = {
        "delivered": formatting.number(sum(each.delivered for each in bars_)),
        "dead": formatting.number(sum(each.dead for each in bars_)),
        "unresolved": formatting.number(sum(each.unresolved for each in bars_)),
        "bar": span(chosen.bar),
        "begin": moment(bars_[0].begins, now),
    }
    about = (
        _("Since %(begin)s, per %(bar)s: %(delivered)s delivered, %(dead)s dead, %(unresolved)s unresolved.")
        % words
    )
    bars, table = [], []
    for place, each in enumerate(bars_):
        if not each.total:
            continue
        numbers = (each.delivered, each.dead, each.unresolved)
        row = [moment(each.begins, now), *(formatting.number(number) for number in numbers)]
        label = _("%(begin)s: %(delivered)s delivered, %(dead)s dead, %(unresolved)s unresolved") % dict(
            zip(("begin", "delivered", "dead", "unresolved"), row, strict=True)
        )
        tones = [(tone, number) for (tone, _word), number in zip(kinds, numbers, strict=True)]
        bars.append(Bar(label, _stacked(place, tones, top)))
        table.append(row)
    return Chart(
        name="day",
        kind="bars",
        title=_("Delivered, dead and unresolved"),
        about=about,
        width=str(len(bars_) * STEP),
        height=str(HEIGHT),
        heads=[_("From"), _("Delivered"), _("Dead"), _("Unresolved")],
        bars=bars,
        table=table,
        top=_events(top),
        middle=_events(top // 2),
        ticks=[*_ticks(bars_, chosen, now), _("now")],
        legend=kinds,
        nothing="" if bars else _("No event ended in this time."),
    )


def _ticks(bars_: Sequence[Ended], chosen: Range, now: dt.datetime) -> list[str]:
    """Times of a range up to a day; days of a longer one."""
    begins = [bars_[len(bars_) * place // TICKS].begins for place in range(TICKS)]
    if chosen in (Range.HOUR, Range.DAY):
        return [clock_time(begin) for begin in begins]
    return [day(begin, now) for begin in begins]


def _events(number: int) -> str:
    return ngettext("%(count)s event", "%(count)s events", number) % {"count": formatting.number(number)}


def wave(retries: Mapping[int, int], now: dt.datetime, *, more: bool) -> Chart:
    """Upcoming attempts per five minutes: retries, and what was spread or delayed."""
    ahead = {bar: number for bar, number in retries.items() if bar < samples.BARS}
    later = retries.get(samples.BARS, 0)
    top = _round_up(max(ahead.values(), default=0))
    words = {
        "count": formatting.number(sum(ahead.values())),
        "later": formatting.number(later),
        "bar": span(samples.BAR),
    }
    about = _("In the next 2 hours, per %(bar)s: %(count)s attempts; later: %(later)s.") % words
    if more:
        about += " " + _("There are more attempts than shown.")
    bars, table = [], []
    for place, number in sorted(ahead.items()):
        begin = moment(now + dt.timedelta(seconds=samples.BAR * place), now)
        label = _("from %(begin)s: %(count)s") % {"begin": begin, "count": formatting.number(number)}
        bars.append(Bar(label, _stacked(place, [("wait", number)], top)))
        table.append([begin, formatting.number(number)])
    if later:
        table.append([_("later"), formatting.number(later)])
    return Chart(
        name="wave",
        kind="bars",
        title=_("Upcoming attempts"),
        about=about,
        width=str(samples.BARS * STEP),
        height=str(HEIGHT),
        heads=[_("From"), _("Attempts")],
        bars=bars,
        table=table,
        top=_events(top),
        middle=_events(top // 2),
        ticks=[_("now"), *(f"+{span(minutes * 60)}" for minutes in (30, 60, 90, 120))],
        legend=[("wait", _("attempts"))],
        nothing="" if bars else _("No attempt is planned for the next 2 hours."),
    )


def errors(found: Sequence[tuple[str, int]], chosen: Range, now: dt.datetime) -> Chart:
    """The most common kinds of failed requests of the range, as horizontal bars."""
    drawn = [(_named(name), number) for name, number in found[:ERRORS]]
    longest = drawn[0][1] if drawn else 1
    total = sum(number for _name, number in found)
    bars = [
        Bar(
            f"{name}: {formatting.number(number)}",
            [Shape("bad", "0", str(place * RANK + 4), _text(_share(number, longest)), str(RANK - 8))],
        )
        for place, (name, number) in enumerate(drawn)
    ]
    return Chart(
        name="errors",
        kind="ranks",
        title=_("Failed requests"),
        about=_("Since %(begin)s: %(count)s requests failed.")
        % {"begin": moment(chosen.begins(now), now), "count": formatting.number(total)},
        width=str(HEIGHT),
        height=str(max(1, len(drawn)) * RANK),
        heads=[_("What"), _("Requests")],
        bars=bars,
        table=[[name, formatting.number(number)] for name, number in drawn],
        nothing="" if bars else _("No requests failed in this time."),
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
    """Round up to one significant digit, and to an even number: its half is a label, too."""
    power: int = 10 ** (len(str(number)) - 1)
    steps = (step * power for step in (1, 2, 3, 4, 5, 6, 8, 10))
    return next(top for top in steps if top >= number and top % 2 == 0)

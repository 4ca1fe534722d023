"""Numbers, durations and times as people read them: "12,480", "4 min", "14:31 UTC", "23 Dec 14:31 UTC"."""

from __future__ import annotations

import datetime as dt

from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.text import clean

#: Maximum number of types named in a sentence.
MOST_SHOWN = 10


def number(value: float, places: int = 0, *, at_least: bool = False) -> str:
    """A number rounded to ``places``, with the separators of the reader's language: "12,480".

    ``at_least``: it is a lower bound, "12,480+".
    """
    return f"{number_format(round(value, places), places, force_grouping=True)}{'+' if at_least else ''}"


def span(seconds: float) -> str:
    """A duration in its largest unit, with minutes if it is below 10 hours: "1 h 20 min"."""
    seconds = abs(seconds)
    if seconds < 10 and seconds != int(seconds):
        return _("%(count)s s") % {"count": number(seconds, 1)}
    whole = round(seconds)
    if whole < 120:
        return _("%(count)s s") % {"count": whole}
    minutes = round(whole / 60)
    if minutes < 60:
        return _("%(count)s min") % {"count": minutes}
    hours, rest = divmod(minutes, 60)
    if hours < 10 and rest:
        return _("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": rest}
    hours = round(minutes / 60)
    if hours < 48:
        return _("%(count)s h") % {"count": hours}
    return _("%(count)s d") % {"count": number(round(hours / 24))}


def moment(when: dt.datetime, now: dt.datetime) -> str:
    """A time of today as "14:31 UTC", any other as "23 Dec 14:31 UTC"; with the year if it is not this year.

    The zone is the reader's: the active one in the admin, TIME_ZONE in a terminal.
    """
    return f"{_moment(when, now)} {zone(when)}"


def between(first: dt.datetime, last: dt.datetime, now: dt.datetime) -> str:
    """Two times as "09:10 to 11:42 UTC"; only one if they are the same minute."""
    begin, end = _moment(first, now), _moment(last, now)
    if zone(first) != zone(last):
        begin = moment(first, now)
    elif begin == end:
        return moment(last, now)
    return _("%(begin)s to %(end)s") % {"begin": begin, "end": moment(last, now)}


def is_in_every_zone(when: dt.datetime) -> bool:
    """Whether the calendar of every time zone has this time, so that it can be converted and compared."""
    return dt.MINYEAR < when.year < dt.MAXYEAR


def exact(when: dt.datetime) -> str:
    """A time to the second, as "2026-12-23 14:31:07 UTC"."""
    return f"{date_format(_local(when), 'Y-m-d H:i:s')} {zone(when)}"


def clock_time(when: dt.datetime, *, seconds: bool = False) -> str:
    """A time as "14:31", or "14:31:07", whatever the day; for axes and lists that name the zone once."""
    return date_format(_local(when), "H:i:s" if seconds else "H:i")


def zone(when: dt.datetime) -> str:
    """The name of the reader's time zone at that time: "CET", "CEST", "UTC-03"."""
    local = _local(when)
    # Django's format "T" is empty for the hour that clocks repeat in autumn, where the name matters most.
    name = (local.tzinfo or timezone.get_default_timezone()).tzname(local) or ""
    return f"UTC{name}" if name.startswith(("+", "-")) else name


def day(when: dt.datetime, now: dt.datetime) -> str:
    """A date as "23 Dec"; with the year if it is not this year."""
    when, now = _local(when), _local(now)
    return date_format(when, "j M" if when.year == now.year else "j M Y")


def relative(when: dt.datetime, now: dt.datetime) -> str:
    """ "in 4 min", "now" or "4 min ago"."""
    seconds = (when - now).total_seconds()
    if abs(seconds) < 1:
        return _("now")
    words = {"span": span(round(seconds))}
    return _("in %(span)s") % words if seconds > 0 else _("%(span)s ago") % words


def pause_kind(kind: str) -> str:
    """Why a destination is paused, in a word; "" for a kind that this release does not know."""
    words = {
        Halt.AUTH: _("login"),
        Halt.PERMISSION: _("permission"),
        Halt.CONFIG: _("configuration"),
        Halt.RATE: _("rate"),
        Halt.NETWORK: _("network"),
        Halt.REFUSALS: _("refusals"),
    }
    return next((word for known, word in words.items() if known == kind), "")


def types(run: Refusals) -> str:
    """The types of the run; only the first ones if there are many."""
    shown = ", ".join(run.types[:MOST_SHOWN])
    more = len(run.types) - MOST_SHOWN
    return _("%(types)s and %(count)s more") % {"types": shown, "count": more} if more > 0 else shown


def refused_since(run: Refusals, now: dt.datetime, *, others_accepted: bool = False) -> str:
    """What the platform refuses, since when and with which error; without a full stop."""
    words = {
        "since": moment(run.since, now),
        "error": clean(run.error.rstrip("."), 250),
        "types": types(run),
    }
    if others_accepted:
        return _("The platform has refused every event of %(types)s since %(since)s (%(error)s)") % words
    return _("The platform has refused every event since %(since)s (%(error)s)") % words


def refusals(run: Refusals, waiting: str, now: dt.datetime, *, others_accepted: bool = False) -> str:
    """The effect of a run of refusals; ``waiting`` is the number of events still to be sent, as text."""
    words = {
        "refused": refused_since(run, now, others_accepted=others_accepted),
        "count": number(run.count),
        "waiting": waiting,
        "types": types(run),
    }
    if others_accepted:
        return (
            _("%(refused)s: %(count)s are dead, one at a time is tried. %(waiting)s of all types wait.")
            % words
        )
    return (
        _("%(refused)s: %(count)s events are dead, %(waiting)s are waiting. Refused types: %(types)s.")
        % words
    )


def _moment(when: dt.datetime, now: dt.datetime) -> str:
    when, now = _local(when), _local(now)
    if when.date() == now.date():
        return date_format(when, "H:i")
    return date_format(when, "j M H:i" if when.year == now.year else "j M Y H:i")


def _local(when: dt.datetime) -> dt.datetime:
    return timezone.localtime(when) if timezone.is_aware(when) else when

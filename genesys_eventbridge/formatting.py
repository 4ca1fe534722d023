"""Short durations and times in the reader's time zone: "4 min", "14:31", "23 Dec 14:31"."""

from __future__ import annotations

import datetime as dt

from django.conf import settings
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.translation import gettext as _

from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.text import clean

#: Maximum number of types named in a sentence.
MOST_SHOWN = 10


def span(seconds: float) -> str:
    """A duration in its largest unit, with minutes if it is below 10 hours: "1 h 20 min"."""
    seconds = abs(seconds)
    if seconds < 10 and seconds != int(seconds):
        return _("%(count)s s") % {"count": f"{seconds:.1f}"}
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
    return _("%(count)s d") % {"count": round(hours / 24)}


def moment(when: dt.datetime, now: dt.datetime) -> str:
    """A time of today as "14:31", any other as "23 Dec 14:31"; with the year if it is not this year."""
    when, now = _local(when), _local(now)
    if when.date() == now.date():
        return date_format(when, "H:i")
    return date_format(when, "j M H:i" if when.year == now.year else "j M Y H:i")


def zoned_moment(when: dt.datetime, now: dt.datetime) -> str:
    """``moment`` with its time zone: "14:31 CET"."""
    local = _local(when)
    return f"{moment(when, now)} {local.tzname() or settings.TIME_ZONE}"


def clock_time(when: dt.datetime) -> str:
    """A time as "14:31", whatever the day."""
    return date_format(_local(when), "H:i")


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
        "count": f"{run.count:,}",
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


def _local(when: dt.datetime) -> dt.datetime:
    return timezone.localtime(when) if timezone.is_aware(when) else when

"""Types and checks of the commands' arguments; each error names the flag and the remedy."""

from __future__ import annotations

import argparse
import datetime as dt
import math
import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import LONGEST_WAIT
from genesys_eventbridge.formatting import is_in_every_zone
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import orphans
from genesys_eventbridge.selection import StatusCode, status_codes
from genesys_eventbridge.text import clean, is_storable

_AGE = re.compile(r"(\d{1,6})\s*(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: A hundred years: more than anyone needs, and sums with it fit every clock and calendar.
_LONGEST = 100 * 366 * 86_400.0
#: Event numbers are bigints; more digits must be another kind of id.
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class WrongUsage(CommandError):
    """Invalid arguments, or an invalid combination: exit code 2, like argparse's own errors."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


def _whole(what: str, holds: Callable[[int], bool]) -> Callable[[str], int]:
    """The type of a whole number that ``holds``; ``what`` describes it in errors."""

    def parse(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not holds(int(text)):
            raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is not {what}")
        return int(text)

    return parse


def _number(what: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    """The type of a number that ``holds``; ``what`` describes it in errors."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not holds(value):
            raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is not a number of {what}")
        return value

    return parse


count = _whole("a whole number of 1 or more", lambda value: value >= 1)
count_or_zero = _whole("a whole number of 0 or more", lambda value: value >= 0)
#: A TCP port, or 0 for any free one.
port = _whole("a port: a whole number from 0 to 65535", lambda value: value <= 65_535)
seconds = _number(f"seconds above 0, at most {_LONGEST:.0f}", lambda value: 0 < value <= _LONGEST)
#: Seconds until a due time, or the length of a pause.
wait = _number(f"seconds above 0, at most {LONGEST_WAIT:.0f}", lambda value: 0 < value <= LONGEST_WAIT)
#: Events per minute; one in ten years is slow enough.
rate = _number("events per minute above 0, at most a million", lambda value: 1e-5 <= value <= 1_000_000)
seconds_or_zero = _number(f"seconds, 0 or more, at most {_LONGEST:.0f}", lambda value: 0 <= value <= _LONGEST)
milliseconds = _number("milliseconds, 0 or more, at most an hour", lambda value: 0 <= value <= 3_600_000)
days = _number("days above 0, at most 36600", lambda value: 0 < value <= _LONGEST / 86_400)


def moment(text: str) -> dt.datetime:
    """A time: ISO 8601 (``2026-11-23``, ``2026-11-23T09:10``) or an age (``30m``, ``2h``, ``7d``)."""
    try:
        if age := _AGE.fullmatch(text.strip()):
            return timezone.now() - dt.timedelta(seconds=int(age[1]) * _UNITS[age[2]])
        found = parse_datetime(text)  # midnight if it is only a date
    except (ValueError, OverflowError):
        found = None
    if found is None or not is_in_every_zone(found):
        raise argparse.ArgumentTypeError(
            f"{clean(text, 40)!r} is not a time: write 2026-11-23T09:10 or 2026-11-23, "
            "or an age such as 30m, 2h, 7d"
        )
    if timezone.is_naive(found) == timezone.is_naive(timezone.now()):
        return found
    return timezone.make_aware(found) if timezone.is_naive(found) else timezone.make_naive(found)


def status_code(text: str) -> StatusCode:
    """The last HTTP status: ``503``, a class (``3xx``, ``4xx``, ``5xx``), or ``none``: no response."""
    try:
        return status_codes.parse(text.strip().lower())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r}: {error}") from None


def reason(text: str) -> str:
    """The reason, which is stored with each event."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty; it is stored with each event")
    return text


def add_because(parser: CommandParser) -> None:
    """The flag that ``require_because`` checks."""
    parser.add_argument(
        "--because",
        type=reason,
        metavar="TEXT",
        help="the reason, in a few words; required, and stored with each event",
    )


def require_because(options: dict[str, Any]) -> None:
    """Raises WrongUsage without a reason, unless nothing is changed."""
    if not options["because"] and not options.get("dry_run"):
        raise WrongUsage("--because TEXT is required: the reason, in a few words; it is kept in the audit.")


def aliases(
    options: dict[str, Any], flag: str = "--destination: ", *, stored: bool = False
) -> tuple[str, ...]:
    """The aliases that ``--destination`` names; by default all that are configured.

    ``stored`` also allows aliases that only the tables contain. Raises CommandError if one is unknown.
    """
    named = options.get("destination")
    try:
        wanted = tuple(dict.fromkeys(named or conf.aliases()))
        for alias in wanted:
            if not (stored and is_storable(alias) and orphans.is_left(alias)):
                conf.destination(alias)
    except ImproperlyConfigured as error:
        if named and _is_unknown(named):
            raise WrongUsage(f"{flag}{error}") from error
        raise CommandError(str(error)) from error
    return wanted


def refuse_unknown(options: dict[str, Any]) -> None:
    """Raises CommandError if ``--destination`` names an unknown one. Its settings are not validated here."""
    for alias in options["destination"] or ():
        if _is_unknown([alias]):
            aliases({"destination": [alias]})


def _is_unknown(named: Iterable[str]) -> bool:
    try:
        return not set(named) <= set(conf.aliases())
    except ImproperlyConfigured:
        return False


def number(text: str) -> int | None:
    """The event number that a text is; None if it is another kind of name."""
    return int(text) if _NUMBER.fullmatch(text) else None


def event_numbers(texts: Iterable[str]) -> list[int]:
    """The ``OutboxEvent.id`` of each named event. Raises CommandError if one is not found.

    An event is named by its number, event id, idempotency key, or the platform's id.
    """
    return list(dict.fromkeys(_event_number(text) for text in texts))


def _event_number(text: str) -> int:
    rows = OutboxEvent.objects.on_outbox()
    pk = number(text)
    if pk is not None and rows.filter(pk=pk).exists():
        return pk
    named = rows.filter(_names(text)) if is_storable(text) else rows.none()
    found = list(named.order_by("id").values_list("id", "source")[:3])
    if not found:
        raise CommandError(
            f"No event {clean(text, 80)!r}: give its number, event id, idempotency key or the platform's id. "
            "An old one may have been pruned (RETENTION_DAYS)."
        )
    if len(found) > 1:
        names = ", ".join(f"{pk} (source {clean(source, 60)})" for pk, source in found)
        raise CommandError(f"{clean(text, 80)!r} matches several events: {names}. Give one of these numbers.")
    return int(found[0][0])


def _names(text: str) -> Q:
    names = Q(event_id=text) | Q(remote_id=text)
    try:
        return names | Q(idempotency_key=UUID(text))
    except ValueError:
        return names

"""RFC 3339 timestamps: parsing and formatting, in UTC if CloudEvents asks for it.

Functions raise ``ValueError`` with a readable reason; the caller knows the field it belongs to.
"""

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"[Tt](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?(?:[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))"
)
_OUT_OF_RANGE = "is outside the years 0001 to 9999 in UTC"


def utc_milliseconds(value: datetime) -> str:
    """An aware datetime as ``YYYY-MM-DDTHH:MM:SS.mmmZ``; anything finer than a millisecond is cut off."""
    return _to_utc(value).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def to_milliseconds(value: datetime) -> datetime:
    """The moment that ``utc_milliseconds`` writes, as a plain datetime in UTC."""
    at = _to_utc(value)
    milliseconds = at.microsecond // 1000 * 1000
    return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, milliseconds, UTC)


def rfc3339(value: datetime) -> str:
    """An aware datetime as a full timestamp: its microseconds and its own offset, ``Z`` for UTC.

    RFC 3339 offsets have no seconds, so a zone that has them is written in UTC.
    """
    offset = _aware(value).utcoffset()
    if not offset or offset % timedelta(minutes=1):
        return _to_utc(value).replace(tzinfo=None).isoformat() + "Z"
    return value.isoformat()


def parse_rfc3339(text: str) -> datetime:
    """An RFC 3339 text as a datetime in UTC.

    A leap second becomes the last microsecond before it: Python, and most consumers, have no second 60.
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError(
            "is not an RFC 3339 timestamp with seconds and an offset; write it like 2026-05-15T10:30:00Z "
            "or pass an aware datetime"
        )
    leap = found["second"] == "60"
    second = 59 if leap else int(found["second"])
    micros = 999_999 if leap else int((found["fraction"] or "")[:6].ljust(6, "0"))
    if int(found["hours"] or 0) > 23 or int(found["minutes"] or 0) > 59:
        raise ValueError("has an invalid offset; it must be from -23:59 to +23:59")
    try:
        # Not strptime, which takes 10 us: this runs for each event that is enqueued.
        year, month, day, hour, minute = map(int, found.group("year", "month", "day", "hour", "minute"))
        local = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    except ValueError:
        raise ValueError("is a date or time that does not exist") from None
    offset = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    try:
        moment = local + offset if found["sign"] == "-" else local - offset
    except OverflowError:
        raise ValueError(_OUT_OF_RANGE) from None
    if leap and not _ends_a_month(moment):
        raise ValueError("has second 60, which exists only at 23:59:60 UTC on the last day of a month")
    return moment


def _ends_a_month(moment: datetime) -> bool:
    return (moment.hour, moment.minute) == (23, 59) and (moment.date() + timedelta(days=1)).day == 1


def _to_utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    try:
        return _aware(value).astimezone(UTC)
    except OverflowError:
        raise ValueError(_OUT_OF_RANGE) from None


def _aware(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError(
            "is a datetime without a timezone; use django.utils.timezone.now(), "
            "or give it one: value.replace(tzinfo=...)"
        )
    return value

"""How long to wait: exponential backoff with jitter, and the interpretation of Retry-After."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# 2**64 times any sensible base exceeds any sensible cap; the limit keeps a huge attempt from overflowing.
_MOST_DOUBLINGS = 64
_SECONDS = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10})?")
_COUNT = re.compile(r"[0-9]{1,10}")
_IN_MESSAGE = re.compile(r"\[([0-9]{1,10})\] seconds")
# A number above this is a point in time, not a duration: seconds since 1970.
_LONGEST_WAIT = 1e9
# All three HTTP date formats begin with a weekday. The parser used below accepts much that is not a date.
_DATE = re.compile(r"[A-Za-z]{3,9},? [\x20-\x7e]{8,60}")


def delay(attempt: int, base: float, cap: float, *, random: Callable[[], float]) -> float:
    """Seconds to wait after attempt number ``attempt`` (from 1), anywhere in [step/2, step].

    ``step`` is ``base`` doubled with each attempt, at most ``cap``; ``random`` returns [0, 1).
    """
    step = min(cap, math.ldexp(base, min(max(attempt - 1, 0), _MOST_DOUBLINGS)))
    return step / 2 + step / 2 * random()


def doubled(previous: float, base: float, cap: float) -> float:
    """Seconds of the next consecutive pause: ``base`` first, then twice ``previous``, at most ``cap``."""
    return min(cap, max(base, previous * 2))


def jitter_up(seconds: float, *, random: Callable[[], float]) -> float:
    """``seconds`` plus up to a tenth, at least 0.5 to 1 s. Never shorter than requested."""
    return max(seconds * (1 + random() / 10), 0.5 + random() / 2)


def retry_after(
    headers: Iterable[tuple[str, str]],
    body_message: str,
    *,
    default: float | None,
    cap: float,
    now: datetime,
) -> float | None:
    """Seconds the platform asks us to wait, at most ``cap``.

    Uses the first that is valid: a ``Retry-After`` header (seconds or an HTTP date), "[N] seconds" in the
    ``body_message``, ``inin-ratelimit-reset`` if the count has reached the limit, ``default``. A number
    above 10^9 is treated as seconds since 1970.
    ``headers`` are (name, value) pairs, including repeated names. A date is compared with the response's
    own ``Date``, or with ``now`` (aware) if it has none, so clock skew does no harm.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value.strip(" \t"))
    sent_at = next((date for text in values.get("date", ()) if (date := _date(text)) is not None), now)
    asked = (
        *(_wait(text, sent_at) for text in values.get("retry-after", ())),
        _in_message(body_message, sent_at),
        _window_left(values, sent_at),
        default,
    )
    found = next((seconds for seconds in asked if seconds is not None), None)
    return None if found is None else min(found, cap)


def _wait(text: str, sent_at: datetime) -> float | None:
    if _SECONDS.fullmatch(text):
        return _from(math.ceil(float(text)), sent_at)
    date = _date(text)
    return None if date is None else max(0.0, (date - sent_at).total_seconds())


def _from(number: float, sent_at: datetime) -> float:
    """Seconds to wait, from a number of seconds or an epoch time."""
    return float(number) if number <= _LONGEST_WAIT else max(0.0, number - sent_at.timestamp())


def _date(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _in_message(message: str, sent_at: datetime) -> float | None:
    found = _IN_MESSAGE.search(message)
    return _from(float(found[1]), sent_at) if found else None


def _window_left(values: dict[str, list[str]], sent_at: datetime) -> float | None:
    """Seconds left in the rate limit's window, if this limit is what stopped us."""
    count, allowed, reset = (
        next((int(text) for text in values.get(f"inin-ratelimit-{part}", ()) if _COUNT.fullmatch(text)), None)
        for part in ("count", "allowed", "reset")
    )
    if count is None or allowed is None or reset is None or count < allowed:
        return None
    return _from(reset, sent_at)

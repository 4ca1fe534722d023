"""Computes when an event's attempts end: by their number, its age, or the window of its key. Pure."""

from __future__ import annotations

import datetime as dt

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.models import OutboxEvent

#: The mean of the jitter in ``backoff.delay``.
MEAN = 0.75


def window_closes(event: OutboxEvent, settings: DestinationSettings) -> dt.datetime | None:
    """Until when an event in doubt may be sent again; None if it is not in doubt, or that has no end."""
    if event.in_doubt_since is None or settings.resends_in_doubt:
        return None
    return event.in_doubt_since + dt.timedelta(seconds=settings.doubt_seconds)


def last_try(event: OutboxEvent, settings: DestinationSettings) -> dt.datetime:
    """About when the last attempt is made if all fail from now on; earlier if MAX_AGE ends it."""
    due = event.due_at or event.created_at
    at = due + dt.timedelta(seconds=_waits(event.attempts + 1, settings))
    if settings.max_age is None:
        return at
    expires = (event.not_before or event.created_at) + dt.timedelta(seconds=settings.max_age)
    return max(due, min(at, expires))


def _waits(attempt: int, settings: DestinationSettings) -> float:
    """The average total wait in seconds after ``attempt`` and each later attempt except the last."""
    total = 0.0
    left = settings.max_attempts - attempt
    step = settings.backoff_base * 2.0 ** min(attempt - 1, 64)
    while left > 0 and step < settings.backoff_cap:
        total += step
        step *= 2
        left -= 1
    return MEAN * min(total + max(left, 0) * settings.backoff_cap, _A_CENTURY)


_A_CENTURY = 100 * 365.0 * 86400

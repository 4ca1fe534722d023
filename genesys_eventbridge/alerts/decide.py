"""Decides when to tell of a trouble, and that it is over. Pure.

After a notice of trouble, nothing more is said of it for a window: neither that more events failed nor that
it is over. So a destination that fails and recovers each minute makes one alert and one recovery per window.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from genesys_eventbridge.circuit.rate import SET_BACK_SECONDS
from genesys_eventbridge.states import AlertStatus


@dataclass(frozen=True, slots=True)
class Finding:
    """A trouble as it is now. ``message`` says what and how many, ``remedy`` which command helps, or ""."""

    message: str
    remedy: str = ""
    #: Events that failed, if more of them are news; otherwise 0.
    number: int = 0
    #: How long it must last before it is an alert, in seconds.
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Episode:
    """What is known of one kind of trouble at one destination: columns of the model ``Alert``."""

    since: dt.datetime | None = None
    gone_at: dt.datetime | None = None
    alerted_at: dt.datetime | None = None
    noticed_at: dt.datetime | None = None
    number: int = 0
    more: int = 0
    message: str = ""

    @property
    def is_open(self) -> bool:
        return self.alerted_at is not None


def decide(
    episode: Episode, finding: Finding | None, now: dt.datetime, window: float
) -> tuple[Episode, AlertStatus | None]:
    """The next episode, and the notice to store with it, if any. ``window`` is in seconds."""
    if finding is None:
        return _without(episode, now, window)
    since = episode.since or now
    if not episode.is_open:
        known = replace(episode, since=since, number=finding.number, message=finding.message)
        if _passed(since, now) < finding.patience:
            return known, None
        return replace(known, alerted_at=now, noticed_at=now, gone_at=None, more=0), AlertStatus.OPENED
    more = episode.more + max(0, finding.number - episode.number)
    known = replace(episode, gone_at=None, number=finding.number, more=more, message=finding.message)
    if more and _passed(episode.noticed_at, now) >= window:
        return replace(known, noticed_at=now, more=0), AlertStatus.MORE
    return known, None


def _without(episode: Episode, now: dt.datetime, window: float) -> tuple[Episode, AlertStatus | None]:
    """The trouble is not there now."""
    if not episode.is_open:
        return Episode(), None
    gone = replace(episode, gone_at=episode.gone_at or now, number=0)
    if _passed(episode.noticed_at, now) >= window:
        return Episode(), AlertStatus.RECOVERED
    return gone, None


def _passed(then: dt.datetime | None, now: dt.datetime) -> float:
    """Seconds since ``then``; infinite if there is none, or the clock was set back since."""
    seconds = float("inf") if then is None else (now - then).total_seconds()
    return float("inf") if seconds < -SET_BACK_SECONDS else seconds

"""Alerts beside a worker: evaluated once a minute over all workers, and sent in a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from genesys_eventbridge.alerts.delivery import DEADLINE, deliver
from genesys_eventbridge.alerts.evaluation import configured, evaluate, take_turn
from genesys_eventbridge.db import PASSING, drop_connection
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import outbox_alias

logger = logging.getLogger("genesys_eventbridge")

#: Seconds between two rounds of one process, and for how long one begins new attempts.
EVERY = 15.0
ROUND_SECONDS = 60.0


class _Rounds:
    """The rounds of this process. A forked child has no thread of its parent's, and begins its own."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.again_at = float("-inf")


_rounds = _Rounds()


def tend(clock: Callable[[], float] = time.monotonic) -> None:
    """Begin a round in the background, unless this process did recently or one still runs. Never raises.

    Cheap enough to be called in each pass of a worker. Without ALERTS it does nothing.
    """
    if clock() < _rounds.again_at or (_rounds.thread is not None and _rounds.thread.is_alive()):
        return
    _rounds.again_at = clock() + EVERY
    try:
        if configured():
            thread = threading.Thread(target=_round, name="eventbridge-alerts", daemon=True)
            thread.start()
            _rounds.thread = thread
    except (ImproperlyConfigured, RuntimeError) as error:  # of another destination; no more threads
        logger.warning("Alerts are not looked at: %s", type(error).__name__)


def finish(seconds: float = DEADLINE) -> None:
    """Let a round that still sends end, for at most ``seconds``; before the process exits."""
    if _rounds.thread is not None:
        _rounds.thread.join(seconds)


def forget() -> None:
    """Start over, as a new process would; for tests."""
    finish()
    _rounds.thread = None
    _rounds.again_at = float("-inf")


def _round() -> None:
    try:
        alerts = configured()
        if take_turn(list(alerts)):
            evaluate(alerts, by_worker=True)
        deliver(alerts, seconds=ROUND_SECONDS)
    except Exception as error:  # noqa: BLE001 - a worker sends events, whatever becomes of the alerts
        if isinstance(error, DatabaseError):
            drop_connection(outbox_alias())
        report(error, "Alerts: a round stopped: %s", type(error).__name__, expected=PASSING)
    finally:
        connections.close_all()

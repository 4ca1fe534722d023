"""A hint to a worker that something is due: coalesced, and lost without harm."""

from __future__ import annotations

import logging
import threading
import time

from django.apps import apps

from genesys_eventbridge import conf

logger = logging.getLogger("genesys_eventbridge")

#: One hint a destination and process in this many seconds; a woken pass outlasts it.
COALESCE = 1.0
#: After a broker failure this process hints nobody for so long.
BROKEN = 30.0


class _Memory:
    """What this process remembers of its hints; a fresh process starts with nothing."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last: dict[str, float] = {}
        self.broken_until = 0.0


_memory = _Memory()


def wake(destination: str) -> None:
    """Ask a django-q2 worker to publish what is due. Never raises for a broker that is down."""
    if not conf.destination(destination).publish_on_commit or not apps.is_installed("django_q"):
        return
    from django_q.conf import Conf
    from django_q.tasks import async_task

    if Conf.SYNC:
        return
    now = time.monotonic()
    with _memory.lock:
        if now < _memory.broken_until or now - _memory.last.get(destination, float("-inf")) < COALESCE:
            return
        _memory.last[destination] = now
    try:
        asked_at = int(time.time())  # lets a worker drop what an earlier pass has answered
        async_task("genesys_eventbridge.tasks.publish", destination, asked_at, ack_failure=True, save=False)
    except Exception as error:  # noqa: BLE001 - a broker fails in its own ways, and none may reach the request
        _memory.broken_until = now + BROKEN
        logger.warning(
            "Cannot wake a worker (%s); the schedules will publish. No further try for %d s.",
            type(error).__name__,
            BROKEN,
        )


def forget() -> None:
    """Start afresh, as a new process would: for tests."""
    with _memory.lock:
        _memory.last.clear()
        _memory.broken_until = 0.0

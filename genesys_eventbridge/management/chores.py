"""What a ``--loop`` does beside sending, in a thread of its own, so that neither holds up the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, connections

from genesys_eventbridge.db import PASSING, drop_connection, release_connection
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.operations import jobs

logger = logging.getLogger("genesys_eventbridge")

#: Seconds between two looks for jobs of operators.
LOOK_EVERY = 5.0


def carry_out_jobs(stop: threading.Event) -> None:
    """Work on the jobs that are due."""
    jobs.work(stop=stop)


#: Each is run in turn and gets the event that stops the loop; seconds until it is run again.
CHORES: tuple[tuple[Callable[[threading.Event], object], float], ...] = ((carry_out_jobs, LOOK_EVERY),)


class Chores(threading.Thread):
    """Runs the chores until ``stop`` is set. An error in one is logged, and it is run again in its turn."""

    def __init__(self, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="eventbridge-chores", daemon=True)
        self._stop_event = stop
        self._clock = clock

    def run(self) -> None:
        due = {chore: self._clock() for chore, _every in CHORES}
        try:
            while not self._stop_event.is_set():
                for chore, every in CHORES:
                    if self._clock() >= due[chore] and not self._stop_event.is_set():
                        self._do(chore)
                        due[chore] = self._clock() + every
                self._stop_event.wait(max(0.0, min(due.values()) - self._clock()))
        finally:
            connections.close_all()

    def _do(self, chore: Callable[[threading.Event], object]) -> None:
        try:
            chore(self._stop_event)
        except Exception as error:  # noqa: BLE001 - the loop continues
            if isinstance(error, DatabaseError):
                drop_connection(outbox_alias())
            report(error, "%s stopped: %s", chore.__name__, type(error).__name__, expected=PASSING)
        release_connection(outbox_alias())

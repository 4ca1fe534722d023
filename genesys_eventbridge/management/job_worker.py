"""The jobs of operators beside a ``--loop``, in a thread of their own, so that neither holds up the other."""

from __future__ import annotations

import threading

from django.db import DatabaseError, connections

from genesys_eventbridge.db import PASSING, drop_connection, release_connection
from genesys_eventbridge.defects import report
from genesys_eventbridge.formatting import span
from genesys_eventbridge.management.waiters import Waiter
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.operations import jobs


class JobWorker(threading.Thread):
    """Works on jobs until ``stop`` is set. An error is logged, and the thread continues."""

    def __init__(self, stop: threading.Event, waiter: Waiter) -> None:
        super().__init__(name="eventbridge-jobs", daemon=True)
        self._stop_event = stop
        self._waiter = waiter

    def run(self) -> None:
        try:
            while not self._stop_event.is_set():
                self._waiter.begin()
                self._work()
                self._waiter.wait(self._waiter.interval)
        finally:
            connections.close_all()

    def _work(self) -> None:
        try:
            jobs.work(stop=self._stop_event)
        except Exception as error:  # noqa: BLE001 - the loop continues
            if isinstance(error, DatabaseError):
                drop_connection(outbox_alias())
            report(
                error,
                "Jobs of operators: a pass stopped (%s); trying again in %s",
                type(error).__name__,
                span(self._waiter.interval),
                expected=PASSING,
            )
        release_connection(outbox_alias())

"""``--loop``: a worker without django-q2 that publishes, checks and prunes until it is stopped."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from django.db import DatabaseError

from genesys_eventbridge import conf, defects
from genesys_eventbridge.alerts import background as alerts
from genesys_eventbridge.db import PASSING, drop_connection, release_connection
from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.management.waiters import INTERVAL, Waiter
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.outbox import destinations, next_due, retention
from genesys_eventbridge.relay import worker_name
from genesys_eventbridge.relay.senders import Senders
from genesys_eventbridge.relay.worker import HORIZON, Worker, idle, is_due, is_heartbeat_due

logger = logging.getLogger("genesys_eventbridge")

#: Pruning may take PRUNE_SECONDS between two rounds. While there is more to prune, each round claims events
#: for at most ROUND_WHILE_PRUNING seconds.
PRUNE_SECONDS = 1.0
ROUND_WHILE_PRUNING = 10.0
#: The wait after an error, which doubles.
BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0


class Loop:
    """Serves one destination. When ``stop`` is set, events in flight are finished and recorded."""

    def __init__(
        self,
        alias: str,
        *,
        progress: Progress,
        stop: threading.Event,
        interval: float | None = None,
        waiter: Waiter | None = None,
        concurrency: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = conf.sending(alias)
        self._progress = progress
        self._stop = stop
        self._waiter = waiter or Waiter(stop)
        self._chosen_interval = interval
        self._concurrency = concurrency or self.settings.concurrency
        self._clock = clock
        #: This worker has begun to prune, and there is more to remove.
        self._prunes = False
        self._troubles = 0
        self.states: Counter[str] = Counter()
        self.pruned = 0

    def run(self) -> None:
        """Run until stopped; errors, such as a lost database, are waited out."""
        while not self._stop.is_set():
            try:
                self._serve()
            except Exception as error:  # noqa: BLE001 - a worker that stopped would send nothing
                self._wait_out(error)
                drop_connection(outbox_alias())  # it may be the cause

    def _serve(self) -> None:
        """Rounds with the same threads and connections, until stopped or an error occurs."""
        with Senders(self.settings, self._concurrency, on_report=self._progress.saw) as senders:
            worker = Worker(self.settings, senders, self._stop, self._clock)
            while not self._stop.is_set():
                self._waiter.begin()
                interval = self._chosen_interval or self._waiter.interval
                upcoming = next_due.next_due(self.settings.alias, within=max(HORIZON, interval))
                if self._waiter.hears and is_heartbeat_due(upcoming.heard_ago):
                    destinations.beat(self.settings.alias, worker_name(), hears=True)
                    upcoming = replace(upcoming, heartbeat_ago=0.0)
                self._prune(upcoming)
                next_in = worker.next_in(upcoming)
                busy = is_due(next_in) and self._round(worker, upcoming)
                self._recovered()
                alerts.tend()
                release_connection(outbox_alias())
                if busy or self._prunes:
                    continue
                idle(self.settings, upcoming)
                release_connection(outbox_alias())
                if next_in is not None:
                    # What is due but was not claimed, another transaction holds for the moment.
                    interval = min(interval, next_in if next_in > 0 else INTERVAL)
                if upcoming.whole_in:
                    # Perhaps it was woken by a commit that this look could not find.
                    interval = min(interval, upcoming.whole_in)
                self._waiter.wait(interval)

    def _round(self, worker: Worker, upcoming: next_due.NextDue) -> bool:
        """Whether there was anything to do."""
        seconds = self.settings.request_deadline + ROUND_WHILE_PRUNING if self._prunes else math.inf
        reports = worker.round(upcoming, min(seconds, self.settings.pass_seconds))
        for report in reports:
            self.states.update(report.states)
        return any(report.claimed or report.moved for report in reports)

    def _prune(self, upcoming: next_due.NextDue) -> None:
        """Prune even while busy. By the database clock, so that each new process does not prune again.

        A failed prune is repeated an hour later, so that it does not hold up publishing.
        """
        begun = self._prunes or (
            retention.is_due(upcoming.pruned_ago) and retention.take_turn(self.settings.alias)
        )
        self._prunes = False
        if begun:
            done = retention.prune(self.settings, max_seconds=PRUNE_SECONDS)
            self.pruned += done.rows
            self._prunes = not done.complete

    def _wait_out(self, error: Exception) -> None:
        wait = min(BACKOFF_CAP, BACKOFF_BASE * 2**self._troubles)
        self._troubles = min(self._troubles + 1, 10)
        name = type(error).__name__
        if isinstance(error, DatabaseError):
            name += ": is the database running, and have you run `manage.py migrate`?"
        defects.report(
            error,
            "Destination %s: a pass stopped (%s); trying again in %.0f s",
            self.settings.alias,
            name,
            wait,
            expected=PASSING,
        )
        self._stop.wait(wait)

    def _recovered(self) -> None:
        if self._troubles:
            self._troubles = 0
            logger.info("Destination %s: working again", self.settings.alias)

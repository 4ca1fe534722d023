"""PostgreSQL's NOTIFY and LISTEN: a commit tells waiting processes that there is something to do.

Source: https://www.postgresql.org/docs/current/sql-notify.html. A notification reaches only sessions that
listen at that moment, and none behind a pooler that changes sessions between transactions, such as PgBouncer
in transaction mode. So it is a hint, and a listener tests whether any arrives.
"""

from __future__ import annotations

import logging
import secrets
import select
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.db import connections

from genesys_eventbridge.db import PASSING
from genesys_eventbridge.defects import report

logger = logging.getLogger("genesys_eventbridge")

CHANNEL = "genesys_eventbridge"
#: A process sends at most one notification per topic in this many seconds, so a listener looks again when as
#: many have passed since the last one.
COALESCE = 0.05
#: Seconds between two tests, and until the notification of one must have arrived.
TEST_EVERY = 120.0
TEST_SECONDS = 2.0
#: Seconds between two attempts to listen, and between two looks at whether the process stops.
RETRY = 30.0
LOOK_EVERY = 0.25


def why_not(alias: str) -> str:
    """Why this database notifies no one, as a clause; "" if it can."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        return ""
    return f"the outbox's database is {connection.display_name}, not PostgreSQL"


def notify(alias: str, topic: str) -> None:
    """Notify the listeners of a topic. Never within a transaction: its commit would wait for all others'."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic])


class Bell:
    """What waits for a topic: ``reset`` it, look, then ``wait``."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._rung = threading.Event()
        self._rung_at = self._reset_at = float("-inf")

    def ring(self) -> None:
        self._rung_at = time.monotonic()
        self._rung.set()

    def reset(self) -> None:
        self._reset_at = time.monotonic()
        self._rung.clear()

    def wait(self, seconds: float) -> None:
        """Wait until it rings or the process stops, at most this long.

        A stop does not ring it: the listener's thread may hang while it connects.
        """
        ends = time.monotonic() + self.patience(seconds)
        while not self._stop.is_set() and (left := ends - time.monotonic()) > 0:
            if self._rung.wait(min(LOOK_EVERY, left)):
                return

    def patience(self, seconds: float) -> float:
        """Less than ``seconds`` if commits that sent no notification may have come after the last look."""
        quiet_at = self._rung_at + COALESCE
        return min(seconds, max(0.0, quiet_at - time.monotonic())) if self._reset_at < quiet_at else seconds


class Listener(threading.Thread):
    """Listens on a connection of its own and rings the bells, all of them if it may have missed something."""

    def __init__(self, alias: str, stop: threading.Event) -> None:
        super().__init__(name="eventbridge-listener", daemon=True)
        self._alias = alias
        self._stop_event = stop
        self._bells: defaultdict[str, list[Bell]] = defaultdict(list)
        self._deaf = False
        #: ``time.monotonic()`` since when notifications are known to arrive; None if they do not.
        self.hears_since: float | None = None

    def bell(self, topic: str) -> Bell:
        """A bell that this topic rings. Get all bells before the thread starts."""
        bell = Bell(self._stop_event)
        self._bells[topic].append(bell)
        return bell

    def run(self) -> None:
        while not self._stop_event.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - without a listener, workers poll
                report(
                    error,
                    "Not listening for notifications (%s): looking for due events every second instead. "
                    "Next attempt in %d s.",
                    type(error).__name__,
                    RETRY,
                    level=logging.WARNING,
                    expected=PASSING,
                )
            self.hears_since = None
            self._ring_all()
            self._stop_event.wait(RETRY)

    def _listen(self) -> None:
        """Until the process stops, or a test does not arrive."""
        with self._connection() as raw:
            tested_at = float("-inf")
            while not self._stop_event.is_set():
                if time.monotonic() - tested_at >= TEST_EVERY:
                    if not self._test(raw):
                        # A pooler keeps its session, which would listen for whichever client comes next.
                        with closing(raw.cursor()) as cursor:
                            cursor.execute(f"UNLISTEN {CHANNEL}")
                        return
                    tested_at = time.monotonic()
                self._receive(raw, LOOK_EVERY)

    def _test(self, raw: Any) -> bool:
        """Whether a notification arrives that was sent on another connection, as those of commits are."""
        word, ends = f"test:{secrets.token_hex(8)}", time.monotonic() + TEST_SECONDS
        with closing(connections[self._alias]):
            notify(self._alias, word)
        arrived = False
        while not arrived and time.monotonic() < ends and not self._stop_event.is_set():
            arrived = word in self._receive(raw, LOOK_EVERY)
        if arrived and self.hears_since is None:
            logger.info("Commits notify this worker.")
            self.hears_since, self._deaf = time.monotonic(), False
            self._ring_all()
        elif not arrived and not self._stop_event.is_set() and not self._deaf:
            self._deaf = True
            logger.warning(
                "PostgreSQL's notifications do not reach this worker, as behind PgBouncer in transaction "
                "mode: it looks for due events every second instead."
            )
        return arrived

    def _receive(self, raw: Any, seconds: float) -> set[str]:
        """Wait for notifications, at most this long; ring their bells. Returns their topics."""
        select.select([raw], [], [], seconds)
        topics = set(_notified(raw))
        for topic in topics:
            for bell in self._bells.get(topic, ()):
                bell.ring()
        return topics

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """The driver's connection, which listens. Not from a pool: it stays open and in no transaction."""
        connection = connections[self._alias].copy()
        connection.settings_dict["OPTIONS"].pop("pool", None)
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            with connection.wrap_database_errors:
                yield connection.connection
        finally:
            connection.close()


def _notified(raw: Any) -> Iterator[str]:
    """The topics that have arrived. Both drivers that Django supports, with what all their versions have."""
    if hasattr(raw, "pgconn"):  # psycopg 3
        raw.pgconn.consume_input()
        while (found := raw.pgconn.notifies()) is not None:
            yield found.extra.decode()
    else:
        raw.poll()
        while raw.notifies:
            yield raw.notifies.pop(0).payload

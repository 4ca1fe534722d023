"""What ends the wait of an idle ``--loop`` early: PostgreSQL's notifications, or a write to SQLite's file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from django.db import OperationalError, connections

from genesys_eventbridge import wake
from genesys_eventbridge.db import notifications
from genesys_eventbridge.models import outbox_alias

#: Seconds between two looks for due events, and between those of a worker that commits notify. What becomes
#: due in the meantime is looked for at its time anyway.
INTERVAL = 1.0
INTERVAL_NOTIFIED = 30.0
#: The same for jobs of operators.
JOB_INTERVAL = 5.0
JOB_INTERVAL_NOTIFIED = 60.0
#: Commits learn within wake.LOOK_SECONDS that a worker listens.
LEARNED = wake.LOOK_SECONDS + 5.0
#: Seconds between two looks at whether SQLite's file was written to (about 10 us each), and after a write
#: between two looks for due events: the file may hold other tables, too.
TICK = 0.005
LOOKS_APART = 0.02
#: Seconds for which a process that stops waits for its listener.
JOIN_SECONDS = 2.0


class Waiter:
    """Waits for the interval only."""

    #: Whether commits may notify this worker.
    hears = False

    def __init__(self, stop: threading.Event, interval: float = INTERVAL) -> None:
        self._stop = stop
        self._interval = interval

    @property
    def interval(self) -> float:
        """The longest wait, in seconds, unless the operator chose one."""
        return self._interval

    def begin(self) -> None:
        """Call it before looking for due events, so that nothing written after it is missed."""

    def wait(self, seconds: float) -> None:
        """Wait until stopped, or until something may have become due since ``begin``, at most ``seconds``."""
        self._stop.wait(seconds)


class FileWaiter(Waiter):
    """SQLite's data version differs after a commit on another connection, of any process."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self._seen: int | None = None
        self._began = float("-inf")

    def begin(self) -> None:
        self._began = time.monotonic()
        self._seen = self._version()

    def wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not self._stop.wait(min(TICK, left)):
            if time.monotonic() - self._began >= LOOKS_APART and self._version() != self._seen:
                return

    def _version(self) -> int | None:
        """By the driver: Django would log and measure each of 200 statements a second."""
        connection = connections[outbox_alias()]
        connection.ensure_connection()
        try:
            with connection.wrap_database_errors:
                row = connection.connection.execute("PRAGMA data_version").fetchone()
        except OperationalError:  # locked, without WAL
            return self._seen
        return int(row[0])


class NotifiedWaiter(Waiter):
    """PostgreSQL notifies a listener of this process; while it hears nothing, the interval is short."""

    def __init__(
        self,
        stop: threading.Event,
        interval: float,
        listener: notifications.Listener,
        topic: str,
        interval_notified: float,
    ) -> None:
        super().__init__(stop, interval)
        self._bell = listener.bell(topic)
        self._listener = listener
        self._interval_notified = interval_notified

    @property
    def hears(self) -> bool:  # type: ignore[override]
        return self._listener.hears_since is not None

    @property
    def interval(self) -> float:
        since = self._listener.hears_since
        learned = since is not None and time.monotonic() - since >= LEARNED
        return self._interval_notified if learned else self._interval

    def begin(self) -> None:
        self._bell.reset()

    def wait(self, seconds: float) -> None:
        self._bell.wait(seconds)


class Waiters:
    """The waiters of one process."""

    def __init__(self, stop: threading.Event, aliases: Iterable[str]) -> None:
        self._stop = stop
        self._file = connections[outbox_alias()].vendor == "sqlite"
        wanted = any(wake.notifies(alias) for alias in aliases)
        self._listener = notifications.Listener(outbox_alias(), stop) if wanted else None

    def of_destination(self, alias: str) -> Waiter:
        if self._listener and wake.notifies(alias):
            topic = wake.topic("publish", alias)
            return NotifiedWaiter(self._stop, INTERVAL, self._listener, topic, INTERVAL_NOTIFIED)
        return FileWaiter(self._stop) if self._file else Waiter(self._stop)

    def of_jobs(self) -> Waiter:
        if self._listener:
            topic = wake.topic("jobs", "")
            return NotifiedWaiter(self._stop, JOB_INTERVAL, self._listener, topic, JOB_INTERVAL_NOTIFIED)
        return Waiter(self._stop, JOB_INTERVAL)

    def start(self) -> None:
        if self._listener:
            self._listener.start()

    def join(self) -> None:
        """Let the listener close its connection; it is not waited for while it connects."""
        if self._listener:
            self._listener.join(JOIN_SECONDS)

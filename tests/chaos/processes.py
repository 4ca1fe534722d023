"""Processes of the chaos suite: forked with Django already loaded, watched through a pipe, killed."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from genesys_eventbridge.sandbox import CLIENT_ID, CLIENT_SECRET, WEBHOOK_TOKEN

#: Seconds that a test waits for another process before it fails.
PATIENCE = 120.0

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.chaos.preload"])


def destination(url: str, **changes: Any) -> dict[str, Any]:
    """GENESYS_EVENTBRIDGE with short waits: a lease outlasts its request by little more than required."""
    values = {
        "API_BASE_URL": url,
        "LOGIN_BASE_URL": url,
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
        "SOURCE": "com.example.chaos",
        "REQUEST_DEADLINE": 2,
        "CONNECT_TIMEOUT": 2,
        "LEASE_SECONDS": 8,
        "PASS_SECONDS": 6,
        "CONCURRENCY": 4,
        "BATCH_SIZE": 20,
        # Long enough for an abandoned request to end at the platform before its event is sent again.
        "BACKOFF_BASE": 4,
        "BACKOFF_CAP": 6,
        "PAUSE_BASE": 0.5,
        "PAUSE_CAP": 2,
        "CHECK_DELAYS": [0.05, 0.2, 1],
        "MAX_ATTEMPTS": 1000,
        "WAKE": None,
    }
    return {"default": {**values, **changes}}


def webhook(url: str, on_doubt: str, **changes: Any) -> dict[str, Any]:
    """The same for the protocol without a key; ``on_doubt`` is "ask" or "resend"."""
    values = destination(url)["default"]
    for unused in ("LOGIN_BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "CHECK_DELAYS"):
        del values[unused]
    own = {"PROTOCOL": "webhook", "WEBHOOK_TOKEN": WEBHOOK_TOKEN, "ON_DOUBT": on_doubt}
    return {"default": {**values, **own, **changes}}


class Child:
    """A process that runs a function of crew.py; it communicates through a pipe."""

    def __init__(self, job: Callable[..., None], **orders: Any) -> None:
        self.pipe, theirs = _forks.Pipe()
        self.process = _forks.Process(target=job, args=(theirs, orders), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def wait_at(self, point: str) -> None:
        """Wait until it reports that it has stopped at this point."""
        assert self.hear() == ("at", point)

    def go_on(self, later: float = 0.0) -> None:
        """Let it continue; its monotonic clock advances by ``later`` seconds."""
        self.pipe.send(("go on", later))

    def hear(self) -> Any:
        assert self.pipe.poll(PATIENCE), "the process sends nothing"
        return self.pipe.recv()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until it has ended; it may have exited already."""
        self.process.kill()
        self.join()

    def join(self) -> int | None:
        self.process.join(PATIENCE)
        assert not self.process.is_alive(), "the process does not exit"
        return self.process.exitcode

    def close(self) -> None:
        if self.process.is_alive():
            self.kill()
        self.pipe.close()


def heard(pipe: Connection) -> list[Any]:
    """All messages in the pipe; empty if the other end is closed."""
    said = []
    try:
        while pipe.poll():
            said.append(pipe.recv())
    except (EOFError, OSError):
        return said
    return said


def until(holds: Callable[[], Any], what: str) -> None:
    """Poll until a condition holds; fails the test after PATIENCE seconds."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, f"timed out: {what}"
        time.sleep(0.02)

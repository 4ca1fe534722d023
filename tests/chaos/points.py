"""Named points of one publish. A process reports over its pipe that it has reached one, and waits.

It is then killed or told to continue.

A before the commit of the business transaction; B after it, before the wake; C claimed, nothing sent;
D request partly sent; E accepted by the platform, response not read; W waiting for responses; F response
read, outcome not written; G outcome written, not committed; H after the commit, task not acknowledged.
"""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from genesys_eventbridge import wake
from genesys_eventbridge.client import sockets
from genesys_eventbridge.client.sockets import SocketStream
from genesys_eventbridge.outbox import claim
from genesys_eventbridge.outbox import settle as settlements
from genesys_eventbridge.relay import batch, senders
from genesys_eventbridge.relay.batch import Pass, Side
from genesys_eventbridge.relay.senders import Senders

#: The first bytes of a publish request, by either protocol.
PUBLISH = (b"POST /api/v2/eventbridge/events ", b"POST /api/v2/integrations/webhooks/")


class Point:
    """The point at which a process stops once; with ``alarm`` it gets the signal of a task timeout there."""

    def __init__(self, name: str, pipe: Connection, *, alarm: bool = False) -> None:
        self.name = name
        self._pipe = pipe
        self._alarm = alarm
        self._later = 0.0
        self._passed = False
        if name in _HOOKS:
            _HOOKS[name](self)
        for module in (claim, batch, senders):
            module.steady = SimpleNamespace(monotonic=self._monotonic)  # type: ignore[attr-defined]

    def here(self, name: str) -> None:
        """Called at every point; does nothing at other points, or the second time."""
        if name != self.name or self._passed:
            return
        self._passed = True
        if self._alarm:
            signal.raise_signal(signal.SIGALRM)
            return
        self._pipe.send(("at", name))
        _word, self._later = self._pipe.recv()

    def _monotonic(self) -> float:
        return time.monotonic() + self._later


def _before_the_wake(point: Point) -> None:
    original = wake.wake

    def woken(destination: str) -> None:
        point.here("B")
        original(destination)

    wake.wake = woken


def _claimed(point: Point) -> None:
    original = Senders.send

    def send(self: Senders, rows: list[Any]) -> None:
        if rows:
            point.here("C")
        original(self, rows)

    Senders.send = send  # type: ignore[method-assign]


def _partly_sent(point: Point) -> None:
    original = SocketStream.flush

    def flush(self: SocketStream, timeout: float | None) -> None:
        data = b"".join(self._unsent)
        if data.startswith(PUBLISH):
            half = len(data) - 20
            self._sock.send(data[:half])
            self._unsent[:] = [data[half:]]
            point.here("D")
        original(self, timeout)

    SocketStream.flush = flush  # type: ignore[method-assign]


def _answer_not_read(point: Point) -> None:
    original = SocketStream.read

    def read(self: SocketStream, max_bytes: int, timeout: float | None = None) -> bytes:
        if b"".join(self._unsent).startswith(PUBLISH):
            self.flush(timeout)
            sockets.ready(self._sock, 60.0, writing=False)
            point.here("E")
        return original(self, max_bytes, timeout)

    SocketStream.read = read  # type: ignore[method-assign]


def _waiting(point: Point) -> None:
    original = Pass._collect

    def collect(self: Pass) -> None:
        point.here("W")
        original(self)

    Pass._collect = collect  # type: ignore[method-assign]


def _not_written(point: Point) -> None:
    original = Side.settle

    def settle(self: Side) -> None:
        if self.answers:
            point.here("F")
        original(self)

    Side.settle = settle  # type: ignore[method-assign]


def _not_committed(point: Point) -> None:
    original = settlements._write_all

    def write(*args: Any) -> None:
        original(*args)
        point.here("G")

    settlements._write_all = write  # type: ignore[assignment]


_HOOKS = {
    "B": _before_the_wake,
    "C": _claimed,
    "D": _partly_sent,
    "E": _answer_not_read,
    "W": _waiting,
    "F": _not_written,
    "G": _not_committed,
}

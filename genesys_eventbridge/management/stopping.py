"""Ctrl-C and SIGTERM as requests: finish what is in flight, then exit. A second one exits at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signal(say: Callable[[str], object]) -> Iterator[threading.Event]:
    """Yields an event that a signal sets; restores the previous signal handlers at the end."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        _restore(before)
        stop.set()
        say("Stopping once events in flight are finished. Repeat to stop at once.")

    # Only the main thread receives signals. With eventlet, `threading` does not know which one that is.
    with suppress(ValueError):
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        _restore(before)


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)

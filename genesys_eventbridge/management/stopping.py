"""Ctrl-C and SIGTERM as a request: finish what is in flight, then end; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signal(say: Callable[[str], object]) -> Iterator[threading.Event]:
    """An event that a signal sets; the signals mean what they did before when the block ends."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        _restore(before)
        stop.set()
        say("Stopping: what is in flight is finished first. Once more to stop at once.")

    # Only the main thread hears signals. `threading` does not know which that is where eventlet replaced it.
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

"""Logs where an error of our own came from: its frames, never its message or local variables."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from types import TracebackType

logger = logging.getLogger("genesys_eventbridge")

#: The frames of one kind of error, its class and place, are logged once in this many seconds.
EVERY = 60.0
#: Frames shown, the innermost ones.
FRAMES = 20
#: Kinds that are remembered.
REMEMBERED = 1000

_Kind = tuple[str, str, int]


class _Memory:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.logged: dict[_Kind, float] = {}

    def is_new(self, kind: _Kind) -> bool:
        now = time.monotonic()
        with self.lock:
            if now - self.logged.get(kind, float("-inf")) < EVERY:
                return False
            self.logged.pop(kind, None)
            self.logged[kind] = now  # the latest is the last
            if len(self.logged) > REMEMBERED:
                del self.logged[next(iter(self.logged))]
            return True


_memory = _Memory()


def report(
    error: BaseException,
    message: str,
    *args: object,
    level: int = logging.ERROR,
    expected: tuple[type[BaseException], ...] = (),
) -> None:
    """Log ``message``, and below it the frames: not for an ``expected`` error, nor those logged lately.

    The text of an error may hold a payload or a token, and so may the variables of its frames: neither is
    logged. The class of the error belongs in ``message``.
    """
    if isinstance(error, expected) or not _memory.is_new(_kind(error)):
        logger.log(level, message, *args, stacklevel=2)
        return
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-FRAMES)).rstrip()
    with_frames = f"{message}\n%s"
    logger.log(level, with_frames, *args, frames, stacklevel=2)


def forget() -> None:
    """Start afresh, as a new process would: for tests."""
    with _memory.lock:
        _memory.logged.clear()


def _kind(error: BaseException) -> _Kind:
    """Its class, and the innermost place that it came from."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = ("", 0) if place is None else (place.tb_frame.f_code.co_filename, place.tb_lineno)
    return (type(error).__qualname__, *where)

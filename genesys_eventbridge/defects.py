"""Logs where an unexpected error came from: its frames, never its message or local variables."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from types import TracebackType

logger = logging.getLogger("genesys_eventbridge")

#: Frames of one kind of error (its class and location) are logged at most once per this many seconds.
EVERY = 60.0
#: Number of innermost frames shown.
FRAMES = 20
#: Number of kinds remembered.
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
            self.logged[kind] = now  # the most recent comes last
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
    """Log ``message`` followed by the frames, unless the error is ``expected`` or was logged recently.

    The message of an error and the variables of its frames may contain a payload or a token, so neither is
    logged. Put the class of the error into ``message``.
    """
    if isinstance(error, expected) or not _memory.is_new(_kind(error)):
        logger.log(level, message, *args, stacklevel=2)
        return
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-FRAMES)).rstrip()
    with_frames = f"{message}\n%s"
    logger.log(level, with_frames, *args, frames, stacklevel=2)


def forget() -> None:
    """Reset to the state of a new process; for tests."""
    with _memory.lock:
        _memory.logged.clear()


def _kind(error: BaseException) -> _Kind:
    """The class of the error and the innermost location it came from."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = ("", 0) if place is None else (place.tb_frame.f_code.co_filename, place.tb_lineno)
    return (type(error).__qualname__, *where)

"""A fixed window that counts requests, as the platform's rate limit does."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from genesys_eventbridge.sandbox.wire import Headers


@dataclass(frozen=True, slots=True)
class Reading:
    """The window after one request; ``reset`` is whole seconds to its end, at least 1."""

    count: int
    allowed: int
    reset: int
    over: bool

    @property
    def headers(self) -> Headers:
        return (
            ("inin-ratelimit-count", str(self.count)),
            ("inin-ratelimit-allowed", str(self.allowed)),
            ("inin-ratelimit-reset", str(self.reset)),
        )


class RateWindow:
    """One window for all callers: it opens with the first request and ends after its seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._opened = -math.inf
            self._count = 0

    def take(self, allowed: int | None, window: float) -> Reading | None:
        """Counts one request; None if unlimited."""
        if allowed is None:
            return None
        now = self._clock()
        with self._lock:
            if now - self._opened >= window:
                self._opened, self._count = now, 0
            over = self._count >= allowed
            if not over:
                self._count += 1
            return Reading(self._count, allowed, max(1, math.ceil(self._opened + window - now)), over)

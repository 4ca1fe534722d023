"""Progress of long work: a bar on a terminal, a line every 10 s elsewhere, nothing with ``-v 0``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

from genesys_eventbridge.formatting import span
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.relay.senders import Report

#: What a stream raises if its disk is full, its reader has gone, or it is closed. The work continues unseen.
UNWRITABLE = (OSError, ValueError)
#: Seconds between two lines if there is no terminal.
EVERY = 10.0
_GOOD = (Verdict.ACCEPTED, Verdict.DELIVERED, Verdict.NOT_YET)


class Progress(AbstractContextManager["Progress"]):
    """Counts what is done, from any thread, and shows it on ``stream`` (standard error).

    ``total`` is the number of events expected at the start; None if unknown.
    """

    def __init__(
        self,
        doing: str,
        total: int | None,
        *,
        stream: TextIO,
        verbosity: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doing = doing
        self._total = total
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._began = self._shown = clock()
        self.done = self.failed = self._done_then = 0
        on_terminal = stream.isatty()
        self._lines = verbosity > 0 and not on_terminal
        self._bar: tqdm[Any] = tqdm(
            desc=doing,
            total=total,
            unit=" events",
            file=stream,
            dynamic_ncols=True,
            delay=1e-9,  # not shown before the first event: the constructor would write unguarded
            disable=not (verbosity > 0 and on_terminal),
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*UNWRITABLE):
            self._bar.close()

    def add(self, count: int = 1, *, good: bool = True) -> None:
        with self._lock:
            self.done += count
            self.failed += 0 if good else count
            with suppress(*UNWRITABLE):
                self._show(count)

    def _show(self, more: int) -> None:
        if self.failed:
            self._bar.set_postfix_str(f"{self.failed:,} not accepted", refresh=False)
        self._bar.update(more)
        now = self._clock()
        if self._lines and now - self._shown >= EVERY:
            line = self._line(now) + "\n"
            self._shown, self._done_then = now, self.done
            self._stream.write(line)
            self._stream.flush()

    def saw(self, report: Report) -> None:
        """Count the events of one sender."""
        if report.outcome is not None:
            self.add(good=report.outcome.verdict in _GOOD)

    def _line(self, now: float) -> str:
        """Without a total the rate is that since the last line: before it a worker may have been idle."""
        if self._total:
            rate = self.done / max(now - self._began, 0.001)
        else:
            rate = (self.done - self._done_then) / max(now - self._shown, 0.001)
        line = f"{self._doing}: {self.done:,}"
        if self._total:
            line += f" of {self._total:,}"
        if self.failed:
            line += f", {self.failed:,} not accepted"
        if round(rate):
            line += f", {rate:,.0f}/s"
        if self._total and self._total > self.done:
            line += f", about {span((self._total - self.done) / max(rate, 0.001))} left"
        return line

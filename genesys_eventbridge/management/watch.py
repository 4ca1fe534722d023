"""``--watch``: repeats a command's output, in place on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import OutputWrapper
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from genesys_eventbridge.db import drop_connection
from genesys_eventbridge.formatting import clock_time, zone
from genesys_eventbridge.management.output import Result, written
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.management.work import report_line
from genesys_eventbridge.models import outbox_alias

#: Seconds between two updates; longer if each one is another block of a log.
EVERY = 2.0
EVERY_IN_A_LOG = 10.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def watch(look: Callable[[], Result], out: OutputWrapper, options: dict[str, Any]) -> Result:
    """Show ``look()`` until a signal arrives; waits for a database that is away."""
    on_terminal = out.isatty()
    result = Result()
    with (
        stop_on_signal(partial(report_line, {**options, "verbosity": 0})) as stop,
        written(afterwards="nothing is shown any more"),
    ):
        while not stop.is_set():
            try:
                result = look()
                text = result.as_text()
            except (OperationalError, InterfaceError) as error:
                drop_connection(outbox_alias())
                text = f"The database does not answer ({type(error).__name__})."
            out.write(f"{_HOME_AND_CLEAR if on_terminal else ''}{_clock()}\n{text}")
            out.flush()
            stop.wait(EVERY if on_terminal else EVERY_IN_A_LOG)
    return Result(needs_operator=result.needs_operator, exits=result.exits)


def _clock() -> str:
    now = timezone.now()
    return f"{clock_time(now, seconds=True)} {zone(now)}"

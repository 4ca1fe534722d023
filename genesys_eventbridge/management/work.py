"""Runs publish and poll over all named destinations, and reports the results."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, TextIO

from genesys_eventbridge import operations
from genesys_eventbridge.alerts import background as alerts
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import arguments, draining
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.job_worker import JobWorker
from genesys_eventbridge.management.loop import Loop
from genesys_eventbridge.management.output import Result, counted, listed
from genesys_eventbridge.management.progress import UNWRITABLE, Progress
from genesys_eventbridge.management.side_by_side import side_by_side
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.management.waiters import Waiters
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.states import AttemptKind, State

#: Maximum number of events of a check requested by an operator, unless --limit is given.
MANY = 10_000


def drain(kind: AttemptKind, options: dict[str, Any]) -> Result:
    """One run over each destination, concurrently, until nothing is due."""
    aliases = arguments.aliases(options)
    state = State.PENDING if kind is AttemptKind.PUBLISH else State.ACCEPTED
    limit = options["limit"]
    ahead = sum(due_events(alias, state).count() for alias in aliases)
    total = min(ahead, limit * len(aliases)) if limit else ahead
    doing = "Published" if kind is AttemptKind.PUBLISH else "Checked"
    with stop_on_signal(partial(report_line, options)) as stop, progress(doing, total, options) as shown:

        def work(alias: str) -> draining.Drained:
            return draining.drain(
                kind,
                alias,
                progress=shown,
                stop=stop,
                limit=limit,
                max_seconds=options.get("max_seconds"),
                concurrency=options.get("concurrency"),
            )

        done = side_by_side(aliases, work)
    return Result(
        lines=[line for each in done.values() for line in draining.lines(each)],
        data={"destinations": {alias: draining.data(each) for alias, each in done.items()}},
        needs_operator=any(each.needs_operator for each in done.values()),
    )


def loop(options: dict[str, Any]) -> Result:
    """Serve each destination, concurrently, until a signal arrives."""
    aliases = arguments.aliases(options)
    with stop_on_signal(partial(report_line, options)) as stop, progress("Published", None, options) as shown:
        waiters = Waiters(stop, aliases)
        loops = {alias: _loop(alias, shown, stop, waiters, options) for alias in aliases}
        job_worker = JobWorker(stop, waiters.of_jobs())
        report_line(options, f"Serving {', '.join(aliases)}; Ctrl-C or SIGTERM to stop.")
        waiters.start()
        job_worker.start()
        side_by_side(aliases, lambda alias: loops[alias].run(), endless=True)
        job_worker.join()
        waiters.join()
    alerts.finish()
    return Result(
        lines=[_served(alias, each.states, each.pruned) for alias, each in loops.items()],
        data={
            "destinations": {
                alias: {
                    **{state.value: each.states[state] for state in draining.WORDS},
                    "pruned": each.pruned,
                }
                for alias, each in loops.items()
            }
        },
    )


def check_older_now(command: OutboxCommand, options: dict[str, Any]) -> None:
    """Make accepted events due for a check if they were accepted long enough ago."""
    rows = OutboxEvent.objects.on_outbox().filter(
        state=State.ACCEPTED,
        destination__in=arguments.aliases(options),
        accepted_at__lte=DatabaseNow(-options["older_than"]),
        due_at__gt=DatabaseNow(),
    )
    ids = list(rows.order_by("due_at", "id").values_list("id", flat=True)[: options["limit"] or MANY])
    operations.check_now(ids, command.actor(), reason=f"older than {options['older_than']:g} s")


def progress(doing: str, total: int | None, options: dict[str, Any]) -> Progress:
    return Progress(doing, total, stream=_stderr(options), verbosity=options["verbosity"])


def report_line(options: dict[str, Any], line: str) -> None:
    """Print a line on standard error, apart from the result; nothing with ``-v 0``."""
    if options["verbosity"] > 0:
        stream = _stderr(options)
        with suppress(*UNWRITABLE):
            stream.write(line + "\n")
            stream.flush()


def _loop(
    alias: str, shown: Progress, stop: threading.Event, waiters: Waiters, options: dict[str, Any]
) -> Loop:
    return Loop(
        alias,
        progress=shown,
        stop=stop,
        interval=options["interval"],
        waiter=waiters.of_destination(alias),
        concurrency=options["concurrency"],
    )


def _served(alias: str, states: Counter[str], pruned: int) -> str:
    words = {word: states[state] for state, word in draining.WORDS.items() if states[state]}
    line = f"{alias}: {listed(words) or 'nothing was sent'}"
    return f"{line}; {counted(pruned, 'old event')} pruned" if pruned else line


def _stderr(options: dict[str, Any]) -> TextIO:
    """The stream itself: Django's wrapper ends every write with a newline, which would break a bar."""
    stream: TextIO = options.get("stderr") or sys.stderr
    return stream

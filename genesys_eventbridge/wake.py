"""Hints to workers that something is due: coalesced, safe to lose, sent only if a worker reads them."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import nullcontext
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import Q

from genesys_eventbridge import conf, runners
from genesys_eventbridge.conf.rules import AUTO, DJANGO_Q, TASKS
from genesys_eventbridge.db import PASSING, in_small_transaction
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.defects import report
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import Destination, outbox_alias

logger = logging.getLogger("genesys_eventbridge")

#: At most one hint per destination and process in this many seconds; a woken pass runs longer.
COALESCE = 1.0
#: After a broker failure this process sends no hint for this many seconds.
BROKEN = 30.0
#: WAKE "auto": a cluster reads hints if one of our tasks ran within this many seconds. The schedule
#: ``eventbridge:retry`` runs every five minutes even if the others are paused.
LISTENS = 600.0
#: A process queries the database for that at most once in this many seconds.
LOOK_SECONDS = 10.0
#: A task is announced at most once in this many seconds.
ANNOUNCE_SECONDS = 10.0


#: The runners, as people know them.
NAMES = {DJANGO_Q: "django-q2", TASKS: "Django's tasks"}


class _Memory:
    """The state of this process. Times are monotonic."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        #: By task and destination.
        self.last: dict[tuple[str, str], float] = {}
        #: By destination.
        self.looked: dict[str, tuple[float, bool]] = {}
        self.announced: dict[str, float] = {}
        self.broken_until = 0.0


_memory = _Memory()


def wake(destination: str) -> None:
    """Ask a worker to publish what is due. Never raises if the broker or the database is down."""
    _ask("publish", destination)


def _ask(task: str, destination: str) -> None:
    setting = conf.destination(destination).wake
    runner = runners.chosen(setting)
    if runner is None:
        return
    now = time.monotonic()
    if runners.runs_inline(runner):
        _run_here(runner, task, destination, now)
        return
    with _memory.lock:
        last = _memory.last.get((task, destination), float("-inf"))
        if now < _memory.broken_until or now - last < COALESCE:
            return
        _memory.last[task, destination] = now
    if setting == AUTO and not _is_read(destination, now):
        return
    try:
        asked_at = int(time.time())  # lets a worker drop what an earlier pass has already done
        runners.send(runner, task, destination, asked_at)
    except Exception as error:  # noqa: BLE001 - a broker fails in its own ways, and none may reach the request
        _broken(error, now)


def _run_here(runner: str, task: str, destination: str, now: float) -> None:
    """Publish what is due, once, in the process of the commit, as the immediate backend of TASKS does.

    Each commit does, because no worker would publish what a coalesced one leaves. Jobs of operators are not
    run: their pages and ``--loop`` do that.
    """
    if task != "publish" or now < _memory.broken_until:
        return
    try:
        runners.send(runner, "retry", destination)
    except Exception as error:  # noqa: BLE001 - none may reach the request
        _broken(error, now)


def _broken(error: Exception, now: float) -> None:
    _memory.broken_until = now + BROKEN
    logger.warning(
        "Cannot wake a worker (%s); the schedules will publish. Next attempt in %d s.",
        type(error).__name__,
        BROKEN,
    )


def wake_jobs() -> None:
    """Ask a worker to carry out jobs of operators; without one, a ``--loop`` or a schedule will."""
    for alias in conf.aliases():
        if conf.destination(alias).wake is not None:
            _ask("jobs", alias)
            return


def announce(destination: str) -> None:
    """Record that a task runs for a destination; ``"WAKE": "auto"`` depends on it.

    Writes at most once per ANNOUNCE_SECONDS, whatever the number of workers.
    """
    now = time.monotonic()
    if now - _memory.announced.get(destination, float("-inf")) < ANNOUNCE_SECONDS:
        return

    def work() -> None:
        stale = (
            Q(task_at__isnull=True)
            | Q(task_at__lt=DatabaseNow(-ANNOUNCE_SECONDS))
            | Q(task_at__gt=NOW)  # written while the clock was ahead
        )
        if not _rows(destination).filter(stale).update(task_at=NOW):
            Destination.objects.using(outbox_alias()).get_or_create(
                alias=destination, defaults={"task_at": NOW}
            )

    in_small_transaction(outbox_alias(), work)
    _memory.announced[destination] = now


def describe(setting: str | None, task_ago: float | None) -> str:
    """What a commit wakes now, as text. ``task_ago``: seconds since a task ran for it, or None."""
    if setting is None:
        return "none (WAKE is None): workers poll for due events"
    runner = runners.chosen(setting)
    if runner is None:
        return f"none: {runners.why_not(_named(setting))}, workers poll for due events"
    name = NAMES[runner]
    if runners.runs_inline(runner):
        return f"{name}, in the process of the commit (ImmediateBackend)"
    if is_lately(task_ago):
        return f"{name} ({ran(task_ago)})"
    if setting != AUTO:
        return f"{name}, which may not read it: {ran(task_ago)}"
    return f"none: {ran(task_ago)}; workers poll for due events"


def _named(setting: str) -> str:
    """The runner to speak of where none can be used."""
    return DJANGO_Q if setting == AUTO else setting


def ran(task_ago: float | None) -> str:
    """A phrase like "a task ran 12 s ago"."""
    if task_ago is None:
        return "no task has run for it"
    return f"{'a' if is_lately(task_ago) else 'the last'} task ran {span(task_ago)} ago"


def is_lately(task_ago: float | None) -> bool:
    """Whether a cluster whose last task ran that long ago counts as running; False for future times."""
    return task_ago is not None and -ANNOUNCE_SECONDS <= task_ago < LISTENS


def task_ago(destination: str) -> float | None:
    """Seconds since a task ran for a destination, by the database's clock; None if none did."""
    row = _rows(destination).annotate(now=NOW).values_list("task_at", "now").first()
    return None if row is None or row[0] is None else (row[1] - row[0]).total_seconds()


def forget() -> None:
    """Reset to the state of a new process; for tests."""
    with _memory.lock:
        _memory.forget()


def _is_read(destination: str, now: float) -> bool:
    """Whether a cluster recently ran a task for this destination; False if the database cannot answer."""
    looked_at, is_read = _memory.looked.get(destination, (float("-inf"), False))
    if now - looked_at < LOOK_SECONDS:
        return is_read
    connection = connections[outbox_alias()]
    # A failed statement must not break the transaction of a TestCase.
    guarded: Any = transaction.atomic(using=connection.alias) if connection.in_atomic_block else nullcontext()
    try:
        with guarded:
            is_read = is_lately(task_ago(destination))
    except DatabaseError as error:
        report(
            error,
            "Cannot tell whether a worker would read a hint: %s",
            type(error).__name__,
            level=logging.WARNING,
            expected=PASSING,
        )
        is_read = False
    _memory.looked[destination] = (now, is_read)
    return is_read


def _rows(destination: str) -> Any:
    return Destination.objects.using(outbox_alias()).filter(alias=destination)

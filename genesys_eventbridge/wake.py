"""Hints to workers that something is due: coalesced, safe to lose, sent only if a worker reads them."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import nullcontext
from typing import Any, NamedTuple

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import Q

from genesys_eventbridge import conf, runners
from genesys_eventbridge.conf.rules import AUTO, DJANGO_Q, NOTIFY, TASKS
from genesys_eventbridge.db import PASSING, in_small_transaction, notifications
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.db.transactions import after_commit
from genesys_eventbridge.defects import report
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import Destination, outbox_alias

logger = logging.getLogger("genesys_eventbridge")

#: At most one task per destination and process in this many seconds; a woken pass runs longer.
COALESCE = 1.0
#: After a failure of a broker this process sends it no hint for this many seconds; also of a notification.
BROKEN = 30.0
#: WAKE "auto": a cluster reads hints if one of our tasks ran within this many seconds. The schedule
#: ``eventbridge:retry`` runs every five minutes even if the others are paused.
LISTENS = 600.0
#: The same for notifications: a ``--loop`` listened within this many seconds. Heartbeats record it.
HEARS = 150.0
#: A process queries the database for that at most once in this many seconds.
LOOK_SECONDS = 10.0
#: A task is announced at most once in this many seconds.
ANNOUNCE_SECONDS = 10.0


#: The runners, as people know them.
NAMES = {DJANGO_Q: "django-q2", TASKS: "Django's tasks"}
#: Why a commit notifies no one, where the database could.
NO_LOOP = "no eventbridge_publish --loop listens"


class Readers(NamedTuple):
    """Seconds since a task ran for a destination, and since a ``--loop`` listened; None if never."""

    task_ago: float | None = None
    heard_ago: float | None = None


class _Memory:
    """The state of this process. Times are monotonic."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        #: By runner or NOTIFY, and task and destination.
        self.last: dict[tuple[str, str, str], float] = {}
        #: By destination.
        self.looked: dict[str, tuple[float, Readers]] = {}
        self.announced: dict[str, float] = {}
        #: By runner or NOTIFY.
        self.broken_until: dict[str, float] = {}


_memory = _Memory()


def wake(destination: str) -> None:
    """Ask workers to publish what is due. Never raises if the broker or the database is down.

    Nobody is asked for a destination that the settings no longer name.
    """
    if destination not in conf.aliases():
        return
    _notify("publish", destination)
    _queue("publish", destination)


def wake_jobs() -> None:
    """Ask a worker to carry out jobs of operators; without one, a ``--loop`` or a schedule will."""
    aliases = conf.aliases()
    for alias in aliases:
        if notifies(alias):
            _notify("jobs", alias)
            break
    for alias in aliases:
        if runners.chosen(conf.destination(alias).wake) is not None:
            _queue("jobs", alias)
            break


def topic(task: str, destination: str) -> str:
    """The topic of a notification. Jobs belong to no destination."""
    return task if task == "jobs" else f"{task}:{destination}"


def notifies(destination: str) -> bool:
    """Whether a commit may notify a ``--loop``: by WAKE and by the outbox's database."""
    return conf.destination(destination).wake in (AUTO, NOTIFY) and not notifications.why_not(outbox_alias())


def _notify(task: str, destination: str) -> None:
    """Notify the loops that listen, now or after the commit of the caller's transaction.

    Without effect if autocommit was switched off by hand: Django does not see that commit.
    """
    if not notifies(destination):
        return
    connection = connections[outbox_alias()]
    if connection.in_atomic_block or connection.get_autocommit():
        after_commit(connection.alias, _notify_now, task, destination)


def _notify_now(task: str, destination: str) -> None:
    connection = connections[outbox_alias()]
    if connection.in_atomic_block:
        return  # captureOnCommitCallbacks runs this within the transaction of a TestCase
    now = time.monotonic()
    if not _is_turn(NOTIFY, task, destination, now, notifications.COALESCE):
        return
    if conf.destination(destination).wake == AUTO and not hears_lately(_readers(destination, now).heard_ago):
        return
    try:
        notifications.notify(connection.alias, topic(task, destination))
    except DatabaseError as error:
        _broken(NOTIFY, error, now)


def _queue(task: str, destination: str) -> None:
    """Queue a task for a worker of django-q2 or of Django's tasks."""
    setting = conf.destination(destination).wake
    runner = runners.chosen(setting)
    if runner is None:
        return
    now = time.monotonic()
    if runners.runs_inline(runner):
        _run_here(runner, task, destination, now)
        return
    if not _is_turn(runner, task, destination, now, COALESCE):
        return
    if setting == AUTO and not is_lately(_readers(destination, now).task_ago):
        return
    try:
        asked_at = int(time.time())  # lets a worker drop what an earlier pass has already done
        runners.send(runner, task, destination, asked_at)
    except Exception as error:  # noqa: BLE001 - a broker fails in its own ways, and none may reach the request
        _broken(runner, error, now)


def _is_turn(how: str, task: str, destination: str, now: float, coalesce: float) -> bool:
    """Whether to send a hint now; if so, it is taken as sent."""
    with _memory.lock:
        last = _memory.last.get((how, task, destination), float("-inf"))
        if now < _memory.broken_until.get(how, 0.0) or now - last < coalesce:
            return False
        _memory.last[how, task, destination] = now
        return True


def _run_here(runner: str, task: str, destination: str, now: float) -> None:
    """Publish what is due, once, in the process of the commit, as the immediate backend of TASKS does.

    Each commit does, because no worker would publish what a coalesced one leaves. Only one within such a pass
    starts no other: that pass or the next publishes its events. Jobs of operators are not run: their pages
    and ``--loop`` do that.
    """
    if task != "publish" or now < _memory.broken_until.get(runner, 0.0) or runners.current() == runner:
        return
    try:
        runners.send(runner, "retry", destination)
    except Exception as error:  # noqa: BLE001 - none may reach the request
        _broken(runner, error, now)


def _broken(how: str, error: Exception, now: float) -> None:
    _memory.broken_until[how] = now + BROKEN
    logger.warning(
        "Cannot wake a worker (%s); %s will publish. Next attempt in %d s.",
        type(error).__name__,
        "the next look of a worker" if how == NOTIFY else "the schedules",
        BROKEN,
    )


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


def describe(setting: str | None, found: Readers) -> str:
    """What a commit wakes now, as text."""
    if setting is None:
        return f"none (WAKE is None): {_polling()}"
    supported = setting in (AUTO, NOTIFY) and not notifications.why_not(outbox_alias())
    hears = supported and hears_lately(found.heard_ago)
    listening = f"eventbridge_publish --loop (it listened {span(found.heard_ago or 0)} ago)" if hears else ""
    if setting == NOTIFY:
        why = notifications.why_not(outbox_alias()) or NO_LOOP
        return listening or f"none: {why}; {_polling()}"
    queue, why = _describe_queue(setting, found.task_ago)
    if listening:
        return f"{listening}; {queue}" if queue else listening
    return queue or f"none: {f'{NO_LOOP}, and ' if supported else ''}{why}; {_polling()}"


def _polling() -> str:
    if connections[outbox_alias()].vendor == "sqlite":
        return "eventbridge_publish --loop watches the database's file, other workers poll for due events"
    return "workers poll for due events"


def _describe_queue(setting: str, task_ago: float | None) -> tuple[str, str]:
    """The queue that a commit uses now, or why there is none; the other text is empty."""
    runner = runners.chosen(setting)
    if runner is None:
        return "", runners.why_not(_named(setting))
    name = NAMES[runner]
    if runners.runs_inline(runner):
        return f"{name}, in the process of the commit (ImmediateBackend)", ""
    if is_lately(task_ago):
        return f"{name} ({ran(task_ago)})", ""
    if setting != AUTO:
        return f"{name}, which may not read it: {ran(task_ago)}", ""
    return "", ran(task_ago)


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


def hears_lately(heard_ago: float | None) -> bool:
    """Whether a ``--loop`` that listened that long ago counts as listening; False for future times."""
    return heard_ago is not None and -ANNOUNCE_SECONDS <= heard_ago < HEARS


def readers(destination: str) -> Readers:
    """Who reads hints about a destination, by the database's clock."""
    row = _rows(destination).annotate(now=NOW).values_list("task_at", "heard_at", "now").first()
    if row is None:
        return Readers()
    *times, now = row
    return Readers(*(None if at is None else (now - at).total_seconds() for at in times))


def forget() -> None:
    """Reset to the state of a new process; for tests."""
    with _memory.lock:
        _memory.forget()


def _readers(destination: str, now: float) -> Readers:
    """``readers``, as they were at most LOOK_SECONDS ago; none if the database cannot answer."""
    looked_at, found = _memory.looked.get(destination, (float("-inf"), Readers()))
    if now - looked_at < LOOK_SECONDS:
        return found
    connection = connections[outbox_alias()]
    # A failed statement must not break the transaction of a TestCase.
    guarded: Any = transaction.atomic(using=connection.alias) if connection.in_atomic_block else nullcontext()
    try:
        with guarded:
            found = readers(destination)
    except DatabaseError as error:
        report(
            error,
            "Cannot tell whether a worker would read a hint: %s",
            type(error).__name__,
            level=logging.WARNING,
            expected=PASSING,
        )
        found = Readers()
    _memory.looked[destination] = (now, found)
    return found


def _rows(destination: str) -> Any:
    return Destination.objects.using(outbox_alias()).filter(alias=destination)

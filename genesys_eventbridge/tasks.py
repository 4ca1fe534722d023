"""The tasks that queues run: stable dotted paths, plain arguments, no exception if an event fails."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.transaction import TransactionManagementError

from genesys_eventbridge import conf, relay, runners, wake
from genesys_eventbridge.alerts import background as alerts
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import PASSING, drop_connection
from genesys_eventbridge.db.clock import require_steady_zone
from genesys_eventbridge.db.transactions import refuse_in_transaction
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.operations import jobs as operations_jobs
from genesys_eventbridge.outbox import next_due, retention
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.relay.worker import HORIZON, run_worker
from genesys_eventbridge.states import State
from genesys_eventbridge.text import clean

logger = logging.getLogger("genesys_eventbridge")

#: One pass is started for this many batches that are due, up to PARALLEL_PASSES.
BATCHES_A_PASS = 10
#: A wake requested up to this many seconds before this process found nothing due was answered by that. Longer
#: than wakes are coalesced, because the clocks of two hosts may differ.
ANSWERED = 6.0

#: Seconds after a scheduled run in which the next one is expected; until then passes follow each other.
FOLLOWED = 60

#: By destination, ``time.time()`` when this process last found nothing due.
_idle_since: dict[str, float] = {}


def publish(destination: str, asked_at: int = 0, until: int = 0) -> int:
    """Publish and check while anything is due, then stay a moment. Returns the number of events moved.

    ``asked_at`` is ``time.time()`` of the commit that woke us: under steady traffic there are more wakes than
    passes needed, and those that an earlier pass has answered end here, before any statement.
    A pass that ends before ``until`` (``time.time()``) with more to do is followed by another; one that
    begins after it leaves the work to those that the schedule has started since.
    """

    def work(settings: DestinationSettings) -> int:
        if asked_at and asked_at + ANSWERED <= _idle_since.get(destination, 0.0):
            return 0
        if until and time.time() >= until:
            return 0
        done = run_worker(settings)
        if done.idle_for is not None:
            _idle_since[destination] = time.time() - done.idle_for
        if done.unfinished:
            _follow(destination, until)
        return done.moved

    return _run("publish", destination, work, sends=True)


def publish_backlog(destination: str) -> int:
    """The scheduled ``publish``: if much is due, it also starts up to PARALLEL_PASSES - 1 others.

    Each is followed by another while there is more, so that a backlog does not wait for the next schedule.
    """

    def work(settings: DestinationSettings) -> int:
        until = int(time.time()) + FOLLOWED
        upcoming = next_due.next_due(destination, within=HORIZON)
        if upcoming.publish_in is not None and upcoming.publish_in <= 0:
            for _helper in range(_passes(settings) - 1):
                _start("publish", destination, 0, until)
        done = run_worker(settings, upcoming=upcoming)
        if done.unfinished:
            _follow(destination, until)
        return done.moved

    return _run("publish", destination, work, sends=True)


def poll(destination: str) -> int:
    """Check the status of accepted events whose next check is due."""
    return _run("poll", destination, lambda settings: relay.check_accepted(settings.alias).moved, sends=True)


def retry(destination: str) -> int:
    """Retry failed events that are due by now, never earlier, and end those that may not be retried."""
    return _run("retry", destination, lambda settings: relay.publish_due(settings.alias).moved, sends=True)


def prune(destination: str) -> int:
    """Retention: remove old finished events; returns how many were removed or blanked."""

    def work(settings: DestinationSettings) -> int:
        retention.began(destination)
        pruned = retention.prune(settings, max_seconds=settings.pass_seconds / 2)
        return pruned.rows + pruned.blanked

    return _run("prune", destination, work)


def jobs(destination: str, _asked_at: int = 0) -> int:
    """Carry out jobs of operators, of any destination; returns how many were worked on."""

    def work(settings: DestinationSettings) -> int:
        return operations_jobs.work(max_seconds=settings.pass_seconds / 2)

    return _run("jobs", destination, work)


def publish_all(*, queue: bool = True) -> int:
    """Run by the schedule ``eventbridge:publish``: serves every configured destination, and jobs.

    Call it with ``queue=False`` from cron, Celery or another scheduler: then this process serves all
    destinations, one after the other, and no task is queued for a cluster that may not run.
    """
    with _caller(queue):
        if operations_jobs.are_due() and not _start("jobs", conf.aliases()[0]):
            jobs(conf.aliases()[0])
        return _each("publish_backlog", publish_backlog)


def poll_all(*, queue: bool = True) -> int:
    """Run by the schedule ``eventbridge:poll``. ``queue``: see ``publish_all``."""
    with _caller(queue):
        return _each("poll", poll)


def retry_all(*, queue: bool = True) -> int:
    """Run by the schedule ``eventbridge:retry``. ``queue``: see ``publish_all``."""
    with _caller(queue):
        return _each("retry", retry)


def prune_all(*, queue: bool = True) -> int:
    """Run by the schedule ``eventbridge:prune``. ``queue``: see ``publish_all``."""
    with _caller(queue):
        return _each("prune", prune)


def _caller(queue: bool) -> AbstractContextManager[None]:
    return nullcontext() if queue else runners.within(runners.NO_QUEUE)


def _run(
    task: str, destination: str, work: Callable[[DestinationSettings], int], *, sends: bool = False
) -> int:
    """Log errors instead of raising: django-q2 would repeat a task that raises, and keep its traceback.

    One that ``sends`` is refused within a transaction of business code that called it as a function.
    """
    try:
        settings = conf.sending(destination) if sends else conf.destination(destination)
        if sends:
            refuse_in_transaction(outbox_alias(), "nothing is sent")
            require_steady_zone(outbox_alias(), "nothing is sent")
            if runners.current() == runners.chosen(settings.wake):
                wake.announce(destination)
            alerts.tend()
        return work(settings)
    except (ImproperlyConfigured, TransactionManagementError) as error:
        logger.error("Task %s not run for destination %s: %s", task, clean(destination, 64), error)
    except Exception as error:  # noqa: BLE001 - the rows are the truth; the next task continues from there
        if isinstance(error, DatabaseError):
            drop_connection(outbox_alias())
        name = type(error).__name__
        report(error, "Task %s of destination %s stopped: %s", task, destination, name, expected=PASSING)
    return 0


def _each(task: str, here: Callable[[str], int]) -> int:
    """Serve one destination here; queue a task each for several, so that none waits for another."""
    try:
        aliases = conf.aliases()
    except ImproperlyConfigured as error:
        logger.error("Task %s not run: %s", task, error)
        return 0
    if len(aliases) == 1:
        return here(aliases[0])
    return sum(here(alias) for alias in aliases if not _start(task, alias))


def _follow(destination: str, until: int) -> None:
    if time.time() < until:
        _start("publish", destination, 0, until)


def _start(task: str, destination: str, *arguments: int) -> bool:
    """Queue another task with the runner of this one; False if there is none or it does not accept it."""
    runner = runners.current()
    if runners.why_not(runner) or runners.runs_inline(runner):
        return False
    try:
        runners.send(runner, task, destination, *arguments)
    except Exception as error:  # noqa: BLE001 - a broker fails in its own ways
        logger.warning("Cannot queue task %s for %s: %s", task, destination, type(error).__name__)
        return False
    return True


def _passes(settings: DestinationSettings) -> int:
    """The number of passes that the backlog needs."""
    if settings.parallel_passes == 1 or _has_one_writer():
        return 1
    share = BATCHES_A_PASS * settings.batch_size
    bound = share * settings.parallel_passes
    # In index order, so that the count reads no more of the index than it needs.
    due = due_events(settings.alias, State.PENDING).order_by("due_at", "id")
    backlog = due.values("pk")[:bound].count()
    return max(1, math.ceil(backlog / share))


def _has_one_writer() -> bool:
    """On SQLite a second pass would wait for the first."""
    return connections[outbox_alias()].vendor == "sqlite"

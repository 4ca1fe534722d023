"""Time from a commit to the platform by the wake, by --loop and by the schedules alone, and what each costs.

TEST_REDIS_URL=... EVENTBRIDGE_TEST_DATABASE=postgresql TEST_POSTGRESQL_URL=... python -m benchmarks.latency
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.clusters import cluster, forget_queue, platform, power_off
from benchmarks.measuring import Platform, Report, arguments, fresh_database

#: Seconds between commits: longer than a worker keeps running after its last event, so that it is idle.
APART = 3.3
COMMITS = 1000


def main() -> None:
    options = arguments(__doc__, commits=20)
    commits = 3 if options.quick else options.commits
    os.environ["EVENTBRIDGE_TEST_BROKER"] = "redis"
    report = Report()
    with fresh_database() as database:
        for way, work in (
            ("the wake, idle cluster, Redis broker", woken),
            ("the wake, idle cluster, ORM broker", woken_by_orm),
            ("the wake, idle cluster, ORM broker that polls every 0.02 s", woken_by_orm_often),
            ("eventbridge_publish --loop, idle", looped),
            ("the schedules alone, idle cluster", scheduled),
        ):
            forget_events()
            seconds = work(commits)
            report.add(
                "latency",
                f"commit to request by {way}, ms ({database})",
                statistics.median(seconds) * 1000,
                worst=max(seconds) * 1000,
                commits=commits,
            )
        for pace in (None, 100):
            taken, messages = queued(pace)
            how = f"{pace} per second" if pace else "as fast as possible"
            report.add("queue", f"messages of {COMMITS} commits, {how}", messages, seconds=taken)
        for task, count in idle().items():
            report.add("idle", f"statements of an idle task {task}", count)
    report.table()


def forget_events() -> None:
    """Each platform begins its ids again, and a worker trusts no id that another event has."""
    from genesys_eventbridge.models import Destination, OutboxEvent

    OutboxEvent.objects.all().delete()
    Destination.objects.all().delete()


def woken(commits: int) -> list[float]:
    with platform(0, wake="django_q") as there, queue() as name, cluster(name, 1):
        return one_by_one(there, commits, APART)


def woken_by_orm(commits: int, poll: float = 0.2) -> list[float]:
    """``poll`` is django-q2's setting, 0.2 s by default: how often an idle cluster looks for a task."""
    from django_q.conf import Conf
    from django_q.models import OrmQ

    Conf.ORM = "default"
    name = f"bench-{uuid.uuid4()}"
    Conf.PREFIX = Conf.CLUSTER_NAME = name
    try:
        with platform(0, wake="django_q") as there, cluster(name, 1, broker="orm", poll=poll):
            return one_by_one(there, commits, APART)
    finally:
        Conf.ORM = None
        OrmQ.objects.all().delete()


def woken_by_orm_often(commits: int) -> list[float]:
    return woken_by_orm(commits, 0.02)


def looped(commits: int) -> list[float]:
    from tests.prompt import start

    with platform(0, wake="auto") as there:
        process = start("eventbridge_publish", "--loop", "-v", "0")
        try:
            return one_by_one(there, commits, APART)
        finally:
            power_off(process)


def scheduled(commits: int) -> list[float]:
    from genesys_eventbridge import schedules

    with platform(0) as there, queue() as name:
        schedules.install(reset=True)
        with cluster(name, 1):
            return one_by_one(there, commits, 7.3)


def queued(pace: int | None) -> tuple[float, int]:
    """Seconds that COMMITS commits took, and the messages they queued; no cluster reads them."""
    from genesys_eventbridge import wake

    with platform(0, wake="django_q"), queue():
        wake.forget()
        began = time.perf_counter()
        for number in range(COMMITS):
            commit()
            if pace:
                time.sleep(max(0.0, began + number / pace - time.perf_counter()))
        return time.perf_counter() - began, _broker().queue_size()


def idle() -> dict[str, int]:
    """Statements per task if nothing is due, without BEGIN and COMMIT."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from genesys_eventbridge import tasks
    from genesys_eventbridge.models import OutboxEvent

    OutboxEvent.objects.all().delete()
    found = {}
    with platform(0):
        for name in ("publish", "publish_backlog", "poll", "retry"):
            getattr(tasks, name)("default")
            with CaptureQueriesContext(connection) as captured:
                getattr(tasks, name)("default")
            edges = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
            found[name] = len([query for query in captured if not query["sql"].startswith(edges)])
    return found


def one_by_one(there: Platform, commits: int, apart: float) -> list[float]:
    """Seconds from each commit to its request, after one uncounted commit that waits for the workers."""
    from genesys_eventbridge import wake

    wake.forget()  # or this commit could coalesce with the last one of the previous way
    _arrived(there, [commit()])
    made = []
    for _ in range(commits):
        time.sleep(apart)
        made.append(commit())
    return _arrived(there, made)


def commit() -> tuple[str, float]:
    """Commit one event. Returns its id, and ``time.monotonic()`` after the commit."""
    from django.db import transaction

    from genesys_eventbridge.outbox import enqueue

    with transaction.atomic():
        event = enqueue("order.created", {"number": "ORD-7"})
    return event.event_id, time.monotonic()


@contextmanager
def queue() -> Iterator[str]:
    """A separate queue for this process and the clusters of the block."""
    from django_q.conf import Conf

    name = f"bench-{uuid.uuid4()}"
    Conf.PREFIX = Conf.CLUSTER_NAME = name
    try:
        yield name
    finally:
        forget_queue(name)


def _broker() -> Any:
    from django_q.brokers import get_broker

    return get_broker()


def _arrived(there: Platform, made: list[tuple[str, float]]) -> list[float]:
    ends = time.monotonic() + 150
    while not {event_id for event_id, _at in made} <= (arrived := there.arrivals()).keys():
        if time.monotonic() > ends:
            raise TimeoutError(f"{len(arrived)} arrived")
        time.sleep(0.2)
    return [arrived[event_id] - at for event_id, at in made]


if __name__ == "__main__":
    main()

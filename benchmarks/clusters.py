"""Two django-q2 clusters drain a backlog, compared with one; also with one killed and Redis emptied midway.

TEST_REDIS_URL=... EVENTBRIDGE_TEST_DATABASE=postgresql TEST_POSTGRESQL_URL=... \
    python -m benchmarks.clusters --events 20000
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from benchmarks.measuring import Platform, Report, arguments, fresh_database
from benchmarks.measuring import platform as stand_in

#: A killed worker's events are taken over after this lease. The default, 60 s, would dominate the figure.
LEASE = {"LEASE_SECONDS": 12, "REQUEST_DEADLINE": 5}
HANG = 600.0


@contextmanager
def platform(latency: float, *, wake: str | None = None) -> Iterator[Platform]:
    """The stand-in with ``latency`` in seconds, and settings that point to it; events end when accepted."""
    from django.conf import settings
    from django.test import override_settings

    one = settings.GENESYS_EVENTBRIDGE["default"]
    with stand_in() as there:
        there.reset(latency=latency)
        where = json.loads(there.destination(**LEASE, CONFIRM=False, WAKE=wake))
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**one, **where}}):
            yield there


@contextmanager
def cluster(
    name: str, workers: int, *, broker: str = "redis", **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """One host's cluster, which checks its schedules at the start and is killed at the end of the block.

    ``broker`` is "redis" or "orm"; ``options`` are more keys of Q_CLUSTER.
    """
    from tests.prompt import start

    more = {"name": name, "workers": workers, "guard_cycle": 30, "log_level": "ERROR", **options}
    process = start("qcluster", EVENTBRIDGE_TEST_BROKER=broker, Q_CLUSTER_MORE=json.dumps(more))
    try:
        yield process
    finally:
        power_off(process)


def power_off(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


Midway = Callable[[str, list[subprocess.Popen[str]]], None]


def drain(events: int, hosts: int, workers: int, latency: float, midway: Midway | None) -> dict[str, float]:
    """The platform's counters, and ``seconds`` from the first acceptance to the last."""
    from genesys_eventbridge import schedules
    from genesys_eventbridge.models import Destination, OutboxEvent
    from genesys_eventbridge.outbox import enqueue_many
    from genesys_eventbridge.states import State

    OutboxEvent.objects.all().delete()
    Destination.objects.all().delete()
    drafts = [{"type": "order.created", "data": {"number": number}} for number in range(events)]
    for at in range(0, events, 1000):
        enqueue_many(drafts[at : at + 1000], standalone=True)
    schedules.install(reset=True)
    name = f"bench-{uuid.uuid4()}"
    with platform(latency) as there, ExitStack() as running:
        clusters = [running.enter_context(cluster(name, workers)) for _ in range(hosts)]
        ends = time.monotonic() + HANG
        while OutboxEvent.objects.exclude(state=State.DELIVERED).exists():
            if time.monotonic() > ends:
                raise TimeoutError(f"{there.stats()} of {events}")
            if midway and there.stats()["accepted"] >= events / 2:
                midway(name, clusters)
                midway = None
            time.sleep(0.25)
        stats = there.stats()
    forget_queue(name)
    return {**stats, "seconds": stats["last"] - stats["first"]}


def forget_queue(name: str) -> None:
    """Delete this cluster's keys, as FLUSHALL would, without affecting others on that server."""
    import redis

    with redis.Redis.from_url(os.environ["TEST_REDIS_URL"]) as server:
        for key in server.scan_iter(f"django_q:{name}*"):
            server.delete(key)


def trouble(name: str, clusters: list[subprocess.Popen[str]]) -> None:
    """Kill the busier cluster and delete its queue."""
    from genesys_eventbridge.models import DeliveryAttempt

    (worker,) = DeliveryAttempt.objects.order_by("-id").values_list("worker", flat=True)[:1]
    group = os.getpgid(int(worker.rpartition(":")[2]))
    power_off(next(process for process in clusters if process.pid == group))
    forget_queue(name)


def main() -> None:
    options = arguments(__doc__, events=20_000, workers=2, latency=50)
    events = 1000 if options.quick else options.events
    report = Report()
    with fresh_database() as database:
        one = 0.0
        cases: list[tuple[str, int, Midway | None]] = [
            ("one cluster", 1, None),
            ("two clusters", 2, None),
            ("two clusters, one killed and Redis emptied midway", 2, trouble),
        ]
        for case, hosts, midway in cases:
            found = drain(events, hosts, options.workers, options.latency / 1000, midway)
            one = one or found["seconds"]
            report.add(
                "clusters",
                f"{case} / one, time ({database})",
                found["seconds"] / one,
                seconds=found["seconds"],
                events=events,
                lost=events - found["accepted"],
                sent_again=found["duplicates"],
                drifted=found["drifted"],
            )
    report.table()


if __name__ == "__main__":
    main()

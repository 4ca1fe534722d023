"""How two django-q2 clusters drain a backlog against one; and with one killed and Redis emptied midway.

TEST_REDIS_URL=... EVENTBRIDGE_TEST_DATABASE=postgresql TEST_POSTGRESQL_URL=... \
    python -m benchmarks.clusters --events 20000
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from benchmarks.measuring import fresh_database, report
from benchmarks.stub import Stub, stub

#: What a killed worker held is taken over after this lease; with the default, 60 s, the figure would be that.
LEASE = {"LEASE_SECONDS": 12, "REQUEST_DEADLINE": 5}
HANG = 600.0


@contextmanager
def platform(latency: float, *, confirm: bool = False, wake: bool = False) -> Iterator[Stub]:
    """A stub of the platform, and settings that reach it."""
    from django.conf import settings
    from django.test import override_settings

    one = settings.GENESYS_EVENTBRIDGE["default"]
    with stub(latency) as there:
        where = {"API_BASE_URL": there.url, "LOGIN_BASE_URL": there.url}
        more = {
            **where,
            **LEASE,
            "CONFIRM": confirm,
            "CHECK_DELAYS": [0.1],
            "PUBLISH_ON_COMMIT": wake,
        }
        with override_settings(GENESYS_EVENTBRIDGE={"default": {**one, **more}}):
            yield there


@contextmanager
def cluster(name: str, workers: int) -> Iterator[subprocess.Popen[str]]:
    """One host's cluster, which looks at its schedules as it starts; all of it ends with the block."""
    from tests.prompt import start

    more = {"name": name, "workers": workers, "guard_cycle": 30, "log_level": "ERROR"}
    process = start("qcluster", EVENTBRIDGE_TEST_BROKER="redis", Q_CLUSTER_MORE=json.dumps(more))
    try:
        yield process
    finally:
        power_off(process)


def power_off(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def drain(
    events: int,
    hosts: int,
    options: argparse.Namespace,
    midway: Callable[[str, list[subprocess.Popen[str]]], None] | None = None,
) -> tuple[float, dict[str, float]]:
    """Seconds from the first request to the last acceptance, and what the platform counted."""
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
    with platform(options.latency / 1000, confirm=options.confirm) as there, ExitStack() as running:
        clusters = [running.enter_context(cluster(name, options.workers)) for _ in range(hosts)]
        ends = time.monotonic() + HANG
        while OutboxEvent.objects.exclude(state=State.DELIVERED).exists():
            if time.monotonic() > ends:
                raise TimeoutError(f"{there.counts()} of {events}")
            if midway and there.counts()["accepted"] >= events / 2:
                midway(name, clusters)
                midway = None
            time.sleep(0.25)
        counts = there.counts()
    forget_queue(name)
    return counts["last"] - counts["first"], counts


def forget_queue(name: str) -> None:
    """What FLUSHALL would do to this cluster, and to nobody else on that server."""
    import redis

    with redis.Redis.from_url(os.environ["TEST_REDIS_URL"]) as server:
        for key in server.scan_iter(f"django_q:{name}*"):
            server.delete(key)


def trouble(name: str, clusters: list[subprocess.Popen[str]]) -> None:
    """The busier of the hosts loses its power, and Redis its memory."""
    from genesys_eventbridge.models import DeliveryAttempt

    (worker,) = DeliveryAttempt.objects.order_by("-id").values_list("worker", flat=True)[:1]
    group = os.getpgid(int(worker.rpartition(":")[2]))
    power_off(next(process for process in clusters if process.pid == group))
    forget_queue(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2, help="of each cluster (2)")
    parser.add_argument("--latency", type=float, default=50, metavar="MS", help="of the platform (50)")
    parser.add_argument("--confirm", action="store_true", help="ask about each event, too")
    options = parser.parse_args()
    with fresh_database() as database:
        taken = {}
        for case, hosts, midway in (
            ("one cluster", 1, None),
            ("two clusters", 2, None),
            ("two clusters, one killed and Redis emptied midway", 2, trouble),
        ):
            seconds, counts = drain(options.events, hosts, options, midway)
            taken[case] = seconds
            report(
                measure=case,
                database=database,
                events=options.events,
                seconds=seconds,
                per_second=options.events / seconds,
                ratio=seconds / taken["one cluster"],
                accepted_once=counts["accepted"] == counts["events"] == options.events,
                sent_again=counts["again"],
                other_bytes=counts["differing"],
            )


if __name__ == "__main__":
    main()

"""From the database to the platform, compared with hand-written alternatives: rows 1 to 6 and 11.

Row 3 needs a Python with django-reliable-outbox, named by RELIABLE_OUTBOX_PYTHON, and PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.measuring import Child, Platform, Report, arguments, fresh_database, platform, ratio, rounds

SLOW = 0.05  # seconds of the platform's latency
LARGE = 200  # BATCH_SIZE for the sides that do not use the default


def fill(count: int) -> None:
    """Empty the table and enqueue ``count`` due events."""
    from django.db import connection

    from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
    from genesys_eventbridge.outbox import enqueue_many

    DeliveryAttempt.objects.all()._raw_delete("default")
    OutboxEvent.objects.all()._raw_delete("default")
    data = {"number": "ORD-1", "amount": "12.50", "currency": "EUR"}
    enqueue_many([{"type": "order.created", "data": data} for _ in range(count)], standalone=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "VACUUM ANALYZE genesys_eventbridge_outboxevent, genesys_eventbridge_deliveryattempt"
            )


class Side:
    """Children of one kind. A call runs a round and returns events/s; ``cpu`` collects CPU ms per event."""

    def __init__(
        self,
        stand_in: Platform,
        kind: str,
        *,
        count: int,
        threads: int,
        latency: float,
        processes: int = 1,
        **destination: int,
    ) -> None:
        self.platform, self.kind, self.count, self.latency = stand_in, kind, count, latency
        self.cpu: list[float] = []
        self.children = [
            Child(
                *("-m", "benchmarks.sides", kind, stand_in.url, str(count), str(threads)),
                BENCH_DESTINATION=stand_in.destination(**destination),
            )
            for _ in range(processes)
        ]
        for child in self.children:
            child.line()

    def __call__(self) -> float:
        if self.kind == "relay":
            fill(self.count)
        self.platform.reset(latency=self.latency)
        for child in self.children:
            child.tell()
        cpu = sum(float(child.line()) for child in self.children)
        self.cpu.append(cpu / self.count * 1000)
        assert self.platform.stats()["accepted"] == self.count
        return self.platform.per_second()


def django_q2(stand_in: Platform, count: int) -> float:
    """One task per event, on django-q2's database broker, until the last POST. Returns events/s."""
    from django_q.tasks import async_task

    stand_in.reset()
    for _ in range(count):
        async_task("benchmarks.sides.post_one", stand_in.url, save=False, ack_failure=True)
    cluster = subprocess.Popen(
        [sys.executable, "-m", "django", "qcluster"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while stand_in.stats()["accepted"] < count:
        time.sleep(0.2)
    cluster.terminate()
    cluster.wait()
    return stand_in.per_second()


def reliable_outbox(stand_in: Platform, peer: Child, count: int) -> float:
    """Its own worker and webhook destination, 32 threads, until nothing is due. Returns events/s."""
    stand_in.reset(latency=SLOW)
    peer.ask(str(count))
    return stand_in.per_second()


def main() -> None:
    options = arguments(__doc__, events=3000)
    number, events = (1, 300) if options.quick else (5, options.events)
    report = Report()
    with fresh_database() as database, platform() as stand_in:
        side = partial(Side, stand_in)
        slow = {
            "bare, 32 threads": side("bare", count=events, threads=32, latency=SLOW),
            "relay, 32 senders": side("relay", count=events, threads=32, latency=SLOW),
            "relay, 64 senders": side("relay", count=events, threads=64, latency=SLOW, BATCH_SIZE=LARGE),
            "script": side("script", count=events // 20, threads=1, latency=SLOW),
            "2 x relay, 32 senders": side("relay", count=events, threads=32, latency=SLOW, processes=2),
        }
        sides: dict[str, Callable[[], float]] = {**slow}
        if python := os.environ.get("RELIABLE_OUTBOX_PYTHON"):
            peer = Child("-m", "benchmarks.reliable_outbox", stand_in.url, python=python)
            peer.line()
            sides["django-reliable-outbox"] = partial(reliable_outbox, stand_in, peer, events // 2)
        rates = rounds(sides, number)

        def compare(row: str, measure: str, one: str, other: str, reach: str) -> None:
            medians = {f"{name} (events/s)": round(median(rates[name])) for name in (one, other)}
            report.add(row, f"{measure} ({database})", ratio(rates, one, other), reach, **medians)

        compare(
            "1",
            "drain at 50 ms / bare httpx in 32 threads",
            "relay, 32 senders",
            "bare, 32 threads",
            ">= 1.05",
        )
        compare(
            "1", "the same, 64 senders, BATCH_SIZE 200", "relay, 64 senders", "bare, 32 threads", ">= 1.7"
        )
        compare("2", "the same drain, 32 senders / a plain script", "relay, 32 senders", "script", ">= 24")
        if "django-reliable-outbox" in rates:
            compare(
                "3",
                "the same / django-reliable-outbox",
                "relay, 32 senders",
                "django-reliable-outbox",
                ">= 1.6",
            )
            peer.end()
        compare("11", "two processes / one, 50 ms", "2 x relay, 32 senders", "relay, 32 senders", ">= 1.7")

        fast = {
            "bare": side("bare", count=events, threads=1, latency=0.0),
            "relay": side("relay", count=events, threads=16, latency=0.0),
            "relay, batch 200": side("relay", count=events, threads=16, latency=0.0, BATCH_SIZE=LARGE),
            "2 x relay": side("relay", count=events, threads=16, latency=0.0, processes=2),
        }
        rates = rounds({**fast, "django-q2": lambda: django_q2(stand_in, events // 6)}, number)
        compare("4", "drain at 0 ms / bare sequential httpx", "relay", "bare", ">= 1.3")
        compare("4", "the same, BATCH_SIZE 200", "relay, batch 200", "bare", "")
        cpu = {name: one.cpu[1:] for name, one in fast.items()}
        for name, measure, reach in (
            ("relay", "CPU per event / per bare request", "<= 0.85"),
            ("relay, batch 200", "the same, BATCH_SIZE 200", ""),
        ):
            medians = {f"{one} (ms)": median(cpu[one]) for one in (name, "bare")}
            report.add("5", f"{measure} ({database})", ratio(cpu, name, "bare"), reach, **medians)
        compare(
            "6", "one worker's drain / a django-q2 task per event, two workers", "relay", "django-q2", ">= 4"
        )
        compare("6", "two workers' drain / the same", "2 x relay", "django-q2", ">= 4")
        compare("11", "two processes / one, 0 ms", "2 x relay", "relay", ">= 1.3")
        for one in (*slow.values(), *fast.values()):
            for child in one.children:
                child.end()
    report.table()


if __name__ == "__main__":
    main()

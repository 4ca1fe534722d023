"""Row 10: how well one worker, and 16 with a slow link to the database, keep and use RATE_PER_MINUTE.

``LIMITING_PARTS`` selects parts: ``fast`` (3,000 per minute), ``workers`` (16 processes), ``loop``
(one process that publishes, checks and prunes).
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from urllib.parse import urlsplit

from benchmarks.draining import fill
from benchmarks.measuring import Child, Platform, Report, arguments, fresh_database, platform, rounds

RATE = 3000
WINDOW = 10.0  # the platform's counting window in seconds; a run covers several

WORKERS = 16
SHARED_RATE = 300
ROUND_TRIP = 8  # milliseconds added to each round trip to the database
OLD = 5000  # events that retention removes


def one_worker(stand_in: Platform, report: Report, database: str, options: argparse.Namespace) -> None:
    """One worker at its limit of 3,000 per minute, with a platform that enforces the same limit."""
    from genesys_eventbridge import conf, relay
    from genesys_eventbridge.relay.senders import Senders

    number, seconds = (1, 12.0) if options.quick else (5, 30.0)
    limited: list[float] = []

    def accepted() -> float:
        """Accepted / allowed, from the first acceptance to the last."""
        fill(int(RATE / 60 * seconds) + 200)
        stand_in.reset(rate=RATE / 60 * WINDOW, window=WINDOW)
        ends = time.monotonic() + seconds
        with Senders(conf.destination(), 16) as senders:
            while time.monotonic() < ends:
                left = max(2.0, ends - time.monotonic())
                relay.publish_due(max_seconds=left, senders=senders)
        stats = stand_in.stats()
        limited.append(100 * stats["limited"] / stats["requests"])
        return stats["accepted"] / (RATE / 60 * (stats["last"] - stats["first"]))

    samples = rounds({"share": accepted}, number)["share"]
    report.add("10", f"accepted / allowed at 3,000 per minute ({database})", median(samples), ">= 0.97")
    report.add("10", f"requests that got a 429, in % ({database})", median(limited[1:]), "<= 1")


@contextmanager
def loops(count: int, destination: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run ``count`` ``eventbridge_publish --loop``, with ROUND_TRIP to the database if it is a server."""
    environment = {**os.environ, "BENCH_DESTINATION": destination}
    with ExitStack() as ends:
        kind = os.environ.get("EVENTBRIDGE_TEST_DATABASE", "sqlite")
        if kind != "sqlite":
            name = f"TEST_{kind.upper()}_URL"
            parts = urlsplit(os.environ[name])
            link = Child("-m", "benchmarks.slow_link", str(parts.port), str(ROUND_TRIP))
            ends.callback(link.end)
            environment[name] = f"{parts.scheme}://{parts.netloc.rpartition('@')[0]}@127.0.0.1:{link.line()}"
        command = [sys.executable, "-m", "django", "eventbridge_publish", "--loop", "-v", "0"]
        processes = [
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(count)
        ]
        try:
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)


def many_workers(stand_in: Platform, report: Report, database: str, options: argparse.Namespace) -> None:
    """Accepted / allowed for 16 processes over a minute, once all are running."""
    seconds = 15 if options.quick else options.seconds
    fill(int(SHARED_RATE / 60 * (seconds + 90)) * 2)
    stand_in.reset()
    with loops(WORKERS, stand_in.destination(RATE_PER_MINUTE=SHARED_RATE, CONFIRM=False)):
        _until_all_run()
        before, began = stand_in.stats()["accepted"], time.monotonic()
        time.sleep(seconds)
        accepted = stand_in.stats()["accepted"] - before
        share = accepted / (SHARED_RATE / 60 * (time.monotonic() - began))
    report.add(
        "10",
        f"accepted / allowed at 300 per minute, 16 processes, {ROUND_TRIP} ms to {database}",
        share,
        "0.97 to 1.02",
        accepted=accepted,
        seconds=seconds,
    )


def _until_all_run() -> None:
    """Wait until each process is connected, and a few seconds more, so that none is still loading modules."""
    from django.db import connection

    count = {
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()",
    }.get(connection.vendor)
    ends = time.monotonic() + 90
    while count and time.monotonic() < ends:
        with connection.cursor() as cursor:
            cursor.execute(count)
            if cursor.fetchone()[0] > WORKERS:
                break
        time.sleep(1)
    time.sleep(10)


def loop(stand_in: Platform, report: Report, database: str, options: argparse.Namespace) -> None:
    """One ``--loop`` with a backlog: the share of the rate it uses, its share of checks, what it prunes."""
    from genesys_eventbridge.db.clock import DatabaseNow
    from genesys_eventbridge.models import Destination, OutboxEvent

    seconds = 20 if options.quick else 90
    fill(int(SHARED_RATE / 60 * seconds * 2) + OLD)
    old = OutboxEvent.objects.order_by("id").values_list("id", flat=True)[:OLD]
    past = "2001-01-01T00:00Z"
    OutboxEvent.objects.filter(id__in=list(old)).update(
        state="delivered", due_at=None, created_at=past, finished_at=past
    )
    if hasattr(Destination, "pruned_at"):  # older versions do not have it
        Destination.objects.update(pruned_at=None)
    # Create a backlog of checks, too.
    check = list(OutboxEvent.objects.filter(state="pending").order_by("id").values_list("id", flat=True))
    for pk in check[: int(SHARED_RATE / 60 * seconds / 5)]:
        OutboxEvent.objects.filter(pk=pk).update(
            state="accepted", remote_id=f"old-{pk}", accepted_at=DatabaseNow()
        )
    stand_in.reset()
    with loops(1, stand_in.destination(RATE_PER_MINUTE=SHARED_RATE)):
        while not stand_in.stats()["requests"]:
            time.sleep(0.05)
        began = time.monotonic()
        time.sleep(seconds)
        stats = stand_in.stats()
        allowed = SHARED_RATE / 60 * (time.monotonic() - began)
    left = OutboxEvent.objects.filter(created_at=past).count()
    report.add(
        "10",
        f"requests / allowed of one --loop with a backlog of both kinds ({database})",
        stats["requests"] / allowed,
        ">= 0.97",
        per_minute=stats["requests"] / allowed * SHARED_RATE,
    )
    report.add("10", f"its share of checks ({database})", stats["checks"] / stats["requests"], ">= 0.19")
    report.add("10", f"old events it pruned meanwhile, of {OLD:,} ({database})", OLD - left, f"{OLD}")


PARTS = {"fast": one_worker, "workers": many_workers, "loop": loop}


def main() -> None:
    options = arguments(__doc__, seconds=60)
    logging.disable(logging.ERROR)  # each 429 is logged
    report = Report()
    with platform() as stand_in:
        os.environ["BENCH_DESTINATION"] = stand_in.destination(RATE_PER_MINUTE=RATE)
        with fresh_database() as database:
            for name, part in PARTS.items():
                if name in os.environ.get("LIMITING_PARTS", "fast workers loop").split():
                    part(stand_in, report, database, options)
    report.table()


if __name__ == "__main__":
    main()

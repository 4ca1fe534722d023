"""An old snapshot of a report or a backup must not slow delivery: with one open / without, in one run.

Measures pages touched (PostgreSQL) or seconds (MariaDB) per delivered event, over the last fifth of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean
from typing import Any

from benchmarks.measuring import Report, arguments, fresh_database, platform

ROUND = 5000


@contextmanager
def snapshot(connection: Any) -> Iterator[None]:
    """Open a transaction on another connection that has read once, until the end of the block."""
    other = connection.copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        else:
            other.rollback()
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        cursor.execute("SELECT COUNT(*) FROM genesys_eventbridge_outboxevent")
        try:
            yield
        finally:
            other.close()


def cost(connection: Any) -> float:
    """Pages of this database touched so far, or the current time."""
    if connection.vendor != "postgresql":
        return time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT SUM(blks_hit + blks_read) FROM pg_stat_database WHERE datname = current_database()"
        )
        return float(cursor.fetchone()[0])


def series(events: int) -> float:
    """Publish ``events`` in rounds of ROUND; returns the cost per event in the last fifth."""
    from django.db import connection

    from genesys_eventbridge import conf, relay
    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.outbox import enqueue_many
    from genesys_eventbridge.relay.senders import Senders

    costs = []
    for _round in range(events // ROUND):
        for _thousand in range(ROUND // 1000):
            data = {"number": "ORD-1", "amount": "12.50", "currency": "EUR"}
            enqueue_many([{"type": "order.created", "data": data} for _ in range(1000)], standalone=True)
        before, moved = cost(connection), 0
        with Senders(conf.destination(), 16) as senders:
            while OutboxEvent.objects.due().exists():
                moved += relay.publish_due(max_seconds=45, senders=senders).moved
        costs.append((cost(connection) - before) / moved)
    return mean(costs[-max(1, len(costs) // 5) :])


def main() -> None:
    options = arguments(__doc__, events=100_000)
    events = ROUND * 2 if options.quick else options.events
    with platform() as stand_in:
        os.environ["BENCH_DESTINATION"] = stand_in.destination(CONFIRM=False)
        measure(events)


def measure(events: int) -> None:
    with fresh_database() as database:
        from django.db import connection

        from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent

        report = Report()
        found = {}
        for name in ("without", "with"):
            DeliveryAttempt.objects.all()._raw_delete("default")
            OutboxEvent.objects.all()._raw_delete("default")
            if name == "with":
                with snapshot(connection):
                    found[name] = series(events)
            else:
                found[name] = series(events)
        unit = "pages" if connection.vendor == "postgresql" else "seconds"
        report.add(
            "old snapshot",
            f"{unit} per event after {events:,} events, with an old snapshot / without ({database})",
            found["with"] / found["without"],
            "<= 1.5",
            **found,
        )
        report.table()


if __name__ == "__main__":
    main()

"""The rows of a dead worker: how long they take, and how long new events wait meanwhile."""

from __future__ import annotations

import os
import time
from statistics import median
from uuid import uuid4

from benchmarks.limiting import loops
from benchmarks.measuring import Platform, Report, arguments, fresh_database, platform

ROWS = 100
LATENCY = 0.5  # the platform's latency in seconds
CONCURRENCY = 16


def measure(stand_in: Platform, report: Report, database: str, *, lapses: int) -> None:
    """One loop starts when the leases of ROWS have expired; a new event follows every quarter of a second."""
    from genesys_eventbridge.db.clock import DatabaseNow
    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.outbox import enqueue, enqueue_many

    stand_in.reset(latency=LATENCY)
    OutboxEvent.objects.all().delete()
    lapsed = enqueue_many(
        [{"type": "order.created", "data": number} for number in range(ROWS)], standalone=True
    )
    known = {row.event_id for row in lapsed}
    fresh: dict[str, float] = {}
    # Warm the loop up before it has anything to do.
    with loops(1, stand_in.destination(CONFIRM=False, CONCURRENCY=CONCURRENCY)):
        OutboxEvent.objects.update(due_at=DatabaseNow(600))
        enqueue("order.created", None, standalone=True)
        while not OutboxEvent.objects.filter(state="delivered").exists():
            time.sleep(0.05)
        began = time.monotonic()
        OutboxEvent.objects.filter(state="pending").update(
            claim_token=uuid4(),
            due_at=DatabaseNow(-1),
            attempts=1,
            lapses=lapses,
            in_doubt_since=DatabaseNow(-61),
        )
        while OutboxEvent.objects.filter(event_id__in=known, state="pending").exists():
            event = enqueue("order.created", None, standalone=True)
            fresh[event.event_id] = time.monotonic()
            time.sleep(0.25)
        time.sleep(2)  # for the last new events
    arrivals = stand_in.arrivals()
    waits = [arrivals[event] - at for event, at in fresh.items() if event in arrivals]
    ended = max(arrivals[event] for event in known) - began
    name = "once" if lapses == 0 else "twice"
    bound = 3 * ROWS / CONCURRENCY * LATENCY
    report.add(
        "lapsed",
        f"seconds until {ROWS} rows whose claim lapsed {name} have arrived ({database})",
        ended,
        f"<= {bound:.1f}" if lapses == 0 else "",
    )
    report.add(
        "lapsed",
        f"longest wait of a new event meanwhile, in seconds ({database})",
        max(waits),
        "<= 2",
        median=median(waits),
        events=len(waits),
    )


def main() -> None:
    arguments(__doc__)
    report = Report()
    with platform() as stand_in:
        os.environ["BENCH_DESTINATION"] = stand_in.destination(CONFIRM=False)
        with fresh_database() as database:
            for lapses in (0, 1):
                measure(stand_in, report, database, lapses=lapses)
    report.table()


if __name__ == "__main__":
    main()

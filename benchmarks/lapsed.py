"""The rows of a dead worker: how long they take, and how long fresh events wait beside them."""

from __future__ import annotations

import os
import time
from statistics import median
from uuid import uuid4

from benchmarks.limiting import loops
from benchmarks.measuring import Platform, Report, arguments, fresh_database, platform

ROWS = 100
LATENCY = 0.5  # seconds of the platform
CONCURRENCY = 16


def measure(stand_in: Platform, report: Report, database: str, *, lapses: int) -> None:
    """One loop begins when the leases of ROWS have run out; a fresh event comes every quarter of a second."""
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
    # One loop that is warm, before there is anything to do for it.
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
        time.sleep(2)  # the last fresh ones
    arrivals = stand_in.arrivals()
    waits = [arrivals[event] - at for event, at in fresh.items() if event in arrivals]
    ended = max(arrivals[event] for event in known) - began
    name = "once" if lapses == 0 else "twice"
    bound = 3 * ROWS / CONCURRENCY * LATENCY
    report.add(
        "lapsed",
        f"seconds until {ROWS} rows that lapsed {name} have arrived ({database})",
        ended,
        f"<= {bound:.1f}" if lapses == 0 else "",
    )
    report.add(
        "lapsed",
        f"longest wait of a fresh event beside them, in seconds ({database})",
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

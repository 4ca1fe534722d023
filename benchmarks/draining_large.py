"""A drain of a large backlog on PostgreSQL with autovacuum: events/s, its end / its beginning.

The first 50,000 events and the last, and the two halves: over 50,000, events/s vary by a tenth with
checkpoints and autovacuum.

Two workers with the defaults publish ``--events`` due events to a platform that answers at once. With
``--snapshot`` a REPEATABLE READ transaction stays open from before the first event until the end, as that of
a report or a backup. The other lines compare what a busy machine disturbs less: the CPU time of workers and
server, which must run on this machine, and the pages of the database that were touched.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Child, Platform, Report, arguments, fresh_database, platform
from benchmarks.old_snapshot import cost, snapshot

#: Events at the beginning and at the end that are compared.
EDGE = 50_000
#: Events between two lines about the progress.
STEP = 25_000
WORKERS = 2
OLD_SNAPSHOT = "with an old snapshot"
#: Seconds between two readings.
EVERY = 0.25
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was ``accepted``, used and touched until ``at``, a ``time.monotonic()``."""

    accepted: float
    at: float
    #: Seconds.
    cpu: float
    pages: float


def fill(count: int) -> None:
    """``count`` due events, one per millisecond, copied from one that was enqueued."""
    from django.db import connection

    from benchmarks.claiming import KEY
    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.outbox import enqueue

    data = {"number": "ORD-1", "amount": "12.50", "currency": "EUR"}
    first = enqueue("order.created", data, standalone=True)
    table = OutboxEvent._meta.db_table
    own = {
        "event_id": "'event-' || n",
        "idempotency_key": KEY["postgresql"].format(first=0),
        "due_at": f"due_at - ({count} - n) * INTERVAL '1 millisecond'",
    }
    columns = [str(field.column) for field in OutboxEvent._meta.concrete_fields if not field.primary_key]
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(own.get(name, f'"{name}"') for name in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, generate_series(2, {count}) AS n "
            f"WHERE id = {first.pk} ORDER BY n"
        )
        cursor.execute(f"VACUUM ANALYZE {table}")


def checked_autovacuum(connection: Any) -> None:
    """Raise SystemExit on another database than PostgreSQL, and if its autovacuum is off."""
    if connection.vendor != "postgresql":
        raise SystemExit("This benchmark needs PostgreSQL: set EVENTBRIDGE_TEST_DATABASE")
    with connection.cursor() as cursor:
        cursor.execute("SHOW autovacuum")
        if cursor.fetchone() != ("on",):
            raise SystemExit("This benchmark needs a server whose autovacuum is on")


def server(connection: Any) -> int:
    """The process id of the server that the connection is to; 0 if it is on another machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        fields = _fields(cursor.fetchone()[0])
    return int(fields[1]) if fields else 0


def cpu(process: int) -> float:
    """CPU seconds of a process, its children, and those of its children that have ended."""
    fields = _fields(process)
    if not fields:
        return 0.0
    own = sum(map(int, fields[11:15])) / TICKS
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(cpu(int(child)) for child in children)


def _fields(process: int) -> list[str]:
    """What follows the name in ``/proc/<process>/stat``; nothing if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def drain(stand_in: Platform, count: int, connection: Any) -> list[Reading]:
    """Start the workers and take readings until all events were accepted."""
    postmaster = server(connection)
    children = [
        Child(
            *("-m", "benchmarks.sides", "relay", stand_in.url, str(count), "16"),
            BENCH_DESTINATION=stand_in.destination(),
        )
        for _ in range(WORKERS)
    ]
    for child in children:
        child.line()
    measured = [*(child.process.pid for child in children), *([postmaster] if postmaster else [])]

    def reading() -> Reading:
        accepted = stand_in.stats()["accepted"]
        return Reading(accepted, time.monotonic(), sum(map(cpu, measured)), cost(connection))

    reported = reading()
    readings = [reported]
    for child in children:
        child.tell()
    while readings[-1].accepted < count:
        readings.append(reading())
        if readings[-1].accepted >= reported.accepted + STEP:
            print(_step(reported, readings[-1]), flush=True)
            reported = readings[-1]
        time.sleep(EVERY)
    for child in children:
        child.end()
    return readings


def _step(since: Reading, to: Reading) -> str:
    events = to.accepted - since.accepted
    rate, spent = events / (to.at - since.at), (to.cpu - since.cpu) / events * 1000
    pages = (to.pages - since.pages) / events
    return f"{to.accepted:,.0f} events: {rate:.0f} events/s, {spent:.2f} ms of CPU and {pages:.0f} pages each"


def passed(readings: Sequence[Reading], accepted: float) -> Reading:
    """The reading at which ``accepted`` events had been accepted, interpolated."""
    place = bisect_left(readings, accepted, key=lambda reading: reading.accepted)
    if place == 0:
        return readings[0]
    before, after = readings[place - 1], readings[place]
    share = (accepted - before.accepted) / (after.accepted - before.accepted)
    return Reading(
        accepted,
        before.at + share * (after.at - before.at),
        before.cpu + share * (after.cpu - before.cpu),
        before.pages + share * (after.pages - before.pages),
    )


def compare(report: Report, readings: Sequence[Reading], part: int, name: str) -> None:
    """The first ``part`` events and the last."""
    events = int(readings[-1].accepted)
    first = passed(readings, 1), passed(readings, part)
    last = passed(readings, events - part), passed(readings, events)
    rates = [part / (end.at - begin.at) for begin, end in (first, last)]
    about = f"first {part:,} of {events:,}"
    reach = ">= 0.8" if name == OLD_SNAPSHOT else ">= 0.9"
    measure = f"events/s, last / {about}, {name}"
    report.add("large drain", measure, rates[1] / rates[0], reach, first=rates[0], last=rates[1])
    for what, spent in (
        ("CPU ms", [(end.cpu - begin.cpu) / part * 1000 for begin, end in (first, last)]),
        ("pages touched", [(end.pages - begin.pages) / part for begin, end in (first, last)]),
    ):
        measure = f"{what} per event, {about} / last, {name}"
        report.add("large drain", measure, spent[0] / spent[1], reach, first=spent[0], last=spent[1])


def main() -> None:
    options = arguments(__doc__, flags=("snapshot",), events=1_000_000)
    events, edge = (2000, 500) if options.quick else (options.events, min(EDGE, options.events // 4))
    report = Report()
    with fresh_database(), platform() as stand_in, ExitStack() as stack:
        from django.db import connection

        checked_autovacuum(connection)
        fill(events)
        if options.snapshot:
            stack.enter_context(snapshot(connection))
        readings = drain(stand_in, events, connection)
        name = OLD_SNAPSHOT if options.snapshot else "without"
        for part in (edge, events // 2):
            compare(report, readings, part, name)
    report.table()


if __name__ == "__main__":
    main()

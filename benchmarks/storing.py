"""What an event costs PostgreSQL: WAL and statements of each phase, and what its indexes keep.

Each phase starts after a CHECKPOINT, as the first write to a page then logs the whole page; those images are
counted apart. ``--filled 1`` gives the events a subject and an ordering key. The WAL is the server's: use one
where nothing else writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring import Report, arguments, fresh_database, platform

TABLES = ("genesys_eventbridge_outboxevent", "genesys_eventbridge_deliveryattempt")
SEARCH = ("eventbridge_subject_folded", "eventbridge_subject_end")


@dataclass
class Phase:
    """Totals of one phase: bytes of WAL, of these whole pages, and statements."""

    wal: int = 0
    pages: int = 0
    statements: int = 0


def one(sql: str) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


@contextmanager
def phase() -> Iterator[Phase]:
    """Measure the WAL of the whole server within the block: use a server of its own."""
    from django.db import connection

    found = Phase()

    def count(execute: Callable[..., Any], *call: Any) -> Any:
        found.statements += 1
        return execute(*call)

    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    (start,) = one("SELECT pg_current_wal_insert_lsn()")
    with connection.execute_wrapper(count):
        yield found
    found.wal, found.pages = one(
        "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), "
        f"'{start}'), COALESCE(SUM(fpi_size), 0) "
        f"FROM pg_get_wal_stats('{start}', pg_current_wal_flush_lsn())"
    )


def enqueue(count: int, *, filled: bool) -> None:
    """One transaction per event, as in requests."""
    from genesys_eventbridge.outbox import enqueue_many

    data = {"number": "ORD-1", "amount": "12.50", "currency": "EUR"}
    for number in range(count):
        more = {"subject": f"ORD-{number}", "ordering_key": f"order-{number}"} if filled else {}
        enqueue_many([{"type": "order.created", "data": data, **more}], standalone=True)


def make_due() -> None:
    """The checks are due at once."""
    from genesys_eventbridge.db.clock import NOW
    from genesys_eventbridge.models import OutboxEvent

    OutboxEvent.objects.open().update(due_at=NOW)


def main() -> None:
    options = arguments(__doc__, events=5000, filled=0)
    events = 300 if options.quick else options.events
    os.environ["EVENTBRIDGE_TEST_DATABASE"] = "postgresql"
    with platform() as stand_in:
        os.environ["BENCH_DESTINATION"] = stand_in.destination()
        with fresh_database() as database:
            measure(events, database, filled=bool(options.filled))


def measure(events: int, database: str, *, filled: bool) -> None:
    from django.db import connection

    from genesys_eventbridge import conf, relay
    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.relay.senders import Senders
    from genesys_eventbridge.states import State

    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
    enqueue(100, filled=filled)  # sequences and catalogues are read
    phases = {}
    with phase() as phases["enqueue"]:
        enqueue(events, filled=filled)
    with Senders(conf.destination(), 16) as senders:
        with phase() as phases["publish"]:
            while OutboxEvent.objects.due().filter(state=State.PENDING).exists():
                relay.publish_due(max_seconds=45, senders=senders)
        make_due()
        with phase() as phases["confirm"]:
            while OutboxEvent.objects.due().exists():
                relay.check_accepted(max_seconds=45, senders=senders)
    assert not OutboxEvent.objects.exclude(state=State.DELIVERED).exists()
    report = Report()
    for name, found in phases.items():
        report.add(
            "storing",
            f"bytes of WAL per event, {name} ({database})",
            float(found.wal - found.pages) / events,
            whole_pages=float(found.pages) / events,
            statements=found.statements / events,
        )
    total = sum(float(found.wal - found.pages) for found in phases.values()) / events
    whole = sum(float(found.pages) for found in phases.values()) / events
    report.add("storing", "bytes of WAL per event, all", total, whole_pages=whole)
    sizes = indexes()
    every = sum(size for name, size in sizes.items() if name not in SEARCH)
    each: dict[str, Any] = {name: size / (events + 100) for name, size in sizes.items()}
    report.add(
        "storing",
        "bytes of indexes per delivered event, without the two of the search",
        every / (events + 100),
        **each,
    )
    heap: dict[str, Any] = {
        table: float(one(f"SELECT pg_table_size('{table}')")[0]) / (events + 100) for table in TABLES
    }
    report.add("storing", "bytes of tables per delivered event", sum(heap.values()), **heap)
    report.table()


def indexes() -> dict[str, float]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes "
            "WHERE relname = ANY(%s) ORDER BY 2 DESC",
            [list(TABLES)],
        )
        return {name: float(size) for name, size in cursor.fetchall()}


if __name__ == "__main__":
    main()

"""What events cost the code that saves: row 7, and what model events add to save() and bulk_create().

The sides alternate after a few saves each. "CPU" is the time of this process: all of SQLite's work, none
of a server's. ``--parts`` shows instead where the time goes, in CPU of this process and of the server's:
each line does a bit more of an event, from its bare INSERT, which our code cannot beat, to all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from statistics import median
from typing import Any

from benchmarks.measuring import Report, arguments, cpu_with_server, fresh_database, ratio, rounds, timed

FIELDS = ["number", "amount", "currency"]
numbers = count()


@contextmanager
def published(**declared: Any) -> Iterator[None]:
    """The shop's orders publish events within this block."""
    from genesys_eventbridge.model_events import publishes, receivers, registry
    from tests.shop.models import Order

    publishes(fields=FIELDS, subject="number", **declared)(Order)
    (registration,) = registry.registrations()
    try:
        yield
    finally:
        receivers.detach(registration)


def with_events(work: Callable[[], float], **declared: Any) -> Callable[[], float]:
    def run() -> float:
        with published(**declared):
            save()  # compiles the registration, as the first save of a process does
            return work()

    return run


def save(*, enqueueing: bool = False) -> None:
    from django.db import transaction

    from genesys_eventbridge.outbox import enqueue
    from tests.shop.models import Order

    with transaction.atomic():
        order = Order.objects.create(number=f"ORD-{next(numbers)}", amount="1.00")
        if enqueueing:
            enqueue("order.created", {"number": order.number, "amount": order.amount, "currency": "EUR"})


def statements() -> int:
    """Statements that one event adds to a save, including BEGIN and COMMIT."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def counted() -> int:
        with CaptureQueriesContext(connection) as captured:
            save()
        return len(captured)

    plain = counted()
    with published(created="order.created"):
        return counted() - plain


def touch() -> None:
    from django.db import transaction

    from tests.shop.models import Order

    order = Order.objects.latest("pk")
    order.note = str(next(numbers))
    with transaction.atomic():
        order.save()


def bulk(size: int, clock: Callable[[], float], *, events: bool) -> Callable[[], float]:
    from django.db import transaction

    from genesys_eventbridge.model_events import enqueue_for
    from tests.shop.models import Order

    def run() -> float:
        rows = [Order(number=f"ORD-{next(numbers)}", amount="1.00") for _ in range(size)]

        def work() -> None:
            with transaction.atomic():
                Order.objects.bulk_create(rows)
                if events:
                    enqueue_for(rows, "created")

        return timed(work, clock=clock)()

    return run


def build() -> Any:
    from genesys_eventbridge.outbox.rows import build_row

    data = {"number": f"ORD-{next(numbers)}", "amount": "1.00", "currency": "EUR"}
    return build_row("order.created", data, subject=data["number"])


def saving(clock: Callable[[], float], saves: int) -> dict[str, Callable[[], float]]:
    """The parts of an event that is saved alone."""
    from django.db import connection, transaction

    from genesys_eventbridge.outbox import rows
    from tests.shop.models import Order

    statement = rows._insert_sql(connection, delayed=False)
    statement += " RETURNING id" if connection.vendor == "postgresql" else ""

    def insert(values: list[Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)

    def with_order(work: Callable[[Any], None], given: Any) -> None:
        with transaction.atomic():
            Order.objects.create(number=f"ORD-{next(numbers)}", amount="1.00")
            work(given)

    def bare() -> float:
        ready = [rows._values(connection, build(), delayed=False) for _ in range(saves)]
        return timed(lambda: with_order(insert, ready.pop()), saves, clock)()

    return {
        "plain": timed(save, saves, clock),
        "its bare INSERT": bare,
        "built": timed(lambda: with_order(lambda _: rows.insert(build(), "default"), None), saves, clock),
        "enqueue()": timed(lambda: save(enqueueing=True), saves, clock),
        "model event": with_events(timed(save, saves, clock), created="order.created"),
    }


def saving_many(clock: Callable[[], float], size: int) -> dict[str, Callable[[], float]]:
    """The parts of many events."""
    from django.db import transaction

    from genesys_eventbridge.model_events import enqueue_for
    from genesys_eventbridge.outbox.rows import insert_many
    from tests.shop.models import Order

    def run(work: Callable[[list[Any], list[Any]], Any], *, built: bool = False) -> Callable[[], float]:
        def one() -> float:
            orders = [Order(number=f"ORD-{next(numbers)}", amount="1.00") for _ in range(size)]
            events = [build() for _ in range(size)] if built else []

            def create() -> None:
                with transaction.atomic():
                    Order.objects.bulk_create(orders)
                    work(orders, events)

            return timed(create, clock=clock)()

        return one

    return {
        "plain": run(lambda *_: None),
        "their INSERT": run(lambda _, events: insert_many(events, "default"), built=True),
        "built": run(lambda orders, _: insert_many([build() for _ in orders], "default")),
        "model events": run(lambda orders, _: enqueue_for(orders, "created")),
    }


def server_parts() -> dict[str, Callable[[], float]]:
    """PostgreSQL's own time for the INSERT, also prepared, and into copies of the table that lack a part."""
    import psycopg
    from django.db import connection, transaction

    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.outbox import rows

    server = cpu_with_server(only_server=True)
    table = OutboxEvent._meta.db_table
    statement = f"{rows._insert_sql(connection, delayed=False)} RETURNING id"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE no_checks (LIKE {table} INCLUDING ALL EXCLUDING CONSTRAINTS)")
        cursor.execute(f"CREATE TABLE no_indexes (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)")
        cursor.execute(f"CREATE TABLE bare (LIKE {table} INCLUDING DEFAULTS INCLUDING IDENTITY)")

    def run(into: str, *, prepare: bool = False) -> Callable[[], float]:
        def insert() -> float:
            ready = [rows._values(connection, build(), delayed=False) for _ in range(100)]
            kind = psycopg.Cursor if prepare else psycopg.ClientCursor  # Django's
            cursor = kind(connection.connection)
            with transaction.atomic():
                began = server()
                for values in ready:
                    cursor.execute(statement.replace(table, into), values, prepare=prepare)
                return (server() - began) / len(ready)

        return insert

    return {
        "plain": run(table),
        "prepared": run(table, prepare=True),
        "without its checks": run("no_checks"),
        "without its indexes": run("no_indexes"),
        "without both": run("bare"),
    }


def show_parts(report: Report, database: str, turns: int, saves: int, size: int) -> None:
    clock = cpu_with_server()
    with published(created="order.created"):
        batches = rounds(saving_many(clock, size), min(turns, 5))
    for samples, each, what in (
        (rounds(saving(clock, saves), turns), 1, "save() and"),
        (batches, size, f"bulk_create() of {size:,} and"),
    ):
        for part, taken in samples.items():
            measure = f"{what} {'no event' if part == 'plain' else part} ({database})"
            report.add("7", measure, ratio(samples, part, "plain"), CPU_us=median(taken) / each * 1e6)
    if database == "PostgreSQL":
        for part, taken in (samples := rounds(server_parts(), turns)).items():
            measure = f"its INSERT{'' if part == 'plain' else f', {part}'}, server alone"
            report.add("7", measure, ratio(samples, part, "plain"), CPU_us=median(taken) * 1e6)


def many() -> None:
    from genesys_eventbridge.outbox import enqueue_many

    data = {"number": "ORD-1", "amount": "12.50", "currency": "EUR"}
    enqueue_many([{"type": "order.created", "data": data} for _ in range(1000)], standalone=True)


def main() -> None:
    options = arguments(__doc__, flags=["parts"], rows=10_000)
    number, turns, saves, size = (1, 1, 20, 500) if options.quick else (5, 60, 25, options.rows)
    report = Report()
    with fresh_database() as database:
        if options.parts:
            show_parts(report, database, turns, saves, size)
            report.table()
            return

        def compare(
            measure: str, samples: dict[str, list[float]], side: str, reach: str, each: int = 1
        ) -> None:
            medians = {f"{name} (ms)": median(taken) / each * 1000 for name, taken in samples.items()}
            report.add("7", f"{measure} ({database})", ratio(samples, side, "plain"), reach, **medians)

        report.add("7", f"statements that an event adds to a save ({database})", statements(), "1")
        for unit, clock in {"": time.perf_counter, ", CPU": time.process_time}.items():
            sides = {
                "plain": timed(save, saves, clock),
                "enqueue": timed(lambda: save(enqueueing=True), saves, clock),
                "model event": with_events(timed(save, saves, clock), created="order.created"),
            }
            one = rounds(sides, turns)
            compare(f"save() and enqueue() / save(), in atomic(){unit}", one, "enqueue", "<= 1.6")
            compare(f"save() with a model event / save(), in atomic(){unit}", one, "model event", "<= 1.6")
        watched = {
            "plain": timed(touch, saves),
            "watched": with_events(timed(touch, saves), updated="order.updated", changed=["status"]),
        }
        compare("save() that changes no watched column / save()", rounds(watched, turns), "watched", "")
        for unit, clock in {"": time.perf_counter, ", CPU": time.process_time}.items():
            with published(created="order.created"):
                batches = {
                    "plain": bulk(size, clock, events=False),
                    "events": bulk(size, clock, events=True),
                }
                samples = rounds(batches, number)
            about = f"bulk_create() of {size:,} rows with their events / without{unit}"
            compare(about, samples, "events", "<= 5", each=size)
        taken = rounds({"many": timed(many)}, number)["many"]
        report.add("7", f"enqueue_many() of 1,000, ms per event ({database})", median(taken), "<= 0.2")
    report.table()


if __name__ == "__main__":
    main()

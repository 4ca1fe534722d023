"""What events cost the code that saves: row 7, and what model events add to save() and bulk_create()."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from statistics import median
from typing import Any

from benchmarks.measuring import Report, arguments, fresh_database, ratio, rounds, timed

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


def bulk(size: int, *, events: bool) -> Callable[[], float]:
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

        return timed(work)()

    return run


def many() -> None:
    from genesys_eventbridge.outbox import enqueue_many

    data = {"number": "ORD-1", "amount": "12.50", "currency": "EUR"}
    enqueue_many([{"type": "order.created", "data": data} for _ in range(1000)], standalone=True)


def main() -> None:
    options = arguments(__doc__)
    number, saves, size = (1, 20, 500) if options.quick else (5, 300, 10_000)
    report = Report()
    with fresh_database() as database:

        def compare(
            measure: str, samples: dict[str, list[float]], side: str, reach: str, each: int = 1
        ) -> None:
            medians = {f"{name} (ms)": median(taken) / each * 1000 for name, taken in samples.items()}
            report.add("7", f"{measure} ({database})", ratio(samples, side, "plain"), reach, **medians)

        report.add("7", f"statements that an event adds to a save ({database})", statements(), "1")
        samples = rounds(
            {
                "plain": timed(save, saves),
                "enqueue": timed(lambda: save(enqueueing=True), saves),
                "model event": with_events(timed(save, saves), created="order.created"),
                "watched": with_events(timed(touch, saves), updated="order.updated", changed=["status"]),
                "touch": timed(touch, saves),
            },
            number,
        )
        one = {name: samples[name] for name in ("plain", "enqueue", "model event")}
        compare("save() and enqueue() / save(), in atomic()", one, "enqueue", "<= 2.0")
        compare("save() with a model event / save(), in atomic()", one, "model event", "<= 2.0")
        watched = {"plain": samples["touch"], "watched": samples["watched"]}
        compare("save() that changes no watched column / save()", watched, "watched", "")
        with published(created="order.created"):
            samples = rounds({"plain": bulk(size, events=False), "events": bulk(size, events=True)}, number)
        compare(
            f"bulk_create() of {size:,} rows with their events / without", samples, "events", "", each=size
        )
        taken = rounds({"many": timed(many)}, number)["many"]
        report.add("7", f"enqueue_many() of 1,000, ms per event ({database})", median(taken), "<= 0.2")
    report.table()


if __name__ == "__main__":
    main()

"""What events cost the code that saves: save, bulk_create, and a save that changes nothing watched.

EVENTBRIDGE_TEST_DATABASE=postgresql TEST_POSTGRESQL_URL=... python -m benchmarks.model_events
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from benchmarks.measuring import fresh_database, in_turn, milliseconds, ratio, report

SAVES = 300
BULK = 10_000
FIELDS = ["number", "amount", "currency"]
numbers = count()


@contextmanager
def published(**declared: Any) -> Iterator[None]:
    """The shop's orders publish events within this block."""
    from genesys_eventbridge import model_receivers, model_registry
    from genesys_eventbridge.model_events import publishes
    from tests.shop.models import Order

    publishes(fields=FIELDS, subject="number", **declared)(Order)
    (registration,) = model_registry.registrations()
    try:
        yield
    finally:
        model_receivers.detach(registration)


def with_events(work: Callable[[], Any], **declared: Any) -> Callable[[], None]:
    def run() -> None:
        with published(**declared):
            work()

    return run


def saves() -> None:
    from django.db import transaction

    from tests.shop.models import Order

    for _ in range(SAVES):
        with transaction.atomic():
            Order.objects.create(number=f"ORD-{next(numbers)}", amount="1.00")


def statements() -> int:
    """What one event adds to a save, BEGIN and COMMIT included."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from tests.shop.models import Order

    def counted() -> int:
        with CaptureQueriesContext(connection) as captured, transaction.atomic():
            Order.objects.create(number=f"ORD-{next(numbers)}", amount="1.00")
        return len(captured)

    plain = counted()
    with published(created="order.created"):
        return counted() - plain


def touches() -> None:
    from django.db import transaction

    from tests.shop.models import Order

    order = Order.objects.latest("pk")
    for number in range(SAVES):
        order.note = str(number)
        with transaction.atomic():
            order.save()


def bulk(*, events: bool) -> None:
    from django.db import transaction

    from genesys_eventbridge.model_events import enqueue_for
    from tests.shop.models import Order

    rows = [Order(number=f"ORD-{next(numbers)}", amount="1.00") for _ in range(BULK)]
    with transaction.atomic():
        Order.objects.bulk_create(rows)
        if events:
            enqueue_for(rows, "created")


def thousand() -> None:
    from genesys_eventbridge.outbox import enqueue_many

    events = [{"type": "order.created", "data": {"number": number}} for number in range(1000)]
    enqueue_many(events, standalone=True)


def main() -> None:
    with fresh_database() as database:
        report(measure="statements that an event adds to a save", database=database, figure=statements())

        taken = in_turn({"plain": saves, "event": with_events(saves, created="order.created")})
        report(
            measure="save with one event / save, both in atomic()",
            database=database,
            ratio=ratio(taken, "event", "plain"),
            plain_ms=milliseconds(taken["plain"], SAVES),
            event_ms=milliseconds(taken["event"], SAVES),
        )

        watched = with_events(touches, updated="order.updated", changed=["status", "amount"])
        taken = in_turn({"plain": touches, "watched": watched})
        report(
            measure="save that changes no watched field / save, both in atomic()",
            database=database,
            ratio=ratio(taken, "watched", "plain"),
        )

        with_event = with_events(lambda: bulk(events=True), created="order.created")
        taken = in_turn({"plain": lambda: bulk(events=False), "events": with_event}, rounds=3)
        report(
            measure=f"bulk_create of {BULK} rows with their events / without",
            database=database,
            ratio=ratio(taken, "events", "plain"),
            plain_ms_a_row=milliseconds(taken["plain"], BULK),
            events_ms_a_row=milliseconds(taken["events"], BULK),
        )

        taken = in_turn({"many": thousand})
        report(
            measure="enqueue_many of 1,000", database=database, ms_an_event=milliseconds(taken["many"], 1000)
        )


if __name__ == "__main__":
    main()

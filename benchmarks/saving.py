"""What each form of a model event costs: additional statements, and time compared with the change alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

from benchmarks.measuring import Report, arguments, fresh_database, ratio, rounds, timed

numbers = count()


@dataclass(frozen=True)
class Form:
    """A kind of change: the registration, the preparation (not measured) and the change."""

    name: str
    registered: dict[str, Any]
    prepare: Callable[[], Any]
    change: Callable[[Any], None]
    fields: list[str] = field(default_factory=lambda: ["name", "price", "kind"])


def forms() -> list[Form]:
    from django.db.models import F

    from tests.shop.models import Customer, Product, Tag

    customer = Customer.objects.create(name="Ana", email="ana@example.com")
    tag = Tag.objects.create(name="light")

    def new() -> Any:
        return Product(name=f"Lamp {next(numbers)}", supplier=customer)

    def saved() -> Any:
        product = new()
        product.save()
        return Product.objects.get(pk=product.pk)

    def renamed(product: Any, **options: Any) -> None:
        product.name = f"Lamp {next(numbers)}"
        product.save(**options)

    def sold(product: Any) -> None:
        product.stock = F("stock") - 1
        product.save()

    related = ["name", "price", "supplier.email"]
    return [
        Form("create", {"created": "a"}, new, lambda product: product.save()),
        Form("create, a path over a foreign key", {"created": "a"}, new, lambda one: one.save(), related),
        Form("update of all columns", {"updated": "a"}, saved, renamed),
        Form("update with changed=, not changed", {"updated": "a", "changed": ["price"]}, saved, renamed),
        Form("update with changed=, changed", {"updated": "a", "changed": ["name"]}, saved, renamed),
        Form("update with an expression", {"updated": "a"}, saved, sold, ["name", "stock"]),
        Form(
            "save(update_fields=...)",
            {"updated": "a"},
            saved,
            lambda product: renamed(product, update_fields=["name"]),
        ),
        Form("many-to-many add", {"m2m": {"tags": "a"}}, saved, lambda product: product.tags.add(tag)),
        Form("delete", {"deleted": "a"}, saved, lambda product: product.delete()),
    ]


@contextmanager
def published(form: Form) -> Iterator[None]:
    from genesys_eventbridge.model_events import publishes, receivers, registry
    from tests.shop.models import Product

    publishes(fields=form.fields, subject="name", **form.registered)(Product)
    (registration,) = registry.registrations()
    try:
        yield
    finally:
        receivers.detach(registration)


def changes(form: Form, number: int, *, events: bool) -> Callable[[], float]:
    """Returns a function that measures seconds per change, without its preparation."""
    from django.db import transaction

    from genesys_eventbridge.model_events import suppress_events

    def run() -> float:
        with published(form) if events else nullcontext():
            with suppress_events():
                subjects = [form.prepare() for _ in range(number)]

            def work() -> None:
                for subject in subjects:
                    with transaction.atomic():
                        form.change(subject)

            return timed(work)() / number

    return run


def verbs(form: Form) -> str:
    """The statements that the event adds."""
    from collections import Counter

    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    def counted() -> Counter[str]:
        subject = form.prepare()
        with transaction.atomic(), CaptureQueriesContext(connection) as captured:
            form.change(subject)
        return Counter(query["sql"].split()[0] for query in captured)

    plain = counted()
    with published(form):
        added = counted() - plain
    return " + ".join(f"{number} {verb}" for verb, number in sorted(added.items())) or "nothing"


def main() -> None:
    options = arguments(__doc__)
    number, saves = (1, 20) if options.quick else (5, 200)
    report = Report()
    with fresh_database() as database:
        for form in forms():
            samples = rounds(
                {
                    "plain": changes(form, saves, events=False),
                    "with event": changes(form, saves, events=True),
                },
                number,
            )
            medians = {f"{name} (ms)": median(taken) * 1000 for name, taken in samples.items()}
            report.add(
                "7",
                f"{form.name}: + {verbs(form)} ({database})",
                ratio(samples, "with event", "plain"),
                "",
                **medians,
            )
    report.table()


if __name__ == "__main__":
    main()

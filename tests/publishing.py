"""Reads the events that registered models wrote."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from genesys_eventbridge.models import OutboxEvent

Publish = Callable[..., Any]
"""The fixture of registrations.py."""
Declare = Callable[..., None]
"""The fixture of declaring.py."""


def events() -> list[OutboxEvent]:
    return list(OutboxEvent.objects.order_by("id"))


def types() -> list[str]:
    return [event.type for event in events()]


def data() -> list[Any]:
    return [event.data for event in events()]


class Boom(Exception):
    """An error in business code."""


@contextmanager
def rolled_back(**options: Any) -> Iterator[None]:
    """A transaction or savepoint that is rolled back by an error in business code."""
    try:
        with transaction.atomic(**options):
            yield
            raise Boom
    except Boom:
        return

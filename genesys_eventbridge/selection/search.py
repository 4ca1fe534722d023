"""Search by what people have at hand: an id, a key, a subject, or an event's number."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

from genesys_eventbridge import conf
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox.rows import wire_uuid

Rows = TypeVar("Rows", bound=QuerySet[Any])

BIGINT_DIGITS = 19


def found(queryset: Rows, text: str) -> Rows:
    """Events with exactly this id, idempotency key, remote id or subject; "#12" finds event number 12.

    Payloads are not searched. The keys are looked up first, each by its own index: if they were joined by
    OR with the subject, some databases would read the whole table.
    """
    text = text.strip()
    rows = OutboxEvent.objects.on_outbox().order_by().values_list("pk", flat=True)
    ids = set(
        rows.filter(event_id=text).union(
            rows.filter(idempotency_key__in=_keys(text)), rows.filter(remote_id=text), all=True
        )
    )
    number = text.removeprefix("#")
    if text != number and number.isascii() and number.isdigit() and len(number) < BIGINT_DIGITS:
        ids.add(int(number))
    subject = Q(subject=text)
    return queryset.filter(Q(pk__in=ids) | subject if ids else subject)


def _keys(text: str) -> list[uuid.UUID]:
    """The idempotency keys the text may mean: itself, or the key derived from a caller's own text."""
    try:
        keys = [uuid.UUID(text)]
    except ValueError:
        keys = []
    return [*keys, *(wire_uuid(text, alias) for alias in conf.aliases())]

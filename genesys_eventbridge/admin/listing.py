"""Keeps the event list fast at any table size: capped count, search by index, facts for one page of rows."""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from genesys_eventbridge import conf
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox.rows import wire_uuid
from genesys_eventbridge.reporting.facts import healths

#: Maximum number of rows that are counted and can be paged through.
COUNTED = 10_000
BIGINT_DIGITS = 19


class CappedPaginator(Paginator):
    """Counts up to 10,000 rows, however many there are."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, COUNTED)

    @property
    def capped(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > COUNTED

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: COUNTED + 1].count())


class EventChangeList(ChangeList):
    """Adds what the columns need besides the row itself, in two queries per page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        events = list(self.result_list)
        blocked = _blocked(events)
        known = healths() if events else {}
        for event in events:
            event.blocked = event.pk in blocked
            event.health = known.get(event.destination)


def found(queryset: QuerySet, text: str) -> QuerySet:
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


def _blocked(events: list[Any]) -> set[int]:
    """Ids of this page's events that wait for an earlier event of their ordering key."""
    keyed = [event.pk for event in events if event.ordering_key]
    if not keyed:
        return set()
    return set(OutboxEvent.objects.on_outbox().filter(pk__in=keyed).blocked().values_list("pk", flat=True))

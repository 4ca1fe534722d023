"""The event list at any table size: a count that stops, a search by index, facts for one page of rows."""

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

#: Rows that are counted, and can be paged through, at most.
COUNTED = 10_000
BIGINT_DIGITS = 19


class CappedPaginator(Paginator):
    """Counts up to 10,000 rows, however many there are."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, COUNTED)

    @property
    def capped(self) -> bool:
        """There are more rows than were counted."""
        return self._counted > COUNTED

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: COUNTED + 1].count())


class EventChangeList(ChangeList):
    """Brings what the columns tell beside the row itself, in two queries a page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        events = list(self.result_list)
        blocked = _blocked(events)
        known = healths() if events else {}
        for event in events:
            event.blocked = event.pk in blocked
            event.health = known.get(event.destination)


def found(queryset: QuerySet, text: str) -> QuerySet:
    """The events with exactly this id, idempotency key, remote id or subject; "#12" is a row's number.

    Never inside payloads. The keys are looked up first, each by its own index: joined by OR with the
    subject some databases would read the whole table.
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
    """What the text may be as an idempotency key: itself, or what a caller's own text became."""
    try:
        keys = [uuid.UUID(text)]
    except ValueError:
        keys = []
    return [*keys, *(wire_uuid(text, alias) for alias in conf.aliases())]


def _blocked(events: list[Any]) -> set[int]:
    """Those of one page that an earlier event of their key holds back."""
    keyed = [event.pk for event in events if event.ordering_key]
    if not keyed:
        return set()
    return set(OutboxEvent.objects.on_outbox().filter(pk__in=keyed).blocked().values_list("pk", flat=True))

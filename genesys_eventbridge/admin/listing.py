"""Keeps the event list fast at any table size: capped count, facts for one page of rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.reporting.facts import healths

#: Maximum number of rows that are counted and can be paged through.
COUNTED = 10_000


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


def _blocked(events: list[Any]) -> set[int]:
    """Ids of this page's events that wait for an earlier event of their ordering key."""
    keyed = [event.pk for event in events if event.ordering_key]
    if not keyed:
        return set()
    return set(OutboxEvent.objects.on_outbox().filter(pk__in=keyed).blocked().values_list("pk", flat=True))

"""Keeps the event list fast at any table size: capped count, facts for one page of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import Max, QuerySet
from django.http import HttpRequest

from genesys_eventbridge.admin.filters import InvalidFilter, event_filter
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.reporting.explain import next_step
from genesys_eventbridge.reporting.facts import facts_of, healths
from genesys_eventbridge.selection import EventFilter, access, search, types
from genesys_eventbridge.text import clean

#: Maximum number of rows that are counted and can be paged through.
COUNTED = 10_000
#: Ids per page of all that match.
PAGE = 1_000
#: Types offered as a filter.
MOST_TYPES = 200


class CappedPaginator(Paginator):
    """Counts up to 10,000 rows, however many there are. A page beyond the last is the last one.

    Django would lead to the list without its filters: after an act on the events of the last page, to all.
    """

    def validate_number(self, number: Any) -> int:
        return max(1, min(int(number), self.num_pages))

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


class EventPaginator(CappedPaginator):
    """Reads the ids of all pages in one query, so that a filter without an index is not evaluated twice."""

    @cached_property
    def ids(self) -> list[int]:
        """Of the counted rows, and of one more if there are more."""
        rows: Any = self.object_list
        return list(rows.values_list("pk", flat=True)[: COUNTED + 1])

    @cached_property
    def _counted(self) -> int:
        return len(self.ids)


class CappedChangeList(ChangeList):
    """Stays within its pages.

    Beside the search Django says "10000 results (Show all)": not if that is all, or if there are more.
    """

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.page_num = self.paginator.validate_number(self.page_num)
        narrowed = self.query or self.get_filters_params()
        if self.paginator.capped or not narrowed:
            self.full_result_count = self.result_count


class EventChangeList(CappedChangeList):
    """Reads filters and search as one EventFilter; adds what the columns need, in three queries per page."""

    #: Why the filters mean nothing; the list is empty then.
    problems: Sequence[str] = ()
    chosen = EventFilter()

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[OutboxEvent]:
        rows = super().get_queryset(request, exclude_parameters)
        self.unfiltered = rows.order_by()
        newest_first = str(rows.query.order_by[0]).startswith("-")
        try:
            self.chosen = event_filter(request.GET, self.query)
        except InvalidFilter as error:
            self.problems = error.messages
            return rows.none()
        return access.listed(rows, self.chosen, newest_first=newest_first)

    def pages(self) -> Iterator[list[int]]:
        """The ids of all listed events there are now, oldest first, in linear time."""
        newest = OutboxEvent.objects.on_outbox().aggregate(newest=Max("id"))["newest"]
        return access.pages(self.chosen, PAGE, rows=self.unfiltered, newest_first=False, up_to=newest or 0)

    @cached_property
    def healths(self) -> dict[str, Destination]:
        return healths()

    @cached_property
    def types(self) -> list[str]:
        """Types to offer; others can be typed. A search takes a query already, so it offers its own."""
        known = {event.type for event in self.result_list} if self.query else types.seen(MOST_TYPES)
        return sorted(name for name in known if clean(name, 255) == name)

    @cached_property
    def words(self) -> str:
        """Which events are listed, if not all."""
        return "" if self.chosen.is_empty else self.chosen.words()

    @property
    def without_filters(self) -> str:
        return self.get_query_string({SEARCH_VAR: self.query}, remove=[*self.params])

    @cached_property
    def searched(self) -> str:
        """Among which events the text was searched, if not among all."""
        among = replace(self.chosen, text="")
        return "" if among.is_empty else among.words()

    @cached_property
    def nearest(self) -> list[tuple[str, str]]:
        """Stored subjects that are like the text of a search that found nothing, each with its address."""
        return [
            (clean(subject, 255), self.get_query_string({SEARCH_VAR: subject}))
            for subject in search.nearest(self.query)
        ]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        ids = self.paginator.ids[:COUNTED]
        if self.multi_page and not (self.show_all and self.can_show_all):
            first = (self.page_num - 1) * self.list_per_page
            ids = ids[first : first + self.list_per_page]
        rows = {event.pk: event for event in self.root_queryset.order_by().filter(pk__in=ids)}
        # Those that were pruned since are left out.
        events: list[Any] = [rows[pk] for pk in ids if pk in rows]
        self.result_list = events
        facts = facts_of(events, events[0].now, self.healths) if events else {}
        for event in events:
            event.step = next_step(event, facts[event.pk])

"""The event admin: a list that stays fast, a page that explains, actions that ask for confirmation."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext

from genesys_eventbridge import conf, formatting
from genesys_eventbridge.admin import event_detail, filters
from genesys_eventbridge.admin.catalogue import Catalogue
from genesys_eventbridge.admin.columns import EventColumns
from genesys_eventbridge.admin.confirmation import actions
from genesys_eventbridge.admin.dashboard import Dashboard
from genesys_eventbridge.admin.dashboard.failures import FailurePage
from genesys_eventbridge.admin.erasure import ErasurePage
from genesys_eventbridge.admin.listing import EventChangeList, EventPaginator
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.selection import search
from genesys_eventbridge.text import clean

LIST_FILTERS = (
    filters.AttentionFilter,
    filters.ProgressFilter,
    filters.StateFilter,
    filters.ReasonFilter,
    filters.DestinationFilter,
    filters.HeldFilter,
    filters.JobFilter,
    filters.FailureFilter,
    filters.CreatedFilter,
    filters.ValuesFilter,
)


class OutboxEventAdmin(EventColumns, Dashboard, Catalogue, FailurePage, ErasurePage):
    """Find events by id, key or subject, read their timeline, and act on them with a reason."""

    list_display = (
        "state_now",
        "event_type",
        "about",
        "to",
        "created",
        "tries",
        "next_step",
        "last_result",
        "short_id",
    )
    list_display_links = ("event_type", "short_id")
    list_filter = LIST_FILTERS
    list_per_page = 50
    ordering = ("-id",)
    paginator = EventPaginator
    search_fields = ("subject", "event_id", "idempotency_key", "remote_id", "correlation_id")
    show_facets = admin.ShowFacets.NEVER
    actions = actions()
    event_template = "admin/genesys_eventbridge/outboxevent/event.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxEvent]:
        return OutboxEvent.objects.on_outbox().defer("body").annotate(now=DatabaseNow())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventChangeList]:
        return EventChangeList

    @property
    def search_help_text(self) -> str:  # type: ignore[override]  # Django reads it once per page
        """What the search finds, and its limit on this database."""
        if search.is_capped():
            return gettext(
                "A subject, event id, idempotency key, platform id or correlation id; #12 finds event number "
                "12. A part of a subject, in any case, is only looked for in the newest %(count)s events, "
                "because this database has no index for it."
            ) % {"count": formatting.number(search.NEWEST)}
        return gettext(
            "A subject, its beginning or its end, in any case; an event id, idempotency key, platform id or "
            "correlation id; #12 finds event number 12."
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        """EventChangeList searches, together with the filters."""
        return queryset, False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only our filters: otherwise any user of the list could query ?body__contains=."""
        return lookup in filters.PARAMETERS

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Show the destination column only if there is more than one destination."""
        names = list(self.list_display)
        return names if len(conf.aliases()) > 1 else [name for name in names if name != "to"]

    def row_page(self, request: HttpRequest, object_id: str, extra: dict[str, Any]) -> HttpResponse:
        rows = event_detail.with_neighbours(self.get_queryset(request).defer(None))
        event = self._row(rows, object_id)
        if event is None:
            messages.warning(request, gettext("This event does not exist; it may have been pruned."))
            return HttpResponseRedirect(self.url("changelist"))
        payload = self.has_payload_permission(request)
        context = {
            **event_detail.page(
                request, self.admin_site, event, payload=payload, url=partial(self.url, "change")
            ),
            "subtitle": None,
            "original": event,
            "verbs": [
                (verb, self.url("act", verb.name)) for verb in self.acts_for(request, event, event.now)
            ],
            "history_url": self.url("history", event.pk),
            **extra,
        }
        return self.page(request, self.event_template, clean(f"{event.type} {event.subject}", 300), **context)

    def _row(self, rows: QuerySet[OutboxEvent], object_id: str) -> Any:
        try:
            return rows.filter(pk=int(unquote(object_id))).first()
        except (ValueError, OverflowError):
            return None

"""The dashboard: health, metrics and charts. It only reads, and a bounded number of rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.utils import quote
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from genesys_eventbridge.admin import charts
from genesys_eventbridge.admin.dashboard import health
from genesys_eventbridge.admin.dashboard import numbers as dashboard_numbers
from genesys_eventbridge.admin.filters import parameters_of
from genesys_eventbridge.admin.listing import COUNTED
from genesys_eventbridge.admin.pages import PagesAdmin, may
from genesys_eventbridge.models import Destination
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting import figures as rollups_figures
from genesys_eventbridge.reporting import samples, status, workers
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.reporting.figures import Figures, Range
from genesys_eventbridge.reporting.status import DestinationStatus
from genesys_eventbridge.reporting.summary import Summary, summarize, worst
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.text import clean

#: Seconds between two looks at an open dashboard.
REFRESH_SECONDS = 30


class Dashboard(PagesAdmin):
    """The dashboard page of the event admin; requires only the permission to view events."""

    dashboard_template = "admin/genesys_eventbridge/dashboard.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dashboard_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_dashboard"
        return [path("dashboard/", view, name=name), *super().get_urls()]

    @method_decorator(require_safe)
    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            context = self._context(request)
        except ImproperlyConfigured as error:
            wrong = Summary("", "unknown", _("Stopped: invalid settings"), clean(error, 2000))
            context = {"verdict": wrong, "health": [health.system_checks()]}
        events_url = self.url("changelist")
        context["failures_url"] = self.url("failures")
        return self.page(
            request,
            self.dashboard_template,
            _("Dashboard"),
            refresh=REFRESH_SECONDS,
            events_url=events_url,
            **context,
        )

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        now = next_due.database_now()
        asked = request.GET.get("range", Range.DAY)
        if asked not in Range.values:
            raise Http404
        span = Range(asked)
        figures = rollups_figures.figures(now, span)
        everywhere = status.sampled(now, figures, COUNTED)
        chosen = request.GET.get("destination", "")
        here = [at for at in everywhere if at.alias == chosen] if chosen else everywhere
        if not here:
            raise Http404
        aliases = [at.alias for at in here]
        retries, more = samples.coming(aliases, now, COUNTED)
        numbers = rollups_figures.merged(figures.get(alias, Figures()) for alias in aliases)
        judged = [summarize(at, settings_of(at.alias)) for at in here]
        urls = dashboard_numbers.Urls(self._events_url, self._failures_url)
        return {
            "verdict": worst(judged),
            "judged": judged,
            "destination_url": self._destination_url(request, chosen),
            "chosen": chosen,
            "several": len(everywhere) > 1,
            "destinations": self._destinations(everywhere, figures, span) if len(everywhere) > 1 else [],
            "range": span,
            "ranges": [(self._here(chosen, each), each) for each in Range],
            "since": span.begins(now),
            "zone": timezone.get_current_timezone_name(),
            "numbers": dashboard_numbers.numbers(here, numbers, span, urls, chosen),
            "times": dashboard_numbers.times(rollups_figures.type_times(now, span, aliases), span, now, urls),
            "pictures": [
                charts.ended(rollups_figures.bars(now, span, aliases), span, now),
                charts.wave(retries, now, more=more),
                charts.errors(numbers.errors, span, now),
            ],
            "workers": workers.commands()[::-1],  # the loop first: it needs no schedules
            "health": health.rows(here),
            "now": now,
        }

    def _here(self, destination: str, span: Range) -> str:
        """The dashboard of one destination, or of all, in this range."""
        given = {"destination": destination, "range": "" if span is Range.DAY else span.value}
        return f"{self.url('dashboard')}?{urlencode({name: value for name, value in given.items() if value})}"

    def _events_url(self, chosen: EventFilter) -> str:
        return f"{self.url('changelist')}?{urlencode(parameters_of(chosen))}"

    def _failures_url(self, since: dt.datetime, destination: str) -> str:
        given = {"since": since.isoformat(), "destination": destination}
        return f"{self.url('failures')}?{urlencode({name: value for name, value in given.items() if value})}"

    def _destinations(
        self, statuses: Sequence[DestinationStatus], figures: dict[str, Figures], span: Range
    ) -> list[Any]:
        """One row per destination, with the URL of its own dashboard."""
        return [
            (
                self._here(at.alias, span),
                at,
                summarize(at, settings_of(at.alias)),
                dashboard_numbers.line(at, figures.get(at.alias, Figures())),
            )
            for at in statuses
        ]

    def _destination_url(self, request: HttpRequest, chosen: str) -> str:
        """The page of the chosen destination, or the list of all; "" if the user may not see it."""
        if not (self.admin_site.is_registered(Destination) and may(request, "view_destination")):
            return ""
        return self.url(*(("change", quote(chosen)) if chosen else ("changelist",)), model=Destination)

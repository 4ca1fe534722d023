"""The destination admin: current state, pause and resume with a reason, and a connection test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from genesys_eventbridge import conf
from genesys_eventbridge.admin.badges import when
from genesys_eventbridge.admin.forms import PauseForm, ResumeForm
from genesys_eventbridge.admin.listing import COUNTED
from genesys_eventbridge.admin.pages import PagesAdmin, actor_of, may
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.formatting import number, pause_kind, relative
from genesys_eventbridge.models import Destination, OutboxEvent, outbox_alias
from genesys_eventbridge.operations import pause, resume
from genesys_eventbridge.outbox.destinations import pauses_of
from genesys_eventbridge.reporting import status, workers
from genesys_eventbridge.reporting.destination import without_a_key
from genesys_eventbridge.reporting.facts import refused, settings_of
from genesys_eventbridge.reporting.summary import Summary, summarize
from genesys_eventbridge.states import AttemptKind
from genesys_eventbridge.text import clean, is_storable


class DestinationChangeList(ChangeList):
    """Adds how each destination is doing."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        summaries = _summaries(rows)
        for row in rows:
            row.summary = summaries[row.alias]


class DestinationAdmin(PagesAdmin):
    """A destination's row is created when a worker first reports, or when it is first paused."""

    list_display = ("name", "standing", "last_pass", "last_accepted", "rate")
    list_display_links = ("name",)
    ordering = ("alias",)
    sortable_by = ()
    actions = None
    page_template = "admin/genesys_eventbridge/destination/page.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        return Destination.objects.using(outbox_alias()).annotate(now=DatabaseNow())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DestinationChangeList]:
        return DestinationChangeList

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        pages = [
            path(
                "<path:object_id>/pause/", self.admin_site.admin_view(self.pause_view), name=f"{name}_pause"
            ),
            path(
                "<path:object_id>/resume/",
                self.admin_site.admin_view(self.resume_view),
                name=f"{name}_resume",
            ),
            path("<path:object_id>/test/", self._outside_transactions(self.test_view), name=f"{name}_test"),
        ]
        return [*pages, *super().get_urls()]

    def _outside_transactions(self, view: Callable[..., HttpResponse]) -> Callable[..., Any]:
        """Exempt a view from ATOMIC_REQUESTS: it must not wait for the platform within a transaction."""
        wrapped: Callable[..., Any] = self.admin_site.admin_view(view)
        for alias in connections:
            wrapped = transaction.non_atomic_requests(using=alias)(wrapped)
        return wrapped

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return may(request, "pause_destination")

    @admin.display(description=gettext_lazy("destination"))
    def name(self, row: Any) -> str:
        return str(row.alias)

    @admin.display(description=gettext_lazy("state"))
    def standing(self, row: Any) -> str:
        standing: Summary = row.summary
        return format_html(
            '<span class="eventbridge-state">{}</span> <span class="eventbridge-quiet">{}</span>',
            standing.title,
            standing.sentence,
        )

    @admin.display(description=gettext_lazy("last pass"))
    def last_pass(self, row: Any) -> str:
        return when(row.heartbeat_at, row.now)

    @admin.display(description=gettext_lazy("last accepted"))
    def last_accepted(self, row: Any) -> str:
        return when(row.accepted_at, row.now)

    @admin.display(description=gettext_lazy("rate"))
    def rate(self, row: Any) -> str:
        settings = settings_of(row.alias)
        if settings is None or settings.rate_per_minute is None:
            return _("no limit set")
        return _("%(rate)g per minute") % {"rate": settings.rate_per_minute}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        known = set(self.get_queryset(request).values_list("alias", flat=True))
        unused = [(alias, self._url("change", alias)) for alias in conf.aliases() if alias not in known]
        context = {"unused": unused, "start": workers.start_one(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def row_page(self, request: HttpRequest, object_id: str, extra: dict[str, Any]) -> HttpResponse:
        return self._page(request, self._row(request, object_id), extra)

    def pause_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._act_on(request, object_id, configured=False)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = PauseForm(request.POST, prefix="pause")
        if not form.is_valid():
            return self._page(request, row, {"pause_form": form})
        pause(row.alias, actor_of(request), form.cleaned_data["reason"], form.seconds())
        messages.success(request, _("%(alias)s is paused.") % {"alias": row.alias})
        return HttpResponseRedirect(self._url("change", row.alias))

    def resume_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._act_on(request, object_id, configured=False)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = ResumeForm(request.POST, prefix="resume")
        if not form.is_valid():
            return self._page(request, row, {"resume_form": form})
        given = form.cleaned_data
        if resume(row.alias, actor_of(request), given["reason"], also_trouble=given["also_trouble"]):
            messages.success(request, _("%(alias)s is resumed.") % {"alias": row.alias})
        else:
            messages.warning(request, _("%(alias)s was not paused.") % {"alias": row.alias})
        return HttpResponseRedirect(self._url("change", row.alias))

    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Run `eventbridge_ping` within REQUEST_DEADLINE. Changes nothing and sends no event."""
        row = self._act_on(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        from genesys_eventbridge.ping import ping  # imports httpx, which no other page needs

        seconds = conf.destination(row.alias).request_deadline
        return self._page(request, row, {"steps": list(ping(row.alias, seconds=seconds))})

    def _page(self, request: HttpRequest, row: Any, extra: dict[str, Any]) -> HttpResponse:
        settings = settings_of(row.alias)
        context = {
            "standing": _summaries([row])[row.alias],
            "rows": self._rows(row),
            "may_pause": self.has_pause_permission(request),
            "may_test": self.has_pause_permission(request) and settings is not None,
            "held": bool(row.held_by),
            "pause_form": PauseForm(prefix="pause"),
            "resume_form": ResumeForm(prefix="resume"),
            "pause_url": self._url("pause", row.alias),
            "resume_url": self._url("resume", row.alias),
            "test_url": self._url("test", row.alias),
            "history_url": self.url("history", row.pk) if row.pk else "",
            "events_url": self._events_url(row.alias),
            **extra,
        }
        return self.page(request, self.page_template, row.alias, **context)

    def _row(self, request: HttpRequest, object_id: str) -> Any:
        """By alias, or by id as in Django's history links. A configured destination may have no row yet."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = unquote(object_id)
        if not is_storable(name):
            raise Http404
        rows = self.get_queryset(request)
        row: Any = rows.filter(alias=name).first()
        if row is None and name.isascii() and name.isdigit() and len(name) < 19:
            row = rows.filter(pk=int(name)).first()
        if row is None and name in conf.aliases():
            row = Destination(alias=name)
            row.now = timezone.now()
        if row is None:
            raise Http404
        return row

    def _act_on(self, request: HttpRequest, object_id: str, *, configured: bool = True) -> Any:
        if not self.has_pause_permission(request):
            raise PermissionDenied
        row = self._row(request, object_id)
        if configured and row.alias not in conf.aliases():
            raise Http404
        return row

    def _rows(self, row: Any) -> list[tuple[str, Any]]:
        """Label and value pairs for the table; no secrets and no tokens."""
        settings = settings_of(row.alias)
        pairs = [
            (_("API"), settings.platform.api_base_url if settings else ""),
            (_("Login"), settings.platform.login_base_url if settings else ""),
            (_("Protocol"), self.protocol(settings)),
            (_("Source"), settings.source if settings else ""),
            (_("Last pass"), when(row.heartbeat_at, row.now)),
            (_("Last worker"), clean(row.heartbeat_worker, 128)),
            (_("Last accepted"), when(row.accepted_at, row.now)),
            (_("Rate"), self.rate(row)),
            (_("Consecutive failures"), row.run_failures or ""),
            (_("Paused automatically until"), self.pauses(row, AttemptKind.PUBLISH)),
            (_("Refused types"), self.refused_types(row)),
            (_("Checks paused until"), self.pauses(row, AttemptKind.CHECK)),
        ]
        return [(name, value) for name, value in pairs if value != ""]

    @staticmethod
    def protocol(settings: DestinationSettings | None) -> str:
        """Its name and, if the platform recognises no repetition, what happens to events in doubt."""
        if settings is None:
            return ""
        name = format_html("<code>{}</code>", settings.platform.protocol.name)
        if settings.honours_key:
            return name
        return format_html("{}, {}", name, without_a_key(settings))

    @staticmethod
    def pauses(row: Any, kind: AttemptKind) -> str:
        """All pauses that hold requests of this kind, the latest end first; "" if there are none."""
        found = sorted(pauses_of(row, kind).all, key=lambda pause: pause.until, reverse=True)
        words = ((when(each.until, row.now), pause_kind(each.kind)) for each in found)
        return format_html_join(", ", "{} {}", words)

    @staticmethod
    def refused_types(row: Any) -> str:
        """Types sent one event at a time, and when the next may be sent; "" if there are none."""
        run = refused(row)
        if run is None:
            return ""
        words = {"types": clean(", ".join(run.types), 300), "count": number(run.count)}
        text = _("%(types)s: %(count)s refused, trying one event at a time") % words
        return f"{text}, {relative(row.refused_until, row.now)}" if row.refused_until > row.now else text

    def _events_url(self, alias: str) -> str:
        if not self.admin_site.is_registered(OutboxEvent):
            return ""
        return f"{self.url('changelist', model=OutboxEvent)}?{urlencode({'destination': alias})}"

    def _url(self, page: str, alias: str) -> str:
        return self.url(page, quote(alias))


def _summaries(rows: Sequence[Any]) -> dict[str, Summary]:
    """How these destinations are doing, by alias, as the dashboard says it; a bounded look at events."""
    if not rows:
        return {}
    now = rows[0].now
    seen = {at.alias: at for at in status.of_rows({row.alias: row for row in rows}, now, COUNTED)}
    return {alias: summarize(at, settings_of(alias)) for alias, at in seen.items()}

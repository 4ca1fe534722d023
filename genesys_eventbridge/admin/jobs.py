"""The audit: who did what, how many, why and when; and the page of one act, with its progress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from genesys_eventbridge import formatting
from genesys_eventbridge.admin.actions import VERBS
from genesys_eventbridge.admin.badges import when
from genesys_eventbridge.admin.export import download
from genesys_eventbridge.admin.listing import CappedChangeList, CappedPaginator
from genesys_eventbridge.admin.pages import PagesAdmin, actor_of, may
from genesys_eventbridge.db.clock import NOW, DatabaseNow
from genesys_eventbridge.db.transactions import in_transaction
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import EventAct, Job, OutboxEvent, outbox_alias
from genesys_eventbridge.operations import jobs
from genesys_eventbridge.reporting.exports import Format, acts_written
from genesys_eventbridge.states import Act, JobState
from genesys_eventbridge.text import clean

#: Seconds that the button "Continue here" works.
HERE = 10.0
#: Seconds between two looks at a job that is being worked on.
REFRESH_SECONDS = 5
BIGINT_DIGITS = 19
#: Acts read at once for an export.
PAGE = 500


class ActFilter(admin.SimpleListFilter):
    title = gettext_lazy("act")
    parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return Act.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(act=self.value()) if self.value() else queryset


class JobStateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return JobState.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(state=self.value()) if self.value() else queryset


class TimeFilter(admin.SimpleListFilter):
    title = gettext_lazy("time")
    parameter_name = "since"
    HOURS: ClassVar = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24, "365d": 365 * 24}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return (
            ("24h", _("Past 24 hours")),
            ("7d", _("Past 7 days")),
            ("30d", _("Past 30 days")),
            ("365d", _("Past year")),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() is None:
            return queryset
        hours = self.HOURS.get(self.value() or "")
        return (
            queryset.none()
            if hours is None
            else queryset.filter(created_at__gte=DatabaseNow(-3600.0 * hours))
        )


class JobAdmin(PagesAdmin):
    """One line per act of an operator; its page shows the results, and stops a job."""

    list_display = ("at", "who", "what", "about_what", "how_many", "state_now", "why")
    list_display_links = ("at", "what")
    list_filter = (ActFilter, JobStateFilter, TimeFilter)
    list_per_page = 50
    ordering = ("-id",)
    sortable_by = ()
    actions = None
    paginator = CappedPaginator
    search_fields = ("username",)
    show_facets = admin.ShowFacets.NEVER
    search_help_text = gettext_lazy("The name of a user, the id of an event, or #42 for event number 42.")
    job_template = "admin/genesys_eventbridge/job/page.html"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only our filters: Django would hand any text to any column."""
        return lookup in {one.parameter_name for one in self.list_filter}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CappedChangeList]:
        return CappedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return Job.objects.using(outbox_alias()).annotate(now=NOW)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        return [
            path("export/<slug:form>/", wrap(self.export_view), name=f"{name}_export"),
            path("<path:object_id>/stop/", wrap(self.stop_view), name=f"{name}_stop"),
            path("<path:object_id>/continue/", wrap(self.continue_view), name=f"{name}_continue"),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see events may see what was done to them."""
        return may(request, "view_job") or may(request, "view_outboxevent")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        text = clean(search_term.strip(), 255)
        if not text:
            return queryset, False
        acts = EventAct.objects.using(outbox_alias())
        number = text.removeprefix("#")
        of_number = Q()
        if number.isascii() and number.isdigit() and len(number) < BIGINT_DIGITS:
            of_number = Q(pk__in=acts.filter(event_number=int(number)).values("job"))
            if text.startswith("#"):
                return queryset.filter(of_number), False  # without the names, which have no index
        of_id = Q(pk__in=acts.filter(cloudevent_id=text).values("job"))
        named = Q(username__icontains=text) | of_id | of_number
        return queryset.filter(named), False

    @admin.display(description=gettext_lazy("time"))
    def at(self, job: Any) -> str:
        return when(job.created_at, job.now)

    @admin.display(description=gettext_lazy("who"))
    def who(self, job: Job) -> str:
        return clean(job.username if job.via == "admin" else f"{job.username} ({job.via})", 150)

    @admin.display(description=gettext_lazy("act"))
    def what(self, job: Job) -> str:
        return str(Act(job.act).label)

    @admin.display(description=gettext_lazy("about"))
    def about_what(self, job: Job) -> str:
        return clean(job.about, 120) or "-"

    @admin.display(description=gettext_lazy("events"))
    def how_many(self, job: Job) -> str:
        if job.done == job.total:
            return formatting.number(job.total) if job.total else "-"
        return _("%(done)s of %(total)s") % {
            "done": formatting.number(job.done),
            "total": formatting.number(job.total),
        }

    @admin.display(description=gettext_lazy("state"))
    def state_now(self, job: Job) -> str:
        if job.last_error and job.state == JobState.QUEUED:
            return _("in progress; the last try failed")
        return str(JobState(job.state).label)

    @admin.display(description=gettext_lazy("reason"))
    def why(self, job: Job) -> str:
        return clean(job.reason, 200) or "-"

    def row_page(self, request: HttpRequest, object_id: str, extra: dict[str, Any]) -> HttpResponse:
        """One act: its progress, its results by destination and type, and the events."""
        job = self._job(request, object_id)
        if job is None:
            messages.warning(request, _("This act does not exist."))
            return HttpResponseRedirect(self.url("changelist"))
        handled = job.done + job.skipped
        unfinished = job.state == JobState.QUEUED
        idle = unfinished and job.due_at is not None and job.due_at <= job.now
        may_act = self._may_act(request, job)
        return self.page(
            request,
            self.job_template,
            " · ".join(filter(None, (str(Act(job.act).label), clean(job.about, 200)))),
            refresh=REFRESH_SECONDS if unfinished else 0,
            job=job,
            facts=list(self._facts(job)),
            groups=[self._group(job, group) for group in jobs.groups(job)],
            handled=handled,
            progress=_("%(handled)s of %(total)s")
            % {"handled": formatting.number(handled), "total": formatting.number(job.total)},
            unfinished=unfinished,
            died=job.state == JobState.PREPARING,
            waits=unfinished and not idle and job.claim_token is None and handled > 0,
            idle=idle,
            stop_url=self.url("stop", job.pk) if may_act and jobs.can_be_stopped(job) else "",
            withdraws=job.act in jobs.COPYING,
            withdrawal_url=self._withdrawal_url(job),
            continue_url=self.url("continue", job.pk) if may_act and unfinished else "",
            events_url=self._events_url(job),
            **extra,
        )

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """The listed acts as a file, the newest first."""
        if not (self.has_view_permission(request) and may(request, "export_event")):
            raise PermissionDenied
        if form not in Format.values:
            raise Http404
        try:
            acts = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            messages.error(request, _("The filters of the list are not valid."))
            return HttpResponseRedirect(self.url("changelist"))
        return download(request, acts_written(_pages(acts), Format(form)), f"audit.{form}", Format(form))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        query = f"?{request.GET.urlencode()}" if request.GET else ""
        exports = [(each.name, f"{self.url('export', each.value)}{query}") for each in Format]
        may_export = may(request, "export_event")
        return super().changelist_view(
            request, {"exports": exports if may_export else [], **(extra_context or {})}
        )

    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop a job; what it has done stays done."""
        job = self._posted(request, object_id)
        if isinstance(job, HttpResponse):
            return job
        if jobs.cancel(job.pk, actor_of(request)):
            done = _("Stopped. What was done until then stays.")
            if job.act in jobs.COPYING:
                done = _("Stopped. A worker cancels the new events that were not sent yet.")
            messages.success(request, done)
        else:
            messages.warning(request, _("It had ended before."))
        return HttpResponseRedirect(self.url("change", job.pk))

    def continue_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Work on a job in this request for some seconds, where no worker does."""
        job = self._posted(request, object_id)
        if isinstance(job, HttpResponse):
            return job
        claimed = None if in_transaction(outbox_alias()) else jobs.claim(job.pk)
        if claimed is None:
            messages.info(request, _("A worker is at it."))
        else:
            jobs.attempt(claimed, actor_of(request), max_seconds=HERE)
        return HttpResponseRedirect(self.url("change", job.pk))

    def _posted(self, request: HttpRequest, object_id: str) -> Any:
        """The job that a button is about, or the response that refuses it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        job = self._job(request, object_id)
        if job is None:
            return HttpResponseRedirect(self.url("changelist"))
        if not self._may_act(request, job):
            raise PermissionDenied
        return job

    def _job(self, request: HttpRequest, object_id: str) -> Any:
        try:
            return self.get_queryset(request).filter(pk=int(unquote(object_id))).first()
        except (ValueError, OverflowError):
            return None

    def _may_act(self, request: HttpRequest, job: Job) -> bool:
        """Whoever may do the act may stop it and continue it."""
        permissions = {verb.act: verb.permission for verb in VERBS.values()} | {Act.ERASE: "erase"}
        middle = permissions.get(Act(job.act))
        return self.has_view_permission(request) and middle is not None and may(request, f"{middle}_event")

    def _withdrawal_url(self, job: Job) -> str:
        """The page of the job that cancels the new events of this one."""
        withdrawal = jobs.withdrawal(job) if job.act in jobs.COPYING else None
        return "" if withdrawal is None else self.url("change", withdrawal.pk)

    def _facts(self, job: Any) -> Iterator[tuple[str, Any]]:
        yield _("Who"), self.who(job)
        yield _("Begun"), when(job.created_at, job.now)
        if job.finished_at is not None:
            yield _("Ended"), when(job.finished_at, job.now)
        if job.ended_by:
            yield _("Stopped by"), clean(job.ended_by, 150)
        yield _("Reason"), clean(job.reason, 500) or "-"
        for name, words in OPTIONS.items():
            if value := jobs.options(job).get(name):
                yield str(words), span(value) if name in SECONDS else clean(value, 100)

    def _group(self, job: Job, group: jobs.Group) -> dict[str, Any]:
        url = self._events_url(job, group)
        return {
            "result": self._result(job, group),
            "destination": group.destination or "-",
            "type": clean(group.type, 255) or "-",
            "number": formatting.number(group.number),
            "url": url,
        }

    def _result(self, job: Job, group: jobs.Group) -> str:
        if group.skip is not None:
            return _("skipped: %(why)s") % {"why": group.skip.label}
        if group.outcome == jobs.NEW_KEY:
            return _("%(act)s, under a new key: may be delivered twice") % {"act": Act(job.act).label}
        return str(Act(job.act).label)

    def _events_url(self, job: Job, group: jobs.Group | None = None) -> str:
        """The list of a job's events; "" if it has none or the user's site has no list."""
        if not job.total or not self.admin_site.is_registered(OutboxEvent):
            return ""
        narrowed = {"job": f"{job.pk}:{group.outcome}" if group else str(job.pk)}
        if group and group.type:
            narrowed |= {"type": group.type, "destination": group.destination}
        return f"{self.url('changelist', model=OutboxEvent)}?{urlencode(narrowed)}"


def _pages(acts: Any) -> Iterator[Job]:
    """All of them in constant memory: a server-side cursor would not survive PgBouncer's pooling."""
    last = None
    while page := list((acts if last is None else acts.filter(pk__lt=last)).order_by("-pk")[:PAGE]):
        yield from page
        last = page[-1].pk


#: Options of a job that its page shows, and those that are seconds.
OPTIONS = {
    "delay": gettext_lazy("Start in"),
    "spread": gettext_lazy("Spread over"),
    "seconds": gettext_lazy("For"),
    "outcome": gettext_lazy("What happened"),
    "to": gettext_lazy("To"),
    "rate": gettext_lazy("Events a minute"),
}
SECONDS = ("delay", "spread", "seconds")

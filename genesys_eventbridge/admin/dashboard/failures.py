"""The page of the failure groups: which type fails most, why, and since when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from genesys_eventbridge import formatting
from genesys_eventbridge.admin.badges import when
from genesys_eventbridge.admin.filters import parameters_of
from genesys_eventbridge.admin.pages import PagesAdmin
from genesys_eventbridge.formatting import moment, span
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting.facts import known_aliases
from genesys_eventbridge.reporting.failures import Group, failures
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.selection.filters import NO_ERROR

#: Groups shown, and the newest events of each state and destination that are read.
SHOWN = 100
READ = 50_000
#: Ages that the page offers, in seconds.
AGES = {"1h": 3600, "24h": 86400, "7d": 7 * 86400}


@dataclass(frozen=True, slots=True)
class Line:
    """One group as shown; the URLs are those of the events that it counts, and of the example."""

    group: Group
    first: str
    last: str
    trend: str
    url: str
    example_url: str


class FailurePage(PagesAdmin):
    """The page of failures of the event admin; requires only the permission to view events."""

    failures_template = "admin/genesys_eventbridge/failures.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.failures_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_failures"
        return [path("failures/", view, name=name), *super().get_urls()]

    @method_decorator(require_safe)
    def failures_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now, aliases = next_due.database_now(), known_aliases()
        chosen = request.GET.get("destination", "")
        if chosen and chosen not in aliases:
            raise Http404
        given = request.GET.get("since", "").strip()
        since = _since(given, now)
        wrong = bool(given) and since is None
        here = [chosen] if chosen else aliases
        found = failures([] if wrong else here, now, since=since, shown=SHOWN, most=READ)
        return self.page(
            request,
            self.failures_template,
            _("Failures"),
            found=found,
            heading=_heading(found.number, len(found.groups)),
            lines=[self._line(group, now, since) for group in found.groups],
            several=len(aliases) > 1,
            aliases=aliases,
            chosen=chosen,
            given=given,
            wrong=wrong,
            since=since,
            began=moment(since, now) if since else "",
            input_value=_local(since),
            zone=timezone.get_current_timezone_name(),
            ages=[(age, span(seconds)) for age, seconds in AGES.items()],
            events_url=self.url("changelist"),
            dashboard_url=self.url("dashboard"),
            now=now,
        )

    def _line(self, group: Group, now: dt.datetime, since: dt.datetime | None) -> Line:
        which = EventFilter(
            failure=group.failure or NO_ERROR,
            types=(group.type,),
            destinations=(group.destination,),
            failed_since=since,
        )
        return Line(
            group,
            when(group.first, now),
            when(group.last, now),
            _trend(group),
            f"{self.url('changelist')}?{urlencode(parameters_of(which))}",
            self.url("change", group.example),
        )


def _heading(events: int, groups: int) -> str:
    """ "7,200 failing events in 48 groups"."""
    within = ngettext("%(count)s group", "%(count)s groups", groups) % {"count": formatting.number(groups)}
    words = {"events": formatting.number(events), "groups": within}
    return (
        ngettext("%(events)s failing event in %(groups)s", "%(events)s failing events in %(groups)s", events)
        % words
    )


def _since(given: str, now: dt.datetime) -> dt.datetime | None:
    """One of AGES ago, or a time; None for anything else."""
    return now - dt.timedelta(seconds=AGES[given]) if given in AGES else _time(given)


def _time(text: str) -> dt.datetime | None:
    """In the reader's time zone if it names none; None if it is no time."""
    try:
        found = parse_datetime(text)
        if found is None or timezone.is_aware(found) == settings.USE_TZ:
            return found
        return timezone.make_aware(found) if settings.USE_TZ else timezone.make_naive(found)
    except (ValueError, OverflowError):
        return None


def _local(moment: dt.datetime | None) -> str:
    """For an input of type datetime-local."""
    if moment is None:
        return ""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return local.strftime("%Y-%m-%dT%H:%M")


def _trend(group: Group) -> str:
    if group.recent > group.before:
        return _("rising")
    return _("falling") if group.recent < group.before else _("steady")

"""The filters of the event list; each one can use an index."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from genesys_eventbridge import conf
from genesys_eventbridge.admin.badges import exact
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.selection.filters import NO_ERROR, OVERDUE_AFTER, failing
from genesys_eventbridge.states import NEEDS_OPERATOR, OPEN, Reason, State
from genesys_eventbridge.text import clean

Choices = Iterable[tuple[str, Any]]


class _ListFilter(admin.SimpleListFilter):
    """An unknown value matches nothing instead of everything."""

    choices_offered: Choices = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return self.choices_offered

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if value is None:
            return queryset
        if value not in {str(choice) for choice, _label in self.lookup_choices}:
            return queryset.none()
        return self.narrowed(queryset, value)

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        raise NotImplementedError


class AttentionFilter(_ListFilter):
    title = _("attention")
    parameter_name = "attention"

    choices_offered = (
        ("needed", _("Needs attention")),
        ("person", _("Needs an operator")),
        ("overdue", _("Overdue by 5 min")),
    )

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        person = Q(state__in=NEEDS_OPERATOR)
        overdue = Q(state__in=OPEN, due_at__lt=DatabaseNow(-OVERDUE_AFTER))
        return queryset.filter({"needed": person | overdue, "person": person, "overdue": overdue}[value])


class ProgressFilter(_ListFilter):
    """Progress is computed and never stored."""

    title = _("progress")
    parameter_name = "progress"
    choices_offered = (
        ("open", _("Not delivered yet")),
        ("waiting", _("Waiting for first attempt")),
        ("retrying", _("Waiting for a retry")),
        ("in_flight", _("In flight")),
    )

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        rows = cast("OutboxQuerySet", queryset)
        match value:
            case "open":
                return rows.open()
            case "waiting":
                return rows.waiting()
            case "retrying":
                return rows.retrying()
        # Leases end within a known time: read that range of the index instead of every row waiting for a
        # retry.
        aliases = conf.aliases()
        longest = max(conf.destination(alias).lease_seconds for alias in aliases)
        leased = rows.filter(state=State.PENDING, destination__in=aliases, due_at__lte=DatabaseNow(longest))
        return leased.in_flight()


class JobFilter(_ListFilter):
    """The events of one job, ``12``, or those with one outcome, ``12:done``; offered where it is in use."""

    title = _("act of an operator")
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        given = request.GET.get(self.parameter_name, "")
        number, _colon, _outcome = given.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 19 and is_storable(given)):
            return ()
        return [(given, f"#{number}")]

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        number, _colon, outcome = value.partition(":")
        return queryset.filter(pk__in=jobs.matched(int(number), *([outcome] if outcome else [])).values("pk"))


class StateFilter(_ListFilter):
    title = _("state")
    parameter_name = "state"
    choices_offered = State.choices

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        """With an empty ``due_at`` as well as state and destination, the index returns rows in list order.

        Otherwise a million delivered rows would be sorted (SQLite: 1.6 s).
        """
        rows = queryset.filter(state=value)
        if value in OPEN:
            return rows
        only = _only_destination()
        return rows.filter(due_at__isnull=True, **({"destination": only} if only else {}))


def _only_destination() -> str:
    """The only destination that events can have, or "" if there are several."""
    configured = conf.aliases()
    if len(configured) > 1:
        return ""
    others = Destination.objects.using(outbox_alias()).exclude(alias=configured[0])
    return "" if others.exists() else configured[0]


class ReasonFilter(_ListFilter):
    title = _("reason")
    parameter_name = "reason"
    choices_offered = Reason.choices

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        return queryset.filter(state__in=[*NEEDS_OPERATOR, State.CANCELLED], reason=value)


class DestinationFilter(_ListFilter):
    title = _("destination")
    parameter_name = "destination"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        others = Destination.objects.using(outbox_alias()).exclude(alias__in=conf.aliases())
        return [(alias, alias) for alias in [*conf.aliases(), *others.values_list("alias", flat=True)]]

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        return queryset.filter(destination=value)


class AnswerFilter(_ListFilter):
    """The last HTTP status of unfinished events; delivered ones need no such search."""

    title = _("last response")
    parameter_name = "answer"
    choices_offered = (
        ("none", _("no response")),
        ("3xx", _("3xx redirect")),
        ("4xx", _("4xx refused")),
        ("5xx", _("5xx platform error")),
    )

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        rows = queryset.filter(state__in=[*OPEN, *NEEDS_OPERATOR])
        if value == "none":
            return rows.filter(last_status_code__isnull=True).exclude(last_error="")
        hundreds = int(value[0]) * 100
        return rows.filter(last_status_code__gte=hundreds, last_status_code__lt=hundreds + 100)


class CreatedFilter(_ListFilter):
    title = _("created")
    parameter_name = "created"
    choices_offered = (("1h", _("Past hour")), ("24h", _("Past 24 hours")), ("7d", _("Past 7 days")))
    SECONDS = {"1h": 3600, "24h": 86400, "7d": 7 * 86400}

    def narrowed(self, queryset: QuerySet, value: str) -> QuerySet:
        """Ids follow creation time, so the newest row that is too old bounds the scan."""
        since = DatabaseNow(-self.SECONDS[value])
        older = OutboxEvent.objects.using(outbox_alias()).filter(created_at__lt=since).order_by("-id")
        return queryset.filter(id__gt=Coalesce(Subquery(older.values("id")[:1]), 0), created_at__gte=since)


class _GivenFilter(admin.SimpleListFilter):
    """A filter that only a link sets: it is shown, with a way to remove it, while it has a value."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = request.GET.get(str(self.parameter_name))
        return [(value, self.words(value))] if value else []

    def words(self, value: str) -> str:
        return clean(value, 80)


class TypeFilter(_GivenFilter):
    title = _("type")
    parameter_name = "type"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        return queryset if value is None else queryset.filter(type=value)


class FailureFilter(_GivenFilter):
    """One failure group; see ``reporting.failures``."""

    title = _("failure")
    parameter_name = "failure"

    def words(self, value: str) -> str:
        return gettext("no error text") if value == NO_ERROR else clean(value, 16)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        return queryset if value is None else failing(cast("OutboxQuerySet", queryset), value)


class FailedSinceFilter(_GivenFilter):
    """Events that failed at this time (ISO 8601 with an offset) or later."""

    title = _("failed since")
    parameter_name = "failed_since"

    def words(self, value: str) -> str:
        since = parse_time(value)
        return clean(value, 40) if since is None else exact(since)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if value is None:
            return queryset
        since = parse_time(value)
        return queryset.none() if since is None else failing(cast("OutboxQuerySet", queryset), since=since)


def parse_time(text: str) -> dt.datetime | None:
    """A time of a link or of a form's input, in the reader's time zone if it names none; None if wrong."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or timezone.is_aware(found) == settings.USE_TZ:
        return found
    try:
        return timezone.make_aware(found) if settings.USE_TZ else timezone.make_naive(found)
    except (ValueError, OverflowError):
        return None

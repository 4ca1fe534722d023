"""Actions from the list or an event's page: confirmation page, then execution, all by POST."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
)
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge.admin.actions import VERBS, Verb
from genesys_eventbridge.admin.badges import numbers, state_badge
from genesys_eventbridge.admin.command_lines import command_for
from genesys_eventbridge.admin.export import export
from genesys_eventbridge.admin.pages import actor_of
from genesys_eventbridge.admin.permissions import EventPermissions
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import CannotResend, Done
from genesys_eventbridge.text import clean

#: Maximum number of events that one page acts on; a command takes more.
MOST = 1_000
EXAMPLES = 5
EXAMPLE_WIDTH = 80


def actions() -> list[Any]:
    """One Django admin action per verb. Django checks the permission and shows them in the list."""
    return [_action(verb) for verb in VERBS.values()]


def _action(verb: Verb) -> Any:
    @admin.action(permissions=[verb.permission], description=verb.label)
    def run(model_admin: EventActs, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return model_admin.ask(request, verb, queryset)

    run.__name__ = verb.name
    return run


class EventActs(EventPermissions):
    """The actions of the event admin. Every request that changes something is a POST."""

    confirm_template = "admin/genesys_eventbridge/confirm.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        return [path("act/<slug:name>/", view, name=name), *super().get_urls()]

    def ask(self, request: HttpRequest, verb: Verb, queryset: QuerySet) -> HttpResponse | None:
        """From the list: the confirmation page, or the command if too many events are selected."""
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST + 1])
        filters = request.GET.urlencode()
        if len(ids) > MOST:
            command = command_for(verb, request.GET)
            return self._page(request, verb, most=MOST, command=command, back=self._list_url(filters))
        if verb.single and len(ids) > 1:
            messages.warning(request, _("%(label)s works on one event at a time.") % {"label": verb.label})
            return None
        return self._confirmation(request, verb, ids, filters=filters)

    def act_view(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """The confirmation page of one action, or the action itself if the form was confirmed."""
        verb = VERBS.get(name)
        if verb is None:
            raise Http404
        if not self._may(request, verb):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        ids = self._ids(request, most=1 if verb.single else MOST)
        if ids is None:
            return HttpResponseBadRequest()
        event = ids[0] if ids and request.POST.get("from") == "event" else None
        filters = QueryDict(request.POST.get("filters", "")).urlencode()
        form = verb.form(request.POST) if "confirm" in request.POST else None
        if form is None or not form.is_valid():
            return self._confirmation(request, verb, ids, filters=filters, event=event, form=form)
        return self._do(request, verb, ids, form.cleaned_data, filters=filters, event=event)

    def _do(
        self,
        request: HttpRequest,
        verb: Verb,
        ids: list[int],
        given: dict[str, Any],
        *,
        filters: str,
        event: int | None,
    ) -> HttpResponseBase:
        actor = actor_of(request)
        if verb.perform is None:
            rows = self.get_queryset(request).filter(pk__in=ids)
            return export(rows, actor, given["reason"], payload=self.has_payload_permission(request))
        try:
            done = verb.perform(ids, actor, **given)
        except CannotResend as error:
            messages.error(request, _("Not resent: %(why)s.") % {"why": error})
        else:
            self._report(request, verb, done)
            if verb.single and done.ids:
                event = done.ids[0]
        return HttpResponseRedirect(self.url("change", event) if event else self._list_url(filters))

    def acts_for(self, request: HttpRequest, event: OutboxEvent, now: Any) -> list[Verb]:
        """The actions to show as buttons on an event's page for this user."""
        return [verb for verb in VERBS.values() if verb.fits(event, now) and self._may(request, verb)]

    def _may(self, request: HttpRequest, verb: Verb) -> bool:
        allowed: bool = getattr(self, f"has_{verb.permission}_permission")(request)
        return allowed and self.has_view_permission(request)

    def _ids(self, request: HttpRequest, *, most: int) -> list[int] | None:
        """The posted ids that this user may see; None if the form was tampered with."""
        given = request.POST.get("ids", "").split(",")
        if len(given) > most or not all(pk.isascii() and pk.isdigit() and len(pk) < 19 for pk in given):
            return None
        rows = self.get_queryset(request).filter(pk__in=[int(pk) for pk in given])
        return list(rows.order_by("pk").values_list("pk", flat=True))

    def _confirmation(
        self,
        request: HttpRequest,
        verb: Verb,
        ids: list[int],
        *,
        filters: str = "",
        event: int | None = None,
        form: Any = None,
    ) -> TemplateResponse:
        preview = verb.preview(ids, actor_of(request))
        if form is None:
            form = verb.form(initial={"once": uuid.uuid4().hex})
        if len(ids) == 1:
            form.fields.pop("spread", None)
        return self._page(
            request,
            verb,
            form=form,
            ids=",".join(map(str, ids)),
            event=event,
            filters=filters,
            preview=preview,
            count=len(preview.ids),
            may_duplicate=len(preview.may_duplicate),
            skipped=sum(map(len, preview.skipped.values())),
            why_skipped=numbers(preview.skipped),
            examples=self._examples(request, preview.ids[:EXAMPLES]),
            more=max(0, len(preview.ids) - EXAMPLES),
            back=self.url("change", event) if event else self._list_url(filters),
            act_url=self.url("act", verb.name),
        )

    def _page(self, request: HttpRequest, verb: Verb, **context: Any) -> TemplateResponse:
        return self.page(request, self.confirm_template, verb.label, verb=verb, **context)

    def _examples(self, request: HttpRequest, ids: Iterable[int]) -> list[dict[str, Any]]:
        rows = self.get_queryset(request).filter(pk__in=list(ids)).order_by("pk")
        return [
            {
                "state": state_badge(row.state),
                "title": f"#{row.pk} {clean(row.type, EXAMPLE_WIDTH)}",
                "subject": clean(row.subject, EXAMPLE_WIDTH),
                "url": self.url("change", row.pk),
            }
            for row in rows
        ]

    def _report(self, request: HttpRequest, verb: Verb, done: Done) -> None:
        """ "12 requeued, 3 skipped: being sent right now"."""
        past = verb.past % {"count": len(done.ids)}
        skipped = sum(map(len, done.skipped.values()))
        if skipped:
            words = {"past": past, "count": skipped, "why": numbers(done.skipped)}
            if len(done.skipped) == 1:
                words["why"] = next(iter(done.skipped)).label
            past = _("%(past)s, %(count)s skipped: %(why)s") % words
        if done.may_duplicate:
            count = len(done.may_duplicate)
            words = {"past": past, "count": count}
            past = (
                ngettext(
                    "%(past)s; %(count)s of them has a new key and may be delivered twice",
                    "%(past)s; %(count)s of them have a new key and may be delivered twice",
                    count,
                )
                % words
            )
        messages.add_message(request, messages.SUCCESS if done.ids else messages.WARNING, f"{past}.")

    def _list_url(self, filters: str) -> str:
        return self.url("changelist") + (f"?{filters}" if filters else "")

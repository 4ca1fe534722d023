"""Acts from the list or an event's page: a confirmation page, then the act or a job, all by POST."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
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
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge import formatting
from genesys_eventbridge.admin.actions import VERBS, Verb
from genesys_eventbridge.admin.badges import numbers, state_badge
from genesys_eventbridge.admin.corrections import CorrectionPage
from genesys_eventbridge.admin.export import export, note_in_history
from genesys_eventbridge.admin.pages import actor_of
from genesys_eventbridge.db.transactions import in_transaction
from genesys_eventbridge.models import Job, OutboxEvent, outbox_alias
from genesys_eventbridge.operations import Actor, CannotResend, Done, Order, jobs, resend
from genesys_eventbridge.outbox.followers import with_dead_behind
from genesys_eventbridge.reporting.exports import Format
from genesys_eventbridge.states import Act, State
from genesys_eventbridge.text import clean

#: Maximum number of events that can be named one by one; "all that match" has no limit.
MOST = 1_000
EXAMPLES = 5
EXAMPLE_WIDTH = 80
#: Event types that a replay lists.
TYPES = 20
#: Seconds that a request works on the job it made; a worker does the rest.
HERE = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """The events of an act: named by ids, or all that match the list's ``filters`` (a query string)."""

    ids: tuple[int, ...] = ()
    everything: bool = False
    filters: str = ""
    #: The act began on this event's page.
    event: int | None = None


def actions() -> list[Any]:
    """One Django admin action per verb. Django checks the permission and shows them in the list."""
    return [_action(verb) for verb in VERBS.values()]


def _action(verb: Verb) -> Any:
    @admin.action(permissions=[verb.permission], description=verb.label)
    def run(model_admin: EventActs, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return model_admin.ask(request, verb, queryset)

    run.__name__ = verb.name
    return run


class EventActs(CorrectionPage):
    """The acts of the event admin. Every request that changes something is a POST."""

    confirm_template = "admin/genesys_eventbridge/confirm.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        return [path("act/<slug:name>/", view, name=name), *super().get_urls()]

    def ask(self, request: HttpRequest, verb: Verb, queryset: QuerySet) -> HttpResponse | None:
        """From the list: the confirmation page for the selected events, or for all that match."""
        filters = request.GET.urlencode()
        if request.POST.get("select_across") == "1":
            target = Target(everything=True, filters=filters)
        else:
            ids = queryset.order_by("pk").values_list("pk", flat=True)[:MOST]
            target = Target(ids=tuple(ids), filters=filters)
        if verb.single and (target.everything or len(target.ids) > 1):
            messages.warning(request, _("%(label)s works on one event at a time.") % {"label": verb.label})
            return None
        if verb.act is Act.CORRECT:
            return self._correction(request, verb, target, confirmed=False)
        return self._confirmation(request, verb, target)

    def act_view(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """The confirmation page of one act, or the act itself if the form was confirmed."""
        verb = VERBS.get(name)
        if verb is None:
            raise Http404
        if not self._may(request, verb):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        target = self._target(request, verb)
        if target is None:
            return HttpResponseBadRequest()
        if verb.act is Act.CORRECT:
            return self._correction(request, verb, target, confirmed="confirm" in request.POST)
        form = verb.form(request.POST) if "confirm" in request.POST else None
        if form is None or not form.is_valid():
            return self._confirmation(request, verb, target, form=form)
        return self._do(request, verb, target, form.cleaned_data)

    def _do(
        self, request: HttpRequest, verb: Verb, target: Target, given: dict[str, Any]
    ) -> HttpResponseBase:
        actor, reason, once = actor_of(request), given.pop("reason"), given.pop("once") or uuid.uuid4()
        rows = self._rows(request, target)
        if rows is None:
            return HttpResponseRedirect(self._list_url(target.filters))
        if verb.act is Act.EXPORT:
            order = Order(verb.act, actor, reason, given, self._about(request, target))
            return self._export(request, order, target)
        if verb.act is Act.RESEND and len(target.ids) == 1:
            return self._resend(request, target, reason, once)
        whole_keys = given.pop("tail", False)
        order = Order(verb.act, actor, reason, given, self._about(request, target), once)
        if whole_keys:
            rows = with_dead_behind(rows)
        if target.everything or whole_keys:
            return self.start(actor, partial(jobs.freeze, order, rows))
        job = jobs.freeze(order, target.ids, claim=True)
        jobs.run(job, actor)
        job.refresh_from_db()
        self._report(request, verb, jobs.total(job))
        return HttpResponseRedirect(self._back(target))

    def start(self, actor: Actor, freeze: Callable[..., Job]) -> HttpResponse:
        """Make a job, begin it here so that most are finished at once, and show it."""
        here = not in_transaction(outbox_alias())  # a long transaction would hold up workers
        job = freeze(claim=here)
        if here:
            jobs.run(job, actor, max_seconds=HERE)
        return HttpResponseRedirect(self.url("change", job.pk, model=Job))

    def _export(self, request: HttpRequest, order: Order, target: Target) -> HttpResponseBase:
        """All that match are streamed, without a job and without a limit."""
        listed = self._list(request, target)
        pages = iter([list(target.ids)]) if listed is None else listed.pages()
        total = len(target.ids) if listed is None else listed.queryset.order_by().count()
        if listed is None:
            note_in_history(order, target.ids)
        payload = self.has_payload_permission(request)
        return export(request, order, pages, Format(order.options["format"]), total=total, payload=payload)

    def _resend(self, request: HttpRequest, target: Target, reason: str, once: uuid.UUID) -> HttpResponseBase:
        event = target.event
        try:
            event = resend(target.ids[0], actor_of(request), reason, once=once.hex).pk
        except CannotResend as error:
            messages.error(request, _("Not resent: %(why)s.") % {"why": error})
        else:
            messages.success(request, f"{VERBS['resend'].past % {'count': 1}}.")
        return HttpResponseRedirect(self.url("change", event) if event else self._list_url(target.filters))

    def acts_for(self, request: HttpRequest, event: OutboxEvent, now: Any) -> list[Verb]:
        """The acts to show as buttons on an event's page for this user."""
        return [verb for verb in VERBS.values() if verb.fits(event, now) and self._may(request, verb)]

    def _may(self, request: HttpRequest, verb: Verb) -> bool:
        allowed: bool = getattr(self, f"has_{verb.permission}_permission")(request)
        return allowed and self.has_view_permission(request)

    def _target(self, request: HttpRequest, verb: Verb) -> Target | None:
        """The posted events, of those this user may see; None if the form was tampered with."""
        filters = QueryDict(request.POST.get("filters", "")).urlencode()
        if request.POST.get("everything") == "1" and not verb.single:
            return Target(everything=True, filters=filters)
        given = request.POST.get("ids", "").split(",")
        most = 1 if verb.single else MOST
        if len(given) > most or not all(pk.isascii() and pk.isdigit() and len(pk) < 19 for pk in given):
            return None
        rows = self.get_queryset(request).filter(pk__in=[int(pk) for pk in given])
        ids = tuple(rows.order_by("pk").values_list("pk", flat=True))
        event = ids[0] if ids and request.POST.get("from") == "event" else None
        return Target(ids=ids, filters=filters, event=event)

    def _rows(self, request: HttpRequest, target: Target) -> Any:
        """The events of a target; None, with a message, if the list does not understand its filters."""
        if not target.everything:
            return self.get_queryset(request).filter(pk__in=target.ids)
        with suppress(IncorrectLookupParameters):
            listed = self._list(request, target)
            if not listed.problems:
                return listed.queryset
        messages.error(request, _("The filters of the list are not valid; nothing was done."))
        return None

    def _list(self, request: HttpRequest, target: Target) -> Any:
        """The list whose events are the target; None if they are named one by one."""
        if not target.everything:
            return None
        filters = QueryDict(target.filters, mutable=True)
        filters.pop(PAGE_VAR, None)
        as_list = copy(request)
        as_list.GET, as_list.method = QueryDict(filters.urlencode()), "GET"
        return self.get_changelist_instance(as_list)

    def _about(self, request: HttpRequest, target: Target) -> str:
        """The target in words, for the audit."""
        listed = self._list(request, target)
        if listed is None:
            return ", ".join(f"#{pk}" for pk in target.ids[:10]) + (" …" if len(target.ids) > 10 else "")
        return str(listed.chosen.words())

    def _confirmation(
        self, request: HttpRequest, verb: Verb, target: Target, *, form: Any = None
    ) -> HttpResponse:
        rows = self._rows(request, target)
        if rows is None:
            return HttpResponseRedirect(self._list_url(""))
        preview = jobs.preview(verb.foresee, rows)
        if form is None:
            form = verb.form(initial={"once": uuid.uuid4()})
        if "tail" in form.fields and not self._ask_about_tails(form, rows, preview.total):
            form.fields.pop("tail")
        if preview.total == 1 and "tail" not in form.fields:
            form.fields.pop("spread", None)
        done = preview.done
        count = done.count if preview.examined == preview.total else preview.total
        counts = {
            "count": count,
            "examined": preview.examined,
            "done": done.count,
            "more": max(0, count - EXAMPLES),
            "skipped": done.left,
            "may_duplicate": done.may_duplicate.count,
        }
        return self.page(
            request,
            self.confirm_template,
            verb.label,
            verb=verb,
            form=form,
            target=target,
            ids=",".join(map(str, target.ids)),
            preview=preview,
            **counts,
            numbers={name: formatting.number(number) for name, number in counts.items()},
            why_skipped=numbers(done.skipped),
            types=_types(rows) if verb.copies else [],
            examples=self._examples(request, done.ids[:EXAMPLES]),
            back=self._back(target),
            act_url=self.url("act", verb.name),
        )

    def _ask_about_tails(self, form: Any, rows: Any, total: int) -> int:
        """The number of dead events behind these in their ordering keys, which the form's label says."""
        more = with_dead_behind(rows).order_by().values("pk")[: MOST + total + 1].count() - total
        if more > 0:
            number = (
                formatting.number(more)
                if more <= MOST
                else _("more than %(count)s") % {"count": formatting.number(MOST)}
            )
            form.fields["tail"].label = ngettext(
                "Also requeue the later dead event of the same ordering key (%(count)s)",
                "Also requeue the later dead events of the same ordering keys (%(count)s)",
                more,
            ) % {"count": number}
        return max(0, more)

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
        past = verb.past % {"count": formatting.number(done.count)}
        if done.skipped:
            words = {"past": past, "count": formatting.number(done.left), "why": numbers(done.skipped)}
            if len(done.skipped) == 1:
                words["why"] = next(iter(done.skipped)).label
            past = _("%(past)s, %(count)s skipped: %(why)s") % words
        if count := done.may_duplicate.count:
            past = ngettext(
                "%(past)s; %(count)s of them may be delivered twice",
                "%(past)s; %(count)s of them may be delivered twice",
                count,
            ) % {"past": past, "count": count}
        messages.add_message(request, messages.SUCCESS if done.count else messages.WARNING, f"{past}.")

    def _back(self, target: Target) -> str:
        return self.url("change", target.event) if target.event else self._list_url(target.filters)

    def _list_url(self, filters: str) -> str:
        return self.url("changelist") + (f"?{filters}" if filters else "")


def _types(rows: Any) -> list[tuple[str, str]]:
    """The most frequent types of those that can be copied, with the number of their events."""
    accepted = rows.filter(state__in=[State.ACCEPTED, State.DELIVERED]).exclude(body="").order_by()
    counts = accepted.values_list("type").annotate(number=Count("pk")).order_by("-number", "type")
    return [(clean(name, 255), formatting.number(number)) for name, number in counts[:TYPES]]

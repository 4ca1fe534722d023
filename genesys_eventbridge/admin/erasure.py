"""Erase personal data: a page that counts their events first, and erases exactly what it counted."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from genesys_eventbridge import formatting
from genesys_eventbridge.admin.badges import numbers
from genesys_eventbridge.admin.confirmation import EventActs
from genesys_eventbridge.admin.forms import EraseForm
from genesys_eventbridge.admin.pages import actor_of
from genesys_eventbridge.operations import persons
from genesys_eventbridge.states import FINISHED

#: Events that the page examines; the job examines all.
EXAMINED = 5_000
#: Events under way that the page names.
NAMED = 20


class ErasurePage(EventActs):
    """The page of the event admin. What identifies the person is posted and never part of an address."""

    erase_template = "admin/genesys_eventbridge/erase.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.erase_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_erase"
        return [path("erase/", view, name=name), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_erase = self.has_erase_permission(request)
        return super().changelist_view(request, {"may_erase": may_erase, **(extra_context or {})})

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    @method_decorator(sensitive_post_parameters())
    @sensitive_variables()
    def erase_view(self, request: HttpRequest) -> HttpResponse:
        if not (self.has_erase_permission(request) and self.has_view_permission(request)):
            raise PermissionDenied
        form, found = EraseForm(initial={"once": uuid.uuid4()}), None
        if request.method == "POST":
            form = EraseForm(request.POST)
            if form.is_valid():
                given = form.cleaned_data
                if given["seen"] == form.digest:
                    freeze = partial(
                        persons.freeze,
                        given["person"],
                        actor_of(request),
                        given["reason"],
                        cancel=given["cancel"],
                        key=given["once"],
                    )
                    return self.start(actor_of(request), freeze)
                try:
                    found = persons.survey(given["person"], cancel=given["cancel"], most=EXAMINED)
                except ValueError as error:
                    form.add_error("sought", str(error))
                else:
                    seen = request.POST.copy()
                    seen["seen"] = form.digest
                    form = EraseForm(seen)
        return self.page(
            request,
            self.erase_template,
            _("Erase personal data"),
            form=form,
            back=self.url("changelist"),
            **self._counted(found),
        )

    def _counted(self, found: persons.Survey | None) -> dict[str, Any]:
        if found is None:
            return {"found": None}
        states = sorted(found.states.items())
        cancelled = sum(count for state, count in states if state not in FINISHED)
        waits = found.done.waits
        return {
            "found": found,
            "count": found.done.count,
            "number": formatting.number(found.done.count),
            "states": [(state.label, formatting.number(count)) for state, count in states],
            "cancelled": formatting.number(cancelled) if cancelled else "",
            "skipped": formatting.number(found.done.left) if found.done.left else "",
            "why_skipped": numbers(found.done.skipped),
            "waits": formatting.number(waits.count) if waits.count else "",
            "waiting": [(f"#{pk}", self.url("change", pk)) for pk in waits.ids[:NAMED]],
            "anything": found.done.count or waits.count,
        }

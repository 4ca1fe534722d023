"""Correct and resend: a page to edit the data of one dead event, which shows the difference first."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.admin.forms import CorrectForm
from genesys_eventbridge.admin.pages import actor_of
from genesys_eventbridge.admin.permissions import EventPermissions
from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import correct, corrections
from genesys_eventbridge.reporting.payloads import redact_keys
from genesys_eventbridge.text import clean, redact
from genesys_eventbridge.text.differences import words

if TYPE_CHECKING:
    from genesys_eventbridge.admin.actions import Verb
    from genesys_eventbridge.admin.confirmation import Target


class CorrectionPage(EventPermissions):
    """The form with the event's data, then the difference, then the act; each step is a POST."""

    correct_template = "admin/genesys_eventbridge/correct.html"

    @sensitive_variables()
    def _correction(
        self, request: HttpRequest, verb: Verb, target: Target, *, confirmed: bool
    ) -> HttpResponse:
        back = self.url("change", target.ids[0]) if target.event else self.url("changelist")
        event = OutboxEvent.objects.on_outbox().filter(pk__in=target.ids).first()
        if event is None:
            return HttpResponseRedirect(back)
        if not confirmed:
            if (skip := corrections.why_not(event)) is not None:
                messages.warning(request, _("Not corrected: %(why)s.") % {"why": skip.label})
                return HttpResponseRedirect(back)
            form = CorrectForm(event, initial={"once": uuid.uuid4(), "corrected": _shown(event)})
        elif (made := corrections.made_before(event, request.POST.get("once", ""))) is not None:
            return HttpResponseRedirect(self.url("change", made.pk))
        else:
            form = CorrectForm(event, data=request.POST)
            if form.is_valid() and form.cleaned_data["seen"] == form.digest:
                new = self._correct(request, event, form)
                if new is not None:
                    messages.success(request, f"{verb.past % {'count': 1}}.")
                    return HttpResponseRedirect(self.url("change", new.pk))
            elif form.is_valid():
                seen = request.POST.copy()
                seen["seen"] = form.digest
                form = CorrectForm(event, data=seen)
        return self.page(
            request,
            self.correct_template,
            verb.label,
            verb=verb,
            form=form,
            event=event,
            name=clean(f"{event.type} {event.subject}", 255),
            ids=str(event.pk),
            target=target,
            changes=[words(change) for change in form.changes] if form.is_bound and form.is_valid() else [],
            behind=corrections.behind(event),
            back=back,
            act_url=self.url("act", verb.name),
        )

    @sensitive_variables()
    def _correct(self, request: HttpRequest, event: OutboxEvent, form: CorrectForm) -> OutboxEvent | None:
        given = form.cleaned_data
        once = str(given["once"] or uuid.uuid4())
        try:
            return correct(event.pk, given["corrected"], actor_of(request), given["reason"], once=once)
        except EventBridgeError as error:
            form.add_error("corrected", str(error))
            return None


@sensitive_variables()
def _shown(event: OutboxEvent) -> str:
    """The masked data as JSON; characters that cannot be seen are written as JSON escapes."""
    data: Any = redact([event.data], redact_keys(event.destination))[0]
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)

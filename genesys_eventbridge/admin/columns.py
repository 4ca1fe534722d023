"""The columns of the event list: the event, its state, its next step, and its last error."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from genesys_eventbridge.admin.badges import breakable, state_badge, when
from genesys_eventbridge.models import was_tried
from genesys_eventbridge.reporting.explain import is_in_flight
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.states import Reason, State
from genesys_eventbridge.text import clean

#: Characters of a type that fit in its column at 1280 px, beside the sidebar.
NARROW = 10
#: Characters of a subject or alias, and of an error, shown in a cell; the full text is in its title.
WIDTH = 40
ERROR_WIDTH = 120


class EventColumns:
    """Each column takes a row of EventChangeList."""

    @admin.display(description=gettext_lazy("state"))
    def state_now(self, event: Any) -> str:
        badge = state_badge(event.state)
        more = _more(event)
        if not more:
            return badge
        return format_html('{} <span class="eventbridge-quiet">{}</span>', badge, more)

    @admin.display(description=gettext_lazy("type"))
    def event_type(self, event: Any) -> str:
        return breakable(event.type, fits=NARROW)

    @admin.display(description=gettext_lazy("subject"))
    def about(self, event: Any) -> str:
        return _cut(event.subject)

    @admin.display(description=gettext_lazy("destination"))
    def to(self, event: Any) -> str:
        return _cut(event.destination)

    @admin.display(description=gettext_lazy("created"), ordering="id")
    def created(self, event: Any) -> str:
        return when(event.created_at, event.now)

    @admin.display(description=gettext_lazy("attempts"))
    def tries(self, event: Any) -> str:
        settings = settings_of(event.destination)
        return f"{event.attempts}/{settings.max_attempts}" if settings else str(event.attempts)

    @admin.display(description=gettext_lazy("next step"))
    def next_step(self, event: Any) -> str:
        """When the event moves next, or what it waits for, in a few words."""
        return event.step.short or _nothing()

    @admin.display(description=gettext_lazy("last result"))
    def last_result(self, event: Any) -> str:
        error, code = clean(event.last_error, 500), str(event.last_status_code or "")
        if not error:
            return code or _nothing()
        text = error if not code or code in error else f"{code}: {error}"
        shown = text if len(text) <= ERROR_WIDTH else f"{text[:ERROR_WIDTH]}…"
        return format_html('<span class="eventbridge-error" title="{}">{}</span>', error, shown)

    @admin.display(description=gettext_lazy("event id"))
    def short_id(self, event: Any) -> str:
        whole = clean(event.event_id, 255)
        return format_html('<code title="{}">{}</code>', whole, whole if len(whole) <= 8 else f"{whole[:8]}…")


def _more(event: Any) -> str:
    if is_in_flight(event, event.now):
        return _("in flight")
    if event.reason in Reason.values:
        return str(Reason(event.reason).label)
    if event.state == State.PENDING and was_tried(event.attempts, event.halts, event.last_error):
        return _("retry %(when)s") % {"when": event.step.short} if event.step.goes else _("retry")
    return ""


def _nothing() -> str:
    """Hidden where a narrow screen has no headings that say what there is none of."""
    return format_html('<span class="eventbridge-none">{}</span>', "-")


def _cut(text: str, width: int = WIDTH) -> str:
    """Untrusted text, shortened for a cell."""
    whole = clean(text, 255)
    if len(whole) <= width:
        return whole
    return format_html('<span title="{}">{}…</span>', whole, whole[:width])

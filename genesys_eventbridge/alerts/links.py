"""The admin's pages that a notice links to."""

from __future__ import annotations

from typing import assert_never

from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from genesys_eventbridge.conf.alerts import AlertSettings
from genesys_eventbridge.states import AlertKind


def page(kind: AlertKind, alias: str, alerts: AlertSettings) -> str:
    """The page to act on: the list of the events concerned, or the dashboard; "" without an admin."""
    match kind:
        case AlertKind.DEAD | AlertKind.UNRESOLVED:
            return _url(alerts, "outboxevent_changelist", {"state": kind.value, "destination": alias})
        case AlertKind.AGE:
            return _url(alerts, "outboxevent_changelist", {"progress": "open", "destination": alias})
        case AlertKind.PAUSED | AlertKind.REFUSALS | AlertKind.WORKER:
            return _url(alerts, "destination_changelist", {})
        case _ as never:
            assert_never(never)


def event_page(number: int, alerts: AlertSettings) -> str:
    return _url(alerts, "outboxevent_change", {}, number)


def _url(alerts: AlertSettings, name: str, query: dict[str, str], *arguments: int) -> str:
    try:
        path = reverse(f"admin:genesys_eventbridge_{name}", args=arguments)
    except NoReverseMatch:
        return ""
    return f"{alerts.site}{path}" + (f"?{urlencode(query)}" if query else "")

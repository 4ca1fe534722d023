"""The context of an event's page, read in a handful of queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.utils import quote
from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Greatest, Least
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge.admin.badges import breakable, state_badge, when
from genesys_eventbridge.formatting import exact, number
from genesys_eventbridge.model_events.catalogue import object_url
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.reporting.explain import explain, facts_for
from genesys_eventbridge.reporting.facts import Facts
from genesys_eventbridge.reporting.payloads import pretty, redact_keys, shape
from genesys_eventbridge.reporting.timeline import SHOWN, history, timeline
from genesys_eventbridge.states import Reason, State
from genesys_eventbridge.text import clean

NO_ID = 2**63 - 1


def with_neighbours(queryset: QuerySet) -> QuerySet:
    """Annotate with the previous and next event of the ordering key.

    One index seek per state: an ordering key may have many events.
    """
    rows = (
        OutboxEvent.objects.using(outbox_alias())
        .filter(ordering_key=OuterRef("ordering_key"), destination=OuterRef("destination"))
        .exclude(ordering_key="")  # for the index, which leaves these out
    )
    before = [_one(rows.filter(state=state, id__lt=OuterRef("id")).order_by("-id"), 0) for state in State]
    after = [_one(rows.filter(state=state, id__gt=OuterRef("id")).order_by("id"), NO_ID) for state in State]
    annotated: QuerySet = queryset.annotate(before=Greatest(*before), after=Least(*after))
    return annotated


def _one(rows: QuerySet, otherwise: int) -> Coalesce:
    return Coalesce(Subquery(rows.values("id")[:1]), Value(otherwise), output_field=BigIntegerField())


def page(
    request: HttpRequest, site: AdminSite, event: Any, *, payload: bool, url: Callable[[int], str]
) -> dict[str, Any]:
    """The template context. ``url`` returns the URL of another event's page."""
    attempts, acts = history(event)
    facts = facts_for(event, acts=acts)
    resends = _resends(event)
    return {
        "event": event,
        "name": breakable(event.type),
        "subject": clean(event.subject, 255),
        "state": state_badge(event.state),
        "reason": Reason(event.reason).label if event.reason in Reason.values else clean(event.reason, 255),
        "next": explain(event, facts),
        "now": facts.now,
        "timeline": timeline(
            event, attempts, acts, facts, keys=redact_keys(event.destination), payload=payload
        ),
        "earlier": attempts[0].number - 1 if attempts else 0,
        "shape": shape(event) if event.body else "",
        "cloudevent": pretty(event, payload=payload),
        "payload": payload,
        "rows": _rows(event, facts),
        "before": url(event.before) if event.ordering_key and event.before else "",
        "after": url(event.after) if event.ordering_key and event.after != NO_ID else "",
        "origin": url(event.origin_id) if event.origin_id else "",
        "resends": [(pk, url(pk)) for pk in resends],
        "blocker": (facts.blocker.id, url(facts.blocker.id)) if facts.blocker else None,
        "object_url": _object_url(request, site, event),
        "object_name": clean(f"{event.object_type} {event.object_id}", 255),
    }


def _resends(event: OutboxEvent) -> list[int]:
    """The copies of an event, or the corrected one; a pending event has none."""
    if event.state == State.PENDING:
        return []
    rows = OutboxEvent.objects.on_outbox().filter(origin=event.pk).order_by("id")
    return list(rows.values_list("id", flat=True)[:SHOWN])


def _rows(event: OutboxEvent, facts: Facts) -> list[tuple[Any, Any]]:
    """Label and value pairs for the table; empty values are left out."""
    settings = facts.settings
    tries = f"{event.attempts} / {settings.max_attempts}" if settings else event.attempts
    key = str(event.idempotency_key)
    if event.key_epoch:
        renewed = ngettext(
            "%(key)s, renewed once by an operator",
            "%(key)s, renewed %(count)s times by an operator",
            event.key_epoch,
        )
        key = renewed % {"key": key, "count": event.key_epoch}
    pairs = [
        (_("Type"), breakable(event.type)),
        (_("Subject"), clean(event.subject, 255)),
        (_("Source"), breakable(event.source)),
        (_("Event id"), clean(event.event_id, 255)),
        (_("Idempotency key"), key),
        (_("Ordering key"), clean(event.ordering_key, 255)),
        (_("Destination"), clean(event.destination, 255)),
        (_("Happened"), exact(event.time)),
        (_("Enqueued"), when(event.created_at, facts.now)),
        (_("Attempts"), tries),
        (_("Status checks"), number(event.checks) if event.checks else ""),
        (_("In doubt since"), when(event.in_doubt_since, facts.now) if event.in_doubt_since else ""),
        (_("Accepted"), when(event.accepted_at, facts.now) if event.accepted_at else ""),
        (_("Finished"), when(event.finished_at, facts.now) if event.finished_at else ""),
        (_("Platform id"), clean(event.remote_id, 255)),
        (_("Last HTTP status"), event.last_status_code or ""),
        (_("Last error"), clean(event.last_error, 500)),
        (_("Correlation id"), clean(event.correlation_id, 255)),
    ]
    return [(name, value) for name, value in pairs if value != ""]


def _object_url(request: HttpRequest, site: AdminSite, event: OutboxEvent) -> str:
    """The object's URL from the registration, or its admin page if this user may view it."""
    if not event.object_type or not event.object_id:
        return ""
    if declared := object_url(event.object_type, event.object_id):
        return declared
    try:
        model = apps.get_model(event.object_type)
        admin = site.get_model_admin(model)
        name = f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_change"
        address = reverse(name, args=(quote(event.object_id),))
    except (LookupError, ValueError, NotRegistered, NoReverseMatch):
        return ""
    return address if admin.has_view_or_change_permission(request) else ""

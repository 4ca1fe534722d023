"""Export events as redacted JSON lines; each event's history records it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.operations.audit import log, needed
from genesys_eventbridge.reporting.payloads import envelope, shape

FIELDS = (
    "id",
    "destination",
    "event_id",
    "idempotency_key",
    "key_epoch",
    "ordering_key",
    "state",
    "reason",
    "attempts",
    "checks",
    "remote_id",
    "last_status_code",
    "last_error",
    "correlation_id",
    "created_at",
    "accepted_at",
    "finished_at",
    "body_sha256",
)
#: Rows read at once; a body may have up to 256 KiB.
BATCH = 50


def export(queryset: QuerySet, actor: Actor, reason: str, *, payload: bool) -> StreamingHttpResponse:
    """A download; event data is included only with ``payload``. Raises ValueError without a reason."""
    message = _("exported: %(reason)s") % {"reason": needed(reason)}
    names = list(queryset.order_by("pk").values_list("pk", "type", "event_id"))
    log(actor, OutboxEvent, [(pk, f"{kind} {event_id}") for pk, kind, event_id in names], message)
    return StreamingHttpResponse(
        _lines(queryset, [pk for pk, _kind, _event_id in names], payload),
        content_type="application/x-ndjson; charset=utf-8",
        headers={
            "Content-Disposition": 'attachment; filename="events.jsonl"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def _lines(queryset: QuerySet, ids: Sequence[int], payload: bool) -> Iterator[str]:
    """Read page by page of ids: a server-side cursor does not survive PgBouncer's transaction pooling."""
    rows = queryset.defer(None)
    for start in range(0, len(ids), BATCH):
        page = rows.filter(pk__in=ids[start : start + BATCH]).order_by("pk")
        for event in page:
            line: dict[str, Any] = {name: getattr(event, name) for name in FIELDS}
            line["event"] = envelope(event, payload=payload)
            if not payload:
                line["data"] = shape(event)
            yield json.dumps(line, ensure_ascii=False, default=str) + "\n"

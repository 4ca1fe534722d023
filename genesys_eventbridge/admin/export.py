"""A download of events; the audit records it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext as _

from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.operations import Order, jobs
from genesys_eventbridge.operations.audit import LOGGED, log, needed
from genesys_eventbridge.reporting.exports import Format, written


def export(
    request: HttpRequest,
    order: Order,
    pages: Iterator[list[int]],
    form: Format,
    *,
    total: int,
    payload: bool,
) -> StreamingHttpResponse:
    """The events of these pages of ids as a file; their data is included only with ``payload``.

    ``total`` is what the audit says. Raises ValueError without a reason.
    """
    needed(order.reason)
    with transaction.atomic(using=outbox_alias()):
        jobs.note(order, total=total)
    return download(request, written(pages, form, payload=payload), f"events.{form}", form)


def download(request: HttpRequest, parts: Iterator[str], name: str, form: Format) -> StreamingHttpResponse:
    """Parts of a file as a response, sent as they are written."""
    return StreamingHttpResponse(
        _async(parts) if isinstance(request, ASGIRequest) else parts,
        content_type=form.content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def note_in_history(order: Order, ids: tuple[int, ...]) -> None:
    """In each event's own history, if they are few."""
    if len(ids) > LOGGED:
        return
    message = _("exported: %(reason)s") % {"reason": needed(order.reason)}
    names = OutboxEvent.objects.on_outbox().filter(pk__in=ids).order_by("pk")
    rows = [(pk, f"{kind} {name}") for pk, kind, name in names.values_list("pk", "type", "event_id")]
    log(order.actor, OutboxEvent, rows, message)


async def _async(parts: Iterator[str]) -> AsyncIterator[str]:
    """For ASGI, where Django would collect a plain iterator in memory first."""
    following = sync_to_async(lambda: next(parts, None))
    while (part := await following()) is not None:
        yield part

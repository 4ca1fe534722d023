"""An event checked and encoded: the row as it will be written, its bytes fixed."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.utils import timezone

from genesys_eventbridge import conf, schemas
from genesys_eventbridge.clock import DatabaseNow
from genesys_eventbridge.cloudevents import NO_DATA, build_event, check_text, content_digest
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import OutboxEvent

#: Maps a caller's text key to the UUID on the wire. Fixed for ever: changing it would double events.
NAMESPACE = uuid.UUID("6f1c3a52-9d0b-5e6e-8c55-2f0f0d6a7b11")

_NOW = DatabaseNow()


def draft(
    type: str,  # noqa: A002 - the CloudEvents word
    data: Any = NO_DATA,
    *,
    source: str | None = None,
    subject: str | None = None,
    time: dt.datetime | str | None = None,
    dataschema: str | None = None,
    datacontenttype: str | None = None,
    extensions: Mapping[str, Any] | None = None,
    ordering_key: str | None = None,
    idempotency_key: uuid.UUID | str | None = None,
    event_id: uuid.UUID | str | None = None,
    delay: dt.timedelta | float | None = None,
    destination: str = "default",
    about: Model | None = None,
) -> OutboxEvent:
    """The row of one event, not yet in the database. Raises InvalidEvent, naming the field."""
    destination_settings = conf.destination(destination)
    if data is NO_DATA:
        raise InvalidEvent("data", "is required by the platform; pass data=None for JSON null")
    event = build_event(
        type,
        data,
        source=destination_settings.source if source is None else source,
        id=event_id,
        subject=subject,
        time=time,
        dataschema=dataschema,
        datacontenttype=datacontenttype,
        extensions=extensions,
        max_bytes=destination_settings.max_event_bytes,
    )
    if event.type in destination_settings.schemas:
        schemas.validate(destination, event.type, event.data)
    seconds = _seconds(delay)
    due = DatabaseNow(seconds)
    return OutboxEvent(
        destination=destination,
        event_id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject or "",
        time=event.occurred_at if settings.USE_TZ else timezone.make_naive(event.occurred_at),
        body=event.encode(),
        body_sha256=event.sha256,
        content_sha256=content_digest(event, destination, with_time=time is not None),
        idempotency_key=uuid.uuid4() if idempotency_key is None else wire_uuid(idempotency_key, destination),
        ordering_key="" if ordering_key is None else check_text("ordering_key", ordering_key, 255),
        not_before=due if seconds else None,
        due_at=due,
        created_at=_NOW,
        object_type="" if about is None else _concrete_label(about),
        object_id="" if about is None else str(about.pk),
    )


def wire_uuid(idempotency_key: Any, destination: str) -> uuid.UUID:
    """A UUID as it is; any other text as a UUID of its own, fixed per destination."""
    if isinstance(idempotency_key, uuid.UUID):
        return idempotency_key
    if not isinstance(idempotency_key, str) or not idempotency_key:
        raise InvalidEvent("idempotency_key", "must be a UUID or a text that is not empty")
    try:
        return uuid.uuid5(NAMESPACE, f"{destination}\0{idempotency_key}")
    except UnicodeEncodeError:
        raise InvalidEvent("idempotency_key", "holds a lone surrogate") from None


def _seconds(delay: dt.timedelta | float | None) -> float:
    seconds: Any = delay.total_seconds() if isinstance(delay, dt.timedelta) else delay or 0.0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise InvalidEvent("delay", "must be a timedelta or seconds, not negative")
    return float(seconds)


def _concrete_label(about: Model) -> str:
    """A proxy is the same object as its model."""
    return (about._meta.concrete_model or type(about))._meta.label_lower

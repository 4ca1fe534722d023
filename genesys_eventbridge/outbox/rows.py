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

from genesys_eventbridge import conf
from genesys_eventbridge.cloudevents import NO_DATA, build_event, check_text, content_digest
from genesys_eventbridge.db.clock import LONGEST_WAIT, DatabaseNow
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import schemas
from genesys_eventbridge.text import is_storable

#: Maps a caller's text key to the UUID on the wire. Fixed for ever: changing it would double events.
NAMESPACE = uuid.UUID("6f1c3a52-9d0b-5e6e-8c55-2f0f0d6a7b11")

_NOW = DatabaseNow()

#: The width of the outbox's columns for a caller's text.
_WIDTH = 255


def build_row(
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
    object_type, object_id = _object(about)
    seconds = _seconds(delay)
    due = DatabaseNow(seconds)
    return OutboxEvent(
        destination=destination,
        event_id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject or "",
        time=_stored_time(event.occurred_at),
        body=event.encode(),
        body_sha256=event.sha256,
        content_sha256=content_digest(event, destination, with_time=time is not None),
        idempotency_key=uuid.uuid4() if idempotency_key is None else wire_uuid(idempotency_key, destination),
        ordering_key="" if ordering_key is None else check_text("ordering_key", ordering_key, _WIDTH),
        not_before=due if seconds else None,
        due_at=due,
        created_at=_NOW,
        object_type=object_type,
        object_id=object_id,
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
    if seconds > LONGEST_WAIT:
        raise InvalidEvent("delay", f"is more than 10 years ({LONGEST_WAIT:.0f}); seconds, not milliseconds")
    return float(seconds)


def can_be_linked(about: Model) -> bool:
    """Whether an event can lead staff to this object."""
    try:
        _object(about)
    except InvalidEvent:
        return False
    return True


def _stored_time(occurred_at: dt.datetime) -> dt.datetime:
    """As the database takes it. A day from the ends of the calendar no zone can express it any more."""
    if not _FIRST_DAY <= occurred_at < _LAST_DAY:
        raise InvalidEvent("time", "is outside of 0001-01-02 to 9999-12-30, which every database can store")
    return occurred_at if settings.USE_TZ else timezone.make_naive(occurred_at)


_FIRST_DAY, _LAST_DAY = dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


def _object(about: Model | None) -> tuple[str, str]:
    """``object_type`` and ``object_id`` of the business object. A proxy is the same object as its model."""
    if about is None:
        return "", ""
    if not isinstance(about, Model):
        raise InvalidEvent("about", f"must be a model instance, not {type(about).__name__}")
    keys = about.pk if isinstance(about.pk, tuple) else (about.pk,)
    if None in keys:
        raise InvalidEvent("about", "has no primary key: save it first, and pass it before it is deleted")
    text = str(about.pk)
    if len(text) > _WIDTH or not is_storable(text):
        raise InvalidEvent(
            "about",
            f"has a primary key that the outbox cannot store: at most {_WIDTH} characters, no NUL "
            "and no lone surrogate; leave about out",
        )
    return (about._meta.concrete_model or type(about))._meta.label_lower, text

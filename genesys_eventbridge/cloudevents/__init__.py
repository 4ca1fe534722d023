"""A CloudEvent 1.0 in JSON format, built, validated and encoded once: values in, text out."""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, final
from uuid import UUID, uuid4

from genesys_eventbridge.cloudevents import attributes
from genesys_eventbridge.cloudevents.attributes import MAX_LENGTH, ExtensionValue, check_text
from genesys_eventbridge.cloudevents.data import a_type, exact_text, plain, too_large
from genesys_eventbridge.cloudevents.timestamps import utc_milliseconds
from genesys_eventbridge.errors import InvalidEvent

__all__ = [
    "MAX_BYTES",
    "MAX_LENGTH",
    "NO_DATA",
    "CloudEvent",
    "build_event",
    "check_size",
    "check_text",
    "content_digest",
    "digest",
]

MAX_BYTES = 1024 * 1024  # if the caller sets no limit; more than most gateways accept

_encode = json.JSONEncoder(
    ensure_ascii=False,  # a euro sign is 3 bytes, escaped 6
    allow_nan=False,
    check_circular=False,  # the encoder only sees trees made by plain()
    separators=(",", ":"),
).encode
_encode_sorted = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), sort_keys=True
).encode


@final
class _NoData:
    """The type of NO_DATA: falsy, and the same object in every copy and pickle."""

    def __repr__(self) -> str:
        return "NO_DATA"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "NO_DATA"


NO_DATA: Final = _NoData()
"""No ``data`` at all; ``data=None`` is an explicit JSON null."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """A valid event, made by ``build_event``. Its ``repr`` is safe to log: no data, no extensions."""

    id: str
    source: str
    type: str
    time: str
    """As encoded: ``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    occurred_at: datetime
    """``time`` as a datetime in UTC."""
    subject: str | None
    datacontenttype: str | None
    dataschema: str | None
    _extensions: tuple[tuple[str, ExtensionValue], ...] = field(repr=False)
    _members: Mapping[str, Any] = field(repr=False, compare=False)
    _body: str = field(repr=False)

    def encode(self) -> str:
        """The exact body to store and send, the same text at every call; UTF-8 on the wire."""
        return self._body

    @property
    def sha256(self) -> str:
        """The digest of the body, to detect any later change."""
        return digest(self._body)

    @property
    def extensions(self) -> Mapping[str, ExtensionValue]:
        """Extension attributes as encoded, read-only."""
        return MappingProxyType(dict(self._extensions))

    @property
    def data(self) -> Any:
        """What a consumer reads, as a new object: a JSON value, bytes, or NO_DATA."""
        members = json.loads(self._body)
        if "data_base64" in members:
            return b64decode(members["data_base64"])
        return members.get("data", NO_DATA)


def build_event(
    type: str,  # noqa: A002 - the specification's name
    data: object = NO_DATA,
    *,
    source: str,
    id: UUID | str | None = None,  # noqa: A002
    subject: str | None = None,
    time: datetime | str | None = None,
    dataschema: str | None = None,
    datacontenttype: str | None = None,
    extensions: Mapping[str, object] | None = None,
    max_bytes: int = MAX_BYTES,
) -> CloudEvent:
    """Build one CloudEvent, validated and encoded now: later changes to the arguments do not affect it.

    ``id`` is text or a UUID, a new uuid4 if None. ``time`` is when it happened, an aware datetime or an
    RFC 3339 text, now if None. ``extensions`` maps names of a-z and 0-9 to text, bool, int, bytes or aware
    datetimes.

    ``data`` is any JSON value, or a value that ``cloudevents.data.plain`` converts to one (Decimal, datetime,
    UUID, Enum, ...). None is JSON null, NO_DATA omits the member, bytes are sent as ``data_base64``. If
    ``datacontenttype`` is not JSON, data must be text or bytes; if it is None, JSON data is marked
    ``application/json``.

    ``max_bytes`` limits the encoded body. Raises InvalidEvent with the attribute or the path in data.
    """
    event_id = str(uuid4()) if id is None else check_text("id", id, MAX_LENGTH)
    source = attributes.source(source)
    type = attributes.event_type(type)  # noqa: A001
    if subject is not None:
        subject = check_text("subject", subject, MAX_LENGTH)
    occurred_at = attributes.timestamp("time", datetime.now(UTC) if time is None else time)
    if dataschema is not None:
        dataschema = attributes.uri("dataschema", dataschema)
    if datacontenttype is not None:
        datacontenttype = attributes.media_type("datacontenttype", datacontenttype)
    extension_values = attributes.extensions(extensions)
    payload = _payload(data, datacontenttype, max_bytes)
    if "data" in payload and datacontenttype is None:
        datacontenttype = "application/json"

    envelope = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": type,
        "subject": subject,
        "time": utc_milliseconds(occurred_at),
        "datacontenttype": datacontenttype,
        "dataschema": dataschema,
        **extension_values,
    }
    members = {name: value for name, value in envelope.items() if value is not None} | payload
    event = CloudEvent(
        id=event_id,
        source=source,
        type=type,
        time=members["time"],
        occurred_at=occurred_at,
        subject=subject,
        datacontenttype=datacontenttype,
        dataschema=dataschema,
        _extensions=tuple(extension_values.items()),
        _members=members,
        _body=_encode(members),
    )
    check_size(event, max_bytes)
    return event


def check_size(event: CloudEvent, limit: int) -> None:
    """Raises InvalidEvent if the body has more than ``limit`` bytes in UTF-8."""
    size = len(event.encode().encode())
    if size > limit:
        raise too_large(limit, size)


def content_digest(
    event: CloudEvent, destination: str, *, with_time: bool, without: Collection[str] = ()
) -> str:
    """The SHA-256 of the event's content, in hexadecimal: equal content gives equal digests.

    It covers the destination and the whole event except its id and the members ``without``; ``time`` only
    ``with_time``, which is for callers that passed one. The order of members does not matter.
    """
    ours = {"specversion", "id", *without} if with_time else {"specversion", "id", "time", *without}
    members = {name: value for name, value in event._members.items() if name not in ours}
    return digest(_encode_sorted({"destination": destination, "event": members}))


def digest(text: str) -> str:
    """The SHA-256 of the text's UTF-8 bytes, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


def _payload(data: object, media_type: str | None, limit: int) -> dict[str, Any]:
    """The one member that carries ``data``, or no member."""
    if data is NO_DATA:
        return {}
    if isinstance(data, (bytes, bytearray, memoryview)):
        raw = bytes(data)
        if len(raw) > limit:
            raise too_large(limit)
        return {"data_base64": b64encode(raw).decode("ascii")}
    if media_type is not None and not attributes.is_json(media_type) and exact_text(data) is None:
        raise InvalidEvent(
            "data",
            f"is {a_type(data)}, but a datacontenttype that is not JSON takes only text or bytes; encode it, "
            "or leave datacontenttype out",
        )
    return {"data": plain(data, limit=limit)}

"""A CloudEvent for display: pretty and redacted, or only its attributes and the shape of its data."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge import formatting
from genesys_eventbridge.cloudevents import NO_DATA
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.reporting.facts import settings_of
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact

#: Maximum length of one escaped character: \\U000e0001.
ESCAPED = 10


def redact_keys(destination: str) -> Collection[str]:
    """The names to mask, even if the destination is no longer configured."""
    settings = settings_of(destination)
    return settings.platform.rules.redact_keys if settings else DEFAULT_REDACT_KEYS


@sensitive_variables()
def visible(text: str) -> str:
    """The whole line, with invisible characters escaped."""
    return clean(text, ESCAPED * len(text))


@sensitive_variables()
def envelope(event: OutboxEvent, *, payload: bool) -> dict[str, Any] | None:
    """The event as sent, masked by REDACT_KEYS; without ``payload`` it has no data. None if blanked."""
    if not event.body:
        return None
    members = json.loads(event.body)
    if not payload:
        members = {name: value for name, value in members.items() if name not in ("data", "data_base64")}
    masked: dict[str, Any] = redact(members, redact_keys(event.destination))
    return masked


@sensitive_variables()
def pretty(event: OutboxEvent, *, payload: bool) -> str:
    """The envelope as indented JSON, which the page shows as text; "" if it was blanked."""
    members = envelope(event, payload=payload)
    if members is None:
        return ""
    lines = json.dumps(members, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(map(visible, lines))


@sensitive_variables()
def shape(event: OutboxEvent) -> str:
    """The kind and size of the data without its content: "an object with 5 members, 1,204 bytes"."""
    data = event.data
    if data is NO_DATA:
        return _("no data")
    size = len(json.dumps(data, ensure_ascii=False).encode()) if not isinstance(data, bytes) else len(data)
    bytes_ = ngettext("%(count)s byte", "%(count)s bytes", size) % {"count": formatting.number(size)}
    return f"{_kind(data)}, {bytes_}"


def _kind(data: Any) -> str:
    match data:
        case dict():
            return ngettext(
                "an object with %(count)s member", "an object with %(count)s members", len(data)
            ) % {"count": len(data)}
        case list():
            return ngettext("an array of %(count)s item", "an array of %(count)s items", len(data)) % {
                "count": len(data)
            }
        case bytes():
            return _("binary data")
        case str():
            return _("text")
        case None:
            return _("null")
        case bool():
            return _("true or false")
    return _("a number")

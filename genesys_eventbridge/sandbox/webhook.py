"""What a request to a webhook carries: the token in its path, and a CloudEvent in its body or its headers."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from genesys_eventbridge.sandbox.wire import Request

_PATH = re.compile(r"/api/v2/integrations/webhooks/([^/]+)/events")
_ABOVE_TOKEN, _BELOW_TOKEN = "/webhooks/", "/events"
_MASK = "{token}"
_MANDATORY = frozenset(("specversion", "id", "source", "type"))
_PREFIX = "ce-"
_ESCAPED = re.compile(r"\\(.)")


def token_in(path: str) -> str | None:
    """The token of an invocation's path; None for any other path."""
    found = _PATH.fullmatch(path)
    return found[1] if found else None


def masked(path: str, token: str) -> str:
    """``path`` without the token of a webhook, be it ours or another one, sent here by mistake."""
    above, mark, below = path.partition(_ABOVE_TOKEN)
    if below:
        path = f"{above}{mark}{_MASK}{_BELOW_TOKEN if below.endswith(_BELOW_TOKEN) else ''}"
    return "/".join(_MASK if segment == token else segment for segment in path.split("/"))


def event_in(request: Request, body: Any) -> tuple[Mapping[str, Any], bytes]:
    """The attributes of the CloudEvent that ``request`` carries, and the event as JSON.

    ``body`` is the value of the request's JSON. The attributes are in ``ce-*`` headers (binary mode) or in
    the body beside the data; the media type is ``application/json`` in both cases. Without a CloudEvent
    there are no attributes, and the JSON is the body as it is.
    """
    attributes = _attributes(request)
    if attributes.keys() >= _MANDATORY:
        attributes["datacontenttype"] = request.headers["content-type"]
        return attributes, json.dumps(attributes)[:-1].encode() + b', "data": ' + request.body + b"}"
    is_event = isinstance(body, dict) and body.keys() >= _MANDATORY
    return body if is_event else {}, request.body


def attribute_headers(request: Request) -> dict[str, str]:
    """The ``ce-*`` headers as they came."""
    return {name: value for name, value in request.headers.items() if name.startswith(_PREFIX)}


def _attributes(request: Request) -> dict[str, str]:
    values = {name: _decoded(value) for name, value in attribute_headers(request).items()}
    return {name.removeprefix(_PREFIX): value for name, value in values.items() if value is not None}


def _decoded(value: str) -> str | None:
    """The attribute in a header: CloudEvents HTTP binding, section 3.1.3.2. None if it is not encoded so."""
    if not value.isascii():
        return None
    if len(value) > 1 and value[0] == value[-1] == '"':  # senders of older versions quote instead
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return None

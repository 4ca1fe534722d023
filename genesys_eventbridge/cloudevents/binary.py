"""The binary content mode of the CloudEvents HTTP binding: attributes as headers, data as the body."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

#: Printable ASCII except space, double quote and percent: these stay as they are in a header value.
_AS_THEY_ARE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_decode = json.JSONDecoder().raw_decode
_WHITESPACE = " \t\n\r"


def binary(body: str) -> tuple[tuple[tuple[str, str], ...], str, str]:
    """An event in structured mode, as ``ce-`` headers, media type, and the text of its data.

    Values are percent-encoded as section 3.1.3.2 of the HTTP binding says. The data is cut out of ``body``
    as it is. Raises ValueError if ``body`` is not an event with JSON data.
    """
    headers: list[tuple[str, str]] = []
    media_type, data = "application/json", None
    for name, value, start, end in _members(body):
        if name == "data":
            data = body[start:end]
        elif name == "datacontenttype":
            media_type = value
        elif name == "data_base64":
            break
        else:
            headers.append((f"ce-{name}", header_value(value)))
    if data is None:
        raise ValueError("the event has no JSON data")
    return tuple(headers), media_type, data


def header_value(value: Any) -> str:
    """An attribute as a header carries it: its canonical text (``true``, ``42``), percent-encoded."""
    return quote(value if isinstance(value, str) else json.dumps(value), safe=_AS_THEY_ARE)


def _members(body: str) -> Iterator[tuple[str, Any, int, int]]:
    """Name, value, and where the value's text begins and ends, of each member of a JSON object."""
    at = _after(body, 0, "{")
    while True:
        name, at = _decode(body, _skip(body, at))
        start = _skip(body, _after(body, at, ":"))
        value, at = _decode(body, start)
        yield name, value, start, at
        at = _skip(body, at)
        if body[at : at + 1] == "}":
            return
        at = _after(body, at, ",")


def _after(body: str, at: int, sign: str) -> int:
    at = _skip(body, at)
    if body[at : at + 1] != sign:
        raise ValueError(f"not a JSON object: {sign} is missing")
    return at + 1


def _skip(body: str, at: int) -> int:
    while body[at : at + 1] and body[at] in _WHITESPACE:
        at += 1
    return at

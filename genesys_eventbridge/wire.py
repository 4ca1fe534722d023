"""What may stand on the wire: header names and values, URL paths, credentials for a Basic header."""

from __future__ import annotations

import ipaddress
import re
from typing import TypeGuard

#: What a request is made of; EXTRA_HEADERS cannot replace it.
RESERVED_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~%:@!$&'()*+,;=-]+)+")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PROXY = re.compile(
    rf"https?://(?:[^\s/?#@\[\]\x00-\x20\x7f-\U0010ffff]+@)?"
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?/?"
)


def is_header_name(value: object) -> TypeGuard[str]:
    """A token of RFC 9110, section 5.6.2."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_header_value(value: object) -> TypeGuard[str]:
    """Printable ASCII, not empty, without spaces at its ends."""
    return isinstance(value, str) and _VALUE.fullmatch(value) is not None


def is_url_path(value: object) -> TypeGuard[str]:
    """``/a/b``: no empty segment, none of dots alone, nothing that would need escaping."""
    return (
        isinstance(value, str)
        and _PATH.fullmatch(value) is not None
        and not {".", ".."} & set(value.split("/"))
    )


def is_credential(value: object) -> TypeGuard[str]:
    """What goes into Basic as it is: printable ASCII, not empty."""
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def is_proxy_url(value: object) -> TypeGuard[str]:
    """``http://user:password@proxy.example.com:3128``: no path, no query."""
    found = _PROXY.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        return False
    try:
        return not found["ipv6"] or bool(ipaddress.IPv6Address(found["ipv6"]))
    except ValueError:
        return False

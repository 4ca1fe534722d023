"""What is valid on the wire: header names and values, hosts, URL paths, Basic credentials."""

from __future__ import annotations

import ipaddress
import re
from typing import TypeGuard
from urllib.parse import unquote

from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, names_a_key

#: Parts of the request itself, in lower case. Neither EXTRA_HEADERS nor IDEMPOTENCY_HEADER may name one.
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
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
#: Gateways accept a request line of 8 KiB, which ends with the platform's id of an event.
LONGEST_PATH = 2000
_CREDENTIAL_NAMES = (*DEFAULT_REDACT_KEYS, "token", "key", "auth", "pass", "signature")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_MEDIA_TYPE = re.compile(
    rf"{_NAME.pattern}/{_NAME.pattern}"
    rf'(?:[ \t]*;[ \t]*{_NAME.pattern}=(?:{_NAME.pattern}|"(?:[\t !#-\[\]-~]|\\[\t -~])*"))*'
)
_INVOCATION = re.compile(r"(/integrations/+(?:\./+)*webhooks/+)[^/?#\'\"\s]+", re.IGNORECASE)
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~:@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)+")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PROXY = re.compile(
    r"https?://(?:(?P<login>[^\s/?#@\[\]\x00-\x20\x7f-\U0010ffff]+)@)?"
    r"(?P<host>\[[^\]]*\]|[^\s/?#@\[\]:]+)(?::(?P<port>[0-9]{1,5}))?/?"
)


def is_header_name(value: object) -> TypeGuard[str]:
    """A token of RFC 9110, section 5.6.2."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_header_value(value: object) -> TypeGuard[str]:
    """Non-empty printable ASCII without leading or trailing spaces."""
    return isinstance(value, str) and _VALUE.fullmatch(value) is not None


def is_free_header_name(value: object) -> TypeGuard[str]:
    """The name of a header that the app does not set (see RESERVED_HEADERS; ignores case)."""
    return is_header_name(value) and value.lower() not in RESERVED_HEADERS


def is_media_type(value: object) -> TypeGuard[str]:
    """``type/subtype; name=value``: a media type of RFC 9110, section 8.3.1."""
    return isinstance(value, str) and _MEDIA_TYPE.fullmatch(value) is not None


def is_credential_header(name: str) -> bool:
    """Whether a header of this name is likely to carry a credential."""
    return names_a_key(name, _CREDENTIAL_NAMES)


def is_url_path(value: object) -> TypeGuard[str]:
    """``/a/b``: no empty segments, no segments of only dots (even escaped), nothing that needs escaping."""
    return (
        isinstance(value, str)
        and len(value) <= LONGEST_PATH
        and _PATH.fullmatch(value) is not None
        and not {".", ".."} & set(map(unquote, value.split("/")))
    )


def is_invocation(url: str) -> bool:
    """Whether a URL or path, however it is spelled, is that of a webhook: it holds a credential then."""
    return _INVOCATION.search(unquote(url)) is not None


def without_token(text: str) -> str:
    """Configured text for an error message, without the token of an invocation URL."""
    return _INVOCATION.sub(r"\1***", text)


def is_credential(value: object) -> TypeGuard[str]:
    """Valid in a Basic header as it is: non-empty printable ASCII."""
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def normal_host(host: str) -> str:
    """A DNS name in lower case or a literal address, with IPv6 in brackets; "" if it is neither.

    Resolvers treat a name whose last label is a number as an IPv4 address (``2130706433``, ``0x7f.1``), so
    such a name must be an address in dotted form. One trailing dot is removed.
    """
    try:
        if host.startswith("["):
            inner = host[1:-1] if host.endswith("]") and "%" not in host else ""  # URLs have no zone
            return f"[{ipaddress.IPv6Address(inner)}]"
        name = host.lower().removesuffix(".")
        labels = name.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            return str(ipaddress.IPv4Address(name))
    except ValueError:
        return ""
    return name if len(name) <= 253 and all(map(_LABEL.fullmatch, labels)) else ""


def is_loopback(host: str) -> bool:
    """Whether ``host``, as returned by ``normal_host``, is this machine: localhost, 127.0.0.0/8 or [::1].

    Any other name or address is another machine, including ``127.example.com`` and
    ``[::ffff:127.0.0.1]``.
    """
    if host in {"localhost", "[::1]"}:
        return True
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def is_proxy_url(value: object) -> TypeGuard[str]:
    """``http://user:password@proxy.example.com:3128``, without path and query.

    A colon in the user name is refused, even escaped: Basic authentication ends the name there (RFC 7617).
    """
    found = _PROXY.fullmatch(value) if isinstance(value, str) else None
    return (
        found is not None
        and int(found["port"] or 1) in range(1, 65536)
        and bool(normal_host(found["host"]))
        and ":" not in unquote((found["login"] or "").partition(":")[0])
    )

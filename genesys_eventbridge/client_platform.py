"""One organisation of the platform: addresses, credentials, names and limits, checked once."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

import httpx

from genesys_eventbridge import __version__
from genesys_eventbridge.regions import check_url
from genesys_eventbridge.text import REDACTED, clean
from genesys_eventbridge.verdicts import Rules
from genesys_eventbridge.wire import (
    RESERVED_HEADERS,
    is_credential,
    is_header_name,
    is_header_value,
    is_url_path,
)

#: A text, or a callable that returns it: called in the thread that needs a token, read again after a refusal.
Secret = str | Callable[[], str]

DEFAULT_SCOPES = ("eventbridge:event:publish", "eventbridge:events:read")
USER_AGENT = f"genesys-eventbridge/{__version__} httpx/{httpx.__version__} python/{platform.python_version()}"
_REMOTE_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")


@dataclass(frozen=True, kw_only=True, repr=False)
class Platform:
    """Where one organisation is reached and how. Names are the settings' in lower case, times are seconds.

    Raises ValueError, naming the setting, for what can never work. Its repr holds no secret.
    """

    api_base_url: str
    login_base_url: str
    client_id: Secret
    client_secret: Secret
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    token_path: str = "/oauth/token"  # noqa: S105 - a path
    events_path: str = "/api/v2/eventbridge/events"
    idempotency_header: str = "Idempotency-Key"
    content_type: str = "application/cloudevents+json"
    extra_headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    connect_timeout: float = 5.0
    request_deadline: float = 20.0
    ca_bundle: str | None = None
    proxy: str | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        self._set("api_base_url", check_url(self.api_base_url, "API_BASE_URL"))
        self._set("login_base_url", check_url(self.login_base_url, "LOGIN_BASE_URL"))
        if not callable(self.client_id):
            check_client_id(self.client_id)
        if not callable(self.client_secret):
            check_client_secret(self.client_secret)
        self._set("scopes", _words(self.scopes, "SCOPES"))
        for setting in ("TOKEN_PATH", "EVENTS_PATH"):
            _path(getattr(self, setting.lower()), setting)
        header_name(self.idempotency_header, "IDEMPOTENCY_HEADER")
        header_value(self.content_type, "CONTENT_TYPE")
        self._set("extra_headers", _extra_headers(self.extra_headers, self.idempotency_header))
        for setting in ("CONNECT_TIMEOUT", "REQUEST_DEADLINE"):
            _seconds(getattr(self, setting.lower()), setting)
        _ca_bundle(self.ca_bundle)
        _proxy(self.proxy)

    def __repr__(self) -> str:
        return f"Platform({self.api_base_url!r}, {self.login_base_url!r}, client_secret={REDACTED!r})"

    @property
    def token_url(self) -> str:
        return self.login_base_url + self.token_path

    @property
    def events_url(self) -> str:
        return self.api_base_url + self.events_path

    @property
    def timeouts(self) -> dict[str, float]:
        """What httpx's own transports take; ours has the connect timeout and the total deadline."""
        limit = self.request_deadline
        return {"connect": self.connect_timeout, "read": limit, "write": limit, "pool": limit}

    def status_url(self, remote_id: str) -> str:
        """The URL to ask for one event: its id as exactly one path segment, whatever it holds.

        Raises ValueError for an id that no segment can hold: empty, only dots, control characters.
        """
        if not _REMOTE_ID.fullmatch(remote_id) or not remote_id.strip("."):
            raise ValueError(f"remote_id {clean(repr(remote_id), 60)} is not the id of an event")
        return f"{self.events_url}/{quote(remote_id, safe='')}"

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def check_client_id(value: object) -> str:
    """``value``, fit for a Basic header. Raises ValueError naming CLIENT_ID."""
    text = _credential(value, "CLIENT_ID")
    if ":" in text:
        raise ValueError("CLIENT_ID holds a colon, which ends an id in a Basic header. Is it a client's id?")
    return text


def check_client_secret(value: object) -> str:
    """``value``, fit for a Basic header. Raises ValueError naming CLIENT_SECRET and never its value."""
    return _credential(value, "CLIENT_SECRET")


def header_name(value: object, setting: str) -> str:
    """``value`` where HTTP allows it as a header's name, else ValueError."""
    if not is_header_name(value):
        raise ValueError(f"{setting}: {clean(repr(value), 60)} is not the name of a header")
    return value


def header_value(value: object, setting: str) -> str:
    """``value`` where it is printable ASCII without outer spaces, else ValueError; the value is not shown."""
    if not is_header_value(value):
        raise ValueError(f"{setting} must be printable ASCII without spaces at its ends, to go into a header")
    return value


def _credential(value: object, setting: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{setting} must be text that is not empty. Is its environment variable set?")
    if not is_credential(value):
        raise ValueError(
            f"{setting} holds a control character or a letter beyond ASCII. Often it is the line break at "
            "the end of a file: strip it."
        )
    return value


def _words(value: object, setting: str) -> tuple[str, ...]:
    words = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(is_header_value(word) for word in words):
        raise ValueError(f"{setting} must be a list of texts; [] sends none")
    return words


def _path(value: object, setting: str) -> None:
    if not is_url_path(value):
        raise ValueError(f"{setting} {clean(repr(value), 80)} is no URL path like /api/v2/eventbridge/events")


def _extra_headers(value: object, idempotency_header: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("EXTRA_HEADERS must be a dict of header names and values")
    for name, text in value.items():
        header_name(name, "EXTRA_HEADERS")
        if name.lower() in RESERVED_HEADERS | {idempotency_header.lower()}:
            raise ValueError(f"EXTRA_HEADERS cannot hold {name}: every request sets it by itself")
        header_value(text, f"EXTRA_HEADERS[{name!r}]")
    return MappingProxyType(dict(value))


def _seconds(value: object, setting: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{setting} must be a number of seconds above 0")


def _ca_bundle(value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(
            "CA_BUNDLE must be the path of a PEM file or folder, or None; it cannot be switched off"
        )


def _proxy(value: object) -> None:
    if value is None:
        return
    try:
        url = httpx.Proxy(str(value)).url
    except (ValueError, httpx.InvalidURL):
        url = httpx.URL()  # said below: the text of the error may hold the password
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(
            "PROXY must be a URL such as http://proxy.example.com:3128 or http://user:password@proxy:3128"
        )

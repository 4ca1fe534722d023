"""One organisation of the platform: addresses, credentials, names and limits, checked once."""

from __future__ import annotations

import base64
import math
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

import httpx

from genesys_eventbridge import __version__
from genesys_eventbridge.errors import Halted, without_arguments
from genesys_eventbridge.regions import check_url
from genesys_eventbridge.text import REDACTED, SHORTEST_ANYWHERE, clean
from genesys_eventbridge.tls import ClientCertificate
from genesys_eventbridge.verdicts import Halt, Rules
from genesys_eventbridge.wire import (
    RESERVED_HEADERS,
    conflicts,
    is_credential,
    is_credential_header,
    is_free_header_name,
    is_header_name,
    is_header_value,
    is_media_type,
    is_proxy_url,
    is_url_path,
)

#: A text, or a callable that returns it: called in the thread that needs it, read again after a refusal.
Secret = str | Callable[[], str]
#: Names and values, or a callable that returns them.
ExtraHeaders = Mapping[str, Secret] | Callable[[], Mapping[str, Secret]]

DEFAULT_SCOPES = ("eventbridge:event:publish", "eventbridge:events:read")
USER_AGENT = f"genesys-eventbridge/{__version__} httpx/{httpx.__version__} python/{platform.python_version()}"
_REMOTE_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")


#: A shorter secret is not looked for, not even as a word of its own.
_SHORTEST_SECRET = 4
#: Values of one setting that are remembered: the one in use, and those before it of requests on their way.
_REMEMBERED_VALUES = 3


@dataclass(frozen=True, kw_only=True, repr=False)
class Platform:
    """Where one organisation is reached and how. Names are the settings' in lower case, times are seconds.

    ``client_id``, ``client_secret``, ``proxy``, ``extra_headers`` and its values may be callables. Raises
    ValueError, naming the setting, for what can never work. Its repr holds no secret, and neither does an
    error report: what is raised has lost the arguments.
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
    extra_headers: ExtraHeaders = field(default_factory=dict, hash=False)
    connect_timeout: float = 5.0
    request_deadline: float = 20.0
    ca_bundle: str | None = None
    client_cert: ClientCertificate | None = None
    proxy: str | Callable[[], str | None] | None = None
    rules: Rules = field(default_factory=Rules)
    #: What callables returned lately, by setting: it stands in no text either.
    _returned: dict[str, tuple[Any, ...]] = field(init=False, compare=False, repr=False, default_factory=dict)

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
        _idempotency_header(self.idempotency_header)
        _content_type(self.content_type)
        if not callable(self.extra_headers):
            self._set("extra_headers", _extra_headers(self.extra_headers, self.idempotency_header))
        for setting in ("CONNECT_TIMEOUT", "REQUEST_DEADLINE"):
            _seconds(getattr(self, setting.lower()), setting)
        _ca_bundle(self.ca_bundle)
        self._set("client_cert", _client_cert(self.client_cert))
        if not callable(self.proxy):
            _proxy(self.proxy, "PROXY")
        self._check_together(proxied=isinstance(self.proxy, str))

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

    def headers(self) -> dict[str, str]:
        """EXTRA_HEADERS as they are sent now. Raises Halted(config), by name, for a callable that fails."""
        given = self.extra_headers
        if callable(given):
            given = self._read("EXTRA_HEADERS", given, self._usable_headers)
        return {
            name: value
            if isinstance(value, str)
            else self._read(f"EXTRA_HEADERS[{name!r}]", value, header_value)
            for name, value in given.items()
        }

    def _usable_headers(self, value: object, _setting: str) -> None:
        _extra_headers(value, self.idempotency_header)

    def proxy_url(self) -> str | None:
        """PROXY as it is used now. Raises Halted(config) for a callable that fails, never with its words."""
        if self.proxy is None or isinstance(self.proxy, str):
            return self.proxy
        url: str | None = self._read("PROXY", self.proxy, self._usable_proxy)
        return url

    def _usable_proxy(self, value: object, setting: str) -> None:
        _proxy(value, setting)
        self._check_together(proxied=value is not None)

    def _check_together(self, *, proxied: bool) -> None:
        for _setting, message in conflicts(
            api_base_url=self.api_base_url,
            login_base_url=self.login_base_url,
            token_path=self.token_path,
            events_path=self.events_path,
            proxied=proxied,
        ):
            raise ValueError(message)

    def secrets(self) -> tuple[str, ...]:
        """What no text may show: values of EXTRA_HEADERS, the login of PROXY, the passphrase of CLIENT_CERT.

        Of callables, what they returned lately. Header values of fewer than 8 characters count only where the
        name of the header says that it carries a credential, and nothing counts that is shorter than 4.
        """
        found: list[str] = []
        given = self.extra_headers
        for headers in self._returned.get("EXTRA_HEADERS", ()) if callable(given) else (given,):
            for name, value in headers.items():
                shortest = _SHORTEST_SECRET if is_credential_header(name) else SHORTEST_ANYWHERE
                for text in self._known(f"EXTRA_HEADERS[{name!r}]", value):
                    found += maskable(text, *text.split(), shortest=shortest)
        for url in self._known("PROXY", self.proxy):
            found += maskable(*_login_of(url), shortest=_SHORTEST_SECRET)
        if self.client_cert and isinstance(self.client_cert.passphrase, str):
            found += maskable(self.client_cert.passphrase, shortest=_SHORTEST_SECRET)
        return tuple(dict.fromkeys(found))

    def _known(self, setting: str, value: object) -> tuple[str, ...]:
        return (value,) if isinstance(value, str) else self._returned.get(setting, ())

    def _read(self, setting: str, read: Callable[[], Any], check: Callable[[Any, str], object]) -> Any:
        """What a callable returns now, checked and remembered. Raises Halted(config), naming the setting."""
        value, reason = None, ""
        try:
            value = read()
        except Exception as error:  # noqa: BLE001 - the callable is the user's, and its text may hold the secret
            reason = f"{setting} raised {type(error).__name__}"
        else:
            try:
                check(value, setting)
            except ValueError as error:  # its text names the setting and never the value
                reason = str(error)
        if reason:
            value = None  # error reports show the variables of this frame
            raise Halted(f"Nothing was sent: {reason}.", kind=Halt.CONFIG.value)
        known = self._returned.get(setting, ())
        if value is not None and value not in known[-1:]:
            self._returned[setting] = (*known, value)[-_REMEMBERED_VALUES:]
        return value

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


# The frame of the generated __init__ would hold the secrets.
Platform.__init__ = without_arguments(Platform.__init__)  # type: ignore[method-assign]


def maskable(*texts: str, shortest: int = SHORTEST_ANYWHERE) -> tuple[str, ...]:
    """Those of ``texts`` that can be looked for in a text from outside and masked there.

    A shorter one is part of ordinary words: masking it would spoil every answer, and every id in them.
    """
    return tuple(text for text in texts if len(text) >= shortest)


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


def _idempotency_header(value: object) -> None:
    header_name(value, "IDEMPOTENCY_HEADER")
    if not is_free_header_name(value):
        raise ValueError(
            f"IDEMPOTENCY_HEADER cannot be {value}, which every request sets for another purpose. "
            "Write the header in which the platform reads the key, normally Idempotency-Key."
        )


def _content_type(value: object) -> None:
    if not is_media_type(value):
        raise ValueError("CONTENT_TYPE must be a media type such as application/cloudevents+json")


def _extra_headers(value: object, idempotency_header: str) -> Mapping[str, Secret]:
    if not isinstance(value, Mapping):
        raise ValueError("EXTRA_HEADERS must be a dict of header names and values")
    for name, text in value.items():
        if not is_header_name(name):  # which may be the value, at the wrong place
            raise ValueError(
                "EXTRA_HEADERS holds a name that HTTP does not allow: is there a colon or a space?"
            )
        if name.lower() in RESERVED_HEADERS | {idempotency_header.lower()}:
            raise ValueError(f"EXTRA_HEADERS cannot hold {name}: every request sets it by itself")
        if not callable(text):
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


def _client_cert(value: object) -> ClientCertificate | None:
    try:
        return ClientCertificate.of(value)
    except ValueError as error:
        raise ValueError(f"CLIENT_CERT must be {error}") from None


def _proxy(value: object, setting: str) -> None:
    if value is not None and not is_proxy_url(value):
        raise ValueError(
            f"{setting} must be a URL such as http://proxy.example.com:3128 or http://user:password@proxy:3128"
        )


def _login_of(proxy: str) -> tuple[str, ...]:
    """User and password of a proxy's URL, as they are written and as they are sent."""
    login, found, _host = proxy.partition("//")[2].rpartition("@")
    if not found:
        return ()
    user, _colon, password = login.partition(":")
    sent = f"{unquote(user)}:{unquote(password)}"
    encoded = base64.b64encode(sent.encode()).decode()
    return (login, password or user, unquote(password or user), sent, encoded)

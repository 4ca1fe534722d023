"""One organisation on the platform: addresses, credentials, names and limits, validated once."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from genesys_eventbridge.errors import Halted, without_arguments
from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.outcomes import Halt, Rules
from genesys_eventbridge.platform.regions import check_url
from genesys_eventbridge.platform.values import Check, clean_all, named, setting
from genesys_eventbridge.platform.wire import conflicts, is_credential_header
from genesys_eventbridge.text import REDACTED, SHORTEST_ANYWHERE, clean
from genesys_eventbridge.tls import ClientCertificate

#: Text, or a callable that returns it. It is called in the thread that needs it, and again after a refusal.
Secret = str | Callable[[], str]
#: Names and values, or a callable that returns them.
ExtraHeaders = Mapping[str, Secret] | Callable[[], Mapping[str, Secret]]

_REMOTE_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")


#: Secrets shorter than this are never masked, not even as whole words.
_SHORTEST_SECRET = 4
#: Remembered values per setting: the current one, and earlier ones that requests in flight may still carry.
_REMEMBERED_VALUES = 3


@dataclass(frozen=True, kw_only=True, repr=False)
class Platform:
    """How to reach one organisation. Names are the settings in lower case; times are in seconds.

    ``client_id``, ``client_secret``, ``proxy``, ``extra_headers`` and its values may be callables. Raises
    ValueError, naming the setting, if a value is invalid. Neither its repr nor error reports contain
    secrets: the tracebacks omit the arguments.
    """

    api_base_url: str = setting(str)  # validated by ``check_url``, which names the setting
    login_base_url: str = setting(str)
    client_id: Secret = setting(values.or_callable(values.client_id))
    client_secret: Secret = setting(values.or_callable(values.credential))
    scopes: tuple[str, ...] = setting(values.scopes, ("eventbridge:event:publish", "eventbridge:events:read"))
    token_path: str = setting(values.path, "/oauth/token")
    events_path: str = setting(values.path, "/api/v2/eventbridge/events")
    idempotency_header: str = setting(values.idempotency_header, "Idempotency-Key")
    content_type: str = setting(values.content_type, "application/cloudevents+json")
    extra_headers: ExtraHeaders = setting(values.or_callable(values.headers), {}, hash=False)
    connect_timeout: float = setting(values.request_seconds, 5.0)
    request_deadline: float = setting(values.request_seconds, 20.0)
    ca_bundle: str | None = setting(values.optional(values.file), None)
    client_cert: ClientCertificate | None = setting(values.client_certificate, None)
    proxy: str | Callable[[], str | None] | None = setting(
        values.optional(values.or_callable(values.proxy)), None
    )
    rules: Rules = field(default_factory=Rules)
    #: Recent results of callables, by setting. They are masked in texts as well.
    _returned: dict[str, tuple[Any, ...]] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_base_url", check_url(self.api_base_url, "API_BASE_URL"))
        object.__setattr__(self, "login_base_url", check_url(self.login_base_url, "LOGIN_BASE_URL"))
        clean_all(self)
        for _setting, message in contradictions({**vars(self), **self.rules.statuses}):
            raise ValueError(message)

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
        """Timeouts for httpx's own transports; ours uses the connect timeout and the total deadline."""
        limit = self.request_deadline
        return {"connect": self.connect_timeout, "read": limit, "write": limit, "pool": limit}

    def status_url(self, remote_id: str) -> str:
        """The URL of one event's status. The id is quoted as exactly one path segment, whatever it contains.

        Raises ValueError if the id cannot be a segment: empty, only dots, or with control characters.
        """
        if not _REMOTE_ID.fullmatch(remote_id) or not remote_id.strip("."):
            raise ValueError(f"remote_id {clean(repr(remote_id), 60)} is not the id of an event")
        return f"{self.events_url}/{quote(remote_id, safe='')}"

    def headers(self) -> dict[str, str]:
        """The EXTRA_HEADERS to send now. Raises Halted(config), naming the header, if a callable fails."""
        given = self.extra_headers
        if callable(given):
            given = self._read("EXTRA_HEADERS", given, values.headers)
        return {
            name: value
            if isinstance(value, str)
            else self._read(f"EXTRA_HEADERS[{name!r}]", value, values.header_value)
            for name, value in given.items()
        }

    def proxy_url(self) -> str | None:
        """The PROXY to use now. Raises Halted(config), without the callable's own message, if it fails."""
        if self.proxy is None or isinstance(self.proxy, str):
            return self.proxy
        url: str | None = self._read("PROXY", self.proxy, values.optional(values.proxy))
        return url

    def secrets(self) -> tuple[str, ...]:
        """The texts to mask: values of EXTRA_HEADERS, the login of PROXY, the passphrase of CLIENT_CERT.

        For callables, their recent results. Header values of fewer than 8 characters are masked only if the
        name of the header suggests a credential; values shorter than 4 are never masked.
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

    def _read(self, setting: str, read: Callable[[], Any], check: Check) -> Any:
        """The callable's value, validated and remembered. Raises Halted(config), naming the setting."""
        value, reason = None, ""
        try:
            value = read()
        except Exception as error:  # noqa: BLE001 - the callable is the user's, and its text may hold the secret
            reason = f"{setting} raised {type(error).__name__}"
        else:
            try:
                value = named(check, value, setting)
                for _setting, message in contradictions({**vars(self), setting.lower(): value}):
                    raise ValueError(message)
            except ValueError as error:  # its message names the setting and never shows the value
                reason = str(error)
        if reason:
            value = None  # error reports show the variables of this frame
            raise Halted(f"Nothing was sent: {reason}.", kind=Halt.CONFIG.value)
        known = self._returned.get(setting, ())
        if value is not None and value not in known[-1:]:
            self._returned[setting] = (*known, value)[-_REMEMBERED_VALUES:]
        return value


# The frame of the generated __init__ would contain the secrets.
Platform.__init__ = without_arguments(Platform.__init__)  # type: ignore[method-assign]


def maskable(*texts: str, shortest: int = SHORTEST_ANYWHERE) -> tuple[str, ...]:
    """The ``texts`` that are long enough to be masked in external text.

    A shorter one occurs in ordinary words: masking it would garble every response and every id in it.
    """
    return tuple(text for text in texts if len(text) >= shortest)


def contradictions(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings that conflict: pairs of the setting to change (upper case) and the reason.

    ``given`` is by lower-case name. The value of a callable is not known yet; it is checked when called.
    """
    header, extra = given["idempotency_header"], given["extra_headers"]
    if not callable(extra) and header.lower() in map(str.lower, extra):
        yield (
            "EXTRA_HEADERS",
            f"EXTRA_HEADERS contains {header}, the IDEMPOTENCY_HEADER, which is set for each event.",
        )
    if given.get("delivered_statuses", frozenset()) & given.get("failed_statuses", frozenset()):
        yield "FAILED_STATUSES", "DELIVERED_STATUSES and FAILED_STATUSES have a value in common."
    yield from conflicts(
        proxied=isinstance(given["proxy"], str),
        **{key: given[key] for key in ("api_base_url", "login_base_url", "token_path", "events_path")},
    )


def _login_of(proxy: str) -> tuple[str, ...]:
    """User and password in a proxy URL, both as written and as sent."""
    login, found, _host = proxy.partition("//")[2].rpartition("@")
    if not found:
        return ()
    user, _colon, password = login.partition(":")
    sent = f"{unquote(user)}:{unquote(password)}"
    encoded = base64.b64encode(sent.encode()).decode()
    return (login, password or user, unquote(password or user), sent, encoded)

"""One organisation on the platform: addresses, credentials, names and limits, validated once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from genesys_eventbridge.errors import Halted, without_arguments
from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.outcomes import Halt, Rules
from genesys_eventbridge.platform.protocols import EventBridge, Protocol
from genesys_eventbridge.platform.regions import check_url
from genesys_eventbridge.platform.values import Check, Secret, clean_all, named, setting, settings_of
from genesys_eventbridge.platform.wire import is_credential_header
from genesys_eventbridge.text import REDACTED, SHORTEST_ANYWHERE
from genesys_eventbridge.tls import ClientCertificate

#: Names and values, or a callable that returns them.
ExtraHeaders = Mapping[str, Secret] | Callable[[], Mapping[str, Secret]]

#: Secrets shorter than this are never masked, not even as whole words.
_SHORTEST_SECRET = 4
#: Remembered values per setting: the current one, and earlier ones that requests in flight may still carry.
_REMEMBERED_VALUES = 3


@dataclass(frozen=True, kw_only=True, repr=False)
class Platform:
    """How to reach one organisation. Names are the settings in lower case; times are in seconds.

    ``client_id``, ``client_secret``, ``proxy``, ``extra_headers`` and its values may be callables. Login URL
    and client are needed only if the protocol authenticates. Raises ValueError, naming the setting, if a
    value is invalid. Neither its repr nor error reports contain secrets: the tracebacks omit the arguments.
    """

    api_base_url: str = setting(str)  # validated by ``check_url``, which names the setting
    login_base_url: str = setting(str, "")
    client_id: Secret | None = setting(
        values.optional(values.or_callable(values.client_id)), None, secret=True
    )
    client_secret: Secret | None = setting(
        values.optional(values.or_callable(values.credential)), None, secret=True
    )
    scopes: tuple[str, ...] = setting(values.scopes, ("eventbridge:event:publish", "eventbridge:events:read"))
    token_path: str = setting(values.path, "/oauth/token")
    events_path: str = setting(values.path, "/api/v2/eventbridge/events")
    idempotency_header: str = setting(values.idempotency_header, "Idempotency-Key")
    content_type: str = setting(values.content_type, "application/cloudevents+json")
    extra_headers: ExtraHeaders = setting(values.or_callable(values.headers), {}, secret=True, hash=False)
    connect_timeout: float = setting(values.request_seconds, 5.0)
    request_deadline: float = setting(values.request_seconds, 20.0)
    ca_bundle: str | None = setting(values.optional(values.file), None)
    client_cert: ClientCertificate | None = setting(values.client_certificate, None, secret=True)
    proxy: str | Callable[[], str | None] | None = setting(
        values.optional(values.or_callable(values.proxy)), None, secret=True
    )
    rules: Rules = field(default_factory=Rules)
    protocol: Protocol = field(default_factory=EventBridge)
    #: Recent results of callables, by setting. They are masked in texts as well.
    _returned: dict[str, tuple[Any, ...]] = field(init=False, compare=False, repr=False, default_factory=dict)
    #: The present results of callables that ``read`` called.
    _current: dict[str, str] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_base_url", check_url(self.api_base_url, "API_BASE_URL"))
        if self.protocol.authenticates:
            object.__setattr__(self, "login_base_url", check_url(self.login_base_url, "LOGIN_BASE_URL"))
        clean_all(self)
        for name in self.protocol.credentials:
            if self.value(name) is None:
                raise ValueError(f"{name} is missing")
        for _setting, message in contradictions(self._given(), self.protocol):
            raise ValueError(message)

    def __repr__(self) -> str:
        return f"Platform({self.api_base_url!r}, {self.login_base_url!r}, client_secret={REDACTED!r})"

    @property
    def token_url(self) -> str:
        return self.login_base_url + self.token_path

    @property
    def timeouts(self) -> dict[str, float]:
        """Timeouts for httpx's own transports; ours uses the connect timeout and the total deadline."""
        limit = self.request_deadline
        return {"connect": self.connect_timeout, "read": limit, "write": limit, "pool": limit}

    def value(self, name: str) -> Any:
        """A setting of the organisation or of its protocol, by key."""
        return self._given().get(name.lower())

    def _given(self) -> dict[str, Any]:
        return {**vars(self), **vars(self.protocol), **self.rules.statuses}

    def read(self, name: str, value: Secret, check: Check) -> str:
        """The text of a protocol's setting, given by key and value. Raises Halted(config) if unusable.

        A callable is called once, and again after ``forget``.
        """
        if isinstance(value, str):
            return value
        known = self._current.get(name)
        if known is None:  # not "not in": another thread may forget it meanwhile
            known = self._current[name] = str(self._read(name, value, check))
        return known

    def forget(self) -> None:
        """After a refusal: let ``read`` call callables again."""
        self._current.clear()

    def known_secrets(self, protocol: Protocol) -> tuple[str, ...]:
        """The texts of the protocol's secret settings; for callables, their recent results."""
        return tuple(
            text
            for key, item in settings_of(type(protocol)).items()
            if item.metadata["secret"]
            for text in self._known(key, getattr(protocol, item.name))
        )

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
        """The texts to mask: values of EXTRA_HEADERS, the login of PROXY, the passphrase of CLIENT_CERT, and
        the protocol's own.

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
        found += maskable(*self.protocol.secrets(self), shortest=_SHORTEST_SECRET)
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
                for _setting, message in contradictions(
                    {**self._given(), setting.lower(): value}, self.protocol
                ):
                    raise ValueError(message)
            except ValueError as error:  # its message names the setting and never shows the value
                reason = str(error)
        if reason:
            value = None  # error reports show the variables of this frame
            raise Halted(f"Nothing was sent: {reason.rstrip('.')}.", kind=Halt.CONFIG.value)
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


def contradictions(given: Mapping[str, Any], protocol: Protocol) -> Iterator[tuple[str, str]]:
    """Settings that conflict: pairs of the setting to change (upper case) and the reason.

    ``given`` is by lower-case name. The value of a callable is not known yet; it is checked when called.
    """
    yield from protocol.problems(given)
    used = ("API_BASE_URL", "LOGIN_BASE_URL") if protocol.authenticates else ("API_BASE_URL",)
    plain = [key for key in used if given[key.lower()].startswith("http:")]
    if isinstance(given["proxy"], str) and plain:
        readable = "CLIENT_SECRET and every token" if protocol.authenticates else "every request"
        yield (
            "PROXY",
            f"PROXY would read {readable} in clear text, because {' and '.join(plain)} "
            "begins with http. Use https there, or set PROXY to None.",
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

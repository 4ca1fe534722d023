"""One organisation of the platform: addresses, credentials, names and limits, checked once."""

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

#: A text, or a callable that returns it: called in the thread that needs it, read again after a refusal.
Secret = str | Callable[[], str]
#: Names and values, or a callable that returns them.
ExtraHeaders = Mapping[str, Secret] | Callable[[], Mapping[str, Secret]]

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

    api_base_url: str = setting(str)  # judged by ``check_url``, which names the setting
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
    #: What callables returned lately, by setting: it stands in no text either.
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
            given = self._read("EXTRA_HEADERS", given, values.headers)
        return {
            name: value
            if isinstance(value, str)
            else self._read(f"EXTRA_HEADERS[{name!r}]", value, values.header_value)
            for name, value in given.items()
        }

    def proxy_url(self) -> str | None:
        """PROXY as it is used now. Raises Halted(config) for a callable that fails, never with its words."""
        if self.proxy is None or isinstance(self.proxy, str):
            return self.proxy
        url: str | None = self._read("PROXY", self.proxy, values.optional(values.proxy))
        return url

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

    def _read(self, setting: str, read: Callable[[], Any], check: Check) -> Any:
        """What a callable returns now, checked and remembered. Raises Halted(config), naming the setting."""
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
            except ValueError as error:  # its text names the setting and never the value
                reason = str(error)
        if reason:
            value = None  # error reports show the variables of this frame
            raise Halted(f"Nothing was sent: {reason}.", kind=Halt.CONFIG.value)
        known = self._returned.get(setting, ())
        if value is not None and value not in known[-1:]:
            self._returned[setting] = (*known, value)[-_REMEMBERED_VALUES:]
        return value


# The frame of the generated __init__ would hold the secrets.
Platform.__init__ = without_arguments(Platform.__init__)  # type: ignore[method-assign]


def maskable(*texts: str, shortest: int = SHORTEST_ANYWHERE) -> tuple[str, ...]:
    """Those of ``texts`` that can be looked for in a text from outside and masked there.

    A shorter one is part of ordinary words: masking it would spoil every answer, and every id in them.
    """
    return tuple(text for text in texts if len(text) >= shortest)


def contradictions(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings, by their names in lower case, that cannot work together: which to change, and why.

    What a callable will return is not known yet: it is judged when it is called.
    """
    header, extra = given["idempotency_header"], given["extra_headers"]
    if not callable(extra) and header.lower() in map(str.lower, extra):
        yield (
            "EXTRA_HEADERS",
            f"EXTRA_HEADERS holds {header}, the IDEMPOTENCY_HEADER, which every event sets by itself.",
        )
    if given.get("delivered_statuses", frozenset()) & given.get("failed_statuses", frozenset()):
        yield "FAILED_STATUSES", "DELIVERED_STATUSES and FAILED_STATUSES share a word."
    yield from conflicts(
        proxied=isinstance(given["proxy"], str),
        **{key: given[key] for key in ("api_base_url", "login_base_url", "token_path", "events_path")},
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

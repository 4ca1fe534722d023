"""Validation of REGION and URLs, of settings outside the client, and of combinations."""

from __future__ import annotations

import dataclasses
import os
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.platform import regions
from genesys_eventbridge.platform.config import contradictions
from genesys_eventbridge.platform.protocols import BUILT_IN, Protocol
from genesys_eventbridge.platform.values import settings_of
from genesys_eventbridge.platform.wire import without_token
from genesys_eventbridge.text import clean
from genesys_eventbridge.tls import load_trust

HOST_KEYS = ("API_BASE_URL", "LOGIN_BASE_URL")
#: Seconds that claiming and settling may take besides the request; part of every lease.
LEASE_MARGIN = 5.0
#: Values of WAKE.
AUTO, DJANGO_Q, TASKS, NOTIFY = "auto", "django_q", "tasks", "notify"
#: The addresses of a destination that has none, so that everything but sending works. No DNS resolves
#: ``.invalid`` (RFC 2606).
NO_HOSTS = {
    "API_BASE_URL": "https://api.region-not-set.invalid",
    "LOGIN_BASE_URL": "https://login.region-not-set.invalid",
}
REPLACED_BY_WAKE = "PUBLISH_ON_COMMIT"


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for a credential that is not set. Only what sends calls it, as it calls any callable."""

    key: str

    def __call__(self) -> str:
        raise LookupError(f"{self.key} is not set")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: id of the system check, setting, what is wrong, and how to fix it."""

    id: str
    key: str
    message: str
    hint: str
    #: It stops only what sends: an address or a credential is missing. Everything else works without them.
    only_sending: bool = False

    @property
    def is_error(self) -> bool:
        return self.id.startswith("E")


def hosts(
    alias: str, raw: Mapping[str, Any], protocol: type[Protocol]
) -> tuple[dict[str, str], list[Problem]]:
    """API_BASE_URL and LOGIN_BASE_URL, by key, from REGION or the explicit URLs, which take precedence.

    LOGIN_BASE_URL is "" for a protocol that does not authenticate.
    """
    where = f"GENESYS_EVENTBRIDGE[{alias!r}]"
    region, login = raw.get("REGION"), raw.get("LOGIN_BASE_URL")
    api = raw.get("API_BASE_URL") or (None if region else protocol.api_base_url(raw))
    if not region and not api:
        explicit = "API_BASE_URL and LOGIN_BASE_URL" if protocol.authenticates else "API_BASE_URL"
        hint = f'Set "REGION": "us-east-1" (or your region), or {explicit}.'
        message = f"{where} has neither REGION nor API_BASE_URL."
        nowhere = NO_HOSTS if protocol.authenticates else NO_HOSTS | {"LOGIN_BASE_URL": ""}
        return dict(nowhere), [Problem("E001", "REGION", message, hint, only_sending=True)]
    problems: list[Problem] = []
    found: dict[str, str] = {}
    key = "REGION"
    try:
        if region:
            known = regions.hosts(region)
            found = {"API_BASE_URL": known.api_base_url, "LOGIN_BASE_URL": known.login_base_url}
            if not known.known and not api:
                message = f"REGION {region!r} is not a known region; using {known.api_base_url}."
                hint = "Check its spelling, or set API_BASE_URL and LOGIN_BASE_URL."
                problems.append(Problem("W010", key, f"{where}: {message}", hint))
        if api:
            key = "API_BASE_URL"
            found[key] = regions.check_url(api, key)
        if not protocol.authenticates:
            return found | {"LOGIN_BASE_URL": ""}, problems
        if api and not login:
            found["LOGIN_BASE_URL"] = regions.derive_login(found["API_BASE_URL"])
        if login:
            key = "LOGIN_BASE_URL"
            found[key] = regions.check_url(login, key)
    except ValueError as error:
        number = "E001" if key == "REGION" else "E007"
        return {}, [Problem(number, key, f"{where}: {error}", "")]
    return found, problems + _one_host(where, found)


def _one_host(where: str, found: Mapping[str, str]) -> list[Problem]:
    api = found["API_BASE_URL"]
    if api != found["LOGIN_BASE_URL"] or regions.is_this_machine(api):
        return []
    message = f"{where}: login and API use the same host, {api}."
    hint = "Tokens come from https://login.<domain>, the API is https://api.<domain>."
    return [Problem("W014", "LOGIN_BASE_URL", message, hint)]


def publish_on_commit(alias: str, raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """PUBLISH_ON_COMMIT, which WAKE replaced: still honoured if WAKE is not set, with a warning."""
    if REPLACED_BY_WAKE not in raw:
        return {}, []
    off = not raw[REPLACED_BY_WAKE]
    problem = Problem(
        "W017",
        REPLACED_BY_WAKE,
        f"GENESYS_EVENTBRIDGE[{alias!r}]: {REPLACED_BY_WAKE} was replaced by WAKE and will be rejected by "
        "the next release.",
        f'Write "WAKE": None instead of "{REPLACED_BY_WAKE}": False.'
        if off
        else "Remove it: WAKE is on by default.",
    )
    return {"WAKE": None} if off else {}, [problem]


def shown(value: object) -> str:
    """A value for a message: short, and without the token of an invocation URL in the wrong place."""
    return clean(without_token(repr(value)), 100)


def flaws(protocol: Any, app_keys: Collection[str]) -> Iterator[str]:
    """What is wrong with the class of a user's protocol. ``app_keys`` are the settings of the app itself."""
    if not isinstance(name := getattr(protocol, "name", None), str) or not name:
        yield "has no name"
    if any(
        isinstance(value, dataclasses.Field) for each in protocol.__mro__ for value in vars(each).values()
    ):
        yield "has settings but is not decorated with @dataclass(frozen=True, kw_only=True, repr=False)"
    own = settings_of(protocol)
    yield from (f"has a field named like the setting {key}" for key in own if key in app_keys)
    if not isinstance(protocol.unused, Set) or not isinstance(protocol.refused, Mapping):
        yield "must declare unused as a frozenset and refused as a mapping"
    if not isinstance(protocol.credentials, tuple) or not {*protocol.credentials} <= {*own, *app_keys}:
        yield "must declare credentials as a tuple of its settings, in upper case"
    elif protocol.authenticates and not {"CLIENT_ID", "CLIENT_SECRET"} <= {*protocol.credentials}:
        yield "authenticates, so its credentials must contain CLIENT_ID and CLIENT_SECRET"
    if protocol.confirms and protocol.status_request is Protocol.status_request:
        yield "confirms, so it needs the methods status_request and status_outcome"


def unusable(alias: str, protocol: type[Protocol], flaw: str) -> Problem:
    message = f"GENESYS_EVENTBRIDGE[{alias!r}]['PROTOCOL']: {protocol.__name__} {flaw}."
    return Problem("E004", "PROTOCOL", message, "See the page Protocols.")


def missing(alias: str, key: str, protocol: type[Protocol]) -> Problem:
    number = "E002" if key in protocol.credentials else "E004"
    sample = '"com.example.ordering"' if key == "SOURCE" else f'os.environ["GENESYS_{key}"]'
    hint = f'Add "{key}": {sample}.'
    return Problem(number, key, f"GENESYS_EVENTBRIDGE[{alias!r}] has no {key}.", hint)


def without_effect(alias: str, raw: Mapping[str, Any], protocol: type[Protocol]) -> list[Problem]:
    """Settings that the protocol refuses or does not use, and those that belong to other protocols."""
    where = f"GENESYS_EVENTBRIDGE[{alias!r}]"
    given = {key for key, value in raw.items() if value not in ("", None)}
    found = [
        Problem(
            "E005",
            key,
            f"{where}: {key} cannot be combined with the protocol {protocol.name}: {reason}.",
            f"Remove {key}.",
        )
        for key, reason in protocol.refused.items()
        if key in given
    ]
    others = set(settings_of(*BUILT_IN.values())) - set(settings_of(protocol))
    keys = [key for key in raw if key in given & (protocol.unused | others)]
    if keys:
        verb, them = ("has", "it") if len(keys) == 1 else ("have", "them")
        message = f"{where}: {', '.join(keys)} {verb} no effect with the protocol {protocol.name}."
        if "CONFIRM" in keys:
            message += " There is no delivery status to confirm: accepted is the end."
        hint = f"Remove {them}."
        owner = next((name for name, each in BUILT_IN.items() if keys[0] in settings_of(each)), None)
        if owner and "PROTOCOL" not in raw:
            hint = f'Set "PROTOCOL": "{owner}", or remove {them}.'
        found.append(Problem("W025", keys[0], message, hint))
    return found


def undecided_doubt(alias: str, raw: Mapping[str, Any], protocol: type[Protocol]) -> list[Problem]:
    """Without a key, an event may be lost or doubled: the project should say which it prefers."""
    if protocol.honours_key or "ON_DOUBT" in raw:
        return []
    message = (
        f"GENESYS_EVENTBRIDGE[{alias!r}]: the protocol {protocol.name} honours no idempotency key, and "
        'ON_DOUBT is not set, so "ask" applies: an event of unknown outcome is not sent again; it becomes '
        "unresolved, and an operator decides."
    )
    hint = 'Set "ON_DOUBT": "ask" to confirm, or "resend" to have it sent again, possibly twice.'
    return [Problem("W026", "ON_DOUBT", message, hint)]


def combinations(alias: str, values: Mapping[str, Any], protocol: Protocol) -> list[Problem]:
    """Values that are valid individually but cannot be combined."""
    deadline, lease, whole_pass = (
        values["request_deadline"],
        values["lease_seconds"],
        values["pass_seconds"],
    )
    rules: Iterable[tuple[bool, str, str]] = (
        (
            deadline + LEASE_MARGIN < lease,
            "LEASE_SECONDS",
            f"LEASE_SECONDS ({lease:g}) must exceed REQUEST_DEADLINE ({deadline:g}) by more than "
            f"{LEASE_MARGIN:g} s, or a request could outlive its claim.",
        ),
        (
            deadline < whole_pass,
            "PASS_SECONDS",
            f"PASS_SECONDS ({whole_pass:g}) must exceed REQUEST_DEADLINE ({deadline:g}), "
            "or a pass could end before its first request.",
        ),
        (
            values["connect_timeout"] <= deadline,
            "CONNECT_TIMEOUT",
            f"CONNECT_TIMEOUT ({values['connect_timeout']:g}) must not exceed "
            f"REQUEST_DEADLINE ({deadline:g}).",
        ),
        (
            not protocol.honours_key or values["idempotency_margin"] + lease < values["idempotency_window"],
            "IDEMPOTENCY_MARGIN",
            f"IDEMPOTENCY_MARGIN ({values['idempotency_margin']:g}) plus LEASE_SECONDS must be less than "
            f"IDEMPOTENCY_WINDOW ({values['idempotency_window']:g}), or no event of unknown "
            "outcome can be sent again.",
        ),
        (
            values["backoff_base"] <= values["backoff_cap"],
            "BACKOFF_BASE",
            f"BACKOFF_BASE ({values['backoff_base']:g}) must not exceed BACKOFF_CAP "
            f"({values['backoff_cap']:g}).",
        ),
        (
            values["pause_base"] <= values["pause_cap"],
            "PAUSE_BASE",
            f"PAUSE_BASE ({values['pause_base']:g}) must not exceed PAUSE_CAP ({values['pause_cap']:g}).",
        ),
    )
    found = [(key, message) for holds, key, message in rules if not holds]
    found += contradictions(values, protocol)
    return [
        Problem("E005", key, f"GENESYS_EVENTBRIDGE[{alias!r}]: {message}", f"Change {key}.")
        for key, message in found
    ]


def unloadable(alias: str, values: Mapping[str, Any]) -> list[Problem]:
    """TLS files that cannot be loaded. Only a system check, because only processes that send need them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found: list[Problem] = []
    bundle, certificate = values.get("ca_bundle"), values.get("client_cert")
    for key, load in (
        ("CA_BUNDLE", bundle and (lambda: load_trust(context, bundle))),
        ("CLIENT_CERT", certificate and (lambda: certificate.load_into(context))),
    ):
        try:
            if load:
                load()
        except Halted as error:
            found.append(Problem("E004", key, f"GENESYS_EVENTBRIDGE[{alias!r}]: {error}.", f"Change {key}."))
    return found


def wake(value: Any) -> str | None:
    if value is not None and value not in (AUTO, DJANGO_Q, TASKS, NOTIFY):
        raise ValueError(f'"{AUTO}", "{DJANGO_Q}", "{TASKS}", "{NOTIFY}" or None')
    return None if value is None else str(value)


def source(value: Any) -> str:
    try:
        return build_event("check", None, source=value).source
    except InvalidEvent as error:
        raise ValueError(f"a CloudEvents source ({error.reason})") from error


def schemas(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a dict of event type to JSON Schema (a dict or the path of a file)")
    for name, schema in value.items():
        if not isinstance(name, str) or not isinstance(schema, (Mapping, str, os.PathLike)):
            raise ValueError("a dict of event type to JSON Schema (a dict or the path of a file)")
    return dict(value)

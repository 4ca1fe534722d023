"""What each setting must be: one small check per kind of value, and the combinations that cannot work."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_eventbridge import regions
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.tls import ClientCertificate, load_trust
from genesys_eventbridge.wire import (
    RESERVED_HEADERS,
    conflicts,
    is_credential,
    is_free_header_name,
    is_header_name,
    is_header_value,
    is_media_type,
    is_proxy_url,
    is_url_path,
)

#: Takes the raw value, returns the clean one; raises ValueError("what it must be").
Check = Callable[[Any], Any]
CREDENTIALS = ("CLIENT_ID", "CLIENT_SECRET")
#: Their values stand in no message.
MAY_HOLD_SECRETS = (*CREDENTIALS, "PROXY", "EXTRA_HEADERS", "CLIENT_CERT")
HOST_KEYS = ("API_BASE_URL", "LOGIN_BASE_URL")
#: What a claim and a settle may take beside the request; part of every lease.
LEASE_MARGIN = 5.0


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: the number of the system check, the key, what is wrong, the line that mends it."""

    id: str
    key: str
    message: str
    hint: str

    @property
    def is_error(self) -> bool:
        return self.id.startswith("E")


def hosts(alias: str, raw: Mapping[str, Any]) -> tuple[dict[str, str], list[Problem]]:
    """API_BASE_URL and LOGIN_BASE_URL from REGION or the explicit URLs, which win."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    where = f"GENESYS_EVENTBRIDGE[{alias!r}]"
    region, api, login = (raw.get(key) for key in ("REGION", "API_BASE_URL", "LOGIN_BASE_URL"))
    if not region and not api:
        hint = 'Set "REGION": "us-east-1" (or your region), or API_BASE_URL and LOGIN_BASE_URL.'
        return {}, [Problem("E001", "REGION", f"{where} names no region and no API_BASE_URL.", hint)]
    key = "REGION"
    try:
        if region:
            by_region = regions.hosts(region)
            found = {"API_BASE_URL": by_region.api_base_url, "LOGIN_BASE_URL": by_region.login_base_url}
            if not by_region.known and not api:
                message = f"REGION {region!r} is no region we know; using {by_region.api_base_url}."
                hint = "Check its spelling, or set API_BASE_URL and LOGIN_BASE_URL."
                problems.append(Problem("W010", key, f"{where}: {message}", hint))
        if api:
            key = "API_BASE_URL"
            found[key] = regions.check_url(api, key)
            if not login:
                found["LOGIN_BASE_URL"] = regions.derive_login(found[key])
        if login:
            key = "LOGIN_BASE_URL"
            found[key] = regions.check_url(login, key)
    except ValueError as error:
        number = "E001" if key == "REGION" else "E007"
        return {}, [Problem(number, key, f"{where}: {error}", "")]
    one_host = found["API_BASE_URL"] == found["LOGIN_BASE_URL"]
    if one_host and not regions.is_this_machine(found["API_BASE_URL"]):
        problems.append(
            Problem(
                "W014",
                "LOGIN_BASE_URL",
                f"{where}: login and API are the same host, {found['API_BASE_URL']}.",
                "Tokens come from https://login.<domain>, the API is https://api.<domain>.",
            )
        )
    return found, problems


def missing(alias: str, key: str) -> Problem:
    samples = {
        "CLIENT_ID": 'os.environ["GENESYS_CLIENT_ID"]',
        "CLIENT_SECRET": 'os.environ["GENESYS_CLIENT_SECRET"]',
        "SOURCE": '"com.example.ordering"',
    }
    number = "E002" if key in CREDENTIALS else "E004"
    hint = f'Add "{key}": {samples[key]}.'
    return Problem(number, key, f"GENESYS_EVENTBRIDGE[{alias!r}] has no {key}.", hint)


def combinations(alias: str, values: Mapping[str, Any]) -> list[Problem]:
    """Values that are right one by one and cannot work together."""
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
            f"{LEASE_MARGIN:g} s, or a request outlives its claim.",
        ),
        (
            deadline < whole_pass,
            "PASS_SECONDS",
            f"PASS_SECONDS ({whole_pass:g}) must exceed REQUEST_DEADLINE ({deadline:g}), "
            "or a pass ends before it begins.",
        ),
        (
            values["connect_timeout"] <= deadline,
            "CONNECT_TIMEOUT",
            f"CONNECT_TIMEOUT ({values['connect_timeout']:g}) must not exceed "
            f"REQUEST_DEADLINE ({deadline:g}).",
        ),
        (
            values["idempotency_margin"] + lease < values["idempotency_window"],
            "IDEMPOTENCY_MARGIN",
            f"IDEMPOTENCY_MARGIN ({values['idempotency_margin']:g}) plus LEASE_SECONDS must be less than "
            f"IDEMPOTENCY_WINDOW ({values['idempotency_window']:g}), or no doubtful event may be sent again.",
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
        (
            callable(values["extra_headers"])
            or values["idempotency_header"].lower() not in map(str.lower, values["extra_headers"]),
            "EXTRA_HEADERS",
            f"EXTRA_HEADERS holds {values['idempotency_header']}, the IDEMPOTENCY_HEADER, which every event "
            "sets by itself.",
        ),
        (
            not set(map(str.lower, values["delivered_statuses"]))
            & set(map(str.lower, values["failed_statuses"])),
            "FAILED_STATUSES",
            "DELIVERED_STATUSES and FAILED_STATUSES share a word.",
        ),
    )
    found = [(key, message) for holds, key, message in rules if not holds]
    found += conflicts(
        proxied=isinstance(values["proxy"], str),  # a callable is judged by what it returns, when it does
        **{key: values[key] for key in ("api_base_url", "login_base_url", "token_path", "events_path")},
    )
    return [
        Problem("E005", key, f"GENESYS_EVENTBRIDGE[{alias!r}]: {message}", f"Change {key}.")
        for key, message in found
    ]


def unloadable(alias: str, values: Mapping[str, Any]) -> list[Problem]:
    """TLS files that cannot be loaded here: for the system checks, as only processes that send need them."""
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


def seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError("a number above 0")
    return float(value)


def seconds_or_zero(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else seconds(value)


def optional_seconds(value: Any) -> float | None:
    return None if value is None else seconds(value)


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number of 1 or more")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def url(value: Any) -> str:
    return str(value)


def client_id(value: Any) -> Any:
    """As a credential; the Basic scheme parts id and secret at the first colon (RFC 7617)."""
    if isinstance(value, str) and ":" in value:
        raise ValueError("text without a colon")
    return credential(value)


def credential(value: Any) -> Any:
    """A text, or a callable that returns one (read again after an auth failure)."""
    if not callable(value) and not is_credential(value):
        raise ValueError("printable ASCII text or a callable that returns it")
    return value


def source(value: Any) -> str:
    try:
        return build_event("check", None, source=value).source
    except InvalidEvent as error:
        raise ValueError(f"a CloudEvents source ({error.reason})") from error


def words(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError("a list of texts")
    items = tuple(value)
    if not all(isinstance(item, str) and item for item in items):
        raise ValueError("a list of texts")
    return items


def scopes(value: Any) -> tuple[str, ...]:
    items = words(value)
    if not all(is_header_value(item) for item in items):
        raise ValueError("a list of printable ASCII texts")
    return items


def path(value: Any) -> str:
    if not is_url_path(value):
        raise ValueError("a URL path such as /api/v2/eventbridge/events")
    return value


def header_name(value: Any) -> str:
    if not is_header_name(value):
        raise ValueError("the name of an HTTP header")
    return value


def idempotency_header(value: Any) -> str:
    if not is_free_header_name(value):
        raise ValueError("the name of an HTTP header that the app does not set itself")
    return value


def content_type(value: Any) -> str:
    if not is_media_type(value):
        raise ValueError("a media type such as application/cloudevents+json")
    return value


def header_value(value: Any) -> str:
    if not is_header_value(value):
        raise ValueError("printable ASCII text without spaces at its ends")
    return value


def headers(value: Any) -> Any:
    """Names and texts, or callables that return one or all of them: called when a request is made."""
    if callable(value):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("a dict of header names and values")
    for name in value:
        if str(name).lower() in RESERVED_HEADERS:
            raise ValueError(f"a dict without {name!r}, which the app sets itself")
    return {header_name(name): text if callable(text) else header_value(text) for name, text in value.items()}


def codes(value: Any) -> tuple[int, ...]:
    items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else ()
    if not items or not all(type(item) is int and 200 <= item <= 599 for item in items):
        raise ValueError("a list of HTTP status codes from 200 to 599")
    return items


def delays(value: Any) -> tuple[float, ...]:
    items = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not items:
        raise ValueError("a list of seconds, with at least one")
    return tuple(seconds(item) for item in items)


def optional_file(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or value == "" or not Path(value).exists():
        raise ValueError("the path of a PEM file or folder that exists, or None")
    return os.fspath(value)


optional_client_cert = ClientCertificate.of


def optional_proxy(value: Any) -> Any:
    """A callable keeps a password off Django's debug page; it is called when a connection is made."""
    if value is not None and not callable(value) and not is_proxy_url(value):
        raise ValueError(
            "a proxy URL such as http://proxy.example.com:3128, a callable that returns one, or None"
        )
    return value


def schemas(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a dict of event type to JSON Schema (a dict or the path of a file)")
    for name, schema in value.items():
        if not isinstance(name, str) or not isinstance(schema, (Mapping, str, os.PathLike)):
            raise ValueError("a dict of event type to JSON Schema (a dict or the path of a file)")
    return dict(value)

"""Validation of REGION and URLs, of settings outside the client, and of combinations."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.platform import regions
from genesys_eventbridge.platform.config import contradictions
from genesys_eventbridge.tls import load_trust

CREDENTIALS = ("CLIENT_ID", "CLIENT_SECRET")
#: Values of these are never shown in a message.
MAY_HOLD_SECRETS = (*CREDENTIALS, "PROXY", "EXTRA_HEADERS", "CLIENT_CERT")
HOST_KEYS = ("API_BASE_URL", "LOGIN_BASE_URL")
#: Seconds that claiming and settling may take besides the request; part of every lease.
LEASE_MARGIN = 5.0
#: Values of WAKE.
AUTO, DJANGO_Q = "auto", "django_q"
REPLACED_BY_WAKE = "PUBLISH_ON_COMMIT"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: id of the system check, setting, what is wrong, and how to fix it."""

    id: str
    key: str
    message: str
    hint: str

    @property
    def is_error(self) -> bool:
        return self.id.startswith("E")


def hosts(alias: str, raw: Mapping[str, Any]) -> tuple[dict[str, str], list[Problem]]:
    """API_BASE_URL and LOGIN_BASE_URL, by key, from REGION or the explicit URLs, which take precedence."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    where = f"GENESYS_EVENTBRIDGE[{alias!r}]"
    region, api, login = (raw.get(key) for key in ("REGION", "API_BASE_URL", "LOGIN_BASE_URL"))
    if not region and not api:
        hint = 'Set "REGION": "us-east-1" (or your region), or API_BASE_URL and LOGIN_BASE_URL.'
        return {}, [Problem("E001", "REGION", f"{where} has neither REGION nor API_BASE_URL.", hint)]
    key = "REGION"
    try:
        if region:
            by_region = regions.hosts(region)
            found = {"API_BASE_URL": by_region.api_base_url, "LOGIN_BASE_URL": by_region.login_base_url}
            if not by_region.known and not api:
                message = f"REGION {region!r} is not a known region; using {by_region.api_base_url}."
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
                f"{where}: login and API use the same host, {found['API_BASE_URL']}.",
                "Tokens come from https://login.<domain>, the API is https://api.<domain>.",
            )
        )
    return found, problems


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
            values["idempotency_margin"] + lease < values["idempotency_window"],
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
    found += contradictions(values)
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
    if value is not None and value not in (AUTO, DJANGO_Q):
        raise ValueError(f'"{AUTO}", "{DJANGO_Q}" or None')
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

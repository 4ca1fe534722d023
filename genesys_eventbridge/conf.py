"""The settings, one frozen value per destination: read late, checked whole, wrong keys refused."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from genesys_eventbridge import conf_rules as rules
from genesys_eventbridge.conf_rules import Problem
from genesys_eventbridge.errors import without_arguments
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean
from genesys_eventbridge.tls import ClientCertificate

SETTING = "GENESYS_EVENTBRIDGE"
HOUR = 3600.0
Secret = str | Callable[[], str]
ExtraHeaders = Mapping[str, Secret] | Callable[[], Mapping[str, Secret]]


def _key(check: rules.Check, default: Any = dataclasses.MISSING, **kwargs: Any) -> Any:
    if isinstance(default, (list, dict)):
        kwargs["default_factory"] = functools.partial(type(default), default)
    else:
        kwargs["default"] = default
    return field(metadata={"check": check}, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSettings:
    """One destination's settings; a field is the lower-case key. Times are seconds unless said."""

    alias: str
    api_base_url: str = _key(rules.url)
    login_base_url: str = _key(rules.url)
    client_id: Secret = _key(rules.client_id, repr=False)  # noqa: RUF009 - _key makes a dataclass field
    client_secret: Secret = _key(rules.credential, repr=False)  # noqa: RUF009
    source: str = _key(rules.source)
    scopes: tuple[str, ...] = _key(rules.scopes, ("eventbridge:event:publish", "eventbridge:events:read"))
    token_path: str = _key(rules.path, "/oauth/token")
    events_path: str = _key(rules.path, "/api/v2/eventbridge/events")
    idempotency_header: str = _key(rules.idempotency_header, "Idempotency-Key")
    idempotency_window: float = _key(rules.seconds, 24 * HOUR)
    idempotency_margin: float = _key(rules.seconds, 1 * HOUR)
    content_type: str = _key(rules.content_type, "application/cloudevents+json")
    extra_headers: ExtraHeaders = _key(rules.headers, {}, repr=False)  # noqa: RUF009
    max_event_bytes: int = _key(rules.count, 262144)
    connect_timeout: float = _key(rules.seconds, 5.0)
    request_deadline: float = _key(rules.seconds, 20.0)
    ca_bundle: str | None = _key(rules.optional_file, None)
    client_cert: ClientCertificate | None = _key(rules.optional_client_cert, None)  # noqa: RUF009
    proxy: str | Callable[[], str | None] | None = _key(rules.optional_proxy, None, repr=False)  # noqa: RUF009
    accepted_codes: tuple[int, ...] = _key(rules.codes, (200, 201, 202))
    duplicate_codes: tuple[int, ...] = _key(rules.codes, (409,))
    delivered_statuses: tuple[str, ...] = _key(rules.words, ("delivered",))
    failed_statuses: tuple[str, ...] = _key(rules.words, ("failed",))
    confirm: bool = _key(rules.boolean, True)
    check_delays: tuple[float, ...] = _key(rules.delays, (2.0, 5.0, 15.0, 60.0, 300.0))
    confirm_for: float = _key(rules.seconds, 3600.0)
    not_found_grace: float = _key(rules.seconds_or_zero, 300.0)
    max_attempts: int = _key(rules.count, 12)
    max_age: float | None = _key(rules.optional_seconds, None)
    pause_base: float = _key(rules.seconds, 5.0)
    pause_cap: float = _key(rules.seconds, 60.0)
    backoff_base: float = _key(rules.seconds, 5.0)
    backoff_cap: float = _key(rules.seconds, 3600.0)
    retry_after_default: float = _key(rules.seconds, 5.0)
    retry_after_cap: float = _key(rules.seconds, 6 * HOUR)
    rate_per_minute: float | None = _key(rules.optional_seconds, None)
    concurrency: int = _key(rules.count, 16)
    batch_size: int = _key(rules.count, 100)
    lease_seconds: float = _key(rules.seconds, 60.0)
    pass_seconds: float = _key(rules.seconds, 45.0)
    parallel_passes: int = _key(rules.count, 4)
    block_key_on_dead: bool = _key(rules.boolean, True)
    publish_on_commit: bool = _key(rules.boolean, True)
    require_transaction: bool = _key(rules.boolean, True)
    schemas: Mapping[str, Any] = _key(rules.schemas, {})
    retention_days: float | None = _key(rules.optional_seconds, 30.0)
    payload_retention_days: float | None = _key(rules.optional_seconds, None)
    redact_keys: tuple[str, ...] = _key(rules.words, DEFAULT_REDACT_KEYS)

    @property
    def doubt_seconds(self) -> float:
        """How long a doubtful event may be sent again under its key."""
        return self.idempotency_window - self.idempotency_margin

    @property
    def run_length(self) -> int:
        """So many failures or refusals in a row are the destination's trouble and no longer the events'."""
        return max(5, 2 * self.concurrency)


CHECKS: dict[str, rules.Check] = {
    item.name.upper(): item.metadata["check"]
    for item in dataclasses.fields(DestinationSettings)
    if item.name != "alias"
}
DEFAULTS: dict[str, Any] = {
    item.name.upper(): item.default_factory()
    if item.default_factory is not dataclasses.MISSING
    else item.default
    for item in dataclasses.fields(DestinationSettings)
    if item.name != "alias"
}


@functools.cache
def aliases() -> tuple[str, ...]:
    """The configured destinations, in the order of the setting. Raises ImproperlyConfigured."""
    return tuple(_raw())


@functools.cache
@without_arguments
def destination(alias: str = "default") -> DestinationSettings:
    """The settings of one destination. Raises ImproperlyConfigured naming each wrong key and its remedy."""
    if alias not in aliases():
        close = get_close_matches(alias, aliases(), n=1)
        raise ImproperlyConfigured(
            f"Unknown destination {alias!r}: {SETTING} has {', '.join(map(repr, aliases())) or 'none'}."
            + (f" Did you mean {close[0]!r}?" if close else "")
        )
    values, problems = _read(alias, _raw()[alias])
    errors = [problem for problem in problems if problem.is_error]
    if errors:
        raise ImproperlyConfigured("\n".join(f"{problem.message} {problem.hint}" for problem in errors))
    return DestinationSettings(alias=alias, **values)


def problems() -> list[Problem]:
    """Everything wrong or doubtful in the setting, for the system checks; never raises."""
    try:
        raw = _raw()
    except ImproperlyConfigured as error:
        return [Problem("E001", "", str(error), f"Add a {SETTING} dict with a 'default' destination.")]
    found: list[Problem] = []
    for alias, keys in raw.items():
        values, problems = _read(alias, keys)
        found += [*problems, *rules.unloadable(alias, values)]
    return found


def reset() -> None:
    aliases.cache_clear()
    destination.cache_clear()


@receiver(setting_changed, dispatch_uid="genesys_eventbridge.conf")
def _setting_changed(*, setting: str, **_kwargs: Any) -> None:
    """A test that overrides the setting is heard."""
    if setting == SETTING:
        reset()


def _raw() -> Mapping[str, Any]:
    raw = getattr(settings, SETTING, None)
    if not isinstance(raw, Mapping) or not raw:
        raise ImproperlyConfigured(
            f'{SETTING} must be a dict of destinations, like {{"default": {{"REGION": ...}}}}; '
            f"got {type(raw).__name__}."
            if not isinstance(raw, Mapping) and raw is not None
            else f'{SETTING} is missing or empty: name at least the destination "default".'
        )
    return raw


def _read(alias: Any, raw: Any) -> tuple[dict[str, Any], list[Problem]]:
    """The checked values of one destination by field name, and what is wrong with it."""
    problems: list[Problem] = []
    if not isinstance(alias, str) or not 0 < len(alias) <= 64:
        problems.append(
            Problem("E004", "", f"{SETTING}: the alias {alias!r} is no text of 1 to 64 characters.", "")
        )
    if not isinstance(raw, Mapping):
        hint = f'Write {SETTING} = {{"{alias}": {{"REGION": "us-east-1", ...}}}}.'
        return {}, [*problems, Problem("E001", "", f"{SETTING}[{alias!r}] must be a dict.", hint)]
    known = {*CHECKS, "REGION"}
    for key in raw:
        if key not in known:
            close = get_close_matches(str(key).upper(), known, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else "Remove it."
            problems.append(Problem("E003", str(key), f"{SETTING}[{alias!r}]: unknown key {key!r}.", hint))
    hosts, host_problems = rules.hosts(alias, raw)
    problems += host_problems
    given = {**DEFAULTS, **{key: value for key, value in raw.items() if key in CHECKS}, **hosts}
    values: dict[str, Any] = {}
    for key, check in CHECKS.items():
        value = given[key]
        if value is dataclasses.MISSING or (value in ("", None) and key in rules.CREDENTIALS):
            if key not in rules.HOST_KEYS:
                problems.append(rules.missing(alias, key))
            continue
        try:
            values[key.lower()] = check(value)
        except ValueError as error:
            default = DEFAULTS[key]
            known_default = "" if default is dataclasses.MISSING else f" The default is {default!r}."
            shown = "" if key in rules.MAY_HOLD_SECRETS else f", got {clean(repr(value), 100)}"
            problems.append(
                Problem(
                    "E004",
                    key,
                    f"{SETTING}[{alias!r}][{key!r}] must be {error}{shown}.",
                    known_default.strip(),
                )
            )
    if not any(problem.is_error for problem in problems):
        problems += rules.combinations(alias, values)
    return values, problems

"""The settings: one frozen value per destination, read late and validated as a whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from genesys_eventbridge.conf import rules
from genesys_eventbridge.conf.alerts import AlertSettings, alert_settings
from genesys_eventbridge.conf.rules import Problem
from genesys_eventbridge.defects import report
from genesys_eventbridge.errors import without_arguments
from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Rules
from genesys_eventbridge.platform.protocols import BUILT_IN, EventBridge, Protocol, protocol_class
from genesys_eventbridge.platform.values import setting, settings_of

SETTING = "GENESYS_EVENTBRIDGE"
#: What to write where the setting is missing or has another shape.
SMALLEST = (
    f'Set {SETTING} = {{"default": {{"REGION": "us-east-1", "CLIENT_ID": os.environ["GENESYS_CLIENT_ID"], '
    '"CLIENT_SECRET": os.environ["GENESYS_CLIENT_SECRET"], "SOURCE": "com.example.ordering"}}, with your '
    "region and your source."
)
HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSettings:
    """The settings of one destination. Fields are the keys in lower case; times are in seconds.

    The client's settings are in ``platform``, and how it interprets responses in ``platform.rules``.
    """

    alias: str
    platform: Platform
    source: str = setting(rules.source)
    idempotency_window: float = setting(values.seconds, 24 * HOUR)
    idempotency_margin: float = setting(values.seconds, 1 * HOUR)
    max_event_bytes: int = setting(values.count, 262144)
    confirm: bool = setting(values.boolean, True)
    check_delays: tuple[float, ...] = setting(values.delays, (2.0, 5.0, 15.0, 60.0, 300.0))
    max_attempts: int = setting(values.count, 12)
    max_age: float | None = setting(values.optional(values.seconds), None)
    pause_base: float = setting(values.seconds, 5.0)
    pause_cap: float = setting(values.seconds, 60.0)
    backoff_base: float = setting(values.seconds, 5.0)
    backoff_cap: float = setting(values.seconds, 3600.0)
    rate_per_minute: float | None = setting(values.optional(values.per_minute), None)
    concurrency: int = setting(values.count_up_to(1000), 16)
    batch_size: int = setting(values.count_up_to(5000), 100)
    lease_seconds: float = setting(values.seconds, 60.0)
    pass_seconds: float = setting(values.seconds, 45.0)
    parallel_passes: int = setting(values.count, 4)
    block_key_on_dead: bool = setting(values.boolean, True)
    on_doubt: str = setting(values.one_of("ask", "resend"), "ask")
    wake: str | None = setting(rules.wake, rules.AUTO)
    require_transaction: bool = setting(values.boolean, True)
    tracing: bool = setting(values.boolean, True)
    schemas: Mapping[str, Any] = setting(rules.schemas, {})
    retention_days: float | None = setting(values.optional(values.days), 30.0)
    payload_retention_days: float | None = setting(values.optional(values.days), None)
    alerts: AlertSettings | None = setting(alert_settings, None, secret=True)

    @property
    def request_deadline(self) -> float:
        """Seconds that one request may take, including its token and a second attempt after a 401."""
        return self.platform.request_deadline

    def changed(self, **changes: Any) -> DestinationSettings:
        """A copy with some settings changed. Keys are in lower case; nested dataclasses are handled."""
        platform = self.platform
        if of_rules := _taken(changes, Rules):
            platform = replace(platform, rules=replace(platform.rules, **of_rules))
        if of_platform := _taken(changes, Platform):
            platform = replace(platform, **of_platform)
        return replace(self, platform=platform, **changes)

    @property
    def confirms(self) -> bool:
        """Whether the delivery of an accepted event is checked; if not, accepted is the end."""
        return self.confirm and self.platform.protocol.confirms

    @property
    def honours_key(self) -> bool:
        """Whether the platform recognises an event that it has accepted before."""
        return self.platform.protocol.honours_key

    @property
    def key_seconds(self) -> float:
        """Seconds during which the platform surely remembers a key: 0 if its protocol honours none."""
        return self.idempotency_window - self.idempotency_margin if self.honours_key else 0.0

    @property
    def doubt_seconds(self) -> float:
        """Seconds during which an event of unknown outcome may be sent again.

        Without a key that the platform honours, ON_DOUBT decides: 0 for "ask", infinite for "resend".
        """
        return math.inf if self.resends_in_doubt else self.key_seconds

    @property
    def resends_in_doubt(self) -> bool:
        """Whether an event in doubt is sent again without a key that the platform honours, maybe twice."""
        return not self.honours_key and self.on_doubt == "resend"

    @property
    def asks_in_doubt(self) -> bool:
        """Whether each unknown outcome is left to an operator."""
        return not self.honours_key and self.on_doubt == "ask"

    @property
    def run_length(self) -> int:
        """Number of consecutive failures or refusals that count against the destination, not the events."""
        return max(5, 2 * self.concurrency)


PROTOCOL = "PROTOCOL"
_FIELDS = settings_of(Platform, Rules, DestinationSettings)


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default


#: The default of each setting, dataclasses.MISSING if it has none; those of the built-in protocols included.
DEFAULTS: dict[str, Any] = {
    PROTOCOL: EventBridge.name,
    **{key: _default(item) for key, item in (_FIELDS | settings_of(*BUILT_IN.values())).items()},
}


@dataclass(slots=True)
class _Known:
    """What was read of the setting."""

    aliases: tuple[str, ...] | None = None
    destinations: dict[str, DestinationSettings] = field(default_factory=dict)
    #: Why a destination cannot be sent to, although its settings are valid. "" if it can.
    unsendable: dict[str, str] = field(default_factory=dict)


#: What ``adapted`` does to the settings of each destination.
_changes: list[Callable[[Mapping[str, Any]], Mapping[str, Any]]] = []

#: ``reset`` replaces it, so that a thread still reading older settings stores them where no one looks.
_known = _Known()


def aliases() -> tuple[str, ...]:
    """The configured destinations, in the order of the setting. Raises ImproperlyConfigured."""
    known = _known
    if known.aliases is None:
        known.aliases = tuple(_raw())
    return known.aliases


def destination(alias: str = "default") -> DestinationSettings:
    """The settings of one destination. Raises ImproperlyConfigured with each invalid key and its fix.

    The address and the credentials may be missing: only ``sending`` needs them.
    """
    return _kept(_known, alias)


def unblocked() -> tuple[str, ...]:
    """The destinations where an event that needs an operator does not hold back its ordering key."""
    return tuple(alias for alias in aliases() if not destination(alias).block_key_on_dead)


def sending(alias: str = "default") -> DestinationSettings:
    """``destination`` for what sends: also raises ImproperlyConfigured without an address or credentials."""
    known = _known
    settings = _kept(known, alias)
    if reasons := known.unsendable[alias]:
        raise ImproperlyConfigured(reasons)
    return settings


def _kept(known: _Known, alias: str) -> DestinationSettings:
    if not isinstance(alias, str):
        raise ImproperlyConfigured(
            f"destination: must be an alias in {SETTING} (text), not {type(alias).__name__}."
        )
    if alias not in known.destinations:
        known.destinations[alias] = _destination(alias, known)
    return known.destinations[alias]


@without_arguments
def _destination(alias: str, known: _Known) -> DestinationSettings:
    if alias not in aliases():
        close = get_close_matches(alias, aliases(), n=1)
        raise ImproperlyConfigured(
            f"Unknown destination {alias!r}: {SETTING} has {', '.join(map(repr, aliases())) or 'none'}."
            + (f" Did you mean {close[0]!r}?" if close else "")
        )
    found, problems = _read(alias, _raw()[alias])
    errors = [problem for problem in problems if problem.is_error]
    if any(not problem.only_sending for problem in errors):
        raise ImproperlyConfigured(_reasons(errors))
    known.unsendable[alias] = _reasons(errors)
    return _made(alias, found)


def _reasons(problems: Iterable[Problem]) -> str:
    return "\n".join(f"{problem.message} {problem.hint}" for problem in problems)


def problems() -> list[Problem]:
    """All errors and warnings about the setting, for the system checks. Never raises."""
    if flaw := _flaw():
        return [Problem("E001", "", flaw, SMALLEST, only_sending=is_missing())]
    found: list[Problem] = []
    for alias, keys in _raw().items():
        given, problems = _read(alias, keys)
        found += [*problems, *rules.unloadable(alias, given)]
    return found


def is_missing() -> bool:
    """Whether there is no destination at all: nothing can be enqueued, and the rest of the project works."""
    return getattr(settings, SETTING, None) in (None, {})


@contextmanager
def adapted(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Iterator[None]:
    """Within this block every destination has ``change(its settings)``; for tests only.

    Unlike an override of the setting, it also applies to an override made inside the block.
    """
    _changes.append(change)
    reset()
    try:
        yield
    finally:
        _changes.remove(change)
        reset()


def reset() -> None:
    global _known  # noqa: PLW0603 - what is read is kept for the process
    _known = _Known()


@receiver(setting_changed, dispatch_uid="genesys_eventbridge.conf")
def _setting_changed(*, setting: str, **_kwargs: Any) -> None:
    """Read the setting again when a test overrides it."""
    if setting == SETTING:
        reset()


def _flaw() -> str:
    """What is wrong with the setting as a whole; "" if it is a dict with destinations."""
    raw = getattr(settings, SETTING, None)
    if isinstance(raw, Mapping) and raw:
        return ""
    if raw is None or isinstance(raw, Mapping):
        return f"{SETTING} is missing or empty."
    return f"{SETTING} must be a dict of destinations, got {type(raw).__name__}."


def _raw() -> Mapping[str, Any]:
    if flaw := _flaw():
        raise ImproperlyConfigured(f"{flaw} {SMALLEST}")
    raw: Mapping[str, Any] = getattr(settings, SETTING)
    return {alias: _adapted(keys) for alias, keys in raw.items()} if _changes else raw


def _adapted(keys: Any) -> Any:
    for change in _changes:
        keys = change(keys) if isinstance(keys, Mapping) else keys
    return keys


def _read(alias: Any, raw: Any) -> tuple[dict[str, Any], list[Problem]]:
    """The validated values of one destination by field name, and the problems found."""
    problems: list[Problem] = []
    if not isinstance(alias, str) or not 0 < len(alias) <= 64:
        problems.append(
            Problem("E004", "", f"{SETTING}: the alias {alias!r} is not a string of 1 to 64 characters.", "")
        )
    if not isinstance(raw, Mapping):
        message = f"{SETTING}[{alias!r}] must be a dict with the settings of the destination {alias!r}."
        return {}, [*problems, Problem("E001", "", message, SMALLEST)]
    try:
        kind = protocol_class(raw.get(PROTOCOL, EventBridge.name))
    except ValueError as error:
        got = rules.shown(raw[PROTOCOL])
        message = f"{SETTING}[{alias!r}][{PROTOCOL!r}] must be {error}, got {got}."
        close = get_close_matches(str(raw[PROTOCOL]).lower(), BUILT_IN, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"The default is {EventBridge.name!r}."
        return {}, [*problems, Problem("E004", PROTOCOL, message, hint)]
    if kind in BUILT_IN.values():
        return _read_as(kind, alias, raw, problems)
    if flaws := list(rules.flaws(kind, {*_FIELDS, PROTOCOL, "REGION", rules.REPLACED_BY_WAKE})):
        return {}, [*problems, *(rules.unusable(alias, kind, flaw) for flaw in flaws)]
    try:
        return _read_as(kind, alias, raw, problems)
    except Exception as error:  # noqa: BLE001 - a protocol may be the user's code, and its text hold a secret
        report(error, "The protocol of destination %s: %s", alias, type(error).__name__)
        return {}, [rules.unusable(alias, kind, f"raised {type(error).__name__}")]


def _read_as(
    kind: type[Protocol], alias: str, raw: Mapping[str, Any], problems: list[Problem]
) -> tuple[dict[str, Any], list[Problem]]:
    fields = _FIELDS | settings_of(kind)
    problems += _unknown(alias, raw, {*DEFAULTS, *fields, "REGION", rules.REPLACED_BY_WAKE})
    hosts, host_problems = rules.hosts(alias, raw, kind)
    problems += host_problems
    former, former_problems = rules.publish_on_commit(alias, raw)
    problems += former_problems
    problems += rules.without_effect(alias, raw, kind)
    problems += rules.undecided_doubt(alias, raw, kind)
    given = {**former, **{key: value for key, value in raw.items() if key not in kind.unused}, **hosts}
    found: dict[str, Any] = {}
    for key, item in fields.items():
        default = _default(item)
        value = given.get(key, default)
        needed = key in kind.credentials
        if value is dataclasses.MISSING or (value in ("", None) and needed):
            if key not in rules.HOST_KEYS:
                problem = rules.missing(alias, key, kind)
                with suppress(ValueError):  # a protocol that takes no callable needs the value at once
                    if needed:
                        found[key.lower()] = _check(key, item)(rules.Missing(key))
                        problem = replace(problem, only_sending=True)
                problems.append(problem)
            continue
        try:
            found[key.lower()] = _check(key, item)(value)
        except ValueError as error:
            hidden = default is dataclasses.MISSING or needed or (default and item.metadata["secret"])
            known_default = "" if hidden else f"The default is {default!r}."
            shown = "" if item.metadata["secret"] else f", got {rules.shown(value)}"
            problems.append(
                Problem("E004", key, f"{SETTING}[{alias!r}][{key!r}] must be {error}{shown}.", known_default)
            )
    if not any(problem.is_error and not problem.only_sending for problem in problems):
        problems += _combined(alias, found, kind)
    return found, problems


def _unknown(alias: str, raw: Mapping[Any, Any], known: Collection[str]) -> list[Problem]:
    problems = []
    for key in raw:
        if key not in known:
            close = get_close_matches(str(key).upper(), known, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else "Remove it."
            problems.append(Problem("E003", str(key), f"{SETTING}[{alias!r}]: unknown key {key!r}.", hint))
    return problems


def _combined(alias: str, found: dict[str, Any], kind: type[Protocol]) -> list[Problem]:
    """Replace the protocol's own settings by the protocol, and return what cannot be combined."""
    protocol = found["protocol"] = kind(**_taken(found, kind))
    return rules.combinations(alias, found | vars(protocol), protocol)


def _check(key: str, item: dataclasses.Field[Any]) -> values.Check:
    if key == "CA_BUNDLE":
        # The file must exist only here: a client without Django may be created before its file is.
        return values.optional(values.existing_file)
    check: values.Check = item.metadata["check"]
    return check


def _made(alias: str, found: dict[str, Any]) -> DestinationSettings:
    of_rules, of_platform = _taken(found, Rules), _taken(found, Platform)
    platform = Platform(rules=Rules(**of_rules), protocol=found.pop("protocol"), **of_platform)
    return DestinationSettings(alias=alias, platform=platform, **found)


def _taken(given: dict[str, Any], owner: type) -> dict[str, Any]:
    """Remove the settings of one dataclass from ``given`` and return them."""
    names = [item.name for item in settings_of(owner).values()]
    return {name: given.pop(name) for name in names if name in given}

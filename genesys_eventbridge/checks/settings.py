"""What is wrong with the settings beyond their syntax: schemas, time zones, unsafe production values."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from genesys_eventbridge import conf, runners
from genesys_eventbridge.checks.migrating import is_migrating
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.conf.alerts import ADMINS
from genesys_eventbridge.conf.rules import DJANGO_Q, NOTIFY, TASKS, Missing, Problem
from genesys_eventbridge.db import notifications
from genesys_eventbridge.db.clock import changing_zone, steady_zone_hint
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.outbox import schemas
from genesys_eventbridge.platform import regions
from genesys_eventbridge.platform.values import Secret
from genesys_eventbridge.platform.wire import is_credential_header

# Placeholders that samples and templates use for a secret. No real secret consists of these words only.
_PLACEHOLDER = re.compile(
    r"(?:your|my|the|some|a|client|oauth|genesys|api|app|real|test|dummy|fake|example|sample|sandbox|demo"
    r"|change|replace|set|insert|put|fill|me|in|it|this|here|to|do|placeholder|secret|password|key|id"
    r"|none|null|x|token|webhook|\*)*"
)
_LONGEST_PLACEHOLDER = 64


def readable() -> list[DestinationSettings]:
    """The destinations with valid settings; ``conf.problems()`` reports the others."""
    found = []
    try:
        for alias in conf.aliases():
            found += _readable(alias)
    except ImproperlyConfigured:
        return []
    return found


def problems() -> Iterator[Problem]:
    """What ``conf.problems()`` cannot detect. Does not query the database."""
    if conf.is_missing():
        yield Problem(
            "W040",
            "",
            f"{conf.SETTING} is missing or empty: nothing can be enqueued, and a model registered with "
            "publishes() cannot be saved.",
            f"{conf.SMALLEST} What only enqueues needs no more than SOURCE.",
        )
    for destination in readable():
        yield from _unusable_schemas(destination)
        yield from _idle_senders(destination)
        yield from _impossible_wakes(destination)
        yield from _alerts_to_no_one(destination)
        yield from _real_credentials_on_this_machine(destination, "W016")
    database = outbox_alias()
    zone = changing_zone(database)
    if zone and not is_migrating():
        yield Problem(
            "E013",
            "TIME_ZONE",
            f"Django stores the times of database {database!r} in {zone}, where clocks change: in that hour "
            "leases, pauses and doubts would be wrong by an hour. Workers refuse to run; enqueue() works.",
            f"{steady_zone_hint(database)} If this project only enqueues, add genesys_eventbridge.E013 to "
            "SILENCED_SYSTEM_CHECKS.",
        )
    if zone and not settings.USE_TZ:
        yield Problem(
            "W013",
            "USE_TZ",
            f"USE_TZ is False: when clocks in {zone} go back an hour, naive times cannot tell that hour from "
            "the one before, and the times of events sent then may be wrong by it.",
            "Set USE_TZ = True.",
        )


def deployment_problems() -> Iterator[Problem]:
    """What a demo may have but production may not."""
    for destination in readable():
        where = f"{conf.SETTING}[{destination.alias!r}]"
        yield from _real_credentials_on_this_machine(destination, "E016")
        names = destination.platform.protocol.credentials
        if any(_is_pretended(destination.platform.value(name)) for name in names):
            yield Problem(
                "W020",
                names[-1],
                f"{where}: {' and '.join(names)} {'are those' if len(names) > 1 else 'is that'} of the "
                "sandbox, or a placeholder.",
                "Set " + " and ".join(f'"{name}": os.environ["GENESYS_{name}"]' for name in names) + ".",
            )
        yield from _plain_secrets(destination)
        if destination.retention_days is None:
            yield Problem(
                "W021",
                "RETENTION_DAYS",
                f"{where}: RETENTION_DAYS is None, so delivered events, and the personal data in them, are "
                "kept forever and the table grows without limit.",
                'Set "RETENTION_DAYS": 30.',
            )


def _readable(alias: str) -> list[DestinationSettings]:
    try:
        return [conf.destination(alias)]
    except ImproperlyConfigured:
        return []


def _unusable_schemas(destination: DestinationSettings) -> Iterator[Problem]:
    for event_type, schema in destination.schemas.items():
        try:
            schemas.check(schema, event_type)
        except ImproperlyConfigured as error:
            yield Problem(
                "E004",
                "SCHEMAS",
                f"{conf.SETTING}[{destination.alias!r}]: {error}",
                f'Correct it there, or remove {event_type!r} from "SCHEMAS".',
            )


def _idle_senders(destination: DestinationSettings) -> Iterator[Problem]:
    """A pass claims again when two rows per sender are left: with a smaller batch, senders wait for it."""
    wanted = 2 * destination.concurrency
    if destination.batch_size < wanted:
        yield Problem(
            "W015",
            "BATCH_SIZE",
            f"{conf.SETTING}[{destination.alias!r}]: BATCH_SIZE ({destination.batch_size}) is less than "
            f"twice CONCURRENCY ({destination.concurrency}): the senders wait for the database.",
            f'Set "BATCH_SIZE": {3 * destination.concurrency}.',
        )


def _impossible_wakes(destination: DestinationSettings) -> Iterator[Problem]:
    wake, where = destination.wake, f"{conf.SETTING}[{destination.alias!r}]"
    if wake == DJANGO_Q and not apps.is_installed("django_q"):
        yield Problem(
            "W018",
            "WAKE",
            f'{where}: WAKE is "django_q", and django_q is not in INSTALLED_APPS: commits wake no worker.',
            'Add "django_q" to INSTALLED_APPS, or set "WAKE": "auto".',
        )
    elif wake == NOTIFY and (why := notifications.why_not(outbox_alias())):
        yield Problem(
            "W018",
            "WAKE",
            f'{where}: WAKE is "notify", and {why}: commits wake no worker.',
            'Set "WAKE": "auto". On SQLite `eventbridge_publish --loop` sees each commit without a wake.',
        )
    elif wake == TASKS and (why := runners.why_not(TASKS)):
        yield Problem(
            "W018",
            "WAKE",
            f'{where}: WAKE is "tasks", and {why}: commits wake no worker.',
            'Configure a backend with a worker in TASKS (Django 6.0 or newer), or set "WAKE": "auto".',
        )
    elif wake == TASKS and runners.runs_inline(TASKS):
        yield Problem(
            "W046",
            "WAKE",
            f'{where}: WAKE is "tasks", and the default backend in TASKS is ImmediateBackend: each commit '
            f"waits until its events are published, up to PASS_SECONDS ({destination.pass_seconds:g} s).",
            'Use a backend with a worker of its own in production, or set "WAKE": "auto".',
        )


def _alerts_to_no_one(destination: DestinationSettings) -> Iterator[Problem]:
    alerts = destination.alerts
    if alerts is None:
        return
    if alerts.email == ADMINS and not settings.ADMINS:
        yield Problem(
            "W027",
            "ALERTS",
            f'{conf.SETTING}[{destination.alias!r}]: ALERTS sends e-mails to "{ADMINS}", and ADMINS is '
            "empty: no one gets them.",
            'Set ADMINS, or list addresses: "email": ["ops@example.com"].',
        )
    if isinstance(alerts.function, str) and not _can_be_imported(alerts.function):
        yield Problem(
            "E006",
            "ALERTS",
            f"{conf.SETTING}[{destination.alias!r}]: the function of ALERTS, {alerts.function!r}, cannot be "
            "imported.",
            "Correct the dotted path: module and function.",
        )


def _can_be_imported(path: str) -> bool:
    """Whatever the module raises while it loads: the check reports it, and a worker does not stop for it."""
    try:
        return callable(import_string(path))
    except Exception:  # noqa: BLE001 - code of the project's
        return False


def _real_credentials_on_this_machine(destination: DestinationSettings, number: str) -> Iterator[Problem]:
    """Addresses left over from a trial with the sandbox; a callable counts as a real secret."""
    local = [
        f"{key} ({url})"
        for key, url in (
            ("API_BASE_URL", destination.platform.api_base_url),
            ("LOGIN_BASE_URL", destination.platform.login_base_url),
        )
        if regions.is_this_machine(url)
    ]
    secret = destination.platform.protocol.credentials[-1:]
    if not local or not secret or settings.DEBUG:
        return
    value = destination.platform.value(*secret)
    if not isinstance(value, Missing) and not _is_pretended(value):
        point = "points" if len(local) == 1 else "point"
        yield Problem(
            number,
            local[0].partition(" ")[0],
            f"{conf.SETTING}[{destination.alias!r}]: DEBUG is False and the credentials may be real, but "
            f"{' and '.join(local)} {point} to this machine: {secret[0]} is sent to whatever listens there, "
            "and no event reaches Genesys Cloud.",
            'Set "REGION" and remove "API_BASE_URL" and "LOGIN_BASE_URL". If a gateway on this machine '
            f"forwards to Genesys Cloud, add genesys_eventbridge.{number} to SILENCED_SYSTEM_CHECKS.",
        )


def _plain_secrets(destination: DestinationSettings) -> Iterator[Problem]:
    """Secrets that Django's error report would show: it masks settings and their members only by name."""
    from django.views.debug import SafeExceptionReporterFilter  # needed only with --deploy

    where = f"{conf.SETTING}[{destination.alias!r}]"
    hidden = SafeExceptionReporterFilter.hidden_settings
    if isinstance(destination.platform.proxy, str) and "@" in destination.platform.proxy:
        yield Problem(
            "W024",
            "PROXY",
            f"{where}: PROXY holds a password, and Django's error reports show it.",
            "Give a callable that returns the URL; it is called when a connection is made.",
        )
    if destination.platform.client_cert and isinstance(destination.platform.client_cert.passphrase, str):
        yield Problem(
            "W024",
            "CLIENT_CERT",
            f"{where}: CLIENT_CERT holds a passphrase, and Django's error reports show it.",
            "Give a callable that returns the passphrase; it is called when the key is loaded.",
        )
    headers = {} if callable(destination.platform.extra_headers) else destination.platform.extra_headers
    for name, value in headers.items():
        if isinstance(value, str) and is_credential_header(name) and not hidden.search(name):
            yield Problem(
                "W024",
                "EXTRA_HEADERS",
                f"{where}: EXTRA_HEADERS holds {name}, and Django's error reports show its value.",
                f"Give a callable that returns the value of {name}; it is called when a request is made.",
            )


def _is_pretended(credential: Secret) -> bool:
    """Whether it is the sandbox's secret or a placeholder. A callable is not called: it may query a vault."""
    from genesys_eventbridge.sandbox import start  # processes of a site do not load the sandbox

    sandbox = credential in (start.CLIENT_SECRET, start.WEBHOOK_TOKEN)
    return sandbox or (isinstance(credential, str) and _is_placeholder(credential))


def _is_placeholder(text: str) -> bool:
    words = re.sub(r"[^a-z*]", "", text.lower())
    has_digits = any(sign.isdigit() for sign in text)
    return len(text) <= _LONGEST_PLACEHOLDER and not has_digits and bool(_PLACEHOLDER.fullmatch(words))

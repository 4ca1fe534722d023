"""The setting ALERTS: who gets notices of trouble, and from when on."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from genesys_eventbridge.platform import values
from genesys_eventbridge.platform.values import Secret, setting, settings_of
from genesys_eventbridge.platform.wire import is_loopback, normal_host
from genesys_eventbridge.text import REDACTED, clean

#: The value of ``email`` that stands for Django's ADMINS.
ADMINS = "admins"
#: What a secret of the Standard Webhooks begins with; base64 follows.
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, no secret
#: Bytes of a secret's key: what the Standard Webhooks ask for.
SHORTEST_KEY, LONGEST_KEY = 24, 64
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_MAKE_ONE = (
    'Make one with: python -c "import base64, secrets; '
    "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


def _recipients(value: Any) -> str | tuple[str, ...]:
    if value == ADMINS:
        return ADMINS
    addresses = values.words(value) if not isinstance(value, str) else ()
    if not addresses:
        raise ValueError(f'"{ADMINS}" or a list of e-mail addresses')
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise ValueError(
                f"a list of e-mail addresses, and {clean(repr(address), 80)} is not one"
            ) from None
    return addresses


def webhook_url(value: Any) -> str:
    """An https URL; http only for this machine. Its path and query may hold a secret: never log them."""
    problem = "an https URL, such as https://alerts.example.com/hook"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(problem)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(problem) from None
    host = normal_host(f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "")
    if not host or port == 0 or parts.fragment or "\\" in value:
        raise ValueError(problem)
    if "@" in parts.netloc:
        raise ValueError(f"{problem}, without user name and password")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"{problem}; http is allowed only for this machine")
    return value


def webhook_secret(value: Any) -> str:
    """``whsec_`` and the base64 of 24 to 64 bytes, as the Standard Webhooks write a secret."""
    key = _decoded(value) if isinstance(value, str) else b""
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"{SECRET_PREFIX} followed by the base64 of {SHORTEST_KEY} to {LONGEST_KEY} random "
            f"bytes. {_MAKE_ONE}"
        )
    return str(value)


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


def signing_key(secret: str) -> bytes:
    """The key of a valid secret."""
    return _decoded(webhook_secret(secret))


def _function(value: Any) -> Any:
    if callable(value) or (isinstance(value, str) and _DOTTED.fullmatch(value)):
        return value
    raise ValueError('the dotted path of a function, such as "shop.alerts.notify"')


def _site(value: Any) -> str:
    return webhook_url(value).rstrip("/")


@dataclass(frozen=True, kw_only=True, repr=False)
class AlertSettings:
    """ALERTS of one destination; keys of the dict are the field names. Times are in seconds.

    At least one of the channels ``email``, ``webhook`` and ``function`` is set.
    """

    #: "admins" (Django's ADMINS) or addresses.
    email: str | tuple[str, ...] | None = setting(values.optional(_recipients), None)
    webhook: Secret | None = setting(values.optional(values.or_callable(webhook_url)), None, secret=True)
    secret: Secret | None = setting(values.optional(values.or_callable(webhook_secret)), None, secret=True)
    #: Called with one ``alerts.Notice``.
    function: Any = setting(values.optional(_function), None)
    #: After an alert, the next of its kind at this destination comes no earlier than this.
    window: float = setting(values.seconds, 900.0)
    #: The age of the oldest undelivered event from which on it is an alert.
    backlog_age: float = setting(values.seconds, 300.0)
    #: How long a pause may last before it is an alert.
    paused_for: float = setting(values.seconds, 900.0)
    #: Where the admin is, for links: "https://shop.example.com".
    site: str = setting(_site, "")

    def __repr__(self) -> str:
        return f"AlertSettings({', '.join(self.channels)}, secret={REDACTED!r})"

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels that are set, in the order in which they are used."""
        return tuple(name for name in CHANNELS if getattr(self, name) is not None)


CHANNELS = ("email", "webhook", "function")
_FIELDS = {key.lower(): item for key, item in settings_of(AlertSettings).items()}


def alert_settings(value: Any) -> AlertSettings | None:
    """The validator of ALERTS. A text or a callable is short for ``{"function": ...}``."""
    if value is None or isinstance(value, AlertSettings):
        return value
    if isinstance(value, str) or callable(value):
        value = {"function": value}
    if not isinstance(value, Mapping):
        raise ValueError('None, a dict such as {"email": "admins"}, or the dotted path of a function')
    for key in value:
        if key not in _FIELDS:
            close = get_close_matches(str(key).lower(), _FIELDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(_FIELDS)}"
            raise ValueError(f"a dict without the key {clean(repr(key), 40)} ({hint})")
    found = AlertSettings(**{key: _value(key, given) for key, given in value.items()})
    if not found.channels:
        raise ValueError(f"a dict with at least one of {', '.join(CHANNELS)}")
    if (found.webhook is None) != (found.secret is None):
        raise ValueError(f"a dict with both webhook and secret, because every request is signed. {_MAKE_ONE}")
    return found


def _value(key: str, given: Any) -> Any:
    """A clean value. Raises ValueError with the key, and with the value unless it may be a secret."""
    item = _FIELDS[key]
    if given == item.default:
        return given
    try:
        return item.metadata["check"](given)
    except ValueError as error:
        reason = str(error)
    got = "" if item.metadata["secret"] else f", got {clean(repr(given), 80)}"
    raise ValueError(f"a dict in which {key!r} is {reason}{got}")

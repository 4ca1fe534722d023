"""The validators of single settings, used wherever settings are read.

A validator takes the raw value and returns the clean one; it accepts its own results. It raises
ValueError("what it must be"), without the value. Upper limits fit every database and operating system.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from genesys_eventbridge.platform.wire import (
    RESERVED_HEADERS,
    is_credential,
    is_free_header_name,
    is_header_name,
    is_header_value,
    is_media_type,
    is_proxy_url,
    is_url_path,
)
from genesys_eventbridge.tls import ClientCertificate

Check = Callable[[Any], Any]
#: Text, or a callable that returns it. It is called in the thread that needs it, and again after a refusal.
Secret = str | Callable[[], str]

DAY = 86400.0
#: Longer durations do not fit dates, intervals and timers.
LONGEST = 100 * 365 * DAY
MOST = 1_000_000_000


def setting(check: Check, default: Any = dataclasses.MISSING, *, secret: bool = False, **kwargs: Any) -> Any:
    """A dataclass field for a setting, with its validator; no message shows the value of a ``secret`` one."""
    if isinstance(default, (list, dict)):
        kwargs["default_factory"] = functools.partial(type(default), default)
    else:
        kwargs["default"] = default
    return dataclasses.field(metadata={"check": check, "secret": secret}, **kwargs)


def settings_of(*classes: Any) -> dict[str, dataclasses.Field[Any]]:
    """The settings declared by these dataclasses, by key."""
    return {
        item.name.upper(): item
        for each in classes
        for item in dataclasses.fields(each)
        if "check" in item.metadata
    }


def named(check: Check, value: object, name: str) -> Any:
    """The clean value. Raises ValueError with the name of the setting, never with its value."""
    try:
        return check(value)
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{name} must be {reason}")


def clean_all(instance: Any) -> None:
    """Validate and clean each setting; for ``__post_init__`` of a frozen dataclass."""
    for key, item in settings_of(type(instance)).items():
        object.__setattr__(
            instance, item.name, named(item.metadata["check"], getattr(instance, item.name), key)
        )


def optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def or_callable(check: Check) -> Check:
    """Accepts a callable as it is; its result is validated when it is called."""
    return lambda value: value if callable(value) else check(value)


def up_to(most: float) -> Check:
    """A number above 0, as a float."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
            raise ValueError(f"a number above 0 and at most {most:,.0f}")
        return float(value)

    return check


seconds = up_to(LONGEST)
#: For one request; operating system timers are limited to 24 days.
request_seconds = up_to(DAY)
days = up_to(LONGEST / DAY)


def seconds_or_zero(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else float(seconds(value))


def per_minute(value: Any) -> float:
    """At least one request per week."""
    if not isinstance(value, (int, float)) or not 1e-4 <= value <= MOST or isinstance(value, bool):
        raise ValueError(f"a number from 0.0001 to {MOST:,}")
    return float(value)


def count_up_to(most: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"a whole number of 1 or more, at most {most:,}")
        return value

    return check


count = count_up_to(MOST)


def one_of(*choices: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(" or ".join(f'"{choice}"' for choice in choices))
        return value

    return check


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def credential(value: Any) -> str:
    if not is_credential(value):
        raise ValueError(
            "non-empty printable ASCII text. Is its environment variable set? If it is read from a "
            "file, strip the trailing line break"
        )
    return value


def client_id(value: Any) -> str:
    """A credential without a colon: Basic splits id and secret at the first colon (RFC 7617)."""
    if isinstance(value, str) and ":" in value:
        raise ValueError("the id of an OAuth client, without a colon")
    return credential(value)


def _is_list(value: Any) -> bool:
    """Iterators do not count: they are empty after the first read."""
    return isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))


def words(value: Any) -> tuple[str, ...]:
    items = tuple(value) if _is_list(value) else (None,)
    if not all(isinstance(item, str) and item for item in items):
        raise ValueError("a list of strings")
    return tuple(map(str, items))


def statuses(value: Any) -> frozenset[str]:
    """Case-insensitive."""
    return frozenset(word.lower() for word in words(value))


def some_statuses(value: Any) -> frozenset[str]:
    if not (found := statuses(value)):
        raise ValueError("a list of at least one string")
    return found


def scopes(value: Any) -> tuple[str, ...]:
    items = words(value)
    if not all(is_header_value(item) for item in items):
        raise ValueError("a list of printable ASCII strings; [] sends none")
    return items


def path(value: Any) -> str:
    if not is_url_path(value):
        raise ValueError("a URL path such as /api/v2/eventbridge/events")
    return value


def idempotency_header(value: Any) -> str:
    if not is_free_header_name(value):
        raise ValueError("the name of an HTTP header that the app does not set, normally Idempotency-Key")
    return value


def content_type(value: Any) -> str:
    if not is_media_type(value):
        raise ValueError("a media type such as application/cloudevents+json")
    return value


def header_value(value: Any) -> str:
    if not is_header_value(value):
        raise ValueError("printable ASCII text without leading or trailing spaces")
    return value


def headers(value: Any) -> Mapping[str, Any]:
    """A dict of names and texts, or callables that return one."""
    if not isinstance(value, Mapping):
        raise ValueError("a dict of header names and values")
    for name, text in value.items():
        if not is_header_name(name):  # it may be the value in the wrong place
            raise ValueError("a dict whose keys are header names. Does one contain a colon or a space?")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"a dict without {name}, which the app sets")
        if not callable(text) and not is_header_value(text):
            raise ValueError(
                "a dict whose values are printable ASCII text without leading or trailing spaces; check "
                f"{name}"
            )
    return MappingProxyType(dict(value))


def codes(value: Any) -> frozenset[int]:
    items = tuple(value) if _is_list(value) else ()
    if not items or not all(type(item) is int and 200 <= item <= 599 for item in items):
        raise ValueError("a list of HTTP status codes from 200 to 599")
    return frozenset(items)


def delays(value: Any) -> tuple[float, ...]:
    items = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not items:
        raise ValueError("a list of at least one number of seconds")
    return tuple(seconds(item) for item in items)


def file(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError("the path of a PEM file or folder, or None; TLS verification cannot be disabled")
    return str(os.fspath(value))


_EXISTING = "the path of an existing PEM file or folder, or None"


def existing_file(value: Any) -> str:
    path = file(value)
    try:
        if Path(path).exists():
            return path
    except (OSError, ValueError):  # not a valid path: too long, or with a NUL
        raise ValueError(_EXISTING) from None
    raise ValueError(_EXISTING)


client_certificate = ClientCertificate.of


def proxy(value: Any) -> str:
    if not is_proxy_url(value):
        raise ValueError(
            "a URL such as http://proxy.example.com:3128 or http://user:password@proxy:3128, a callable that "
            "returns one, or None"
        )
    return value

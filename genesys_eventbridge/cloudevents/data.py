"""Converts users' ``data`` to a new tree of plain JSON values, or names the path that does not fit."""

import dataclasses
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from genesys_eventbridge.cloudevents.timestamps import rfc3339
from genesys_eventbridge.errors import InvalidEvent

MAX_DEPTH = 100  # nested objects and arrays; consumers' parsers have their own limits
MAX_DIGITS = 4300  # of an int: what Python itself reads and writes by default

_SURROGATE = re.compile("[\ud800-\udfff]")
_PATH_STEPS = 8
_PATH_KEY = 40


def plain(value: object, *, limit: int) -> Any:
    """``value`` copied into new dict, list, str, int, float, bool and None objects, ready for JSON.

    Text, numbers, booleans and None stay as they are. Converted to text: Decimal (``str``, so money keeps its
    digits), aware datetime (RFC 3339 with its own offset and microseconds, ``Z`` for UTC), date, naive
    time, timedelta (ISO 8601, ``P1DT02H03M04S``), UUID, lazy translations. An Enum member becomes its
    value; tuples become arrays. Integers above 2**53 are exact here, but consumers that calculate in doubles
    (JavaScript, flows) round them: send such ids as text.

    ``limit`` is in bytes of JSON: copying stops as soon as the result cannot fit. Raises InvalidEvent with a
    path such as ``data.items[3].price``; its reason names types, never values.
    """
    try:
        return _Copier(limit).copy(value, 1)
    except _Unfit as problem:
        raise InvalidEvent(_path(problem.steps), problem.reason) from None


def too_large(limit: int, size: int | None = None) -> InvalidEvent:
    """The error for an event of ``size`` bytes (None: too many to count) if ``limit`` are allowed."""
    found = f"{size:,}" if size is not None else f"more than {limit:,}"
    return InvalidEvent(
        "data",
        f"the encoded event has {found} bytes, the limit is {limit:,}; store the payload elsewhere and send "
        "its address in the extension 'dataref', or raise max_bytes (the setting MAX_EVENT_BYTES)",
    )


def exact_text(value: object) -> str | None:
    """The ``str`` of a text-like value (str, an Enum of text, a lazy translation, a UUID), else None."""
    if type(value) is str:
        return value
    if isinstance(value, Enum):
        value = value.value
    if is_proxy(value):
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, UUID) or _is_lazy(value):
        return str(value)
    return None


def is_proxy(value: object) -> bool:
    """Whether ``value`` imitates its class (SimpleLazyObject, mocks), which C code does not accept."""
    return value.__class__ is not type(value)


class _Unfit(Exception):
    """A value that JSON cannot represent; ``steps`` are the keys and indexes to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[object] = []


class _Copier:
    """One walk over one value; ``left`` is the number of bytes that the JSON text may still take.

    Each value is charged the least it can take including the comma or colon after it (an object or array: its
    brackets, because its last part has no comma). So the walk stops early for a huge payload, and for a small
    one that refers to the same parts repeatedly.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def copy(self, value: Any, level: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool or kind is float or kind is int:
            return self._number(value)
        if kind is dict:
            return self._object(value, level)
        if kind is list or kind is tuple:
            return self._array(value, level)
        return self._copy_other(value, level)

    def _copy_other(self, value: object, level: int) -> Any:
        if is_proxy(value):
            raise _Unfit(f"{a_type(value)} is a proxy for another object; pass that object's plain value")
        if isinstance(value, Enum):
            return self.copy(value.value, level)
        if isinstance(value, Mapping):
            return self._object(value, level)
        if isinstance(value, (list, tuple)):
            return self._array(value, level)
        if isinstance(value, int):
            return self._number(int(value))
        if isinstance(value, float):
            return self._number(float(value))
        return self._text(_as_text(value))

    def _object(self, value: Mapping[Any, Any], level: int) -> dict[str, Any]:
        self._descend(level)
        members: dict[str, Any] = {}
        key: object = None
        try:
            for key, member in value.items():
                name = self._text(key if type(key) is str else _name(key))
                if name in members:
                    raise _Unfit("two keys become the same name; names in a JSON object must be unique")
                members[name] = self.copy(member, level + 1)
        except _Unfit as problem:
            problem.steps.append(key)
            raise
        return members

    def _array(self, value: list[Any] | tuple[Any, ...], level: int) -> list[Any]:
        self._descend(level)
        items: list[Any] = []
        try:
            for item in value:
                items.append(self.copy(item, level + 1))  # noqa: PERF401 - len(items) is the failing index
        except _Unfit as problem:
            problem.steps.append(len(items))
            raise
        return items

    def _text(self, text: str) -> str:
        self._charge(len(text) + 3)
        if not text.isascii() and (found := _SURROGATE.search(text)):
            raise _Unfit(
                f"an unpaired surrogate (U+{ord(found[0]):04X} at position {found.start()}) is not text; "
                "text.encode('utf-8', 'replace').decode() replaces it with '?'"
            )
        return text

    def _number(self, value: Any) -> Any:
        self._charge(2)
        if isinstance(value, float) and not math.isfinite(value):
            raise _Unfit("JSON has no NaN or infinity; send None or text")
        if isinstance(value, int) and value.bit_length() > 2000:
            self._charge(_digits(value))
        return value

    def _descend(self, level: int) -> None:
        self._charge(2)
        if level > MAX_DEPTH:
            raise _Unfit(f"nested deeper than {MAX_DEPTH} levels, or it contains itself; flatten it")

    def _charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise too_large(self.limit)


def _digits(value: int) -> int:
    """A lower bound for the digits after the first one. Refuses what Python itself would not write."""
    limit = min(sys.get_int_max_str_digits() or MAX_DIGITS, MAX_DIGITS)
    if abs(value) >= 10**limit:
        raise _Unfit(f"an integer of more than {limit} digits; send it as text, such as hex(value)")
    return int((value.bit_length() - 1) * math.log10(2))


def _name(key: object) -> str:
    """A key that is not exactly ``str``: its text if it is a subclass of ``str``."""
    if isinstance(key, str) and not is_proxy(key):
        return str.__str__(key)
    raise _Unfit(f"the key is {a_type(key)}; JSON keys are text: use str(key)")


def _as_text(value: object) -> str:
    text = exact_text(value)
    if text is not None:
        return text
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise _Unfit("a Decimal NaN or infinity is not a number; send None or text")
        return str(value)
    if isinstance(value, datetime):
        try:
            return rfc3339(value)
        except ValueError as problem:
            raise _Unfit(str(problem)) from None
    if isinstance(value, time) and value.tzinfo is not None:
        raise _Unfit("a time with a timezone but without a date is ambiguous; send a datetime")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _duration(value)
    raise _Unfit(f"{a_type(value)} is not a JSON value; {_remedy(value)}")


def _duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{hours:02}H{minutes:02}M{seconds:02}{fraction}S"


def _remedy(value: object) -> str:
    if isinstance(value, Set):
        return "a set has no order: pass sorted(value)"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "pass base64 text here, or bytes as the whole data"
    if hasattr(type(value), "_meta"):
        return "name what to send: {'id': instance.pk, ...}"
    if dataclasses.is_dataclass(value):
        return "pass dataclasses.asdict(value)"
    if isinstance(value, Iterator):
        return "pass list(value): it can be read only once"
    return "pass text, a number, a list or a dict"


def _is_lazy(value: object) -> bool:
    """Whether ``value`` is one of Django's lazy texts, found by name: this module never imports Django."""
    return any(
        (base.__module__, base.__name__) == ("django.utils.functional", "Promise")
        for base in type(value).__mro__
    )


def a_type(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def _path(steps: list[object]) -> str:
    """``data.items[3]["odd key"]`` from steps, innermost first; long keys and long paths are cut."""
    outermost = steps[::-1]
    shown = "".join(map(_step, outermost[:_PATH_STEPS]))
    return f"data{shown}…" if len(steps) > _PATH_STEPS else f"data{shown}"


def _step(step: object) -> str:
    if not isinstance(step, str) or is_proxy(step):
        return f"[{step}]" if type(step) is int else f"[{type(step).__name__}]"
    key = str.__str__(step)[:_PATH_KEY]
    cut = "…" if len(step) > _PATH_KEY else ""
    return f".{key}{cut}" if key.isascii() and key.isidentifier() else f"[{json.dumps(key)}{cut}]"

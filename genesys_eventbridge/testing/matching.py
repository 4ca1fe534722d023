"""Which parts of a payload differ from what a test expects: a partial, nested comparison of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from genesys_eventbridge.cloudevents.data import plain
from genesys_eventbridge.errors import InvalidEvent

#: Maximum characters of one value in a difference.
_LONGEST = 200
_UNLIMITED = 1 << 40


def differences(expected: Any, found: Any, path: str = "data") -> Iterator[str]:
    """Each difference as a line such as ``data.items[0].price is "9.90", expected "10.00"``.

    An object may have more members than expected; an array must have as many items. ``expected`` may hold
    what ``enqueue`` takes (Decimal, datetime, UUID) and objects with an ``__eq__`` of their own, such as
    ``unittest.mock.ANY``. Booleans are never numbers.
    """
    if isinstance(expected, Mapping):
        yield from _of_object(expected, found, path)
    elif isinstance(expected, list | tuple):
        yield from _of_array(expected, found, path)
    elif not _same(expected, found):
        yield f"{path} is {shown(found)}, expected {shown(expected)}"


def shown(value: Any) -> str:
    """A value as JSON, short; its repr if it is not JSON."""
    try:
        text = json.dumps(_plain(value), ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _of_object(expected: Mapping[Any, Any], found: Any, path: str) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield f"{path} is {shown(found)}, expected an object"
        return
    for key, value in expected.items():
        name = f"{path}.{key}"
        if key in found:
            yield from differences(value, found[key], name)
        else:
            there = ", ".join(map(str, found)) or "nothing"
            yield f"{name} is missing, expected {shown(value)} (there: {there})"


def _of_array(expected: list[Any] | tuple[Any, ...], found: Any, path: str) -> Iterator[str]:
    if not isinstance(found, list):
        yield f"{path} is {shown(found)}, expected an array"
        return
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        yield from differences(one, other, f"{path}[{index}]")
    if len(expected) != len(found):
        yield f"{path} has {len(found)} items, expected {len(expected)}: {shown(found)}"


def _same(expected: Any, found: Any) -> bool:
    expected = _plain(expected)
    if isinstance(found, bool) != isinstance(expected, bool) and isinstance(expected, bool | int | float):
        return False
    return bool(expected == found)


def _plain(value: Any) -> Any:
    """The value as ``enqueue`` would encode it; itself if that is impossible, such as a matcher."""
    try:
        return plain(value, limit=_UNLIMITED)
    except InvalidEvent:
        return value

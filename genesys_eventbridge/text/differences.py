"""What was changed in a JSON value, and how it is shown: as paths with the values before and after."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from genesys_eventbridge.text import REDACTED, clean, names_a_key, redact

#: A member that does not exist on one side.
ABSENT: Any = object()


class Difference(NamedTuple):
    """One change: the names of members and indexes of items that lead to it, and both values or ABSENT."""

    steps: tuple[str | int, ...]
    before: Any
    after: Any

    @property
    def path(self) -> str:
        """``data.items[3]["odd key"]``"""
        return "data" + "".join(map(_step, self.steps))


class HiddenValue(ValueError):
    """A mask stands where no value was hidden; ``path`` says where."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def differences(before: Any, after: Any, keys: Collection[str]) -> list[Difference]:
    """The changes that make ``after`` of ``before``; values of members named like ``keys`` are masked."""
    masked_before, masked_after = redact([before], keys)[0], redact([after], keys)[0]
    return [
        Difference(steps, _value_at(masked_before, steps), _value_at(masked_after, steps))
        for steps in _changed(before, after, ())
    ]


def as_json(changes: Sequence[Difference]) -> str:
    """The changes as they are stored: a list of ``path`` (a list of steps), ``before`` and ``after``."""
    stored = []
    for steps, before, after in changes:
        values = {"before": before, "after": after}
        stored.append(
            {"path": steps, **{name: value for name, value in values.items() if value is not ABSENT}}
        )
    return json.dumps(stored, ensure_ascii=False)


def from_json(text: str, keys: Collection[str]) -> list[Difference]:
    """Stored changes to show; masked also by names that were added to ``keys`` since."""
    return [
        Difference(
            steps := tuple(each["path"]),
            _masked(steps, each.get("before", ABSENT), keys),
            _masked(steps, each.get("after", ABSENT), keys),
        )
        for each in json.loads(text)
    ]


def words(change: Difference, width: int = 200) -> str:
    """``data.amount: "12,50" -> 12.5``, each part of at most ``width`` characters."""
    before, after = (
        "(none)" if value is ABSENT else clean(json.dumps(value, ensure_ascii=False), width)
        for value in (change.before, change.after)
    )
    return f"{clean(change.path, width)}: {before} -> {after}"


def restored(given: Any, original: Any, keys: Collection[str]) -> Any:
    """``given``, edited from the masked ``original``, with the hidden values back in their places.

    Raises HiddenValue if a mask was moved to where it is unclear which value it stands for.
    """
    return _restored(given, original, redact([original], keys)[0], ())


def _changed(before: Any, after: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _changed(before.get(name, ABSENT), after.get(name, ABSENT), (*steps, name))
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            one = before[place] if place < len(before) else ABSENT
            other = after[place] if place < len(after) else ABSENT
            yield from _changed(one, other, (*steps, place))
    elif type(before) is not type(after) or before != after:  # True == 1 == 1.0
        yield steps


def _value_at(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        if value == REDACTED:
            return REDACTED
        is_there = step in value if isinstance(value, dict) else step < len(value)  # type: ignore[operator]
        if not is_there:
            return ABSENT
        value = value[step]
    return value


def _masked(steps: Sequence[str | int], value: Any, keys: Collection[str]) -> Any:
    if value is ABSENT:
        return ABSENT
    hidden = any(isinstance(step, str) and names_a_key(step, keys) for step in steps)
    return REDACTED if hidden else redact([value], keys)[0]


def _restored(given: Any, original: Any, masked: Any, steps: tuple[str | int, ...]) -> Any:
    if given == REDACTED:
        if masked != REDACTED:
            raise HiddenValue(Difference(steps, None, None).path)
        return original
    if isinstance(given, dict):
        known = isinstance(masked, dict)
        return {
            name: _restored(
                value,
                original.get(name, ABSENT) if known else ABSENT,
                masked.get(name, ABSENT) if known else ABSENT,
                (*steps, name),
            )
            for name, value in given.items()
        }
    if isinstance(given, list):
        return _restored_items(given, original, masked, steps)
    return given


def _restored_items(given: list[Any], original: Any, masked: Any, steps: tuple[str | int, ...]) -> list[Any]:
    """An item that was edited keeps its hidden values only if no item was moved, added or removed."""
    known = masked if isinstance(masked, list) else []
    in_place = len(given) == len(known) and not any(
        item != known[place] and item in known for place, item in enumerate(given)
    )
    items = []
    for place, item in enumerate(given):
        same = [original[other] for other, value in enumerate(known) if value == item]
        if in_place:
            items.append(_restored(item, original[place], known[place], (*steps, place)))
        elif same and all(value == same[0] for value in same):
            items.append(same[0])
        else:
            items.append(_restored(item, ABSENT, ABSENT, (*steps, place)))
    return items


def _step(step: str | int) -> str:
    if isinstance(step, str) and step.isascii() and step.isidentifier():
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"

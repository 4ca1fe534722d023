"""What a save changed: the difference between the row before and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Field

from genesys_eventbridge.model_events.columns import same


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object; passed to ``data`` and ``when`` if they take two arguments.

    ``kind`` is created, updated, deleted, or the name of a many-to-many field. ``before`` and ``after`` map
    field names to the values in the row before and after the change, a foreign key as its key. For an
    update they hold the fields that changed, of those named in ``changed=`` if it is given. Values that are
    not known are missing in ``before`` (``enqueue_for``, signals sent by other code). For a created object
    ``after`` holds all of them, for a deleted one ``before``. ``added`` and ``removed`` are primary keys,
    for a many-to-many field.
    """

    kind: str
    before: Mapping[str, Any] = field(default_factory=dict, repr=False)
    after: Mapping[str, Any] = field(default_factory=dict, repr=False)
    added: frozenset[Any] = frozenset()
    removed: frozenset[Any] = frozenset()


class Unknown:
    """The type of UNKNOWN: a value before the change that was not read."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
Values = Mapping[str, Any]
"""Columns of one row, by attname, as SELECT returns them."""
Difference = tuple[Any, Any]
"""The values before and after; before is UNKNOWN if the row was not read before the change."""


def differences(
    watched: Iterable[Field[Any, Any]], before: Values | None, after: Values
) -> dict[str, Difference]:
    """The columns that differ between two reads of a row, by attname; without ``before``, all of them."""
    found = {}
    for item in watched:
        former = UNKNOWN if before is None else before.get(item.attname, UNKNOWN)
        present = after[item.attname]
        if former is UNKNOWN or not same(item, former, present):
            found[item.attname] = (former, present)
    return found

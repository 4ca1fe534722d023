"""What a save changed: the row before it against the row after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Field

from genesys_eventbridge.model_events.columns import same


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object; given to ``data`` and ``when`` where they take two arguments.

    ``kind`` is created, updated, deleted, or the name of a many-to-many field. ``before`` and ``after`` hold
    the fields named in ``changed`` that did change (without ``changed=``: all that did), by name, a foreign
    key as its key: the row before the change against the row after it. What is not known is missing in
    ``before`` (``enqueue_for``, signals that other code sends). A created object has all of them in
    ``after``, a deleted one in ``before``. ``added`` and ``removed`` are primary keys, for a many-to-many
    field.
    """

    kind: str
    before: Mapping[str, Any] = field(default_factory=dict, repr=False)
    after: Mapping[str, Any] = field(default_factory=dict, repr=False)
    added: frozenset[Any] = frozenset()
    removed: frozenset[Any] = frozenset()


class Unknown:
    """The type of UNKNOWN: a value of the row before that was not read."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
Values = Mapping[str, Any]
"""Columns of one row, by attname, as SELECT returns them."""
Difference = tuple[Any, Any]
"""Before and after; before is UNKNOWN where the row was not read before."""


def differences(
    watched: Iterable[Field[Any, Any]], before: Values | None, after: Values
) -> dict[str, Difference]:
    """The columns that differ between two readings of a row, by attname; without ``before`` all do."""
    found = {}
    for item in watched:
        former = UNKNOWN if before is None else before.get(item.attname, UNKNOWN)
        present = after[item.attname]
        if former is UNKNOWN or not same(item, former, present):
            found[item.attname] = (former, present)
    return found

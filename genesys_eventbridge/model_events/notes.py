"""Values kept about objects without setting attributes on them: they belong to the user's code."""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

Kept = TypeVar("Kept")


class Notes(Generic[Kept]):
    """One value per object, by identity, for as long as the object lives.

    WeakKeyDictionary would treat two instances of one row as the same key, and cannot hash unsaved instances.
    """

    def __init__(self) -> None:
        self._notes: dict[int, tuple[ref[object], Kept]] = {}

    def put(self, owner: object, value: Kept) -> Kept:
        key = id(owner)
        self._notes[key] = (ref(owner, lambda _: self._notes.pop(key, None)), value)
        return value

    def get(self, owner: object) -> Kept | None:
        found = self._notes.get(id(owner))
        return None if found is None else found[1]

    def pop(self, owner: object) -> Kept | None:
        """Remove and return the value; None if there is none."""
        found = self._notes.pop(id(owner), None)
        return None if found is None else found[1]

"""Notes about objects, kept beside them: nothing is written into an object that is not ours."""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from weakref import ref

from django.utils.functional import LazyObject, empty

Kept = TypeVar("Kept")


def unwrapped(instance: Any) -> Any:
    """The object itself for a lazy one such as ``request.user``, whose type is not the model."""
    while isinstance(instance, LazyObject):
        if instance._wrapped is empty:
            instance._setup()
        instance = instance._wrapped
    return instance


class Notes(Generic[Kept]):
    """One value per object, by identity, for as long as the object lives.

    WeakKeyDictionary would take two instances of one row for the same key, and refuses those without a key.
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
        """The value, which is forgotten; None if there is none."""
        found = self._notes.pop(id(owner), None)
        return None if found is None else found[1]

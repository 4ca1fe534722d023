"""A run of events that the platform refused, with none accepted in between. Pure."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, replace

#: Maximum number of types kept by name; further ones are not held back.
MOST_TYPES = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """One event that the platform refused, with the platform's message."""

    event_id: int
    type: str
    error: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """The run so far: ``count`` events in total, of ``types``; ``error`` is the latest one.

    ``events`` has the ids of the first ones, enough to tell a run from one event refused repeatedly.
    ``seconds`` is the time between the latest two attempts since the run was long enough to pause.
    """

    since: dt.datetime
    count: int = 0
    events: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0

    @classmethod
    def read(cls, stored: str | None) -> Refusals | None:
        """Parse what ``stored()`` returned; None if nothing is stored or the format is unknown."""
        if not stored:
            return None
        try:
            document = json.loads(stored)
            values = {name: document[name] for name in cls.__dataclass_fields__}
            values["since"] = dt.datetime.fromisoformat(values["since"])
            return cls(**{**values, "events": tuple(values["events"]), "types": tuple(values["types"])})
        except (KeyError, TypeError, ValueError):
            return None

    def stored(self) -> str:
        return json.dumps({**asdict(self), "since": self.since.isoformat()})

    def after(self, refusal: Refusal, enough: int) -> Refusals:
        """The run with one more refusal; ids of the first ``enough`` different events are kept."""
        events, types = self.events, self.types
        known = refusal.event_id in events
        if not known and len(events) < enough:
            events = (*events, refusal.event_id)
        if refusal.type not in types and len(types) < MOST_TYPES:
            types = (*types, refusal.type)
        count = self.count + (not known)
        return replace(self, count=count, events=events, types=types, error=refusal.error)

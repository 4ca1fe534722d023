"""What the sandbox's platform remembers: accepted events by id, and which key brought which event."""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.sandbox.options import Options, Scenario


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted event: its JSON, its attributes, and how its delivery will end."""

    remote_id: str
    body: bytes
    members: Mapping[str, Any]
    at: float
    fails: bool

    def view(self, now: float, deliver_after: float) -> dict[str, Any]:
        """The event as the platform shows it: its attributes, status and delivery details."""
        final = now - self.at >= deliver_after
        status = ("failed" if self.fails else "delivered") if final else "accepted"
        shown = {name: self.members[name] for name in _SHOWN if self.members.get(name) is not None}
        return {
            **shown,
            "id": self.remote_id,
            "status": status,
            "deliveryStatus": status if final else "pending",
            "deliveryDetails": {
                "attempts": int(final),
                "reason": "the target did not take the event" if final and self.fails else "",
            },
        }


_SHOWN = ("specversion", "type", "source", "subject", "time")


class Memory:
    """Accepts each key once while its window is open. The decision and the entry are one step."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._events: list[Accepted] = []
            self._by_id: dict[str, Accepted] = {}
            self._keys: dict[str, Accepted] = {}

    def accept(
        self, key: str, body: bytes, members: Mapping[str, Any], options: Options, *, traceable: bool = True
    ) -> tuple[Accepted, bool]:
        """The event this key stands for, and whether it is new. Without a key every event is new.

        An event that is not ``traceable`` has the id of an invocation, which ``find`` does not know.
        """
        now = self._clock()
        with self._lock:
            known = self._keys.get(key)
            if known is not None and now - known.at < options.idempotency_window:
                return known, False
            event = Accepted(
                remote_id=f"evt-{uuid.uuid4()}" if traceable else str(uuid.uuid4()),
                body=body,
                members=members,
                at=now,
                fails=options.scenario is Scenario.ACCEPTED_THEN_FAILED,
            )
            self._events.append(event)
            if traceable:
                self._by_id[event.remote_id] = event
            if key:
                self._keys[key] = event
            return event, True

    def find(self, remote_id: str) -> Accepted | None:
        with self._lock:
            return self._by_id.get(remote_id)

    def all(self) -> list[Accepted]:
        """Every accepted event, in the order of acceptance."""
        with self._lock:
            return list(self._events)

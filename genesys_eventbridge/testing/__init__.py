"""Test helpers for projects that use the app; "Testing your code" in the documentation shows each one.

With pytest: the fixtures ``eventbridge_outbox``, ``eventbridge_sandbox`` and ``eventbridge_drain``. Without:
``EventBridgeTestMixin`` and ``capture_events()``. Importing this package loads none of them: each name loads
its module when it is used, so pytest starts without Django, httpx and the sandbox.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesys_eventbridge.sandbox import Scenario
    from genesys_eventbridge.sandbox.ledger import Attempt
    from genesys_eventbridge.testing.drain import DrainReport, EventBridgeDrain, LeftEvent
    from genesys_eventbridge.testing.mixin import EventBridgeTestMixin
    from genesys_eventbridge.testing.outbox import EventBridgeOutbox, capture_events
    from genesys_eventbridge.testing.sandbox import EventBridgeSandbox, sandboxed

__all__ = [
    "Attempt",
    "DrainReport",
    "EventBridgeDrain",
    "EventBridgeOutbox",
    "EventBridgeSandbox",
    "EventBridgeTestMixin",
    "LeftEvent",
    "Scenario",
    "capture_events",
    "sandboxed",
]

_PLACES = {
    "Attempt": "genesys_eventbridge.sandbox.ledger",
    "DrainReport": "genesys_eventbridge.testing.drain",
    "EventBridgeDrain": "genesys_eventbridge.testing.drain",
    "EventBridgeOutbox": "genesys_eventbridge.testing.outbox",
    "EventBridgeSandbox": "genesys_eventbridge.testing.sandbox",
    "EventBridgeTestMixin": "genesys_eventbridge.testing.mixin",
    "LeftEvent": "genesys_eventbridge.testing.drain",
    "Scenario": "genesys_eventbridge.sandbox",
    "capture_events": "genesys_eventbridge.testing.outbox",
    "sandboxed": "genesys_eventbridge.testing.sandbox",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)

"""Protocols: how a destination takes events. ``eventbridge``, ``webhook``, or a user's own class."""

from __future__ import annotations

import importlib
from typing import Any

from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.protocols.base import Channel, Protocol, Request
from genesys_eventbridge.platform.protocols.eventbridge import EventBridge
from genesys_eventbridge.platform.protocols.webhook import Webhook

__all__ = ["BUILT_IN", "Answer", "Channel", "EventBridge", "Protocol", "Request", "Webhook", "protocol_class"]

BUILT_IN: dict[str, type[Protocol]] = {"eventbridge": EventBridge, "webhook": Webhook}


def protocol_class(value: Any) -> type[Protocol]:
    """The class for a built-in name, a dotted path, or the class itself. Raises ValueError."""
    if isinstance(value, str) and value in BUILT_IN:
        return BUILT_IN[value]
    reason = ""
    found: Any = value
    if isinstance(value, str) and "." in value:
        module, _dot, name = value.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as error:  # noqa: BLE001 - the module is the user's code
            reason = f" (importing it raised {type(error).__name__})"
    if isinstance(found, type) and issubclass(found, Protocol):
        return found
    names = ", ".join(f'"{name}"' for name in BUILT_IN)
    raise ValueError(f"{names} or the dotted path of a subclass of Protocol{reason}")

"""The catalogue as one JSON Schema 2020-12: an event is valid if it is one of the declared events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genesys_eventbridge.model_events.catalogue import Entry
from genesys_eventbridge.model_events.contract.envelope import event_types
from genesys_eventbridge.model_events.shapes import DIALECT

#: Says which destination a definition belongs to. Validators ignore unknown keywords.
DESTINATION = "x-destination"


def document(found: Sequence[Entry]) -> dict[str, Any]:
    """One definition of the whole CloudEvent, in structured mode, for each type and destination."""
    types = event_types(found)
    definitions = {
        one.key: {
            **one.schema(f"#/$defs/{one.key}", bundled=True),
            DESTINATION: one.destination,
        }
        for one in types
    }
    return {
        "$schema": DIALECT,
        "title": "Events",
        "description": "Made by django-genesys-eventbridge: eventbridge_catalogue --format jsonschema.",
        # Without an event, nothing is valid.
        **({"anyOf": [{"$ref": f"#/$defs/{one.key}"} for one in types]} if types else {"not": {}}),
        "$defs": definitions,
    }

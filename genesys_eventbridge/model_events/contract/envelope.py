"""The JSON Schema of a whole CloudEvent, for each event type of the catalogue."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.cloudevents import MAX_LENGTH
from genesys_eventbridge.model_events.catalogue import Entry
from genesys_eventbridge.model_events.contract.embedding import embedded

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]")
_UNUSUAL_OR_DOT = re.compile(r"[^A-Za-z0-9_-]")
#: The attributes of the example event, besides those of its entry.
_EXAMPLE = {"id": "6f1c3a52-9d0b-4e6e-8c55-2f0f0d6a7b11", "time": "2025-01-31T12:30:00.000Z"}
_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}


@dataclass(frozen=True, slots=True)
class EventType:
    """All entries of one event type to one destination."""

    destination: str
    type: str
    entries: tuple[Entry, ...]

    @property
    def key(self) -> str:
        """A stable name in letters, digits, ``.``, ``_`` and ``-``, unique in the catalogue."""
        return f"{server_key(self.destination)}.{_name(self.type, _UNUSUAL)}"

    @property
    def occasions(self) -> str:
        return "; ".join(dict.fromkeys(entry.occasion for entry in self.entries))

    @property
    def text(self) -> str:
        return "\n\n".join(dict.fromkeys(entry.text for entry in self.entries if entry.text))

    @property
    def source(self) -> str | None:
        """The source of all its events; None if they may differ."""
        found = {entry.source for entry in self.entries}
        fixed = len(found) == 1 and not any(entry.source_varies for entry in self.entries)
        return found.pop() if fixed else None

    def data(self, pointer: str, *, bundled: bool) -> dict[str, Any]:
        """The schema of ``data``, placed at ``pointer`` of the document.

        ``bundled``: a schema that cannot be moved keeps its own ``$id``. If not, it is left out.
        """
        alternatives = [_rules(entry) for entry in self.entries]
        distinct = [one for at, one in enumerate(alternatives) if one not in alternatives[:at]]
        if len(distinct) == 1:
            return _all(distinct[0], pointer, self.key, bundled)
        return {
            "anyOf": [
                _all(rules, f"{pointer}/anyOf/{at}", f"{self.key}.{at}", bundled)
                for at, rules in enumerate(distinct)
            ]
        }

    def attributes(self) -> dict[str, Any]:
        """The schemas of the context attributes."""
        example = self.entries[0].source
        source: dict[str, Any] = {"format": "uri-reference", "examples": [example]}
        if self.source is not None:
            source = {"const": self.source}
        by_caller = any(not entry.model for entry in self.entries)
        media_type = {"type": "string"} if by_caller else {"const": "application/json"}
        found = {
            "specversion": {"const": "1.0"},
            "id": {**_TEXT, "description": "Unique for its source; a repeated event has the same id."},
            "source": {**_TEXT, **source},
            "type": {"const": self.type},
            "subject": _TEXT if any(entry.has_subject for entry in self.entries) else None,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": media_type,
            "dataschema": {"type": "string", "format": "uri"} if by_caller else None,
        }
        return {name: schema for name, schema in found.items() if schema is not None}

    def required(self) -> list[str]:
        by_caller = any(not entry.model for entry in self.entries)
        always = ["specversion", "id", "source", "type", "time"]
        return always if by_caller else [*always, "datacontenttype"]

    def schema(self, pointer: str, *, bundled: bool) -> dict[str, Any]:
        """The schema of the event in structured mode, placed at ``pointer`` of the document."""
        by_caller = any(not entry.model for entry in self.entries)
        data = self.data(f"{pointer}/properties/data", bundled=bundled)
        described = "\n\n".join(filter(None, (f"{self.occasions}.", self.text)))
        # enqueue() may be given bytes, which travel as data_base64; no JSON Schema describes those.
        bytes_ = {"type": "string", "contentEncoding": "base64"}
        has_schema = any(entry.schema is not None for entry in self.entries)
        takes_bytes = by_caller and not has_schema
        event: dict[str, Any] = {
            "title": self.type,
            "description": described,
            "type": "object",
            "properties": {
                **self.attributes(),
                "data": data,
                **({"data_base64": bytes_} if takes_bytes else {}),
            },
            "required": [*self.required(), *([] if takes_bytes else ["data"])],
            # Extension attributes.
            "additionalProperties": {"type": ["string", "integer", "boolean"]},
        }
        if takes_bytes:
            event["oneOf"] = [{"required": ["data"]}, {"required": ["data_base64"]}]
        example = self.example()
        return event if example is None else {**event, "examples": [example]}

    def example(self) -> dict[str, Any] | None:
        """A whole event; None if no entry has an example of its data."""
        for entry in self.entries:
            if entry.example is not None:
                return {
                    "specversion": "1.0",
                    "id": _EXAMPLE["id"],
                    "source": entry.source,
                    "type": self.type,
                    "time": _EXAMPLE["time"],
                    "datacontenttype": "application/json",
                    "data": entry.example,
                }
        return None


def event_types(found: Sequence[Entry]) -> list[EventType]:
    """The entries by destination and type, sorted."""
    grouped: dict[tuple[str, str], list[Entry]] = {}
    for entry in found:
        grouped.setdefault((entry.destination, entry.type), []).append(entry)
    return [
        EventType(destination, type_, tuple(entries))
        for (destination, type_), entries in sorted(grouped.items())
    ]


def _rules(entry: Entry) -> list[Mapping[str, Any]]:
    """The schemas that data must fit."""
    return [one for one in (entry.schema, entry.model_schema) if one is not None]


def _all(rules: Sequence[Mapping[str, Any]], pointer: str, key: str, bundled: bool) -> dict[str, Any]:
    if len(rules) == 1:
        return embedded(rules[0], pointer, key, bundled=bundled)
    if not rules:
        return {}
    return {
        "allOf": [
            embedded(one, f"{pointer}/allOf/{at}", f"{key}.{at}", bundled=bundled)
            for at, one in enumerate(rules)
        ]
    }


def server_key(destination: str) -> str:
    """A stable name of a destination in letters, digits, ``_`` and ``-``."""
    return _name(destination, _UNUSUAL_OR_DOT)


def _name(text: str, unusual: re.Pattern[str]) -> str:
    """``text`` if it is a name already; else with ``_``, and a digest so that two never become one."""
    name = unusual.sub("_", text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

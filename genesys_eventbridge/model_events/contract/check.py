"""Compare the catalogue with a committed file that an earlier catalogue was written to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesys_eventbridge.model_events.contract.comparison import KEEP, Change, changes
from genesys_eventbridge.model_events.contract.json_schema import DESTINATION

#: The formats that can be read back, as ``--format`` names them.
FORMATS = ("json", "jsonschema", "asyncapi")
#: Members of an event that have a rule of their own, never change, or replace ``data``.
_UNCOMPARED = ("source", "type", "specversion", "data_base64")


class NotAContract(Exception):
    """The file is not one that ``eventbridge_catalogue`` wrote; says what is wrong with it.

    ``format`` is the one of FORMATS that it seems to have, and should be written in.
    """

    def __init__(self, message: str, form: str = FORMATS[0]) -> None:
        super().__init__(message)
        self.format = form


@dataclass(frozen=True, slots=True)
class Promise:
    """What a file says of one event type to one destination."""

    source: str | None
    """None if its events may have different sources."""
    schema: Mapping[str, Any]
    """Of the event: at least ``data``."""


#: By destination and type.
Contract = Mapping[tuple[str, str], Promise]


@dataclass(frozen=True, slots=True)
class Finding:
    """One change of one event type."""

    destination: str
    type: str
    change: Change


def kind_of(document: Any) -> str:
    """The format of a document. Raises NotAContract."""
    if isinstance(document, dict):
        if "asyncapi" in document:
            return "asyncapi"
        if "$defs" in document:
            return "jsonschema"
        if isinstance(document.get("events"), list):
            return "json"
    raise NotAContract("it has neither events, $defs nor asyncapi at its top")


def parse(text: str) -> Any:
    """The JSON document in the text of a file. Raises NotAContract."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAContract(
            f"it is not JSON ({error}); only the formats {', '.join(FORMATS)} can be compared"
        ) from error


def read(document: Any) -> Contract:
    """What a document of one of FORMATS promises. Raises NotAContract."""
    kind = kind_of(document)
    reader = {"json": _from_json, "jsonschema": _from_json_schema, "asyncapi": _from_asyncapi}[kind]
    try:
        return dict(reader(document))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise NotAContract(
            f"it looks like the format {kind}, but eventbridge_catalogue did not write it "
            f"({type(error).__name__}: {error})",
            kind,
        ) from error


def compare(old: Contract, new: Contract) -> list[Finding]:
    """All changes, by destination and type."""
    return [
        Finding(destination, type_, change)
        for destination, type_ in sorted({*old, *new})
        for change in _event_changes(destination, type_, old, new)
    ]


def _event_changes(destination: str, type_: str, old: Contract, new: Contract) -> Iterator[Change]:
    before, after = old.get((destination, type_)), new.get((destination, type_))
    if before is None or after is None:
        if before is not None:
            yield _gone(destination, type_, old, new)
        else:
            yield Change(False, "", "is a new event type")
        return
    if before.source != after.source:
        was, now = (repr(one.source) if one.source else "set by each event" for one in (before, after))
        text = f"was {was}; is {now} now"
        remedy = "Pass the old source with source=, or keep the setting SOURCE."
        yield Change(before.source is not None, "source", text, remedy if before.source else "")
    yield from changes(before.schema, after.schema, "")


def _gone(destination: str, type_: str, old: Contract, new: Contract) -> Change:
    moved = [alias for alias, name in new if name == type_ and (alias, name) not in old]
    if moved:
        text = f"moved: it is sent to destination {', '.join(map(repr, moved))} now, not to {destination!r}"
        remedy = f"Register it for both until every consumer at {destination!r} has moved."
        return Change(True, "", text, remedy)
    return Change(True, "", "is no longer published (removed type)", KEEP)


# ------------------------------------------------------------------------------------------- the formats


def _from_json(document: Any) -> Iterator[tuple[tuple[str, str], Promise]]:
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for event in document["events"]:
        grouped.setdefault((str(event["destination"]), str(event["type"])), []).append(event)
    for key, events in grouped.items():
        alternatives = [_one_or_all(event) for event in events]
        distinct = [one for at, one in enumerate(alternatives) if one not in alternatives[:at]]
        data = distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
        sources = {str(event["source"]) for event in events}
        fixed = len(sources) == 1 and not any(event.get("source_varies") for event in events)
        yield key, Promise(sources.pop() if fixed else None, _event({"data": data}))


def _one_or_all(event: Mapping[str, Any]) -> Mapping[str, Any]:
    rules: list[Mapping[str, Any]] = [
        one for one in (event["schema"], event["model_schema"]) if one is not None
    ]
    if len(rules) == 1:
        return rules[0]
    return {"allOf": rules} if rules else {}


def _from_json_schema(document: Any) -> Iterator[tuple[tuple[str, str], Promise]]:
    for schema in document["$defs"].values():
        yield (schema[DESTINATION], schema["properties"]["type"]["const"]), _promise(schema)


def _from_asyncapi(document: Any) -> Iterator[tuple[tuple[str, str], Promise]]:
    if not isinstance(document["info"]["version"], str):
        raise TypeError("info.version is no text")
    messages = document["components"]["messages"]
    for channel in document["channels"].values():
        for key in channel["messages"]:
            message = messages[key]
            payload = _at_home(message["payload"], f"#/components/messages/{key}/payload")
            headers = message["headers"]["properties"]
            if "ce-type" in headers:  # binary mode: the payload is the data
                attributes = {name.removeprefix("ce-"): schema for name, schema in headers.items()}
                payload = _event({**attributes, "data": payload})
            yield (channel[DESTINATION], message["name"]), _promise(payload)


def _at_home(payload: Any, pointer: str) -> Any:
    """The schema with references as from its own root: whether the document names a dialect is no change."""
    if "schemaFormat" in payload:
        payload, pointer = payload["schema"], f"{pointer}/schema"
    return json.loads(json.dumps(payload).replace(json.dumps(pointer)[1:-1], "#"))


def _event(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties}


def _promise(schema: Mapping[str, Any]) -> Promise:
    """The source is compared by a rule of its own. Where bytes are allowed, data is not always there."""
    properties: Mapping[str, Any] = schema["properties"]
    source = properties["source"].get("const")
    rest = {name: one for name, one in properties.items() if name not in _UNCOMPARED}
    kept = {name: one for name, one in schema.items() if name not in ("oneOf", DESTINATION)}
    return Promise(source, {**kept, "properties": rest})


def summary(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The breaking changes, and the compatible ones."""
    return (
        [one for one in findings if one.change.breaking],
        [one for one in findings if not one.change.breaking],
    )

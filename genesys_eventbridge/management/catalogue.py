"""The catalogue of declared events as text, as Markdown, or as values for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from genesys_eventbridge import conf
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.model_events.catalogue import Entry, entries

NOTHING = (
    "No event is declared yet. Register a model: @publishes(created=..., fields=[...]), "
    "or add the schema of a type to SCHEMAS."
)
ELEMENTS = "`[]` stands for each element of the list."


def catalogue(destinations: Sequence[str], form: str) -> Result:
    """All entries of these destinations in the given format: text, json or markdown."""
    found = [entry for entry in entries() if entry.destination in destinations]
    lines = _markdown(found) if form == "markdown" else _text(found)
    return Result(list(lines), {"events": [_values(entry) for entry in found]})


def _values(entry: Entry) -> dict[str, Any]:
    return {"source": conf.destination(entry.destination).source, **dataclasses.asdict(entry)}


def _text(found: Sequence[Entry]) -> Iterator[str]:
    if not found:
        yield NOTHING
    for entry in found:
        yield f"{entry.type}  ({entry.occasion}; to {entry.destination})"
        yield from (f"  {line}" for line in entry.text.splitlines())
        width = max((len(member.name) for member in entry.members), default=0)
        yield from (f"  {member.name:<{width}}  {member.values}" for member in entry.members)
        if entry.schema is not None:
            yield f"  schema   {_json(entry.schema)}"
        if entry.example is not None:
            yield f"  example  {_json(entry.example)}"


def _markdown(found: Sequence[Entry]) -> Iterator[str]:
    yield "# Events"
    if not found:
        yield from ("", NOTHING)
    for entry in found:
        yield from ("", f"## `{entry.type}`", "", f"{entry.occasion}. To {entry.destination}.")
        if entry.text:
            yield from ("", entry.text)
        if entry.members:
            yield from ("", "| in `data` | what | meaning |", "| --- | --- | --- |")
            for member in entry.members:
                yield f"| `{member.name}` | {_cell(member.values)} | {_cell(member.text)} |"
            if any("[]" in member.name for member in entry.members):
                yield from ("", ELEMENTS)
        if entry.example is not None:
            yield from ("", "Example of `data`:", "", "```json", _json(entry.example, 2), "```")
        if entry.schema is not None:
            yield from ("", "JSON Schema of `data`:", "", "```json", _json(entry.schema, 2), "```")
        elif entry.model_schema is not None:
            yield from ("", "<details><summary>JSON Schema of <code>data</code></summary>", "")
            yield from ("```json", _json(entry.model_schema, 2), "```", "", "</details>")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)

"""The catalogue of declared events: as text, Markdown, JSON, JSON Schema or AsyncAPI; and its check."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from genesys_eventbridge.management.output import Result, Streamed, counted, next_step
from genesys_eventbridge.model_events.catalogue import Entry, entries
from genesys_eventbridge.model_events.contract import asyncapi, json_schema
from genesys_eventbridge.model_events.contract import check as contract
from genesys_eventbridge.reporting.exports import plain

#: The formats that are one JSON document of their own.
DOCUMENTS = ("jsonschema", "asyncapi")

#: A semantic version; what follows its three numbers is dropped.
_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.[0-9]{1,9}(?:[-+].*)?", re.ASCII)

NOTHING = (
    "No event is declared yet. Register a model: @publishes(created=..., fields=[...]), "
    "or declare what enqueue() sends: declare_event(type, schema=..., example=...)."
)
ELEMENTS = "`[]` stands for each element of the list."


def catalogue(destinations: Sequence[str], form: str, version: str) -> Result:
    """All entries of these destinations in one of the command's formats.

    ``version`` is the contract's, for AsyncAPI.
    """
    declared = entries()
    found = [entry for entry in declared if entry.destination in destinations]
    if form in DOCUMENTS:
        text = _dumped(_document(found, form, version))
        return Streamed(source=lambda _form: iter([text]))
    lines = [*(_markdown(found) if form == "markdown" else _text(found))]
    if not found:
        lines.append(f"No event is declared for {', '.join(destinations)}." if declared else NOTHING)
    return Result(lines, _document(found, "json", version))


def check(destinations: Sequence[str] | None, file: str) -> tuple[Result, int]:
    """What changed since ``file`` was written, and the number of breaking changes.

    Only of these destinations, or of all, also of those that no longer exist.

    Raises CommandError if the file cannot be read, or if ``eventbridge_catalogue`` did not write it.
    """
    try:
        document = contract.parse(Path(file).read_text("utf-8"))
        form = contract.kind_of(document)
        old = {
            key: one
            for key, one in contract.read(document).items()
            if destinations is None or key[0] in destinations
        }
    except contract.NotAContract as error:
        raise CommandError(
            f"--check {file}: {error}. Write one:\n{_write(error.format, 'contract.json')}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"--check {file}: it cannot be read ({error}). Write it first:\n"
            f"{_write(contract.FORMATS[0], file)}"
        ) from error
    found = [entry for entry in entries() if destinations is None or entry.destination in destinations]
    # Encoded and decoded, as the file was: what JSON does not keep makes no difference.
    new = contract.read(json.loads(_dumped(_document(found, form, "0"))))
    breaking, compatible = contract.summary(contract.compare(old, new))
    lines = [line for one in breaking for line in _finding(one)]
    lines.append(
        f"{counted(len(breaking), 'breaking change')}, {counted(len(compatible), 'compatible change')} "
        f"since {file} was written ({counted(len(old), 'event type')} then, {len(new):,} now)."
    )
    if breaking or compatible:
        again = "If the consumers agree, write the file again" if breaking else "Write the file again"
        version = ""
        if form == "asyncapi":
            written = str(document["info"]["version"])
            again += f", with a new version (it has {written})"
            version = f" --contract-version {_raised(written, breaking=bool(breaking))}"
        lines.append(f"{again}, and commit it:")
        lines.append(_write(form, file, version))
    data = {
        "file": file,
        "breaking": list(map(_change, breaking)),
        "compatible": list(map(_change, compatible)),
    }
    return Result(lines, data), len(breaking)


def _write(form: str, file: str, version: str = "") -> str:
    """The command that writes the file, on a line of its own, so that it can be copied."""
    return next_step(f"eventbridge_catalogue --format {form} --output {shlex.quote(file)}{version}")


def _raised(version: str, *, breaking: bool) -> str:
    """The next semantic version; "VERSION", to be filled in, after one that is none."""
    parts = _VERSION.fullmatch(version)
    if parts is None:
        return "VERSION"
    major, minor = int(parts[1]), int(parts[2])
    return f"{major + 1}.0.0" if breaking else f"{major}.{minor + 1}.0"


def write(result: Result, form: str, file: str) -> Result:
    """Write the result to ``file``, and say so in any format. Raises CommandError if it cannot be written."""
    text = "".join(result.parts(form)) + "\n"
    try:
        Path(file).write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"--output {file}: it cannot be written ({error}).") from error
    return Streamed(source=lambda _form: iter([f"Written to {file}."]))


def _document(found: Sequence[Entry], form: str, version: str) -> dict[str, Any]:
    match form:
        case "jsonschema":
            return json_schema.document(found)
        case "asyncapi":
            return asyncapi.document(found, version)
    return {"events": [dataclasses.asdict(entry) for entry in found]}


def _finding(one: contract.Finding) -> Iterator[str]:
    yield f"{_where(one)} {one.change.text}"
    yield f"  -> {one.change.remedy}"


def _where(one: contract.Finding) -> str:
    return " ".join(filter(None, (f"{one.type} (to {one.destination}):", one.change.path)))


def _change(one: contract.Finding) -> dict[str, str]:
    return {
        "type": one.type,
        "destination": one.destination,
        "path": one.change.path,
        "what": one.change.text,
        "remedy": one.change.remedy,
    }


def _dumped(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2, default=plain)


def _text(found: Sequence[Entry]) -> Iterator[str]:
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
        yield ""
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

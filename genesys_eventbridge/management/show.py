"""One event for people and programs: its attributes, state, next step and timeline."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Iterator
from typing import Any, assert_never

from django.core.management.base import CommandError

from genesys_eventbridge.formatting import exact, relative
from genesys_eventbridge.management import arguments, listing
from genesys_eventbridge.management.output import Result, next_step
from genesys_eventbridge.models import DeliveryAttempt, EventAct, OutboxEvent
from genesys_eventbridge.reporting.explain import explain, facts_for
from genesys_eventbridge.reporting.payloads import envelope
from genesys_eventbridge.reporting.timeline import Entry, history, timeline
from genesys_eventbridge.selection import EventFilter, access
from genesys_eventbridge.states import State
from genesys_eventbridge.text import clean

_FACTS = (
    "event_id",
    "source",
    "subject",
    "destination",
    "idempotency_key",
    "key_epoch",
    "ordering_key",
    "remote_id",
    "correlation_id",
    "object_type",
    "object_id",
    "origin_id",
)
_STATE = ("state", "reason", "type", "attempts", "checks", "last_status_code", "last_error")
_TIMES = ("created_at", "due_at", "accepted_at", "finished_at", "in_doubt_since")
#: The columns of the rows of the timeline that programs get.
_COLUMNS: dict[type, tuple[str, ...]] = {
    DeliveryAttempt: (
        "number",
        "duration",
        "verdict",
        "status_code",
        "error",
        "correlation_id",
        "retry_after",
        "may_duplicate",
        "worker",
    ),
    EventAct: ("username", "via", "from_state", "to_state", "reason"),
}


#: Events that an ambiguous name lists.
MOST = 20


def named(text: str, *, payload: bool) -> Result:
    """The event that ``text`` names, or a list if they are several. Raises CommandError if there is none."""
    number = arguments.number(text)
    if number is not None and OutboxEvent.objects.on_outbox().filter(pk=number).exists():
        return show(number, payload=payload)
    chosen = EventFilter(text=text)
    ids = list(
        access.listed(OutboxEvent.objects.on_outbox(), chosen).values_list("id", flat=True)[: MOST + 1]
    )
    if not ids:
        raise CommandError("\n".join([f"No event {clean(text, 80)!r}.", *listing.not_found(text)]))
    if len(ids) == 1:
        return show(ids[0], payload=payload)
    return _several(text, ids)


def _several(text: str, ids: list[int]) -> Result:
    """Events with a command to show each, newest first."""
    names = ("id", "event_id", "type", "subject", "state")
    found = OutboxEvent.objects.on_outbox().filter(pk__in=ids[:MOST]).order_by("-pk").values(*names)
    more = len(ids) > MOST
    count = f"More than {MOST}" if more else str(len(ids))
    lines = [f"{count} events are found by {clean(text, 80)!r}, newest first:"]
    for line, pk in zip(listing.lines(ids[:MOST]), ids, strict=False):
        lines += [line, next_step(f"eventbridge_show {pk}")]
    if more:
        lines += ["All of them:", next_step(f"eventbridge_list {shlex.quote(text)}")]
    return Result(lines, {"events": list(found), "more": more})


def show(pk: int, *, payload: bool) -> Result:
    event = OutboxEvent.objects.on_outbox().get(pk=pk)
    attempts, acts = history(event)
    facts = facts_for(event, acts=acts)
    entries = timeline(event, attempts, acts, facts)
    if event.finished_at is not None:  # so no step is planned, and every entry has a time
        entries.append(Entry(event.state, event.finished_at, event.get_state_display()))
        entries.sort(key=lambda entry: entry.at or facts.now)
    body = envelope(event, payload=True) if payload else None
    state = event.get_state_display() + (f" ({event.get_reason_display()})" if event.reason else "")
    after = explain(event, facts)
    lines = [
        f"Event {event.pk}  {clean(event.type, 255)}  {state}",
        *_known(event),
        "",
        after,
        *map(next_step, _commands(event)),
        "",
        *(_line(entry, facts.now) for entry in entries),
        "",
        _payload_line(event) if body is None else json.dumps(body, indent=2),
    ]
    data: dict[str, Any] = {
        "event": {name: getattr(event, name) for name in ("id", *_STATE, *_FACTS, *_TIMES)},
        "next": after,
        "timeline": [_values(entry) for entry in entries if entry.what != "planned"],
    }
    return Result(lines, {**data, "body": body} if payload else data)


def _commands(event: OutboxEvent) -> Iterator[str]:
    """What can be done now, as commands: the explanation names the buttons of the admin."""
    because = '--because "TEXT"'
    match State(event.state) if event.state in State.values else None:
        case State.DEAD:
            yield f"eventbridge_retry {event.pk} --state dead {because}"
            yield f"eventbridge_cancel {event.pk} {because}"
        case State.UNRESOLVED:
            for outcome in ("delivered", "not-delivered", "give-up"):
                yield f"eventbridge_resolve {event.pk} --{outcome} {because}"
        case State.PENDING | State.ACCEPTED | State.DELIVERED | State.CANCELLED | None:
            return
        case _ as never:
            assert_never(never)


def _known(event: OutboxEvent) -> Iterator[str]:
    for name in _FACTS:
        if (value := getattr(event, name)) not in (None, "", 0):
            yield f"  {name}: {clean(value, 255)}"


def _line(entry: Entry, now: dt.datetime) -> str:
    """ "  2026-11-23 09:10:11 UTC  Sent, outcome unknown (HTTP status 503, took 0.1 s): what went wrong"."""
    words = [f"{name} {value}" for name, value in entry.facts]
    begins = " " * len(exact(now))
    if entry.at is not None:
        begins = exact(entry.at)
        words += [relative(entry.at, now)] if entry.what == "planned" else []
    line = f"  {begins}  {entry.title}" + (f" ({', '.join(words)})" if words else "")
    return f"{line}: {entry.text}" if entry.text else line


def _values(entry: Entry) -> dict[str, Any]:
    columns = {name: getattr(entry.row, name) for name in _COLUMNS.get(type(entry.row), ())}
    return {"what": entry.what, "at": entry.at, **columns}


def _payload_line(event: OutboxEvent) -> str:
    if not event.body:
        return (
            "Its body was blanked, by PAYLOAD_RETENTION_DAYS or because personal data was erased; ids, "
            "times and hashes are kept."
        )
    return f"Body: {len(event.body.encode()):,} bytes; --payload shows it, with secrets masked."

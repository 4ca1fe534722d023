"""One event for people and programs: its attributes, state, next step and timeline."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from genesys_eventbridge.formatting import relative, span
from genesys_eventbridge.management.output import Result, number
from genesys_eventbridge.models import DeliveryAttempt, EventAct, OutboxEvent, outbox_alias
from genesys_eventbridge.reporting.explain import explain, facts_for
from genesys_eventbridge.reporting.facts import Facts
from genesys_eventbridge.states import OPEN
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, clean, redact

#: Maximum number of log entries shown, the newest ones.
ATTEMPTS_SHOWN = 50

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


def show(pk: int, *, payload: bool) -> Result:
    event = OutboxEvent.objects.on_outbox().get(pk=pk)
    acts = list(EventAct.objects.using(outbox_alias()).filter(event=pk).order_by("id"))
    attempts = _attempts(pk)
    facts = facts_for(event, acts=acts)
    timeline = _timeline(event, attempts, acts)
    state = event.get_state_display() + (f" ({event.get_reason_display()})" if event.reason else "")
    lines = [
        f"Event {event.pk}  {clean(event.type, 255)}  {state}",
        *(f"  {name}: {value}" for name, value in _known(event)),
        "",
        clean(explain(event, facts), 2000),
        "",
        *(f"  {_stamp(when)}  {words}" for when, words, _entry in timeline),
        *_next_entry(event, facts),
        "",
        *_payload_lines(event, facts, payload),
    ]
    return Result(lines, _data(event, facts, timeline, payload))


def _known(event: OutboxEvent) -> list[tuple[str, str]]:
    values = ((name, getattr(event, name)) for name in _FACTS)
    return [(name, clean(value, 255)) for name, value in values if value not in (None, "", 0)]


def _attempts(pk: int) -> list[DeliveryAttempt]:
    newest = DeliveryAttempt.objects.using(outbox_alias()).filter(event=pk).order_by("-number")
    return list(newest[:ATTEMPTS_SHOWN])[::-1]


_Entry = tuple[dt.datetime, str, dict[str, Any]]


def _timeline(
    event: OutboxEvent, attempts: Sequence[DeliveryAttempt], acts: Sequence[EventAct]
) -> list[_Entry]:
    entries: list[_Entry] = [(event.created_at, "enqueued", {"what": "enqueued", "at": event.created_at})]
    entries += [(attempt.started_at, _attempt_words(attempt), _attempt_data(attempt)) for attempt in attempts]
    entries += [(act.at, _act_words(act), _act_data(act)) for act in acts]
    if event.finished_at is not None:
        ended = {"what": event.state, "at": event.finished_at}
        entries.append((event.finished_at, str(event.get_state_display()), ended))
    return sorted(entries, key=lambda entry: entry[0])


def _attempt_words(attempt: DeliveryAttempt) -> str:
    status = f" {attempt.status_code}" if attempt.status_code else ""
    words = f"{attempt.kind} {attempt.number}: {attempt.verdict}{status} in {span(attempt.duration)}"
    if attempt.retry_after is not None:
        words += f", asked to wait {span(attempt.retry_after)}"
    if attempt.correlation_id:
        words += f", correlation id {clean(attempt.correlation_id, 128)}"
    return f"{words}: {clean(attempt.error, 500)}" if attempt.error else words


def _act_words(act: EventAct) -> str:
    words = f"{act.get_act_display()} by {clean(act.username or act.via, 150)} ({clean(act.via, 64)})"
    words += f", {act.from_state} to {act.to_state}"
    return f"{words}: {clean(act.reason, 500)}" if act.reason else words


def _attempt_data(attempt: DeliveryAttempt) -> dict[str, Any]:
    names = (
        "number",
        "duration",
        "verdict",
        "status_code",
        "error",
        "correlation_id",
        "retry_after",
        "worker",
    )
    values = {name: getattr(attempt, name) for name in names}
    return {"what": attempt.kind, "at": attempt.started_at, **values}


def _act_data(act: EventAct) -> dict[str, Any]:
    names = ("username", "via", "from_state", "to_state", "reason")
    return {"what": act.act, "at": act.at, **{name: getattr(act, name) for name in names}}


def _next_entry(event: OutboxEvent, facts: Facts) -> list[str]:
    if event.state not in OPEN or event.due_at is None:
        return []
    return [f"  {_stamp(event.due_at)}  next step ({relative(event.due_at, facts.now)})"]


def _payload_lines(event: OutboxEvent, facts: Facts, payload: bool) -> list[str]:
    if not event.body:
        return ["Its body was blanked (PAYLOAD_RETENTION_DAYS); ids, times and hashes are kept."]
    if payload:
        return [json.dumps(_body(event, facts), indent=2)]
    return [f"Body: {number(len(event.body.encode()))} bytes; --payload shows it, with secrets masked."]


def _body(event: OutboxEvent, facts: Facts) -> Any:
    """The CloudEvent as sent, with the names in REDACT_KEYS masked at any depth."""
    keys = facts.settings.platform.rules.redact_keys if facts.settings is not None else DEFAULT_REDACT_KEYS
    return redact(json.loads(event.body), keys)


def _data(event: OutboxEvent, facts: Facts, timeline: Sequence[_Entry], payload: bool) -> dict[str, Any]:
    names = ("state", "reason", "type", "attempts", "checks", "last_status_code", "last_error")
    times = ("created_at", "due_at", "accepted_at", "finished_at", "in_doubt_since")
    data = {name: getattr(event, name) for name in ("id", *names, *_FACTS, *times)}
    found: dict[str, Any] = {
        "event": data,
        "next": clean(explain(event, facts), 2000),
        "timeline": [entry for *_rest, entry in timeline],
    }
    if payload:
        found["body"] = _body(event, facts) if event.body else None
    return found


def _stamp(moment: dt.datetime) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return f"{local:%Y-%m-%d %H:%M:%S}"

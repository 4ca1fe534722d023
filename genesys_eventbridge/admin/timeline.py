"""The timeline of one event: enqueued, attempts, operator actions, and the planned step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from genesys_eventbridge.admin.payloads import visible
from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import DeliveryAttempt, EventAct, OutboxEvent
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.reporting.explain import is_in_flight
from genesys_eventbridge.states import AttemptKind, State
from genesys_eventbridge.text import clean, redact_text

#: Attempts and actions shown; an event that was requeued for months has more.
SHOWN = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the timeline. ``tone`` is only a visual cue: good, bad, wait, plain, person or planned."""

    at: dt.datetime | None
    title: str
    tone: str = "plain"
    #: Pairs of label and value.
    facts: list[tuple[str, Any]] = field(default_factory=list)
    text: str = ""
    #: The platform's response, redacted; it may repeat what was sent.
    excerpt: str = ""


def timeline(
    event: OutboxEvent,
    attempts: Sequence[DeliveryAttempt],
    acts: Sequence[EventAct],
    now: dt.datetime,
    *,
    keys: Iterable[str],
    payload: bool,
) -> list[Entry]:
    """Entries, oldest first, the planned step last. ``payload`` shows responses, which may repeat it."""
    entries = [
        Entry(
            event.created_at,
            _("Enqueued"),
            facts=[(_("resent from"), f"#{event.origin_id}")] if event.origin_id else [],
        )
    ]
    known: list[tuple[dt.datetime, DeliveryAttempt | EventAct]] = [
        *((attempt.started_at, attempt) for attempt in attempts),
        *((act.at, act) for act in acts),
    ]
    known.sort(key=lambda pair: pair[0])
    free = event.created_at
    for at, thing in known:
        if isinstance(thing, EventAct):
            entries.append(_act(thing))
        else:
            entries.append(_attempt(thing, at - free, tuple(keys), payload))
            free = at + dt.timedelta(seconds=thing.duration)
    planned = _planned(event, now)
    return [*entries, planned] if planned else entries


def _attempt(attempt: DeliveryAttempt, waited: dt.timedelta, keys: tuple[str, ...], payload: bool) -> Entry:
    facts: list[tuple[str, Any]] = [(_("after"), span(max(0.0, waited.total_seconds())))]
    if attempt.status_code is not None:
        facts.append((_("HTTP status"), attempt.status_code))
    facts.append((_("took"), span(attempt.duration)))
    if attempt.retry_after is not None:
        facts.append((_("asked to wait"), span(attempt.retry_after)))
    if attempt.correlation_id:
        facts.append((_("correlation id"), clean(attempt.correlation_id, 128)))
    if attempt.worker:
        facts.append((_("worker"), clean(attempt.worker, 128)))
    return Entry(
        attempt.started_at,
        _verdict(attempt),
        tone=_TONES.get(attempt.verdict, "plain"),
        facts=facts,
        text=clean(attempt.error, 500),
        excerpt=visible(redact_text(attempt.response_excerpt, keys)) if payload else "",
    )


_TONES: dict[str, str] = {
    Verdict.ACCEPTED: "good",
    Verdict.DELIVERED: "good",
    Verdict.REJECTED: "bad",
    Verdict.FAILED: "bad",
    Verdict.UNAVAILABLE: "wait",
    Verdict.UNKNOWN: "wait",
    Verdict.HALTED: "wait",
    Verdict.NOT_YET: "wait",
}


def _verdict(attempt: DeliveryAttempt) -> str:
    words = {
        Verdict.ACCEPTED: _("Sent and accepted"),
        Verdict.REJECTED: _("Sent and rejected permanently"),
        Verdict.UNAVAILABLE: _("Sent, temporarily not accepted"),
        Verdict.UNKNOWN: _("Sent, outcome unknown"),
        Verdict.HALTED: _("Stopped: no events can be sent now"),
        Verdict.DELIVERED: _("Status checked: delivered"),
        Verdict.FAILED: _("Status checked: the platform failed to deliver it"),
        Verdict.NOT_YET: _("Status checked: not delivered yet"),
    }
    checks = {
        Verdict.UNKNOWN: _("Status checked: never confirmed"),
        Verdict.HALTED: _("Stopped: the status cannot be checked now"),
    }
    verdict = next((known for known in Verdict if known == attempt.verdict), None)
    if verdict is None:
        return clean(attempt.verdict, 16)
    return checks.get(verdict, words[verdict]) if attempt.kind == AttemptKind.CHECK else words[verdict]


def _act(act: EventAct) -> Entry:
    who = _("%(act)s by %(who)s via %(via)s") % {
        "act": act.get_act_display(),
        "who": clean(act.username, 150) or _("unknown user"),
        "via": clean(act.via, 64),
    }
    facts: list[tuple[str, Any]] = []
    if act.from_state != act.to_state:
        facts.append((_("state"), f"{act.get_from_state_display()} → {act.get_to_state_display()}"))
    return Entry(act.at, who[:1].upper() + who[1:], tone="person", facts=facts, text=clean(act.reason, 500))


def _planned(event: OutboxEvent, now: dt.datetime) -> Entry | None:
    if event.due_at is None:
        return None
    if is_in_flight(event, now):
        title = _("Being sent") if event.state == State.PENDING else _("Being checked")
        return Entry(None, title, tone="planned")
    title = _("Next attempt") if event.state == State.PENDING else _("Next check")
    return Entry(max(event.due_at, now), title, tone="planned")

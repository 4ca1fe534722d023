"""The timeline of one event: enqueued, attempts, operator actions, and the planned step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from genesys_eventbridge.formatting import span
from genesys_eventbridge.models import DeliveryAttempt, EventAct, OutboxEvent, outbox_alias
from genesys_eventbridge.platform.outcomes import NOT_SENT, Verdict
from genesys_eventbridge.reporting.explain import is_in_flight, next_step
from genesys_eventbridge.reporting.facts import Facts
from genesys_eventbridge.reporting.payloads import visible
from genesys_eventbridge.states import AttemptKind, State
from genesys_eventbridge.text import clean, redact_text
from genesys_eventbridge.text.differences import from_json, words

#: Attempts and actions shown, the newest ones; an event that was requeued for months has more.
SHOWN = 100
#: Changes of a correction that are shown.
CHANGES = 20

#: Tone and title of an attempt by its verdict, and the titles of checks where they differ.
_VERDICTS: dict[str, tuple[str, Any]] = {
    Verdict.ACCEPTED: ("good", gettext_lazy("Sent and accepted")),
    Verdict.REJECTED: ("bad", gettext_lazy("Sent and rejected permanently")),
    Verdict.UNAVAILABLE: ("wait", gettext_lazy("Sent, temporarily not accepted")),
    Verdict.UNKNOWN: ("wait", gettext_lazy("Sent, outcome unknown")),
    Verdict.HALTED: ("wait", gettext_lazy("Stopped: no events can be sent now")),
    Verdict.DELIVERED: ("good", gettext_lazy("Status checked: delivered")),
    Verdict.FAILED: ("bad", gettext_lazy("Status checked: the platform failed to deliver it")),
    Verdict.NOT_YET: ("wait", gettext_lazy("Status checked: not delivered yet")),
}
_CHECKS: dict[str, Any] = {
    Verdict.UNKNOWN: gettext_lazy("Status checked: never confirmed"),
    Verdict.HALTED: gettext_lazy("Stopped: the status cannot be checked now"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``tone`` is only a visual cue: good, bad, wait, plain, person or planned."""

    #: "enqueued", "publish" or "check", an operator's action (see ``Act``), "lapsed", or "planned".
    what: str
    at: dt.datetime | None
    title: str
    tone: str = "plain"
    #: Pairs of label and value.
    facts: list[tuple[str, Any]] = field(default_factory=list)
    text: str = ""
    #: The platform's response, redacted; it may repeat what was sent.
    excerpt: str = ""
    #: What it was made from.
    row: DeliveryAttempt | EventAct | None = None


def history(event: OutboxEvent) -> tuple[list[DeliveryAttempt], list[EventAct]]:
    """The newest attempts and operator actions, oldest first; two queries."""
    attempts = DeliveryAttempt.objects.using(outbox_alias()).filter(event=event.pk).order_by("-number")
    acts = EventAct.objects.using(outbox_alias()).filter(event=event.pk).order_by("-id")
    return list(attempts[:SHOWN])[::-1], list(acts[:SHOWN])[::-1]


def timeline(
    event: OutboxEvent,
    attempts: Sequence[DeliveryAttempt],
    acts: Sequence[EventAct],
    facts: Facts,
    *,
    keys: Iterable[str] = (),
    payload: bool = False,
) -> list[Entry]:
    """Entries, oldest first, the planned step last. ``payload`` shows responses, which may repeat it."""
    origin = [(_("resent from"), f"#{event.origin_id}")] if event.origin_id else []
    entries = [Entry("enqueued", event.created_at, _("Enqueued"), facts=origin)]
    known: list[tuple[dt.datetime, DeliveryAttempt | EventAct]] = [
        *((attempt.started_at, attempt) for attempt in attempts),
        *((act.at, act) for act in acts),
    ]
    known.sort(key=lambda pair: pair[0])
    free = event.created_at
    for at, row in known:
        if isinstance(row, EventAct):
            entries.append(_act(row, tuple(keys), payload))
        else:
            entries.append(_attempt(row, at - free, tuple(keys), payload))
            free = at + dt.timedelta(seconds=row.duration)
    return [*entries, *_unreported(event, attempts, facts), *_planned(event, facts)]


def _attempt(attempt: DeliveryAttempt, waited: dt.timedelta, keys: tuple[str, ...], payload: bool) -> Entry:
    tone, title = _VERDICTS.get(attempt.verdict, ("plain", clean(attempt.verdict, 16)))
    if attempt.kind == AttemptKind.CHECK:
        title = _CHECKS.get(attempt.verdict, title)
    elif attempt.error.startswith(NOT_SENT):
        title = _("Refused before it was sent")
    facts = [
        (_("after"), span(max(0.0, waited.total_seconds()))),
        (_("HTTP status"), attempt.status_code),
        (_("took"), span(attempt.duration)),
        (
            _("repeated, although"),
            _("an earlier attempt may have arrived") if attempt.may_duplicate else None,
        ),
        (_("asked to wait"), None if attempt.retry_after is None else span(attempt.retry_after)),
        (_("correlation id"), clean(attempt.correlation_id, 128)),
        (_("worker"), clean(attempt.worker, 128)),
    ]
    return Entry(
        attempt.kind,
        attempt.started_at,
        str(title),
        tone,
        facts=[(name, value) for name, value in facts if value not in (None, "")],
        text=clean(attempt.error, 500),
        excerpt=visible(redact_text(attempt.response_excerpt, keys)) if payload else "",
        row=attempt,
    )


def _act(act: EventAct, keys: tuple[str, ...], payload: bool) -> Entry:
    who = _("%(act)s by %(who)s via %(via)s") % {
        "act": act.get_act_display(),
        "who": clean(act.username, 150) or _("unknown user"),
        "via": clean(act.via, 64),
    }
    states = f"{act.get_from_state_display()} → {act.get_to_state_display()}"
    facts = [(_("state"), states)] if act.from_state != act.to_state else []
    if payload and act.details:
        facts += [(_("changed"), words(change)) for change in from_json(act.details, keys)[:CHANGES]]
    title = who[:1].upper() + who[1:]
    return Entry(act.act, act.at, title, "person", facts, clean(act.reason, 500), row=act)


def _unreported(event: OutboxEvent, attempts: Sequence[DeliveryAttempt], facts: Facts) -> list[Entry]:
    """Claims that left no attempt in the log, because their worker was killed or lost its connection."""
    held = event.claim_token is not None and event.due_at is not None
    expired = held and not is_in_flight(event, facts.now)
    before = event.lapses or 0
    if not held or not (expired or before):
        return []
    title = _("A worker claimed it and never reported")
    times = before + expired
    found = [(_("times in a row"), times)] if times > 1 else []
    at = None
    if expired and facts.settings is not None and event.due_at is not None:
        at = event.due_at - dt.timedelta(seconds=facts.settings.lease_seconds)
    elif event.in_doubt_since is not None and not attempts:
        at = event.in_doubt_since  # set by the first of these claims
    return [Entry("lapsed", at, title, "bad", found)]


def _planned(event: OutboxEvent, facts: Facts) -> list[Entry]:
    """The next step, as every other page says it."""
    if event.due_at is None:
        return []
    step = next_step(event, facts)
    is_pending = event.state == State.PENDING
    if is_in_flight(event, facts.now):
        return [Entry("planned", None, _("Being sent") if is_pending else _("Being checked"), "planned")]
    title = _("Next attempt") if is_pending else _("Next check")
    if not step.goes:
        title = _("%(what)s: %(why)s") % {"what": title, "why": step.short}
    return [Entry("planned", step.at, title, "planned")]

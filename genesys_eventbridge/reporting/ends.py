"""Explains events that need an operator or are finished: why, what helps, and how long they are kept."""

from __future__ import annotations

import datetime as dt
from typing import assert_never

from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import day, moment, span
from genesys_eventbridge.models import OutboxEvent, may_be_known
from genesys_eventbridge.outbox.destinations import is_elsewhere, organisation
from genesys_eventbridge.platform.outcomes import NOT_SENT
from genesys_eventbridge.reporting.facts import Facts
from genesys_eventbridge.states import Act, Reason, State


def dead(event: OutboxEvent, facts: Facts) -> str:
    """Why the event is dead, that it is not retried automatically, and what usually helps."""
    stopped = _why_dead(event, facts)
    nothing = _("It will not be retried automatically.")
    helps = _("What usually helps: %(hint)s") % {"hint": _hint(event)}
    return f"{stopped} {nothing} {helps}"


def unresolved(event: OutboxEvent, facts: Facts) -> str:
    """What is not known, where to look, and which action to choose."""
    today = organisation(facts.settings) if facts.settings and event.doubt_about else None
    match _reason(event):
        case Reason.OUTCOME_UNKNOWN if is_elsewhere(event.doubt_about, today):
            unknown = _(
                "Another organisation or endpoint may have accepted it: PROTOCOL, API_BASE_URL, REGION or "
                "CLIENT_ID has changed since. Look for it there as well."
            )
        case Reason.CONFLICT:
            unknown = _(
                "The platform returns a different event for this event's idempotency key, so it is not known "
                "whether this one was accepted."
            )
        case Reason.UNCONFIRMED if _has_no_status(facts):
            unknown = _("The platform accepted it, and the present PROTOCOL cannot ask for its delivery.")
        case Reason.OUTCOME_UNKNOWN if facts.settings is not None and facts.settings.asks_in_doubt:
            unknown = _(
                "It is not known whether it was accepted. The platform recognises no repetition with this "
                "protocol, so it is not sent again automatically (ON_DOUBT)."
            )
        case Reason.UNCONFIRMED:
            unknown = _("The platform accepted it but never confirmed its delivery.")
        case Reason.UNTRACKED:
            unknown = _("The platform accepted it but returned no id, so its delivery cannot be confirmed.")
        case (
            Reason.OUTCOME_UNKNOWN
            | Reason.REJECTED
            | Reason.EXHAUSTED
            | Reason.EXPIRED
            | Reason.DELIVERY_FAILED
            | Reason.OPERATOR
            | None
        ):
            unknown = _("It is not known whether it was delivered.")
        case _ as never:
            assert_never(never)
    words = {"id": event.remote_id or event.event_id}
    if _has_no_status(facts):
        return unknown + " " + _("Look for id %(id)s at the consumer, then choose Resolve.") % words
    look = _("Look for id %(id)s on the platform, then choose Resolve.") % words
    if event.remote_id:
        look += " " + _("“Check status now” asks the platform again.")
    return f"{unknown} {look}"


def _has_no_status(facts: Facts) -> bool:
    return facts.settings is not None and not facts.settings.platform.protocol.confirms


def finished(event: OutboxEvent, facts: Facts) -> str:
    """How it ended, and until when it is kept."""
    ended = _cancelled(event, facts) if event.state == State.CANCELLED else _delivered(event, facts)
    return f"{ended} {_kept(event, facts)}"


def _reason(event: OutboxEvent) -> Reason | None:
    """None if it has none, or one that a newer release wrote."""
    return Reason(event.reason) if event.reason in Reason.values else None


def _why_dead(event: OutboxEvent, facts: Facts) -> str:
    words = {"attempts": event.attempts, "error": _sentence(event.last_error)}
    match _reason(event):
        case Reason.REJECTED if event.last_error.startswith(NOT_SENT):
            return str(words["error"])  # "Not sent: ...": no platform was asked
        case Reason.REJECTED:
            return _("The platform rejected it permanently: %(error)s") % words
        case Reason.EXPIRED:
            return _("It was older than MAX_AGE when attempt %(attempts)s failed: %(error)s") % words
        case Reason.DELIVERY_FAILED:
            return _("The platform accepted it but failed to deliver it: %(error)s") % words
        case Reason.OPERATOR:
            return _by_operator(
                _("Given up by %(who)s (%(at)s): “%(why)s”."), facts, _("Given up by an operator.")
            )
        case (
            Reason.EXHAUSTED
            | Reason.CONFLICT
            | Reason.OUTCOME_UNKNOWN
            | Reason.UNCONFIRMED
            | Reason.UNTRACKED
            | None
        ):
            return _("Stopped after %(attempts)s attempts: %(error)s") % words
        case _ as never:
            assert_never(never)


def _hint(event: OutboxEvent) -> str:
    match _reason(event):
        case Reason.REJECTED if event.last_error.startswith(NOT_SENT):
            return _("correct what the error names, then requeue it; if that is impossible, cancel it.")
        case Reason.REJECTED:
            return _(
                "fix what the error names on the platform, then requeue. The event itself never changes: if "
                "its content is wrong, correct and resend it (eventbridge_resend --data)."
            )
        case Reason.DELIVERY_FAILED:
            return _(
                "fix the target behind the platform, then requeue. The event gets a new key, so the "
                "platform may deliver it twice."
            )
        case Reason.OPERATOR:
            return _("requeue it if it is needed after all, or cancel it.")
        case Reason.EXPIRED:
            return _("requeue it if it still matters; its age then starts again at zero.")
        case (
            Reason.EXHAUSTED
            | Reason.CONFLICT
            | Reason.OUTCOME_UNKNOWN
            | Reason.UNCONFIRMED
            | Reason.UNTRACKED
            | None
        ):
            return _hint_for_trouble(event)
        case _ as never:
            assert_never(never)


def _hint_for_trouble(event: OutboxEvent) -> str:
    if event.last_status_code is not None and event.last_status_code >= 500:
        if event.correlation_id:
            words = {"id": event.correlation_id}
            return (
                _("give correlation id %(id)s to Genesys support; requeue once the platform has recovered.")
                % words
            )
        return _("wait until the platform has recovered, then requeue.")
    return _("fix the cause, then requeue.")


def _delivered(event: OutboxEvent, facts: Facts) -> str:
    act = facts.last_act
    if act is not None and act.act == Act.RESOLVE and act.to_state == State.DELIVERED:
        return _by_operator(_("Marked as delivered by %(who)s (%(at)s): “%(why)s”."), facts, "")
    words = {"span": span(_took(event))}
    if _has_no_status(facts) and not event.checks:
        return _("Accepted by the platform in %(span)s; this protocol has no delivery confirmation.") % words
    return _("Delivered in %(span)s.") % words


def _took(event: OutboxEvent) -> float:
    took = (event.finished_at - event.created_at).total_seconds() if event.finished_at else 0.0
    return max(took, 0.0)


def _cancelled(event: OutboxEvent, facts: Facts) -> str:
    by = _by_operator(_("Cancelled by %(who)s (%(at)s): “%(why)s”."), facts, _("Cancelled by an operator."))
    if may_be_known(event.remote_id, event.in_doubt_since, event.accepted_at, event.key_known_since):
        return by + " " + _("The platform may have accepted it before.")
    return by


def _by_operator(sentence: str, facts: Facts, unknown: str) -> str:
    act = facts.last_act
    if act is None:
        return unknown
    return sentence % {
        "who": act.username or act.via,
        "at": moment(act.at, facts.now),
        "why": act.reason,
    }


def _kept(event: OutboxEvent, facts: Facts) -> str:
    settings = facts.settings
    # Lists do not read bodies, and must not read one per row here.
    known = "body" not in event.get_deferred_fields()
    blanked = (
        " " + _("Its body was blanked; ids, times and hashes are kept.") if known and not event.body else ""
    )
    if settings is None or settings.retention_days is None or event.finished_at is None:
        return _("Kept until pruned manually.") + blanked
    seconds = max(settings.retention_days * 86400, settings.idempotency_window)
    until = event.finished_at + dt.timedelta(seconds=seconds)
    return _("Kept until %(day)s, then pruned.") % {"day": day(until, facts.now)} + blanked


def _sentence(error: str) -> str:
    """The error text, ending with a full stop."""
    error = error or _("no reason given")
    return error if error.endswith((".", "!", "?", "…")) else f"{error}."

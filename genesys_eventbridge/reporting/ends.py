"""Events that wait for a person, or for nothing any more: why, what helps, and how long they are kept."""

from __future__ import annotations

import datetime as dt

from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import day, moment, span
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox.destinations import is_elsewhere, organisation
from genesys_eventbridge.reporting.facts import Facts
from genesys_eventbridge.states import Act, Reason, State


def dead(event: OutboxEvent, facts: Facts) -> str:
    """Why it stopped, that nothing more happens by itself, and what usually helps."""
    stopped = _why_dead(event, facts)
    nothing = _("Nothing more happens by itself.")
    helps = _("What usually helps: %(hint)s") % {"hint": _hint(event)}
    return f"{stopped} {nothing} {helps}"


def unresolved(event: OutboxEvent, facts: Facts) -> str:
    """What is not known, where to look, and which act to choose."""
    today = organisation(facts.settings) if facts.settings and event.doubt_about else None
    match event.reason:
        case Reason.OUTCOME_UNKNOWN if is_elsewhere(event.doubt_about, today):
            unknown = _(
                "Another organisation may have taken it: API_BASE_URL, REGION or CLIENT_ID changed since. "
                "Look for it there, too."
            )
        case Reason.CONFLICT:
            unknown = _(
                "The platform answers for this event's idempotency key with a different event, so we do not "
                "know whether this one was taken."
            )
        case Reason.UNCONFIRMED:
            unknown = _("The platform accepted it, but never confirmed its delivery.")
        case Reason.UNTRACKED:
            unknown = _(
                "The platform accepted it without an id to ask by, so its delivery cannot be confirmed."
            )
        case _:
            unknown = _("We do not know whether it was delivered.")
    words = {"id": event.remote_id or event.event_id}
    look = _("Look for id %(id)s at the platform, then choose Resolve.") % words
    if event.remote_id:
        look += " " + _("Check status now asks the platform once more.")
    return f"{unknown} {look}"


def finished(event: OutboxEvent, facts: Facts) -> str:
    """How it ended, and until when it is kept."""
    ended = _cancelled(facts) if event.state == State.CANCELLED else _delivered(event, facts)
    return f"{ended} {_kept(event, facts)}"


def _why_dead(event: OutboxEvent, facts: Facts) -> str:
    words = {"attempts": event.attempts, "error": _sentence(event.last_error)}
    match event.reason:
        case Reason.REJECTED:
            return _("The platform refused it for good: %(error)s") % words
        case Reason.EXPIRED:
            return _("It was older than MAX_AGE when attempt %(attempts)s failed: %(error)s") % words
        case Reason.DELIVERY_FAILED:
            return _("The platform accepted it, and then failed to deliver it: %(error)s") % words
        case Reason.OPERATOR:
            return _by_a_person(
                _("Given up by %(who)s (%(at)s): “%(why)s”."), facts, _("Given up by a person.")
            )
    return _("Stopped after %(attempts)s attempts: %(error)s") % words


def _hint(event: OutboxEvent) -> str:
    match event.reason:
        case Reason.REJECTED:
            return _(
                "mend at the platform what it names, then requeue. The event itself never changes: where its "
                "content is wrong, cancel it and emit a corrected one."
            )
        case Reason.DELIVERY_FAILED:
            return _(
                "mend the target behind the platform, then requeue. It goes out under a new key, so the "
                "platform may deliver it twice."
            )
        case Reason.OPERATOR:
            return _("requeue it if it is wanted after all, or cancel it.")
        case Reason.EXPIRED:
            return _("requeue it if it still matters; its age is then counted anew.")
    if event.last_status_code is not None and event.last_status_code >= 500:
        if event.correlation_id:
            words = {"id": event.correlation_id}
            return (
                _("quote correlation id %(id)s to Genesys support, and requeue when they are well.") % words
            )
        return _("wait until the platform is well, then requeue.")
    return _("mend the cause, then requeue.")


def _delivered(event: OutboxEvent, facts: Facts) -> str:
    deed = facts.deed
    if deed is not None and deed.act == Act.RESOLVE and deed.to_state == State.DELIVERED:
        return _by_a_person(_("Called delivered by %(who)s (%(at)s): “%(why)s”."), facts, "")
    took = (event.finished_at - event.created_at).total_seconds() if event.finished_at else 0.0
    return _("Done in %(span)s.") % {"span": span(max(took, 0.0))}


def _cancelled(facts: Facts) -> str:
    return _by_a_person(_("Cancelled by %(who)s (%(at)s): “%(why)s”."), facts, _("Cancelled by a person."))


def _by_a_person(sentence: str, facts: Facts, unknown: str) -> str:
    deed = facts.deed
    if deed is None:
        return unknown
    return sentence % {
        "who": deed.username or deed.via,
        "at": moment(deed.at, facts.now),
        "why": deed.reason,
    }


def _kept(event: OutboxEvent, facts: Facts) -> str:
    settings = facts.settings
    blanked = "" if event.body else " " + _("Its body was blanked; ids, times and hashes stay.")
    if settings is None or settings.retention_days is None or event.finished_at is None:
        return _("Kept until somebody prunes it.") + blanked
    seconds = max(settings.retention_days * 86400, settings.idempotency_window)
    until = event.finished_at + dt.timedelta(seconds=seconds)
    return _("Kept until %(day)s, then pruned.") % {"day": day(until, facts.now)} + blanked


def _sentence(error: str) -> str:
    """The platform's words, ended like a sentence."""
    error = error or _("no reason given")
    return error if error.endswith((".", "!", "?", "…")) else f"{error}."

"""Explains whether a destination is sending, in a word and a sentence, for admin and commands. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from genesys_eventbridge import formatting
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.formatting import moment, refused_since, relative
from genesys_eventbridge.models import Destination
from genesys_eventbridge.outbox.orphans import is_served
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.reporting import workers
from genesys_eventbridge.reporting.explain import LONGEST, NO_WORKER_AFTER
from genesys_eventbridge.reporting.facts import is_held, refused
from genesys_eventbridge.text import clean


@dataclass(frozen=True, slots=True)
class Explanation:
    """``word`` is connected, held, paused, probing, stopped, unused or unknown; ``title`` is shown."""

    word: str
    title: str
    sentence: str


def without_a_key(settings: DestinationSettings) -> str:
    """What happens to events of unknown outcome if the platform recognises no repetition; else ""."""
    if settings.asks_in_doubt:
        return _("no idempotency key: an event of unknown outcome waits for an operator (ON_DOUBT: ask)")
    if settings.resends_in_doubt:
        return _("no idempotency key: an event of unknown outcome is sent again (ON_DOUBT: resend)")
    return ""


def explain_destination(
    health: Destination, settings: DestinationSettings | None, now: dt.datetime
) -> Explanation:
    """What stops the destination, the longest-lasting cause first; plain text on one line."""
    explanation = _status(health, settings, now)
    return replace(explanation, sentence=clean(explanation.sentence, LONGEST))


def _status(health: Destination, settings: DestinationSettings | None, now: dt.datetime) -> Explanation:
    if settings is None:
        return _not_configured(health, now)
    if is_held(health, now):
        words = {"who": health.held_by, "why": health.held_reason}
        if health.held_until is None:
            sentence = _("Paused by %(who)s until resumed: “%(why)s”.") % words
        else:
            words["until"] = moment(health.held_until, now)
            sentence = _("Paused by %(who)s until %(until)s: “%(why)s”.") % words
        return Explanation("held", _("Paused by an operator"), sentence)
    start = workers.start_one()
    if health.heartbeat_at is None:
        return Explanation(
            "unused", _("Not used yet"), _("No worker has reported yet. %(start)s") % {"start": start}
        )
    if (now - health.heartbeat_at).total_seconds() > NO_WORKER_AFTER:
        words = {"seen": moment(health.heartbeat_at, now), "start": start}
        return Explanation(
            "stopped", _("Stopped"), _("No worker has reported since %(seen)s. %(start)s") % words
        )
    return _trouble(health, now) or _connected(health, now)


def _not_configured(health: Destination, now: dt.datetime) -> Explanation:
    if is_served(health.heartbeat_at, now):
        sentence = _("Another project on this database serves it; it is not monitored here.")
    else:
        sentence = _(
            "GENESYS_EVENTBRIDGE no longer contains this destination; its events are kept. Move or "
            "cancel them."
        )
    return Explanation("unknown", _("Not configured"), sentence)


def _trouble(health: Destination, now: dt.datetime) -> Explanation | None:
    run = refused(health)
    if health.paused_until is not None:
        why = health.paused_reason
        if health.paused_kind == Halt.REFUSALS and run is not None:
            why = f"{refused_since(run, now)}."
        words = {"why": why, "until": moment(health.paused_until, now)}
        if health.paused_until > now:
            return Explanation("paused", _("Paused"), _("Nothing is sent until %(until)s: %(why)s") % words)
        return Explanation(
            "probing",
            _("Trying again"),
            _("The pause is over; one event is being tried first. Reason for the pause: %(why)s") % words,
        )
    if health.check_paused_until is not None and health.check_paused_until > now:
        words = {"why": health.check_paused_reason, "until": moment(health.check_paused_until, now)}
        sentence = _("Events are sent; status checks are paused until %(until)s: %(why)s") % words
        return Explanation("paused", _("Checks paused"), sentence)
    if run is not None and health.refused_until is not None:
        words = {
            "types": formatting.types(run),
            "until": moment(health.refused_until, now),
            "why": run.error,
        }
        sentence = _("Refused types (%(types)s) are sent one event at a time, the next at %(until)s: %(why)s")
        return Explanation("paused", _("Some types held back"), sentence % words)
    return None


def _connected(health: Destination, now: dt.datetime) -> Explanation:
    if health.accepted_at is None:
        return Explanation("connected", _("Ready"), _("Workers are running; no event accepted yet."))
    sentence = _("Last event accepted: %(when)s.") % {"when": relative(health.accepted_at, now)}
    return Explanation("connected", _("Connected"), sentence)

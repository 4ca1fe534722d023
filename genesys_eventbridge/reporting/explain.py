"""What happens next to an event: one ``Step`` for pages, lists, timelines and commands. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from django.utils.translation import gettext as _

from genesys_eventbridge.formatting import moment, relative, span
from genesys_eventbridge.models import OutboxEvent, is_claimed, was_tried
from genesys_eventbridge.outbox.orphans import is_served
from genesys_eventbridge.reporting import workers
from genesys_eventbridge.reporting.ends import dead, finished, unresolved
from genesys_eventbridge.reporting.facts import Facts, facts_for, is_held, refused
from genesys_eventbridge.reporting.retries import last_try, window_closes
from genesys_eventbridge.selection.filters import OVERDUE_AFTER
from genesys_eventbridge.states import NEEDS_OPERATOR, State
from genesys_eventbridge.text import clean

__all__ = ["NO_WORKER_AFTER", "Facts", "Step", "explain", "facts_for", "is_in_flight", "next_step"]

#: Seconds without a heartbeat after which we assume that no worker runs. Schedules run every minute.
NO_WORKER_AFTER = 180.0
#: Maximum length of an explanation; an error in it has up to 500 characters.
LONGEST = 2000

#: Maximum length of ``Step.short``.
SHORTEST = 80


@dataclass(frozen=True, slots=True)
class Step:
    """What happens next, and when; every page and command that says so asks ``next_step``."""

    #: What happens and what an operator can do about it; plain text on one line.
    sentence: str
    #: The same in a few words: "in 4 min", "waits for #12 (dead)", "paused by ana"; "" if nothing happens.
    short: str = ""
    #: When the event moves, as far as that is known. None if something else must happen first.
    at: dt.datetime | None = None
    #: Its time has come, or will come, and nothing holds it: it is sent or checked then.
    goes: bool = False


Rule = Callable[[OutboxEvent, Facts], Step | None]


def explain(event: OutboxEvent, facts: Facts) -> str:
    """What happens next to this event and what an operator can do about it; plain text on one line."""
    return next_step(event, facts).sentence


def next_step(event: OutboxEvent, facts: Facts) -> Step:
    """What happens next to this event."""
    step = _step(event, facts)
    return replace(step, sentence=clean(step.sentence, LONGEST), short=clean(step.short, SHORTEST))


def _step(event: OutboxEvent, facts: Facts) -> Step:
    if event.state not in State.values:
        return Step(_("Unknown state %(state)s, written by a newer release.") % {"state": event.state})
    match State(event.state):
        case State.PENDING:
            return _first(_PENDING, event, facts)
        case State.ACCEPTED:
            return _first(_ACCEPTED, event, facts)
        case State.DEAD:
            return Step(dead(event, facts), _("needs an operator"))
        case State.UNRESOLVED:
            return Step(unresolved(event, facts), _("needs an operator"))
        case State.DELIVERED | State.CANCELLED:
            return Step(finished(event, facts))
        case _ as never:
            assert_never(never)


def is_in_flight(event: OutboxEvent, now: dt.datetime) -> bool:
    """Whether a worker holds it at this moment."""
    return is_claimed(event.claim_token, event.due_at, now)


def _first(rules: tuple[Rule, ...], event: OutboxEvent, facts: Facts) -> Step:
    """The first rule that applies."""
    return next(step for rule in rules if (step := rule(event, facts)))


def _goes(event: OutboxEvent, facts: Facts, sentence: str) -> Step:
    """Nothing holds the event: it is sent or checked when it is due."""
    at = max(event.due_at or facts.now, facts.now)
    return Step(sentence, relative(at, facts.now) if at > facts.now else _("due"), at, goes=True)


def _unconfigured(event: OutboxEvent, facts: Facts) -> Step | None:
    if facts.settings is not None:
        return None
    words = {"alias": event.destination}
    if is_served(facts.health.heartbeat_at, facts.now):
        return Step(
            _("Another project on this database serves the destination %(alias)s.") % words,
            _("served by another project"),
        )
    sentence = _(
        "Nothing will happen: GENESYS_EVENTBRIDGE has no destination %(alias)s. "
        "Add it again, move this event to another destination, or cancel it."
    )
    return Step(sentence % words, _("its destination is not configured"))


def _in_flight(event: OutboxEvent, facts: Facts) -> Step | None:
    if facts.settings is None or event.due_at is None or not is_in_flight(event, facts.now):
        return None
    since = facts.settings.lease_seconds - (event.due_at - facts.now).total_seconds()
    words = {"since": span(max(0, round(since))), "until": moment(event.due_at, facts.now)}
    if event.state == State.ACCEPTED:
        checked = _("Being checked for %(since)s. If that worker died, another one takes over at %(until)s.")
        return Step(checked % words, _("being checked"))
    sent = _("Being sent for %(since)s. If that worker died, another one takes over at %(until)s.")
    return Step(sent % words, _("being sent"))


def _behind_needs_operator(event: OutboxEvent, facts: Facts) -> Step | None:
    """It waits for an earlier event of its key that needs an operator: no worker can help."""
    blocker = facts.blocker
    if blocker is None or blocker.state not in NEEDS_OPERATOR:
        return None
    words = {"id": blocker.id, "key": clean(event.ordering_key, 80), "state": blocker.state.label}
    if blocker.state is State.DEAD:
        sentence = _(
            "Waits for event #%(id)s (ordering key %(key)s), which is dead. Requeue or cancel that one."
        )
    else:
        sentence = _(
            "Waits for event #%(id)s (ordering key %(key)s), which is unresolved. Resolve or cancel that one."
        )
    return Step(sentence % words, _("waits for #%(id)s (%(state)s)") % words)


def _no_worker(_event: OutboxEvent, facts: Facts) -> Step | None:
    seen = facts.health.heartbeat_at
    if seen is not None and (facts.now - seen).total_seconds() <= NO_WORKER_AFTER:
        return None
    start = workers.start_one()
    if seen is None:
        sentence = _("Nothing will happen: no worker has ever reported. %(start)s") % {"start": start}
    else:
        words = {"seen": moment(seen, facts.now), "start": start}
        sentence = _("Nothing will happen: no worker has reported since %(seen)s. %(start)s") % words
    return Step(sentence, _("no worker"))


def _held(event: OutboxEvent, facts: Facts) -> Step | None:
    """An operator paused the destination: nothing is sent or checked."""
    health = facts.health
    if not is_held(health, _due(event, facts)):
        return None
    words = {"who": health.held_by, "why": health.held_reason}
    if health.held_until is None:
        held = _("Held until the destination is resumed: paused by %(who)s, “%(why)s”.") % words
    else:
        words["until"] = moment(health.held_until, facts.now)
        held = _("Held until %(until)s: paused by %(who)s, “%(why)s”.") % words
    short = _("paused by %(who)s") % {"who": clean(health.held_by, 40)}
    return Step(held + _doubt(event, facts), short, health.held_until)


def _paused(event: OutboxEvent, facts: Facts) -> Step | None:
    """Errors paused sending; after the pause one event is tried first."""
    until, why = facts.health.paused_until, facts.health.paused_reason
    if until is None or until <= _due(event, facts) > facts.now:
        return None
    words = {"until": moment(until, facts.now), "why": why}
    if until > facts.now:
        paused = _("Held until %(until)s, because the destination is paused: %(why)s") % words
        return Step(paused + _doubt(event, facts), _("paused until %(until)s") % words, until)
    paused = _("Will be sent once the event being tried gets through. Reason for the pause: %(why)s") % words
    return Step(paused + _doubt(event, facts), _("after the event being tried"))


def _behind_another(event: OutboxEvent, facts: Facts) -> Step | None:
    if facts.blocker is None:
        return None
    words = {"id": facts.blocker.id, "key": clean(event.ordering_key, 80)}
    return Step(
        _("Waits for event #%(id)s (ordering key %(key)s), which goes first.") % words,
        _("waits for #%(id)s") % words,
    )


def _used_up(event: OutboxEvent, facts: Facts) -> Step | None:
    """The next pass ends the event without another attempt."""
    sentence = _why_used_up(event, facts)
    return Step(sentence, _("ends at the next pass")) if sentence else None


def _why_used_up(event: OutboxEvent, facts: Facts) -> str:
    if facts.settings is None:
        return ""
    closed = window_closes(event, facts.settings)
    if closed is not None and closed <= facts.now:
        if facts.settings.asks_in_doubt:
            return _(
                "It may have been accepted, and its protocol honours no idempotency key: "
                "an operator must decide soon."
            )
        return _(
            "It may have been accepted, and its key is too old to be sent again: "
            "an operator must decide soon."
        )
    if event.attempts < facts.settings.max_attempts:
        return ""
    if event.in_doubt_since is not None:
        return _("All attempts are used up and one may have been accepted: an operator must decide soon.")
    return _("All attempts are used up: the next pass marks it dead.")


def _of_a_refused_type(event: OutboxEvent, facts: Facts) -> Step | None:
    """The platform keeps refusing events of its type, so they are sent one at a time."""
    run, until = refused(facts.health), facts.health.refused_until
    is_delayed = event.not_before is not None and event.not_before > facts.now
    if run is None or until is None or event.type not in run.types or is_delayed:
        return None
    at = max(until, facts.now)
    words = {"until": moment(at, facts.now), "why": run.error}
    held = _(
        "Held back: the platform refuses events of this type, so they are sent one at a time until one is "
        "accepted, the next at about %(until)s. Latest refusal: %(why)s"
    )
    return Step(held % words + _doubt(event, facts), _("one at a time: its type is refused"), at)


def _lapsed(event: OutboxEvent, facts: Facts) -> Step | None:
    if event.claim_token is None:
        return None
    if event.state == State.ACCEPTED:
        silent = _(
            "The worker that was checking it stopped responding; another takes over within about a minute."
        )
        return _goes(event, facts, silent)
    silent = _("The worker that was sending it stopped responding; another takes over within about a minute.")
    return _goes(event, facts, silent + _doubt(event, facts))


def _retry(event: OutboxEvent, facts: Facts) -> Step | None:
    tried = was_tried(event.attempts, event.halts, event.last_error)
    if not tried or facts.settings is None or event.due_at is None:
        return None
    again = _("Retries %(when)s (attempt %(attempt)s of %(attempts)s).") % {
        "when": relative(max(event.due_at, facts.now), facts.now),
        "attempt": event.attempts + 1,
        "attempts": facts.settings.max_attempts,
    }
    if event.in_doubt_since is not None:
        return _goes(event, facts, again + _doubt(event, facts))
    end = {"at": moment(max(last_try(event, facts.settings), facts.now), facts.now)}
    if event.attempts + 1 >= facts.settings.max_attempts:
        last = _("This is the last attempt: if it fails, the event is dead.")
    else:
        last = _("If all attempts fail, it becomes dead at about %(at)s.") % end
    if facts.settings.honours_key:
        safe = _("Retrying is safe: same idempotency key.")
    else:
        safe = _("Retrying is safe: no earlier attempt was accepted.")
    return _goes(event, facts, f"{again} {last} {safe}")


def _delayed(event: OutboxEvent, facts: Facts) -> Step | None:
    if event.due_at is None or event.due_at <= facts.now:
        return None
    words = {"when": relative(event.due_at, facts.now), "at": moment(event.due_at, facts.now)}
    return _goes(event, facts, _("Will be sent %(when)s, at %(at)s.") % words)


def _soon(event: OutboxEvent, facts: Facts) -> Step | None:
    waited = (facts.now - event.due_at).total_seconds() if event.due_at else 0.0
    sentence = _("Will be sent within about 60 s.")
    if waited > OVERDUE_AFTER:
        sentence = _(
            "Due for %(span)s: workers are running but busy with other events. "
            "Add workers, or raise CONCURRENCY or RATE_PER_MINUTE."
        ) % {"span": span(waited)}
    return _goes(event, facts, sentence)


def _checks_paused(event: OutboxEvent, facts: Facts) -> Step | None:
    """The platform refuses status checks, or asked us to slow down."""
    health = facts.health
    until, why = health.check_paused_until, health.check_paused_reason
    if facts.rate is not None and (until is None or facts.rate.until > until):
        until, why = facts.rate.until, facts.rate.reason
    if until is None or until <= _due(event, facts):
        return None
    words = {"until": moment(until, facts.now), "why": why}
    sentence = _("The platform accepted it; status checks are paused until %(until)s: %(why)s") % words
    return Step(sentence, _("paused until %(until)s") % words, until)


def _next_check(event: OutboxEvent, facts: Facts) -> Step | None:
    sentence = _when_checked(event, facts)
    return _goes(event, facts, sentence) if sentence else None


def _when_checked(event: OutboxEvent, facts: Facts) -> str:
    if facts.settings is None or event.due_at is None:
        return ""
    if not facts.settings.platform.protocol.confirms:
        return _(
            "The platform accepted it under another PROTOCOL; this one has no delivery status, so the next "
            "pass leaves it to an operator."
        )
    if not facts.settings.confirm:
        return _("The platform accepted it and CONFIRM is off: the next pass marks it delivered.")
    if event.due_at > facts.now:
        words = {"when": relative(event.due_at, facts.now)}
    else:
        words = {"when": _("within about 60 s")}
    accepted = event.accepted_at or facts.now
    until = accepted + dt.timedelta(seconds=facts.settings.platform.rules.confirm_for)
    if until <= facts.now:
        return (
            _(
                "The platform accepted it; delivery is checked again %(when)s. "
                "If it is not confirmed then, an operator must decide."
            )
            % words
        )
    words["until"] = moment(until, facts.now)
    return _("The platform accepted it; delivery is checked again %(when)s, until %(until)s.") % words


def _due(event: OutboxEvent, facts: Facts) -> dt.datetime:
    """When the event would move if nothing held it; pauses that end earlier do not affect it."""
    return max(event.due_at or facts.now, facts.now)


def _doubt(event: OutboxEvent, facts: Facts) -> str:
    """A sentence to append if the event may already have been accepted."""
    if facts.settings is not None and facts.settings.resends_in_doubt and event.in_doubt_since is not None:
        return " " + _(
            "It may have been accepted: the outcome of an attempt is unknown. It is sent again because "
            "ON_DOUBT is “resend”, so the platform may accept it twice."
        )
    closes = window_closes(event, facts.settings) if facts.settings is not None else None
    if closes is None:
        return ""
    return " " + _(
        "It may have been accepted: the outcome of an attempt is unknown. It is retried with the same key "
        "until %(until)s; after that an operator must decide."
    ) % {"until": moment(closes, facts.now)}


_BEFORE_ALL: tuple[Rule, ...] = (_unconfigured, _in_flight)
_PENDING: tuple[Rule, ...] = (
    *_BEFORE_ALL,
    _behind_needs_operator,
    _no_worker,
    _used_up,
    _held,
    _paused,
    _behind_another,
    _of_a_refused_type,
    _lapsed,
    _retry,
    _delayed,
    _soon,
)
_ACCEPTED: tuple[Rule, ...] = (*_BEFORE_ALL, _no_worker, _held, _checks_paused, _lapsed, _next_check)

"""Decide what an answer means for a claimed row: a pure function; ``settle`` writes the result."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from genesys_eventbridge.circuit import POISON_HALTS
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox.claim import Claimed
from genesys_eventbridge.outbox.settle import Transition
from genesys_eventbridge.platform import retry_after
from genesys_eventbridge.platform.outcomes import WELL, Outcome, Verdict
from genesys_eventbridge.states import AttemptKind, Reason, State

Random = Callable[[], float]

#: A conflict may be a proxy's mistake. After this many attempts an operator must decide.
CONFLICTS = 3


@dataclass(frozen=True, slots=True)
class _Case:
    """The input of one decision; see ``decide``."""

    claimed: Claimed
    outcome: Outcome
    settings: DestinationSettings
    elapsed: float
    uncounted: bool
    accused: bool
    paused: bool
    random: Random


def decide(
    claimed: Claimed,
    outcome: Outcome,
    settings: DestinationSettings,
    *,
    elapsed: float = 0.0,
    uncounted: bool = False,
    accused: bool = False,
    paused: bool = False,
    random: Random = random_module.random,
) -> Transition:
    """The transition of this row for this answer (guarantees.md, section 2).

    ``elapsed`` is seconds since the claim. The flags are what the answer meant for the destination
    (``circuit.Step``). ``uncounted``: the failure uses up no attempt. ``accused``: the answer is about this
    event alone. ``paused``: the destination is paused now, so the row needs no wait of its own.
    """
    answered = settled(claimed, outcome)
    case = _Case(claimed, outcome, settings, elapsed, uncounted, accused, paused, random)
    return _checked(case, answered) if claimed.kind is AttemptKind.CHECK else _published(case, answered)


def released(claimed: Claimed) -> Transition:
    """Give back a row that was claimed but not sent: due at once, no attempt counted."""
    return _uncharged(claimed, settled(claimed))


def settled(claimed: Claimed, outcome: Outcome | None = None) -> Transition:
    """The starting point of a transition: state and counters unchanged, answer and ids from the outcome."""
    return Transition(
        id=claimed.id,
        destination=claimed.destination,
        event_id=claimed.event_id,
        type=claimed.type,
        token=claimed.token,
        from_state=claimed.state,
        state=claimed.state,
        attempts=claimed.attempts,
        checks=claimed.checks,
        halts=claimed.halts,
        suspected_since=claimed.suspected_since,
        doubt=claimed.doubt_before,
        remote_id=(outcome and outcome.remote_id) or claimed.remote_id,
        status_code=outcome.status_code if outcome else claimed.last_status_code,
        error=_error(outcome) if outcome else claimed.last_error,
        correlation_id=(outcome and outcome.correlation_id) or claimed.correlation_id,
        ordering_key=claimed.ordering_key,
    )


def _error(outcome: Outcome) -> str:
    """Never empty after a failure: lists find what failed by its error."""
    return outcome.error if outcome.error or outcome.verdict in WELL else str(outcome.verdict)


def _published(case: _Case, row: Transition) -> Transition:
    claimed, outcome = case.claimed, case.outcome
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return _accepted(outcome, case.settings, row)
        case Verdict.REJECTED:
            return _refused(claimed, row)
        case Verdict.HALTED:
            if not outcome.accuses:
                return _uncharged(claimed, row)
            if claimed.halts >= POISON_HALTS and case.accused:
                return _refused(claimed, row)
            return _suspected(case, row)
        case Verdict.UNAVAILABLE:
            return _again(case, row)
        case Verdict.UNKNOWN | Verdict.DELIVERED | Verdict.FAILED | Verdict.NOT_YET:
            # The last three are verdicts of checks; for a publish they mean that its outcome is unknown.
            row = replace(row, keep_doubt=True, conflict=outcome.conflict)
            if outcome.conflict and claimed.attempts >= CONFLICTS:
                return replace(row, state=State.UNRESOLVED, reason=Reason.CONFLICT)
            return _again(case, row)
        case _ as never:
            assert_never(never)


def _accepted(outcome: Outcome, settings: DestinationSettings, row: Transition) -> Transition:
    taken = partial(replace, row, doubt=None, accepted=True)
    if outcome.final is Verdict.FAILED:
        return taken(state=State.DEAD, reason=Reason.DELIVERY_FAILED)
    if outcome.final is Verdict.DELIVERED or not settings.confirms:
        return taken(state=State.DELIVERED)
    if not outcome.remote_id:
        return taken(state=State.UNRESOLVED, reason=Reason.UNTRACKED)
    return taken(state=State.ACCEPTED, due_in=settings.check_delays[0])


def _refused(claimed: Claimed, row: Transition) -> Transition:
    """Refused for good: dead, or unresolved if an earlier attempt may have been accepted."""
    if claimed.doubt_before is not None:
        return replace(row, state=State.UNRESOLVED, reason=Reason.OUTCOME_UNKNOWN)
    return replace(row, state=State.DEAD, reason=Reason.REJECTED)


def _suspected(case: _Case, row: Transition) -> Transition:
    """Count no attempt, but wait so that others go first; at most as long as a pause: it may be innocent."""
    settings, halts = case.settings, case.claimed.halts + 1
    since = case.claimed.suspected_since or case.claimed.claimed_at
    row = replace(row, halts=halts, suspected_since=since)
    if case.paused:
        return _uncharged(case.claimed, row)
    cap = min(settings.backoff_cap, settings.pause_cap)
    wait = retry_after.delay(halts, min(settings.backoff_base, cap), cap, random=case.random)
    return replace(_uncharged(case.claimed, row), due_in=wait)


def _again(case: _Case, row: Transition) -> Transition:
    """Retry, unless the window is closed or, for a counted failure, attempts or MAX_AGE are used up."""
    claimed, settings, counted = case.claimed, case.settings, not case.uncounted
    in_doubt = row.keep_doubt or row.doubt is not None
    window = claimed.doubt_left - case.elapsed if in_doubt else float("inf")
    if (counted and claimed.attempts >= settings.max_attempts) or window <= 0:
        if in_doubt:
            return replace(row, state=State.UNRESOLVED, reason=Reason.OUTCOME_UNKNOWN)
        return replace(row, state=State.DEAD, reason=Reason.EXHAUSTED)
    too_old = settings.max_age is not None and claimed.age + case.elapsed > settings.max_age
    if counted and too_old and not in_doubt:
        return replace(row, state=State.DEAD, reason=Reason.EXPIRED)
    if not counted:
        row = replace(row, attempts=claimed.attempts - 1)
    wait = retry_after.delay(
        max(1, row.attempts), settings.backoff_base, settings.backoff_cap, random=case.random
    )
    return replace(row, due_in=min(max(wait, case.outcome.retry_after or 0.0), window))


def _checked(case: _Case, row: Transition) -> Transition:
    claimed, outcome, delays = case.claimed, case.outcome, case.settings.check_delays
    match outcome.verdict:
        case Verdict.DELIVERED:
            return replace(row, state=State.DELIVERED)
        case Verdict.FAILED:
            return replace(row, state=State.DEAD, reason=Reason.DELIVERY_FAILED)
        case Verdict.UNKNOWN if outcome.found is not False or case.accused:
            return replace(row, state=State.UNRESOLVED, reason=Reason.UNCONFIRMED)
        case Verdict.HALTED:
            return _uncharged(claimed, row)
        case (
            Verdict.NOT_YET | Verdict.UNKNOWN | Verdict.ACCEPTED | Verdict.REJECTED | Verdict.UNAVAILABLE
        ):  # the last three are verdicts of a publish
            wait = delays[min(claimed.checks, len(delays) - 1)]
            wait = retry_after.jitter_up(max(wait, outcome.retry_after or 0.0), random=case.random)
            return replace(row, due_in=wait)
        case _ as never:
            assert_never(never)


def _uncharged(claimed: Claimed, row: Transition) -> Transition:
    if claimed.kind is AttemptKind.CHECK:
        return replace(row, checks=claimed.checks - 1, due_in=0.0)
    return replace(row, attempts=claimed.attempts - 1, due_in=0.0)

"""What a group of answers means for the destination: a pause, a run of failures, or the way is open."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from genesys_eventbridge import agenda, backoff, destinations, explain_words, transitions
from genesys_eventbridge.claims import Claimed
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.refusals import Refusal, Refusals
from genesys_eventbridge.states import AttemptKind
from genesys_eventbridge.verdicts import Halt, Outcome, Verdict


def record(
    kind: AttemptKind, settings: DestinationSettings, outcomes: Sequence[tuple[Claimed, Outcome]]
) -> bool:
    """Write what ``outcomes`` (row and answer, in the order they came) say about their destination.

    Returns whether it is paused now. Written before the rows, so that no worker claims them again first.
    """
    checking = kind is AttemptKind.CHECK
    group = _sorted(outcomes, checking=checking)
    pauses = [_pause(settings, halt, outcome, checking=checking) for halt, outcome in group.halts]
    if group.accepted and destinations.succeeded(
        settings.alias,
        checking=checking,
        types={row.type for row in group.accepted},
        cleared=any(row.halts for row in group.accepted),
    ):
        transitions.announce_resumed(settings.alias)
    if group.failures:
        events, last = _of(group.failures)
        pauses.append(
            (destinations.failed(settings, events, last.outage or Halt.NETWORK, last.error), last.error)
        )
    if group.suspects:
        events, last = _of(group.suspects)
        pauses.append(
            (destinations.suspected(settings, events, last.halt or Halt.CONFIG, last.error), last.error)
        )
    if group.refused or group.refused_before:
        seconds, run = destinations.refused(settings, group.refused, before=group.refused_before)
        ending = len(group.refused) + len(group.refused_before) + len(group.accepted)
        pauses.append((seconds, _refusals(settings.alias, run, ending) if seconds and run else ""))
    pauses = [(seconds, reason) for seconds, reason in pauses if seconds]
    if pauses:  # several senders meet the same trouble: announced once
        seconds, reason = max(pauses)
        transitions.announce_paused(settings.alias, reason, seconds)
    return bool(pauses)


@dataclass(slots=True)
class _Group:
    """Answers by what they say about the destination; those that an acceptance followed are gone."""

    halts: list[tuple[Halt, Outcome]] = field(default_factory=list)
    accepted: list[Claimed] = field(default_factory=list)
    failures: list[tuple[int, Outcome]] = field(default_factory=list)
    #: HALTED by an answer to the event's own POST.
    suspects: list[tuple[int, Outcome]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    #: Refused before the latest acceptance.
    refused_before: list[Refusal] = field(default_factory=list)


def _sorted(outcomes: Sequence[tuple[Claimed, Outcome]], *, checking: bool) -> _Group:
    group = _Group()
    for row, outcome in outcomes:
        if outcome.verdict is Verdict.HALTED and outcome.halt is not None:
            if outcome.accuses:
                group.suspects.append((row.id, outcome))
            else:
                group.halts.append((outcome.halt, outcome))
        elif not checking and outcome.outage is not None:
            if outcome.status_code == 503 and outcome.retry_after is not None:
                group.halts.append((Halt.RATE, outcome))
            group.failures.append((row.id, outcome))
        elif outcome.verdict is Verdict.REJECTED:
            group.refused.append(Refusal(row.id, row.type, outcome.error))
        elif checking or outcome.verdict is Verdict.ACCEPTED:
            group.accepted.append(row)
            group.refused_before += group.refused
            group.failures, group.suspects, group.refused = [], [], []
    return group


def _of(answers: Sequence[tuple[int, Outcome]]) -> tuple[list[int], Outcome]:
    """The events, and the latest answer."""
    return [event for event, _outcome in answers], answers[-1][1]


def _refusals(alias: str, run: Refusals, ending: int) -> str:
    """For the log; ``ending`` events of these answers still stand as pending."""
    waiting = max(0, destinations.waiting(alias) - ending)
    return explain_words.refusals(run, f"{waiting:,}", agenda.database_now())


def _pause(
    settings: DestinationSettings, halt: Halt, outcome: Outcome, *, checking: bool
) -> tuple[float, str]:
    """Its length and why. A wait that the platform asked for gets its jitter upwards only."""
    asked = outcome.retry_after
    if asked is None and halt is Halt.RATE:
        asked = settings.retry_after_default
    if asked is not None:
        asked = backoff.jitter_up(asked, random=random.random)
    return destinations.halted(settings, halt, outcome.error, asked, checking=checking), outcome.error

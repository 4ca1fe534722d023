"""What a group of answers means for the destination: a pause, a run of failures, or the way is open."""

from __future__ import annotations

import random
from collections.abc import Sequence

from genesys_eventbridge import backoff, destinations, transitions
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.states import AttemptKind
from genesys_eventbridge.verdicts import Halt, Outcome, Verdict


def record(kind: AttemptKind, settings: DestinationSettings, outcomes: Sequence[tuple[int, Outcome]]) -> bool:
    """Write what ``outcomes`` (event and answer, in the order they came) say about their destination.

    Returns whether it is paused now. Written before the rows, so that no worker claims them again first.
    """
    checking = kind is AttemptKind.CHECK
    success = False
    pauses: list[tuple[float, str]] = []
    failures: list[tuple[int, Outcome]] = []
    for event, outcome in outcomes:
        if outcome.verdict is Verdict.HALTED and outcome.halt is not None:
            pauses.append(_pause(settings, outcome.halt, outcome, checking=checking))
        elif not checking and outcome.outage is not None:
            if outcome.status_code == 503 and outcome.retry_after is not None:
                pauses.append(_pause(settings, Halt.RATE, outcome, checking=False))
            failures.append((event, outcome))
        elif checking or outcome.verdict is Verdict.ACCEPTED:
            success, failures = True, []
    if success and destinations.succeeded(settings.alias, checking=checking):
        transitions.announce_resumed(settings.alias)
    if failures:
        last = failures[-1][1]
        events = [event for event, _outcome in failures]
        seconds = destinations.failed(settings, events, last.outage or Halt.NETWORK, last.error)
        if seconds:
            pauses.append((seconds, last.error))
    if pauses:  # several senders meet the same trouble: said once
        seconds, reason = max(pauses)
        transitions.announce_paused(settings.alias, reason, seconds)
    return bool(pauses)


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

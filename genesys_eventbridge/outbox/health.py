"""What a group of answers means for the destination: recorded for every worker, and announced once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from genesys_eventbridge import formatting
from genesys_eventbridge.circuit import Reply
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import retried
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.outbox import announce, destinations
from genesys_eventbridge.outbox.claim import Claimed
from genesys_eventbridge.outbox.destinations import Recorded
from genesys_eventbridge.platform import retry_after
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.states import AttemptKind

#: Ends an event: it is not waiting any more, though its row is written after this.
_ENDING = (Verdict.ACCEPTED, Verdict.REJECTED)


def record(
    kind: AttemptKind,
    settings: DestinationSettings,
    answers: Sequence[tuple[Claimed, Outcome | None]],
    *,
    until: float | None = None,
) -> Recorded:
    """Write what ``answers`` (row and outcome, in the order they came) say about their destination.

    Written before the rows, so that no worker claims them again first. The outcome is None for a row
    whose request was not begun. ``until`` bounds the wait for a lost database, by ``time.monotonic()``.
    """
    replies = [_reply(settings, row, outcome) for row, outcome in answers]
    if any(outcome is not None and outcome.found is False for _row, outcome in answers):
        sole = retried(outbox_alias(), partial(destinations.awaiting_check, settings.alias), until=until) == 1
        replies = [replace(reply, sole=sole) for reply in replies]
    recorded = destinations.record(kind, settings, replies, until=until)
    if recorded.resumed:
        announce.announce_resumed(settings.alias)
    if recorded.began:
        pause = max(recorded.began, key=lambda pause: pause.until)
        reason, refusals = pause.reason, recorded.refusals
        if pause.kind == Halt.REFUSALS and refusals is not None:
            ending = sum(outcome is not None and outcome.verdict in _ENDING for _row, outcome in answers)
            waiting = retried(outbox_alias(), partial(destinations.waiting, settings.alias), until=until)
            reason = formatting.refusals(refusals, f"{max(0, waiting - ending):,}", recorded.now)
        announce.announce_paused(settings.alias, reason, (pause.until - recorded.now).total_seconds())
    return recorded


def _reply(settings: DestinationSettings, row: Claimed, outcome: Outcome | None) -> Reply:
    return Reply(
        row.id,
        _with_wait(settings, outcome),
        type=row.type,
        probe=row.probe,
        turn=row.turn,
        halts=row.halts,
        suspected_since=row.suspected_since,
        due_since=row.waiting_since,
    )


def _with_wait(settings: DestinationSettings, outcome: Outcome | None) -> Outcome | None:
    """A wait that the platform asked for gets its jitter upwards only."""
    if outcome is None:
        return None
    asked = outcome.retry_after
    if asked is None and outcome.halt is Halt.RATE:
        asked = settings.platform.rules.retry_after_default
    if asked is None:
        return outcome
    return replace(outcome, retry_after=retry_after.jitter_up(asked, random=random.random))

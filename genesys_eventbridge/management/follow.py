"""After an operator acted on events: send them, wait briefly for the platform, and report the results."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db.models import Q

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import draining
from genesys_eventbridge.management.output import listed, next_step
from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.management.side_by_side import side_by_side
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.management.work import progress, report_line
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet, in_flight
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.states import NEEDS_OPERATOR, AttemptKind, State
from genesys_eventbridge.text import clean

#: Seconds to wait for a confirmation, or for another worker's result.
PATIENCE = 10.0
LOOK_EVERY = 0.25
#: Ids per statement, and events claimed at once before checking whether all were sent.
CHUNK = 500
ERRORS_SHOWN = 3


@dataclass(slots=True)
class FollowResult:
    """The state of the events now, and the errors of those that did not get through."""

    states: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    example: int | None = None
    #: Destinations that the platform's responses paused during this run.
    paused: list[draining.Pause] = field(default_factory=list)

    @property
    def needs_operator(self) -> bool:
        return bool(self.paused) or any(self.states[state] for state in NEEDS_OPERATOR)

    def lines(self) -> list[str]:
        words = {draining.word(state): count for state, count in self.states.items()}
        lines = [f"Then sent: {listed(words)}"] if words else []
        for (state, error), count in self.errors.most_common(ERRORS_SHOWN):
            lines.append(f"  {draining.word(state)} {count:,}: {error}")
        for pause in self.paused:
            lines += pause.lines
        if self.example is not None:
            lines.append(next_step(f"eventbridge_show {self.example}"))
        return lines

    def data(self) -> dict[str, Any]:
        return {
            "results": dict(self.states),
            "errors": [
                {"state": state, "error": error, "count": count}
                for (state, error), count in self.errors.most_common()
            ],
        }


def follow(
    ids: Sequence[int], options: dict[str, Any], *, clock: Callable[[], float] = time.monotonic
) -> FollowResult:
    """Publish until these have been tried, check while a result is near, and report their states."""
    aliases = sorted({alias for rows in _rows(ids) for alias in rows.values_list("destination", flat=True)})
    paused: list[draining.Pause] = []
    with (
        stop_on_signal(partial(report_line, options)) as stop,
        progress("Published", len(ids), options) as shown,
    ):
        if aliases:
            sent = side_by_side(aliases, lambda alias: _send(alias, ids, shown, stop))
            paused = [done.pause for done in sent.values() if done and done.pause]
            _confirm(aliases, ids, shown, stop, clock)
    return _result(ids, paused)


def due_among(ids: Sequence[int]) -> list[int]:
    """Those of these events that wait to be sent and may be sent now."""
    due = Q(state=State.PENDING, due_at__lte=DatabaseNow())
    return [pk for rows in _rows(ids) for pk in rows.filter(due).values_list("id", flat=True)]


def _send(alias: str, ids: Sequence[int], shown: Progress, stop: threading.Event) -> draining.Drained | None:
    """Run pass after pass until none of these is due: older ones go first. Returns the last result."""
    done = None
    ours = partial(_any, ids, Q(destination=alias, state=State.PENDING, due_at__lte=DatabaseNow()))
    while not stop.is_set() and ours():
        done = draining.drain(AttemptKind.PUBLISH, alias, progress=shown, stop=stop, limit=CHUNK)
        if done.paused_for or done.drained:
            break
    return done


def _confirm(
    aliases: Sequence[str],
    ids: Sequence[int],
    shown: Progress,
    stop: threading.Event,
    clock: Callable[[], float],
) -> None:
    ends = clock() + PATIENCE
    while not stop.is_set() and (left := ends - clock()) > 0:
        taken = Q(in_flight(), state=State.PENDING)
        soon = Q(state=State.ACCEPTED, due_at__lte=DatabaseNow(left))
        if not _any(ids, taken | soon):
            break
        for alias in aliases:
            check_in = next_due.next_due(alias).check_in
            if check_in is not None and check_in <= 0:
                draining.drain(AttemptKind.CHECK, alias, progress=shown, stop=stop, limit=CHUNK)
        stop.wait(LOOK_EVERY)


def _result(ids: Sequence[int], paused: list[draining.Pause]) -> FollowResult:
    result = FollowResult(paused=paused)
    for rows in _rows(ids):
        for pk, state, error in rows.order_by("state", "id").values_list("id", "state", "last_error"):
            result.states[state] += 1
            if state in (State.PENDING, *NEEDS_OPERATOR) and error:
                result.errors[state, clean(error, 200)] += 1
                result.example = result.example or pk
    return result


def _any(ids: Sequence[int], which: Q) -> bool:
    return any(rows.filter(which).exists() for rows in _rows(ids))


def _rows(ids: Sequence[int]) -> Iterator[OutboxQuerySet]:
    for start in range(0, len(ids), CHUNK):
        yield OutboxEvent.objects.on_outbox().filter(id__in=ids[start : start + CHUNK])

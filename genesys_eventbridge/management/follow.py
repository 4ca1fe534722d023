"""After an operator acted on events: send them, wait briefly for the platform, and report the results."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db.models import Case, Count, Min, Q, When

from genesys_eventbridge import conf
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import draining
from genesys_eventbridge.management.output import listed, next_step
from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.management.side_by_side import side_by_side
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.management.work import progress, report_line
from genesys_eventbridge.models import Job, JobItem, OutboxEvent, OutboxQuerySet, in_flight, outbox_alias
from genesys_eventbridge.operations import Skip, jobs
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
    #: Of the pending ones, those that were not tried since the act: their errors are older.
    untried: int = 0
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    example: int | None = None
    #: Destinations that the platform's responses paused during this run.
    paused: list[draining.Pause] = field(default_factory=list)

    @property
    def needs_operator(self) -> bool:
        return bool(self.paused) or any(self.states[state] for state in NEEDS_OPERATOR)

    def lines(self) -> list[str]:
        words = {draining.word(state): count for state, count in self.states.items()}
        if self.untried:
            again = draining.word(State.PENDING)
            words = {**words, again: words[again] - self.untried, "not sent yet": self.untried}
            words = {word: count for word, count in words.items() if count}
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
    made: Sequence[Job], options: dict[str, Any], *, clock: Callable[[], float] = time.monotonic
) -> FollowResult:
    """Publish the events that these jobs acted on, check while a result is near, and report their states.

    Events that were due anyway are published, too; no others are.
    """
    touched = Touched([job.pk for job in made])
    aliases = sorted(set(touched.rows().values_list("destination", flat=True)) & set(conf.aliases()))
    paused: list[draining.Pause] = []
    with (
        stop_on_signal(partial(report_line, options)) as stop,
        progress("Published", touched.rows().count(), options) as shown,
    ):
        if aliases:
            sent = side_by_side(aliases, lambda alias: _send(alias, touched, shown, stop))
            paused = [done.pause for done in sent.values() if done and done.pause]
            _confirm(aliases, touched, shown, stop, clock)
    return _result(touched, paused)


@dataclass(frozen=True, slots=True)
class Touched:
    """The events that jobs acted on, and those that were due anyway."""

    job_ids: list[int]

    def rows(self, which: Q | None = None) -> OutboxQuerySet:
        items = JobItem.objects.filter(
            job__in=self.job_ids, outcome__in=[jobs.DONE, jobs.NEW_KEY, Skip.ALREADY_DUE]
        )
        rows = OutboxEvent.objects.on_outbox().filter(id__in=items.values("event_number"))
        return rows if which is None else rows.filter(which)

    def pages(self, which: Q) -> Iterator[list[int]]:
        """Their ids in order, a page at a time."""
        last = 0
        while page := list(
            self.rows(which).filter(id__gt=last).order_by("id").values_list("id", flat=True)[:CHUNK]
        ):
            yield page
            last = page[-1]


def _send(alias: str, touched: Touched, shown: Progress, stop: threading.Event) -> draining.Drained | None:
    """Publish those that are due, page by page, and no others. Returns the last result."""
    done = None
    due = Q(destination=alias, state=State.PENDING, due_at__lte=DatabaseNow())
    for page in touched.pages(due):
        if stop.is_set():
            break
        done = draining.drain(AttemptKind.PUBLISH, alias, progress=shown, stop=stop, only=page)
        if done.paused_for:
            break
    return done


def _confirm(
    aliases: Sequence[str],
    touched: Touched,
    shown: Progress,
    stop: threading.Event,
    clock: Callable[[], float],
) -> None:
    ends = clock() + PATIENCE
    while not stop.is_set() and (left := ends - clock()) > 0:
        taken = Q(in_flight(), state=State.PENDING)
        soon = Q(state=State.ACCEPTED, due_at__lte=DatabaseNow(left))
        if not touched.rows(taken | soon).exists():
            break
        for alias in aliases:
            check_in = next_due.next_due(alias).check_in
            if check_in is not None and check_in <= 0:
                draining.drain(AttemptKind.CHECK, alias, progress=shown, stop=stop, limit=CHUNK)
        stop.wait(LOOK_EVERY)


def _result(touched: Touched, paused: list[draining.Pause]) -> FollowResult:
    result = FollowResult(paused=paused)
    acted_at = (
        Job.objects.using(outbox_alias()).filter(id__in=touched.job_ids).aggregate(at=Min("created_at"))["at"]
    )
    untried = Q(state=State.PENDING) & (Q(failed_at__isnull=True) | Q(failed_at__lt=acted_at))
    rows = touched.rows().order_by().annotate(untried=Case(When(untried, then=1), default=0))
    groups = rows.values_list("untried", "state", "last_error")
    for is_untried, state, error, number, first in groups.annotate(
        number=Count("id"), first=Min("id")
    ).order_by("state", "untried", "first"):
        result.states[state] += number
        if is_untried:
            result.untried += number
            result.example = result.example or first
        elif state in (State.PENDING, *NEEDS_OPERATOR) and error:
            result.errors[state, clean(error, 200)] += number
            result.example = result.example or first
    return result

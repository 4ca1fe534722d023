"""Acts on the events that a command chooses: as jobs, worked off before it returns, with their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted, listed
from genesys_eventbridge.management.selection import Selection
from genesys_eventbridge.management.stopping import stop_on_signal
from genesys_eventbridge.management.work import progress, report_line
from genesys_eventbridge.models import Job, OutboxQuerySet
from genesys_eventbridge.operations import Actor, Done, Order, Skip, jobs
from genesys_eventbridge.operations.results import Result as Outcome
from genesys_eventbridge.operations.results import Some
from genesys_eventbridge.states import JobState

#: Maximum number of skipped events that are listed.
NAMED = 10
NAMED_IN_DATA = 100


def act(
    command: OutboxCommand,
    options: dict[str, Any],
    order: Order,
    picked: Selection,
    *,
    verb: tuple[str, str],
    how: str = "",
    question: str = "",
    already: Skip | None = None,
) -> Result:
    """Act on the selected events, once confirmed; skipped ones need an operator, except for ``already``.

    ``verb`` is such as ("Move", "Moved"); ``question`` ends the question if it says more than ``how``;
    ``already`` is why events are skipped that are what the act would make of them.
    """
    dry_run = options["dry_run"]
    events = f"{counted(picked.matched, 'event')}{picked.words}"
    command.confirm(f"{verb[0]} {events}{question or f'{how}?'}", options)
    done, made = carry_out([(order, picked.rows)], options)
    did = f"Would {verb[0].lower()}" if dry_run else verb[1]
    lines = [f"{did} {counted(done.count, 'event')}{how}."]
    lines += [*duplicate_lines(done.may_duplicate, dry_run=dry_run), *skipped_lines(done.skipped)]
    lines += unfinished_lines(made)
    data = {
        "dry_run": dry_run,
        "count": done.count,
        "done": done.ids,
        "may_duplicate": done.may_duplicate.ids,
        "skipped": skipped_data(done.skipped),
        "jobs": [job.pk for job in made],
    }
    left = bool(done.skipped.keys() - {already}) or bool(unfinished(made))
    return Result(lines, data, needs_operator=not dry_run and left)


def carry_out(
    orders: Sequence[tuple[Order, OutboxQuerySet]], options: dict[str, Any]
) -> tuple[Done, list[Job]]:
    """Freeze the events of each order, then work the jobs off; with ``--dry-run`` only foresee the result.

    Returns the sum of the results, and the jobs.
    """
    if options["dry_run"]:
        done = Done()
        for order, rows in orders:
            done.merge(jobs.survey(order, rows))
        return done, []
    made = [(jobs.freeze(order, rows, claim=True), order.actor) for order, rows in orders]
    return work_off(made, options), [job for job, _actor in made]


def work_off(made: Sequence[tuple[Job, Actor]], options: dict[str, Any]) -> Done:
    """Carry out jobs that were made here. A signal hands the rest over to a worker."""
    done, total = Done(), sum(job.total for job, _actor in made)
    with (
        stop_on_signal(partial(report_line, options)) as stop,
        progress("Done", total, options) as shown,
    ):

        def saw(results: Sequence[Outcome]) -> None:
            done.add(results)
            shown.add(len(results))

        for job, actor in made:
            jobs.run(job, actor, saw=saw, stop=stop)
    for job, _actor in made:
        job.refresh_from_db()
    return done


def unfinished(made: Sequence[Job]) -> list[Job]:
    return [job for job in made if job.state == JobState.QUEUED]


def unfinished_lines(made: Sequence[Job]) -> list[str]:
    """What is left of jobs that a signal interrupted, or that wait for events."""
    return [
        f"  Job {job.pk} is at {job.done + job.skipped:,} of {job.total:,}; a worker continues it."
        for job in unfinished(made)
    ]


def type_lines(picked: Selection) -> list[str]:
    if not picked.types:
        return []
    others = f" · and {counted(picked.other_types, 'other type')}" if picked.other_types else ""
    return [f"  {listed(picked.types)}{others}"]


def skipped_lines(skipped: Mapping[Skip, Some]) -> list[str]:
    return [f"  Skipped: {some.count:,} ({why.label}): {names(some)}" for why, some in skipped.items()]


def skipped_data(skipped: Mapping[Skip, Some]) -> list[dict[str, Any]]:
    return [
        {"reason": why.label, "count": some.count, "ids": some.ids[:NAMED_IN_DATA]}
        for why, some in skipped.items()
    ]


def duplicate_lines(some: Some, *, dry_run: bool) -> list[str]:
    """Only an operator action can cause a duplicate, so always report it."""
    if not some.count:
        return []
    would = "would be " if dry_run else ""
    return [
        f"  {counted(some.count, 'event')} {would}sent as new to the platform and may be delivered twice: "
        f"{names(some)}"
    ]


def names(some: Some) -> str:
    """The numbers of the first of these events."""
    named = ", ".join(str(pk) for pk in some.ids[:NAMED])
    return f"{named} and {some.count - NAMED:,} more" if some.count > NAMED else named

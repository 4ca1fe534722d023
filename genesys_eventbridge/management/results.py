"""The results of an operator action, for people and programs: how many, which were skipped, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted
from genesys_eventbridge.management.selection import undecided
from genesys_eventbridge.operations import Done, Skip
from genesys_eventbridge.operations.results import Some

#: Maximum number of skipped events that are listed.
NAMED = 10
NAMED_IN_DATA = 100


def act(
    command: OutboxCommand,
    options: dict[str, Any],
    operation: Callable[..., Done],
    *,
    verb: tuple[str, str],
    how: str = "",
    question: str = "",
) -> Result:
    """Act on the events that the options name, once confirmed; skipped ones need an operator.

    ``operation`` takes ids, the actor and ``dry_run``; ``verb`` is such as ("Move", "Moved"); ``question``
    ends the question if it says more than ``how``.
    """
    ids, dry_run = undecided(options), options["dry_run"]
    command.confirm(f"{verb[0]} {counted(len(ids), 'event')}{question or f'{how}?'}", options)
    done = operation(ids, command.actor(), dry_run=dry_run)
    did = f"Would {verb[0].lower()}" if dry_run else verb[1]
    lines = [f"{did} {counted(done.count, 'event')}{how}."]
    lines += [*duplicate_lines(done.may_duplicate, dry_run=dry_run), *skipped_lines(done.skipped)]
    data = {
        "dry_run": dry_run,
        "done": done.ids,
        "may_duplicate": done.may_duplicate.ids,
        "skipped": skipped_data(done.skipped),
    }
    return Result(lines, data, needs_operator=bool(done.skipped) and not dry_run)


def skipped_lines(skipped: Mapping[Skip, Some]) -> list[str]:
    return [f"  Skipped: {some.count:,} ({why.label}): {_names(some)}" for why, some in skipped.items()]


def skipped_data(skipped: Mapping[Skip, Some]) -> list[dict[str, Any]]:
    return [
        {"reason": why.label, "count": some.count, "ids": some.ids[:NAMED_IN_DATA]}
        for why, some in skipped.items()
    ]


def duplicate_lines(some: Some, *, dry_run: bool) -> list[str]:
    """Only an operator action can cause a duplicate, so always report it."""
    if not some.count:
        return []
    get = "would get" if dry_run else "got"
    return [
        f"  {counted(some.count, 'event')} {get} a new key and may be delivered twice, because the old key "
        f"cannot be used again: {_names(some)}"
    ]


def _names(some: Some) -> str:
    named = ", ".join(str(pk) for pk in some.ids[:NAMED])
    return f"{named} and {some.count - NAMED:,} more" if some.count > NAMED else named

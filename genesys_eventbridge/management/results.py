"""The results of an operator action, for people and programs: how many, which were skipped, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted
from genesys_eventbridge.management.selection import undecided
from genesys_eventbridge.operations import Done, Skip

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
    lines = [f"{did} {counted(len(done.ids), 'event')}{how}."]
    lines += [*duplicate_lines(done.may_duplicate, dry_run=dry_run), *skipped_lines(done.skipped)]
    data = {
        "dry_run": dry_run,
        "done": done.ids,
        "may_duplicate": done.may_duplicate,
        "skipped": skipped_data(done.skipped),
    }
    return Result(lines, data, needs_operator=bool(done.skipped) and not dry_run)


def skipped_lines(skipped: Mapping[Skip, Sequence[int]]) -> list[str]:
    return [f"  Skipped: {len(ids):,} ({why.label}): {_names(ids)}" for why, ids in skipped.items()]


def skipped_data(skipped: Mapping[Skip, Sequence[int]]) -> list[dict[str, Any]]:
    return [
        {"reason": why.label, "count": len(ids), "ids": list(ids[:NAMED_IN_DATA])}
        for why, ids in skipped.items()
    ]


def duplicate_lines(ids: Sequence[int], *, dry_run: bool) -> list[str]:
    """Only an operator action can cause a duplicate, so always report it."""
    if not ids:
        return []
    get = "would get" if dry_run else "got"
    return [
        f"  {counted(len(ids), 'event')} {get} a new key and may be delivered twice, because the old key "
        f"cannot be used again: {_names(ids)}"
    ]


def merged(*results: Done) -> Done:
    """Combine several results into one."""
    whole = Done()
    for done in results:
        whole.ids.extend(done.ids)
        whole.may_duplicate.extend(done.may_duplicate)
        for why, ids in done.skipped.items():
            whole.skipped.setdefault(why, []).extend(ids)
    return whole


def _names(ids: Sequence[int]) -> str:
    named = ", ".join(str(pk) for pk in ids[:NAMED])
    return f"{named} and {len(ids) - NAMED:,} more" if len(ids) > NAMED else named

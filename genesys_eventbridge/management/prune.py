"""Runs retention over the named destinations, one after another, and reports what was removed."""

from __future__ import annotations

import time
from typing import Any

from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.output import Result, counted, next_step
from genesys_eventbridge.management.work import progress
from genesys_eventbridge.outbox import orphans, retention
from genesys_eventbridge.outbox.retention import Pruned


def prune(options: dict[str, Any]) -> Result:
    """Raises CommandError for an age shorter than the platform remembers keys."""
    done: dict[str, Pruned] = {}
    began = time.monotonic()
    with progress("Pruned", None, options) as shown:
        for alias in _aliases(options):
            left = options["max_seconds"] and options["max_seconds"] - (time.monotonic() - began)
            if left is not None and left <= 0:
                done[alias] = Pruned(complete=False)
                continue
            done[alias] = _prune(alias, left, options)
            shown.add(done[alias].rows + done[alias].blanked)
    lines = [_line(alias, pruned, options["dry_run"]) for alias, pruned in done.items()]
    if not options["dry_run"] and not all(pruned.complete for pruned in done.values()):
        lines += ["Time limit reached; run it again for the rest:", next_step("eventbridge_prune")]
    return Result(
        lines,
        {
            "dry_run": options["dry_run"],
            "destinations": {
                alias: {"rows": pruned.rows, "blanked": pruned.blanked, "complete": pruned.complete}
                for alias, pruned in done.items()
            },
        },
    )


def _aliases(options: dict[str, Any]) -> list[str]:
    """The named ones, which need not be configured; by default all configured and all abandoned ones."""
    named = arguments.aliases(options, stored=True)
    return [*named, *(() if options["destination"] else orphans.orphans(retention.FORSAKEN))]


def _prune(alias: str, seconds: float | None, options: dict[str, Any]) -> Pruned:
    try:
        return retention.prune(
            retention.rules(alias),
            older_than_days=options["delivered_older_than"],
            batch_size=options["batch_size"],
            max_seconds=seconds,
            dry_run=options["dry_run"],
            alone=True,
        )
    except ValueError as error:
        words = str(error).removeprefix("older_than_days: ")
        raise arguments.WrongUsage(f"--delivered-older-than: {words}") from error


def _line(alias: str, pruned: Pruned, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    line = f"{alias}: {counted(pruned.rows, 'event')} {would}removed"
    rules = retention.rules(alias)
    if rules.payload_retention_days is not None:
        line += (
            f", {counted(pruned.blanked, 'body') if pruned.blanked == 1 else f'{pruned.blanked:,} bodies'}"
        )
        line += f" {would}blanked"
    if rules.retention_days is None:
        line += " (RETENTION_DAYS is None: delivered events are kept)"
    return line

"""The django-q2 schedules in words: as they are, and what was changed."""

from __future__ import annotations

from typing import Any

from genesys_eventbridge import schedules
from genesys_eventbridge.formatting import span
from genesys_eventbridge.management.output import Result, next_step
from genesys_eventbridge.schedules import Change, ScheduleStatus


def show() -> Result:
    """Each schedule as it is; a missing, doubled or wrong one needs a person."""
    found = schedules.statuses()
    ill = [each for each in found if not each.well]
    lines = [f"{each.name:<20} {_words(each)}" for each in found]
    if ill:
        lines.append(next_step("eventbridge_schedules --apply"))
    return Result(lines, {"schedules": _data(found)}, needs_operator=bool(ill))


def change(options: dict[str, Any]) -> Result:
    """Install, reset or remove, and say what that did."""
    dry_run = options["dry_run"]
    if options["remove"]:
        changes = schedules.remove(dry_run=dry_run)
    else:
        changes = schedules.install(reset=options["reset"], dry_run=dry_run)
    lines = []
    for name, done in changes.done.items():
        note = f", {changes.notes[name]}" if name in changes.notes else ""
        lines.append(f"{name:<20} {', '.join(done)}{note}")
    if not changes.done:
        lines.append("No schedule of ours was there.")
    if changes.notes:
        lines.append("What you set was kept; --reset overwrites it.")
    if dry_run:
        lines.append("Nothing was changed (dry run).")
    elif not options["remove"] and set().union(*changes.done.values()) - {Change.KEPT}:
        lines.append("They run where a cluster runs:")
        lines.append(next_step("qcluster"))
    data = {
        "schedules": _data(schedules.statuses()),
        "changes": {name: [str(change) for change in done] for name, done in changes.done.items()},
        "dry_run": dry_run,
    }
    return Result(lines, data)


def _words(schedule: ScheduleStatus) -> str:
    if not schedule.installed:
        return "MISSING"
    words = [schedule.interval]
    if schedule.installed > 1:
        words.insert(0, f"DOUBLED ({schedule.installed} of that name)")
    if not schedule.right:
        words.insert(0, "WRONG (it runs something else)")
    if schedule.paused:
        words.append("paused")
    elif schedule.late > 120:
        words.append(f"should have run {span(schedule.late)} ago: does a cluster run?")
    return ", ".join(words)


def _data(found: list[ScheduleStatus]) -> dict[str, Any]:
    return {
        each.name: {
            "installed": each.installed,
            "well": each.well,
            "paused": each.paused,
            "interval": each.interval,
            "next_run": each.next_run,
            "late": round(each.late, 1),
        }
        for each in found
    }

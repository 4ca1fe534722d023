"""``eventbridge_retry``: act on each event as its state allows, send what is due, report the results."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from genesys_eventbridge.formatting import span
from genesys_eventbridge.management.arguments import WrongUsage, aliases
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.follow import FollowResult, follow
from genesys_eventbridge.management.output import Result, counted, next_step
from genesys_eventbridge.management.results import (
    act,
    carry_out,
    duplicate_lines,
    skipped_data,
    skipped_lines,
    type_lines,
    unfinished,
    unfinished_lines,
)
from genesys_eventbridge.management.selection import Selection, require_choice, select, undecided
from genesys_eventbridge.models import OutboxEvent, OutboxQuerySet
from genesys_eventbridge.operations import Done, Order, Resolution, Skip
from genesys_eventbridge.states import NEEDS_OPERATOR, Act, State


def retry(command: OutboxCommand, options: dict[str, Any]) -> Result:
    _check_flags(options)
    if options["move_to"]:
        return _move(command, options)
    picked = _picked(options)
    _require_reason(picked, options)
    dry_run = options["dry_run"]
    if not options["ids"] and picked.matched and set(picked.states) & set(NEEDS_OPERATOR):
        question = f"{_verb(picked, plain=True)} {counted(picked.matched, 'event')}{picked.words}?"
        command.confirm(question, options)
    done, made = carry_out(list(_orders(command, picked, options)), options)
    sends_now = not (dry_run or options["spread"] or options["no_publish"])
    result = follow(made, options) if sends_now and made else FollowResult()
    return Result(
        lines=[
            *_head(picked, done, options),
            *unfinished_lines(made),
            *_sent(done, result, options),
            *_rest(picked, options),
        ],
        data={
            "dry_run": dry_run,
            "matched": picked.total,
            "done": done.count,
            "may_duplicate": done.may_duplicate.count,
            "types": dict(picked.types),
            "skipped": skipped_data(done.skipped),
            "paused": [pause.skipped for pause in (*picked.paused, *result.paused)],
            "jobs": [job.pk for job in made],
            **result.data(),
        },
        needs_operator=not dry_run
        and (
            result.needs_operator
            or bool(picked.paused or unfinished(made))
            or not done.skipped.keys().isdisjoint({Skip.MAY_DUPLICATE, Skip.NOT_CONFIGURED})
        ),
    )


def _picked(options: dict[str, Any]) -> Selection:
    """The events named, or those in ``--state``; by default those that wait for a retry."""
    if not options["ids"] and not options["state"]:
        waiting = {**options, "state": [State.PENDING.value]}
        return select(waiting, OutboxEvent.objects.on_outbox().retrying(), skip_paused=True)
    if options["ids"]:
        return select(options, skip_paused=True)
    tried = OutboxEvent.objects.on_outbox().exclude(state=State.PENDING, attempts=0)
    return select(options, tried, skip_paused=True)


def _orders(
    command: OutboxCommand, picked: Selection, options: dict[str, Any]
) -> Iterator[tuple[Order, OutboxQuerySet]]:
    """Requeue dead ones, resolve unresolved ones as not delivered, and make the rest due now."""
    actor, because, about = command.actor(), options["because"] or "", picked.words.strip(" ()")
    spread = {"spread": options["spread"] or 0.0}
    again = {"outcome": Resolution.NOT_DELIVERED.value, "accept_duplicates": options["accept_duplicates"]}
    dead, unresolved = picked.of(State.DEAD), picked.of(State.UNRESOLVED)
    others = picked.rows.exclude(state__in=NEEDS_OPERATOR)
    if picked.states[State.DEAD]:
        yield Order(Act.REQUEUE, actor, because, spread, about), dead
    if picked.states[State.UNRESOLVED]:
        yield Order(Act.RESOLVE, actor, because, {**spread, **again}, about), unresolved
    if set(picked.states) - set(NEEDS_OPERATOR):
        yield Order(Act.RETRY, actor, because, spread, about), others


def _move(command: OutboxCommand, options: dict[str, Any]) -> Result:
    """Move events of a destination that is no longer configured to another one."""
    (to,) = aliases({"destination": [options["move_to"]]}, "--move-to: ")
    require_choice(options)
    picked = select(options, None if options["ids"] else undecided())
    how = {name: options[name] for name in ("same_organisation", "accept_duplicates")}
    order = Order(
        Act.MOVE, command.actor(), options["because"] or "", {"to": to, **how}, picked.words.strip(" ()")
    )
    return act(command, options, order, picked, verb=("Move", "Moved"), how=f" to {to}")


def _check_flags(options: dict[str, Any]) -> None:
    if options["move_to"]:
        if options["spread"]:
            raise WrongUsage("--move-to keeps the due times: remove --spread.")
        if not (options["because"] or options["dry_run"]):
            raise WrongUsage("--move-to needs --because TEXT; it is stored with each event.")
    elif options["same_organisation"]:
        raise WrongUsage("--same-organisation is for --move-to.")
    elif options["accept_duplicates"] and options["state"] and State.UNRESOLVED not in options["state"]:
        raise WrongUsage("--accept-duplicates is for --state unresolved: other events keep their key.")


def _require_reason(picked: Selection, options: dict[str, Any]) -> None:
    """What waits for a retry may be tried without a reason."""
    if options["because"] or options["dry_run"]:
        return
    asked = set(options["state"] or ()) | set(picked.states)
    if asked & set(NEEDS_OPERATOR) or options["accept_duplicates"]:
        raise WrongUsage(
            "--because TEXT is required for dead and unresolved events: why they are sent again, in a few "
            "words. It is stored with each event."
        )


def _head(picked: Selection, done: Done, options: dict[str, Any]) -> list[str]:
    if not picked.matched and not picked.paused:
        return [f"No event matches{picked.words}: nothing to retry.", *_others(options)]
    dry_run = options["dry_run"]
    of = f" of {picked.total:,}" if picked.total != done.count else ""
    lines = [f"{_verb(picked, dry_run=dry_run)} {counted(done.count, 'event')}{of}{picked.words}."]
    lines += type_lines(picked)
    lines += duplicate_lines(done.may_duplicate, dry_run=dry_run)
    lines += skipped_lines(done.skipped)
    if Skip.MAY_DUPLICATE in done.skipped:
        lines.append("  Look each one up, and say what happened to it:")
        lines.append(next_step("eventbridge_resolve ID --delivered|--not-delivered|--give-up --because TEXT"))
    for pause in picked.paused:
        lines += [f"  Skipped: {pause.events:,} ({pause.alias} is paused)", *pause.lines]
    return lines


def _others(options: dict[str, Any]) -> list[str]:
    """If nothing waits for a retry, events that need an operator may have been meant."""
    if options["state"] or options["ids"]:
        return []
    lines = []
    types = "".join(f" --type {shlex.quote(name)}" for name in options["type"] or ())
    states = select(options).states
    for state in NEEDS_OPERATOR:
        if count := states[state]:
            lines.append(f"{counted(count, 'such event')} {'is' if count == 1 else 'are'} {state}:")
            lines.append(next_step(f"eventbridge_retry --state {state}{types} --dry-run"))
    return lines


def _sent(done: Done, result: FollowResult, options: dict[str, Any]) -> list[str]:
    if options["dry_run"] or not done.count:
        return result.lines()
    if options["spread"]:
        return [f"They become due over the next {span(options['spread'])}; workers send them."]
    if options["no_publish"]:
        return ["They are due now; workers send them.", next_step("eventbridge_publish")]
    return result.lines()


def _rest(picked: Selection, options: dict[str, Any]) -> list[str]:
    """The notes on the limit and on bursts."""
    if picked.total > picked.matched:
        return [f"{picked.total - picked.matched:,} more match; without --limit all are taken."]
    if picked.matched > MANY and options["dry_run"] and not options["spread"]:
        return ["To avoid a burst add --spread 600."]
    return []


#: More events than this are a burst.
MANY = 1_000


def _verb(picked: Selection, *, plain: bool = False, dry_run: bool = False) -> str:
    requeues = picked.states and set(picked.states) <= set(NEEDS_OPERATOR)
    verb = "requeue" if requeues else "retry"
    if plain:
        return verb.capitalize()
    if dry_run:
        return f"Would {verb}"
    return "Requeued" if requeues else "Retried"

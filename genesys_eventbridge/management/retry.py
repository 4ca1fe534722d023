"""``eventbridge_retry``: act on each event as its state allows, send what is due, report the results."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any

from genesys_eventbridge import conf, operations
from genesys_eventbridge.formatting import span
from genesys_eventbridge.management.arguments import WrongUsage, aliases
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.follow import FollowResult, due_among, follow
from genesys_eventbridge.management.output import Result, counted, listed, next_step
from genesys_eventbridge.management.results import act, duplicate_lines, skipped_data, skipped_lines
from genesys_eventbridge.management.selection import Selection, rows, select
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Done, Resolution, Skip
from genesys_eventbridge.states import NEEDS_OPERATOR, State

#: Stored with unresolved events if the operator gave no reason.
BECAUSE = "sent again by eventbridge_retry"


def retry(command: OutboxCommand, options: dict[str, Any]) -> Result:
    _check_flags(options)
    if options["move_to"]:
        return _move(command, options)
    picked = select(options)
    dry_run = options["dry_run"]
    question = f"{_verb(options, plain=True)} {counted(len(picked.ids), 'event')}{picked.words}?"
    asks = picked.of(State.DEAD, State.UNRESOLVED) and not options["ids"]
    if asks:
        command.confirm(question, options)
    done = _act(command, picked, options)
    due_now = [] if dry_run or options["spread"] or options["no_publish"] else _due_now(picked, done)
    result = follow(due_now, options) if due_now else FollowResult()
    return Result(
        lines=[*_head(picked, done, options), *_sent(done, result, options), *_rest(picked, options)],
        data={
            "dry_run": dry_run,
            "matched": picked.matched,
            "done": done.count,
            "may_duplicate": done.may_duplicate.count,
            "types": dict(picked.types),
            "skipped": skipped_data(done.skipped),
            "paused": [pause.skipped for pause in (*picked.paused, *result.paused)],
            **result.data(),
        },
        needs_operator=not dry_run
        and (result.needs_operator or bool(picked.paused) or _unresolved_left(picked, done)),
    )


def _move(command: OutboxCommand, options: dict[str, Any]) -> Result:
    """Move events of a destination that is no longer configured to another one."""
    (to,) = aliases({"destination": [options["move_to"]]}, "--move-to: ")
    operation = partial(
        operations.move,
        to=to,
        reason=options["because"] or "",
        same_organisation=options["same_organisation"],
        accept_duplicates=options["accept_duplicates"],
    )
    return act(command, options, operation, verb=("Move", "Moved"), how=f" to {to}")


def _check_flags(options: dict[str, Any]) -> None:
    if options["move_to"]:
        filters = ("state", "type", "reason", "since", "until", "spread")
        if given := [f"--{name}" for name in filters if options[name]]:
            raise WrongUsage(f"--move-to takes events or --destination, not {', '.join(given)}.")
        if not (options["because"] or options["dry_run"]):
            raise WrongUsage("--move-to needs --because TEXT; it is stored with each event.")
    elif options["same_organisation"]:
        raise WrongUsage("--same-organisation is for --move-to.")
    if options["accept_duplicates"] and not options["because"]:
        raise WrongUsage(
            "--accept-duplicates needs --because TEXT: why it is right; it is stored with each event."
        )
    if options["accept_duplicates"] and options["state"] not in (None, State.UNRESOLVED):
        raise WrongUsage("--accept-duplicates is for --state unresolved: other events keep their key.")


def _act(command: OutboxCommand, picked: Selection, options: dict[str, Any]) -> Done:
    """Requeue dead ones, resolve unresolved ones as not delivered, and make the rest due now."""
    actor, because, dry_run = command.actor(), options["because"] or "", options["dry_run"]
    how: dict[str, Any] = {"spread": options["spread"] or 0.0, "dry_run": dry_run}
    dead, unresolved = picked.of(State.DEAD), picked.of(State.UNRESOLVED)
    others = [pk for pk in picked.ids if pk not in {*dead, *unresolved}]
    done = operations.requeue(dead, actor, reason=because, **how)
    resolved = operations.resolve(
        unresolved,
        actor,
        Resolution.NOT_DELIVERED,
        because or BECAUSE,
        accept_duplicates=options["accept_duplicates"],
        **how,
    )
    done.merge(resolved)
    done.merge(operations.retry_now(others, actor, reason=because, **how))
    return done


def _due_now(picked: Selection, done: Done) -> list[int]:
    """The events acted on, and those that wait to be sent anyway; not those skipped for a good reason."""
    skipped = {pk for some in done.skipped.values() for pk in some.ids}
    due = due_among(sorted(skipped & set(picked.of(State.PENDING))))
    served = OutboxEvent.objects.on_outbox().filter(id__in=due, destination__in=conf.aliases())
    return sorted({*done.ids, *served.values_list("id", flat=True)})


def _head(picked: Selection, done: Done, options: dict[str, Any]) -> list[str]:
    if not picked.matched and not picked.paused:
        return [f"No event matches{picked.words}: nothing to retry.", *_others(options)]
    dry_run = options["dry_run"]
    count = counted(done.count, "event")
    of = f" of {picked.matched:,}" if picked.matched != done.count else ""
    lines = [f"{_verb(options)} {count}{of}{picked.words}."]
    if picked.types:
        whole = f"all {picked.matched:,}: " if picked.matched > len(picked.ids) else ""
        lines.append(f"  {whole}{listed(picked.types)}")
    lines += duplicate_lines(done.may_duplicate, dry_run=dry_run)
    lines += skipped_lines(done.skipped)
    if Skip.MAY_DUPLICATE in done.skipped:
        lines.append("  Look each one up, and say what happened to it:")
        lines.append(next_step("eventbridge_resolve ID --delivered|--not-delivered|--give-up --reason TEXT"))
    for pause in picked.paused:
        lines += [f"  Skipped: {pause.events:,} ({pause.alias} is paused)", *pause.lines]
    return lines


def _others(options: dict[str, Any]) -> list[str]:
    """If nothing waits for a retry, events that need an operator may have been meant."""
    if options["state"] or options["ids"]:
        return []
    lines = []
    types = "".join(f" --type {shlex.quote(name)}" for name in options["type"] or ())
    for state in NEEDS_OPERATOR:
        if count := rows(options).filter(state=state).count():
            lines.append(f"{counted(count, 'such event')} {'is' if count == 1 else 'are'} {state}:")
            lines.append(next_step(f"eventbridge_retry --state {state}{types} --dry-run"))
    return lines


def _sent(done: Done, result: FollowResult, options: dict[str, Any]) -> list[str]:
    if options["dry_run"] or not done.ids:
        return result.lines()
    if options["spread"]:
        return [f"They become due over the next {span(options['spread'])}; workers send them."]
    if options["no_publish"]:
        return ["They are due now; workers send them.", next_step("eventbridge_publish")]
    return result.lines()


def _rest(picked: Selection, options: dict[str, Any]) -> list[str]:
    """The notes on the limit and on bursts."""
    lines = []
    if picked.matched > len(picked.ids):
        lines.append(f"Limit is {options['limit']:,} per run; add --limit {picked.matched}.")
        if not options["spread"]:
            lines[-1] += " To avoid a burst add --spread 600."
    return lines


def _verb(options: dict[str, Any], *, plain: bool = False) -> str:
    verb = "requeue" if options["state"] in (State.DEAD, State.UNRESOLVED) else "retry"
    if plain:
        return verb.capitalize()
    if options["dry_run"]:
        return f"Would {verb}"
    return "Requeued" if verb == "requeue" else "Retried"


def _unresolved_left(picked: Selection, done: Done) -> bool:
    return not set(picked.of(State.UNRESOLVED)) <= set(done.ids)

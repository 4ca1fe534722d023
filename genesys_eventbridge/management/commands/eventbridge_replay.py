"""`manage.py eventbridge_replay`: sends events of a time range again, as new events.

JSON: ``dry_run``, ``count`` (events that were replayed, so duplicates), ``done`` (the first 1,000 ids),
``types`` (matching events by type), ``seconds`` (from the first new event to the last), ``skipped`` (a list
of ``reason``, ``count``, ``ids``), ``jobs`` (ids) and ``needs_person``. With ``--stop``: ``count`` (new
events that were cancelled), ``skipped`` and ``jobs``.
"""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from genesys_eventbridge.formatting import span
from genesys_eventbridge.management import arguments, results, selection
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted, next_step
from genesys_eventbridge.models import Job, outbox_alias
from genesys_eventbridge.operations import Order, jobs
from genesys_eventbridge.states import Act


class Command(OutboxCommand):
    help = (
        "Sends events again that were accepted in a time range, as new events with their own ids and keys. "
        "Consumers get each of them a second time."
    )
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        selection.add_filters(parser, states=["accepted", "delivered"], times="accepted")
        add(
            "--rate",
            type=arguments.rate,
            metavar="N",
            help="at most N new events per minute",
        )
        add(
            "--spread",
            type=arguments.wait,
            metavar="S",
            help="spread the new events over S seconds, to avoid a burst",
        )
        add(
            "--stop",
            type=arguments.count,
            metavar="JOB",
            help="stop this replay, also a finished one: its new events that were never sent are cancelled",
        )
        arguments.add_because(parser)

    def work(self, options: dict[str, Any]) -> Result:
        if options["stop"]:
            return self._stop(options)
        arguments.require_because(options)
        chosen = {**options, "ids": []}
        selection.require_choice(chosen)
        picked = selection.select(chosen, times="accepted")
        events = f"{counted(picked.matched, 'event')}{picked.words}"
        self.confirm(f"Replay {events}? Consumers get each of them a second time.", options)
        how = {"rate": options["rate"] or 0.0, "spread": options["spread"] or 0.0}
        order = Order(Act.REPLAY, self.actor(), options["because"] or "", how, picked.words.strip(" ()"))
        done, made = results.carry_out([(order, picked.rows)], options)
        at_rate = 60.0 * done.count / options["rate"] if options["rate"] else 0.0
        seconds = max(options["spread"] or 0.0, at_rate)
        dry_run = options["dry_run"]
        of = f" of {picked.matched:,}" if picked.matched != done.count else ""
        lines = [
            f"{'Would replay' if dry_run else 'Replayed'} {counted(done.count, 'event')}{of}{picked.words}.",
            *results.type_lines(picked),
        ]
        if done.count:
            get = "would get" if dry_run else "get"
            lines.append(f"  Consumers {get} each of them a second time: {counted(done.count, 'duplicate')}.")
        lines += [*results.skipped_lines(done.skipped), *results.unfinished_lines(made)]
        lines += _due(done.count, seconds, dry_run=dry_run)
        if not dry_run and done.count:
            lines.append("To stop it, and cancel those that were not sent yet:")
            lines.append(next_step(f"eventbridge_replay --stop {made[0].pk} --because TEXT"))
        data = {
            "dry_run": dry_run,
            "count": done.count,
            "done": done.ids,
            "types": dict(picked.types),
            "seconds": seconds,
            "skipped": results.skipped_data(done.skipped),
            "jobs": [job.pk for job in made],
        }
        needs_operator = not dry_run and bool(done.skipped or results.unfinished(made))
        return Result(lines, data, needs_operator=needs_operator)

    def _stop(self, options: dict[str, Any]) -> Result:
        if options["dry_run"]:
            raise WrongUsage("--stop has no dry run.")
        arguments.require_because(options)
        actor = self.actor()
        job = Job.objects.using(outbox_alias()).filter(pk=options["stop"], act__in=jobs.COPYING).first()
        if job is None:
            raise CommandError(f"--stop: there is no replay {options['stop']}.")
        if not jobs.cancel(job.pk, actor, options["because"]):
            raise CommandError(f"--stop: replay {job.pk} was stopped before, or it made no events.")
        made = jobs.withdrawal(job)
        claimed = None if made is None else jobs.claim(made.pk)
        if claimed is None:
            return Result([f"Stopped replay {job.pk}."], {"count": 0, "skipped": [], "jobs": [job.pk]})
        done = results.work_off([(claimed, actor)], options)
        lines = [
            f"Stopped replay {job.pk}: {counted(done.count, 'new event')} cancelled.",
            *results.skipped_lines(done.skipped),
            *results.unfinished_lines([claimed]),
        ]
        data = {
            "count": done.count,
            "skipped": results.skipped_data(done.skipped),
            "jobs": [job.pk, claimed.pk],
        }
        return Result(lines, data, needs_operator=bool(results.unfinished([claimed])))


def _due(count: int, seconds: float, *, dry_run: bool) -> list[str]:
    if not count:
        return []
    if seconds:
        return [f"They become due over {span(seconds)}; workers send them."]
    if dry_run:
        return ["To avoid a burst add --rate or --spread."] if count > MANY else []
    return ["They are due now; workers send them.", next_step("eventbridge_publish")]


#: More events than this are a burst.
MANY = 1_000

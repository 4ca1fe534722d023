"""`manage.py eventbridge_resend`: sends delivered events once more as new, or a dead one with corrected data.

JSON: ``dry_run``, ``count``, ``done`` (ids), ``new`` (a list of ``id`` and ``new``, the number of the new
event), ``skipped`` (a list of ``reason``, ``count``, ``ids``), ``jobs`` (ids) and ``needs_person``. With
``--data`` also ``changes``, a list of ``path``, ``before`` and ``after``, in which values of names in
REDACT_KEYS are masked.
"""

from typing import Any

from django.core.management.base import CommandParser
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge import conf
from genesys_eventbridge.management import arguments, results
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted, next_step
from genesys_eventbridge.management.payload import payload
from genesys_eventbridge.models import JobItem, OutboxEvent, outbox_alias
from genesys_eventbridge.operations import CannotCorrect, Order, correct, corrections
from genesys_eventbridge.reporting.payloads import redact_keys
from genesys_eventbridge.states import Act
from genesys_eventbridge.text import REDACTED
from genesys_eventbridge.text.differences import ABSENT, Difference, HiddenValue, restored, words


class Command(OutboxCommand):
    help = (
        "Sends delivered events once more, as new events that name their origin. With --data, sends a dead "
        "event with corrected data and cancels the old one."
    )
    takes_destination = False
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="+", metavar="ID", help="number, event id, idempotency key, or the platform's id")
        add(
            "--data",
            metavar="JSON|@file|-",
            help="the corrected data of one dead event: JSON, @file, or - for standard input",
        )
        arguments.add_because(parser)

    def work(self, options: dict[str, Any]) -> Result:
        arguments.require_because(options)
        numbers = arguments.event_numbers(options["ids"])
        if options["data"] is not None:
            if len(numbers) > 1:
                raise WrongUsage("--data corrects one event: name only that one.")
            return self._correct(numbers[0], options)
        self.confirm(f"Resend {counted(len(numbers), 'event')} as new?", options)
        order = Order(Act.RESEND, self.actor(), options["because"] or "", about=_named(numbers))
        rows = OutboxEvent.objects.on_outbox().filter(pk__in=numbers)
        done, made = results.carry_out([(order, rows)], options)
        items = JobItem.objects.using(outbox_alias()).filter(job__in=made, new_number__isnull=False)
        new = list(items.order_by("event_number").values_list("event_number", "new_number")[: results.NAMED])
        did = "Would resend" if options["dry_run"] else "Resent"
        lines = [f"{did} {counted(done.count, 'event')} as new."]
        lines += [f"  {origin} is sent again as {pk}" for origin, pk in new]
        lines += [*results.skipped_lines(done.skipped), *results.unfinished_lines(made)]
        data = {
            "dry_run": options["dry_run"],
            "count": done.count,
            "done": done.ids,
            "new": [{"id": origin, "new": pk} for origin, pk in new],
            "skipped": results.skipped_data(done.skipped),
            "jobs": [job.pk for job in made],
        }
        needs_operator = not options["dry_run"] and bool(done.skipped or results.unfinished(made))
        return Result(lines, data, needs_operator=needs_operator)

    def _correct(self, number: int, options: dict[str, Any]) -> Result:
        origin = OutboxEvent.objects.on_outbox().get(pk=number)
        data = _given(options["data"], origin)
        changes = corrections.changed(origin, data)
        lines = [*(f"  {words(change)}" for change in changes), *_behind(origin)]
        made: list[OutboxEvent] = []
        if options["dry_run"]:
            lines = [f"Would send event {number} with corrected data, and cancel the old one.", *lines]
        else:
            question = "\n".join([*lines, f"Send event {number} like this, and cancel the old one?"])
            self.confirm(question, options)
            made = [correct(number, data, self.actor(), options["because"])]
            lines = [
                f"Sent event {number} with corrected data as {made[0].pk}; the old one is cancelled.",
                *lines,
            ]
            lines.append(next_step(f"eventbridge_show {made[0].pk}"))
        return Result(
            lines,
            {
                "dry_run": options["dry_run"],
                "count": 1,
                "done": [number],
                "new": [{"id": number, "new": event.pk} for event in made],
                "changes": [_as_data(change) for change in changes],
                "skipped": [],
                "jobs": [],
            },
        )


@sensitive_variables()
def _given(text: str, origin: OutboxEvent) -> Any:
    """The data of ``--data``, with the hidden values of the event back in their places, as in the admin."""
    if (skip := corrections.why_not(origin)) is not None:
        raise CannotCorrect(skip.label)
    given = payload(text, conf.destination(origin.destination).max_event_bytes)
    try:
        return restored(given, origin.data, redact_keys(origin.destination))
    except HiddenValue as error:
        raise WrongUsage(
            f"--data: {error.path}: it is not clear which hidden value {REDACTED} stands for; "
            "write the value."
        ) from None


def _behind(origin: OutboxEvent) -> list[str]:
    if not origin.ordering_key:
        return []
    count = corrections.behind(origin)
    return [f"  It goes to the end of its ordering key, behind {counted(count, 'event')}."]


def _as_data(change: Difference) -> dict[str, Any]:
    values = {"before": change.before, "after": change.after}
    return {"path": change.path, **{name: value for name, value in values.items() if value is not ABSENT}}


def _named(numbers: list[int]) -> str:
    named = ", ".join(f"#{pk}" for pk in numbers[: results.NAMED])
    more = len(numbers) - results.NAMED
    return f"{named} and {more:,} more" if more > 0 else named

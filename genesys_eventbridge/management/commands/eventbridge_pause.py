"""`manage.py eventbridge_pause`: pauses a destination. Events are still stored; none expires because of it.

JSON: ``destination``, ``paused``, ``seconds`` (null: until resumed), ``events`` (that are due now).
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import operations
from genesys_eventbridge.formatting import span
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted, next_step
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.states import State


class Command(OutboxCommand):
    help = "Stops sending and status checks at one destination, on every host, until resumed."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("alias", metavar="ALIAS", help="the destination's alias in GENESYS_EVENTBRIDGE")
        add(
            "--for",
            dest="seconds",
            type=arguments.wait,
            metavar="S",
            help="pause for S seconds (default: until resumed)",
        )
        add(
            "--because",
            type=arguments.reason,
            metavar="TEXT",
            required=True,
            help="the reason, in a few words; shown wherever the pause is reported",
        )

    def work(self, options: dict[str, Any]) -> Result:
        (alias,) = arguments.aliases({"destination": [options["alias"]]}, flag="", stored=True)
        seconds = options["seconds"]
        operations.pause(alias, self.actor(), options["because"], seconds)
        waiting = due_events(alias, State.PENDING).count()
        until = f"for {span(seconds)}" if seconds else "until resumed"
        due = f"due now: {counted(waiting, 'event')}"
        lines = [
            f"{alias} is paused {until}. Events in flight are finished; {due}.",
            next_step(f"eventbridge_resume {alias}"),
        ]
        return Result(lines, {"destination": alias, "paused": True, "seconds": seconds, "events": waiting})

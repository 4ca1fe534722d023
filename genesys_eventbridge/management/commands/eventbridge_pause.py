"""`manage.py eventbridge_pause`: holds a destination; events are stored meanwhile, and none expires by it.

JSON: ``destination``, ``paused``, ``seconds`` (null: until resumed), ``events`` (that wait by now).
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
    help = "Sends and asks nothing at one destination until resumed, on every host."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("alias", metavar="ALIAS", help="the destination, as GENESYS_EVENTBRIDGE names it")
        add("--for", dest="seconds", type=arguments.wait, metavar="S", help="seconds (until resumed)")
        why = "why, in a few words; shown wherever somebody asks why nothing is sent"
        add("--reason", type=arguments.reason, metavar="R", required=True, help=why)

    def work(self, options: dict[str, Any]) -> Result:
        (alias,) = arguments.aliases({"destination": [options["alias"]]}, flag="", stored=True)
        seconds = options["seconds"]
        operations.pause(alias, self.actor(), options["reason"], seconds)
        waiting = due_events(alias, State.PENDING).count()
        until = f"for {span(seconds)}" if seconds else "until resumed"
        due = f"due by now: {counted(waiting, 'event')}"
        lines = [
            f"{alias} is paused {until}. What is in flight is finished; {due}.",
            next_step(f"eventbridge_resume {alias}"),
        ]
        return Result(lines, {"destination": alias, "paused": True, "seconds": seconds, "events": waiting})

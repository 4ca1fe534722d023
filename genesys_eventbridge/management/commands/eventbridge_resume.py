"""`manage.py eventbridge_resume`: ends a person's pause, and lets the next pass try after trouble at once.

JSON: ``destination``, ``resumed`` (whether anything was paused).
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import operations
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, next_step


class Command(OutboxCommand):
    help = "Lets a paused destination go on; after trouble one event goes first, to see whether it is over."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        parser.add_argument("alias", metavar="ALIAS", help="the destination, as GENESYS_EVENTBRIDGE names it")

    def work(self, options: dict[str, Any]) -> Result:
        (alias,) = arguments.aliases({"destination": [options["alias"]]}, flag="", stored=True)
        resumed = operations.resume(alias, self.actor(), also_trouble=True)
        lines = [f"{alias} goes on." if resumed else f"{alias} was not paused."]
        if resumed:
            lines.append(next_step(f"eventbridge_publish --destination {alias}"))
        return Result(lines, {"destination": alias, "resumed": resumed})

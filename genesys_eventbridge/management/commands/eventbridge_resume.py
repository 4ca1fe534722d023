"""`manage.py eventbridge_resume`: ends an operator's pause, and lets the next pass try at once after errors.

JSON: ``destination``, ``resumed`` (whether anything was paused).
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import conf, operations
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, next_step


class Command(OutboxCommand):
    help = "Resumes a paused destination. After errors, one event is sent first as a probe."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        parser.add_argument("alias", metavar="ALIAS", help="the destination's alias in GENESYS_EVENTBRIDGE")

    def work(self, options: dict[str, Any]) -> Result:
        (alias,) = arguments.aliases({"destination": [options["alias"]]}, flag="", stored=True)
        resumed = operations.resume(alias, self.actor(), also_trouble=True)
        lines = [f"{alias} is resumed." if resumed else f"{alias} was not paused."]
        if resumed and alias in conf.aliases():
            lines.append(next_step(f"eventbridge_publish --destination {alias}"))
        return Result(lines, {"destination": alias, "resumed": resumed})

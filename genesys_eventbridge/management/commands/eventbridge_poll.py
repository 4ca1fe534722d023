"""`manage.py eventbridge_poll`: checks the status of accepted events.

JSON: as in eventbridge_publish; ``accepted`` events are to be checked again.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments
from genesys_eventbridge.management import work as working
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.states import AttemptKind


class Command(OutboxCommand):
    help = "Checks the status of accepted events that are due for a check, until none is left."

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--limit", type=arguments.count, metavar="N", help="check at most N events per destination")
        add(
            "--older-than",
            type=arguments.seconds_or_zero,
            metavar="S",
            help="check events accepted more than S seconds ago now, due or not",
        )

    def sends(self, options: dict[str, Any]) -> bool:
        return True

    def work(self, options: dict[str, Any]) -> Result:
        if options["older_than"] is not None:
            working.check_older_now(self, options)
        return working.drain(AttemptKind.CHECK, options)

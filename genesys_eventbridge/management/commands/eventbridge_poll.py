"""`manage.py eventbridge_poll`: asks the platform how far the accepted events are.

JSON: as of eventbridge_publish; ``accepted`` are those to be asked about again.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments
from genesys_eventbridge.management import work as working
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.states import AttemptKind


class Command(OutboxCommand):
    help = "Asks the platform about accepted events whose next check is due, until none is."

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--limit", type=arguments.count, metavar="N", help="ask about at most N events a destination")
        older = "ask now about those accepted more than S seconds ago, due or not"
        add("--older-than", type=arguments.seconds_or_zero, metavar="S", help=older)

    def sends(self, options: dict[str, Any]) -> bool:
        return True

    def work(self, options: dict[str, Any]) -> Result:
        if options["older_than"] is not None:
            working.check_older_now(self, options)
        return working.drain(AttemptKind.CHECK, options)

"""`manage.py eventbridge_prune`: removes old delivered and cancelled events now, in committed batches.

JSON: ``dry_run``; ``destinations``, by alias: ``rows`` (removed), ``blanked`` (bodies), ``complete``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, prune
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Removes events that were delivered or cancelled long ago, and blanks bodies. All others are kept."
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add(
            "--delivered-older-than",
            type=arguments.days,
            metavar="D",
            help="remove events that ended more than D days ago, instead of RETENTION_DAYS; at least as long "
            "as the platform remembers keys",
        )
        add(
            "--batch-size",
            type=arguments.count,
            metavar="N",
            default=1000,
            help="events per commit (default: 1000)",
        )
        add(
            "--max-seconds", type=arguments.seconds, metavar="S", help="stop after S seconds, between batches"
        )

    def work(self, options: dict[str, Any]) -> Result:
        if options["delivered_older_than"] is not None:
            self.confirm("Remove old events? This cannot be undone.", options)
        return prune.prune(options)

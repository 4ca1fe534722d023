"""`manage.py eventbridge_prune`: retention now: old delivered and cancelled events go, in committed batches.

JSON: ``dry_run``; ``destinations``, by alias: ``rows`` (removed), ``blanked`` (bodies), ``complete``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, prune
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Removes events that were delivered or cancelled long ago, and blanks bodies; no others."
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        days = "instead of RETENTION_DAYS; at least the platform's memory of keys"
        add("--delivered-older-than", type=arguments.days, metavar="D", help=days)
        add("--batch-size", type=arguments.count, metavar="N", default=1000, help="events in a commit (1000)")
        add("--max-seconds", type=arguments.seconds, metavar="S", help="end after S seconds, between batches")

    def work(self, options: dict[str, Any]) -> Result:
        question = "Remove old events? They cannot be brought back."
        asked = options["delivered_older_than"] is not None and not options["dry_run"]
        if asked and not self.confirmed(question, options):
            return Result(["Nothing was changed."], {"dry_run": False, "destinations": {}})
        return prune.prune(options)

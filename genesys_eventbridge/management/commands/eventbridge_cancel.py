"""`manage.py eventbridge_cancel`: withdraws events permanently, like the action in the admin.

JSON: ``dry_run``, ``done`` (the ids), ``may_duplicate`` (empty), ``skipped`` (a list of ``reason``,
``count``, ``ids``), ``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import operations
from genesys_eventbridge.management import arguments, results, selection
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted


class Command(OutboxCommand):
    help = "Withdraws events that are waiting, dead or unresolved. They are not sent afterwards."
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="*", metavar="ID", help="number, event id, idempotency key, or the platform's id")
        why = "the reason, in a few words; stored with each event"
        add("--reason", type=arguments.reason, metavar="R", required=True, help=why)

    def work(self, options: dict[str, Any]) -> Result:
        ids = selection.undecided(options)
        dry_run = options["dry_run"]
        if not dry_run and not self.confirmed(f"Cancel {counted(len(ids), 'event')} permanently?", options):
            return results.unchanged()
        done = operations.cancel(ids, self.actor(), options["reason"], dry_run=dry_run)
        return results.result("Would cancel" if dry_run else "Cancelled", done, dry_run=dry_run)

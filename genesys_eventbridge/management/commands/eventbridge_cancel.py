"""`manage.py eventbridge_cancel`: withdraws events permanently, like the action in the admin.

JSON: ``dry_run``, ``done`` (the ids), ``may_duplicate`` (empty), ``skipped`` (a list of ``reason``,
``count``, ``ids``), ``needs_person``.
"""

from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import operations
from genesys_eventbridge.management import arguments, results
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Withdraws events that are waiting, dead or unresolved. They are not sent afterwards."
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="*", metavar="ID", help="number, event id, idempotency key, or the platform's id")
        add(
            "--reason",
            type=arguments.reason,
            metavar="R",
            required=True,
            help="the reason, in a few words; stored with each event",
        )

    def work(self, options: dict[str, Any]) -> Result:
        operation = partial(operations.cancel, reason=options["reason"])
        verb = ("Cancel", "Cancelled")
        return results.act(self, options, operation, verb=verb, question=" permanently?")

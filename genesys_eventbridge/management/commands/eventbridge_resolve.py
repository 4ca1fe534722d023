"""`manage.py eventbridge_resolve`: records what became of unresolved events.

JSON: ``dry_run``, ``done`` (the ids), ``may_duplicate`` (those with a new key), ``skipped`` (a list of
``reason``, ``count``, ``ids``), ``needs_person``.
"""

from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import operations
from genesys_eventbridge.management import arguments, results
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.operations import Resolution

VERBS = {
    Resolution.DELIVERED: "delivered",
    Resolution.NOT_DELIVERED: "not delivered, to be sent again",
    Resolution.GIVE_UP: "given up",
}


class Command(OutboxCommand):
    help = "Resolves events of unknown outcome. Look up each one on the platform first."
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="*", metavar="ID", help="number, event id, idempotency key, or the platform's id")
        outcome = parser.add_mutually_exclusive_group(required=True)
        again = (
            "it did not arrive: send it again. Past its window it gets a new key and may be delivered twice"
        )
        for flag, help_text in (
            (Resolution.DELIVERED, "it arrived"),
            (Resolution.NOT_DELIVERED, again),
            (Resolution.GIVE_UP, "give up: it becomes dead"),
        ):
            name = f"--{flag.replace('_', '-')}"
            outcome.add_argument(name, dest="outcome", action="store_const", const=flag, help=help_text)
        add(
            "--reason",
            type=arguments.reason,
            metavar="R",
            required=True,
            help="the reason, in a few words; stored with each event",
        )

    def work(self, options: dict[str, Any]) -> Result:
        outcome = options["outcome"]
        twice = " It may be delivered twice, if it did arrive." if outcome is Resolution.NOT_DELIVERED else ""
        operation = partial(
            operations.resolve,
            outcome=outcome,
            reason=options["reason"],
            accept_duplicates=True,  # implied by the chosen outcome
        )
        how = f" as {VERBS[outcome]}"
        return results.act(
            self, options, operation, verb=("Resolve", "Resolved"), how=how, question=f"{how}?{twice}"
        )

"""`manage.py eventbridge_resolve`: records what became of unresolved events.

JSON: ``dry_run``, ``count``, ``done`` (the first 1,000 ids), ``may_duplicate`` (those with a new key),
``skipped`` (a list of ``reason``, ``count``, ``ids``), ``jobs`` (ids), ``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, results
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.management.selection import add_filters, require_choice, select, undecided
from genesys_eventbridge.operations import Order, Resolution, Skip
from genesys_eventbridge.states import Act

VERBS = {
    Resolution.DELIVERED: "delivered",
    Resolution.NOT_DELIVERED: "not delivered, to be sent again",
    Resolution.GIVE_UP: "given up",
}

#: Why an event is skipped that is what the outcome would make of it.
ALREADY = {
    Resolution.DELIVERED: Skip.DELIVERED,
    Resolution.NOT_DELIVERED: Skip.PENDING,
    Resolution.GIVE_UP: Skip.DEAD,
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
        add_filters(parser, states=["pending", "accepted", "unresolved"])
        arguments.add_because(parser)

    def work(self, options: dict[str, Any]) -> Result:
        arguments.require_because(options)
        require_choice(options)
        picked = select(options, None if options["ids"] else undecided())
        outcome = options["outcome"]
        twice = " It may be delivered twice, if it did arrive." if outcome is Resolution.NOT_DELIVERED else ""
        order = Order(
            Act.RESOLVE,
            self.actor(),
            options["because"] or "",
            {"outcome": outcome.value, "accept_duplicates": True},  # implied by the chosen outcome
            picked.words.strip(" ()"),
        )
        how = f" as {VERBS[outcome]}"
        return results.act(
            self,
            options,
            order,
            picked,
            verb=("Resolve", "Resolved"),
            how=how,
            question=f"{how}?{twice}",
            already=ALREADY[outcome],
        )

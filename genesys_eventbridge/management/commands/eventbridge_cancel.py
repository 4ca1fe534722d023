"""`manage.py eventbridge_cancel`: withdraws events permanently, like the action in the admin.

JSON: ``dry_run``, ``count``, ``done`` (the first 1,000 ids), ``may_be_known`` (how many of the chosen ones
the platform may have accepted before), ``may_duplicate`` (empty), ``skipped`` (a list of ``reason``,
``count``, ``ids``), ``jobs`` (ids), ``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, results
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted
from genesys_eventbridge.management.selection import add_filters, require_choice, select, undecided
from genesys_eventbridge.models import MAY_BE_KNOWN, not_in_flight
from genesys_eventbridge.operations import Order, Skip
from genesys_eventbridge.states import Act, State

WITHDRAWN = (State.PENDING, State.DEAD, State.UNRESOLVED)


class Command(OutboxCommand):
    help = "Withdraws events that are waiting, dead or unresolved. They are not sent afterwards."
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="*", metavar="ID", help="number, event id, idempotency key, or the platform's id")
        add_filters(parser, states=["pending", "accepted", "dead", "unresolved"])
        arguments.add_because(parser)

    def work(self, options: dict[str, Any]) -> Result:
        arguments.require_because(options)
        require_choice(options)
        picked = select(options, None if options["ids"] else undecided())
        order = Order(Act.CANCEL, self.actor(), options["because"] or "", about=picked.words.strip(" ()"))
        known = picked.rows.filter(MAY_BE_KNOWN, not_in_flight(), state__in=WITHDRAWN).count()
        result = results.act(
            self,
            options,
            order,
            picked,
            verb=("Cancel", "Cancelled"),
            question=" permanently?",
            already=Skip.CANCELLED,
        )
        if known:
            events = counted(known, "event")
            result.lines.insert(
                1, f"  {events} may have been accepted before; the platform keeps what it has."
            )
        result.data["may_be_known"] = known
        return result

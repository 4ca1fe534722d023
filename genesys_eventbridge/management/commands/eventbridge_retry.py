"""`manage.py eventbridge_retry`: retries failed events now; safe to run twice at once.

JSON: ``dry_run``, ``matched``, ``done``, ``may_duplicate``, ``types`` (events by type), ``skipped`` (a list
of ``reason``, ``count``, ``ids``), ``paused`` (``destination``, ``events``, ``seconds``, ``reason``),
``jobs`` (ids), ``results`` (those that were due, by their state now), ``errors`` (``state``, ``error``,
``count``) and ``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, retry
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.management.selection import add_filters


class Command(OutboxCommand):
    help = (
        "Without arguments, retries the events that wait for a retry now. With --state dead, requeues dead "
        "events with a fresh attempt budget. Then publishes them and reports the results."
    )
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="*", metavar="ID", help="only these: number, event id, key, or the platform's id")
        add_filters(parser, states=["pending", "dead", "unresolved"])
        add("--limit", type=arguments.count, metavar="N", help="at most N events, the oldest first")
        add(
            "--spread",
            type=arguments.wait,
            metavar="S",
            help="spread the due times over S seconds, to avoid a burst",
        )
        add(
            "--whole-key",
            action="store_true",
            help="also the later dead events of the same ordering keys, in their order",
        )
        add("--no-publish", action="store_true", help="leave the sending to the workers")
        add(
            "--accept-duplicates",
            action="store_true",
            help="also unresolved events whose key may have expired: they may be delivered twice",
        )
        add(
            "--move-to",
            metavar="ALIAS",
            help="move events of a destination that is no longer configured to this one; sends nothing",
        )
        add(
            "--same-organisation",
            action="store_true",
            help="with --move-to: same organisation under another name, so keys and ids stay valid",
        )
        add(
            "--because",
            type=arguments.reason,
            metavar="TEXT",
            help="the reason, in a few words; required for dead and unresolved events, stored with each",
        )

    def sends(self, options: dict[str, Any]) -> bool:
        return not options["move_to"] and not options["no_publish"] and not options["dry_run"]

    def work(self, options: dict[str, Any]) -> Result:
        return retry.retry(self, options)

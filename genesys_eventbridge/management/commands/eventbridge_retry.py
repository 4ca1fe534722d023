"""`manage.py eventbridge_retry`: events that failed are tried again, now; safe to run twice at once.

JSON: ``dry_run``, ``matched``, ``done``, ``may_duplicate``, ``types`` (events by type), ``skipped`` (a list
of ``reason``, ``count``, ``ids``), ``paused`` (``destination``, ``events``, ``seconds``, ``reason``),
``results`` (by state, where what was due stands now), ``errors`` (``state``, ``error``, ``count``) and
``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, retry
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.states import Reason


class Command(OutboxCommand):
    help = (
        "Without arguments: events that wait for a retry are tried now. With --state dead: they are requeued "
        "with a fresh budget. Then it publishes, and says what became of them."
    )
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("ids", nargs="*", metavar="ID", help="these only: number, event id, key, or the platform's id")
        add("--state", choices=["pending", "dead", "unresolved"], help="which ones (pending, or those named)")
        add("--type", action="append", metavar="T", help="only this event type (repeatable)")
        add("--reason", choices=Reason.values, help="only those dead or unresolved for this reason")
        add("--since", type=arguments.moment, metavar="T", help="made at this time or later; 2h is an age")
        add("--until", type=arguments.moment, metavar="T", help="made before this time")
        add("--limit", type=arguments.count, metavar="N", default=1000, help="at most N events (1000)")
        spread = "let them become due over S seconds, to make no new wave"
        add("--spread", type=arguments.wait, metavar="S", help=spread)
        add("--no-publish", action="store_true", help="leave the sending to the workers")
        twice = "also unresolved ones whose key may be forgotten: they may be delivered twice"
        add("--accept-duplicates", action="store_true", help=twice)
        move = "move events of a destination that is not configured any more to this one, and send nothing"
        add("--move-to", metavar="ALIAS", help=move)
        same = (
            "with --move-to: it is the same organisation under another name, so that keys and ids hold there"
        )
        add("--same-organisation", action="store_true", help=same)
        add(
            "--because",
            type=arguments.reason,
            metavar="TEXT",
            help="why, in a few words; kept with each event",
        )

    def sends(self, options: dict[str, Any]) -> bool:
        return not options["move_to"] and not options["no_publish"] and not options["dry_run"]

    def work(self, options: dict[str, Any]) -> Result:
        return retry.retry(self, options)

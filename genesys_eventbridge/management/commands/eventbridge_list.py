"""`manage.py eventbridge_list`: the events that match a text and filters, newest first.

The text is searched like in the admin. Nothing is limited, and nothing is kept in memory.

JSON: one event per line (JSON lines): its columns; ``attempt_log``, a list; ``event``, the CloudEvent, whose
data is there only with --payload; without it ``data``, the kind and size of the data. CSV: a table of the
same columns, and ``correlation_ids`` of all attempts.
"""

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, listing
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.management.selection import add_filters, event_filter


class Command(OutboxCommand):
    help = (
        "Lists the events that match a text and filters, newest first, or exports them as CSV or JSON lines."
    )
    formats = ("text", "json", "csv")

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add(
            "text",
            nargs="?",
            metavar="TEXT",
            help="a subject, or its beginning or end, in any case; or an id or key of the event",
        )
        add_filters(parser)
        add("--held", action="store_true", help="only events behind an earlier one of their ordering key")
        for flag, words in (
            ("--finished-since", "at this time or later"),
            ("--finished-until", "before this time"),
        ):
            add(flag, type=arguments.moment, metavar="T", help=f"finished {words}")
        add("--limit", type=arguments.count, metavar="N", help="only the newest N (default: all)")
        add(
            "--payload",
            action="store_true",
            help="json and csv: the data too, with secrets masked (REDACT_KEYS)",
        )

    def work(self, options: dict[str, Any]) -> Result:
        since, until = options["finished_since"], options["finished_until"]
        if since and until and since >= until:
            raise WrongUsage("--finished-since must be before --finished-until.")
        if options["text"] is not None and not options["text"].strip():
            raise WrongUsage("TEXT must not be empty.")
        chosen = replace(
            event_filter(options),
            text=options["text"] or "",
            held=options["held"],
            finished_since=since,
            finished_until=until,
        )
        return listing.listing(chosen, options["limit"], payload=options["payload"])

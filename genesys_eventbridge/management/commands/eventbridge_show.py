"""`manage.py eventbridge_show`: one event, what happens to it next, and its timeline.

Its argument is a number, id or key, or what the search finds: a subject, or its beginning or end. If that
finds several events, it lists them, newest first.

JSON: ``event``: its columns but the body; ``next``: a sentence; ``timeline``: a list of ``what`` (enqueued,
publish, check, operator actions, delivered or cancelled), ``at`` and more by kind; with --payload ``body``:
the CloudEvent with secrets masked, null if it was blanked. Of several events: ``events``, a list of
``id``, ``event_id``, ``type``, ``subject``, ``state``; ``more``: whether there are others.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import show
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Shows one event: its attributes, state, next step and timeline."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("id", metavar="ID|SUBJECT", help="number, id or key; or a subject, or its beginning or end")
        add("--payload", action="store_true", help="the CloudEvent too, with secrets masked (REDACT_KEYS)")

    def work(self, options: dict[str, Any]) -> Result:
        return show.named(options["id"], payload=options["payload"])

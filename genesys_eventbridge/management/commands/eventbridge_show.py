"""`manage.py eventbridge_show`: one event, what happens to it next, and its timeline.

JSON: ``event``: its columns but the body; ``next``: a sentence; ``timeline``: a list of ``what`` (enqueued,
publish, check, operator actions, delivered or cancelled), ``at`` and more by kind; with --payload ``body``:
the CloudEvent with secrets masked, null if it was blanked.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments, show
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Shows one event: its attributes, state, next step and timeline."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("id", metavar="ID", help="number, event id, idempotency key, or the platform's id")
        add("--payload", action="store_true", help="the CloudEvent too, with secrets masked (REDACT_KEYS)")

    def work(self, options: dict[str, Any]) -> Result:
        (pk,) = arguments.event_numbers([options["id"]])
        return show.show(pk, payload=options["payload"])

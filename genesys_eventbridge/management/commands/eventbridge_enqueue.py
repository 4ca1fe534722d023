"""`manage.py eventbridge_enqueue`: enqueues one event, for connection tests and repairs.

JSON: ``event``: ``id``, ``event_id``, ``type``, ``destination``, ``state``, ``reason``, ``remote_id`` and
``last_error``; with --wait also ``waited`` (seconds) and ``final`` (its state will not change automatically).
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import conf
from genesys_eventbridge.management import arguments, wait
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, next_step
from genesys_eventbridge.management.payload import payload
from genesys_eventbridge.outbox import enqueue


class Command(OutboxCommand):
    help = "Writes one event to the outbox; with --wait, watches it until it reaches a final state."
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("type", metavar="TYPE", help="CloudEvents type, such as order.created")
        add(
            "--data",
            metavar="JSON|@file|-",
            required=True,
            help="the payload: JSON, @file, or - for standard input; null is a payload too",
        )
        add("--subject", metavar="S", help="CloudEvents subject")
        add("--wait", type=arguments.seconds, metavar="S", help="watch it for at most S seconds")
        add("--destination", default="default", metavar="ALIAS", help="the destination (default: default)")

    def sends(self, options: dict[str, Any]) -> bool:
        return bool(options["wait"])

    def work(self, options: dict[str, Any]) -> Result:
        arguments.aliases({"destination": [options["destination"]]})
        event = enqueue(
            options["type"],
            payload(options["data"], conf.destination(options["destination"]).max_event_bytes),
            subject=options["subject"],
            destination=options["destination"],
            standalone=True,
        )
        if options["wait"]:
            return wait.watch(event.pk, options)
        lines = [f"Enqueued event {event.pk} ({event.type}, id {event.event_id}) for {event.destination}."]
        return Result([*lines, next_step(f"eventbridge_show {event.pk}")], {"event": wait.data(event)})

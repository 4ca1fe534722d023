"""`manage.py eventbridge_publish`: publishes due events; with --loop, a worker without django-q2.

JSON: ``destinations``, by alias: ``delivered``, ``accepted``, ``pending`` (tried again later), ``dead`` and
``unresolved`` events; ``released``, ``halted``, ``lost``, ``seconds``, ``drained`` (nothing is due any more)
and ``paused`` (null, or ``seconds`` and ``reason``); with --loop only the states and ``pruned``. And
``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import arguments
from genesys_eventbridge.management import work as working
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.states import AttemptKind


class Command(OutboxCommand):
    help = "Publishes due events until none is left; with --loop, publishes, checks and prunes until stopped."

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--loop", action="store_true", help="publish, check and prune until SIGTERM or Ctrl-C")
        add(
            "--interval",
            type=arguments.seconds,
            metavar="S",
            help="with --loop: look for due events every S seconds (default: 1)",
        )
        add("--limit", type=arguments.count, metavar="N", help="send at most N events to each destination")
        add("--max-seconds", type=arguments.seconds, metavar="S", help="finish within S seconds")
        add(
            "--concurrency",
            type=arguments.count,
            metavar="N",
            help="concurrent requests (default: CONCURRENCY)",
        )

    def sends(self, options: dict[str, Any]) -> bool:
        return True

    def work(self, options: dict[str, Any]) -> Result:
        if options["loop"] and (options["limit"] or options["max_seconds"]):
            raise arguments.WrongUsage("--loop runs until stopped: remove --limit and --max-seconds.")
        if options["interval"] and not options["loop"]:
            raise arguments.WrongUsage(
                "--interval is for --loop only: a single run ends when nothing is due."
            )
        if options["loop"]:
            return working.loop(options)
        return working.drain(AttemptKind.PUBLISH, options)

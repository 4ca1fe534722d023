"""`manage.py eventbridge_ping`: checks the setup and says what to change; only --send sends an event.

JSON: ``destinations``, by alias a list of ``name`` (settings, token, permission or connection, event,
clocks), ``ok`` (null: not checked), ``message``, ``remedy``; ``needs_person``.
"""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge import conf, ping
from genesys_eventbridge.management import arguments
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result

WORDS = {True: "OK  ", False: "FAILED ", None: "-   "}


class Command(OutboxCommand):
    help = "Checks settings, host names, credentials, connection and clocks, and says what to change."
    requires_system_checks: list[str] = []  # it reports wrong settings itself

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--send",
            action="store_true",
            help="also send one event marked as a test, the only proof for protocols that know no other",
        )

    def work(self, options: dict[str, Any]) -> Result:
        arguments.refuse_unknown(options)
        aliases = options["destination"] or conf.aliases()
        found = {alias: list(ping.ping(alias, send=options["send"])) for alias in dict.fromkeys(aliases)}
        lines = []
        for alias, steps in found.items():
            lines += [f"{alias}:"] if len(found) > 1 else []
            for number, step in enumerate(steps, 1):
                lines.append(f"{number}/{len(steps)} {step.name:<12} {WORDS[step.ok]} {step.message}")
                lines += [f"      -> {step.remedy}"] if step.remedy else []
        return Result(
            lines,
            {"destinations": {alias: [asdict(step) for step in steps] for alias, steps in found.items()}},
            needs_operator=any(not step.ok for steps in found.values() for step in steps),
        )

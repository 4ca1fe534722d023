"""`manage.py eventbridge_alert`: tests the channels of the alerts, or evaluates the alerts from cron.

JSON: with --check ``alerts``, a list of ``destination``, ``kind``, ``open``, ``present``, ``message``,
``remedy``, ``since``, ``alerted_at``, ``stored`` (the notice stored by this run, or null), and ``unsent``, a
list of ``destination``, ``kind``, ``status``, ``channel``, ``attempts``, ``error``, ``next_at``; with --test
``destinations``, by alias a list of ``channel``, ``ok``, ``error``, ``remedy``. And ``needs_person``.
"""

from typing import Any

from django.core.management.base import CommandParser

from genesys_eventbridge.management import alerts
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Tests the channels of ALERTS, or evaluates the alerts now and exits with 3 if one is open."

    def add_own(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--test", action="store_true", help="send a test by every channel; exits with 3 if one fails"
        )
        what.add_argument(
            "--check",
            action="store_true",
            help="evaluate the alerts and send what is due, as workers do; for cron, since a worker cannot "
            "report that none runs",
        )

    def sends(self, options: dict[str, Any]) -> bool:
        return True

    def work(self, options: dict[str, Any]) -> Result:
        return alerts.test(options) if options["test"] else alerts.check(options)

"""`manage.py eventbridge_status`: numbers for each destination; with --check a probe for monitoring.

JSON: ``destinations``, by alias: ``configured``, ``waiting``, ``in_flight``, ``retrying``, ``accepted``,
``unresolved``, ``dead``, ``held_events`` (behind an earlier event of their ordering key), ``held_behind``
(the number of the first event that needs an operator and holds others back), ``oldest_seconds`` (of events
that nothing holds back), ``delivered_1h``, ``delivered_1h_is_least``, ``success_1h`` (0 to 1),
``heartbeat_at``, ``heartbeat_seconds``, ``task_at`` (when one of our tasks last ran for it), ``heard_at``
(when a ``--loop`` last listened to PostgreSQL's notifications), ``paused_until``, ``paused_kind``,
``paused_reason``, ``checks_paused_until``, ``checks_paused_kind``, ``held_by``, ``held_reason``,
``held_until``. And
``problems``, a list of ``destination``, ``kind``, ``message``, ``remedy``; kinds: age, worker, paused,
refusals, checks_paused, dead, unresolved, not_configured, schedules, schedules_late. And ``needs_person``.

With --failures instead ``failures``, a list of ``destination``, ``type``, ``failure`` (for --failure of other
commands), ``pattern``, ``number``, ``dead``, ``unresolved``, ``retrying``, ``first_at``, ``last_at``,
``past_hour``, ``hour_before``, ``example`` (an event's number), ``error``; and ``since``.
"""

from functools import partial
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from genesys_eventbridge.management import arguments, failures, watch
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result
from genesys_eventbridge.management.status import report


class Command(OutboxCommand):
    help = "Shows the state of the destinations; with --check, exits with 3 if something needs an operator."

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add(
            "--check",
            action="store_true",
            help="report what needs an operator, and exit with 3 if anything does",
        )
        add(
            "--max-age",
            type=arguments.seconds,
            metavar="S",
            help="with --check: maximum age of an undelivered event in seconds (default: 300)",
        )
        add(
            "--max-dead",
            type=arguments.count_or_zero,
            metavar="N",
            help="with --check: maximum number of dead, and of unresolved, events (default: 0)",
        )
        add(
            "--failures",
            action="store_true",
            help="show what fails instead: dead, unresolved and retrying events by type and error",
        )
        zone = timezone.get_current_timezone_name()
        add(
            "--since",
            type=arguments.moment,
            metavar="T",
            help=f"with --failures: failed at this time or later ({zone} unless it has an offset); "
            "2h means 2 hours ago",
        )
        add("--watch", action="store_true", help="refresh in place every 2 s, until Ctrl-C")

    def work(self, options: dict[str, Any]) -> Result:
        if options["watch"] and options["format"] == "json":
            raise arguments.WrongUsage(
                "--watch prints text only: for JSON, call the command repeatedly without it."
            )
        if options["since"] and not options["failures"]:
            raise arguments.WrongUsage("--since needs --failures.")
        if options["failures"] and (options["check"] or options["watch"]):
            raise arguments.WrongUsage("--failures cannot be combined with --check or --watch.")
        limits = (options["max_age"], options["max_dead"])
        if not options["check"] and limits != (None, None):
            raise arguments.WrongUsage("--max-age and --max-dead need --check.")
        if options["failures"]:
            return failures.report(options)
        if options["watch"]:
            return watch.watch(partial(report, options), self.stdout, options)
        return report(options)

"""`manage.py eventbridge_schedules`: the django-q2 schedules; --apply is a deploy step after migrate.

JSON: ``schedules``, by name: ``installed`` (how many), ``well``, ``paused``, ``interval``, ``next_run`` and
``late`` (seconds); and, if a change was requested, ``changes`` (by name, in words), ``dry_run``.
"""

from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from genesys_eventbridge.management import schedules
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Shows, installs or removes the django-q2 schedules publish, poll, retry and prune."
    takes_destination = False
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        add = what.add_argument
        add(
            "--apply",
            action="store_true",
            help="create missing schedules, remove duplicates; keeps your intervals",
        )
        add("--reset", action="store_true", help="as --apply, and also resets intervals and pauses")
        add("--remove", action="store_true", help="delete the schedules; events stay")

    def work(self, options: dict[str, Any]) -> Result:
        if not apps.is_installed("django_q"):
            raise CommandError(
                "django_q is not in INSTALLED_APPS, so there are no schedules. Add it and run migrate, "
                "or run `manage.py eventbridge_publish --loop`, which needs none."
            )
        changing = options["apply"] or options["reset"] or options["remove"]
        if options["dry_run"] and not changing:
            raise WrongUsage("--dry-run needs --apply, --reset or --remove.")
        if options["remove"]:
            self.confirm("Delete the schedules? Events will wait for eventbridge_publish.", options)
        return schedules.change(options) if changing else schedules.show()

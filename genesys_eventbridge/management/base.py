"""What every command shares: its common flags, its exit codes, and errors that say what to do."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser, no_translations
from django.db import Error as DatabaseError
from django.db.transaction import TransactionManagementError

from genesys_eventbridge.db import drop_connection
from genesys_eventbridge.db.clock import require_steady_zone
from genesys_eventbridge.db.transactions import refuse_in_transaction
from genesys_eventbridge.errors import EventBridgeError
from genesys_eventbridge.management.output import NEEDS_PERSON, Result
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.text import clean


class OutboxCommand(BaseCommand):
    """A command that does its ``work`` and says so as text or JSON.

    Exit codes: 0 fine, 1 error, 2 usage, 3 finished, but something needs a person.
    """

    takes_destination: ClassVar[bool] = True
    #: It changes many events at once: it can be tried dry, and asks on a terminal.
    changes_many: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_own(parser)
        add = parser.add_argument
        if self.takes_destination:
            add("--destination", action="append", metavar="ALIAS", help="only this one (all; repeatable)")
        if self.changes_many:
            add("--dry-run", action="store_true", help="say what would be done, and change nothing")
            add("--no-input", action="store_false", dest="ask", help="never ask, also not on a terminal")
        add("--format", choices=self.formats, default="text", help="what is printed at the end (text)")

    def add_own(self, parser: CommandParser) -> None:
        """The arguments of this command alone."""

    def sends(self, options: dict[str, Any]) -> bool:
        """Whether it sends events, or waits until a worker has: impossible within a transaction."""
        return False

    @no_translations
    def handle(self, **options: Any) -> None:
        with self._plain_errors():
            if self.sends(options):
                refuse_in_transaction(outbox_alias(), f"{self.name} does nothing")
                require_steady_zone(outbox_alias(), f"{self.name} does nothing")
            result = self.work(options)
        text = result.as_json() if options["format"] == "json" else result.as_text()
        self.stdout.write(text)
        self.stdout.flush()
        if result.needs_operator:
            raise SystemExit(NEEDS_PERSON)

    def work(self, options: dict[str, Any]) -> Result:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def actor(self) -> Actor:
        """The person at the keyboard, as the operating system knows them."""
        try:
            person = getpass.getuser()
        except (OSError, KeyError, ImportError):
            person = ""  # a container without a passwd entry
        return Actor(via=self.name, name=person)

    def confirmed(self, question: str, options: dict[str, Any]) -> bool:
        """Ask on a terminal. Without one, or with ``--no-input``, nobody is asked."""
        if not options["ask"] or not sys.stdin.isatty() or not self.stdout.isatty():
            return True
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except (EventBridgeError, ImproperlyConfigured, TransactionManagementError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            drop_connection(outbox_alias())  # call_command() may run in a process that lives on
            first_line = str(error).partition("\n")[0]
            raise CommandError(
                f"The database {outbox_alias()!r} did not do its part ({type(error).__name__}: "
                f"{clean(first_line, 300)}). Does it run, and did `manage.py migrate`?"
            ) from error

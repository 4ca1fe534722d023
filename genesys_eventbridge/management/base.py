"""Shared by all commands: common flags, exit codes, and error messages with a remedy."""

from __future__ import annotations

import argparse
import getpass
import io
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
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.output import NEEDS_PERSON, Result, written
from genesys_eventbridge.models import outbox_alias
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.text import clean


class Declined(Exception):
    """The operator did not confirm; nothing was changed."""


class OutboxCommand(BaseCommand):
    """A command whose ``work`` returns a Result, which is printed as text or JSON.

    Exit codes: 0 success, 1 error, 2 usage error, 3 finished but something needs an operator.
    """

    takes_destination: ClassVar[bool] = True
    #: It changes many events at once: it has --dry-run, and asks for confirmation on a terminal.
    changes_many: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_own(parser)
        add = parser.add_argument
        if self.takes_destination:
            add(
                "--destination",
                action="append",
                metavar="ALIAS",
                help="only this destination (default: all; repeatable)",
            )
        if self.changes_many:
            add("--dry-run", action="store_true", help="show what would be done without changing anything")
            add(
                "--no-input",
                action="store_false",
                dest="ask",
                help="never ask for confirmation, even on a terminal",
            )
        add("--format", choices=self.formats, default="text", help="format of the result (default: text)")

    def add_own(self, parser: CommandParser) -> None:
        """The arguments of this command only."""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **options)
        #: The options that are lists.
        self.lists = {
            action.dest
            for action in parser._actions
            if action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction)
        }
        return parser

    def sends(self, options: dict[str, Any]) -> bool:
        """Whether it sends events, or waits until a worker has sent them: impossible within a transaction."""
        return False

    def run_from_argv(self, argv: list[str]) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: it need not be UTF-8
        super().run_from_argv(argv)

    @no_translations
    def handle(self, **options: Any) -> None:
        for name in self.lists:  # call_command("eventbridge_retry", state="dead") passes the text as it is
            if isinstance(options.get(name), str | int):
                options[name] = [str(options[name])]
        with usage_errors(self), self._plain_errors():
            if self.sends(options):
                refuse_in_transaction(outbox_alias(), f"{self.name} does nothing")
                require_steady_zone(outbox_alias(), f"{self.name} does nothing")
            try:
                result = self.work(options)
            except Declined:
                result = Result(["Nothing was changed."], {"dry_run": False})
            if options.get("dry_run"):
                result.lines.append("Nothing was changed (dry run).")
            self._print(result.parts(options["format"]))
        if result.needs_operator and result.exits:
            raise SystemExit(NEEDS_PERSON)

    def work(self, options: dict[str, Any]) -> Result:
        raise NotImplementedError

    def _print(self, parts: Iterator[str]) -> None:
        with written(afterwards="the command has done its work"):
            for part in parts:
                self.stdout.write(part)
            self.stdout.flush()

    @property
    def name(self) -> str:
        return _name(self)

    def actor(self) -> Actor:
        """The operating system's user, as the actor of an operation."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):
            user = ""  # a container without a passwd entry
        return Actor(via=self.name, name=user)

    def confirm(self, question: str, options: dict[str, Any]) -> None:
        """Ask on a terminal, unless nothing is changed or with ``--no-input``. Raises Declined."""
        asks = options["ask"] and not options["dry_run"] and sys.stdin.isatty() and self.stdout.isatty()
        if not asks:
            return
        try:
            reply = input(f"{question} [y/N] ")
        except EOFError:  # Ctrl-D
            reply = ""
            self.stdout.write("")
        if reply.strip().lower() not in ("y", "yes"):
            raise Declined

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except (EventBridgeError, ImproperlyConfigured, TransactionManagementError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            drop_connection(outbox_alias())  # call_command() may run in a long-lived process
            first_line = str(error).partition("\n")[0]
            raise CommandError(
                f"The database {outbox_alias()!r} failed ({type(error).__name__}: "
                f"{clean(first_line, 300)}). Is it running, and have you run `manage.py migrate`?"
            ) from error


@contextmanager
def usage_errors(command: BaseCommand) -> Iterator[None]:
    """Report WrongUsage like argparse's own errors: Django would print the name of the exception's class."""
    try:
        yield
    except WrongUsage as error:
        if not getattr(command, "_called_from_command_line", False):
            raise
        command.stderr.write(f"manage.py {_name(command)}: error: {error}")
        raise SystemExit(error.returncode) from error


def _name(command: BaseCommand) -> str:
    return type(command).__module__.rpartition(".")[2]

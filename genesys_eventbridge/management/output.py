"""A command's result: lines for people, values for programs, and whether it needs an operator."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import CommandError

from genesys_eventbridge.reporting.exports import plain

#: Exit code of a command that finished and found something for an operator to do.
NEEDS_PERSON = 3


@dataclass(slots=True)
class Result:
    """``lines`` are printed with ``--format text``, ``data`` with ``--format json``."""

    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    needs_operator: bool = False
    #: Whether the exit code says so, too; a plain report ends with 0.
    exits: bool = True

    def as_text(self) -> str:
        return "\n".join(self.lines)

    def as_json(self) -> str:
        return json.dumps({**self.data, "needs_person": self.needs_operator}, indent=2, default=plain)

    def parts(self, form: str) -> Iterator[str]:
        """What is printed with ``--format form``, line by line or as a whole."""
        yield self.as_json() if form == "json" else self.as_text()


@dataclass(slots=True)
class Streamed(Result):
    """A result of any length: ``source`` yields its lines for one format."""

    source: Callable[[str], Iterator[str]] = field(kw_only=True)

    def parts(self, form: str) -> Iterator[str]:
        return self.source(form)


@contextmanager
def written(*, afterwards: str) -> Iterator[None]:
    """Write to standard output. A reader that has enough, such as ``head``, is no error.

    Raises CommandError for others, such as a full disk; ``afterwards`` says what became of the work.
    """
    try:
        yield
    except OSError as error:
        # Python would report the same error again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise CommandError(
                f"The output could not be written ({error.strerror}); {afterwards}."
            ) from error


def counted(count: int, word: str) -> str:
    """ "1 event", "1,204 events"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """ "order.created 1,100 · order.cancelled 104", the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return " · ".join(f"{name} {count:,}" for name, count in ordered)


def next_step(command: str) -> str:
    """The command to run next, as the last line."""
    return f"  -> manage.py {command}"

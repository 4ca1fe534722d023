"""Whether the checks run for ``migrate``, the one command that an error must not block."""

from __future__ import annotations

from traceback import walk_stack


def is_migrating() -> bool:
    """By the callers: Django does not tell a check which command runs it."""
    from django.core.management.commands.migrate import Command as Migrate

    return any(isinstance(frame.f_locals.get("self"), Migrate) for frame, _line in walk_stack(None))

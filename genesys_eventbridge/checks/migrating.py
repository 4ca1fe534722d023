"""Whether the checks run for ``migrate``, the one command that an error must not block."""

from __future__ import annotations

import sys


def is_migrating() -> bool:
    from django.core.management.commands.migrate import Command as Migrate

    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if isinstance(frame.f_locals.get("self"), Migrate):
            return True
    return False

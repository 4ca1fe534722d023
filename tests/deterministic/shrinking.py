"""Leaves out of a failing run what it does not need: faults, switches, tasks, events."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from tests.deterministic.choices import Choice
from tests.deterministic.world import Run

#: Runs that may be tried.
TRIES = 150


def shrunk(failed: Run, again: Callable[[Collection[Choice]], Run], tries: int = TRIES) -> Run:
    """The smallest run found that breaks the same promise; ``again`` runs with only these choices kept."""
    best, size = failed, max(1, len(failed.made) // 2)
    while size and tries > 0:
        kept, start, smaller = list(best.made), 0, False
        while start < len(kept) and tries > 0:
            tries -= 1
            run = again([*kept[:start], *kept[start + size :]])
            if promise(run.failure) == promise(failed.failure) and len(run.made) < len(best.made):
                best, smaller = run, True
                kept = list(best.made)
            else:
                start += size
        size = size if smaller and size == 1 else size // 2
    return best


def promise(failure: str) -> str:
    """The failure without names and numbers."""
    return re.sub(r"\d+(\.\d+)?|\b[a-z]+-\d\S*", "#", failure.strip().splitlines()[-1]) if failure else ""

"""Runs a task for each destination at the same time, so that a slow organisation delays no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from django.db import connections

from genesys_eventbridge.models import outbox_alias

T = TypeVar("T")


def side_by_side(aliases: Sequence[str], work: Callable[[str], T], *, endless: bool = False) -> dict[str, T]:
    """The result of ``work(alias)`` by alias; one alias is served in this thread.

    So are all, in turn, within a TestCase's transaction, whose rows no other thread sees, unless the work is
    ``endless``. Raises an error of one of them after all have ended.
    """
    if len(aliases) == 1:
        return {aliases[0]: work(aliases[0])}
    if connections[outbox_alias()].in_atomic_block and not endless:
        return _in_turn(aliases, work)

    def run(alias: str) -> T:
        try:
            return work(alias)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(aliases), thread_name_prefix="eventbridge") as pool:
        futures = {alias: pool.submit(run, alias) for alias in aliases}
        while wait(futures.values(), timeout=1).not_done:
            continue  # an unlimited wait would ignore Ctrl-C on Windows
    return {alias: future.result() for alias, future in futures.items()}


def _in_turn(aliases: Sequence[str], work: Callable[[str], T]) -> dict[str, T]:
    results: dict[str, T] = {}
    errors: list[Exception] = []
    for alias in aliases:
        try:
            results[alias] = work(alias)
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)
    if errors:
        raise errors[0]
    return results

"""Runs a task for each destination at the same time, so that a slow organisation delays no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def side_by_side(aliases: Sequence[str], work: Callable[[str], T]) -> dict[str, T]:
    """The result of ``work(alias)`` by alias; one alias is served in this thread.

    Raises the first error after all have ended.
    """
    if len(aliases) == 1:
        return {aliases[0]: work(aliases[0])}
    results: dict[str, T] = {}
    errors: list[BaseException] = []

    def run(alias: str) -> None:
        try:
            results[alias] = work(alias)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(alias,), name=f"eventbridge-{alias}") for alias in aliases]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(1)  # an unlimited wait would ignore Ctrl-C on Windows
    if errors:
        raise errors[0]
    return {alias: results[alias] for alias in aliases}

"""What replaces clocks, threads, queues and random bytes in the package while a run lasts."""

from __future__ import annotations

import itertools
import os
import queue
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from genesys_eventbridge import counters, steady
from genesys_eventbridge.client import Sender
from genesys_eventbridge.client.auth import ClientCredentials
from genesys_eventbridge.outbox import due, sweep
from genesys_eventbridge.relay import batch, senders
from tests.deterministic.scheduler import Scheduler

PACKAGE = "genesys_eventbridge"
#: Where reading the clock is a step of its own: between two decisions.
STEPPING = {f"{PACKAGE}.relay.batch", f"{PACKAGE}.relay.senders", f"{PACKAGE}.outbox.claim", f"{PACKAGE}.db"}
#: 2026-01-01, as ``time.time()``; the database's clock starts then, too.
EPOCH = 1_767_225_600.0


class Time:
    """Replaces the modules ``time`` and ``steady``."""

    def __init__(self, scheduler: Scheduler, *, steps: bool) -> None:
        self._scheduler = scheduler
        self._steps = steps

    def monotonic(self) -> float:
        if self._steps:
            self._scheduler.step("reads the clock")
        return self._scheduler.now

    def time(self) -> float:
        return EPOCH + self._scheduler.now

    def sleep(self, seconds: float) -> None:
        self._scheduler.wait(f"sleeps {seconds:.2f} s", seconds=seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Event:
    """Replaces ``threading.Event``."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        self._scheduler.wait("waits for a signal", self.is_set, timeout)
        return self._is_set


class SimpleQueue:
    """Replaces ``queue.SimpleQueue``."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._scheduler.step("puts into a queue")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self._items:
            self._scheduler.wait("waits for a queue", self._has_items, timeout)
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def _has_items(self) -> bool:
        return bool(self._items)


class Thread:
    """Replaces ``threading.Thread``: a task of the process that starts it."""

    def __init__(self, scheduler: Scheduler, numbers: Iterator[int], target: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._target = target
        self._name = f"{scheduler.me.process}/sender-{next(numbers)}"
        self._ended = False

    def start(self) -> None:
        self._scheduler.spawn(self._name, self._run, self._scheduler.me.process)

    def is_alive(self) -> bool:
        return not self._ended

    def _run(self) -> None:
        self._scheduler.me.handle = self
        try:
            self._target()
        finally:
            self._ended = True


class PerProcess(dict[Any, Any]):
    """What a module remembers, for each simulated process."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def _key(self, key: Any) -> Any:
        task = self._scheduler.current()
        return task.process if task else "", key

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(self._key(key), default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return super().setdefault(self._key(key), default)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._key(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(self._key(key), value)


@contextmanager
def installed(scheduler: Scheduler) -> Iterator[None]:
    """Replace them all for the time of a run."""
    quiet, stepping = Time(scheduler, steps=False), Time(scheduler, steps=True)
    seed = scheduler.choices.seed
    bits, numbers = random.Random(f"{seed} bits"), itertools.count(1)
    credentials = PerProcess(scheduler)

    def make_event() -> Event:
        return Event(scheduler)

    def make_thread(target: Callable[[], None], **_names: object) -> Thread:
        return Thread(scheduler, numbers, target)

    threads = SimpleNamespace(
        Event=make_event,
        Thread=make_thread,
        current_thread=lambda: scheduler.me.handle,
    )

    def credentials_of_process(platform: Any) -> ClientCredentials:
        found: ClientCredentials = credentials.setdefault(
            "", ClientCredentials(platform, clock=quiet.monotonic)
        )
        return found

    def make_sender(platform: Any, own: Any, *, transport: Any = None) -> Sender:
        return Sender(platform, own, transport=transport, clock=quiet.monotonic)

    state = random.getstate()
    random.seed(f"{seed} random")
    with ExitStack() as patches:
        patches.callback(random.setstate, state)
        for name, module in list(sys.modules.items()):
            for clock, real in (("time", time), ("steady", steady)):
                if name.startswith(f"{PACKAGE}.") and vars(module).get(clock) is real:
                    patches.enter_context(
                        mock.patch.object(module, clock, stepping if name in STEPPING else quiet)
                    )
        for target, name, stand_in in (
            (os, "urandom", bits.randbytes),
            (senders, "threading", threads),
            (senders, "queue", SimpleNamespace(SimpleQueue=lambda: SimpleQueue(scheduler))),
            (senders, "credentials_for", credentials_of_process),
            (senders, "Sender", make_sender),
            (batch, "threading", threads),
            (due, "_scans", PerProcess(scheduler)),
            (sweep, "_again_at", PerProcess(scheduler)),
            (sweep.sweep, "__kwdefaults__", {"clock": quiet.monotonic}),
            (due.Pace.__init__, "__defaults__", (quiet.monotonic,)),
            (batch, "worker_name", lambda: scheduler.me.process),
        ):
            patches.enter_context(mock.patch.object(target, name, stand_in))
        counters.forget()
        patches.callback(counters.forget)
        yield

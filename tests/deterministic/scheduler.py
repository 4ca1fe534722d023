"""Runs tasks as threads of which exactly one runs at any time, in virtual time."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.deterministic.choices import Choices

#: Virtual seconds that each step takes. SQLite stores milliseconds.
TICK = 0.001
#: A run with more steps than this does not end.
MOST_STEPS = 60_000
#: Real seconds after which a step is stuck: a lock that the scheduler does not know.
PATIENCE = 60.0


class Killed(BaseException):
    """Raised in every thread of a process that was killed, at its next step."""


class Broken(BaseException):
    """The run broke a promise; the text says which. No handler in the package catches it."""


@dataclass(eq=False)
class Task:
    """One thread. Tasks of one ``process`` are killed together."""

    name: str
    process: str
    run: Callable[[], None]
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    done: threading.Event = field(default_factory=threading.Event)
    #: What it waits for; it may also run when ``until`` has come.
    ready: Callable[[], bool] | None = None
    until: float | None = None
    frozen_until: float = 0.0
    #: Waits for a lock of the database.
    locked: bool = False
    dying: bool = False
    #: Its thread is unwound by the task that killed it.
    unwound: bool = False
    #: Frozen at least once since this step.
    freezes: int = 0
    #: Its connection, if it uses the database.
    connection: Any = None
    thread: threading.Thread | None = None
    #: What the package takes for its thread.
    handle: Any = None


class Scheduler:
    """``step()`` is a place where another task may run instead; ``wait()`` one where it must."""

    def __init__(self, choices: Choices, *, switches: float = 0.1) -> None:
        self.choices = choices
        self.switches = switches
        self.now = 0.0
        self.steps = 0
        self.tasks: list[Task] = []
        self.running: Task | None = None
        self.failure: BaseException | None = None
        #: One line per step, and the remarks.
        self.trace: list[str] = []
        #: Called before a step: may kill or freeze.
        self.fate: Callable[[Task, str], None] = lambda task, what: None
        #: Called before the threads of a killed task are unwound, and when a task begins and ends.
        self.on_kill: Callable[[Task], None] = lambda task: None
        self.on_begin: Callable[[Task], None] = lambda task: None
        self.on_end: Callable[[Task], None] = lambda task: None
        self._here = threading.local()
        self._over = threading.Event()

    def current(self) -> Task | None:
        """The task of this thread; None outside tasks, and while a task begins or ends."""
        return getattr(self._here, "task", None)

    @property
    def me(self) -> Task:
        task = self.current()
        assert task is not None
        return task

    def spawn(self, name: str, run: Callable[[], None], process: str | None = None) -> Task:
        task = Task(name, process or name, run)
        self.tasks.append(task)
        task.thread = threading.Thread(target=self._thread, args=(task,), name=name, daemon=True)
        task.thread.start()
        return task

    def go(self) -> None:
        """Run until every task has ended, or one has failed: see ``failure``."""
        self._over.clear()
        self._hand_to(self._choose(None))
        before = -1
        while not self._over.wait(PATIENCE):
            if self.steps == before:
                raise AssertionError(f"stuck after {self.trace[-1]}; {self.running}")
            before = self.steps
        for task in self.tasks:
            task.done.wait(PATIENCE)
        self.tasks.clear()

    def step(self, what: str) -> None:
        """A place where another task may run, and where a fault may strike."""
        task = self._arrive(what)
        if task is None:
            return
        others = [each for each in self.tasks if each is not task and self._is_ready(each)]
        stays = task.frozen_until <= self.now
        if stays and not (others and self.choices.chance(f"switch {task.name}", self.switches)):
            return
        self._leave(task, others or None)

    def wait(self, what: str, ready: Callable[[], bool] | None = None, seconds: float | None = None) -> None:
        """Run others until ``ready()`` or for so long; without both, only let the others go first."""
        task = self._arrive(what)
        if task is None:
            return
        task.ready, task.until = ready, None if seconds is None else self.now + seconds
        try:
            self._leave(task, None)
        finally:
            task.ready = task.until = None

    def _arrive(self, what: str) -> Task | None:
        """The running task, after the fault that may strike it here; None outside of all tasks."""
        task = self.current()
        if task is None:
            return None
        if task.dying:
            raise Killed
        self.note(what)
        self.fate(task, what)
        return task

    def note(self, what: str) -> None:
        self.steps += 1
        self.now += TICK
        self.remark(what)
        if self.steps > MOST_STEPS:
            raise Broken(f"does not end within {MOST_STEPS} steps")

    def remark(self, what: str) -> None:
        """Add to the trace what happened at the last step."""
        task = self.current()
        self._trace(task.name if task else "-", what)

    def _trace(self, who: str, what: str) -> None:
        self.trace.append(f"{self.steps} {self.now:.3f} {who}: {what}")

    def kill(self, process: str) -> None:
        """End all threads of a process where they are. Raises Killed if the caller's is one of them."""
        mine = self.current()
        victims = [task for task in self.tasks if task.process == process and not task.dying]
        for victim in victims:
            victim.dying = True
            self.on_kill(victim)
        for victim in victims:
            if victim is not mine:
                self._unwind(victim)
        if mine in victims:
            raise Killed

    def unblock(self, task: Task) -> None:
        """Pass the baton on for a task whose thread waits in the database; called by the watcher."""
        task.locked = True
        self._trace(task.name, "waits for a lock")
        try:
            self._hand_to(self._choose(None))
        except Broken as error:
            self.fail(error)
            self._over.set()

    def rejoin(self, task: Task) -> None:
        """In the thread of a task that waited in the database: wait for the baton."""
        task.baton.acquire()
        if task.dying:
            raise Killed

    def fail(self, error: BaseException) -> None:
        """Note the first failure and end all other tasks."""
        if self.failure is None:
            self.failure = error
        mine = self.current()
        victims = [task for task in self.tasks if task is not mine and not task.dying]
        for victim in victims:
            victim.dying = True
            self.on_kill(victim)
        for victim in victims:
            self._unwind(victim)

    def _unwind(self, victim: Task) -> None:
        victim.unwound = True
        victim.baton.release()
        if not victim.done.wait(PATIENCE):
            raise AssertionError(f"{victim.name} does not end")

    def _thread(self, task: Task) -> None:
        task.baton.acquire()
        try:
            if not task.dying:
                self.on_begin(task)
                self._here.task = task
                task.run()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the result of the run
            if not task.dying:
                if not isinstance(error, Broken):
                    error = Broken(f"{task.name} crashed: {traceback.format_exc()}")
                self.fail(error)
        self._here.task = None
        self.on_end(task)
        self.tasks.remove(task)
        task.done.set()
        if task.unwound:
            return
        if not self.tasks:
            self._over.set()
            return
        try:
            self._hand_to(self._choose(None))
        except Broken as error:
            self.fail(error)
            self._over.set()

    def _is_ready(self, task: Task) -> bool:
        if task.locked or task.dying or task.frozen_until > self.now:
            return False
        if task.ready is None and task.until is None:
            return True
        if task.until is not None and self.now >= task.until:
            return True
        return task.ready is not None and task.ready()

    def _choose(self, among: list[Task] | None) -> Task:
        """One of the tasks that can run; time jumps ahead if there is none."""
        while True:
            ready = among or [task for task in self.tasks if self._is_ready(task)]
            if ready:
                return ready[self.choices.one_of("next", len(ready))]
            among = None
            ahead = [moment for task in self.tasks if (moment := self._wakes_at(task)) > self.now]
            if not ahead:
                waiting = ", ".join(task.name for task in self.tasks)
                raise Broken(f"nothing can run: {waiting} wait for each other")
            self.now = min(ahead)

    @staticmethod
    def _wakes_at(task: Task) -> float:
        waits = task.until is not None and not (task.ready is not None and task.ready())
        return max(task.frozen_until, task.until or 0.0) if waits else task.frozen_until

    def _leave(self, task: Task, among: list[Task] | None) -> None:
        chosen = self._choose(among)
        if chosen is not task:
            self._hand_to(chosen)
            task.baton.acquire()
        if task.dying:
            raise Killed

    def _hand_to(self, task: Task) -> None:
        self.running = task
        task.baton.release()

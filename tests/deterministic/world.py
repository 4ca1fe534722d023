"""One run: workers, committers and operators, faults, then calm, then the verdict."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings as django_settings
from django.db import Error, transaction
from django.test import override_settings

from genesys_eventbridge import conf, operations, relay
from genesys_eventbridge.db import drop_connection
from genesys_eventbridge.models import OutboxEvent, outbox_alias
from genesys_eventbridge.operations import Actor, Resolution
from genesys_eventbridge.outbox import enqueue, next_due
from genesys_eventbridge.states import State
from tests.deterministic.choices import Choice, Choices
from tests.deterministic.database import Database
from tests.deterministic.judge import Judge
from tests.deterministic.platform import TIMEOUT, Platform, Transport
from tests.deterministic.scheduler import Broken, Scheduler, Task
from tests.deterministic.stand_ins import installed
from tests.shop.models import Order

ALIAS = "default"
#: Short, so that every end is near.
SETTINGS = {
    "MAX_ATTEMPTS": 4,
    "LEASE_SECONDS": 15,
    "REQUEST_DEADLINE": TIMEOUT,
    "CONNECT_TIMEOUT": 2,
    "PASS_SECONDS": 10,
    "CONCURRENCY": 2,
    "BATCH_SIZE": 4,
    "CHECK_DELAYS": [2, 5],
    "CONFIRM_FOR": 60,
    "NOT_FOUND_GRACE": 10,
    "BACKOFF_BASE": 2,
    "BACKOFF_CAP": 30,
    "PAUSE_BASE": 3,
    "PAUSE_CAP": 20,
    "WAKE": None,
}
LEASE = 15.0
HOUR = 3600.0
SOMEBODY = Actor("simulation", name="somebody")
KEYS = (None, "a", "b")
#: How often a task is followed by another one.
SWITCHES = (0.02, 0.1, 0.3)
#: Faults per run, and how likely one is at a step.
FAULTS = (0, 1, 2, 3, 5)
LIKELY = 0.004
FATES = {"freeze": 4.0, "freeze for long": 1.0, "kill": 4.0, "set the clock": 1.0, "kill a thread": 0.5}
FREEZES = (LEASE + 2, 2.0, 3 * LEASE, HOUR)
STEPS_OF_THE_CLOCK = (-LEASE, LEASE / 2, -2.0, 2 * LEASE)
RESTS = (0.0, 1.0, 6.0, LEASE + 1)


@dataclass
class Run:
    """What a run did, and what it broke."""

    seed: int
    failure: str = ""
    steps: int = 0
    seconds: float = 0.0
    commits: int = 0
    requests: int = 0
    faults: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    made: dict[Choice, int] = field(default_factory=dict)


class Regret(Exception):
    """Business code changes its mind."""


class World:
    """The cast of one run."""

    def __init__(self, database: Database, seed: int, kept: Collection[Choice] | None = None) -> None:
        self.database = database
        self.choices = choices = Choices(seed, kept)
        self.scheduler = Scheduler(choices, switches=SWITCHES[choices.one_of("switches", len(SWITCHES))])
        self.settings = conf.destination(ALIAS)
        self.platform = Platform(self.scheduler, choices, self.settings.idempotency_window)
        self.judge = Judge(self.scheduler, database, self.platform, self.settings.max_attempts)
        self.calm = False
        self.faults_left = FAULTS[choices.one_of("faults", len(FAULTS))]
        self.faults: list[str] = []
        self.numbers = 0
        self.restarts = 0
        self.scheduler.fate = self._fate
        database.trouble = self._trouble
        database.after_commit = self.judge.look

    def run(self) -> None:
        """Raises Broken."""
        for number in range(1, 2 + self.choices.one_of("committers", 2)):
            self.scheduler.spawn(f"committer-{number}", self._commit)
        for number in range(1, 3 + self.choices.one_of("workers", 2)):
            self.scheduler.spawn(f"worker-{number}", self._work)
        for number in range(1, 1 + self.choices.one_of("operators", 3)):
            self.judge.operators.add(f"operator-{number}")
            self.scheduler.spawn(f"operator-{number}", self._operate)
        self._go()
        self.calm = self.platform.calm = True
        self.scheduler.spawn("healer", self._heal)
        self._go()
        self.judge.at_the_end()

    def _go(self) -> None:
        self.scheduler.go()
        if self.scheduler.failure is not None:
            raise self.scheduler.failure

    # -------------------------------------------------------------------------------------------- the tasks

    def _commit(self) -> None:
        me, pick = self.scheduler.me.name, self.choices
        for _transaction in range(2 + pick.one_of(f"transactions {me}", 3)):
            numbers: list[str] = []
            regrets = pick.chance(f"regrets {me}", 0.15)
            try:
                with transaction.atomic():
                    for _event in range(1 + pick.one_of(f"events {me}", 2)):
                        numbers.append(self._write(me))  # noqa: PERF401 - each is a step of its own
                    if pick.chance(f"savepoints {me}", 0.1):
                        with suppress(Regret), transaction.atomic():
                            self.judge.rolled_back.add(self._write(me))
                            raise Regret
                    # After a lost savepoint Django rolls back and says so nowhere else.
                    if regrets or transaction.get_rollback():
                        raise Regret
                self.judge.committed.update(numbers)
            except Regret:
                self.judge.rolled_back.update(numbers)
            except Error:
                drop_connection(outbox_alias())
            self.scheduler.wait("rests", seconds=RESTS[pick.one_of(f"rests {me}", 3)])

    def _write(self, me: str) -> str:
        self.numbers += 1
        number = self.numbers
        key = KEYS[self.choices.one_of(f"keys {me}", len(KEYS))]
        delay = 5.0 if self.choices.chance(f"delays {me}", 0.1) else None
        order = Order.objects.create(number=f"N-{number}")
        moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        enqueue(
            "order.created",
            {"number": number},
            subject=order.number,
            ordering_key=key,
            delay=delay,
            time=moment,
        )
        return order.number

    def _work(self) -> None:
        me, pick = self.scheduler.me.name, self.choices
        for _round in range(3 + pick.one_of(f"rounds {me}", 4)):
            kind = pick.one_of(f"passes {me}", 3)
            try:
                if kind != 1:
                    self._publish()
                if kind != 2:
                    self._check()
            except Error:
                drop_connection(outbox_alias())
            self.scheduler.wait("rests", seconds=RESTS[pick.one_of(f"rests {me}", len(RESTS))])

    def _publish(self) -> relay.PassReport:
        return relay.publish_due(ALIAS, transport=lambda: Transport(self.platform))

    def _check(self) -> relay.PassReport:
        return relay.check_accepted(ALIAS, transport=lambda: Transport(self.platform))

    def _operate(self) -> None:
        me, pick = self.scheduler.me.name, self.choices
        acts = ("requeue", "resolve", "cancel", "retry", "check", "pause")
        wanted = {
            "requeue": [State.DEAD],
            "resolve": [State.UNRESOLVED],
            "cancel": [State.PENDING, State.DEAD, State.UNRESOLVED],
            "retry": [State.PENDING],
            "check": [State.ACCEPTED, State.UNRESOLVED],
        }
        for _act in range(2 + pick.one_of(f"acts {me}", 4)):
            self.scheduler.wait("rests", seconds=(1.0, 5.0, 20.0, 60.0)[pick.one_of(f"rests {me}", 4)])
            act = acts[pick.one_of(f"act {me}", len(acts))]
            try:
                if act == "pause":
                    self._pause(me)
                    continue
                rows = (
                    OutboxEvent.objects.filter(state__in=wanted[act])
                    .order_by("id")
                    .values_list("id", flat=True)
                )
                if ids := list(rows):
                    self._act(act, ids[pick.one_of(f"row {me}", len(ids))], me)
            except Error:
                drop_connection(outbox_alias())

    def _act(self, act: str, pk: int, me: str) -> None:
        match act:
            case "requeue":
                operations.requeue([pk], SOMEBODY)
            case "cancel":
                operations.cancel([pk], SOMEBODY, "withdrawn")
            case "retry":
                operations.retry_now([pk], SOMEBODY)
            case "check":
                operations.check_now([pk], SOMEBODY)
            case _:
                outcome = list(Resolution)[self.choices.one_of(f"outcome {me}", len(Resolution))]
                again = self.choices.chance(f"again {me}", 0.5)
                operations.resolve([pk], SOMEBODY, outcome, "found", accept_duplicates=again)

    def _pause(self, me: str) -> None:
        operations.pause(ALIAS, SOMEBODY, "maintenance", (10.0, None)[self.choices.one_of(f"pauses {me}", 2)])
        self.judge.happened("pause", me)
        self.scheduler.wait("rests", seconds=(5.0, 15.0)[self.choices.one_of(f"holds {me}", 2)])
        operations.resume(ALIAS, SOMEBODY, also_trouble=self.choices.chance(f"trouble {me}", 0.5))
        self.judge.happened("resume", me)

    def _heal(self) -> None:
        """A healthy worker and platform bring every event to its end."""
        operations.resume(ALIAS, SOMEBODY, also_trouble=True)
        for _round in range(300):
            reports = self._publish(), self._check()
            if not self.judge.left_open():
                return
            ahead = next_due.next_due(ALIAS).next_in or 0.0
            paused = max(report.paused_for for report in reports)
            self.scheduler.wait("rests", seconds=max(0.05, ahead + 0.01, min(paused, HOUR)))
        raise Broken(
            f"left open by a healthy worker: {self.judge.left_open()} of {dict(self.judge.summary())}"
        )

    # --------------------------------------------------------------------------------------------- the faults

    def _strikes(self, task: Task, stream: str) -> bool:
        if self.calm or not self.faults_left or task.process == "network":
            return False
        if not self.choices.chance(f"{stream} {task.name}", LIKELY):
            return False
        self.faults_left -= 1
        return True

    def _fate(self, task: Task, what: str) -> None:
        if not self._strikes(task, "fault"):
            return
        fate = list(FATES)[self.choices.pick(f"fate {task.name}", list(FATES.values()))]
        process = task.process
        if fate == "kill a thread" and "/" not in task.name:
            fate = "kill"
        if fate.startswith("freeze"):
            seconds = (
                25 * HOUR
                if fate == "freeze for long"
                else FREEZES[self.choices.one_of(f"freezes {process}", 4)]
            )
            self._note("freeze", f"{process} is frozen for {seconds:.0f} s before: {what}", process)
            for each in self.scheduler.tasks:
                if each.process == process:
                    each.frozen_until = self.scheduler.now + seconds
                    each.freezes += 1
        elif fate == "set the clock":
            seconds = STEPS_OF_THE_CLOCK[self.choices.one_of("clock", len(STEPS_OF_THE_CLOCK))]
            self._note("clock", f"the database's clock is set by {seconds:+.0f} s", process)
            self.database.skew += seconds
            for each in self.scheduler.tasks:
                each.freezes += 1
        elif fate == "kill a thread":
            self._note("kill", f"{task.name} alone is killed before: {what}", process)
            task.process = f"{process} (dead thread)"
            self.scheduler.kill(task.process)
        else:
            self._note("kill", f"{process} is killed before: {what}", process)
            if process.startswith("worker"):
                self.restarts += 1
                self.scheduler.spawn(f"{process.partition('+')[0]}+{self.restarts}", self._work)
            self.scheduler.kill(process)

    def _trouble(self, task: Task, what: str) -> str:
        """An error of the database instead of this statement."""
        if not self._strikes(task, "trouble"):
            return ""
        kinds = ("before", "after") if what == "commit" else ("deadlock", "lost")
        kind = kinds[self.choices.one_of(f"kind {task.name}", 2)]
        self._note("trouble", f"{task.name}: {kind}, at {what}", task.process)
        return kind

    def _note(self, what: str, text: str, process: str) -> None:
        self.faults.append(f"{self.scheduler.now:10.3f} {text}")
        self.scheduler.note(text)
        self.judge.happened(what, process, text=text)


@contextmanager
def configured() -> Iterator[None]:
    """The settings of a run."""
    own = django_settings.GENESYS_EVENTBRIDGE[ALIAS]
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with override_settings(GENESYS_EVENTBRIDGE={ALIAS: {**own, **SETTINGS}}):
            yield
    finally:
        logging.disable(level)


def run(database: Database, seed: int, kept: Collection[Choice] | None = None) -> Run:
    """One run from an empty database; the seed, and the choices kept, determine everything."""
    database.reset()
    world = World(database, seed, kept)
    result = Run(seed)
    with installed(world.scheduler), database.running(world.scheduler):
        try:
            world.run()
        except Broken as broken:
            result.failure = str(broken)
        result.ends = world.judge.summary()
    result.steps, result.seconds = world.scheduler.steps, world.scheduler.now
    result.commits, result.requests = world.judge.commits, world.platform.requests
    result.faults, result.trace, result.lines = world.faults, world.scheduler.trace, world.judge.lines
    result.made = dict(world.choices.made)
    return result

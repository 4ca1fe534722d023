"""One run: workers, committers and operators, faults, then calm, then the verdict."""

from __future__ import annotations

import datetime as dt
import logging
import re
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

from django.conf import settings as django_settings
from django.db import Error, transaction
from django.test import override_settings

from genesys_eventbridge import circuit, conf, operations, relay
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db import drop_connection
from genesys_eventbridge.models import Job, OutboxEvent, outbox_alias
from genesys_eventbridge.operations import Actor, CannotResend, Resolution, jobs
from genesys_eventbridge.outbox import destinations, enqueue, expiry, next_due, retention, settle
from genesys_eventbridge.platform.protocols.webhook import Webhook
from genesys_eventbridge.relay import worker
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.states import Act, State
from tests.deterministic.choices import Choice, Choices
from tests.deterministic.database import Database
from tests.deterministic.judge import Judge
from tests.deterministic.platform import TIMEOUT, Platform, Transport
from tests.deterministic.profiles import CLAIMING, HOUR, LEASE, Profile, of_seed
from tests.deterministic.scheduler import Broken, Scheduler, Task
from tests.deterministic.stand_ins import Event, installed
from tests.model.traces import Line
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
SOMEBODY = Actor("simulation", name="somebody")
#: How often a task is followed by another one.
SWITCHES = (0.02, 0.1, 0.3)
#: Seconds before the close of a window to which a suspended machine wakes up; the last is after it.
BEFORE_THE_CLOSE = (LEASE + 4, LEASE - 2, 2.0, -1.0)
#: Events that several committers write under the same idempotency key.
SHARED = 3
SHARED_ORDER = "N-shared"
#: Seconds in which a healthy worker and platform bring all events to their end; most need a few.
HEALED_WITHIN = 1200.0
FREEZES = (LEASE + 2, 2.0, 3 * LEASE, HOUR)
RESTS = (0.0, 1.0, 6.0, LEASE + 1)


@dataclass
class Run:
    """What a run did, and what it broke."""

    seed: int
    profile: str
    settings: DestinationSettings
    failure: str = ""
    steps: int = 0
    seconds: float = 0.0
    commits: int = 0
    requests: int = 0
    faults: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    #: For the model, if it can follow this run.
    changes: list[Line] = field(default_factory=list)
    is_followed: bool = True
    made: dict[Choice, int] = field(default_factory=dict)


class Regret(Exception):
    """Business code changes its mind."""


class World:
    """The cast of one run."""

    def __init__(self, database: Database, seed: int, kept: Collection[Choice] | None = None) -> None:
        self.database = database
        self.profile = profile = of_seed(seed)
        self.choices = choices = Choices(seed, kept)
        self.scheduler = Scheduler(choices, switches=SWITCHES[choices.one_of("switches", len(SWITCHES))])
        self.settings = conf.destination(ALIAS)
        self.platform = Platform(
            self.scheduler,
            choices,
            self.settings.idempotency_window,
            honours_key=self.settings.honours_key,
            publish_fates=profile.publish_fates(),
            check_fates=profile.check_fates(),
            refused=profile.refused,
        )
        self.judge = Judge(self.scheduler, database, self.platform, self.settings)
        self.judge.destination.tries_types = bool(profile.refused)
        self.calm = False
        self.faults_left = profile.faults[choices.one_of("faults", len(profile.faults))]
        self.faults: list[str] = []
        #: The last step of each task.
        self.last_steps: dict[str, str] = {}
        self.numbers = 0
        self.restarts = 0
        #: Seconds that a healthy worker and platform took in the end.
        self.healed_in = 0.0
        self.scheduler.fate = self._fate
        database.trouble = self._trouble
        database.after_commit = self.judge.look

    def run(self) -> None:
        """Raises Broken."""
        profile, one_of = self.profile, self.choices.one_of
        if profile.shared_keys:
            Order.objects.create(number=SHARED_ORDER)
            self.judge.gone.add(SHARED_ORDER)
        committers = 2 if profile.shared_keys else 1 + one_of("committers", 2)
        for number in range(1, 1 + committers):
            self.scheduler.spawn(f"committer-{number}", self._commit)
        for number in range(1, 1 + max(profile.workers, 2 + one_of("workers", 2))):
            self.scheduler.spawn(f"worker-{number}", self._work)
        for number in range(1, 1 + max(profile.operators, one_of("operators", 3))):
            self.judge.operators.add(f"operator-{number}")
            self.scheduler.spawn(f"operator-{number}", self._operate)
        if profile.jobs:
            self.judge.operators.add("jobs")
            self.scheduler.spawn("jobs", self._work_on_jobs)
        if profile.prunes:
            self.judge.pruning.add("pruner")
            self.scheduler.spawn("pruner", self._prune)
        self._go()
        self.calm = self.platform.calm = True
        self.judge.operators.add("healer resumes")
        began = self.scheduler.now
        self.scheduler.spawn("healer", self._heal)
        self._go()
        self.healed_in = self.scheduler.now - began
        longest = HEALED_WITHIN
        if not self.judge.claims.clock_is_steady:  # no longer wait is known to be of a clock that was ahead
            longest += 1.1 * self.settings.platform.rules.retry_after_cap
        if self.healed_in > longest:
            raise Broken(f"a healthy worker and platform took {self.healed_in:.0f} s to bring all to an end")
        self.judge.at_the_end()

    def _go(self) -> None:
        self.scheduler.go()
        if self.scheduler.failure is not None:
            raise self.scheduler.failure

    # -------------------------------------------------------------------------------------------- the tasks

    def _commit(self) -> None:
        me, pick = self.scheduler.me.name, self.choices
        for _transaction in range(self.profile.transactions + pick.one_of(f"transactions {me}", 3)):
            numbers: list[str] = []
            regrets = pick.chance(f"regrets {me}", 0.15)
            try:
                with transaction.atomic():
                    for _event in range(1 + pick.one_of(f"events {me}", 2)):
                        numbers.append(self._write(me))
                        if self.profile.shared_keys:
                            self._write_shared(me, numbers[-1])
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
        key = self.profile.keys[self.choices.one_of(f"keys {me}", len(self.profile.keys))]
        delay = 5.0 if self.choices.chance(f"delays {me}", 0.1) else None
        order = Order.objects.create(number=f"N-{number}")
        moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        began = self.scheduler.steps
        types = self.profile.types
        event = enqueue(
            types[self.choices.one_of(f"types {me}", len(types))],
            {"number": number},
            subject=order.number,
            ordering_key=key,
            delay=delay,
            time=moment,
        )
        self.judge.began[event.event_id] = began
        return order.number

    def _write_shared(self, me: str, order: str) -> None:
        """The same event as other committers write; whoever comes first inserts it."""
        number = 1000 + self.choices.one_of(f"shared {me}", SHARED)
        event = enqueue(
            "order.shared",
            {"number": number},
            subject=SHARED_ORDER,
            idempotency_key=uuid.uuid5(uuid.NAMESPACE_URL, str(number)),
            time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        )
        self.judge.shared.append((event.event_id, order))

    def _work(self) -> None:
        me, pick = self.scheduler.me.name, self.choices
        for _round in range(3 + pick.one_of(f"rounds {me}", 4)):
            kind = pick.one_of(f"passes {me}", 3)
            try:
                if self.profile.loops:
                    self._serve()
                    kind = 3
                if kind not in (1, 3):
                    self._publish()
                if kind not in (2, 3):
                    self._check()
            except Error:
                drop_connection(outbox_alias())
            self.scheduler.wait("rests", seconds=RESTS[pick.one_of(f"rests {me}", len(RESTS))])

    def _serve(self) -> None:
        """As the loop does: publishes and checks in one pass, and lingers."""
        self.judge.claims.passes[self.scheduler.me.process] += 1
        stop: Any = Event(self.scheduler)
        transport = partial(Transport, self.platform)
        clock = worker.time.monotonic  # type: ignore[attr-defined]
        worker.run_worker(self.settings, stop=stop, transport=transport, clock=clock)

    def _publish(self) -> relay.PassReport:
        self.judge.claims.passes[self.scheduler.me.process] += 1
        return relay.publish_due(ALIAS, transport=lambda: Transport(self.platform))

    def _check(self) -> relay.PassReport:
        self.judge.claims.passes[self.scheduler.me.process] += 1
        return relay.check_accepted(ALIAS, transport=lambda: Transport(self.platform))

    def _operate(self) -> None:
        me, pick = self.scheduler.me.name, self.choices
        acts = self.profile.acts
        wanted = {
            "requeue": [State.DEAD],
            "resolve": [State.UNRESOLVED],
            "cancel": [State.PENDING, State.DEAD, State.UNRESOLVED],
            "retry": [State.PENDING],
            "check": [State.ACCEPTED, State.UNRESOLVED],
            "resend": [State.DELIVERED],
            "erase": list(State),
        }
        for _act in range(2 + pick.one_of(f"acts {me}", 4)):
            self.scheduler.wait("rests", seconds=(1.0, 5.0, 20.0, 60.0)[pick.one_of(f"rests {me}", 4)])
            act = list(acts)[pick.pick(f"act {me}", list(acts.values()))]
            try:
                if act in ("pause", "resume", "replay", "job", "stop"):
                    getattr(self, f"_{act}")(me)
                    continue
                ids = self._chosen(wanted[act], me)
                if ids:
                    self._act(act, ids[pick.one_of(f"row {me}", len(ids))], me)
            except Error:
                drop_connection(outbox_alias())

    def _chosen(self, states: list[State], me: str) -> list[int]:
        """Events in these states; now and then those that a worker holds, as soon as there is one."""

        def held() -> list[int]:
            return [
                row["id"]
                for row in self.judge.rows.values()
                if row["state"] in states and row["claim_token"] and row["due_at"] > self.database.now()
            ]

        if set(states) & {State.PENDING, State.ACCEPTED} and self.choices.chance(f"held {me}", 0.5):
            self.scheduler.wait("waits for a claim", lambda: bool(held()), 20.0)
            if found := sorted(held()):
                return found
        rows = OutboxEvent.objects.filter(state__in=states).order_by("id")
        return list(rows.values_list("id", flat=True))

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
            case "resend":
                with suppress(CannotResend):
                    operations.resend(pk, SOMEBODY, "lost by the consumer")
            case "erase":
                self._erase(pk, me)
            case _:
                outcome = list(Resolution)[self.choices.one_of(f"outcome {me}", len(Resolution))]
                again = self.choices.chance(f"again {me}", 0.5)
                if again:
                    self.judge.accepts_duplicates.add(me)
                try:
                    operations.resolve([pk], SOMEBODY, outcome, "found", accept_duplicates=again)
                finally:
                    self.judge.accepts_duplicates.discard(me)

    def _erase(self, pk: int, me: str) -> None:
        """Erase a person's data: here, all events about one order."""
        subject = OutboxEvent.objects.values_list("subject", flat=True).filter(id=pk).first()
        if subject:
            self.judge.gone.add(subject)
            cancel = self.choices.chance(f"cancels {me}", 0.5)
            if not cancel:
                self.judge.spares.add(me)
            try:
                operations.erase(SOMEBODY, "asked for", subject=subject, cancel=cancel)
            finally:
                self.judge.spares.discard(me)

    def _resume(self, _me: str) -> None:
        operations.resume(ALIAS, SOMEBODY, also_trouble=True)

    def _replay(self, me: str) -> None:
        operations.replay(EventFilter(), SOMEBODY, "lost by the consumer", rate=60.0)

    def _job(self, me: str) -> None:
        """A job for the worker of jobs: requeue all that is dead, or withdraw all."""
        act = (Act.REQUEUE, Act.RETRY, Act.CANCEL)[self.choices.pick(f"job {me}", (4.0, 1.0, 1.0))]
        state = State.PENDING if act is Act.RETRY else State.DEAD
        rows = OutboxEvent.objects.on_outbox().filter(state=state)
        jobs.freeze(jobs.Order(act, SOMEBODY, "after the incident", {}), rows)

    def _stop(self, me: str) -> None:
        for pk in Job.objects.order_by("id").values_list("id", flat=True):
            jobs.cancel(pk, SOMEBODY, "not needed")

    def _work_on_jobs(self) -> None:
        for _round in range(6):
            try:
                jobs.work(max_seconds=20.0)
            except Error:
                drop_connection(outbox_alias())
            self.scheduler.wait("rests", seconds=10.0)

    def _prune(self) -> None:
        for _round in range(5):
            try:
                retention.prune(self.settings, alone=True, batch_size=2)
            except Error:
                drop_connection(outbox_alias())
            self.scheduler.wait("rests", seconds=20.0)

    def _pause(self, me: str) -> None:
        operations.pause(ALIAS, SOMEBODY, "maintenance", (10.0, None)[self.choices.one_of(f"pauses {me}", 2)])
        self.scheduler.wait("rests", seconds=(5.0, 15.0)[self.choices.one_of(f"holds {me}", 2)])
        operations.resume(ALIAS, SOMEBODY, also_trouble=self.choices.chance(f"trouble {me}", 0.5))

    def _heal(self) -> None:
        """A healthy worker and platform bring every event to its end."""
        me = self.scheduler.me
        me.process = "healer resumes"
        operations.resume(ALIAS, SOMEBODY, also_trouble=True)
        me.process = "healer"
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

    def _strikes(self, task: Task, stream: str, likely: float) -> bool:
        if self.calm or not self.faults_left or task.process == "network":
            return False
        if not self.choices.chance(f"{stream} {task.name}", likely):
            return False
        self.faults_left -= 1
        return True

    def _fate(self, task: Task, what: str) -> None:
        process = task.process
        match self._chosen_fate(task, what):
            case "":
                return
            case "freeze":
                self._freeze(process, FREEZES[self.choices.one_of(f"freezes {process}", len(FREEZES))], what)
            case "doze":
                self._freeze(process, 1.0, what)
            case "freeze for long":
                self._freeze(process, 25 * HOUR, what)
            case "suspend":
                self._suspend(process, what)
            case "set the clock":
                steps = self.profile.steps
                seconds = steps[self.choices.one_of("clock", len(steps))]
                self._note("clock", f"the database's clock is set by {seconds:+.0f} s", process)
                self.database.skew += seconds
                self.platform.leases_last = self.platform.leases_last and seconds <= 2 * LEASE
                for each in self.scheduler.tasks:
                    each.freezes += 1
            case "kill a thread" if "/" in task.name:
                self._note("kill", f"{task.name} alone is killed before: {what}", process)
                task.process = f"{process} (dead thread)"
                self.scheduler.kill(task.process)
            case _:
                self._note("kill", f"{process} is killed before: {what}", process)
                if process.startswith("worker"):
                    self.restarts += 1
                    self.scheduler.spawn(f"{process.partition('+')[0]}+{self.restarts}", self._work)
                self.scheduler.kill(process)

    def _freeze(self, process: str, seconds: float, what: str) -> None:
        self._note("freeze", f"{process} is frozen for {seconds:.0f} s before: {what}", process)
        for each in self.scheduler.tasks:
            if each.process == process:
                each.frozen_until = self.scheduler.now + seconds
                each.freezes += 1

    def _chosen_fate(self, task: Task, what: str) -> str:
        """What strikes before this step; empty for nothing."""
        last, self.last_steps[task.name] = self.last_steps.get(task.name, ""), what
        if task.process.startswith("worker"):
            for moment in self.profile.moments:
                if moment.matches(what, last) and self._strikes(task, moment.fate, moment.likely):
                    return moment.fate
        if not self._strikes(task, "fault", self.profile.likely):
            return ""
        fates = self.profile.fates
        return list(fates)[self.choices.pick(f"fate {task.name}", list(fates.values()))]

    def _suspend(self, process: str, what: str) -> None:
        """The machine sleeps until around the close of the window of a doubtful event, or 20 hours."""
        doubts = self._doubts(process, what)
        seconds = 20 * HOUR
        if doubts and self.settings.honours_key:
            before = BEFORE_THE_CLOSE[self.choices.one_of("before the close", len(BEFORE_THE_CLOSE))]
            doubt = doubts[self.choices.one_of("doubt", len(doubts))]
            seconds = doubt + self.settings.doubt_seconds - before - self.database.now()
        if seconds <= 0 or not (doubts or self.profile.prunes):
            self.faults_left += 1
            return
        self._note("suspend", f"all are suspended for {seconds:.1f} s before: {what}", process)
        self.scheduler.now += seconds
        for each in self.scheduler.tasks:
            each.freezes += 1

    def _doubts(self, process: str, what: str) -> list[float]:
        """Since when events are in doubt: between a look and a claim those that are due, else those held."""
        held, due, others = [], [], []
        for row in self.judge.rows.values():
            since = row["key_known_since"] or row["in_doubt_since"]
            if since is None or row["state"] not in (State.PENDING, State.UNRESOLVED):
                continue
            others.append(since)
            claim = self.judge.claims.of(row)
            if row["state"] == State.PENDING and row["due_at"] <= self.database.now():
                due.append(since)
            elif claim is not None and claim.process == process:
                held.append(since)
        return due if re.match(CLAIMING, what) else held or due or others

    def _trouble(self, task: Task, what: str) -> str:
        """An error of the database instead of this statement."""
        if not self._strikes(task, "trouble", self.profile.likely):
            return ""
        kinds = ("before", "after") if what == "commit" else ("deadlock", "lost")
        kind = kinds[self.choices.one_of(f"kind {task.name}", 2)]
        self._note("trouble", f"{task.name}: {kind}, at {what}", task.process)
        return kind

    def _note(self, what: str, text: str, process: str) -> None:
        self.faults.append(f"{self.scheduler.now:10.3f} {text}")
        self.scheduler.note(text)
        self.judge.struck(what, process)


@contextmanager
def configured(profile: Profile) -> Iterator[None]:
    """The settings of a run."""
    own = django_settings.GENESYS_EVENTBRIDGE[ALIAS]
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        chosen = {**own, **SETTINGS, **profile.settings}
        if chosen.get("PROTOCOL") == "webhook":
            chosen = {name: value for name, value in chosen.items() if name not in Webhook.unused}
            chosen["WEBHOOK_TOKEN"] = "token-0123456789"
        with override_settings(GENESYS_EVENTBRIDGE={ALIAS: chosen}):
            yield
    finally:
        logging.disable(level)


def run(database: Database, seed: int, kept: Collection[Choice] | None = None) -> Run:
    """One run from an empty database; the seed, and the choices kept, determine everything."""
    with configured(of_seed(seed)):
        database.reset()
        return _run(database, seed, kept)


def _run(database: Database, seed: int, kept: Collection[Choice] | None) -> Run:
    world = World(database, seed, kept)
    result = Run(seed, world.profile.name, world.settings)
    judge, answers = world.judge.destination, world.judge.answers
    gate = partial(judge.through_gate, destinations.gate)
    allowed = partial(judge.of_the_rate, destinations.allowed)
    draw = partial(judge.of_the_bucket, destinations.draw)
    turn = partial(judge.of_the_turn, destinations.take_refused_turn)
    with (
        installed(world.scheduler),
        database.running(world.scheduler),
        mock.patch.object(destinations, "gate", gate),
        mock.patch.object(destinations, "allowed", allowed),
        mock.patch.object(destinations, "draw", draw),
        mock.patch.object(destinations, "take_refused_turn", turn),
        mock.patch.object(settle, "logger", world.judge.log),
        mock.patch.object(expiry, "logger", world.judge.log),
        mock.patch.object(destinations, "record", partial(answers.record, destinations.record)),
        mock.patch.object(destinations, "after", partial(answers.after, circuit.after)),
    ):
        try:
            world.run()
        except Broken as broken:
            result.failure = str(broken)
        result.ends = world.judge.summary()
    result.steps, result.seconds = world.scheduler.steps, world.scheduler.now
    result.commits, result.requests = world.judge.commits, world.platform.requests
    result.faults, result.trace = world.faults, world.scheduler.trace
    result.changes = world.judge.changes.lines(world.settings)
    result.made = dict(world.choices.made)
    # The model's platform recognises a key, its clock is never set, and dead events hold back others.
    known = world.settings.honours_key and world.settings.block_key_on_dead
    result.is_followed = known and world.judge.claims.clock_is_steady
    return result

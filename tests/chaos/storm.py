"""The storm: committers and workers are killed, frozen and cut off while the platform fails; then calm."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, connections

from genesys_eventbridge import operations
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.operations import Actor, Resolution
from genesys_eventbridge.outbox.due import due_events
from genesys_eventbridge.sandbox import Sandbox, serve
from genesys_eventbridge.states import State
from tests.chaos import crew
from tests.chaos.cuts import cut_connections
from tests.chaos.judge import Findings, Standstill, blind, judge, longest_standstills, never_requested
from tests.chaos.processes import PATIENCE, Child, destination, heard, webhook
from tests.shop.models import Order

#: How the platform behaves for a while; most of the time it works. Nothing here needs an operator, because a
#: refused login or path pauses for minutes by design.
MOODS: list[dict[str, Any]] = [
    *[{}] * 6,
    {"scenario": "flaky"},
    {"scenario": "lost-response"},
    {"scenario": "slow", "slow_latency": 0.3},
    {"scenario": "slow", "slow_latency": 2.5},  # past REQUEST_DEADLINE, before the next try
    {"scenario": "rate-limited", "rate": 20, "rate_window": 1.0},
    {"scenario": "outage"},
]
CALM: dict[str, Any] = {"scenario": "happy", "rate": None, "rate_window": 60.0, "slow_latency": 0.3}
#: Faults for a few requests: the fault, and how many requests.
SPITE: list[tuple[int | str, int]] = [(503, 5), (0, 3), (429, 1), (504, 2), (500, 4), ("gateway-timeout", 3)]
SPITE += [("conflict-in-progress", 2), (423, 2)]
#: A webhook has no conflicts, because it knows no keys.
WEBHOOK_SPITE: list[tuple[int | str, int]] = [each for each in SPITE if each[0] != "conflict-in-progress"]
WEBHOOK_SPITE += [("no-id", 2), ("half-body", 2), ("html-200", 1)]
#: Seconds between two measurements of the backlog.
LOOK_EVERY = 10.0
#: Longer than LEASE_SECONDS: a process frozen for this long loses its claims.
FROZEN = 9.0


@dataclass
class Report:
    """What a storm did, and the findings."""

    database: str
    seed: int
    workers: int
    seconds: float = 0.0
    committed: int = 0
    events: int = 0
    rolled_back: int = 0
    deeds: Counter[str] = field(default_factory=Counter)
    drain: float = 0.0
    #: The longest of any event, and of those that no earlier event of their ordering key held back.
    standstill: Standstill = field(default_factory=Standstill)
    standstill_alone: Standstill = field(default_factory=Standstill)
    #: The most events due at once, measured every few seconds.
    backlog: int = 0
    findings: Findings = field(default_factory=Findings)
    #: ON_DOUBT, if the protocol is the webhook.
    on_doubt: str = ""
    #: Events that an operator was asked about, and those of them that no request may have brought.
    questions: int = 0
    never_requested: int = 0
    #: Events accepted more than once.
    accepted_again: int = 0

    def __str__(self) -> str:
        deeds = ", ".join(f"{count} {deed}" for deed, count in sorted(self.deeds.items()))
        found = ", ".join(f"{name} {count}" for name, count in self.findings.counts().items())
        return (
            f"chaos on {self.database}, seed {self.seed}, {self.workers} workers, {self.seconds:.0f} s"
            f"{self._on_doubt()}:\n"
            f"  {self.committed} transactions committed ({self.events} events), "
            f"{self.rolled_back} rolled back\n"
            f"  {deeds}\n"
            f"  {found}\n"
            f"  longest standstill of an event {self.standstill}\n"
            f"  longest of one at the head of its key {self.standstill_alone}\n"
            f"  at most {self.backlog} events due at once, drained {self.drain:.1f} s after the storm"
        )

    def _on_doubt(self) -> str:
        if not self.on_doubt:
            return ""
        return (
            f", webhook, ON_DOUBT {self.on_doubt}, {self.questions} unresolved "
            f"({self.never_requested} never requested), {self.accepted_again} accepted again"
        )


def _due() -> int:
    return due_events("default", State.PENDING).count() + due_events("default", State.ACCEPTED).count()


class Storm:
    """``commits`` limits it; ``restart``, if given, restarts the database now and then.

    With ``on_doubt`` ("ask" or "resend") the destination is a webhook.
    """

    def __init__(
        self,
        *,
        seed: int,
        workers: int,
        commits: int,
        seconds: float,
        restart: Callable[[], None] | None = None,
        on_doubt: str = "",
    ) -> None:
        self.draw = random.Random(seed)
        self.restart = restart
        self.commits = commits
        self.pause = 2 * seconds / commits
        self.report = Report(connection.vendor, seed, workers, on_doubt=on_doubt)
        self.on_doubt = on_doubt
        self._platform_stops = threading.Event()
        self.sandbox = Sandbox(
            deliver_after=0.3,
            protocol="webhook" if on_doubt else "eventbridge",
            sleep=self._wait,
        )
        self.server = serve(self.sandbox)
        self.children: dict[str, Child] = {}
        self.frozen: dict[str, float] = {}
        self.born = 0
        self.committed = 0
        self.stale: list[str] = []

    def run(self) -> Report:
        began = time.monotonic()
        names = [f"worker-{number}" for number in range(self.report.workers)]
        try:
            for name in [*names, "committer-0", "committer-1"]:
                self._start(name)
            self._rage()
            self.report.seconds = time.monotonic() - began
            self._calm(names)
            self._sum_up()
        finally:
            for child in self.children.values():
                child.close()
            self.server.close()
        return self.report

    def _start(self, name: str) -> None:
        self.born += 1
        url = self.server.url
        orders: dict[str, Any] = {
            "destination": webhook(url, self.on_doubt) if self.on_doubt else destination(url)
        }
        if name.startswith("worker"):
            self.children[name] = Child(crew.loop, watched=True, **orders)
        else:
            tag = f"c{self.born}"
            self.children[name] = Child(
                crew.commit_many, name=tag, seed=self.born, pause=self.pause, **orders
            )

    def _rage(self) -> None:
        next_mood = next_deed = next_look = time.monotonic()
        while self.committed < self.commits:
            now = time.monotonic()
            self._listen(max(0.0, min(next_deed, next_mood) - now))
            self._thaw(now)
            self._revive()
            if now >= next_mood:
                next_mood = now + self.draw.uniform(1.0, 3.0)
                self._mood()
            if now >= next_deed:
                next_deed = now + self.draw.uniform(0.2, 2.0)
                self._deed()
            if now >= next_look:
                next_look = now + LOOK_EVERY
                self.report.backlog = max(self.report.backlog, self._with_database(_due) or 0)

    def _listen(self, seconds: float) -> None:
        """Read the processes' messages for ``seconds``."""
        ends = time.monotonic() + seconds
        while True:
            pipes = {child.pipe: name for name, child in self.children.items() if not child.pipe.closed}
            for pipe in wait(list(pipes), max(0.0, min(0.1, ends - time.monotonic()))):
                self._note(pipe)  # type: ignore[arg-type]
            if time.monotonic() >= ends:
                return

    def _note(self, pipe: Connection) -> None:
        said = heard(pipe)
        for word in said:
            if isinstance(word, tuple):
                self.stale.append(str(word))
            else:
                self.committed += word != "rolled back"
                self.report.rolled_back += word != "committed"
        if not said:  # the other end is closed
            pipe.close()

    def _revive(self) -> None:
        for name, child in list(self.children.items()):
            if not child.process.is_alive():
                if child.process.exitcode != -signal.SIGKILL:
                    self.report.deeds[f"{name} ended with {child.process.exitcode}"] += 1
                child.close()
                self._start(name)

    def _thaw(self, now: float) -> None:
        for name, until in list(self.frozen.items()):
            if now >= until:
                del self.frozen[name]
                if self.children[name].process.is_alive():
                    self.children[name].signal(signal.SIGCONT)

    def _mood(self) -> None:
        mood = self.draw.choice(MOODS)
        self.sandbox.configure(**{**CALM, **mood})
        # A paused destination sends few probes, so leftover faults would become an endless outage.
        self.sandbox.stop_failing()
        if self.draw.random() < 0.4:
            fault, times = self.draw.choice(WEBHOOK_SPITE if self.on_doubt else SPITE)
            self.sandbox.fail_next(fault, times)
        if self.draw.random() < 0.05:
            self.report.deeds["platform restarts"] += 1
            self._restart_platform()

    def _wait(self, seconds: float) -> None:
        self._platform_stops.wait(seconds)

    def _restart_platform(self) -> None:
        """It ends slow requests, too: otherwise they would seem to overlap with their next try."""
        self.server.close()
        self._platform_stops.set()
        self._platform_stops.clear()
        self.server = serve(self.sandbox, port=self.server.port)

    def _deed(self) -> None:
        deeds: dict[str, float] = {"workers killed": 12, "committers killed": 2, "workers frozen": 1}
        if self.report.database != "sqlite":
            deeds["connections cut"] = 2
        if self.restart:
            deeds["database restarts"] = 1
        deed = self.draw.choices(list(deeds), list(deeds.values()))[0]
        kind = "committer" if deed.startswith("committer") else "worker"
        name = f"{kind}-{self.draw.randrange(2 if kind == 'committer' else self.report.workers)}"
        match deed:
            case "workers frozen":
                if self.frozen:
                    return
                self.frozen[name] = time.monotonic() + FROZEN
                self.children[name].signal(signal.SIGSTOP)
            case "connections cut":
                self._with_database(cut_connections)
            case "database restarts":
                connections.close_all()
                assert self.restart is not None
                self.restart()
            case _:
                self.frozen.pop(name, None)
                child = self.children[name]
                if not child.pipe.closed and child.pipe.poll():
                    self._note(child.pipe)
                child.kill()
        self.report.deeds[deed] += 1

    def _calm(self, names: list[str]) -> None:
        """The platform works and no process is killed any more, until no event is open."""
        self.sandbox.configure(**CALM)
        self.sandbox.stop_failing()
        for name in ("committer-0", "committer-1"):
            child = self.children.pop(name)
            if child.process.is_alive():
                child.pipe.send("stop")
                self._hear_out(child)
            child.close()
        self._thaw(float("inf"))
        began = time.monotonic()
        while self._with_database(self._is_unfinished) is not False:
            self._listen(0.2)
            self._revive()
            if time.monotonic() - began > PATIENCE:
                break
        self.report.drain = time.monotonic() - began
        for name in names:
            self.children[name].signal(signal.SIGTERM)
        for name in names:
            self._hear_out(self.children[name])
            code = self.children[name].process.exitcode
            assert code in (0, -signal.SIGTERM), f"a worker told to stop exited with {code}"

    def _is_unfinished(self) -> bool:
        """Whether events are open. Those that wait for an unresolved one wait until it has been looked up."""
        if OutboxEvent.objects.open().exclude(key_held=True).exists():
            return True
        if self.on_doubt == "ask" and OutboxEvent.objects.filter(state=State.UNRESOLVED).exists():
            self._look_up()
            return True
        return OutboxEvent.objects.open().exists()

    def _look_up(self) -> None:
        """What an operator does with unresolved events: look whether the platform has each of them."""
        ledger = self.sandbox.ledger()
        self.report.findings.blind += blind(ledger, self.on_doubt)
        self.report.never_requested += len(never_requested(ledger))
        asked = list(OutboxEvent.objects.filter(state=State.UNRESOLVED))
        self.report.questions += len(asked)
        for row in asked:
            arrived = f"{row.source} {row.event_id}" in ledger["accepts"]
            decision = Resolution.DELIVERED if arrived else Resolution.NOT_DELIVERED
            operations.resolve([row.pk], Actor("chaos"), decision, "looked up", accept_duplicates=True)

    def _hear_out(self, child: Child) -> None:
        """Read its messages until it has ended."""
        while child.process.is_alive():
            if not child.pipe.closed and child.pipe.poll(0.05):
                self._note(child.pipe)
            else:
                child.process.join(0.05)

    def _with_database(self, work: Callable[[], Any]) -> Any:
        """The result of ``work()``; None if the database is unavailable."""
        try:
            return work()
        except (DatabaseError, InterfaceError):
            connection.close()
            return None

    def _sum_up(self) -> None:
        ledger = self.sandbox.ledger()
        before = self.report.findings.blind
        self.report.findings = judge(ledger, stale=self.stale, on_doubt=self.on_doubt)
        self.report.findings.blind += before
        self.report.accepted_again = sum(times > 1 for times in ledger["accepts"].values())
        self.report.standstill, self.report.standstill_alone = longest_standstills(ledger)
        self.report.committed = Order.objects.values("note").distinct().count()
        self.report.events = OutboxEvent.objects.count()

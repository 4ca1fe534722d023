"""A state machine over rows, workers and keys: after every step the invariants of the guarantees hold.

Each worker is the relay's own ``Pass``, driven step by step; only its sender threads are a fake. Time is
injected: the database's clock and the monotonic clock that workers read move together, by hand.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import queue
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.db.models import F
from django.test import override_settings
from hypothesis import seed
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from genesys_eventbridge import conf, db, operations
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, CannotResend, Resolution
from genesys_eventbridge.outbox import claim, destinations, due, enqueue, next_due, retention, sweep
from genesys_eventbridge.outbox.claim import Capacity, Claimed
from genesys_eventbridge.outbox.destinations import Gate
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.relay import batch as relay_pass
from genesys_eventbridge.relay import senders
from genesys_eventbridge.relay.batch import Pass
from genesys_eventbridge.relay.senders import Report, Senders
from genesys_eventbridge.states import OPEN, AttemptKind, Reason, State
from tests.invariants import broken
from tests.model_platform import CHECK_FATES, PUBLISH_FATES, ModelPlatform, Request
from tests.shop.models import Order

HOUR, DAY = 3600.0, 86400.0
PERSON = Actor("tests", name="somebody")
BLOCK = 10
WORKERS = 3
KEYS = [None, "a", "b"]
PUBLISH, CHECK = [AttemptKind.PUBLISH], [AttemptKind.CHECK]
BOTH = [*PUBLISH, *CHECK]
WAITS = [1.0, 41.0, 41.0, 400.0, HOUR, 22 * HOUR, 23 * HOUR - 30, 25 * HOUR]
FIXED = (
    "event_id",
    "source",
    "type",
    "subject",
    "body_sha256",
    "idempotency_key",
    "ordering_key",
    "created_at",
)

#: Long leases and few attempts: every end is a few steps away.
SETTINGS = {
    "MAX_ATTEMPTS": 4,
    "LEASE_SECONDS": 60,
    "REQUEST_DEADLINE": 20,
    "CONFIRM_FOR": HOUR,
    "WAKE": None,
    "CONCURRENCY": 4,
    "BATCH_SIZE": 8,
    "RETENTION_DAYS": 30,
    "PAYLOAD_RETENTION_DAYS": 7,
}


#: Of four senders, how many may be busy with rows of dead workers.
MOST_LAPSED = 3
#: No wait is longer, with its jitter (seconds).
LONGEST_WAIT = 1.2 * HOUR
ORGANISATIONS = ["client-of-one", "client-of-another"]

#: One request: what becomes of it, how many seconds its answer takes, and whether it arrives as late.
CALLS = st.tuples(
    st.sampled_from(sorted(PUBLISH_FATES)),
    st.sampled_from(sorted(CHECK_FATES)),
    st.sampled_from([0.0, 5.0, 20.0]),
    st.booleans(),
)
#: The steps, how often each is taken beside the others, and what is drawn for it. One rule takes them all:
#: left to itself, hypothesis switches rules off for whole examples, and few workers show little.
STEPS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "transact": (
        4,
        {
            "key": st.sampled_from(KEYS),
            "delay": st.sampled_from([None, None, 90.0]),
            "ends": st.sampled_from(["commit", "commit", "roll back", "roll back a savepoint"]),
        },
    ),
    "work": (
        8,
        {
            "after": st.sampled_from([0.0, 0.0, 6.0, 61.0]),
            "number": st.integers(0, WORKERS - 1),
            "kinds": st.sampled_from([PUBLISH, PUBLISH, CHECK, BOTH, BOTH]),
            "limit": st.sampled_from([1, 2, None, None]),
            "calls": st.lists(CALLS, min_size=2, max_size=4),
            "ends": st.sampled_from(["settle", "settle", "hold", "hold", "die", "die with its requests"]),
        },
    ),
    "work_beside_locks": (
        2,
        {
            "number": st.integers(0, WORKERS - 1),
            "kinds": st.sampled_from([PUBLISH, BOTH]),
            "calls": st.lists(CALLS, min_size=1, max_size=4),
            "every": st.sampled_from([1, 2, 3]),
            "rows_come_first": st.booleans(),
        },
    ),
    "move": (1, {}),
    "tamper": (1, {"data": st.data()}),
    "thaw": (
        4,
        {
            "number": st.integers(0, WORKERS - 1),
            "calls": st.lists(CALLS, max_size=2),
            "all_of_them": st.booleans(),
        },
    ),
    "wait": (2, {"seconds": st.sampled_from(WAITS)}),
    "prune": (1, {"days": st.sampled_from([0.0, 8.0, 31.0])}),
    "act": (
        3,
        {
            "data": st.data(),
            "act": st.sampled_from(["requeue", "cancel", "retry", "check", "resolve", "resolve"]),
        },
    ),
    "late": (
        2,
        {
            "taken": st.sampled_from(["taken", "taken and delivered"]),
            "lost": st.sampled_from(["taken without an id", "taken, answer lost"]),
            "after": st.sampled_from([0.0, 30 * HOUR]),
            "check": st.sampled_from(sorted(CHECK_FATES)),
            "resolution": st.sampled_from(Resolution),
            "accept_duplicates": st.booleans(),
            "fate": st.sampled_from(sorted(PUBLISH_FATES)),
        },
    ),
    "resend": (1, {"data": st.data()}),
    "pause": (
        1,
        {
            "held": st.sampled_from([30.0, 30.0, None]),
            "ends": st.sampled_from([True, True, True, False]),
            "also_trouble": st.booleans(),
        },
    ),
}
#: The states that an act is for; it is tried on others only where there is no such row.
ACTS = {
    "requeue": [State.DEAD],
    "cancel": [State.PENDING, State.DEAD, State.UNRESOLVED],
    "retry": [State.PENDING],
    "check": [State.ACCEPTED, State.UNRESOLVED],
    "resolve": [State.UNRESOLVED],
}


def _rows() -> dict[int, dict[str, Any]]:
    """Every row, with the database's present time as ``now``."""
    return {row["id"]: dict(row) for row in OutboxEvent.objects.annotate(now=DatabaseNow()).values()}


def _columns(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return row and {name: value for name, value in row.items() if name != "now"}


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that only its own outcome may change: a release makes a row due."""
    moved = ("now", "due_at", "key_held")
    return {name: value for name, value in row.items() if name not in moved}


def _is_given_up(row: dict[str, Any]) -> bool:
    return row["state"] == State.UNRESOLVED and not row["remote_id"] and row["claim_token"] is None


@dataclass
class Held:
    """A row that a sender has in its hands: asked about, and answered at some moment."""

    claimed: Claimed
    report: Report
    request: Request | None
    ends: float


class Reports(deque[Report]):
    """What the pass waits on; no time passes while it waits."""

    def put(self, report: Report) -> None:
        self.append(report)

    def get(self, block: bool = True, timeout: float = 0.0) -> Report:
        if not self:
            raise queue.Empty
        return self.popleft()


class Hands(Senders):
    """Senders without threads: rows wait in ``rows`` until the machine lets their requests begin."""

    def __init__(self, settings: DestinationSettings) -> None:
        super().__init__(settings, settings.concurrency)
        self.reports: Any = Reports()
        self.rows: list[Claimed] = []
        self.held: list[Held] = []

    def send(self, rows: list[Claimed]) -> None:
        self.rows += rows

    def begin(self, row: Claimed, launch: Callable[[str, str], Outcome]) -> Report:
        """Behind the sender's own guards."""
        return self._ask(FakeSender(launch), row)  # type: ignore[arg-type]

    def report(self, report: Report) -> None:
        if report.outcome is not None and self._means_trouble(report.outcome):
            self.stop()
        self.reports.put(report)


@dataclass
class Worker:
    """A process. Its senders outlive its passes."""

    settings: DestinationSettings
    hands: Hands
    run: Pass | None = None
    #: By token: the rows that its present pass claimed and has not been answered about, with whether their
    #: claims lapsed once, and twice in a row.
    owed: dict[UUID, tuple[Claimed, bool, bool]] = field(default_factory=dict)

    @classmethod
    def started(cls, settings: DestinationSettings) -> Worker:
        return cls(settings, Hands(settings))

    @property
    def is_busy(self) -> bool:
        waits = self.run is not None and self.run._waits()
        return bool(waits or self.hands.rows or self.hands.held or self.hands.reports)


class FakeSender:
    """Stands where the HTTP sender stands: the request leaves, the answer comes when the platform has run."""

    def __init__(self, launch: Callable[[str, str], Outcome]) -> None:
        self.launch = launch

    def deadline(self) -> None:
        """Requests here have none."""

    def publish(self, body: str, key: str, sent: Any, *, deadline: None) -> Outcome:
        return self.launch(body, key)

    def check(self, remote_id: str, *, sent: Any, age: float | None, deadline: None) -> Outcome:
        return self.launch(remote_id, "")


class Machine(RuleBasedStateMachine):
    """Transactions end well or ill, workers claim, ask, settle, freeze and die, people act, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0
        self.patch = pytest.MonkeyPatch()
        self.keys: dict[str, Any] = {}
        self.configured: Any = None
        self._configure(CLIENT_ID=ORGANISATIONS[0])
        self.platform = ModelPlatform(self.settings.idempotency_window, self._accepted)
        self.workers = [Worker.started(self.settings) for _ in range(WORKERS)]
        self.claiming = self.workers[0]
        self.batches: list[claim.Batch] = []
        self.locked: set[int] = set()
        self.lapses: Counter[int] = Counter()
        self.numbers = 0
        self.fixed: dict[int, tuple[Any, ...]] = {}
        self.bodies: dict[int, str] = {}
        self.tampered: set[int] = set()
        self.ends: dict[int, tuple[Any, ...]] = {}
        self.epochs: Counter[int] = Counter()
        #: Rows a person had a say about: order is not promised after that, and "delivered" may be their word.
        self.touched: set[int] = set()
        for module in (claim, senders, relay_pass, db):
            clock = SimpleNamespace(monotonic=self.now, sleep=self._sleep)
            self.patch.setattr(module, "steady", clock)
        self.patch.setattr(db, "time", clock)
        self.patch.setattr(sweep.sweep, "__kwdefaults__", {"clock": self.now})
        self.claim = claim.claim
        self.patch.setattr(claim, "claim", self._judged_claim)
        due.forget()
        sweep.forget()

    def _configure(self, **keys: Any) -> None:
        if self.configured is not None:
            self.configured.disable()
        self.keys.update(keys)
        own = django_settings.GENESYS_EVENTBRIDGE["default"]
        self.configured = override_settings(GENESYS_EVENTBRIDGE={"default": {**own, **self.keys}})
        self.configured.enable()
        self.settings = conf.destination()

    def _sleep(self, seconds: float) -> None:
        self.offset += seconds

    def now(self) -> float:
        return time.monotonic() + self.offset

    @contextlib.contextmanager
    def clocks(self) -> Iterator[None]:
        self.platform.run_until(self.now())
        with shifted(self.offset):
            yield

    # ------------------------------------------------------------------------------ the user's transactions

    @initialize(keys=st.lists(st.sampled_from(KEYS), min_size=3, max_size=6), blocks=st.booleans())
    def begin(self, keys: list[str | None], blocks: bool) -> None:
        self._configure(BLOCK_KEY_ON_DEAD=blocks)
        destinations.gate(AttemptKind.PUBLISH, "default", "tests")
        for key in keys:
            with transaction.atomic():
                self._write(key)
        self._remember()

    @rule(
        name=st.sampled_from([name for name, (weight, _) in STEPS.items() for _ in range(weight)]),
        data=st.data(),
    )
    def step(self, name: str, data: st.DataObject) -> None:
        drawn = data.draw(st.fixed_dictionaries(STEPS[name][1]), label=name)
        getattr(self, name)(**drawn)

    def transact(self, key: str | None, delay: float | None, ends: str) -> None:
        with self.clocks():
            if ends == "roll back":
                self._regret(key)
            else:
                with transaction.atomic():
                    self._write(key, delay)
                    if ends == "roll back a savepoint":
                        self._regret(key)
        self._remember()

    def _regret(self, key: str | None) -> None:
        """Write, and roll it back: the transaction, or the savepoint within one."""
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            self._write(key)
            raise ZeroDivisionError

    def _write(self, key: str | None, delay: float | None = None) -> None:
        self.numbers += 1
        order = Order.objects.create(number=f"N-{self.numbers}")
        enqueue("order.created", {"n": self.numbers}, subject=order.number, ordering_key=key, delay=delay)

    def _remember(self) -> None:
        for row in OutboxEvent.objects.exclude(id__in=self.fixed).values("id", "body", *FIXED):
            self.fixed[row["id"]] = tuple(row[name] for name in FIXED)
            self.bodies[row["id"]] = row["body"]

    # ------------------------------------------------------------------------------------------ the workers

    def work(
        self,
        *,
        after: float,
        number: int,
        kinds: list[AttemptKind],
        limit: int | None,
        calls: list[Any],
        ends: str,
    ) -> None:
        """A worker claims, begins some of it, and settles, dies, or is frozen with it in its hands."""
        self.offset += after
        worker = self.workers[number]
        with self.clocks():
            self._claim(worker, kinds, limit)
            for call in calls:
                self._ask(worker, *call)
        if ends == "settle":
            self._finish(worker)
        elif ends != "hold":
            self._die(worker, requests_too=ends != "die")

    def thaw(self, number: int, calls: list[Any], all_of_them: bool) -> None:
        """A worker goes on where it stopped, however late: with claims too old, and often a stale token."""
        with self.clocks():
            for call in calls:
                self._ask(self.workers[number], *call)
        self._finish(self.workers[number], all_of_them=all_of_them)

    def work_beside_locks(
        self, number: int, kinds: list[AttemptKind], calls: list[Any], every: int, rows_come_first: bool
    ) -> None:
        """Another transaction holds some rows while a worker claims, or while it settles."""
        worker = self.workers[number]
        if not rows_come_first:
            with self.clocks():
                self._claim(worker, kinds, None)
                for call in calls:
                    self._ask(worker, *call)
        with self._others_hold(
            list(OutboxEvent.objects.order_by("id").values_list("id", flat=True))[::every]
        ):
            if rows_come_first:
                with self.clocks():
                    self._claim(worker, kinds, None)
            else:
                self._finish(worker)
        if rows_come_first:
            with self.clocks():
                for call in calls:
                    self._ask(worker, *call)
        self._finish(worker)
        assert worker.run is None or not any(
            side.unwritten or side.late for side in worker.run.sides.values()
        ), "an outcome was not written when the lock was gone"

    @contextlib.contextmanager
    def _others_hold(self, ids: list[int]) -> Iterator[None]:
        """No row of SQLite can be held alone."""
        if connection.vendor == "sqlite" or not ids:
            yield
            return
        seconds = (
            "lock_timeout = '5s'" if connection.vendor == "postgresql" else "innodb_lock_wait_timeout = 5"
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SET {seconds}")
        other = connection.copy()
        try:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                for pk in ids:  # one by one: of a list MariaDB reads, and locks, the whole small table
                    cursor.execute(
                        "SELECT id FROM genesys_eventbridge_outboxevent WHERE id = %s FOR UPDATE", [pk]
                    )
            self.locked = set(ids)
            yield
        finally:
            self.locked = set()
            other.rollback()
            other.close()

    def move(self) -> None:
        """The settings name the other organisation from now on; busy workers go on with what they read."""
        self._configure(CLIENT_ID=ORGANISATIONS[self.keys["CLIENT_ID"] == ORGANISATIONS[0]])

    def tamper(self, data: st.DataObject) -> None:
        """Change the body of an event by SQL."""
        pending = sorted(OutboxEvent.objects.filter(state=State.PENDING).values_list("id", flat=True))
        if pending:
            pk = data.draw(st.sampled_from(pending))
            OutboxEvent.objects.filter(pk=pk).update(body='{"changed": "by hand"}')
            self.tampered.add(pk)

    def late(
        self,
        *,
        taken: str,
        lost: str,
        after: float,
        check: str,
        resolution: Resolution,
        accept_duplicates: bool,
        fate: str,
    ) -> None:
        """A frozen worker holds the proof, a second one gives the event up, then people act on it."""
        for worker in list(self.workers):
            self._finish(worker)
            self._die(worker, requests_too=False)
        frozen, other, third = self.workers
        with self.clocks():
            self._claim(frozen, PUBLISH, 1)
            if not frozen.hands.rows:
                return
            row = frozen.hands.rows[0].id
            self._ask(frozen, taken, check, 0.0, slow_way=False)
        self.offset += 61.0
        with self.clocks():
            self._claim(other, PUBLISH, 1)
            self._ask(other, lost, check, 0.0, slow_way=False)
        self._finish(other)
        self._finish(frozen)
        self.offset += 6.0
        with self.clocks():
            self._claim(third, CHECK, 8)
            for _row in list(third.hands.rows):
                self._ask(third, fate, check, 0.0, slow_way=False)
        self._finish(third)
        self.offset += after
        with self.clocks():
            done = self._resolve(row, resolution, accept_duplicates)
        self.epochs.update(done.may_duplicate.ids)
        self.touched.update(done.ids)
        with self.clocks():
            self._claim(third, PUBLISH, 1)
            self._ask(third, fate, check, 0.0, slow_way=False)
        self._finish(third)

    def _claim(self, worker: Worker, kinds: list[AttemptKind], limit: int | None) -> int:
        """How many rows the pass got in its present round."""
        run = self._pass(worker, kinds, limit)
        self.claiming = worker
        rows = 0
        for _look in range(50):
            self.batches.clear()
            run._claim()
            owed = worker.owed.values()
            assert sum(lapsed for _row, lapsed, _twice in owed) <= MOST_LAPSED, "too many lapsed rows"
            assert sum(twice for _row, _lapsed, twice in owed) <= 1, "two suspects together"
            rows += sum(len(batch.rows) for batch in self.batches)
            if not any(batch.moved or set(batch.ended) - self.locked for batch in self.batches):
                return rows
        raise AssertionError("claims go on moving rows and never bring one")

    def _pass(self, worker: Worker, kinds: list[AttemptKind], limit: int | None) -> Pass:
        """The worker's pass; a new one where the last is over, or has used up its time."""
        run = worker.run
        if run is not None:
            over = not run._waits() and (run._until_next_claim() is None or set(run.sides) != set(kinds))
            if not over and run._elapsed() < worker.settings.pass_seconds:
                return run
            for side in run.sides.values():
                if side.begun:
                    side.finish()
        if worker.settings is not self.settings and not worker.is_busy:
            worker.settings, worker.hands = self.settings, Hands(self.settings)
        worker.owed = {}
        worker.run = run = Pass(
            dict.fromkeys(kinds, 0.0), worker.settings, worker.hands, limit=limit, clock=self.now
        )
        for side in run.sides.values():
            side.begin()
        if AttemptKind.PUBLISH in run.sides:
            self._judge_expiry(worker.settings)
        return run

    def _judge_expiry(self, settings: DestinationSettings) -> None:
        doubtful = OutboxEvent.objects.filter(
            state=State.PENDING,
            due_at__lte=DatabaseNow(),
            in_doubt_since__lte=DatabaseNow(-settings.doubt_seconds),
        )
        assert not doubtful.exclude(id__in=self.locked).exists(), "a doubt outlived its window"

    def _judged_claim(
        self,
        kind: AttemptKind,
        settings: DestinationSettings,
        gate: Gate,
        room: Capacity,
        about: UUID | None = None,
        *,
        only: Collection[int] | None = None,
    ) -> claim.Batch:
        number = OutboxEvent.objects.filter(due_at__lte=DatabaseNow(), state=claim.FROM_STATE[kind]).count()
        seen_at = next_due.database_now()
        runnable = self._runnable(kind, gate, settings)
        before = {row.pk: row for row in OutboxEvent.objects.all()}
        batch = self.claim(kind, settings, gate, room, about, only=only)
        self.batches.append(batch)
        claimed_at = next_due.database_now()
        # The database's clock goes on: rows may become due between our look and the claim's.
        since = {pk for pk, row in before.items() if row.due_at and seen_at < row.due_at <= claimed_at}
        since -= {pk for pk, *_lapses in runnable}
        got = [row.id for row in batch.rows if row.id not in since]
        all_seen = number <= 4 * room.rows and not since
        self._judge_claim(batch, got, runnable, room, probing=gate.probing, all_seen=all_seen)
        for row in batch.rows:
            self._judge_counters(row, before[row.id], settings)
            lapsed = before[row.id].claim_token is not None
            self.lapses[row.id] = self.lapses[row.id] + 1 if lapsed else 0
            assert (row.lapsed, row.suspect) == (lapsed, self.lapses[row.id] > 1)
            self.claiming.owed[row.token] = (row, lapsed, self.lapses[row.id] > 1)
        return batch

    def _runnable(
        self, kind: AttemptKind, gate: Gate, settings: DestinationSettings
    ) -> list[tuple[int, bool, bool]]:
        """What may go now, in the order it became due, by the tables.

        With each whether its last claim lapsed, and the one before it too. Of a type that the platform
        refuses one row at a time goes; all rows are of one type here.
        """
        rows = OutboxEvent.objects.filter(due_at__lte=DatabaseNow(), state=claim.FROM_STATE[kind])
        if kind is AttemptKind.PUBLISH:
            free = settings.doubt_seconds - settings.lease_seconds
            rows = rows.filter(attempts__lt=settings.max_attempts).exclude(id__in=self._waiting())
            rows = rows.exclude(in_doubt_since__isnull=False, in_doubt_since__lte=DatabaseNow(-free))
            about = destinations.organisation(settings)
            rows = rows.exclude(
                id__in=OutboxEvent.objects.filter(in_doubt_since__isnull=False).exclude(doubt_about=about)
            )
        found = [
            (pk, token is not None, token is not None and self.lapses[pk] > 0)
            for pk, token in rows.order_by("due_at", "id").values_list("id", "claim_token")
        ]
        if kind is AttemptKind.PUBLISH and gate.refused_types and not gate.probing:
            return found[: int(gate.refused_for <= 0)]
        return found

    def _waiting(self) -> set[int]:
        """G8: an earlier row of its key is pending, or if so set dead or unresolved and never accepted."""
        ended = "OR (b.state IN ('dead', 'unresolved') AND b.accepted_at IS NULL)"
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT e.id FROM genesys_eventbridge_outboxevent e JOIN genesys_eventbridge_outboxevent b "
                "ON b.ordering_key = e.ordering_key AND b.id < e.id WHERE e.ordering_key <> '' AND "
                f"(b.state = 'pending' {ended if self.settings.block_key_on_dead else ''})"
            )
            return {pk for (pk,) in cursor.fetchall()}

    def _judge_claim(
        self,
        batch: claim.Batch,
        got: list[int],
        runnable: list[tuple[int, bool, bool]],
        room: Capacity,
        *,
        probing: bool,
        all_seen: bool,
    ) -> None:
        """Invariant 1: no runnable row stays while later ones go. G11: lapsed rows go beside the others."""
        claimed = [row.id for row in batch.rows]
        assert not self.locked.intersection(claimed), "a row was claimed that another transaction holds"
        assert len(claimed) <= room.rows
        if probing:
            assert len(claimed) <= 1
            return
        lapsed, suspects, wanted = room.lapsed, room.suspects, []
        for pk, once, twice in runnable:
            if not once or (lapsed > 0 and (suspects > 0 or not twice)):
                lapsed, suspects = lapsed - once, suspects - twice
                wanted.append(pk)
        wanted = [pk for pk in wanted[: room.rows] if pk not in self.locked]
        assert got == wanted[: len(got)]
        if all_seen and not (batch.moved or batch.ended):
            assert got == wanted, "runnable rows were not claimed"

    @staticmethod
    def _judge_counters(row: Claimed, before: OutboxEvent, settings: DestinationSettings) -> None:
        """G7 and G11: the doubt and the attempt are durable before the first byte."""
        now = OutboxEvent.objects.get(pk=row.id)
        publishing = row.kind is AttemptKind.PUBLISH
        assert now.claim_token == row.token != before.claim_token
        assert now.attempts == before.attempts + publishing
        assert now.checks == before.checks + (not publishing)
        assert row.doubt_before == before.in_doubt_since
        if publishing:
            assert now.in_doubt_since is not None
            assert now.attempts <= settings.max_attempts
            assert row.doubt_left > settings.lease_seconds - 1, "its window could close while it is sent"

    def _ask(self, worker: Worker, fate: str, answer: str, lasts: float, slow_way: bool) -> None:
        """One request begins, behind the sender's own guard; it arrives at once or at its deadline."""
        if not worker.hands.rows:
            return
        row = worker.hands.rows.pop(0)
        began = self.now()
        requests: list[Request] = []

        def publish(body: str, key: str) -> Outcome:
            request = Request(
                row.id,
                f"{row.source} {row.event_id}",
                key,
                body,
                fate,
                began,
                began + lasts * slow_way,
                began + lasts,
                destinations.organisation(worker.settings),
            )
            self._judge_begin(request)
            requests.append(request)
            self.platform.send(request)
            self.platform.run_until(self.now())
            return Outcome(Verdict.UNKNOWN)

        def check(remote_id: str, _key: str) -> Outcome:
            return CHECK_FATES[answer] or self.platform.status(remote_id)

        report = worker.hands.begin(row, publish if row.kind is AttemptKind.PUBLISH else check)
        worker.hands.held.append(Held(row, report, requests[0] if requests else None, began + lasts))

    def _judge_begin(self, request: Request) -> None:
        """Same bytes (G4), one at a time (G5), never past the window (G7, invariant 8)."""
        assert request.body == self.bodies[request.row], "a changed body was sent"
        epoch = self.epochs[request.row]
        assert (request.key == str(self.fixed[request.row][FIXED.index("idempotency_key")])) is (epoch == 0)
        began = request.began
        for other in self.platform.requests:
            if other.row == request.row:
                assert other.cut or other.ends <= began or other.arrives < other.ends <= began, "two at once"
                taken = self.platform.taken(other)
                if other.key == request.key and taken is not None:
                    assert other.organisation == request.organisation, "another organisation has it"
                    assert began - taken.at <= self.settings.doubt_seconds, "sent past its window"

    def _finish(self, worker: Worker, *, all_of_them: bool = True) -> None:
        """Answers come, and the pass takes them and writes what they mean."""
        held = worker.hands.held if all_of_them else worker.hands.held[:1]
        if held:
            self.offset += max(0.0, max(each.ends for each in held) - self.now())
        with self.clocks():
            reports = [self._answered(each) for each in held]
            worker.hands.held = [each for each in worker.hands.held if each not in held]
            for report in reports:
                worker.hands.report(report)
            if worker.run is None:
                return
            owed = [
                worker.owed.pop(each.claimed.token)[0]
                for each in reports
                if each.claimed.token in worker.owed
            ]
            awaited = [each for each in reports if each.claimed in owed]
            before = _rows()
            while True:
                worker.run._collect()
                if not (worker.hands.reports and any(side.in_flight for side in worker.run.sides.values())):
                    break
            self._judge_outcomes(awaited, before, _rows())
            if worker.run._time_to_stop():
                worker.run._end_claims()
                worker.hands.stop()

    def _answered(self, held: Held) -> Report:
        if held.request is None or held.report.outcome is None:
            return held.report
        assert held.request.answer is not None, "the platform has not answered yet"
        return Report(held.claimed, held.request.answer, held.report.began)

    def _judge_outcomes(
        self, reports: list[Report], before: dict[int, dict[str, Any]], after: dict[int, dict[str, Any]]
    ) -> None:
        """An outcome is written where its claim holds, and nothing where it does not."""
        for report in reports:
            claimed, outcome = report.claimed, report.outcome
            was, row = before.get(claimed.id), after.get(claimed.id)
            if claimed.id in self.locked:
                assert _columns(was) == _columns(row), "a locked row was written"
            elif was is None or row is None:
                assert was is row
            elif was["claim_token"] == claimed.token:
                assert row["claim_token"] is None, "an outcome was not written"
                if outcome is None or outcome.verdict in (Verdict.HALTED, Verdict.UNAVAILABLE):
                    self._judge_definite(report, row)
            elif outcome is not None and outcome.verdict is Verdict.ACCEPTED and _is_given_up(was):
                self._judge_late(outcome, was, row)
            else:
                assert _kept(was) == _kept(row), "a stale token wrote"
        asked = {report.claimed.id for report in reports}
        for pk in before.keys() - asked:
            was = before[pk]
            if was["attempts"] and not was["key_held"] and was["claim_token"] is None:
                assert was["due_at"] == after[pk]["due_at"], "a wait was cut short"

    def _judge_late(self, outcome: Outcome, was: dict[str, Any], row: dict[str, Any]) -> None:
        """The one write without a token: proof for a row that was given up without an id."""
        if not outcome.remote_id:
            assert _columns(was) == _columns(row), "an answer without an id wrote"
            return
        state = State.DELIVERED if outcome.final is Verdict.DELIVERED else State.ACCEPTED
        assert (row["state"], row["remote_id"]) == (state, outcome.remote_id), "a late proof is lost"
        known = was["key_known_since"] or was["in_doubt_since"]
        assert row["key_known_since"] == known is not None, "the platform's memory of the key is forgotten"
        assert was["accepted_at"] in (None, row["accepted_at"]), "the acceptance moved"

    @staticmethod
    def _judge_definite(report: Report, after: dict[str, Any]) -> None:
        """A definite answer and a release write the earlier doubt back; who was not begun pays nothing."""
        claimed = report.claimed
        if after["state"] == State.DEAD:
            return
        assert after["in_doubt_since"] == claimed.doubt_before
        free = report.outcome is None or report.outcome.verdict is Verdict.HALTED
        if free and after["state"] in OPEN and claimed.kind is AttemptKind.PUBLISH:
            assert after["attempts"] == claimed.attempts - 1

    def _die(self, worker: Worker, *, requests_too: bool) -> None:
        """kill -9: it forgets all it held; what was on its way arrives or not."""
        if requests_too:
            rows = {held.claimed.id for held in worker.hands.held if held.request is not None}
            self.platform.cut_off(rows, self.now())
        self.workers[self.workers.index(worker)] = Worker.started(self.settings)

    # ---------------------------------------------------------------------------------------- time, retention

    def wait(self, seconds: float) -> None:
        self.offset += seconds

    def prune(self, days: float) -> None:
        self.offset += days * DAY
        with self.clocks():
            before = _rows()
            retention.prune(self.settings)
            left = set(OutboxEvent.objects.values_list("id", flat=True))
            for pk in before.keys() - left:
                finished = before[pk]["finished_at"]
                assert before[pk]["state"] in (State.DELIVERED, State.CANCELLED), "pruned before its end"
                assert before[pk]["now"] - finished >= dt.timedelta(days=30), "pruned too early"
                if not OutboxEvent.objects.filter(subject=before[pk]["subject"]).exists():  # nor one resent
                    Order.objects.filter(number=before[pk]["subject"]).delete()
            old = OutboxEvent.objects.filter(finished_at__lt=DatabaseNow(-30 * DAY - 60))
            assert not old.exists(), "what is old enough stays"
        for pk in self.fixed.keys() - left:
            del self.fixed[pk]

    # ----------------------------------------------------------------------------------------------- people

    def act(self, data: st.DataObject, act: str) -> None:
        with self.clocks():
            rows = dict(OutboxEvent.objects.values_list("id", "state"))
            if not rows:
                return
            fit = sorted(pk for pk, state in rows.items() if state in ACTS[act])
            pk = data.draw(st.sampled_from(fit or sorted(rows)))
            flying = OutboxEvent.objects.in_flight().filter(pk=pk).exists()
            match act:
                case "requeue":
                    done = operations.requeue([pk], PERSON)
                case "cancel":
                    done = operations.cancel([pk], PERSON, "withdrawn")
                case "retry":
                    done = operations.retry_now([pk], PERSON)
                case "check":
                    done = operations.check_now([pk], PERSON)
                case _:
                    done = self._resolve(pk, data.draw(st.sampled_from(Resolution)), data.draw(st.booleans()))
        assert not (flying and done.ids), "an event in flight was moved"
        for moved in done.ids:
            assert EventAct.objects.filter(event_id=moved).exists()
        self.epochs.update(done.may_duplicate.ids)
        if act not in ("retry", "check"):
            self.touched.update(done.ids)

    @staticmethod
    def _resolve(pk: int, outcome: Resolution, accept_duplicates: bool) -> operations.Done:
        done = operations.resolve([pk], PERSON, outcome, "found", accept_duplicates=accept_duplicates)
        assert accept_duplicates or not done.may_duplicate.count
        return done

    def resend(self, data: st.DataObject) -> None:
        if not self.fixed:
            return
        pk = data.draw(st.sampled_from(sorted(self.fixed)))
        with self.clocks():
            row = OutboxEvent.objects.get(pk=pk)
            if row.state == State.DELIVERED and row.body:
                again = operations.resend(pk, PERSON, "asked for")
                assert again.event_id != row.event_id
            else:
                with pytest.raises(CannotResend):
                    operations.resend(pk, PERSON, "asked for")
        self._remember()

    def pause(self, held: float | None, ends: bool, also_trouble: bool) -> None:
        """A person holds the destination, and mostly lets it go on."""
        with self.clocks():
            operations.pause("default", PERSON, "maintenance", held)
            assert not destinations.gate(AttemptKind.PUBLISH, "default", "tests").open
            if ends or held is None:
                operations.resume("default", PERSON, also_trouble=also_trouble)

    # ------------------------------------------------------------------------------------------- invariants

    def _accepted(self, row: int) -> None:
        """Invariant 9, at the platform: never a later event of a key before an earlier one."""
        key = self.fixed[row][FIXED.index("ordering_key")] if row in self.fixed else ""
        if not key or row in self.touched:
            return
        for earlier, fixed in self.fixed.items():
            if earlier >= row or fixed[FIXED.index("ordering_key")] != key or earlier in self.touched:
                continue
            event = f"{fixed[FIXED.index('source')]} {fixed[FIXED.index('event_id')]}"
            if not self.settings.block_key_on_dead and self._is_given_up_or_dead(earlier):
                continue
            assert self.platform.accepts[event], f"{row} of key {key} went before {earlier}"

    @staticmethod
    def _is_given_up_or_dead(pk: int) -> bool:
        return OutboxEvent.objects.filter(pk=pk, state__in=[State.DEAD, State.UNRESOLVED]).exists()

    @invariant()
    def the_tables_hold(self) -> None:
        assert broken() == []

    @invariant()
    def no_follower_is_left_behind(self) -> None:
        """Put aside is a pending row only while another of its key holds it back."""
        with self.clocks():
            aside = OutboxEvent.objects.filter(state=State.PENDING, key_held=True, due_at__gt=DatabaseNow())
            left = set(aside.values_list("id", flat=True)) - self._waiting()
            assert not left, "a follower was left behind"
            # Any other row is due within the longest wait there is, but for a delay that was asked for.
            late = OutboxEvent.objects.filter(
                state=State.PENDING, key_held__isnull=True, due_at__gt=DatabaseNow(LONGEST_WAIT)
            ).exclude(due_at=F("not_before"))
            assert not late.exists(), "a row is put aside and no follower"

    @invariant()
    def no_event_changed_or_vanished(self) -> None:
        rows = _rows()
        assert rows.keys() == self.fixed.keys()
        for pk, row in rows.items():
            assert tuple(row[name] for name in FIXED) == self.fixed[pk]
            assert row["key_epoch"] == self.epochs[pk]
            if pk in self.tampered:
                assert row["body"] != self.bodies[pk]
            elif row["body"]:
                assert row["body"] == self.bodies[pk]
                assert hashlib.sha256(row["body"].encode()).hexdigest() == row["body_sha256"]
            else:
                assert row["last_error"] == "", "a blanked event keeps what the platform said of it"
            if row["state"] == State.DELIVERED:
                end = tuple(value for name, value in row.items() if name not in ("body", "last_error", "now"))
                assert self.ends.setdefault(pk, end) == end, "delivered changed"
            self._judge_end(row)

    def _judge_end(self, row: dict[str, Any]) -> None:
        """Invariants 3 and 5: never twice, no invented success, no invented failure."""
        event = f"{row['source']} {row['event_id']}"
        accepts = self.platform.accepts[event]
        assert accepts <= 1 + row["key_epoch"], "accepted twice"
        if row["id"] in self.touched:
            return
        if row["state"] in (State.ACCEPTED, State.DELIVERED):
            assert accepts, "a success was invented"
        if row["reason"] in (Reason.REJECTED, Reason.EXHAUSTED, Reason.EXPIRED):
            assert not accepts, "dead, and the platform has it"

    def teardown(self) -> None:
        """G1: left to healthy workers and a healthy platform, every event ends or waits for a person."""
        try:
            self._drain()
        finally:
            self.patch.undo()
            self.configured.disable()
            sweep.forget()
            Order.objects.all().delete()
            DeliveryAttempt.objects.all().delete()
            EventAct.objects.all().delete()
            OutboxEvent.objects.update(origin=None)
            OutboxEvent.objects.all().delete()
            Destination.objects.all().delete()

    def _drain(self) -> None:
        for worker in list(self.workers):
            self._die(worker, requests_too=False)
        self.offset += 30.0
        with self.clocks():
            operations.resume("default", PERSON, also_trouble=True)
        self._configure(CLIENT_ID=ORGANISATIONS[0])
        worker = self.workers[0]
        for _round in range(300):
            with self.clocks():
                got = self._claim(worker, BOTH, None)
                while worker.hands.rows:
                    self._ask(worker, "taken and delivered", "the status", 0.0, slow_way=False)
            self._finish(worker)
            if not got and not worker.is_busy and not self._wait_for_the_next():
                break
        self.the_tables_hold()
        self.no_event_changed_or_vanished()
        stuck = OutboxEvent.objects.filter(state__in=OPEN).exclude(
            state=State.PENDING, id__in=self._waiting()
        )
        assert not stuck.exists(), "an event stands still and nothing moves it"

    def _wait_for_the_next(self) -> bool:
        """Move the clock to the next step of an event that waits for nobody; False where there is none."""
        rows = OutboxEvent.objects.filter(state__in=OPEN).exclude(state=State.PENDING, id__in=self._waiting())
        due = rows.annotate(now=DatabaseNow()).values_list("due_at", "now")
        times = [(due_at - now).total_seconds() for due_at, now in due if due_at]
        if times:
            self.offset += max(1.0, min(times) + 0.01)
        return bool(times)


@pytest.mark.django_db(transaction=True)
def test_the_invariants_hold_after_every_step(settings):
    """Guarantees, section 3: tens of examples, a hundred at full depth, thousands with the profile "deep"."""
    settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], **SETTINGS}}
    logging.getLogger("genesys_eventbridge").setLevel(logging.CRITICAL)
    steps = profile(max_examples=BLOCK, stateful_step_count=30)
    try:
        for number in _seeds():
            run_state_machine_as_test(seed(number)(Machine), settings=steps)
    finally:
        logging.getLogger("genesys_eventbridge").setLevel(logging.NOTSET)


def _seeds() -> Sequence[int]:
    """Blocks of ten examples: past those hypothesis mostly repeats an example with small changes."""
    depth = profile().max_examples
    if depth > 100:
        return [secrets.randbelow(2**32) for _ in range(depth // BLOCK)]
    # On a server a block takes ten times as long, and tests/deterministic covers its locks better.
    return range(depth // BLOCK if connection.vendor == "sqlite" else 2)

"""A state machine over rows, workers and keys: after every step the invariants of the guarantees hold.

Time is injected: the database's clock and the monotonic clock that workers read move together, by hand.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction
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

from genesys_eventbridge import claims, conf, destinations, expiry, health, operations, retention, senders
from genesys_eventbridge.claims import Claimed
from genesys_eventbridge.clock import DatabaseNow, shifted
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.decisions import decide, released
from genesys_eventbridge.destinations import Gate, Recorded
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, CannotResend, Resolution
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.senders import Report, Senders
from genesys_eventbridge.settlements import settle, take_late_answer
from genesys_eventbridge.states import OPEN, AttemptKind, Reason, State
from genesys_eventbridge.verdicts import Outcome, Verdict
from tests.invariants import broken
from tests.model_platform import CHECK_FATES, PUBLISH_FATES, ModelPlatform, Request
from tests.shop.models import Order

HOUR, DAY = 3600.0, 86400.0
PERSON = Actor("tests", name="somebody")
BLOCK = 10
WORKERS = 3
KEYS = [None, "a", "b"]
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
    "PUBLISH_ON_COMMIT": False,
    "CONCURRENCY": 2,
    "RETENTION_DAYS": 30,
    "PAYLOAD_RETENTION_DAYS": 7,
}


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
            "kind": st.sampled_from([AttemptKind.PUBLISH, AttemptKind.PUBLISH, AttemptKind.CHECK]),
            "limit": st.sampled_from([1, 2, 8]),
            "calls": st.lists(CALLS, min_size=2, max_size=4),
            "ends": st.sampled_from(["settle", "settle", "hold", "hold", "die", "die with its requests"]),
        },
    ),
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


@dataclass
class Held:
    """A claimed row in a worker's hands: not begun, or asked about and answered at some moment."""

    claimed: Claimed
    report: Report | None = None
    request: Request | None = None
    ends: float = 0.0


@dataclass
class Worker:
    name: str
    senders: Senders
    held: list[Held] = field(default_factory=list)


class FakeSender:
    """Stands where the HTTP sender stands: the request leaves, the answer comes when the platform has run."""

    def __init__(self, launch: Callable[[str, str], Outcome]) -> None:
        self.launch = launch

    def publish(self, body: str, key: str, sent: Any) -> Outcome:
        return self.launch(body, key)

    def check(self, remote_id: str, *, sent: Any = None, age: float | None = None) -> Outcome:
        return self.launch(remote_id, "")


class Machine(RuleBasedStateMachine):
    """Transactions end well or ill, workers claim, ask, settle, freeze and die, people act, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = conf.destination()
        self.offset = 0.0
        self.platform = ModelPlatform(self.settings.idempotency_window, self._accepted)
        self.workers = [Worker(f"w{number}", Senders(self.settings, 1)) for number in range(WORKERS)]
        self.numbers = 0
        self.fixed: dict[int, tuple[Any, ...]] = {}
        self.bodies: dict[int, str] = {}
        self.ends: dict[int, tuple[Any, ...]] = {}
        self.epochs: Counter[int] = Counter()
        #: Rows a person had a say about: order is not promised after that, and "delivered" may be their word.
        self.touched: set[int] = set()
        self._real = {module: module.time for module in (claims, senders)}
        for module in self._real:
            module.time = SimpleNamespace(monotonic=self.now)  # type: ignore[attr-defined]

    def now(self) -> float:
        return time.monotonic() + self.offset

    @contextlib.contextmanager
    def clocks(self) -> Iterator[None]:
        self.platform.run_until(self.now())
        with shifted(self.offset):
            yield

    # ------------------------------------------------------------------------------ the user's transactions

    @initialize(keys=st.lists(st.sampled_from(KEYS), min_size=3, max_size=6))
    def begin(self, keys: list[str | None]) -> None:
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
        self, *, after: float, number: int, kind: AttemptKind, limit: int, calls: list[Any], ends: str
    ) -> None:
        """A worker claims, begins some of it, and settles, dies, or is frozen with it in its hands."""
        self.offset += after
        worker = self.workers[number]
        with self.clocks():
            self._claim(worker, kind, limit)
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
            if not self._claim(frozen, AttemptKind.PUBLISH, 1):
                return
            row = frozen.held[0].claimed.id
            self._ask(frozen, taken, check, 0.0, slow_way=False)
        self.offset += 61.0
        with self.clocks():
            self._claim(other, AttemptKind.PUBLISH, 1)
            self._ask(other, lost, check, 0.0, slow_way=False)
        self._finish(other)
        self._finish(frozen)
        self.offset += 6.0
        with self.clocks():
            self._claim(third, AttemptKind.CHECK, 8)
            for _held in range(len(third.held)):
                self._ask(third, fate, check, 0.0, slow_way=False)
        self._finish(third)
        self.offset += after
        with self.clocks():
            done = self._resolve(row, resolution, accept_duplicates)
        self.epochs.update(done.may_duplicate)
        self.touched.update(done.ids)
        with self.clocks():
            self._claim(third, AttemptKind.PUBLISH, 1)
            self._ask(third, fate, check, 0.0, slow_way=False)
        self._finish(third)

    def _claim(self, worker: Worker, kind: AttemptKind, limit: int) -> int:
        if worker.senders.is_stopped(kind) or any(held.claimed.kind is not kind for held in worker.held):
            if worker.held:
                return 0
            worker.senders.resume()
        if kind is AttemptKind.PUBLISH:
            self._expire()
        gate = destinations.gate(kind, "default", worker.name)
        if not gate.open or (gate.probing and worker.held):
            return 0
        for _look in range(50):
            runnable = self._runnable(kind, gate)
            before = {row.pk: row for row in OutboxEvent.objects.all()}
            batch = claims.claim(kind, self.settings, gate, limit, idle=not worker.held)
            if batch.used_up:
                expiry.give_up(self.settings, batch.used_up)
            self._judge_claim(batch, runnable, limit, gate.probing, idle=not worker.held)
            for row in batch.rows:
                self._judge_counters(row, before[row.id], self.settings)
            worker.held += [Held(row) for row in batch.rows]
            if batch.rows or not (batch.moved or batch.used_up):
                return len(batch.rows)
        raise AssertionError("claims go on moving rows and never bring one")

    def _expire(self) -> None:
        expiry.expire(self.settings)
        doubtful = OutboxEvent.objects.filter(
            state=State.PENDING,
            due_at__lte=DatabaseNow(),
            in_doubt_since__lte=DatabaseNow(-self.settings.doubt_seconds),
        )
        assert not doubtful.exists(), "a doubt outlived its window"

    def _runnable(self, kind: AttemptKind, gate: Gate) -> list[tuple[int, bool]]:
        """What may go now, in the order it became due, with whether its last claim lapsed; by the tables.

        Of a type that the platform refuses one row at a time goes; all rows are of one type here.
        """
        rows = OutboxEvent.objects.filter(due_at__lte=DatabaseNow(), state=claims.FROM_STATE[kind])
        if kind is AttemptKind.PUBLISH:
            free = self.settings.doubt_seconds - self.settings.lease_seconds
            rows = rows.filter(attempts__lt=self.settings.max_attempts).exclude(id__in=self._waiting())
            rows = rows.exclude(in_doubt_since__isnull=False, in_doubt_since__lte=DatabaseNow(-free))
        found = [
            (pk, token is not None)
            for pk, token in rows.order_by("due_at", "id").values_list("id", "claim_token")
        ]
        if kind is AttemptKind.PUBLISH and gate.refused_types and not gate.probing:
            return found[: int(gate.refused_for <= 0)]
        return found

    @staticmethod
    def _waiting() -> set[int]:
        """G8: an earlier row of its key is pending, or dead or unresolved and was never accepted."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT e.id FROM genesys_eventbridge_outboxevent e JOIN genesys_eventbridge_outboxevent b "
                "ON b.ordering_key = e.ordering_key AND b.id < e.id WHERE e.ordering_key <> '' AND "
                "(b.state = 'pending' OR (b.state IN ('dead', 'unresolved') AND b.accepted_at IS NULL))"
            )
            return {pk for (pk,) in cursor.fetchall()}

    @staticmethod
    def _judge_claim(
        batch: claims.Batch, runnable: list[tuple[int, bool]], limit: int, probing: bool, *, idle: bool
    ) -> None:
        """Invariant 1: no runnable row stays while later ones go; and G11: after a lapse a row goes alone."""
        got = [row.id for row in batch.rows]
        if probing:
            assert len(got) <= 1
            return
        lapsed_first = bool(runnable) and runnable[0][1]
        if lapsed_first:
            wanted = [runnable[0][0]] if idle else []
        else:
            wanted = [pk for pk, _lapsed in takewhile(lambda row: not row[1], runnable)]
        assert len(got) <= limit
        assert got == wanted[: len(got)] or wanted == got[: len(wanted)]
        if wanted and not got:
            assert batch.moved or batch.used_up, "runnable rows were not claimed"

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
        held = next((held for held in worker.held if held.report is None), None)
        if held is None:
            return
        began = self.now()
        row = held.claimed

        def publish(body: str, key: str) -> Outcome:
            self._judge_begin(row, body, key, began)
            event = f"{row.source} {row.event_id}"
            held.request = Request(
                row.id, event, key, body, fate, began, began + lasts * slow_way, began + lasts
            )
            self.platform.send(held.request)
            self.platform.run_until(self.now())
            return Outcome(Verdict.UNKNOWN)

        def check(remote_id: str, _key: str) -> Outcome:
            return CHECK_FATES[answer] or self.platform.status(remote_id)

        launch = publish if row.kind is AttemptKind.PUBLISH else check
        held.report = worker.senders._ask(FakeSender(launch), row)  # type: ignore[arg-type]
        held.ends = began + lasts

    def _judge_begin(self, row: Claimed, body: str, key: str, began: float) -> None:
        """Same bytes (G4), one at a time (G5), never past the window (G7, invariant 8)."""
        assert body == self.bodies[row.id]
        epoch = self.epochs[row.id]
        assert (key == str(self.fixed[row.id][FIXED.index("idempotency_key")])) is (epoch == 0)
        for other in self.platform.requests:
            if other.row == row.id:
                assert other.cut or other.ends <= began or other.arrives < other.ends <= began, "two at once"
                if other.key == key and self.platform.has(key):
                    since = self.platform.by_key[key].at
                    assert began - since <= self.settings.doubt_seconds, "sent past its window"

    def _finish(self, worker: Worker, *, all_of_them: bool = True) -> None:
        asked = [held for held in worker.held if held.report is not None]
        if not asked:
            return
        asked = asked if all_of_them else asked[:1]
        self.offset += max(0.0, max(held.ends for held in asked) - self.now())
        with self.clocks():
            self._settle(worker, asked)

    def _settle(self, worker: Worker, asked: list[Held]) -> None:
        kind = asked[0].claimed.kind
        reports = [self._answered(held) for held in asked]
        worker.held = [held for held in worker.held if held not in asked]
        recorded = health.record(kind, self.settings, [(each.claimed, each.outcome) for each in reports])
        if recorded.paused:
            worker.senders.stop()
        rows = [self._settlement(each, recorded) for each in reports]
        before = _rows()
        holding = {row.id for row in rows if row.id in before and before[row.id]["claim_token"] == row.token}
        won = settle(self.settings, rows)
        assert won == holding, "a claim and its outcome do not agree"
        after = _rows()
        for row, report in zip(rows, reports, strict=True):
            if row.id not in won:
                assert _columns(after.get(row.id)) == _columns(before.get(row.id)), "a stale token wrote"
                if row.accepted:
                    self._late(row, before.get(row.id))
            elif report.outcome is None or report.outcome.verdict in (Verdict.HALTED, Verdict.UNAVAILABLE):
                self._judge_definite(report, after[row.id])

    def _answered(self, held: Held) -> Report:
        assert held.report is not None
        if held.request is None or held.report.outcome is None:
            return held.report
        assert held.request.answer is not None, "the platform has not answered yet"
        return Report(held.claimed, held.request.answer, held.report.began)

    def _settlement(self, report: Report, recorded: Recorded) -> Any:
        row, outcome = report.claimed, report.outcome
        if outcome is None:
            return released(row)
        return decide(
            row,
            outcome,
            self.settings,
            elapsed=self.now() - row.started,
            uncounted=row.id in recorded.uncounted,
            accused=row.id in recorded.accused,
            paused=recorded.paused,
            random=lambda: 0.5,
        )

    @staticmethod
    def _late(row: Any, before: dict[str, Any] | None) -> None:
        """The one write without a token: proof for a row that was given up without an id."""
        fits = before is not None and before["state"] == State.UNRESOLVED and not before["remote_id"]
        assert take_late_answer(row) is (fits and bool(row.remote_id))
        if fits and row.remote_id and before is not None:
            after = OutboxEvent.objects.get(pk=row.id)
            known = before["key_known_since"] or before["in_doubt_since"]
            assert after.key_known_since == known is not None, "the platform's memory of the key is forgotten"
            assert before["accepted_at"] in (None, after.accepted_at), "the acceptance moved"

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
            rows = {held.claimed.id for held in worker.held if held.request is not None}
            self.platform.cut_off(rows, self.now())
        self.workers[self.workers.index(worker)] = Worker(worker.name, Senders(self.settings, 1))

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
        self.epochs.update(done.may_duplicate)
        if act not in ("retry", "check"):
            self.touched.update(done.ids)

    @staticmethod
    def _resolve(pk: int, outcome: Resolution, accept_duplicates: bool) -> operations.Done:
        done = operations.resolve([pk], PERSON, outcome, "found", accept_duplicates=accept_duplicates)
        assert accept_duplicates or not done.may_duplicate
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
            for worker in self.workers:
                assert not destinations.gate(AttemptKind.PUBLISH, "default", worker.name).open
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
            assert self.platform.accepts[event], f"{row} of key {key} went before {earlier}"

    @invariant()
    def the_tables_hold(self) -> None:
        assert broken() == []

    @invariant()
    def no_event_changed_or_vanished(self) -> None:
        rows = _rows()
        assert rows.keys() == self.fixed.keys()
        for pk, row in rows.items():
            assert tuple(row[name] for name in FIXED) == self.fixed[pk]
            assert row["key_epoch"] == self.epochs[pk]
            if row["body"]:
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
            for module, real in self._real.items():
                module.time = real  # type: ignore[attr-defined]
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
        worker = self.workers[0]
        for _round in range(200):
            with self.clocks():
                moved = 0
                for kind in (AttemptKind.PUBLISH, AttemptKind.CHECK):
                    moved += self._claim(worker, kind, 50)
                    while any(held.report is None for held in worker.held):
                        self._ask(worker, "taken and delivered", "the status", 0.0, slow_way=False)
                    if worker.held:
                        self._settle(worker, list(worker.held))
                if not moved and not self._wait_for_the_next():
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
    """Guarantees, section 3: tens of examples, hundreds at full depth, thousands with the profile "deep"."""
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
    return range(depth // 5 if connection.vendor == "sqlite" else max(2, depth // 20))

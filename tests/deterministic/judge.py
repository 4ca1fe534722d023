"""Judges each commit as it happens, and everything at the end."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.states import Reason, State
from tests.deterministic.answers import AnswerJudge
from tests.deterministic.changes import Changes
from tests.deterministic.claims import CERTAIN, CLOSE, Claims
from tests.deterministic.database import Database
from tests.deterministic.destination import DestinationJudge
from tests.deterministic.platform import Accepted, Platform
from tests.deterministic.scheduler import Broken, Scheduler
from tests.deterministic.stand_ins import EPOCH
from tests.invariants import BROKEN, EVENTS, ORDERS

COLUMNS = (
    "id", "event_id", "subject", "ordering_key", "idempotency_key", "key_epoch", "body", "body_sha256",
    "state", "reason", "due_at", "claim_token", "attempts", "checks", "halts", "in_doubt_since", "remote_id",
    "accepted_at", "finished_at", "key_held", "not_before", "lapses", "key_known_since",
    "created_at", "failed_at", "type", "last_error", "origin_id",
)  # fmt: skip
FIXED = ("event_id", "subject", "idempotency_key", "body_sha256", "ordering_key")
ACTS = "genesys_eventbridge_eventact"
LOG = "genesys_eventbridge_deliveryattempt"
DESTINATIONS = "genesys_eventbridge_destination"
OPEN = (State.PENDING, State.ACCEPTED)

#: Fewer events than this, failing or due, cannot make a run of three.
FEW = 3
#: Commits of a worker that change nothing, while nobody changes anything.
IN_VAIN = 30

Row = dict[str, Any]


class Log:
    """Replaces loggers: counts the lines about events, by process, event and what they say of it."""

    def __init__(self, who: Callable[[], str]) -> None:
        self._who = who
        self.lines: Counter[tuple[str, int, str]] = Counter()

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name of a logger's method
        return True

    def log(self, level: int, *args: object, extra: Row | None = None, **more: object) -> None:
        if extra and "state" in extra:
            self.lines[self._who(), extra["event"], extra["state"]] += 1
            if level >= logging.ERROR:
                self.lines[self._who(), extra["event"], "ERROR"] += 1

    def warning(self, *args: object, **more: object) -> None:
        """Not about a change."""

    info = error = warning


class Judge:
    """Sees the rows after each commit. ``lines`` are the trace, one JSON object each."""

    def __init__(
        self,
        scheduler: Scheduler,
        database: Database,
        platform: Platform,
        settings: DestinationSettings,
    ) -> None:
        self.scheduler, self.database, self.platform = scheduler, database, platform
        self.settings = settings
        self.claims = Claims(settings, platform)
        self.rows: dict[int, Row] = {}
        self.changes = Changes()
        #: By event: the step at which its insert began, and the one at which it was seen committed.
        self.began: dict[str, int] = {}
        self.appeared: dict[int, int] = {}
        #: Ids of orders whose events were pruned or erased: their rows may be gone.
        self.gone: set[str] = set()
        #: Operators who accept duplicates now.
        self.accepts_duplicates: set[str] = set()
        #: Events that an operator made pending again and that were not sent since.
        self.requeued: set[int] = set()
        #: Events under shared keys: their id, and the order whose transaction wrote or found it.
        self.shared: list[tuple[str, str]] = []
        #: Ids of attempts that were judged.
        self._attempts: set[int] = set()
        #: Ids of events that were pruned.
        self.pruned: set[str] = set()
        #: Processes that prune.
        self.pruning: set[str] = set()
        self.operators: set[str] = set()
        self.destination = DestinationJudge(database, settings, self.operators, scheduler)
        self.answers = AnswerJudge(settings, lambda: scheduler.me.process, self._are_few)
        self.claims.meaning, self.claims.now = self.answers.meaning, lambda: database.latest
        #: The step at which each row was last changed.
        self.changed: dict[int, int] = {}
        #: Operators who erase now and leave alone what is not finished.
        self.spares: set[str] = set()
        #: What each process logs, and what it has to log: events, their new states, and errors about them.
        self.log = Log(lambda: scheduler.me.process)
        self.owed: Counter[tuple[str, int, str]] = Counter()
        #: Numbers of the orders whose transaction was committed, was not, or whose end is unknown.
        self.committed: set[str] = set()
        self.rolled_back: set[str] = set()
        self.commits = 0
        #: By process: commits since a row was changed.
        self.in_vain: Counter[str] = Counter()
        platform.tell = self.message
        platform.known_ids = lambda: [row["remote_id"] for row in self.rows.values() if row["remote_id"]]

    def message(self, what: str, event: str, detail: Row) -> None:
        task = self.scheduler.current()
        if what in ("send", "accept") and self.settings.honours_key:
            self._of_the_platform(what, event, detail)
        if what == "send":
            assert task is not None
            row = next((row for row in self.rows.values() if row["event_id"] == event), None)
            if row is None:
                raise Broken(f"{task.process} sends {event}, which was never committed")
            self.scheduler.remark(f"the request for event {row['id']}: {detail['fate']}")
            self.claims.sent(task.process, row, detail["key"], detail["fate"], now=self.database.now())
            self.requeued.discard(row["id"])
        elif what == "answer" and task is not None:
            self.scheduler.remark(f"its answer: {detail['status'] or 'none'}")
            self.claims.answered(task.process, event, detail["status"], self.database.now())
        elif what == "no login" and task is not None:
            self.scheduler.remark("no time is left to log in")
            self.claims.without_login.add(task.process)

    def _of_the_platform(self, what: str, event: str, detail: Row) -> None:
        row = next((row for row in self.rows.values() if row["event_id"] == event), None)
        if row is not None:
            same = sha256(detail["body"].encode()).hexdigest() == row["body_sha256"]
            self.changes.request(what, row, detail["key"], self.database.now(), same_bytes=same)

    def struck(self, what: str, who: str) -> None:
        """A fault."""
        if what == "clock":
            self.claims.clock_is_steady = self.destination.clock_is_steady = False
        elif what in ("kill", "trouble"):
            self.claims.odd.add(who)
            if what == "kill":
                self.claims.killed.add(who)
        elif what in ("freeze", "suspend"):
            self.claims.undisturbed = False

    # ------------------------------------------------------------------------------------------- each commit

    def look(self) -> None:
        """Called after each commit, by the task that made it."""
        self.commits += 1
        found = {row["id"]: row for row in self.database.rows(EVENTS, COLUMNS)}
        process = self.scheduler.me.process
        known = self.destination.row
        self.destination.look(process)
        claimed = [
            row
            for pk, row in found.items()
            if row["claim_token"] is not None
            and pk in self.rows
            and row["claim_token"] != self.rows[pk]["claim_token"]
        ]
        self.destination.judge_bucket(process, known, len(claimed))
        if claimed:
            self.destination.judge_claim(process)
        self._judge_progress(process, moved=found != self.rows or self.destination.row is not known)
        for pk in self.rows.keys() - found.keys():
            self._judge_vanished(pk, process)
            self.pruned.add(self.rows[pk]["event_id"])
            self.changes.row(self.rows[pk], None, self.database.now())
            self.scheduler.remark(f"event {pk} is gone")
        for pk, row in found.items():
            before = self.rows.get(pk)
            if before is None:
                self.appeared[pk] = self.scheduler.steps
            if before != row:
                self.changed[pk] = self.scheduler.steps
                self.changes.row(before, row, self.database.now())
                self.scheduler.remark(_shown(before, row))
                self._judge(process, before, row, found)
                self._judge_followers(before, row, found)
        if self.destination.takes_probe(known, process):
            self._judge_probe(process, claimed, found)
        if self.destination.takes_turn(known, process):
            self._judge_turn(process, claimed)
        self.rows = found

    def _judge_followers(self, before: Row | None, row: Row, found: dict[int, Row]) -> None:
        """The step that unblocks an event of a key releases the next one (G8)."""
        if before is None or not self._holds_key(before) or self._holds_key(row) or not row["ordering_key"]:
            return
        behind = [
            each
            for each in found.values()
            if each["ordering_key"] == row["ordering_key"]
            and each["id"] > row["id"]
            and each["state"] == State.PENDING
        ]
        # Once due it may go, whatever it waited for: a hold ends after HELD_SECONDS at the latest.
        waits = bool(behind) and behind[0]["key_held"] and behind[0]["due_at"] > self.database.now()
        if waits and not self._is_blocked(behind[0], found):
            raise Broken(f"event {row['id']} leaves its key, and {behind[0]['id']} behind it stays held")

    def _holds_key(self, row: Row) -> bool:
        """Whether later events of its key wait for it."""
        blocks = self.settings.block_key_on_dead and row["accepted_at"] is None
        waits = row["state"] in (State.DEAD, State.UNRESOLVED) and blocks
        return row["ordering_key"] != "" and (row["state"] == State.PENDING or waits)

    def _is_blocked(self, row: Row, rows: dict[int, Row]) -> bool:
        return row["ordering_key"] != "" and any(
            other["ordering_key"] == row["ordering_key"]
            and other["id"] < row["id"]
            and self._holds_key(other)
            for other in rows.values()
        )

    def _judge_probe(  # noqa: C901 - one rule after another
        self, process: str, claimed: list[Row], found: dict[int, Row]
    ) -> None:
        """A probe goes alone: half of them to the event that was tried most, half to one never tried (G9)."""
        if len(claimed) != 1:
            raise Broken(f"{process} takes the turn to probe and claims {len(claimed)} events")
        (probe,) = claimed
        for row in self.claims.in_flight(process, found.values()):
            if row["id"] != probe["id"] and row["state"] == State.PENDING and self.claims.is_on_its_way(row):
                raise Broken(f"{process} probes with event {probe['id']} while {row['id']} is on its way")
        gate, began = self.destination.gates.get(process, (None, 0))
        if gate is None or not gate.probing or not self.claims.clock_is_steady:
            return
        read_at = gate.read_at.timestamp() - EPOCH
        able = [
            row
            for row in self.rows.values()
            if self.changed[row["id"]] < began and self._may_go(row, found, read_at)
        ]
        chosen = next((row for row in able if row["id"] == probe["id"]), None)
        if chosen is None:  # it came after the look
            return
        if gate.kind == "refusals":
            if probe["type"] in gate.refused_types and any(
                row["type"] not in gate.refused_types for row in able
            ):
                raise Broken(f"{process} probes with the refused type {probe['type']}")
            return
        tried = [row for row in able if row["id"] in gate.tried]
        fresh = [row for row in able if row["id"] not in gate.tried]
        if gate.probe_turn % 2 == 0:
            if tried and _tries(chosen) != max(map(_tries, tried)) and not any(map(_met_pages, able)):
                raise Broken(f"probe {gate.probe_turn} goes to {chosen['id']}, which was not tried most")
            same = [row["id"] for row in able if _tries(row) == _tries(chosen)]
            if tried and not any(map(_met_pages, able)) and chosen["id"] != min(same):
                raise Broken(f"probe {gate.probe_turn} goes to {chosen['id']}, and not to {min(same)} again")
        elif fresh:
            if chosen not in fresh:
                raise Broken(f"probe {gate.probe_turn} goes to {chosen['id']}, which was tried before")
            alike = sorted((row["due_at"], row["id"]) for row in fresh if not _tries(row))
            end = 0 if gate.probe_turn % 4 == 1 else -1
            if not _tries(chosen) and chosen["id"] != alike[end][1]:
                raise Broken(f"probe {gate.probe_turn} goes to {chosen['id']} of the never tried {alike}")

    def _judge_turn(self, process: str, claimed: list[Row]) -> None:
        """The turn to try a refused type goes with an event of it: an empty one would hold back others."""
        gate, _began = self.destination.gates[process]
        if not any(row["type"] in gate.refused_types for row in claimed):
            raise Broken(f"{process} takes the turn of a refused type and claims no event of one")

    def _may_go(self, row: Row, found: dict[int, Row], now: float) -> bool:
        """Whether nothing is in the way of sending it, now and for the length of a lease."""
        doubt, lease = row["in_doubt_since"], self.settings.lease_seconds
        return (
            row["state"] == State.PENDING
            and row["due_at"] <= now
            and row["claim_token"] is None
            and row["attempts"] < self.settings.max_attempts
            and (doubt is None or doubt + self.settings.doubt_seconds > self.database.latest + lease)
            and not self._is_blocked(row, self.rows)
            and not self._is_blocked(row, found)
        )

    def _judge_progress(self, process: str, *, moved: bool) -> None:
        """A worker that finds events which may not go does not look at them again and again."""
        self.in_vain[process] += 1
        if moved:
            self.in_vain.clear()
        # On a server a process that is frozen inside a transaction keeps its rows locked: others look again.
        locks = self.database.vendor != "sqlite" and not self.claims.undisturbed
        if self.in_vain[process] > IN_VAIN and not locks:
            raise Broken(f"{process} has written {IN_VAIN} times in a row, and nothing has changed")

    def _judge_vanished(self, pk: int, process: str) -> None:
        """Only finished rows are removed, after their retention and the window of their key (G13)."""
        row, days = self.rows[pk], getattr(self.settings, "retention_days", None)
        if process not in self.pruning or days is None or row["finished_at"] is None:
            raise Broken(f"event {pk} vanished as {row['state']}")
        kept = max(days * 86400.0, self.settings.idempotency_window)
        if self.claims.clock_is_steady and self.database.latest - row["finished_at"] < kept - CLOSE:
            raise Broken(f"event {pk} vanished before its time")
        self.gone.add(row["subject"])

    def _judge(  # noqa: C901 - one rule after another
        self, process: str, before: Row | None, row: Row, found: dict[int, Row]
    ) -> None:
        """Raises Broken if this process may not change the row so."""
        if before is None:
            origin = self.rows.get(int(row["origin_id"])) if row["origin_id"] else None
            if origin is not None and origin["state"] not in (State.ACCEPTED, State.DELIVERED):
                raise Broken(f"event {row['id']} copies {origin['id']}, which is {origin['state']}")
            return
        name = f"event {row['id']}"
        erases = process in self.operators or process in self.pruning
        for column in FIXED:
            if before[column] != row[column] and not (erases and not row[column]):
                raise Broken(f"{name}: {column} changed from {before[column]!r} to {row[column]!r}")
        if row["body"] != before["body"]:
            if row["body"] or not erases:
                raise Broken(f"{name}: the body changed")
            self.gone.add(before["subject"])
            self._judge_blanked(name, row)
        if process in self.spares and before["state"] not in (State.DELIVERED, State.CANCELLED):
            raise Broken(f"{name}: {process} erases what is {before['state']}, and was not asked to")
        if row["key_epoch"] != before["key_epoch"]:
            self._judge_new_key(name, process, before, row)
        if row["attempts"] > self.settings.max_attempts:
            raise Broken(f"{name}: {row['attempts']} attempts")
        self._judge_truth(name, row)
        old, new = before["claim_token"], row["claim_token"]
        held = old is not None and self._is_ahead(before)
        if new is not None and new != old:
            self._judge_claim(name, process, before, row)
            self.claims.claimed(name, process, before, row, found)
        else:
            self._judge_other(name, process, before, row, found, held=held)

    def _judge_new_key(self, name: str, process: str, before: Row, row: Row) -> None:
        """Only an operator gives a new key, and where it may duplicate, only one who accepts that."""
        failed = before["reason"] == Reason.DELIVERY_FAILED
        if row["key_epoch"] != before["key_epoch"] + 1 or process not in self.operators:
            raise Broken(f"{name}: {process} makes key {row['key_epoch']} of {before['key_epoch']}")
        if not failed and process not in self.accepts_duplicates:
            raise Broken(f"{name}: {process} gives {before['state']} {before['reason']} a new key")

    def _is_ahead(self, row: Row) -> bool:
        return row["due_at"] is not None and row["due_at"] > self.database.latest + CLOSE

    def _judge_claim(self, name: str, process: str, before: Row, row: Row) -> None:
        if self._is_ahead(before):
            if before["claim_token"] is not None:
                holder = self._holder(before)
                raise Broken(f"{name}: {process} claims what {holder} holds until {before['due_at']:.3f}")
            raise Broken(f"{name}: claimed before it is due")
        if before["state"] not in OPEN:
            raise Broken(f"{name}: claimed as {before['state']}")
        if row["state"] == State.PENDING:
            if row["attempts"] != before["attempts"] + 1 or row["in_doubt_since"] is None:
                raise Broken(f"{name}: claimed without an attempt or without a doubt")
            self._judge_head(row)

    def _holder(self, row: Row) -> str | None:
        claim = self.claims.of(row)
        return claim.process if claim else None

    def _judge_other(  # noqa: C901 - one rule after another
        self, name: str, process: str, before: Row, row: Row, found: dict[int, Row], *, held: bool
    ) -> None:
        """A change that is neither an insert nor a claim."""
        old = before["claim_token"]
        if before["state"] in (State.DELIVERED, State.CANCELLED) and before["state"] != row["state"]:
            raise Broken(f"{name}: {before['state']} became {row['state']}")
        if process in self.operators:
            if held:
                raise Broken(f"{name}: {process} changes what {self._holder(before)} holds")
            self._judge_act(name, process, before, row)
            self._judge_release(name, process, before, row, found)
            return
        if process in self.pruning:
            if row["state"] != before["state"] or row["finished_at"] is None:
                raise Broken(f"{name}: {process} blanks what is {row['state']}")
            return
        claim = self.claims.of(before)
        if claim is None or claim.process != process or row["claim_token"] == old:
            # A sweep moves times from before the clock was set back, and leaves the claim.
            corrects = not self.claims.clock_is_steady and row["claim_token"] == old
            if held and claim is not None and claim.process != process and not corrects:
                raise Broken(f"{name}: {process} writes what {claim.process} holds")
            self.claims.unheld(name, process, before, row, self.database.latest)
            self._judge_release(name, process, before, row, found)
            self._owe(process, before, row)
            return
        if row["state"] == State.DEAD and row["id"] in self.requeued and row["reason"] in CERTAIN:
            raise Broken(f"{name} is {row['reason']}, and was not sent since an operator requeued it")
        self.claims.settled(name, claim, before, row, held=held)
        conflict = self.settings.honours_key and claim.sends[-1:] == ["of another event"]
        self._owe(process, before, row, conflict=conflict and claim.answers[-1:] == [409])
        if before["state"] == State.PENDING and claim.answers:
            self._judge_marked(name, claim.before, row)
        if (
            before["state"] == State.PENDING
            and claim.answers[-1:] == [429]
            and process not in self.claims.odd
        ):
            self.destination.judge_asked_to_wait(name, claim.answered_at)

    def _judge_release(self, name: str, process: str, before: Row, row: Row, found: dict[int, Row]) -> None:
        """What waits for its key is made due only when an event has left it (G8)."""
        if not before["key_held"] or row["key_held"] or row["state"] != State.PENDING:
            return
        earlier = [each for each in self.rows.values() if each["ordering_key"] == before["ordering_key"]]
        left = any(
            self._holds_key(each) and not self._holds_key(found[each["id"]])
            for each in earlier
            if each["id"] < row["id"]
        )
        if not left and self._is_blocked(row, found):
            raise Broken(f"{name}: {process} makes it due, and an earlier event of its key is in the way")

    def _owe(self, process: str, before: Row, row: Row, *, conflict: bool = False) -> None:
        """Each change of state is announced, and what an operator must look at is an error (G1)."""
        state = row["state"]
        if state != before["state"]:
            self.owed[process, row["id"], state] += 1
        if conflict or (state != before["state"] and state in (State.DEAD, State.UNRESOLVED)):
            self.owed[process, row["id"], "ERROR"] += 1

    def _judge_marked(self, name: str, before: Row, row: Row) -> None:
        """Without a key, each attempt that may be a duplicate is marked, and no other (G3)."""
        query = f"SELECT id, may_duplicate FROM {LOG} WHERE event_id = {row['id']} ORDER BY id DESC LIMIT 1"
        may = before["in_doubt_since"] is not None or before["key_epoch"] > 0
        for attempt, marked in self._read(query):
            if attempt in self._attempts:
                continue  # its worker was frozen, and has ended it without a request
            self._attempts.add(attempt)
            if bool(marked) != (may and not self.settings.honours_key):
                raise Broken(f"{name}: an attempt is marked {marked}; it may be a duplicate: {may}")

    def _judge_blanked(self, name: str, row: Row) -> None:
        """Blanking a body also blanks the errors and responses stored with it (G21)."""
        lines = self._read(f"SELECT response_excerpt, error FROM {LOG} WHERE event_id = {row['id']}")
        if row["last_error"] or any(excerpt or error for excerpt, error in lines):
            raise Broken(f"{name}: its body is blanked, and {row['last_error']!r} and {lines} stay")

    def _read(self, query: str) -> list[Any]:
        with self.database.reader() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def _judge_act(self, name: str, process: str, before: Row, row: Row) -> None:
        """An operator's act leads to a new budget, and past the window to a new key."""
        again = before["state"] in (State.DEAD, State.UNRESOLVED) and row["state"] == State.PENDING
        if not again:
            return
        self.requeued.add(row["id"])
        if row["attempts"] or row["due_at"] is None:
            raise Broken(f"{name}: {process} makes it pending with {row['attempts']} attempts")
        if row["key_epoch"] != before["key_epoch"]:
            return
        if before["reason"] in (Reason.CONFLICT, Reason.DELIVERY_FAILED):
            raise Broken(f"{name}: {before['reason']}, and it is sent again under the same key")
        since = [moment for moment in (before["in_doubt_since"], before["key_known_since"]) if moment]
        first = min(since, default=self.database.latest)
        if before["state"] == State.DEAD and row["in_doubt_since"] == first:
            return  # given up and requeued: its doubt stays, so it is not sent before an operator is asked
        known_for = self.database.latest - first
        remembers = self.settings.honours_key and self.claims.clock_is_steady
        if remembers and known_for > self.settings.key_seconds + 1.0:
            raise Broken(f"{name}: the platform may have forgotten its key, and it gets no new one")

    def _judge_truth(self, name: str, row: Row) -> None:
        """A row never denies an acceptance that a request of an earlier claim brought."""
        if row["claim_token"] is not None or row["in_doubt_since"] is not None or row["key_epoch"]:
            return
        accepted = [each for each in self.platform.accepted if each.event_id == row["event_id"]]
        denies = row["state"] == State.PENDING or row["reason"] in CERTAIN
        if accepted and denies and row["accepted_at"] is None:
            raise Broken(f"{name}: {row['state']} {row['reason']} without a doubt, and the platform has it")

    def _judge_head(self, row: Row) -> None:
        """An earlier event of its key is not pending any more."""
        key = row["ordering_key"]
        for other in self.rows.values():
            if (
                key
                and other["ordering_key"] == key
                and other["id"] < row["id"]
                and other["state"] == State.PENDING
                and self._came_first(other, row)
                # Dead, it held nothing back; nothing is promised about what was on its way meanwhile.
                and (self.settings.block_key_on_dead or other["id"] not in self.requeued)
            ):
                raise Broken(
                    f"event {row['id']} of key {key} is claimed before {other['id']}, which is pending"
                )

    def _came_first(self, earlier: Row, later: Row) -> bool:
        """Whether one was committed before the insert of the other began: G8 promises no other order."""
        began = self.began.get(later["event_id"])
        return began is not None and self.appeared[earlier["id"]] < began

    def _are_few(self, failing: Iterable[int]) -> bool:
        """Whether fewer than three events are failing, held by a worker or due."""
        now = self.database.latest
        pending = [row for row in self.rows.values() if row["state"] == State.PENDING]
        due = {row["id"] for row in pending if row["claim_token"] or row["due_at"] <= now + CLOSE}
        return len({*failing, *due}) < FEW

    # ---------------------------------------------------------------------------------------------- the end

    def at_the_end(self) -> None:
        """All events have ended or wait for an operator, and the tables and the platform agree."""
        rows = {row["id"]: row for row in self.database.rows(EVENTS, COLUMNS)}
        self._tables_hold(rows)
        acts = self.database.rows(ACTS, ("id", "event_number", "act"))
        touched = {
            act["event_number"] for act in acts if act["act"] in ("requeue", "cancel", "resolve", "erase")
        }
        orders = {row["number"] for row in self.database.rows(ORDERS, ("id", "number"))}
        if lost := self.committed - orders:
            raise Broken(f"committed orders are lost: {sorted(lost)}")
        if phantoms := self.rolled_back & orders:
            raise Broken(f"orders that were rolled back are there: {sorted(phantoms)}")
        by_event: defaultdict[str, list[Accepted]] = defaultdict(list)
        for each in self.platform.accepted:
            by_event[each.event_id].append(each)
        known = {row["event_id"] for row in rows.values()} | self.pruned
        for event_id, number in self.shared:
            if number in self.committed and event_id not in known:
                raise Broken(f"order {number} is committed, and event {event_id}, which it found, is not")
        if invented := by_event.keys() - known:
            raise Broken(f"the platform has events that were never committed: {sorted(invented)}")
        for row in rows.values():
            self._judge_end(row, by_event[row["event_id"]], touched)
        self._judge_order(rows, by_event, touched)
        self._judge_log(rows)
        self.destination.judge_rate()
        for (process, pk, what), times in self.owed.items():
            if process not in self.claims.odd and self.log.lines[process, pk, what] < times:
                raise Broken(f"event {pk}: {process} does not say that it is {what}")

    def _tables_hold(self, rows: dict[int, Row]) -> None:
        gone = {row["id"] for row in rows.values() if not row["subject"]}
        gone_orders = {
            row["id"] for row in self.database.rows(ORDERS, ("id", "number")) if row["number"] in self.gone
        }
        excused = {"a business row has lost its event": gone_orders, "an event has no business row": gone}
        with self.database.reader() as cursor:
            for rule, query in BROKEN.items():
                cursor.execute(query)
                if found := {pk for (pk,) in cursor.fetchall()} - excused.get(rule, set()):
                    raise Broken(f"{rule}: {sorted(found)}")

    def _judge_end(self, row: Row, accepted: list[Accepted], touched: set[int]) -> None:
        name, state, reason = f"event {row['id']}", row["state"], row["reason"]
        if len(accepted) > 1 + row["key_epoch"] and not self.settings.resends_in_doubt:
            raise Broken(f"{name} was accepted {len(accepted)} times, with {row['key_epoch']} new keys")
        for each in accepted:
            if row["body"] and each.body != row["body"]:
                raise Broken(f"{name}: other bytes were accepted")
        if row["id"] in touched or not row["body"]:
            return
        if state in (State.ACCEPTED, State.DELIVERED) and not accepted:
            raise Broken(f"{name} is {state}, and the platform never had it")
        if state == State.DELIVERED and accepted[-1].status == "failed":
            raise Broken(f"{name} is delivered, and the platform failed to")
        if reason in (Reason.REJECTED, Reason.EXHAUSTED, Reason.EXPIRED) and accepted:
            raise Broken(f"{name} is {state} ({reason}), and the platform has it")
        if reason == Reason.DELIVERY_FAILED and not accepted:
            raise Broken(f"{name} is {state} ({reason}), and the platform never had it")

    def _judge_order(
        self, rows: dict[int, Row], by_event: dict[str, list[Accepted]], touched: set[int]
    ) -> None:
        first = {
            row["id"]: min((each.step for each in by_event[row["event_id"]]), default=None)
            for row in rows.values()
        }
        for row in rows.values():
            for later in rows.values():
                if (
                    not row["ordering_key"]
                    or row["ordering_key"] != later["ordering_key"]
                    or later["id"] <= row["id"]
                ):
                    continue
                earlier_at, later_at = first[row["id"]], first[later["id"]]
                if row["id"] in touched or later["id"] in touched or later_at is None:
                    continue
                if not self._came_first(row, later):
                    continue
                if row["failed_at"] is not None and not self.settings.block_key_on_dead:
                    continue  # it may have been dead or unresolved, and accepted later
                if earlier_at is None or earlier_at > later_at:
                    raise Broken(f"event {later['id']} of key {row['ordering_key']} went before {row['id']}")

    def _judge_log(self, rows: dict[int, Row]) -> None:
        numbers: defaultdict[int, list[int]] = defaultdict(list)
        for line in self.database.rows(LOG, ("id", "event_id", "number")):
            numbers[int(line["event_id"])].append(line["number"])
        for pk, found in numbers.items():
            if sorted(found) != list(range(1, len(found) + 1)):
                raise Broken(f"event {pk}: the attempt log has the numbers {found}")

    def left_open(self) -> list[int]:
        """Events that no worker will bring to an end although nothing is in their way."""
        rows = self.database.rows(EVENTS, COLUMNS)
        blocking = {State.PENDING}
        if self.settings.block_key_on_dead:
            blocking |= {State.DEAD, State.UNRESOLVED}
        return [
            row["id"]
            for row in rows
            if row["state"] in OPEN
            and not any(
                other["ordering_key"] == row["ordering_key"] != ""
                and other["id"] < row["id"]
                and other["state"] in blocking
                for other in rows
            )
        ]

    def summary(self) -> Counter[str]:
        rows = self.database.rows(EVENTS, ("id", "state", "reason"))
        return Counter(f"{row['state']}/{row['reason']}" if row["reason"] else row["state"] for row in rows)


def _tries(row: Row) -> int:
    return int(row["attempts"] + row["halts"])


def _met_pages(row: Row) -> bool:
    """It may be that event which is at fault: then it goes last."""
    return bool(row["halts"] >= 3)


def _shown(before: Row | None, row: Row) -> str:
    """An event, and what the commit made of it."""
    was = f"{before['state']} -> " if before and before["state"] != row["state"] else ""
    state = f"{row['state']} ({row['reason']})" if row["reason"] else row["state"]
    parts = [
        f"attempts {row['attempts']}",
        f"checks {row['checks']}",
        f"key {row['key_epoch']}",
        *([f"claim {row['claim_token'][:8]}"] if row["claim_token"] else []),
        *([f"due at {row['due_at']:.3f}"] if row["due_at"] is not None else []),
        *([f"in doubt since {row['in_doubt_since']:.3f}"] if row["in_doubt_since"] is not None else []),
    ]
    return f"event {row['id']} ({row['subject']}): {was}{state}, {', '.join(parts)}"

"""The rules for what a worker writes to a row, and sends, under a claim: G3, G5, G7, G11 and G15."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.relay.batch import SHARE_OF_LAPSED
from genesys_eventbridge.states import Reason, State
from tests.deterministic.answers import Meaning
from tests.deterministic.platform import Platform
from tests.deterministic.scheduler import TICK, Broken

Row = dict[str, Any]
#: Seconds by which the stored times are rounded.
CLOSE = 0.002
#: Answers that may mean an acceptance, and those that pause the destination and cost no attempt.
TAKEN, HALTS = (200, 202, 409), (429,)
#: Fates of requests to which something answers that is not the platform: after so many of these, while others
#: are accepted, the next one ends the event. So many answers about another event do, too.
PAGES, MOST_PAGES, CONFLICTS = ("403", "a gateway", "no such path"), 3, 3
#: Seconds before the end of its lease that are enough to write an outcome.
IN_TIME = 5.0
CERTAIN = (Reason.REJECTED, Reason.EXHAUSTED, Reason.EXPIRED)
#: Columns that no worker changes in a row that it does not hold.
KEPT = ("state", "reason", "attempts", "checks", "halts", "in_doubt_since", "remote_id", "accepted_at")


@dataclass
class Claim:
    """One claim of a row, as it was written."""

    process: str
    #: The pass of this process.
    number: int
    #: By the database's clock.
    lease_ends: float
    #: The row before.
    before: Row
    lapsed: bool
    suspect: bool
    #: The fates of the requests made under it; the HTTP status of each answer, None for none.
    sends: list[str] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    sent_at: float = math.inf
    answered_at: float = math.inf


class Claims:
    """All claims of a run."""

    def __init__(self, settings: DestinationSettings, platform: Platform) -> None:
        self.settings, self.platform = settings, platform
        #: A claim of several rows has one token.
        self._by_token: dict[tuple[str, int], Claim] = {}
        #: The latest claim of a process on an event, by the event's id.
        self._latest: dict[tuple[str, str], Claim] = {}
        #: The number of the pass that each process is in.
        self.passes: defaultdict[str, int] = defaultdict(int)
        #: The database's clock was set, a thread was killed, the database failed.
        self.clock_is_steady = True
        self.odd: set[str] = set()
        #: Processes whose login failed: they remember it for some seconds, and fail events unsent.
        self.without_login: set[str] = set()
        #: Processes that were killed, and whether none has been frozen yet.
        self.killed: set[str] = set()
        self.undisturbed = True
        #: The database's clock when the latest statement was executed.
        self.now: Callable[[], float] = lambda: 0.0
        #: What the last answer to a process about an event means; None if that is not known.
        self.meaning: Callable[[str, int], Meaning | None] = lambda process, event: None
        #: Events with a request whose outcome is unknown, with the epoch of its key.
        self._unknown: set[tuple[str, int]] = set()

    def of(self, row: Row) -> Claim | None:
        """The claim under which this row is, or was until its lease ended."""
        return self._by_token.get((row["claim_token"] or "", row["id"]))

    # ------------------------------------------------------------------------------------------- claiming

    def claimed(self, name: str, process: str, before: Row, row: Row, rows: dict[int, Row]) -> None:
        lapsed = before["claim_token"] is not None
        if row["lapses"] != ((before["lapses"] or 0) + 1 if lapsed else 0):
            raise Broken(f"{name}: {row['lapses']} lapses, after {before['lapses']}; lapsed: {lapsed}")
        claim = Claim(
            process,
            self.passes[process],
            row["due_at"],
            before,
            lapsed=lapsed,
            suspect=lapsed and bool(before["lapses"]),
        )
        publishes = before["state"] == State.PENDING
        doubt = before["in_doubt_since"]
        if publishes and before["attempts"] >= self.settings.max_attempts:
            raise Broken(f"{name}: claimed although its attempts are used up")
        if publishes and doubt is not None and self.clock_is_steady:
            if row["in_doubt_since"] != doubt:
                raise Broken(
                    f"{name}: in doubt since {doubt:.3f}, and since a claim {row['in_doubt_since']:.3f}"
                )
            if row["due_at"] > doubt + self.settings.doubt_seconds + CLOSE:
                raise Broken(f"{name}: claimed although its window closes within the lease")
        self._by_token[row["claim_token"], row["id"]] = self._latest[process, row["event_id"]] = claim
        self._judge_room(process, rows, claim)
        self._judge_held(process, rows, claim)
        if lapsed:
            self._judge_lost(name, before)

    def _judge_lost(self, name: str, before: Row) -> None:
        """A short failure of the database loses no outcome (G6)."""
        last = self.of(before)
        if last is None or not self.undisturbed or last.process in self.killed or not self.clock_is_steady:
            return
        answered = last.answers and None not in last.answers and len(last.answers) == len(last.sends)
        quickly = last.answered_at - last.sent_at < self.settings.request_deadline - 1.0
        if answered and quickly and last.answered_at < last.lease_ends - IN_TIME:
            raise Broken(f"{name}: {last.process} had its answer {last.answers}, and has not written it")

    def in_flight(self, process: str, rows: Iterable[Row]) -> list[Row]:
        """The rows that this pass of the process holds, as far as they are not settled."""
        held = ((row, self.of(row)) for row in rows if row["claim_token"] is not None)
        number = self.passes[process]
        return [row for row, each in held if each and (each.process, each.number) == (process, number)]

    def _judge_held(self, process: str, rows: dict[int, Row], new: Claim) -> None:
        """Without a key a pass holds what it can send at once (G7); while it sends, checks get a fifth."""
        if process in self.odd:
            return
        held = self.in_flight(process, rows.values())
        publishes = [row for row in held if row["state"] == State.PENDING]
        if new.before["state"] == State.PENDING:
            if not self.settings.honours_key and len(publishes) > self.settings.concurrency:
                raise Broken(f"{process} holds {len(publishes)} events, and cannot send them all at once")
            return
        unanswered = [row for row in publishes if self.is_on_its_way(row)]
        checks, fifth = len(held) - len(publishes), max(1, self.settings.batch_size // 5)
        if unanswered and checks > fifth:
            raise Broken(f"{process} holds {checks} checks while it has events to send")

    def is_on_its_way(self, row: Row) -> bool:
        """Whether a request about it has left under its claim and is not answered."""
        claim = self.of(row)
        return claim is not None and len(claim.sends) > len(claim.answers)

    def _judge_room(self, process: str, rows: dict[int, Row], new: Claim) -> None:
        """Rows of dead workers leave senders to others, and of those that may kill, one at a time."""
        if process in self.odd or not new.lapsed or not self.clock_is_steady:
            return
        held = [self.of(row) for row in rows.values()]
        mine = [each for each in held if each and each.process == process and each.number == new.number]
        mine = [each for each in {id(each): each for each in [*mine, new]}.values() if each.lapsed]
        if len(mine) > max(1, int(SHARE_OF_LAPSED * self.settings.concurrency)):
            raise Broken(f"{process} holds {len(mine)} rows of dead workers at once")
        if sum(each.suspect for each in mine) > 1:
            raise Broken(f"{process} holds two rows at once that lapsed twice")

    # -------------------------------------------------------------------------------------------- sending

    def sent(self, process: str, row: Row, key: str, fate: str, *, now: float) -> None:
        """A request has left; ``now`` by the database's clock."""
        event_id, name, settings = row["event_id"], f"event {row['id']}", self.settings
        claim = self._latest.get((process, event_id))
        if claim is None:
            raise Broken(f"{process} sends {event_id}, which it never claimed")
        epoch = claim.before["key_epoch"]
        own = uuid.UUID(row["idempotency_key"])
        if settings.honours_key and key != str(uuid.uuid5(own, str(epoch)) if epoch else own):
            raise Broken(f"{name} is sent under the key {key} in epoch {epoch}")
        if self.clock_is_steady and not claim.sends:
            if now > claim.lease_ends - settings.request_deadline + 5 * TICK:
                raise Broken(f"{name} is sent so late that the request may outlive its lease")
            doubt = claim.before["in_doubt_since"]
            if doubt is not None and now > doubt + settings.doubt_seconds + CLOSE:
                raise Broken(f"{name} is sent after the platform may have forgotten its key")
        if settings.asks_in_doubt and (event_id, epoch) in self._unknown:
            raise Broken(f"{name} is sent again although nobody knows what became of it")
        claim.sends.append(fate)
        claim.sent_at = now

    def answered(self, process: str, event_id: str, status: int | None, now: float) -> None:
        """``status`` is None if no answer comes."""
        claim = self._latest[process, event_id]
        claim.answers.append(status)
        claim.answered_at = now
        if status is None and claim.sends[-1] != "refused connection":
            self._unknown.add((event_id, claim.before["key_epoch"]))

    # ------------------------------------------------------------------------------------------- settling

    def settled(  # noqa: C901 - one rule after another
        self, name: str, claim: Claim, before: Row, row: Row, *, held: bool
    ) -> None:
        """Its holder has written its outcome."""
        meaning = self.meaning(claim.process, row["id"])
        self._judge_failed_at(name, before, row, since=claim.lease_ends - self.settings.lease_seconds)
        if before["state"] == State.ACCEPTED:
            self._checked(name, before, row, meaning)
            return
        if meaning is not None and claim.answers:
            self._judge_meaning(name, claim, before, row, meaning)
        state, doubt = row["state"], claim.before["in_doubt_since"]
        unknown = any(status is None for status in claim.answers) and claim.sends[-1] != "refused connection"
        if before["attempts"] - row["attempts"] not in (0, 1):
            raise Broken(f"{name}: {row['attempts']} attempts after {before['attempts']}")
        if state in (State.ACCEPTED, State.DELIVERED):
            if not any(status in TAKEN for status in claim.answers):
                raise Broken(f"{name} is {state}, and the request of this claim brought {claim.answers}")
            taken = self.platform.named(row["remote_id"])
            if taken is not None and taken.event_id != row["event_id"]:
                raise Broken(f"{name} is {state}, and what proves it is the id of {taken.event_id}")
            if row["accepted_at"] is None or row["in_doubt_since"] is not None:
                raise Broken(f"{name} is {state}, and still in doubt")
            since = before["key_known_since"]
            if row["key_known_since"] != (before["in_doubt_since"] if since is None else since):
                raise Broken(f"{name}: the platform knows its key since {before['in_doubt_since']}, not since"
                             f" {row['key_known_since']}")  # fmt: skip
        elif state == State.DEAD and row["reason"] in CERTAIN:
            if doubt is not None or (unknown and len(claim.answers) == len(claim.sends)):
                raise Broken(f"{name} is {row['reason']}, although it may have been accepted")
        elif state == State.PENDING:
            self._tried(name, claim, before, row, held=held, unknown=unknown)

    def _tried(self, name: str, claim: Claim, before: Row, row: Row, *, held: bool, unknown: bool) -> None:
        """It is to be sent again."""
        if row["key_held"] is not None and row["attempts"] == before["attempts"]:
            return  # not an outcome: held behind its key
        charged = row["attempts"] == before["attempts"]
        earlier, now = claim.before["in_doubt_since"], row["in_doubt_since"]
        if self.clock_is_steady and now not in (earlier, before["in_doubt_since"]):
            raise Broken(f"{name}: in doubt since {now}, before the claim since {earlier}")
        if earlier is not None and now is None:
            raise Broken(f"{name}: an earlier doubt is forgotten")
        if unknown and now is None:
            raise Broken(f"{name}: the outcome is unknown, and it is not in doubt")
        excused = self.odd | self.without_login
        if not claim.sends and claim.process not in excused and row["failed_at"] != before["failed_at"]:
            raise Broken(f"{name}: given back unsent, and it failed at {row['failed_at']}")
        if held and not claim.sends and charged and claim.process not in self.odd:
            raise Broken(f"{name}: an attempt is counted, and nothing was sent")
        if held and charged and claim.answers and claim.answers[-1] in HALTS:
            raise Broken(f"{name}: an answer about the whole destination cost an attempt")
        closes_at = math.inf if now is None else now + self.settings.doubt_seconds
        if self.clock_is_steady and claim.answers and claim.answered_at > closes_at + CLOSE:
            raise Broken(f"{name} is to be sent again, and its window was closed when the answer came")

    def _judge_failed_at(self, name: str, before: Row, row: Row, *, since: float) -> None:
        """What waits for an operator failed when it ended, whether or not there was a request."""
        if row["state"] not in (State.DEAD, State.UNRESOLVED) or not self.clock_is_steady:
            return
        if row["failed_at"] is None or row["failed_at"] < since - CLOSE:
            raise Broken(f"{name}: {row['state']} since {row['failed_at']}, and it ended after {since}")

    def _judge_meaning(self, name: str, claim: Claim, before: Row, row: Row, meaning: Meaning) -> None:
        """What is no fault of the event costs it nothing (G9, G20)."""
        state, last, fate = row["state"], claim.answers[-1], claim.sends[-1]
        if meaning.free and state == State.PENDING and row["attempts"] == before["attempts"]:
            raise Broken(f"{name}: a failure of an outage that it paid for already uses up an attempt")
        closes_at = (before["in_doubt_since"] or 0.0) + self.settings.doubt_seconds
        ends = row["reason"] == Reason.EXHAUSTED or (
            row["reason"] == Reason.OUTCOME_UNKNOWN and self.now() < closes_at - CLOSE
        )
        if meaning.free and state in (State.DEAD, State.UNRESOLVED) and ends:
            raise Broken(f"{name}: a failure of an outage that it paid for already ends it")
        if (last in (401, 429) or fate == "refused connection") and row["halts"] != before["halts"]:
            raise Broken(f"{name}: accused by {last or fate}, which is no answer to it")
        if fate in PAGES and last is not None:
            ends = before["halts"] >= MOST_PAGES and meaning.accuses
            if ends != (state in (State.DEAD, State.UNRESOLVED)):
                raise Broken(
                    f"{name}: {state} after {before['halts']} pages before, accused: {meaning.accuses}"
                )
            if state == State.PENDING and meaning.paused and row["due_at"] > self.now() + CLOSE:
                raise Broken(f"{name}: waits {row['due_at'] - self.now():.2f} s on top of the pause")
        conflict = self.settings.honours_key and fate == "of another event" and last == 409
        conflicts = before["attempts"] if conflict else 0
        if conflicts >= CONFLICTS and state == State.PENDING:
            raise Broken(f"{name}: {conflicts} conflicts, and no operator is asked")

    def _checked(self, name: str, before: Row, row: Row, meaning: Meaning | None) -> None:
        accuses_the_path = meaning is not None and meaning.found is False and not meaning.accuses
        if accuses_the_path and row["state"] != State.ACCEPTED:
            raise Broken(f"{name}: {row['state']} although its check accuses the path, not the event")
        if row["state"] == State.PENDING:
            raise Broken(f"{name}: a check leads to another request")
        for column in ("attempts", "remote_id", "key_epoch", "in_doubt_since"):
            if row[column] != before[column]:
                raise Broken(f"{name}: a check changes {column}")

    # --------------------------------------------------------------------------------- without the claim

    def unheld(  # noqa: C901 - one rule after another
        self, name: str, process: str, before: Row, row: Row, now: float
    ) -> None:
        """A worker has changed a row that it does not hold."""
        old, new, reason = before["state"], row["state"], row["reason"]
        if old == new and reason == before["reason"]:
            for column in KEPT:
                if row[column] != before[column] and self.clock_is_steady:
                    raise Broken(f"{name}: {process} changes {column} without a claim")
            waits = before["attempts"] and not before["key_held"] and row["due_at"] < before["due_at"]
            if waits and self.clock_is_steady and before["due_at"] > now + CLOSE:
                raise Broken(f"{name}: {process} cuts its wait for a retry short")
            if row["failed_at"] != before["failed_at"]:
                raise Broken(f"{name}: {process} changes when it failed, and nothing was sent")
            return
        if old == State.UNRESOLVED and new in (State.ACCEPTED, State.DELIVERED):
            self._judge_late(name, before, row)
            return
        ends = new in (State.DEAD, State.UNRESOLVED)
        if ends and (row["failed_at"] is None or row["failed_at"] == before["failed_at"]):
            raise Broken(f"{name}: {process} ends it, and it failed at {row['failed_at']}")
        used_up = before["attempts"] >= self.settings.max_attempts
        if old == State.PENDING and new == State.UNRESOLVED and reason == Reason.OUTCOME_UNKNOWN:
            doubt = before["in_doubt_since"]
            closed = doubt is not None and now >= doubt + self.settings.doubt_seconds - CLOSE
            steady = self.clock_is_steady or self.settings.resends_in_doubt
            if doubt is None or not (used_up or closed or not steady):
                raise Broken(f"{name}: {process} ends it as {reason}, in doubt since {doubt}")
            return
        if old == State.PENDING and new == State.DEAD and reason == Reason.EXHAUSTED:
            if not used_up or before["in_doubt_since"] is not None:
                raise Broken(f"{name}: {process} ends it after {before['attempts']} attempts")
            return
        raise Broken(f"{name}: {process} writes {new} {reason} to what is {old} and not claimed by it")

    def _judge_late(self, name: str, before: Row, row: Row) -> None:
        taken = self.platform.named(row["remote_id"])
        if before["remote_id"] or taken is None or taken.event_id != row["event_id"]:
            raise Broken(f"{name}: a late answer brings {row['remote_id']!r}")
        if before["accepted_at"] is not None and row["accepted_at"] != before["accepted_at"]:
            raise Broken(f"{name}: a late answer changes when it was accepted")
        since = before["key_known_since"]
        if row["key_known_since"] != (before["in_doubt_since"] if since is None else since):
            raise Broken(f"{name}: a late answer changes since when its key is known")

"""The rules for what a worker writes to a row, and sends, under a claim: G3, G5, G7, G11 and G15."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.relay.batch import SHARE_OF_LAPSED
from genesys_eventbridge.states import Reason, State
from tests.deterministic.platform import Platform
from tests.deterministic.scheduler import TICK, Broken

Row = dict[str, Any]
#: Seconds by which the stored times are rounded.
CLOSE = 0.002
#: Answers that may mean an acceptance, and those that pause the destination and cost no attempt.
TAKEN, HALTS = (200, 202, 409), (429,)
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
        #: When each row was claimed, by the database's clock.
        self.times: list[float] = []
        self.odd: set[str] = set()
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
        self.times.append(row["due_at"] - self.settings.lease_seconds)
        self._judge_room(process, rows, claim)

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

    def answered(self, process: str, event_id: str, status: int | None, now: float) -> None:
        """``status`` is None if no answer comes."""
        claim = self._latest[process, event_id]
        claim.answers.append(status)
        claim.answered_at = now
        if status is None and claim.sends[-1] != "refused connection":
            self._unknown.add((event_id, claim.before["key_epoch"]))

    # ------------------------------------------------------------------------------------------- settling

    def settled(self, name: str, claim: Claim, before: Row, row: Row, *, held: bool) -> None:
        """Its holder has written its outcome."""
        if before["state"] == State.ACCEPTED:
            self._checked(name, before, row)
            return
        state, doubt = row["state"], claim.before["in_doubt_since"]
        unknown = any(status is None for status in claim.answers) and claim.sends[-1] != "refused connection"
        if before["attempts"] - row["attempts"] not in (0, 1):
            raise Broken(f"{name}: {row['attempts']} attempts after {before['attempts']}")
        if state in (State.ACCEPTED, State.DELIVERED):
            if not any(status in TAKEN for status in claim.answers):
                raise Broken(f"{name} is {state}, and the request of this claim brought {claim.answers}")
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
        if held and not claim.sends and charged and claim.process not in self.odd:
            raise Broken(f"{name}: an attempt is counted, and nothing was sent")
        if held and charged and claim.answers and claim.answers[-1] in HALTS:
            raise Broken(f"{name}: an answer about the whole destination cost an attempt")
        closes_at = math.inf if now is None else now + self.settings.doubt_seconds
        if self.clock_is_steady and claim.answers and claim.answered_at > closes_at + CLOSE:
            raise Broken(f"{name} is to be sent again, and its window was closed when the answer came")

    def _checked(self, name: str, before: Row, row: Row) -> None:
        if row["state"] == State.PENDING:
            raise Broken(f"{name}: a check leads to another request")
        for column in ("attempts", "remote_id", "key_epoch", "in_doubt_since"):
            if row[column] != before[column]:
                raise Broken(f"{name}: a check changes {column}")

    # --------------------------------------------------------------------------------- without the claim

    def unheld(self, name: str, process: str, before: Row, row: Row, now: float) -> str:
        """A worker has changed a row that it does not hold; returns what this is."""
        old, new, reason = before["state"], row["state"], row["reason"]
        if old == new and reason == before["reason"]:
            for column in KEPT:
                if row[column] != before[column] and self.clock_is_steady:
                    raise Broken(f"{name}: {process} changes {column} without a claim")
            return "release"
        if old == State.UNRESOLVED and new in (State.ACCEPTED, State.DELIVERED):
            self._judge_late(name, before, row)
            return "late"
        used_up = before["attempts"] >= self.settings.max_attempts
        if old == State.PENDING and new == State.UNRESOLVED and reason == Reason.OUTCOME_UNKNOWN:
            doubt = before["in_doubt_since"]
            closed = doubt is not None and now >= doubt + self.settings.doubt_seconds - CLOSE
            if doubt is None or not (used_up or closed or not self.clock_is_steady):
                raise Broken(f"{name}: {process} ends it as {reason}, in doubt since {doubt}")
            return "expire"
        if old == State.PENDING and new == State.DEAD and reason == Reason.EXHAUSTED:
            if not used_up or before["in_doubt_since"] is not None:
                raise Broken(f"{name}: {process} ends it after {before['attempts']} attempts")
            return "expire"
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

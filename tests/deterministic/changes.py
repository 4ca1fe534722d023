"""A run as a trace for the model: the changes of rows, and what the platform saw (tests/model/traces.py)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.states import State
from tests.model import spin
from tests.model.recorder import TIMES, line_of
from tests.model.traces import Line, Validator

if TYPE_CHECKING:
    from tests.deterministic.world import Run

Row = dict[str, Any]

#: How far times may differ (seconds): databases round them to a millisecond or a microsecond.
SLACK = 0.002


class Changes:
    """What happened so far, in order."""

    def __init__(self) -> None:
        self._lines: list[Line] = []

    def row(self, before: Row | None, row: Row | None, now: float) -> None:
        """A committed change of a row, which is None where it does not exist."""
        shown = row or before
        assert shown is not None
        if before and row and all(before[column] == row[column] for column in _OF_THE_MODEL):
            return  # an erasure, or a count that the model leaves out
        times = {name: shown[column] for name, column in TIMES.items()}
        line = line_of(
            {
                "op": "DELETE" if row is None else "INSERT" if before is None else "UPDATE",
                "old_state": before["state"] if before else "",
                "old_token": before and before["claim_token"],
                "number": shown["id"],
                "token": shown["claim_token"],
                "epoch": shown["key_epoch"],
                "has_id": shown["remote_id"] != "",
                "has_accepted": shown["accepted_at"] is not None,
                **{name: shown[name] for name in ("event_id", "ordering_key", "state", "reason", "attempts")},
                **{name: time and time * 1000 for name, time in {**times, "at": now}.items()},
            }
        )
        if before and row and row["claim_token"] and row["claim_token"] == before["claim_token"]:
            # Put aside until its window closes, under its lapsed claim: no column says when.
            line.detail["written"] = line.detail["written"] or now
        self._lines.append(line)

    def request(self, what: str, row: Row, key: str, now: float, *, same_bytes: bool = True) -> None:
        """The platform saw a request ("send"), or took its event ("accept")."""
        first = uuid.UUID(row["idempotency_key"])
        keys = [str(first), *(str(uuid.uuid5(first, str(epoch))) for epoch in range(1, row["key_epoch"] + 1))]
        detail = {"same_bytes": same_bytes} if what == "send" else {}
        epoch = keys.index(key)
        self._lines.append(Line(t=now, event=row["event_id"], what=what, epoch=epoch, detail=detail))

    def lines(self, settings: DestinationSettings) -> list[Line]:
        return in_time(self._lines, settings.lease_seconds)


def in_time(lines: Iterable[Line], lease: float) -> list[Line]:
    """The lines in the order of what they did; ``lease`` in seconds.

    A claim, or the end of an event, counts from its statement, whose time it wrote: its commit may come
    later, after that of another event. A retry was written before it became due. An event exists from its
    commit on.
    """
    times: dict[str, float] = {}
    ordered = []
    for line in lines:
        at, detail = line.t, line.detail
        if line.token and line.token != detail["from_token"]:
            at = detail["due"] - lease
        elif line.from_state and detail.get("written") is not None:
            at = detail["written"]
        elif line.to == State.PENDING and detail.get("from_token") and not line.token:
            at = min(at, detail["due"])
        times[line.event] = max(at, times.get(line.event, at))
        ordered.append(replace(line, t=times[line.event]))
    return sorted(ordered, key=lambda line: line.t)


_AS_THEY_ARE = ("event_id", "ordering_key", "state", "reason", "attempts")
_OF_THE_MODEL = (
    "state",
    "reason",
    "claim_token",
    "attempts",
    "key_epoch",
    "due_at",
    "in_doubt_since",
    "key_known_since",
    "remote_id",
    "accepted_at",
)


class Replays:
    """Replays runs against the model; a context manager. ``lines`` and ``runs`` count what it accepted."""

    def __init__(self) -> None:
        if not spin.is_installed():
            raise SystemExit(spin.MISSING)
        self.lines = self.runs = 0
        self._open = ExitStack()
        #: By the settings that the model knows: one is compiled for each.
        self._validators: dict[tuple[float, ...], Validator] = {}

    def __enter__(self) -> Replays:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()

    def judged(self, run: Run) -> Run:
        """The run, which has failed if one of its changes is no transition of the model."""
        if run.failure or not run.is_followed:
            return run
        verdict = self._validator(run.settings).judge(run.changes)
        if verdict.refused is not None:
            run.failure = f"no transition of the model: {verdict}"
        else:
            self.lines += verdict.lines
            self.runs += 1
        return run

    def _validator(self, settings: DestinationSettings) -> Validator:
        known = (settings.lease_seconds, settings.doubt_seconds, settings.max_attempts)
        if known not in self._validators:
            self._validators[known] = self._open.enter_context(Validator(settings, slack=SLACK))
        return self._validators[known]

"""Replays traces of the real code against the model: SPIN finds a transition for each line, or refuses it.

A trace is JSON lines. Each has ``t`` (seconds), ``who``, ``event``, ``what`` ("row", "send" or "accept"),
``from``, ``to``, ``token``, ``epoch``, ``attempts``, ``in_doubt`` and ``detail``: for a row ``number``,
``key``, ``reason``, ``from_token``, ``due`` and ``since`` (seconds, on the clock of ``t``), ``known``,
``accepted`` and ``id``.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genesys_eventbridge import conf
from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.states import FINISHED, State
from tests.model import spin

ROW, SEND, ACCEPT, NEW_GROUP = 1, 2, 3, 9
KINDS = {"row": ROW, "send": SEND, "accept": ACCEPT}
#: As rows.pml numbers them.
STATES = ["", "pending", "accepted", "delivered", "dead", "unresolved", "cancelled"]
REASONS = ["", "rejected", "exhausted", "expired", "delivery_failed", "conflict", "outcome_unknown"]
REASONS += ["unconfirmed", "untracked", "operator"]
FIELDS = 19
#: The rows that trace.pml can follow at once.
SLOTS = 64
#: No wait in a trace is longer (milliseconds): the model counts in 32 bits.
LONGEST = 10**9


@dataclass(frozen=True)
class Line:
    """One line. ``state`` and ``from_state`` are "" for a row that does not exist."""

    t: float
    event: str
    what: str = "row"
    who: str = ""
    from_state: str = ""
    to: str = ""
    token: str = ""
    epoch: int = 0
    attempts: int = 0
    in_doubt: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        values = asdict(self)
        return json.dumps({"from" if name == "from_state" else name: values[name] for name in values})

    @classmethod
    def from_json(cls, text: str) -> Line:
        values = json.loads(text)
        return cls(from_state=values.pop("from"), **values)


@dataclass(frozen=True)
class Verdict:
    """``refused`` is the first line that is no transition of the model."""

    lines: int
    refused: Line | None = None
    #: The lines of its ordering key up to it.
    history: tuple[Line, ...] = ()
    checked: bool = True

    def __str__(self) -> str:
        if not self.checked:
            return f"{self.lines} lines {spin.MISSING}"
        if self.refused is None:
            return f"{self.lines} lines accepted by the model"
        return "\n".join(["refused, the last of:", *(each.as_json() for each in self.history[-12:])])


class Validator:
    """The compiled model. Use it as a context manager.

    ``slack`` and ``lag`` (seconds): how far times may differ, and how long after its outcome was written a
    request may still be seen by the platform. Both are 0 where time is simulated.
    """

    def __init__(self, settings: DestinationSettings, *, slack: float = 0.0, lag: float = 0.0) -> None:
        self.settings = settings
        self._constants = {
            "LEASE": _ms(settings.lease_seconds),
            "WINDOW": _ms(min(settings.doubt_seconds, LONGEST / 1000)),
            "MAX_ATTEMPTS": min(settings.max_attempts, 250),
            "SLACK": _ms(slack),
            "LAG": _ms(lag),
            "FIELDS": FIELDS,
        }

    def __enter__(self) -> Validator:
        self._folder = tempfile.TemporaryDirectory(prefix="eventbridge-trace-")
        self._place = Path(self._folder.name)
        defines = tuple(f"{name}={value}" for name, value in self._constants.items())
        flags = ("-O1", "-DSAFETY", "-DCOLLAPSE", "-DNOREDUCE", "-DVECTORSZ=8192")
        self._program = spin.built("trace.pml", defines, flags)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._folder.cleanup()

    def judge(self, lines: Iterable[Line]) -> Verdict:
        """Whether every line is a transition; each ordering key, or event without one, is judged alone."""
        ordered: list[tuple[Line | None, list[int]]] = []
        groups = _groups(lines)
        for group in groups:
            ordered.append((None, [NEW_GROUP, *[0] * (FIELDS - 1)]))
            ordered += _encoded(group, self._constants["WINDOW"])
        text = "\n".join(" ".join(map(str, numbers)) for _line, numbers in ordered)
        (self._place / "lines.txt").write_text(f"{len(ordered)}\n{text}\n")
        command = [str(self._program), "-n", "-E", "-m10000000", "-w20"]
        done = subprocess.run(
            command, cwd=self._place, capture_output=True, text=True, timeout=spin.LIMIT, check=False
        )
        word, _space, number = done.stdout.strip().splitlines()[-1].partition(" ")
        count = sum(line is not None for line, _numbers in ordered)
        if word == "ACCEPTED":
            return Verdict(count)
        if word != "REFUSED":
            raise RuntimeError(done.stdout + done.stderr)
        refused = ordered[int(number)][0]
        begins = max(at for at in range(int(number) + 1) if ordered[at][0] is None)
        history = tuple(line for line, _numbers in ordered[begins : int(number) + 1] if line is not None)
        return Verdict(count, refused, history)


#: Seconds by which two clocks of one machine may differ, with what rounding adds.
SLACK = 0.005


def replayed(lines: Sequence[Line], *, lag: float) -> Verdict:
    """The verdict under the present settings. Without SPIN nothing is refused, and the verdict says so."""
    if not spin.is_installed():
        return Verdict(len(lines), checked=False)
    with Validator(conf.destination(), slack=SLACK, lag=lag) as validator:
        return validator.judge(lines)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _groups(lines: Iterable[Line]) -> list[list[Line]]:
    keys: dict[str, str] = {}
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.what == "row":
            keys.setdefault(line.event, str(line.detail["key"]) and f"key {line.detail['key']}")
        groups[keys.get(line.event) or f"event {line.event}"].append(line)
    return list(groups.values())


def _encoded(group: Sequence[Line], window: int) -> list[tuple[Line | None, list[int]]]:
    last = {line.event: at for at, line in enumerate(group)}
    final = {line.event: line.to for line in group if line.what == "row"}
    slots: dict[str, int] = {}
    free = list(range(SLOTS))
    tokens: dict[str, int] = {"": 0}
    names: dict[str, int] = {"": 0}
    now = min(line.t for line in group)
    encoded: list[tuple[Line | None, list[int]]] = []
    for at, line in enumerate(group):
        if line.event not in slots:
            slots[line.event] = free.pop(0)
        detail, by = line.detail, max(0.0, line.t - now)
        now = max(now, line.t)

        def number(known: dict[str, int], name: str) -> int:
            return known.setdefault(name or "", len(known))

        due, since = detail.get("due"), detail.get("since")
        numbers = [
            KINDS[line.what],
            slots[line.event],
            min(_ms(by), LONGEST),
            int(detail.get("number", 0)),
            number(names, line.who),
            STATES.index(line.from_state),
            number(tokens, detail.get("from_token", "")),
            STATES.index(line.to),
            REASONS.index(detail.get("reason", "")),
            number(tokens, line.token),
            min(max(0, _ms(due - line.t)), LONGEST) if due is not None else 0,
            min(max(1, 1 + _ms(line.t - since)), window + 2) if since is not None else 0,
            int(line.in_doubt),
            int(bool(detail.get("known"))),
            int(bool(detail.get("accepted"))),
            int(bool(detail.get("id"))),
            line.attempts,
            line.epoch,
            int(detail.get("same_bytes", True)),
        ]
        encoded.append((line, numbers))
        if last[line.event] == at and final.get(line.event, "") in (
            "",
            *map(str, FINISHED),
            State.ACCEPTED.value,
        ):
            free.append(slots[line.event])
    return encoded

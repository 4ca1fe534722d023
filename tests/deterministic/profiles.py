"""What a run is about: each seed has a profile, which makes some situations likely and leaves out others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.deterministic.platform import CHECK, PUBLISH

#: Faults that may strike at any step, and how often each is chosen.
FATES = {"freeze": 4.0, "freeze for long": 1.0, "kill": 4.0, "set the clock": 1.0, "kill a thread": 0.5}
ACTS = {"requeue": 1.0, "resolve": 1.0, "cancel": 1.0, "retry": 1.0, "check": 1.0, "pause": 1.0}


LEASE = 15.0
HOUR = 3600.0
#: The profiles that seeds below ``SERIES`` have in turn. Each further one has a series of its own, so that
#: one more moves none.
IN_TURN, SERIES = 14, 1000


def _nothing() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Moment:
    """A fault that strikes at steps of workers whose text matches, as does that of the task's last step."""

    pattern: str
    fate: str
    likely: float
    after: str = ""

    def matches(self, what: str, last: str) -> bool:
        return re.match(self.pattern, what) is not None and re.match(self.after, last) is not None


@dataclass(frozen=True)
class Profile:
    """What differs from an ordinary run."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=_nothing)
    #: Weights of the fates of requests that differ.
    publish: Mapping[str, float] = field(default_factory=_nothing)
    check: Mapping[str, float] = field(default_factory=_nothing)
    moments: tuple[Moment, ...] = ()
    #: How many faults a run may have, and how likely one is at any step.
    faults: tuple[int, ...] = (0, 1, 2, 3, 5)
    likely: float = 0.004
    acts: Mapping[str, float] = field(default_factory=lambda: ACTS)
    #: At least so many of each.
    workers: int = 2
    operators: int = 0
    #: Workers run as in the loop, with ``run_worker``, instead of pass by pass.
    loops: bool = False
    #: Committers write events under keys that others use, too.
    shared_keys: bool = False
    #: Somebody prunes, and somebody carries out jobs.
    prunes: bool = False
    jobs: bool = False
    #: The ordering keys that are used.
    keys: tuple[str | None, ...] = (None, "a", "b")
    fates: Mapping[str, float] = field(default_factory=lambda: FATES)
    #: By how many seconds the database's clock may be set.
    steps: tuple[float, ...] = (-LEASE, LEASE / 2, -2.0, 2 * LEASE)
    #: The types of events; the platform refuses most events of those in ``refused``, until the calm.
    types: tuple[str, ...] = ("order.created",)
    refused: tuple[str, ...] = ()
    #: At least so many transactions for each committer.
    transactions: int = 2

    def publish_fates(self) -> dict[str, float]:
        return {**PUBLISH, **self.publish}

    def check_fates(self) -> dict[str, float]:
        return {**CHECK, **self.check}


_ASKING = r"waits for the answer|is answered about|publishes|checks|waits for the status"
#: With "SELECT outboxevent" before it: between a look at due events and their claim.
CLAIMING = r"BEGIN|UPDATE destination"
_WRITING = r"BEGIN|UPDATE outboxevent|SELECT outboxevent FOR UPDATE|commit"

PROFILES = (
    Profile("mixed"),
    Profile(
        "freezes",
        settings={"MAX_ATTEMPTS": 8},
        publish={"accepted": 25.0, "503": 20.0, "answer lost": 10.0, "accepted late": 15.0},
        moments=(
            Moment(_ASKING, "freeze", 0.15),
            Moment(_WRITING, "freeze", 0.02),
            Moment(r"commit|reads the clock", "freeze", 0.03, after="UPDATE outboxevent"),
        ),
        faults=(3, 5, 8),
        keys=(None,),
        workers=3,
    ),
    Profile(
        "late answers",
        settings={"MAX_ATTEMPTS": 2, "BACKOFF_BASE": 12},
        publish={"accepted": 15.0, "accepted late": 20.0, "503": 25.0, "400": 15.0, "request lost": 10.0},
        moments=(Moment(r"is answered about|waits for the answer", "freeze", 0.4),),
        faults=(3, 5, 8),
        keys=(None,),
        workers=3,
    ),
    Profile(
        "windows",
        settings={"MAX_ATTEMPTS": 20},
        publish={"accepted": 10.0, "answer lost": 25.0, "request lost": 20.0, "503": 10.0, "400": 10.0},
        moments=(
            Moment(CLAIMING, "suspend", 0.6, after="SELECT outboxevent"),
            Moment(_ASKING, "suspend", 0.04),
            Moment(r"UPDATE outboxevent", "suspend", 0.05),
            Moment(r"rests|waits for a queue", "suspend", 0.03),
        ),
        faults=(2, 4, 6),
        likely=0.001,
    ),
    Profile(
        "deaths",
        settings={"MAX_ATTEMPTS": 3, "CONCURRENCY": 4},
        publish={"accepted": 30.0, "503": 15.0, "answer lost": 10.0},
        moments=(
            Moment(_ASKING, "kill", 0.12),
            Moment(_WRITING, "kill", 0.02),
            Moment(r"reads the clock", "freeze", 0.2, after="UPDATE outboxevent"),
        ),
        faults=(3, 5, 8),
        workers=3,
    ),
    Profile(
        "operators",
        publish={"accepted": 25.0, "400": 20.0, "503": 15.0, "answer lost": 8.0},
        check={"failed": 15.0},
        acts={**ACTS, "requeue": 4.0, "resolve": 3.0, "replay": 1.0, "job": 3.0, "stop": 1.0, "resend": 1.0},
        operators=2,
        jobs=True,
    ),
    Profile(
        "decisions",
        settings={"MAX_ATTEMPTS": 2},
        publish={"accepted": 10.0, "answer lost": 25.0, "request lost": 15.0, "400": 15.0, "no proof": 5.0},
        moments=(Moment(r"rests", "suspend", 0.1),),
        acts={"requeue": 2.0, "resolve": 6.0, "check": 1.0},
        operators=2,
    ),
    Profile(
        "rate",
        settings={"RATE_PER_MINUTE": 40, "PASS_SECONDS": 20},
        publish={"429": 12.0},
        check={"429": 8.0},
        fates={"freeze": 2.0, "kill": 2.0},
        workers=3,
    ),
    Profile(
        "outages",
        publish={"accepted": 10.0, "refused connection": 20.0, "a page": 8.0, "403": 10.0, "401": 4.0}
        | {"429": 8.0, "503": 15.0},
        check={"500": 15.0, "429": 6.0},
        moments=(
            Moment("is to probe", "doze", 0.7),
            Moment(CLAIMING, "doze", 0.1, after="SELECT outboxevent"),
        ),
        faults=(5, 10, 20),
        acts={"pause": 4.0, "retry": 1.0, "resume": 2.0},
        workers=3,
        operators=1,
    ),
    Profile("webhook, ask", settings={"PROTOCOL": "webhook", "ON_DOUBT": "ask"}, workers=3),
    Profile("webhook, resend", settings={"PROTOCOL": "webhook", "ON_DOUBT": "resend"}, workers=3),
    Profile("loop", loops=True, moments=(Moment(_ASKING, "freeze", 0.05), Moment(_WRITING, "kill", 0.01))),
    Profile("shared keys", shared_keys=True, faults=(0, 1, 2)),
    Profile(
        "retention",
        settings={"RETENTION_DAYS": 1.5, "PAYLOAD_RETENTION_DAYS": 0.5},
        moments=(Moment(r"rests", "suspend", 0.05),),
        acts={**ACTS, "erase": 4.0, "resend": 1.0},
        operators=1,
        prunes=True,
        jobs=True,
    ),
    Profile(
        "accusations",
        settings={"PASS_SECONDS": 30, "BACKOFF_BASE": 1, "BACKOFF_CAP": 3},
        publish={"accepted": 20.0, "a gateway": 25.0, "403": 4.0, "503": 2.0},
        moments=(Moment(_ASKING, "freeze", 0.02),),
        faults=(0, 1, 2),
        acts={"resume": 2.0, "retry": 1.0},
        keys=(None,),
        transactions=4,
    ),
    Profile(
        "refusals",
        settings={"PASS_SECONDS": 30},
        publish={"accepted": 30.0, "400": 4.0, "503": 2.0},
        moments=(Moment("is to try a refused type", "freeze", 0.3), Moment(_ASKING, "freeze", 0.05)),
        faults=(0, 2, 4),
        acts={"resume": 6.0, "requeue": 2.0},
        keys=(None,),
        types=("order.created", "order.changed", "order.closed"),
        refused=("order.changed", "order.closed"),
        workers=3,
        operators=2,
        transactions=6,
    ),
    Profile(
        "failures",
        settings={"PAUSE_BASE": 1, "PAUSE_CAP": 4, "BACKOFF_BASE": 1, "BACKOFF_CAP": 3, "PASS_SECONDS": 30},
        publish={"accepted": 10.0, "503": 12.0, "500 although accepted": 14.0, "no proof": 12.0}
        | {"of another event": 4.0, "another's id": 5.0, "request lost": 3.0, "refused connection": 1.0},
        moments=(Moment("is to probe", "doze", 0.2), Moment(_ASKING, "freeze", 0.01)),
        faults=(0, 2, 4),
        acts={"resume": 1.0, "retry": 1.0, "requeue": 1.0},
        keys=(None, None, "a"),
        transactions=8,
        workers=3,
    ),
    Profile(
        "checks",
        settings={"CONFIRM_FOR": 60, "NOT_FOUND_GRACE": 1, "PASS_SECONDS": 20, "CHECK_DELAYS": [2, 2]},
        publish={"accepted": 60.0, "no such path": 12.0, "429": 3.0},
        check={"the status": 3.0, "not yet": 8.0, "404": 60.0, "429": 4.0},
        faults=(0, 1, 2),
        keys=(None,),
        acts={"check": 2.0, "resume": 1.0},
        transactions=4,
    ),
    Profile(
        "clocks",
        settings={"RATE_PER_MINUTE": 120},
        publish={"accepted": 30.0, "503": 8.0, "429": 4.0, "a gateway": 6.0, "refused connection": 4.0},
        fates={"set the clock": 6.0, "freeze": 1.0},
        steps=(-LEASE, 4 * LEASE, -4 * LEASE, HOUR, -HOUR),
        faults=(4, 8, 12),
        likely=0.008,
        transactions=4,
    ),
    Profile(
        "webhook, failures",
        settings={"PROTOCOL": "webhook", "ON_DOUBT": "ask", "CONCURRENCY": 2, "BATCH_SIZE": 8},
        publish={"accepted": 20.0, "500 although accepted": 15.0, "no proof": 10.0, "answer lost": 5.0},
        moments=(Moment(_ASKING, "freeze", 0.05),),
        faults=(0, 2, 4),
        acts={"resolve": 4.0, "check": 2.0, "resume": 1.0, "requeue": 1.0},
        operators=1,
        transactions=5,
    ),
    Profile(
        "webhook, long",
        settings={"PROTOCOL": "webhook", "ON_DOUBT": "resend", "BATCH_SIZE": 8, "MAX_ATTEMPTS": 6},
        publish={"accepted": 20.0, "500 although accepted": 15.0, "answer lost": 15.0, "503": 10.0},
        moments=(Moment("rests", "suspend", 0.1), Moment(_ASKING, "kill", 0.04)),
        faults=(2, 4),
        acts={"resolve": 3.0, "requeue": 3.0, "cancel": 1.0},
        operators=1,
        transactions=4,
    ),
    Profile(
        "loop, both kinds",
        settings={"BATCH_SIZE": 10, "CONCURRENCY": 4, "PASS_SECONDS": 20, "CHECK_DELAYS": [1, 1]},
        publish={"accepted": 40.0, "429": 2.0, "503": 6.0},
        check={"not yet": 40.0},
        loops=True,
        faults=(0, 1, 2),
        keys=(None,),
        transactions=8,
    ),
    Profile(
        "loop, rate",
        settings={"RATE_PER_MINUTE": 60, "BATCH_SIZE": 8, "PASS_SECONDS": 20, "CHECK_DELAYS": [1, 1]},
        check={"not yet": 20.0},
        loops=True,
        faults=(0, 1, 2),
        transactions=4,
    ),
    Profile(
        "operators and keys",
        publish={"accepted": 20.0, "400": 15.0, "503": 15.0, "answer lost": 5.0, "accepted late": 10.0},
        moments=(Moment(r"is answered about|waits for the answer", "freeze", 0.1),),
        acts={"requeue": 5.0, "resolve": 4.0, "cancel": 2.0, "retry": 4.0, "erase": 2.0, "replay": 2.0},
        keys=("a", "b"),
        operators=2,
        jobs=True,
        transactions=3,
    ),
    Profile(
        "keys that do not wait",
        settings={"BLOCK_KEY_ON_DEAD": False, "MAX_ATTEMPTS": 3, "BACKOFF_BASE": 8},
        publish={"accepted": 15.0, "400": 20.0, "503": 25.0, "answer lost": 5.0, "accepted late": 5.0},
        moments=(Moment("rests", "suspend", 0.05), Moment(r"is answered about|publishes", "kill", 0.05)),
        acts={"requeue": 8.0, "resolve": 4.0, "cancel": 1.0, "pause": 1.0},
        keys=("a", "b"),
        operators=2,
        transactions=4,
    ),
)


#: Seeds are below this.
END = SERIES * (len(PROFILES) - IN_TURN + 1)


def of_seed(seed: int) -> Profile:
    """Seeds below 1000 have one of the first profiles in turn; then the thousands say which."""
    return PROFILES[seed % IN_TURN if seed < SERIES else IN_TURN + seed // SERIES - 1]


def next_like(seed: int) -> int:
    """The next seed of this one's profile."""
    return seed + (IN_TURN if seed < SERIES else 1)


def in_turn(first: int) -> Iterator[int]:
    """Seeds from this one on: of all profiles in turn, or of its own series."""
    if first >= SERIES:
        yield from range(first, SERIES * (first // SERIES + 1))
        return
    series = range(1, len(PROFILES) - IN_TURN + 1)
    for number in itertools.count(first):
        if number < SERIES:
            yield number
        if number % IN_TURN == 0:
            yield from (SERIES * each + number // IN_TURN for each in series)

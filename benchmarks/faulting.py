"""How fast a backlog drains while the platform fails by plan: real workers, HTTP and time (issue 14, G22).

python -m benchmarks.faulting                                     # every plan, on SQLite
python -m benchmarks.faulting --database postgresql mysql --plan first-500 poison-page

Plans run one at a time: two ``eventbridge_publish --loop`` with default settings send one event to warm up,
then the faults start and all events are enqueued at once. Prints each result as a JSON line, then a table.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

from benchmarks.faulty_platform import (
    UNAUTHORIZED,
    WARM_UP,
    Fault,
    FaultyPlatform,
    Request,
    Rule,
    faulty_platform,
    page,
    refusal,
)
from benchmarks.measuring import fresh_database
from tests import databases

#: Seconds that never-accepted events may take to end after all others were accepted.
PATIENCE = 120.0
#: Seconds within which an idle worker must start and send the warm-up event.
START = 60.0
SHORT = {"REQUEST_DEADLINE": 2, "CONNECT_TIMEOUT": 2}


@dataclass(frozen=True)
class Plan:
    """What fails, and how many events are enqueued; the numbers in ``bad`` are never accepted."""

    name: str
    rule: Callable[[], Rule] | None = None
    events: int = 200
    bad: frozenset[int] = frozenset()
    #: Responses of the token endpoint after the warm-up's tokens are invalidated.
    token_faults: tuple[Fault, ...] = ()
    #: Seconds for which connections are refused, from the moment the events are enqueued.
    down: float = 0.0
    #: How many good events are enqueued ``later_after`` seconds after the others.
    later: int = 0
    later_after: float = 30.0
    #: Compare with the same plan without its bad events.
    compared: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """One run of one plan; times are in seconds, None if the cap was reached first."""

    plan: str
    database: str
    #: Events that should be accepted, and those whose acceptance reached a worker.
    good: int
    accepted: int
    #: From enqueueing to the first and to the last acceptance.
    started: float | None
    drained: float | None
    #: From the last planned fault to the last acceptance.
    after_fault: float | None
    #: From the second enqueueing, if the plan has one, to the last acceptance.
    later: float | None
    #: From enqueueing until no event was open.
    ended: float | None
    #: The longest time after the first fault without an acceptance while an event was waiting for one.
    standstill: float
    states: dict[str, int]
    twice: int
    lost: int
    requests: int
    tokens: int
    #: Time from the first acceptance to the last / the same without the bad events.
    ratio: float | None = None


# What fails -----------------------------------------------------------------------------------------------


def first_tries(*faults: Fault) -> Callable[[], Rule]:
    """The first request of each event fails, and the second of every other one; uses ``faults`` in turn."""

    def rule(request: Request) -> Fault | None:
        fails = request.nth <= 1 + request.number % 2
        return faults[request.number // 2 % len(faults)] if fails else None

    return lambda: rule


def always(fault: Fault, numbers: frozenset[int]) -> Callable[[], Rule]:
    return lambda: lambda request: fault if request.number in numbers else None


class OneTryInTen:
    """Every tenth try gets a 401, and so does its second request with a new token."""

    def __init__(self) -> None:
        self.tries = 0
        self.refused: dict[int, Request] = {}

    def __call__(self, request: Request) -> Fault | None:
        first = self.refused.pop(request.number, None)
        if first and first.bearer != request.bearer and request.at - first.at < 2.0:
            return UNAUTHORIZED
        self.tries += 1
        if self.tries % 10:
            return None
        self.refused[request.number] = request
        return UNAUTHORIZED


class NineInTen:
    """All requests fail except every tenth, whichever event it is for."""

    def __init__(self, *faults: Fault) -> None:
        self.faults, self.requests = faults, 0

    def __call__(self, request: Request) -> Fault | None:
        self.requests += 1
        return self.faults[self.requests % len(self.faults)] if self.requests % 10 else None


ERROR = refusal(500, "internal.server.error")
LOGIN_PAGE = page(200, "Please sign in")
BLOCKED = page(403, "Request blocked")


def plans(events: int) -> list[Plan]:
    last_seven = frozenset(range(events - 7, events))
    three_percent = frozenset(range(16, events, 33))
    many = 10 * events
    one_percent = frozenset(range(50, many, 100))
    return [
        Plan("first-500", first_tries(ERROR, replace(ERROR, taken=True)), events),
        Plan("first-reset", first_tries(Fault(), Fault(taken=True)), events),
        Plan("first-cut", first_tries(Fault(cut=True)), events),
        Plan("first-page-200", first_tries(LOGIN_PAGE), events),
        Plan("first-page-403", first_tries(BLOCKED), events),
        Plan("first-slow", first_tries(Fault(late=3.0)), events, settings=SHORT),
        Plan("first-mixed", first_tries(Fault(), Fault(cut=True), LOGIN_PAGE, BLOCKED, ERROR), events),
        Plan("one-in-ten-401", OneTryInTen, events),
        Plan("three-percent-403", always(BLOCKED, three_percent), events, three_percent),
        Plan("token", None, events, token_faults=(LOGIN_PAGE, page(500, "Oops"), Fault(), Fault(200, "{}"))),
        Plan("poison-page", always(BLOCKED, last_seven), events, last_seven, later=20),
        Plan("poison-500", always(ERROR, last_seven), events, last_seven, later=20),
        Plan(
            "refused-first",
            always(refusal(400, "bad.request"), frozenset(range(22))),
            42,
            frozenset(range(22)),
            down=6.0,
        ),
        Plan("one-percent-403", always(BLOCKED, one_percent), many, one_percent, compared=True),
        Plan("nine-in-ten", lambda: NineInTen(page(503, "Unavailable"), Fault(), BLOCKED), events),
    ]


# One run --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    database: str
    workers: int
    cap: float
    latency: float
    fresh: bool
    verbose: bool


@contextmanager
def workers(
    platform: FaultyPlatform, plan: Plan, options: Options
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that publish until the end of the block."""
    where = {"API_BASE_URL": platform.url, "LOGIN_BASE_URL": platform.url, **plan.settings}
    output = None if options.verbose else subprocess.DEVNULL
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "django", "eventbridge_publish", "--loop", "-v", "0"],
            env={**os.environ, "BENCH_DESTINATION": json.dumps(where)},
            stdout=output,
            stderr=output,
        )
        for _ in range(options.workers)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def enqueue(kind: str, numbers: Sequence[int]) -> float:
    """Enqueue all events in one transaction. Returns ``time.monotonic()`` after its commit."""
    from genesys_eventbridge.outbox import enqueue_many

    enqueue_many([{"type": kind, "data": {"number": number}} for number in numbers], standalone=True)
    return time.monotonic()


def states() -> Counter[tuple[str, str]]:
    from genesys_eventbridge.models import OutboxEvent

    rows = OutboxEvent.objects.filter(type="order.created")
    return Counter(rows.values_list("state", "reason"))


def warm_up() -> None:
    from genesys_eventbridge.models import OutboxEvent

    ends = enqueue("warm.up", [WARM_UP]) + START
    while not OutboxEvent.objects.filter(type="warm.up", state="delivered").exists():
        if time.monotonic() > ends:
            raise TimeoutError("No worker has delivered the warm-up event.")
        time.sleep(0.1)


def lost_events(good: set[int], proven: set[int]) -> int:
    """Count good events that ended without acceptance or have no row, and events wrongly marked accepted."""
    from genesys_eventbridge.models import OutboxEvent

    rows = OutboxEvent.objects.filter(type="order.created").values_list("body", "state")
    found = {json.loads(body)["data"]["number"]: state for body, state in rows}
    untrue = {number for number, state in found.items() if state in {"accepted", "delivered"}} - proven
    ended = {number for number in good if found.get(number) not in {"pending", "accepted", "delivered"}}
    return len(untrue | ended)


def longest_gap(times: list[float], begin: float, end: float) -> float:
    within = sorted(at for at in times if begin < at < end)
    return max((b - a for a, b in pairwise([begin, *within, end])), default=0.0)


def run(plan: Plan, options: Options) -> Result:
    from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent

    for model in (DeliveryAttempt, OutboxEvent, Destination):
        model.objects.all().delete()
    numbers = range(plan.events)
    later_numbers = range(plan.events, plan.events + plan.later)
    first = set(numbers) - plan.bad
    good = first | set(later_numbers)
    later_at = 0.0
    with faulty_platform(options.latency) as platform, workers(platform, plan, options) as running:
        if not options.fresh:
            warm_up()
        platform.begin(
            plan.rule() if plan.rule else None,
            lasting=plan.bad,
            token_faults=plan.token_faults,
            down=plan.down,
        )
        began = enqueue("order.created", numbers)
        ended: float | None = None
        patience = float("inf")
        while (now := time.monotonic()) < min(began + options.cap, patience):
            if plan.later and not later_at and now >= began + plan.later_after:
                later_at = enqueue("order.created", later_numbers)
            found = states()
            if good <= platform.proven.keys():
                patience = min(patience, now + PATIENCE)
                if not any(state in {"pending", "accepted"} for state, _ in found):
                    ended = now
                    break
            if any(process.poll() is not None for process in running):
                raise RuntimeError("A worker has exited; --verbose shows its log.")
            time.sleep(0.1)
        now = time.monotonic()
        found = states()
        proven = {number: at for number, at in platform.proven.items() if number in good}
        lost = lost_events(good, set(platform.proven))
    done = max(proven.values()) if good <= proven.keys() else None
    first_done = max(proven[number] for number in first) if first <= proven.keys() else now
    faults = [at for at in platform.faults if done is None or at <= done]
    times = list(proven.values())
    standstill = longest_gap(times, max(began, faults[0] if faults else began), first_done)
    if later_at:
        standstill = max(standstill, longest_gap(times, later_at, done or now))
    return Result(
        plan=plan.name,
        database=options.database,
        good=len(good),
        accepted=len(proven),
        started=min(times) - began if times else None,
        drained=done and done - began,
        after_fault=done - faults[-1] if done and faults else None,
        later=done - later_at if done and later_at else None,
        ended=ended and ended - began,
        standstill=standstill,
        states={"/".join(filter(None, key)): count for key, count in sorted(found.items())},
        twice=platform.taken_twice,
        lost=lost,
        requests=sum(count for number, count in platform.posts.items() if number != WARM_UP),
        tokens=platform.token_requests,
    )


def measure(plan: Plan, options: Options) -> Result:
    """Run a plan and, if it is ``compared``, the same plan without its bad events."""
    if not plan.compared:
        return run(plan, options)
    alone = run(replace(plan, rule=None, events=plan.events - len(plan.bad), bad=frozenset()), options)
    mixed = run(plan, options)
    if alone.started and alone.drained and mixed.started and mixed.drained:
        mixed.ratio = (mixed.drained - mixed.started) / (alone.drained - alone.started)
    return mixed


# The report -----------------------------------------------------------------------------------------------

COLUMNS = (
    *("plan", "database", "accepted", "drained, s", "after the last fault, s", "later ones, s"),
    *("all ended, s", "longest standstill, s", "states", "twice", "lost", "POSTs", "tokens", "ratio"),
)


def line(result: Result) -> list[str]:
    def shown(seconds: float | None) -> str:
        return "-" if seconds is None else f"{seconds:.1f}"

    return [
        result.plan,
        result.database,
        f"{result.accepted} of {result.good}",
        "not" if result.drained is None else f"{result.drained:.1f}",
        shown(result.after_fault),
        shown(result.later),
        "not" if result.ended is None else f"{result.ended:.1f}",
        shown(result.standstill),
        ", ".join(f"{count} {state}" for state, count in result.states.items()),
        *map(str, (result.twice, result.lost, result.requests, result.tokens)),
        "-" if result.ratio is None else f"{result.ratio:.2f}",
    ]


def table(results: list[Result]) -> str:
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *map(line, results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def on_one(database: str, chosen: list[Plan], options: argparse.Namespace) -> Iterator[Result]:
    os.environ[databases.CHOICE] = database
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    with fresh_database() as name:
        how = Options(name, options.workers, options.cap, options.latency, options.fresh, options.verbose)
        for plan in chosen:
            yield measure(plan, how)


def on_others(names: list[str], options: argparse.Namespace) -> Iterator[Result]:
    """Run each database in a separate process, because Django reads its settings once."""
    flags = [f"--{key}={getattr(options, key)}" for key in ("workers", "cap", "events", "latency")]
    flags += [f"--{key}" for key in ("fresh", "verbose", "quick") if getattr(options, key)]
    for database in options.database:
        command = ["-m", "benchmarks.faulting", "--database", database, "--plan", *names, *flags]
        with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            try:
                yield from (Result(**json.loads(text)) for text in child.stdout if text.startswith("{"))
            except BaseException:
                child.terminate()
                raise
        if child.returncode:
            raise RuntimeError(f"{database}: exited with {child.returncode}")


def main() -> None:
    known = [plan.name for plan in plans(200)]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    default = os.environ.get(databases.CHOICE, "sqlite")
    add("--plan", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    add("--database", nargs="+", choices=("sqlite", *databases.URLS), default=[default])
    add("--workers", type=int, default=2, help="number of publishing processes (2)")
    add("--events", type=int, default=200, help="number of events in most plans (200)")
    add("--cap", type=float, default=240.0, help="seconds after which a plan has failed (240)")
    add("--latency", type=float, default=0.1, help="seconds that each response takes (0.1)")
    add("--fresh", action="store_true", help="skip the warm-up: no event is accepted before the faults start")
    add("--verbose", action="store_true", help="show the workers' logs")
    add("--quick", action="store_true", help="few events and a short cap, to check that it runs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers stop, too
    if options.quick:
        options.events, options.cap = 40, 20.0
    chosen = [plan for plan in plans(options.events) if plan.name in options.plan]
    one = len(options.database) == 1
    results = (
        on_one(options.database[0], chosen, options)
        if one
        else on_others([plan.name for plan in chosen], options)
    )
    seen = []
    for result in results:
        seen.append(result)
        print(json.dumps(asdict(result)), flush=True)
    print(f"\n{table(seen)}", flush=True)


if __name__ == "__main__":
    main()

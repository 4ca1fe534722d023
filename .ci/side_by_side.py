"""Runs the legs of CI, several at a time, and prints the whole output of each when it ends.

    python side_by_side.py --at-once 2 --logs FOLDER [--clock SECONDS] <LEGS

Each line of LEGS is NAME MINUTES AFTER COMMAND [ARGUMENT ...], quoted as for a shell. Legs start in the order
of their lines, each once all legs in AFTER (names separated by commas, or -) have passed. A leg that
takes longer than MINUTES is killed and fails. After a failure no further leg starts, and the run
ends when the running legs have ended. The exit code is 0 only if every leg exited with 0.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY = 0.1
#: Seconds for pytest to print where it hangs (its faulthandler does so on SIGABRT) before it is killed.
GRACE = 2.0

began = time.monotonic()


@dataclass(eq=False)
class Leg:
    name: str
    seconds: float
    after: list[str]
    command: list[str]
    result: str = ""
    wall: float = 0.0
    cpu: float = 0.0


class Running:
    """A leg's process and its children, in a separate session, and its output file."""

    def __init__(self, leg: Leg, logs: Path) -> None:
        self.leg = leg
        self.log = logs / f"{leg.name}.log"
        self.began = time.monotonic()
        self.overdue = False
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                leg.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        say(f"{leg.name}: started")

    def has_ended(self) -> bool:
        """Whether it has ended. If so, sets the leg's result and kills any remaining children."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        self.leg.wall = time.monotonic() - self.began
        if not pid:
            if self.leg.wall > self.leg.seconds and not self.overdue:
                self.overdue = True
                self.signal(signal.SIGABRT)
                time.sleep(GRACE)
                self.signal(signal.SIGKILL)
            return False
        code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.signal(signal.SIGKILL)
        self.leg.cpu = usage.ru_utime + usage.ru_stime
        if self.overdue:
            self.leg.result = f"FAILED: killed after its limit of {self.leg.seconds / 60:g} minutes"
        elif code < 0:
            self.leg.result = f"FAILED: killed by signal {-code}"
        else:
            self.leg.result = f"FAILED: exit code {code}" if code else "passed"
        return True

    def stop(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.leg.wall = time.monotonic() - self.began
        self.leg.result = "FAILED: stopped with the whole run"
        self.show()

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def show(self) -> None:
        say(f"{self.leg.name}: {summary(self.leg)}. Its output:")
        output = self.log.read_bytes()
        sys.stdout.buffer.write(output if output.endswith(b"\n") else output + b"\n")
        sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the legs of CI that it reads from stdin.")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--clock", type=float, default=0, help="seconds since CI started")
    options = parser.parse_args()
    global began  # noqa: PLW0603 - one clock for all lines
    began -= options.clock
    legs = read(sys.stdin.read().splitlines())
    run(legs, options.at_once, options.logs)
    say("all legs:")
    for leg in legs:
        print(f"  {leg.name:<20} {summary(leg)}")
    sys.stdout.flush()
    return 0 if all(leg.result == "passed" for leg in legs) else 1


def run(legs: list[Leg], at_once: int, logs: Path) -> None:
    # An exception raised in the handler could hit between the start of a leg and its entry in `running`.
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    running: list[Running] = []
    passed: set[str] = set()
    waiting = list(legs)
    failed = False
    while running or (waiting and not failed):
        ready = [leg for leg in waiting if passed.issuperset(leg.after)]
        for leg in ready[: 0 if failed else at_once - len(running)]:
            waiting.remove(leg)
            running.append(Running(leg, logs))
        if stop_requested.is_set():
            for one in running:
                one.stop()
            return
        ended = [one for one in running if one.has_ended()]
        for one in ended:
            running.remove(one)
            one.show()
            if one.leg.result == "passed":
                passed.add(one.leg.name)
            else:
                failed = True
        if not ended:
            time.sleep(LOOK_EVERY)


def read(lines: list[str]) -> list[Leg]:
    legs: list[Leg] = []
    for line in lines:
        name, minutes, after, *command = shlex.split(line)
        names = [leg.name for leg in legs]
        needed = [] if after == "-" else after.split(",")
        if name in names or not command or not set(needed).issubset(names):
            sys.exit(f"not a leg (duplicate name, no command, or unknown leg in AFTER): {line}")
        legs.append(Leg(name, float(minutes) * 60, needed, command))
    if not legs:
        sys.exit("no legs")
    return legs


def summary(leg: Leg) -> str:
    return f"{leg.result} ({clock(leg.wall)}, CPU {clock(leg.cpu)})" if leg.result else "FAILED: not started"


def say(text: str) -> None:
    print(f"\n=== [{clock(time.monotonic() - began)}] {text}", flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())

"""Builds and runs SPIN's verifiers: Promela becomes C, and C a program that visits every state."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
#: Seconds for one program; the longest takes about 20 on a slow machine.
LIMIT = 300
MISSING = "NOT CHECKED: spin and gcc are not installed (apt-get install spin gcc)"
_VIOLATED = re.compile(r"assertion violated (\w+)")
_STATES = re.compile(r"^\s*(\d+) states, stored", re.MULTILINE)


#: Set to 1 in CI: then a missing SPIN is an error.
REQUIRED = "EVENTBRIDGE_REQUIRE_SPIN"


def is_installed() -> bool:
    """Whether SPIN can run. Raises RuntimeError if it cannot although it must."""
    found = all(shutil.which(each) for each in ("spin", "gcc"))
    if not found and os.environ.get(REQUIRED) == "1":
        raise RuntimeError(f"{REQUIRED} is set, but spin and gcc are not installed")
    return found


@dataclass(frozen=True)
class Checked:
    """What one exhaustive run found. ``broken`` are the names of the properties that do not hold."""

    states: int
    broken: frozenset[str]


def build(model: str, place: Path, defines: tuple[str, ...], flags: tuple[str, ...]) -> Path:
    """Translate and compile ``model`` in ``place``, with these flags of gcc; returns the program."""
    _run(["spin", *(f"-D{each}" for each in defines), "-a", str(HERE / model)], place)
    program = place / "pan"
    _run(["gcc", "-w", *flags, "-o", str(program), str(place / "pan.c")], place)
    return program


@functools.cache
def built(model: str, defines: tuple[str, ...], flags: tuple[str, ...]) -> Path:
    """The program that ``build`` makes, once per process: gcc takes longer than most runs of it."""
    place = tempfile.TemporaryDirectory(prefix="eventbridge-model-")
    atexit.register(place.cleanup)
    return build(model, Path(place.name), defines, flags)


def check(place: Path, defines: tuple[str, ...], claim: str = "") -> Checked:
    """Visit every state of system.pml. With ``claim``, look for a run that never fulfils that LTL formula."""
    # Most programs run for less than a second, which is what gcc would take to make them faster. States are
    # small: to compress them (-DCOLLAPSE) would take twice the time, and more memory.
    program = build("system.pml", place, defines, ("-O0", "-DNFAIR=3" if claim else "-DSAFETY"))
    arguments = ["-a", "-f", "-N", claim, "-c1"] if claim else ["-c0"]
    output = _run([str(program), "-m1000000", "-n", "-w22", *arguments], place)
    found = _STATES.search(output)
    if found is None or "max search depth too small" in output or "out of memory" in output:
        raise RuntimeError(f"the search is not complete:\n{output}")
    broken = set(_VIOLATED.findall(output))
    if claim and "acceptance cycle" in output.split("Full statespace")[0]:
        broken.add(claim)
    return Checked(int(found[1]), frozenset(broken))


def _run(command: list[str], place: Path) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=LIMIT, check=False)
    output = done.stdout + done.stderr
    if done.returncode or "Error" in output:
        raise RuntimeError(f"{command[0]} failed:\n{output}")
    return output

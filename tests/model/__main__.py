"""``python -m tests.model [WORD ...]``: check the model, and that each guard matters; WORD selects some."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.model import spin
from tests.model.scenarios import SCENARIOS, WEAKENINGS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Check the model with SPIN.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="scenarios and guards with this in the name")
    words = [each.lower() for each in parser.parse_args().words]
    if not spin.is_installed():
        say("spin and gcc are needed: apt-get install spin gcc")
        return 2

    def chosen(name: str) -> bool:
        return not words or any(word in name.lower() for word in words)

    began, wrong = time.monotonic(), 0
    say("Every guard in place:")
    for name, scenario in SCENARIOS.items():
        if chosen(name):
            found, seconds = _checked(scenario.defines, scenario.claim)
            wrong += bool(found.broken)
            said = "BROKEN: " + ", ".join(sorted(found.broken)) if found.broken else "all hold"
            say(f"  {name}: {found.states:,} states, {seconds:.1f} s, {said}")
            say(f"      {scenario.about}; {', '.join(scenario.properties)}")
    say("One guard removed:")
    for word, weakening in WEAKENINGS.items():
        if chosen(word):
            scenario = SCENARIOS[weakening.scenario]
            found, seconds = _checked((*scenario.defines, f"WEAKEN_{word}"), scenario.claim)
            wrong += found.broken != weakening.breaks
            said = ", ".join(sorted(found.broken)) or "nothing"
            if found.broken != weakening.breaks:
                said += f" BUT EXPECTED {', '.join(sorted(weakening.breaks))}"
            say(f"  {word}: {weakening.guard} ({weakening.scenario}, {seconds:.1f} s) breaks {said}")
    say(f"{time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _checked(defines: tuple[str, ...], claim: str) -> tuple[spin.Checked, float]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="eventbridge-model-") as place:
        return spin.check(Path(place), defines, claim), time.monotonic() - began


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

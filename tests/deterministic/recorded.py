"""Central guards, and a seed that notices when each is missing: a fast test that the judge still looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.deterministic.profiles import PROFILES

#: A change of the package moves the interleavings: if the seed notices nothing, so many others are tried.
OTHERS = 15


@dataclass(frozen=True)
class Recorded:
    """One mutant of tests/mutants.py."""

    guarantee: str
    mutant: str
    #: Found on SQLite; others of the same profile follow.
    seed: int
    #: What the judge says, as a regular expression.
    broken: str

    def seeds(self) -> Iterator[int]:
        for number in range(1 + OTHERS):
            yield self.seed + number * len(PROFILES)


RECORDED = (
    Recorded("G3", "doubt since the first try", 2, "in doubt since"),
    Recorded("G3", "a row claimed too long ago is not begun", 45, "outlive its lease"),
    Recorded("G5", "compare-and-set of the claim", 71, "claims what|writes what|two requests"),
    Recorded("G5", "token check in settle", 19, "writes what .* holds"),
    Recorded("G5", "a late answer only for the unresolved", 43, "not claimed by it"),
    Recorded("G7", "count at claim", 14, "claimed without an attempt"),
    Recorded("G7", "the earlier doubt is written back", 59, "doubt"),
    Recorded("G7", "refused in doubt is no certain death", 59, "it may have been accepted"),
    Recorded("G8", "head of its ordering key", 28, "claimed before"),
    Recorded("G9", "the pause gate", 7, "the destination is paused"),
    Recorded("G9", "a person's hold", 7, "nothing is paused|is paused"),
    Recorded("G9", "the shared rate", 7, "allowed"),
    Recorded("G11", "a settle ends the lapses", 4, "lapses"),
)

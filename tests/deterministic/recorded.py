"""Central guards, and a seed that notices when each is missing: a fast test that the judge still looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recorded:
    """One mutant of tests/mutants.py."""

    guarantee: str
    mutant: str
    #: Found on SQLite; others of the same profile follow.
    seed: int
    #: What the judge says, as a regular expression.
    broken: str


RECORDED = (
    Recorded("G3", "doubt since the first try", 2, "in doubt since"),
    Recorded("G3", "a row claimed too long ago is not begun", 59, "outlive its lease"),
    Recorded("G3", "window rule in the claim's UPDATE", 115, "window closes within the lease"),
    Recorded("G3", "window rule in the decision", 101, "its window was closed"),
    Recorded("G5", "people leave alone what is in flight", 19, "operator-. changes what"),
    Recorded("G5", "the time of a claim is read before it is written", 46, "outlive its lease|two requests"),
    Recorded("G5", "compare-and-set of the claim", 71, "claims what|writes what|two requests"),
    Recorded("G5", "token check in settle", 19, "writes what .* holds"),
    Recorded("G5", "a late answer only for the unresolved", 43, "not claimed by it"),
    Recorded("G7", "count at claim", 14, "claimed without an attempt"),
    Recorded("G7", "the earlier doubt is written back", 2, "doubt"),
    Recorded("G7", "refused in doubt is no certain death", 16, "it may have been accepted"),
    Recorded("G8", "head of its ordering key", 28, "claimed before"),
    Recorded("G9", "the pause gate", 7, "the destination is paused"),
    Recorded("G9", "a person's hold", 7, "nothing is paused|is paused"),
    Recorded("G9", "the shared rate", 7, "allowed"),
    Recorded("G9", "one probe at a time", 120, "probes while"),
    Recorded("G9", "a success ends no rate pause", 5, "ends a pause of kind rate"),
    Recorded("G9", "checks get their fifth", 7, "tokens are there for it"),
    Recorded("G11", "a settle ends the lapses", 4, "lapses"),
)

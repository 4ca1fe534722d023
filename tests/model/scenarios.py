"""What the model is checked for: the scenarios, and for each guard what breaks without it."""

from __future__ import annotations

from dataclasses import dataclass

#: The properties; each is named after its guarantee.
G1_ENDS, G1_DELIVERED = "G1_every_event_ends", "G1_delivered_if_all_is_well"
G2, G3, G4 = "G2_no_phantom", "G3_at_most_one_acceptance", "G4_same_bytes"
G5, G6 = "G5_one_active_publisher", "G6_moves_again_after_the_lease"
G7, G8, G9 = "G7_doubt_before_the_first_byte", "G8_order", "G9_shared_pause"
G9_PROBE = "G9_one_probe_at_a_time"
G11 = "G11_attempts_counted_at_claim"


@dataclass(frozen=True)
class Scenario:
    """A small world in which every order of steps is tried. ``claim`` is an LTL formula, else assertions."""

    about: str
    defines: tuple[str, ...]
    properties: tuple[str, ...]
    claim: str = ""


SCENARIOS = {
    "enqueue": Scenario(
        "one transaction that may roll back, two workers", ("TRANSACTIONS",), (G2, G3, G4, G5, G7, G11)
    ),
    "crash": Scenario(
        "one event, two workers of which one is killed, every answer, checks",
        ("KILLS=1", "CHECKS", "ANSWERS"),
        (G3, G5, G7, G11),
    ),
    "operator": Scenario(
        "one event, two workers of which one is killed, an operator with two acts",
        ("ACTS=2", "KILLS=1"),
        (G3, G5, G7, G11),
    ),
    "answers": Scenario(
        "one event, two workers, every answer, an operator with two acts",
        ("ACTS=2", "ANSWERS"),
        (G3, G5, G7, G11),
    ),
    "order": Scenario(
        "two events of one ordering key, two workers of which one is killed",
        ("EVENTS=2", "ORDERED", "KILLS=1"),
        (G3, G5, G7, G8, G11),
    ),
    "order and operator": Scenario(
        "two events of one ordering key, two workers, an operator with one act",
        ("EVENTS=2", "ORDERED", "ACTS=1"),
        (G3, G5, G7, G8, G11),
    ),
    "pause": Scenario(
        "two events, two workers, any answer may be a 429",
        ("EVENTS=2", "PAUSES"),
        (G3, G5, G7, G9, G9_PROBE, G11),
    ),
    "two faults": Scenario(
        "one event, two workers; two kills, freezes, lost answers or failures",
        ("LIVE", "FAULTS=2", "CHECKS"),
        (G1_ENDS, G3, G5, G6, G7, G11),
        G1_ENDS,
    ),
    "one fault": Scenario(
        "one event, two workers; one kill, freeze or lost answer, no refusal",
        ("LIVE", "FAULTS=1", "CHECKS", "HEALTHY"),
        (G1_DELIVERED, G3, G5, G6, G7, G11),
        G1_DELIVERED,
    ),
}


@dataclass(frozen=True)
class Weakening:
    """A guard, the scenario that needs it, and exactly the properties that break there without it."""

    guard: str
    scenario: str
    breaks: frozenset[str]


def _without(guard: str, scenario: str, *breaks: str) -> Weakening:
    return Weakening(guard, scenario, frozenset(breaks))


#: By the name after WEAKEN_ in the model.
WEAKENINGS = {
    "COMMITTED": _without("workers see committed rows only", "enqueue", G2),
    "BYTES": _without("the body is fixed when the event is enqueued", "enqueue", G4),
    "CLAIM": _without("a claim is a compare-and-set", "crash", G3, G5, G7, G11),
    "TOKEN": _without("a settle needs the token of its claim", "crash", G3, G5, G7),
    "SEND_DEADLINE": _without("nothing is sent unless its lease outlasts it", "crash", G3, G5),
    "DOUBT_AT_CLAIM": _without("doubt is recorded by the claim, before the first byte", "crash", G3, G7),
    "REFUSED_IN_DOUBT": _without("refused after a doubt, an event is unresolved", "crash", G7),
    "COUNT_AT_CLAIM": _without("attempts are counted by the claim", "crash", G11),
    "USED_UP": _without("an event is claimed MAX_ATTEMPTS times at most", "crash", G11),
    "LATE": _without("a late answer is for an unresolved event only", "crash", G5),
    "WINDOW": _without("nothing is sent again after its window", "crash", G3),
    "LEASE_MARGIN": _without("a claim in doubt leaves its lease of the window", "crash", G3),
    "WINDOW_AT_CLAIM": _without("the claim's UPDATE checks the window, too", "crash", G3),
    "EPOCH": _without("past the window an operator's new attempt has a new key", "operator", G3, G7),
    "KEEP_DOUBT": _without("an operator's same key keeps the time of doubt", "operator", G3, G7),
    "GIVE_UP": _without("an event that an operator gives up keeps the time of doubt", "operator", G3, G7),
    "CANCEL_IN_FLIGHT": _without("what is being sent cannot be cancelled", "operator", G5),
    "HEAD": _without("only the first of an ordering key is claimed", "order", G8),
    "BLOCK_ON_DEAD": _without("a dead event holds back its ordering key", "order", G8),
    "PAUSE_CHECK": _without("a pass looks at the pause before it claims", "pause", G9),
    "PAUSE_FIRST": _without("the pause is recorded before the row is settled", "pause", G9),
    "PROBE": _without("the turn to probe is a compare-and-set", "pause", G9_PROBE),
    "PROBE_HOLDER": _without("only who holds the turn to probe may end it", "pause", G9_PROBE),
    "UNCHARGED": _without("a 429 uses up no attempt", "pause", G9),
    "LEASE_EXPIRY": _without("a row whose lease has expired is due again", "one fault", G6),
    "EXPIRY": _without("a closed window ends the event", "two faults", G1_ENDS),
}

"""How a destination stands, in a word and a sentence: the most lasting trouble first."""

import datetime as dt
from typing import Any

import pytest

from genesys_eventbridge import conf
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.models import Destination
from genesys_eventbridge.reporting.destination import explain_destination
from tests.outbox_rows import changed

NOW = dt.datetime(2026, 11, 23, 14, 35, tzinfo=dt.UTC)


def at(**ago) -> dt.datetime:
    return NOW - dt.timedelta(**ago)


ALIVE = Destination(heartbeat_at=at(seconds=5), accepted_at=at(seconds=8))
HELD: dict[str, Any] = {"held_by": "ben", "held_reason": "their maintenance"}
RUN = Refusals(at(hours=1), types=tuple(f"t{number}" for number in range(12)), error="400.")
START = "Start one: manage.py qcluster, or manage.py eventbridge_publish --loop."


@pytest.mark.parametrize(
    ("health", "word", "sentence"),
    [
        (ALIVE, "connected", "Last event accepted: 8 s ago."),
        (
            changed(ALIVE, accepted_at=None),
            "connected",
            "Workers are running; no event accepted yet.",
        ),
        (Destination(), "unused", f"No worker has reported yet. {START}"),
        (
            changed(ALIVE, heartbeat_at=at(minutes=4)),
            "stopped",
            f"No worker has reported since 14:31 UTC. {START}",
        ),
        (changed(ALIVE, **HELD), "held", "Paused by ben until resumed: “their maintenance”."),
        (
            changed(ALIVE, **HELD, held_until=at(minutes=-25)),
            "held",
            "Paused by ben until 15:00 UTC: “their maintenance”.",
        ),
        (changed(ALIVE, **HELD, held_until=at(minutes=1)), "connected", "Last event accepted: 8 s ago."),
        (
            changed(ALIVE, paused_until=at(minutes=-5), paused_reason="503."),
            "paused",
            "Nothing is sent until 14:40 UTC: 503.",
        ),
        (
            changed(ALIVE, paused_until=at(minutes=1), paused_reason="503."),
            "probing",
            "The pause is over; one event is being tried first. Reason for the pause: 503.",
        ),
        (
            changed(ALIVE, check_paused_until=at(minutes=-5), check_paused_reason="403."),
            "paused",
            "Events are sent; status checks are paused until 14:40 UTC: 403.",
        ),
        (changed(ALIVE, check_paused_until=at(minutes=1)), "connected", "Last event accepted: 8 s ago."),
        (
            changed(ALIVE, refusals=RUN.stored(), refused_until=at(minutes=-1)),
            "paused",
            "Refused types (t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 2 more) are sent one event at a time, "
            "the next at 14:36 UTC: 400.",
        ),
        (changed(ALIVE, refusals=RUN.stored()), "connected", "Last event accepted: 8 s ago."),
        (changed(Destination(), **HELD), "held", "Paused by ben until resumed: “their maintenance”."),
        (
            changed(ALIVE, heartbeat_at=at(hours=1), paused_until=at(minutes=-5)),
            "stopped",
            f"No worker has reported since 13:35 UTC. {START}",
        ),
    ],
)
def test_each_standing_has_its_word_and_its_sentence(health, word, sentence):
    explanation = explain_destination(health, conf.destination(), NOW)

    assert (explanation.word, explanation.sentence) == (word, sentence)
    assert explanation.title


def test_a_destination_that_is_configured_no_more_is_unknown():
    assert explain_destination(ALIVE, None, NOW).word == "unknown"


def test_a_hostile_reason_is_one_harmless_line():
    hostile = changed(ALIVE, paused_until=at(minutes=-5), paused_reason="a\r\n\x1b[2J\u202e" + "x" * 5000)

    sentence = explain_destination(hostile, conf.destination(), NOW).sentence

    assert "\\x0d\\x0a\\x1b[2J\\u202ex" in sentence
    assert len(sentence) <= 2000

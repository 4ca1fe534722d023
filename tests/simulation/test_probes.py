"""After a pause: probes that are answered open the way, and one event's refusal stops no others."""

import pytest

from tests.simulation import rules
from tests.simulation.platform import Kind

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("answer", "bad", "seconds"),
    [(rules.refusal, 22, 10.0), (rules.status(500), 22, 120.0), (rules.another_event, 2, 120.0)],
    ids=["400", "500", "about another event"],
)
def test_a_probe_that_is_answered_hands_its_slot_back(simulate, answer, bad, seconds):
    """Events that the platform does not take stand in front of 20 good ones, after a pause."""
    bench = simulate()
    bench.enqueue()
    bench.run(60)
    bad = bench.enqueue(bad)
    good = bench.enqueue(20)
    outage_ends = bench.now + 2.0
    bench.platform.rules[:] = [
        rules.between(0.0, outage_ends, rules.refused_connection),
        rules.of(Kind.PUBLISH, rules.events(bad, answer)),
    ]

    bench.run(600)

    assert len(bench.pauses) >= 1
    asked_after = [one.at for one in bench.platform.requests(Kind.PUBLISH, start=outage_ends)]
    assert set(good) <= set(bench.platform.accepted_at)
    assert max(bench.platform.accepted_at[number] for number in good) - min(asked_after) <= seconds
    assert {bench.platform.taken[number] for number in good} == {1}


def test_a_firewall_that_dislikes_one_in_a_hundred_begins_no_pause(simulate):
    """20 of 2,000 events are answered 403 with a page for ever, and nothing is enqueued after them."""
    bench = simulate()
    bench.enqueue()
    bench.run(60)
    numbers = bench.enqueue(2000)
    blocked = set(numbers[50::100])
    bench.platform.rules[:] = [rules.of(Kind.PUBLISH, rules.events(blocked, rules.page(403)))]
    started = bench.now

    bench.run(3600)

    others = [number for number in numbers if number not in blocked]
    requests = bench.platform.requests(Kind.PUBLISH, start=started)
    assert bench.pauses == []
    assert len([one for one in requests if one.event not in blocked]) == len(others)
    # At 16 senders and 0.05 s for a request, alone they take 6.25 s.
    assert max(bench.platform.accepted_at[number] for number in others) - started <= 1.2 * 6.25
    assert bench.states() == {"delivered": 1981, "dead/rejected": 20}
    rows = bench.rows(blocked)
    assert {row.halts for row in rows} == {rows[0].halts}
    for row in rows:
        assert "Request blocked by the web firewall" in row.last_error
    assert len(requests) <= len(others) + 5 * len(blocked)


def test_the_first_probe_goes_to_an_event_tried_before(simulate):
    """Each needs three requests: probes of fresh events only, or of ever different ones, never succeed.

    600 events are due before those tried are due again, more than a claim looks at.
    """
    bench = simulate(rules.first(2, rules.reset))
    bench.enqueue(600)

    bench.run(120)

    platform = bench.platform
    paused_at = bench.pauses[0][0]
    before = {one.event for one in platform.requests(Kind.PUBLISH, end=paused_at + 0.01)}
    probe = platform.requests(Kind.PUBLISH, start=paused_at + 1.0)[0]
    assert probe.event in before
    assert min(platform.accepted_at.values(), default=1e9) <= 60.0


def test_events_that_the_platform_has_forgotten_do_not_keep_others_unconfirmed(simulate):
    """Their checks find nothing, which pauses all checks; after a pause one event is checked."""
    bench = simulate()
    forgotten = bench.enqueue(40)
    bench.platform.rules[:] = [rules.of(Kind.CHECK, rules.events(forgotten, rules.not_found))]
    bench.run(900)  # longer than NOT_FOUND_GRACE
    assert bench.pauses

    good = bench.enqueue(20)
    bench.run(900)

    assert {row.state for row in bench.rows(good)} == {"delivered"}
    assert not any(row.state == "delivered" for row in bench.rows(forgotten))

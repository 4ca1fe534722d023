"""When a trouble is told, and when that it is over."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.alerts.decide import Episode, Finding, decide
from genesys_eventbridge.states import AlertStatus

T0 = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
WINDOW = 900.0
OPENED, MORE, RECOVERED = AlertStatus.OPENED, AlertStatus.MORE, AlertStatus.RECOVERED


def trouble(number=0, patience=0.0):
    return Finding(f"{number} events are dead", number=number, patience=patience)


def story(*steps, window=WINDOW):
    """What is told, by minute: ``steps`` are pairs of a minute and a finding."""
    episode, told = Episode(), []
    for minute, finding in steps:
        episode, status = decide(episode, finding, T0 + dt.timedelta(minutes=minute), window)
        if status:
            told.append((minute, status))
    return told


def test_a_trouble_is_told_at_once_and_only_once():
    assert story(*((minute, trouble(1)) for minute in range(600))) == [(0, OPENED)]


def test_its_end_is_told_after_it_was_told():
    assert story((0, trouble(1)), (20, None), (21, None)) == [(0, OPENED), (20, RECOVERED)]


def test_an_end_within_the_window_is_told_when_the_window_is_over():
    assert story((0, trouble(1)), (1, None), (14, None), (15, None)) == [(0, OPENED), (15, RECOVERED)]


def test_a_trouble_that_returns_within_the_window_is_the_same():
    steps = [(0, trouble()), (1, None), (2, trouble()), (15, trouble()), (20, None)]

    assert story(*steps) == [(0, OPENED), (20, RECOVERED)]


def test_an_event_that_fails_after_the_others_were_requeued_is_news():
    assert story((0, trouble(1)), (1, None), (2, trouble(1)), (15, trouble(1))) == [(0, OPENED), (15, MORE)]


def test_more_failures_are_told_once_after_the_window():
    steps = [(0, trouble(10)), *((minute, trouble(10 + minute)) for minute in range(1, 20))]

    assert story(*steps) == [(0, OPENED), (15, MORE)]


def test_more_failures_are_told_although_others_were_requeued():
    """10 dead, all requeued but one, then 5 others: fewer than before, and still 5 that no one knows."""
    steps = [(0, trouble(10)), (1, trouble(1)), (2, trouble(6)), (20, trouble(6)), (40, trouble(6))]

    assert story(*steps) == [(0, OPENED), (20, MORE)]


def test_fewer_failures_are_no_news():
    assert story((0, trouble(10)), (20, trouble(3)), (40, trouble(1))) == [(0, OPENED)]


def test_what_must_last_is_told_when_it_has_lasted():
    steps = [(minute, trouble(patience=600)) for minute in range(12)]

    assert story(*steps) == [(10, OPENED)]


def test_what_must_last_begins_again_after_it_was_gone():
    slow = trouble(patience=600)

    assert story((0, slow), (9, slow), (10, None), (11, slow), (20, slow)) == []


def test_a_destination_that_fails_each_other_minute_makes_one_alert_and_one_recovery_per_window():
    told = story(*((minute, None if minute % 2 else trouble(1)) for minute in range(60)))

    assert [minute for minute, status in told if status is OPENED] == [0, 16, 32, 48]
    assert [minute for minute, status in told if status is RECOVERED] == [15, 31, 47]


@pytest.mark.parametrize("by", [3600, 86_400])
def test_a_clock_that_was_set_back_delays_nothing(by):
    """The window is over at once: two notices are better than none for a day."""
    episode, _ = decide(Episode(), trouble(1), T0, WINDOW)

    _, status = decide(episode, None, T0 - dt.timedelta(seconds=by), WINDOW)

    assert status is RECOVERED


findings = st.one_of(st.none(), st.integers(0, 5).map(trouble))


@given(st.lists(st.tuples(st.integers(1, 400), findings), max_size=60))
def test_whatever_happens_each_window_has_one_notice_of_trouble_and_one_of_its_end(steps):
    episode, now, told = Episode(), T0, []
    for seconds, finding in steps:
        now += dt.timedelta(seconds=seconds)
        episode, status = decide(episode, finding, now, WINDOW)
        if status:
            told.append((now, status))

    bad = [at for at, status in told if status is not RECOVERED]
    good = [at for at, status in told if status is RECOVERED]
    for times in (bad, good):
        assert all((b - a).total_seconds() >= WINDOW for a, b in pairwise(times))
    # They alternate: nothing is over that was not told, and nothing is told twice as new.
    begun = False
    for _, status in told:
        assert (status is OPENED) is not begun
        begun = status is not RECOVERED

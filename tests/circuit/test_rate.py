"""The shared rate as a bucket: what it grants, what it keeps for checks, and how long to wait."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.circuit.rate import Bucket, capacity, patience

START = datetime(2026, 1, 1, tzinfo=UTC)
#: 300 a minute: 5 a second, 4 for anyone and 1 for checks; the bucket holds 3 + 2.
RATE = 300.0


def at(seconds):
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("per_minute", "common", "reserve"), [(6, 1, 1), (60, 1, 1), (150, 1.5, 1), (300, 3, 2), (3000, 30, 20)]
)
def test_it_holds_one_seconds_worth_and_at_least_a_token_for_each(per_minute, common, reserve):
    assert capacity(per_minute) == pytest.approx((common, reserve))

    full = Bucket(0.0, 0.0, START).refilled(at(86_400), per_minute)

    assert (full.tokens, full.reserve) == pytest.approx((common, reserve))


@pytest.mark.parametrize(
    ("before", "seconds", "after"),
    [
        (Bucket(), 0, (3, 2)),  # new: full
        (Bucket(0, 0, START), 0, (0, 0)),
        (Bucket(0, 0, START), 0.5, (2, 0.5)),
        (Bucket(1, 0, START), 0.5, (3, 0.5)),
        (Bucket(2, 1, START), 1, (3, 2)),
        (Bucket(0, 2, START), 0.5, (2.5, 2)),  # the reserve is full: all goes to the common part
        (Bucket(0, 1.9, START), 0.5, (2.4, 2)),
        (Bucket(9, 9, START), 0, (3, 2)),  # of a higher rate before
        (Bucket(1, 1, START), -3600, (1, 1)),
    ],
)
def test_a_fifth_of_the_refill_is_kept_for_checks_and_the_rest_is_for_anyone(before, seconds, after):
    filled = before.refilled(at(seconds), RATE)

    assert (filled.tokens, filled.reserve) == pytest.approx(after)


@pytest.mark.parametrize(
    ("common", "reserve", "publishing", "checks_alone", "checks_beside"),
    [
        (0.0, 0.0, 0, 0, 0),
        (0.9, 0.9, 0, 0, 0),
        (1.0, 0.0, 1, 1, 0),
        (0.0, 1.0, 0, 1, 1),
        (3.0, 0.5, 3, 3, 0),
        (2.9, 2.0, 2, 4, 2),
        (3.0, 2.0, 3, 5, 2),
    ],
)
def test_publishing_never_takes_the_reserve_and_checks_take_what_publishing_leaves(
    common, reserve, publishing, checks_alone, checks_beside
):
    bucket = Bucket(common, reserve, START)

    assert bucket.available(checking=False) == publishing
    assert bucket.available(checking=True) == checks_alone
    assert bucket.available(checking=True, publishing_is_due=True) == checks_beside


@pytest.mark.parametrize(
    ("checking", "number", "left"),
    [(False, 0, (3, 2)), (False, 2, (1, 2)), (True, 1, (3, 1)), (True, 2, (3, 0)), (True, 4, (1, 0))],
)
def test_a_request_takes_its_token_and_no_other(checking, number, left):
    after = Bucket(3, 2, START).without(number, checking=checking)

    assert (after.tokens, after.reserve) == left


@pytest.mark.parametrize(
    ("common", "reserve", "checking", "beside", "seconds"),
    [
        (0, 0, False, False, 1 / 4),  # four fifths of the refill, not all of it
        (0.5, 0, False, False, 1 / 8),
        (0, 2, False, False, 1 / 5),  # the reserve is full
        (0, 1.9, False, False, 0.1 + (1 - 0.4) / 5),  # and here it will be, before the token is there
        (1, 0, False, False, 0),
        (0, 0, True, True, 1),
        (0.9, 0.5, True, True, 0.5),
        (0, 0, True, False, 1 / 4),
        (0.5, 0.95, True, False, 0.05),
        (0, 1, True, True, 0),
    ],
)
def test_the_wait_is_until_the_next_token_of_its_kind(common, reserve, checking, beside, seconds):
    bucket = Bucket(common, reserve, START)

    wait = bucket.wait(RATE, checking=checking, publishing_is_due=beside)

    assert wait == pytest.approx(seconds)
    if wait:
        there = bucket.refilled(at(wait + 1e-5), RATE)
        early = bucket.refilled(at(wait - 1e-3), RATE)
        assert there.available(checking=checking, publishing_is_due=beside) == 1
        assert early.available(checking=checking, publishing_is_due=beside) == 0


@pytest.mark.parametrize("per_minute", [1, 6, 60, 300, 600, 3000, 30_000])
@pytest.mark.parametrize("checking", [False, True])
def test_a_worker_that_comes_late_by_its_jitter_loses_almost_nothing(per_minute, checking):
    """It waits for one token, comes late by up to the jitter, and takes what is there."""
    bucket = Bucket(0, 0, START)
    wait = bucket.wait(per_minute, checking=checking, publishing_is_due=True)
    late = patience(per_minute, checking=checking)
    share = 0.2 if checking else 0.8
    came = bucket.refilled(at(wait + late), per_minute)

    got = came.reserve if checking else came.tokens

    assert got >= 0.95 * (wait + late) * per_minute / 60 * share


def test_a_moment_before_its_time_refills_nothing_twice():
    """Two workers read the clock in another order than they win the lock."""
    bucket = Bucket().refilled(START, 60.0)

    assert bucket.refilled(at(-9.0), 60.0) == bucket


def test_a_clock_that_was_set_back_an_hour_holds_up_nothing():
    bucket = Bucket(at=at(3600.0)).refilled(START, 60.0)

    assert bucket == Bucket(at=START)
    assert bucket.refilled(at(2.0), 60.0).available(checking=False) == 1


RATES = st.sampled_from([1.0, 6.0, 59.0, 300.0, 3000.0])
STEPS = st.lists(
    st.tuples(
        st.floats(-30, 30) | st.sampled_from([0.0, 0.001, 0.25, 1.0]), st.booleans(), st.integers(0, 40)
    ),
    max_size=60,
)


@given(per_minute=RATES, steps=STEPS)
def test_over_any_times_and_draws_no_more_is_granted_than_the_rate_and_one_seconds_worth(per_minute, steps):
    """Also where a clock is set back. What passed is what it went forward."""
    bucket, granted = Bucket().refilled(START, per_minute), 0
    now = passed = 0.0
    for seconds, checking, wanted in steps:
        now += seconds
        passed += max(0.0, seconds)
        bucket = bucket.refilled(at(now), per_minute)
        number = min(wanted, bucket.available(checking=checking))
        bucket = bucket.without(number, checking=checking)
        granted += number

        assert granted <= per_minute / 60 * passed + sum(capacity(per_minute)) + 1e-3


@given(
    per_minute=st.sampled_from([60.0, 300.0, 3000.0]),
    pauses=st.lists(st.floats(0.01, 1.0), min_size=20, max_size=80),
)
def test_checks_that_ask_each_second_get_their_fifth_whatever_publishing_takes(per_minute, pauses):
    bucket = Bucket().refilled(START, per_minute)
    now, checks, published = 0.0, 0, 0
    for pause in pauses:
        now += pause
        bucket = bucket.refilled(at(now), per_minute)
        number = bucket.available(checking=False)
        bucket = bucket.without(number, checking=False)
        published += number
        number = bucket.available(checking=True, publishing_is_due=True)
        bucket = bucket.without(number, checking=True)
        checks += number

    assert checks >= per_minute / 60 * now / 5 - 2
    assert published <= per_minute / 60 * now * 4 / 5 + sum(capacity(per_minute)) + 1e-3

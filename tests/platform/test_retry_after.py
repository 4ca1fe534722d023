"""Delays grow, are spread, and never fall short of what the platform asked for."""

import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.platform import retry_after

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
CAP = 21_600.0
fractions = st.floats(0, 1, exclude_max=True)


def low():
    return 0.0


def high():
    return 0.9999999


# ------------------------------------------------------------------------------------------------ delays


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [(1, 2.5, 5), (2, 5, 10), (3, 10, 20), (10, 1280, 2560), (11, 1800, 3600), (1000, 1800, 3600)],
)
def test_a_delay_doubles_with_each_attempt_up_to_the_cap(attempt, shortest, longest):
    assert retry_after.delay(attempt, 5, 3600, random=low) == shortest
    assert retry_after.delay(attempt, 5, 3600, random=high) == pytest.approx(longest)


@pytest.mark.parametrize("attempt", [0, -1, -(10**9)])
def test_an_attempt_before_the_first_waits_like_the_first(attempt):
    assert retry_after.delay(attempt, 5, 3600, random=low) == 2.5


@given(st.integers(1, 10**9), st.floats(0.001, 1e6), st.floats(0.001, 1e9), fractions)
def test_a_delay_lies_in_the_upper_half_of_its_step(attempt, base, cap, fraction):
    step = min(cap, base * 2.0 ** min(attempt - 1, 60))  # 2**60 times the smallest base is past every cap

    waited = retry_after.delay(attempt, base, cap, random=lambda: fraction)

    assert math.isfinite(waited)
    assert step / 2 <= waited <= step


@pytest.mark.parametrize(
    ("previous", "following"), [(0, 5), (1, 5), (5, 10), (10, 20), (40, 60), (60, 60), (1e308, 60)]
)
def test_a_pause_starts_at_its_base_and_doubles_up_to_the_cap(previous, following):
    assert retry_after.doubled(previous, 5, 60) == following


def test_a_pause_never_exceeds_its_cap_even_where_the_base_does():
    assert retry_after.doubled(0, 100, 60) == 60


@pytest.mark.parametrize(("seconds", "shortest", "longest"), [(0, 0.5, 1), (1, 1, 1.1), (42, 42, 46.2)])
def test_jitter_only_lengthens_and_no_wait_is_nothing(seconds, shortest, longest):
    assert retry_after.jitter_up(seconds, random=low) == shortest
    assert retry_after.jitter_up(seconds, random=high) == pytest.approx(longest, abs=1e-4)


# ------------------------------------------------------------------------------------------- Retry-After


def wait(*values, message="", default=None, cap=CAP, now=NOW, **headers):
    pairs = [("Retry-After", value) for value in values]
    pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return retry_after.retry_after(pairs, message, default=default, cap=cap, now=now)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("42", 42),
        (" 42 ", 42),
        ("\t42", 42),
        ("0", 0),
        ("007", 7),
        ("1.5", 2),
        ("1.0", 1),
        ("0.001", 1),
        ("1000000000", CAP),
        ("9999999999", CAP),
        ("9999999999.9", CAP),
    ],
)
def test_seconds_are_read_and_broken_ones_rounded_up(value, seconds):
    assert wait(value) == seconds


EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("moment", "seconds"), [(EPOCH + 42, 42), (EPOCH, 0), (EPOCH - 42, 0), (1_000_000_001, 0)]
)
def test_a_number_above_a_thousand_million_is_a_moment_in_epoch_seconds(moment, seconds):
    """In the header, in the message and in the window alike; by the clock of the answer where it has one."""
    assert wait(str(moment)) == seconds
    assert wait(message=f"Retry the request in [{moment}] seconds") == seconds
    assert (
        wait(inin_ratelimit_count="9", inin_ratelimit_allowed="9", inin_ratelimit_reset=str(moment))
        == seconds
    )
    skewed = NOW + timedelta(hours=3)
    assert wait(str(moment), now=skewed, Date=format_datetime(NOW, usegmt=True)) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "-5",
        "+5",
        "",
        " ",
        "abc",
        "7, 8",
        "7 8",
        "1e9",
        "nan",
        "inf",
        "-0",
        "0x10",
        "1_000",
        "1.",
        ".5",
        "1.5.1",
        "99999999999",
        "٣",
        "\uff14\uff12",
        "²",
        "42s",
        "42\n",
        "\x0042",
        "2026-11-23T10:00:00Z",
        "Mon",
        "Mon, 99 Nov",
        "Mon, 23 Foo 2026 10:00:00 GMT",
        "Mon, 32 Nov 2026 10:00:00 GMT",
        "Mon, 23 Nov 2026 25:00:00 GMT",
        "Mon, 23 Nov 99999 10:00:00 GMT",
        "Mon, 23 Nov 2026 10:00:00 +9999",
        "Mon, ٢٣ Nov 2026 10:00:00 GMT",
        "Mon, " + "9" * 5000,
        "23 Nov 2026 10:00:00 GMT",
    ],
)
def test_what_is_no_wait_is_passed_over(value):
    assert wait(value) is None
    assert wait(value, default=5) == 5
    assert wait(value, "3") == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Mon, 23 Nov 2026 10:01:30 GMT", 90),
        ("Mon, 23 Nov 2026 10:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Mon, 23 Nov 2026 12:01:30 +0200", 90),
        ("Mon, 23 Nov 2026 10:01:30 -0000", 90),  # parsed as naive: UTC
        ("Mon, 23 Nov 2026 10:01:30", 90),
        ("Mon Nov 23 10:01:30 2026", 90),  # asctime
        ("Monday, 23-Nov-26 10:01:30 GMT", 90),  # RFC 850
        ("Fri, 31 Dec 9999 23:59:59 GMT", CAP),
        ("Fri, 31 Dec 9999 23:59:59 -1200", CAP),
    ],
)
def test_a_date_is_the_time_until_then(value, seconds):
    assert wait(value) == seconds


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_date_is_measured_by_the_clock_of_the_answer_itself(skew):
    theirs = NOW + timedelta(seconds=skew)
    then = format_datetime(theirs + timedelta(seconds=30), usegmt=True)

    assert wait(then, date=format_datetime(theirs, usegmt=True)) == 30
    assert wait("7", date=format_datetime(theirs, usegmt=True)) == 7
    assert wait(then, date="nonsense") == max(0, skew + 30)


def test_a_now_in_another_zone_is_the_same_now():
    local = NOW.astimezone(timezone(timedelta(hours=-5)))

    assert wait("Mon, 23 Nov 2026 10:01:30 GMT", now=local) == 90


def test_of_repeated_headers_the_first_usable_one_counts():
    assert wait("abc", "8", "9") == 8
    assert wait("abc", "", "-1", default=5) == 5


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit exceeded the maximum. Retry the request in [42] seconds", 42),
        ("[0] seconds", 0),
        ("[99999999] seconds", CAP),
        ("[-1] seconds", None),
        ("[٣] seconds", None),
        ("[99999999999] seconds", None),
        ("in 42 seconds", None),
    ],
)
def test_without_a_header_the_message_tells(message, seconds):
    assert wait(message=message) == seconds
    assert wait("abc", message=message) == seconds
    assert wait("3", message=message) == 3


@pytest.mark.parametrize(
    ("count", "allowed", "reset", "seconds"),
    [
        ("300", "300", "61", 61),
        ("301", "300", "3", 3),
        ("299", "300", "61", None),
        ("300", "300", "-1", None),
        ("300", "300", None, None),
        (None, "300", "61", None),
        ("300", None, "61", None),
        ("many", "300", "61", None),
        ("300", "300", "99999999", CAP),
    ],
)
def test_then_the_window_of_a_used_up_limit_tells(count, allowed, reset, seconds):
    given = {"count": count, "allowed": allowed, "reset": reset}
    headers = {f"ININ_RateLimit_{name}": value for name, value in given.items() if value is not None}

    assert wait(**headers) == seconds
    assert wait(message="[7] seconds", **headers) == 7


def test_last_comes_the_default_and_the_cap_is_over_all():
    assert wait() is None
    assert wait(default=5) == 5
    assert wait(default=500, cap=60) == 60
    assert wait("500", cap=60) == 60
    assert wait(message="[500] seconds", cap=60) == 60


@given(st.lists(st.tuples(st.sampled_from(["retry-after", "Date"]), st.text())), st.text())
def test_no_header_and_no_message_can_do_harm(headers, message):
    waited = retry_after.retry_after(headers, message, default=None, cap=CAP, now=NOW)

    assert waited is None or 0 <= waited <= CAP


day = st.sampled_from(["Mon", "Mon,", "Monday,"])
piece = st.sampled_from(
    ["23", "Nov", "2026", "10:00:00", "GMT", "+0200", "-", ":", "9999", "-9999", "0", "(", "99999"]
)


@given(day, st.lists(piece, max_size=8))
def test_no_text_that_looks_like_a_date_can_do_harm(first, pieces):
    waited = wait(" ".join([first, *pieces]))

    assert waited is None or 0 <= waited <= CAP

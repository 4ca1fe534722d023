"""Numbers, durations and times are written as their reader expects them, and no time is without its zone."""

import datetime as dt

import pytest
from django.test import override_settings
from django.utils import timezone, translation

from genesys_eventbridge.formatting import between, clock_time, day, exact, moment, number, relative, span

NOW = dt.datetime(2026, 11, 23, 14, 35, tzinfo=dt.UTC)


def at(**ago) -> dt.datetime:
    return NOW - dt.timedelta(**ago)


@pytest.mark.parametrize(
    ("language", "words"), [("en", ["0", "12,480", "2.5"]), ("de", ["0", "12.480", "2,5"])]
)
def test_numbers_have_the_separators_of_the_language(language, words):
    with translation.override(language):
        assert [number(0), number(12_480), number(2.46, 1)] == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (1.94, "1.9 s"),
        (0.66, "0.7 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (240, "4 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (86400, "24 h"),
        (8 * 86400, "8 d"),
        (2000 * 86400, "2,000 d"),
        (-240, "4 min"),
    ],
)
def test_a_span_is_told_by_its_largest_unit(seconds, words):
    assert span(seconds) == words


def test_moments_are_told_in_the_readers_zone_which_they_name():
    with timezone.override("Asia/Tokyo"):
        assert moment(NOW, NOW) == "23:35 JST"
        assert moment(at(hours=-1), NOW) == "24 Nov 00:35 JST"
        assert day(at(hours=-1), NOW) == "24 Nov"
        assert exact(NOW) == "2026-11-23 23:35:00 JST"
        assert clock_time(NOW, seconds=True) == "23:35:00"
    assert moment(at(days=365), NOW) == "23 Nov 2025 14:35 UTC"


def test_a_zone_without_letters_is_told_by_its_distance_from_utc():
    with timezone.override("America/Sao_Paulo"):
        assert moment(NOW, NOW) == "11:35 UTC-03"


def test_a_moment_names_the_zone_that_holds_then_not_now():
    summer = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
    with timezone.override("Europe/Berlin"):
        assert moment(summer, NOW) == "1 Jul 14:00 CEST"
        assert moment(NOW, NOW) == "15:35 CET"


@override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin")
def test_moments_without_a_zone_are_in_the_zone_of_the_settings():
    naive = NOW.replace(tzinfo=None)

    assert moment(naive, naive) == "14:35 CET"
    assert exact(naive) == "2026-11-23 14:35:00 CET"


def test_two_times_name_their_zone_once_and_only_if_it_is_the_same():
    assert between(at(hours=2), NOW, NOW) == "12:35 to 14:35 UTC"
    assert between(at(seconds=5), at(seconds=1), NOW) == "14:34 UTC"
    with timezone.override("Europe/Berlin"):
        autumn = dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)
        later = autumn + dt.timedelta(hours=1)
        assert between(autumn, later, later) == "02:30 CEST to 02:30 CET"


@pytest.mark.parametrize(
    ("when", "words"), [(at(minutes=-4), "in 4 min"), (at(minutes=4), "4 min ago"), (NOW, "now")]
)
def test_a_time_is_told_by_its_distance(when, words):
    assert relative(when, NOW) == words

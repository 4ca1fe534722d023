"""RFC 3339 timestamps: texts in, texts out."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.cloudevents.timestamps import (
    parse_rfc3339,
    rfc3339,
    to_milliseconds,
    utc_milliseconds,
)

NOON = datetime(2026, 5, 15, 12, 0, 0)
ODD_OFFSET = timezone(timedelta(hours=5, minutes=30, seconds=15))


def offset(hours: int, minutes: int = 0) -> timezone:
    return timezone(timedelta(hours=hours, minutes=minutes))


class NoOffset(tzinfo):
    """A timezone that knows no offset: such a datetime is as naive as one without a timezone."""

    def utcoffset(self, when: Any) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-05-15T10:30:00Z", "2026-05-15T10:30:00.000Z"),
        ("2026-05-15t10:30:00z", "2026-05-15T10:30:00.000Z"),
        ("2026-05-15T10:30:00.1Z", "2026-05-15T10:30:00.100Z"),
        ("2026-05-15T10:30:00.123456789012Z", "2026-05-15T10:30:00.123Z"),
        ("2026-05-15T10:30:00.9999Z", "2026-05-15T10:30:00.999Z"),
        ("2026-05-15T10:30:00+00:00", "2026-05-15T10:30:00.000Z"),
        ("2026-05-15T10:30:00-00:00", "2026-05-15T10:30:00.000Z"),
        ("2026-05-15T10:30:00+02:00", "2026-05-15T08:30:00.000Z"),
        ("2026-05-15T10:30:00-05:30", "2026-05-15T16:00:00.000Z"),
        ("2026-05-15T00:30:00+23:59", "2026-05-14T00:31:00.000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("0987-06-05T04:03:02Z", "0987-06-05T04:03:02.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"),
        ("2016-12-31T23:59:60.75Z", "2016-12-31T23:59:59.999Z"),
        ("2015-06-30T23:59:60Z", "2015-06-30T23:59:59.999Z"),
        ("2017-01-01T05:29:60+05:30", "2016-12-31T23:59:59.999Z"),
        ("2016-12-31T15:59:60-08:00", "2016-12-31T23:59:59.999Z"),
    ],
)
def test_an_rfc_3339_text_is_written_in_utc_with_three_digits(text, written):
    assert utc_milliseconds(parse_rfc3339(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-05-15",
        "10:30:00Z",
        "2026-05-15T10:30:00",  # no offset
        "2026-05-15T10:30Z",  # no seconds
        "2026-05-15 10:30:00Z",
        "20260515T103000Z",
        "2026-W20-5T10:30:00Z",
        "2026-135T10:30:00Z",
        "2026-05-15T10:30:00,5Z",
        "2026-05-15T10:30:00.Z",
        "2026-05-15T10:30:00 Z",
        "2026-05-15T10:30:00+0200",
        "2026-05-15T10:30:00+02",
        "2026-05-15T10:30:00+02:00:15",
        "2026-05-15T10:30:00UTC",
        "2026-05-15T10:30:00Z\n",
        " 2026-05-15T10:30:00Z",
        "+2026-05-15T10:30:00Z",
        "12026-05-15T10:30:00Z",
        "26-05-15T10:30:00Z",
        "\u0662\u0660\u0662\u0666-05-15T10:30:00Z",  # Arabic digits
        "2026-05-15T10:30:0\u0660Z",
        "1778841000",
        "Fri, 15 May 2026 10:30:00 GMT",
    ],
)
def test_a_text_of_another_shape_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"not an RFC 3339 timestamp .* 2026-05-15T10:30:00Z"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-13-01T00:00:00Z", "does not exist"),
        ("2026-00-01T00:00:00Z", "does not exist"),
        ("2026-02-30T00:00:00Z", "does not exist"),
        ("2025-02-29T00:00:00Z", "does not exist"),
        ("0000-01-01T00:00:00Z", "does not exist"),
        ("2026-05-15T24:00:00Z", "does not exist"),
        ("2026-05-15T10:60:00Z", "does not exist"),
        ("2026-05-15T10:30:61Z", "does not exist"),
        ("2026-05-15T10:30:00+24:00", "offset"),
        ("2026-05-15T10:30:00-02:60", "offset"),
        ("2026-05-15T10:30:60Z", "leap|last day"),
        ("2016-12-30T23:59:60Z", "last day"),
        ("2016-12-31T23:58:60Z", "last day"),
        ("2016-12-31T23:59:60+01:00", "last day"),
        ("0001-01-01T00:00:00+00:01", "years 0001 to 9999"),
        ("9999-12-31T23:59:59-00:01", "years 0001 to 9999"),
    ],
)
def test_a_moment_that_does_not_exist_is_refused_with_its_reason(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("value", "full", "milliseconds"),
    [
        (NOON.replace(tzinfo=UTC), "2026-05-15T12:00:00Z", "2026-05-15T12:00:00.000Z"),
        (
            NOON.replace(tzinfo=UTC, microsecond=123999),
            "2026-05-15T12:00:00.123999Z",
            "2026-05-15T12:00:00.123Z",
        ),
        (NOON.replace(tzinfo=ZoneInfo("UTC")), "2026-05-15T12:00:00Z", "2026-05-15T12:00:00.000Z"),
        (NOON.replace(tzinfo=offset(0)), "2026-05-15T12:00:00Z", "2026-05-15T12:00:00.000Z"),
        (
            NOON.replace(tzinfo=ZoneInfo("Europe/Berlin")),
            "2026-05-15T12:00:00+02:00",
            "2026-05-15T10:00:00.000Z",
        ),
        (NOON.replace(tzinfo=offset(-3, -30)), "2026-05-15T12:00:00-03:30", "2026-05-15T15:30:00.000Z"),
        (NOON.replace(tzinfo=ODD_OFFSET), "2026-05-15T06:29:45Z", "2026-05-15T06:29:45.000Z"),
        (datetime(987, 6, 5, tzinfo=UTC), "0987-06-05T00:00:00Z", "0987-06-05T00:00:00.000Z"),
    ],
)
def test_an_aware_datetime_is_written_in_full_or_to_the_millisecond(value, full, milliseconds):
    assert rfc3339(value) == full
    assert utc_milliseconds(value) == milliseconds


@pytest.mark.parametrize("write", [rfc3339, utc_milliseconds])
@pytest.mark.parametrize("naive", [NOON, NOON.replace(tzinfo=NoOffset())])
def test_a_datetime_without_a_timezone_is_refused_with_the_remedy(write, naive):
    with pytest.raises(ValueError, match=r"without a timezone; use django.utils.timezone.now\(\)"):
        write(naive)


def test_a_moment_before_year_1_in_utc_is_refused_where_utc_is_written():
    early = datetime(1, 1, 1, tzinfo=offset(5))

    with pytest.raises(ValueError, match="years 0001 to 9999"):
        utc_milliseconds(early)
    with pytest.raises(ValueError, match="years 0001 to 9999"):
        rfc3339(early.replace(tzinfo=ODD_OFFSET))
    assert rfc3339(early) == "0001-01-01T00:00:00+05:00"


@given(
    st.datetimes(
        min_value=datetime(1, 1, 3),
        max_value=datetime(9999, 12, 29),
        timezones=st.timezones() | st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_the_full_text_reads_back_as_the_same_moment(value):
    assert parse_rfc3339(rfc3339(value)) == value.astimezone(UTC)


@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=st.timezones()))
def test_the_short_text_reads_back_less_than_a_millisecond_earlier(value):
    lost = value.astimezone(UTC) - parse_rfc3339(utc_milliseconds(value))

    assert timedelta(0) <= lost < timedelta(milliseconds=1)
    assert to_milliseconds(value) == parse_rfc3339(utc_milliseconds(value))


def test_a_datetime_of_another_class_becomes_a_plain_one():
    class Stamp(datetime):
        """As pandas and freezegun have."""

    stamp = Stamp(2026, 5, 15, 12, 30, 0, 123_456, tzinfo=offset(2))

    assert type(to_milliseconds(stamp)) is datetime
    assert to_milliseconds(stamp) == datetime(2026, 5, 15, 10, 30, 0, 123_000, tzinfo=UTC)


@given(
    st.text(max_size=40) | st.from_regex(r"\A\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?\Z")
)
def test_any_text_is_read_or_refused_with_a_value_error(text):
    try:
        moment = parse_rfc3339(text)
    except ValueError:
        return

    assert moment.utcoffset() == timedelta(0)

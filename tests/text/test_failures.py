"""One failure of many events has one pattern: what differs from event to event is taken out."""

import pytest

from genesys_eventbridge.text.failures import LENGTH, failure_id, normalised


@pytest.mark.parametrize(
    ("error", "pattern"),
    [
        ("", ""),
        ("HTTP 503: Service Unavailable", "HTTP 503: Service Unavailable"),
        ("400 bad.request: field 'x' of order is wrong", "400 bad.request: field <value> of order is wrong"),
        ("HTTP 404: order ORD-4711 is not known", "HTTP 404: order <id> is not known"),
        ("No such order: 4712 (1,204.50 EUR)", "No such order: <number> (<number> EUR)"),
        ("event 123e4567-e89b-12d3-a456-426614174000 is unknown", "event <id> is unknown"),
        ("key 3f2a9c11deadbeef has expired", "key <id> has expired"),
        ("Look at https://example.com/o/1?q=2 for help.", "Look at <url> for help."),
        ("mail to ana.b@example.com failed", "mail to <address> failed"),
        ("He didn't say \"yes, 7 times\", so we can't", "He didn't say <value>, so we can't"),
        ("not before 2026-11-27T07:48:12.5Z or on 2026-11-28", "not before <time> or on <time>"),
        ("items 1, 2, 3 of #4711", "items <number>, … of <number>"),
        ("evt_123abc, evt_9: no such events", "<id>, …: no such events"),
        ("no answer after 30s, then after 250ms", "no answer after <number>, then after <number>"),
        ("two  spaces\n and a line", "two spaces and a line"),
    ],
)
def test_what_differs_from_event_to_event_is_taken_out(error, pattern):
    assert normalised(error) == pattern
    assert normalised(pattern) == pattern


def test_the_same_failure_of_two_events_has_one_id():
    one, other = failure_id(400, "order ORD-1: 'a' is wrong"), failure_id(400, "order ORD-22: 'b' is wrong")

    assert one == other
    assert one is not None
    assert len(one) == LENGTH


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, "order ORD-1 is wrong"), (None, "order ORD-1 is wrong"), (400, "order ORD-1 is missing")],
)
def test_another_status_or_text_is_another_failure(status, error):
    assert failure_id(status, error) != failure_id(400, "order ORD-1 is wrong")


def test_a_status_at_the_start_tells_failures_apart():
    assert failure_id(None, "HTTP 403: no") != failure_id(None, "HTTP 404: no")


def test_without_an_error_there_is_no_failure():
    assert failure_id(500, "") is None


@pytest.mark.parametrize("bit", ["a1-", "'", "1.", "@", "a.", '"a', "“", "1,", "a@", "#", "2026-"])
def test_no_text_takes_long(bit):
    """Errors come from outside: 500 characters of anything are read in linear time."""
    assert len(normalised(bit * (500 // len(bit)))) <= 4500

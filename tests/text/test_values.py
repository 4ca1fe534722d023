"""Values of an event's data are found again in the platform's words, however these repeat them."""

import base64
import html
import json
import re
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genesys_eventbridge.platform.outcomes import Rules, Sent
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, REDACTED, redact_text
from genesys_eventbridge.text import values as text_values
from genesys_eventbridge.text.values import LONGEST_SEARCHED, PayloadValues
from tests.judging import publish_outcome

MAIL = "jane.canary@example.com"
NAME = "Jane Canary-Özdemir"


def shown(words, data, **members):
    """``words`` of the platform about an event with this data, as they are stored."""
    body = json.dumps({"specversion": "1.0", "id": "e-1", "type": "order.created", "data": data, **members})
    return redact_text(words, DEFAULT_REDACT_KEYS, (), PayloadValues(body))


def spelled(value):
    escaped = json.dumps(value)[1:-1]
    return {
        "as it stands": value,
        "capitals": value.upper(),
        "JSON": escaped,
        "JSON in JSON": json.dumps(escaped)[1:-1],
        "every letter as a number": re.sub("(....)", r"\\u\1", value.encode("utf-16-be").hex()),
        "HTML": html.escape(value),
        "HTML by number": "".join(f"&#{ord(letter)};" for letter in value),
        "HTML by hexadecimal number": "".join(f"&#x{ord(letter):X};" for letter in value),
        "URL": quote(value, safe=""),
        "URL in a URL": quote(quote(value, safe=""), safe=""),
        "form": quote(value).replace("%20", "+"),
        "bytes of Python": repr(value.encode())[2:-1],
        "every byte escaped": "".join(f"\\x{byte:02x}" for byte in value.encode()),
    }


@pytest.mark.parametrize("spelling", spelled(""))
@pytest.mark.parametrize("value", [MAIL, NAME, 'O\'Brien & "Söhne" 100%41', "Ünal/😀 <b>x"])
def test_a_value_is_masked_however_it_is_written(value, spelling):
    written = spelled(value)[spelling]

    assert shown(f"Invalid value '{written}' at data.email", {"a": [{"b": value}]}) == (
        f"Invalid value '{REDACTED}' at data.email"
    )


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("4200", "4200"),
        ("4200", "4200.0"),
        ("4200", "4200.00"),
        ("4200", "4.2e3"),
        ("4200", "4.2E+3"),
        ("4200", "4,200"),
        ("-4200", "-4200"),
        ("1234567.5", "1,234,567.50"),
        ("19.90", "19.90"),
        ("19.90", "19.9"),
        ("0.00042", "4.2e-4"),
        ("1e3", "1000"),
        ("1e30", "1000000000000000000000000000000"),
        ("4111111111111111", "4111111111111111"),
        ("1" + "0" * 5000, "1" + "0" * 5000),
    ],
    ids=lambda text: text[:40],
)
def test_a_number_is_masked_in_every_spelling_of_it(number, written):
    body = f'{{"data": {{"amount": {number}}}}}'
    words = redact_text(f"amount {written} is too high", (), (), PayloadValues(body))

    assert written.lstrip("-") not in words
    assert REDACTED in words


@pytest.mark.parametrize(
    "words",
    [
        "Invalid value at data.email",  # names of members are no values
        "the flag is true, the other false, and nothing is null",
        "42 is less than 999",  # short
        "bad.request: the event is not.found, request.entity.too.large, too.many.requests",
        "BAD.REQUEST invalid.value",
        "its status is failed, not delivered or accepted",
        "Content-Length: 7000000, Maximum bytes: 512000",
        "14200 and 42001 and 4200x and x4200 are others",
        "a database is no data, and 4200.5 is another number",
        "HTTP",
        "",
    ],
)
def test_what_is_no_value_of_the_event_stays(words):
    data = {
        "email": "x@y",
        "flags": [True, False, None, "x!"],
        "short": [42, "abc", 999],
        "codes": ["bad.request", "not.found", "request.entity.too.large", "too.many.requests"],
        "more": ["Bad.Request", "invalid.value", "failed", "delivered", "accepted"],
        "bytes": 512000,
        "count": 4200,
    }

    assert shown(words, data) == words


def test_the_limit_of_a_413_stays_and_the_same_number_elsewhere_goes():
    for limit in (512000, 512000000):
        words = shown(f"Content-Length: {limit}, Maximum bytes: {limit}", [limit])

        assert words == f"Content-Length: {REDACTED}, Maximum bytes: {limit}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("4111 1111 1111 1111", "4111111111111111"),
        ("4111111111111111", "4111-1111-1111-1111"),
        (4111111111111111, "4111 1111 1111 1111"),
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00"),
        ("+49 (151) 1234-5678", "+4915112345678"),
        ("5f8c7d3e-1b2a-4c3d-9e8f-0a1b2c3d4e5f", "5F8C7D3E1B2A4C3D9E8F0A1B2C3D4E5F"),
        ("_jane doe_", "_Jane Doe_"),
    ],
)
def test_a_number_is_masked_also_in_other_groups(value, written):
    words = shown(f"Invalid value {written}, see the manual", [value])

    assert written.strip("_+0/-") not in words
    assert REDACTED in words
    assert words.endswith(", see the manual")


def test_groups_of_different_numbers_are_no_value():
    assert shown("see 4111 and 1111 and 1111 1111", ["4111111111111111", "12345678"]) == (
        "see 4111 and 1111 and 1111 1111"
    )


def test_a_value_of_little_but_signs_is_masked_as_it_stands():
    assert shown("5.0 and -5.0, 5 and ????? and ?", [-5.0, "????"]) == (
        f"5.0 and {REDACTED}, 5 and {REDACTED}? and ?"
    )


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        ("Invalid value 'jane.canary@exam...' at data", "Invalid value '[redacted]...' at data"),
        ("Invalid value 'jane.canary@exam…'", "Invalid value '[redacted]…'"),
        ("too long: 'jane.canary@'", "too long: '[redacted]@'"),
        ("too long: jane.canary@exampl", "too long: [redacted]"),
        ("too long: 'Bartholome'", "too long: '[redacted]'"),
        ("too long: 'Barth...'", "too long: 'Barth...'"),
        ("jane.canary of another domain", "jane.canary of another domain"),
        ("jane.canary@example.com.org", "[redacted].org"),
    ],
)
def test_a_value_that_the_platform_cut_is_masked_from_its_eighth_character(words, masked):
    assert shown(words, {"mail": MAIL, "name": "Bartholomew"}) == masked


@pytest.mark.parametrize(
    "event",
    [
        {"data": MAIL},
        {"data": f"<order><mail>{MAIL}</mail></order>"},
        {"data": f"id;mail\n1;{MAIL};x"},
        {"data": {"document": json.dumps({"mail": [MAIL]})}},
        {"data": {MAIL: MAIL}},
        {"data_base64": base64.b64encode(json.dumps({"mail": MAIL}).encode()).decode()},
        {"data_base64": base64.b64encode(f"mail={MAIL}".encode()).decode()},
    ],
)
def test_values_are_found_in_data_of_any_kind(event):
    values = PayloadValues(json.dumps(event))

    words = redact_text(f"no such mail: {MAIL}!", (), (), values)

    assert MAIL not in words
    assert words.endswith(f"{REDACTED}!")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '{"data": null}', '{"data_base64": "*"}', "[" * 9999]
)
def test_a_body_without_values_masks_nothing(body):
    assert redact_text("jane 4200", (), (), PayloadValues(body)) == "jane 4200"


def test_what_is_not_searched_is_not_shown():
    words = shown("x" * 5 + " " * LONGEST_SEARCHED + MAIL, {"mail": MAIL})

    assert words.endswith(REDACTED)
    assert "canary" not in words


def test_masks_of_values_and_of_secrets_hide_nothing_from_each_other():
    body = json.dumps({"data": ["password", "x password: y"]})
    words = redact_text("password: hunter2", ("password",), (), PayloadValues(body))

    assert "hunter2" not in words


leaf = st.text(min_size=4, max_size=30).filter(lambda text: len(text.strip()) >= 4) | st.integers(1000)
tree = st.recursive(
    leaf, lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1)
)


def leaves(data):
    if isinstance(data, dict):
        return [one for item in data.values() for one in leaves(item)]
    return [one for item in data for one in leaves(item)] if isinstance(data, list) else [data]


@given(tree)
@example(["delivered", "REJECTED", "Orders"])
def test_no_value_of_letters_or_digits_is_left_in_words_that_quote_it(data):
    for value in leaves(data):
        if str(value).isalnum() and not text_values._PLATFORM_WORDS.fullmatch(str(value)):
            assert shown(f"at '{value}' of", data) == f"at '{REDACTED}' of"


@pytest.mark.parametrize(
    "data",
    [
        [f"a {number}" for number in range(26_000)],
        [f"word{number}" for number in range(26_000)],
        ["a " * 120_000],
        ["a" * 250_000],
        [1.5] * 50_000,
        "<a>" * 80_000,
    ],
    ids=["same first word", "words", "one long text", "one word", "numbers", "markup"],
)
@pytest.mark.parametrize(
    "piece",
    ["a ", "a", "'a' ", "%61", "\\\\", "1,111"],
    ids=["words", "word", "quoted", "escaped", "signs", "groups"],
)
def test_the_largest_payload_and_the_largest_answer_are_searched_to_their_end(data, piece):
    """Work that grows with values times words would take hours: no clock is needed to see that it ends."""
    words = shown(piece * (2**20 // len(piece)), data)

    assert len(words) <= LONGEST_SEARCHED * 2 + len(REDACTED)
    assert words.endswith(REDACTED)


SECRET = "Zq-4711.x9"


@pytest.mark.parametrize(
    "words",
    [
        f"password must not be {SECRET}",
        f"could not parse {SECRET} as iban",
        f"Key (email)=({SECRET}) already exists.",
        f"The value you provided, {SECRET}, is too short.",
        f"password&quot;: &quot;{SECRET}&quot;",
        json.dumps({"error": {"field": "password"}, "value": SECRET}),
        json.dumps({"field": "password", "reason": f"{SECRET} is too short"}),
        "x " * 2030 + f"{SECRET} is too short" + " y" * 2000,
    ],
)
@pytest.mark.parametrize("data", [{"user": {"new-password": [SECRET]}}, json.dumps({"password": SECRET})])
def test_a_value_that_redact_keys_name_is_masked_in_every_sentence_of_an_excerpt(words, data):
    """The event says what it is, so no form of words has to be known."""
    body = json.dumps(
        {"id": "e-1", "data": data if isinstance(data, str) else {**data, "city": "Springfield"}}
    )
    sent = Sent(event_id="e-1", source="s", type="t", subject="", time=None, body=body)

    for content in (words, json.dumps({"message": f"Springfield: {words}", "code": "x"})):
        outcome = publish_outcome(httpx.Response(400, content=content.encode()), sent, Rules())
        assert "4711" not in outcome.excerpt + outcome.error
        assert ("Springfield" in outcome.excerpt) == ("Springfield" in content)


def test_an_event_is_not_read_for_an_answer_that_repeats_nothing(monkeypatch):
    """Its data may be large, and nearly all events are accepted."""
    monkeypatch.setattr(text_values, "_read", lambda _text: pytest.fail("the event was read"))
    sent = Sent(event_id="e-1", source="s", type="t", subject="", time=None, body='{"data": {"city": "Ulm"}}')
    answer = {"id": "evt-1", "status": "accepted"}

    for headers in ({}, {"ININ-Correlation-Id": "8f14e45f-ceea-467f-9a3b-1c2d3e4f5a6b"}):
        outcome = publish_outcome(httpx.Response(202, json=answer, headers=headers), sent, Rules())
        assert outcome.remote_id == "evt-1"

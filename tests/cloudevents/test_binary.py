"""The binary content mode of the CloudEvents HTTP binding, section 3.1: headers, and data as it is."""

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.cloudevents.binary import binary

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=30
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def encoded(data=None, **attributes):
    return build_event("order.created", data, source="com.example", **attributes).encode()


@given(data=JSON, subject=TEXT.filter(lambda text: text.strip() == text and text.isprintable()))
def test_the_data_is_the_very_text_of_the_body_and_attributes_come_back_by_decoding(data, subject):
    body = encoded(data, subject=subject)

    headers, media_type, text = binary(body)

    assert body.endswith(f'"data":{text}}}')
    assert media_type == "application/json"
    found = {name: unquote(value) for name, value in headers}
    event = json.loads(body)
    assert found == {f"ce-{name}": event[name] for name in event if name not in {"data", "datacontenttype"}}
    assert all(value.isascii() and value.isprintable() and " " not in value for _name, value in headers)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),  # the example of section 3.1.3.2
        ('a"b%c', "a%22b%25c"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ("ÿ\u2028", "%C3%BF%E2%80%A8"),
    ],
)
def test_values_are_percent_encoded_as_the_binding_says(value, sent):
    headers, _type, _data = binary(json.dumps({"subject": value, "data": 1}))

    assert dict(headers)["ce-subject"] == sent


def test_extensions_are_written_in_their_canonical_text():
    headers, *_rest = binary(encoded({}, extensions={"flag": True, "count": 7, "name": "x"}))

    assert {name: dict(headers)[f"ce-{name}"] for name in ("flag", "count", "name")} == {
        "flag": "true",
        "count": "7",
        "name": "x",
    }


def test_the_media_type_of_the_data_becomes_the_content_type():
    _headers, media_type, _data = binary(encoded({}, datacontenttype="application/vnd.order+json"))

    assert media_type == "application/vnd.order+json"


@pytest.mark.parametrize("spaces", ["", " ", "\n\t "])
def test_a_body_with_other_spacing_is_cut_just_as_well(spaces):
    body = '{"id":S"a:,}{\\""S,S"data"S:S{"x" :  [1, 2.50]}S,"type"S:"t"S}'.replace("S", spaces)

    headers, _type, data = binary(body)

    assert data == '{"x" :  [1, 2.50]}'
    assert dict(headers) == {"ce-id": "a:,}{%22", "ce-type": "t"}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        '{"a"}',
        '{"a":1,',
        '{"id":"1"}',
        '{"data_base64":"AA=="}',
        '{"data":',
        '{"a":1,}',
        '{"data":1 "b":2}',
    ],
)
def test_what_is_no_event_with_json_data_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011 - no reader sees the text
        binary(body)

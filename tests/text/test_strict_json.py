"""JSON that people write is read strictly, and an error says where without repeating the text."""

import json

import pytest

from genesys_eventbridge.text import strict_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, true, "x"]}', '"text"', " 0 ", "{}"])
def test_json_is_read(text):
    assert strict_json.loads(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('{"a": 1,\n "secret"}', strict_json.Malformed, "Expecting ':' delimiter at line 2, column 10"),
        ("", strict_json.Malformed, "Expecting value at line 1, column 1"),
        ('[{"a": NaN}]', strict_json.NotAValue, "NaN is not a JSON value"),
        ("-Infinity", strict_json.NotAValue, "-Infinity is not a JSON value"),
        ('{"b": {"a": 1, "a": 1}}', strict_json.RepeatedName, "an object has two members of the same name"),
        ("[" * 200_000, strict_json.TooDeep, "it is nested too deeply"),
        ("9" * 5_000, strict_json.NotJson, "Exceeds the limit"),
    ],
    ids=["malformed", "empty", "NaN", "infinity", "repeated", "deep", "digits"],
)
def test_an_error_says_what_is_wrong(text, kind, words):
    with pytest.raises(strict_json.NotJson) as caught:
        strict_json.loads(text)

    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)

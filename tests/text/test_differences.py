"""What was changed in a JSON value: every change has a path, and hidden values stay hidden."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.text import DEFAULT_REDACT_KEYS, REDACTED, redact
from genesys_eventbridge.text.differences import (
    ABSENT,
    HiddenValue,
    as_json,
    differences,
    from_json,
    restored,
)

KEYS = DEFAULT_REDACT_KEYS


def changes(before, after, keys=KEYS):
    return [(each.path, each.before, each.after) for each in differences(before, after, keys)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, [("data.a", 1, 2)]),
        ({"a": 1}, {}, [("data.a", 1, ABSENT)]),
        ({}, {"a": None}, [("data.a", ABSENT, None)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("data.a.b[1]", 2, 3)]),
        ([1], [1, 2], [("data[1]", ABSENT, 2)]),
        ([1, 2], [2], [("data[0]", 1, 2), ("data[1]", 2, ABSENT)]),
        ({"odd key": "x"}, {"odd key": "y"}, [('data["odd key"]', "x", "y")]),
        ("text", {"a": 1}, [("data", "text", {"a": 1})]),
        ({"a": {"b": 1}}, {"a": [1]}, [("data.a", {"b": 1}, [1])]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ],
)
def test_each_change_has_its_path_and_both_values(before, after, expected):
    assert changes(before, after) == expected


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), (None, False), ("1", 1)])
def test_values_that_python_takes_for_equal_may_be_different_in_json(before, after):
    assert [path for path, _before, _after in changes({"a": before}, {"a": after})] == ["data.a"]


def test_a_change_of_a_hidden_value_is_visible_but_not_the_value():
    before, after = {"login": {"password": "old"}, "n": 1}, {"login": {"password": "new"}, "n": 1}

    assert changes(before, after) == [("data.login.password", REDACTED, REDACTED)]
    assert changes({"password": {"a": 1}}, {"password": {"a": 2}}) == [
        ("data.password.a", REDACTED, REDACTED)
    ]
    assert changes({"o": 1}, {"o": {"secret": "x"}}) == [("data.o", 1, {"secret": REDACTED})]


def test_stored_changes_are_masked_by_names_added_later():
    text = as_json(differences({"phone": "1", "n": 1}, {"phone": "2"}, KEYS))

    assert [tuple(each) for each in from_json(text, [])] == [(("phone",), "1", "2"), (("n",), 1, ABSENT)]
    assert [tuple(each) for each in from_json(text, ["phone"])] == [
        (("phone",), REDACTED, REDACTED),
        (("n",), 1, ABSENT),
    ]
    assert json.loads(text)[1] == {"path": ["n"], "before": 1}


def test_what_was_edited_in_the_masked_form_keeps_the_hidden_values():
    original = {"name": "Ana", "password": "s3cret", "cards": [{"iban": "DE1", "n": 1}, {"iban": "DE2"}]}
    edited = redact(original, KEYS)
    edited["name"] = "Ann"
    edited["cards"][0]["n"] = 2

    assert restored(edited, original, KEYS) == {
        "name": "Ann",
        "password": "s3cret",
        "cards": [{"iban": "DE1", "n": 2}, {"iban": "DE2"}],
    }


def test_a_hidden_value_can_be_replaced_or_removed():
    original = {"password": "old", "secret": "x"}

    assert restored({"password": "new"}, original, KEYS) == {"password": "new"}


def test_an_item_takes_its_hidden_value_with_it():
    original = [{"id": 1, "iban": "DE1"}, {"id": 2, "iban": "DE2"}]
    first, second = redact(original, KEYS)

    assert restored([second, first], original, KEYS) == original[::-1]
    assert restored([second], original, KEYS) == [original[1]]
    assert restored([first, {"id": 9}, second], original, KEYS) == [original[0], {"id": 9}, original[1]]


@pytest.mark.parametrize(
    "edited",
    [
        [{"id": 2, "iban": REDACTED}, {"id": 7, "iban": REDACTED}],
        [{"id": 7, "iban": REDACTED}],
        {"iban": REDACTED},
        [{"other": REDACTED}, {"id": 2, "iban": REDACTED}],
    ],
    ids=["moved and edited", "shorter and edited", "another shape", "another name"],
)
def test_nobody_gets_the_hidden_value_of_somebody_else(edited):
    with pytest.raises(HiddenValue):
        restored(edited, [{"id": 1, "iban": "DE1"}, {"id": 2, "iban": "DE2"}], KEYS)


def test_items_that_look_alike_are_not_taken_for_each_other():
    original = [{"iban": "DE1"}, {"iban": "DE2"}]

    assert restored([{"iban": REDACTED}, {"iban": REDACTED}], original, KEYS) == original
    with pytest.raises(HiddenValue):
        restored([{"iban": REDACTED}], original, KEYS)


def test_the_text_of_a_mask_that_was_sent_is_no_mask():
    assert restored({"note": REDACTED}, {"note": REDACTED}, KEYS) == {"note": REDACTED}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "password", "iban"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_what_was_not_edited_is_restored_whole(value):
    assert json.dumps(restored(redact([value], KEYS)[0], value, KEYS)) == json.dumps(value)
    assert changes(value, value) == []


@given(values, values)
def test_different_values_have_a_difference(before, after):
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)

    assert (changes(before, after) == []) == same

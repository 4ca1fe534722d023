"""What users put into data becomes plain JSON values, or is refused by its path."""

import enum
import json
import math
import sys
from collections import OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.http import QueryDict
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.cloudevents.data import MAX_DEPTH, plain
from genesys_eventbridge.errors import InvalidEvent
from tests.shop.models import Order

LIMIT = 100_000
SECRET = "4111-payload-canary"


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 7
    PAIR = (1, Decimal("2.50"))
    NESTED = {"when": date(2026, 5, 15)}


class Level(enum.IntEnum):
    HIGH = 3


class Flags(enum.Flag):
    A = 1
    B = 2


class Size(models.IntegerChoices):
    SMALL = 1, "Small"


class Loud(str):
    """A str whose ``__str__`` says something else than its characters."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


class Twin(str):
    """A str that a dict holds beside its equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 1


class Half(float):
    pass


class Whole(int):
    pass


@dataclass
class Point:
    x: int = 1


Pair = namedtuple("Pair", "first second")


def refusal(value: object, limit: int = LIMIT) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        plain(value, limit=limit)
    return caught.value


def is_plain(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and is_plain(member) for key, member in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in {str, int, float, bool}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (False, False),
        (0, 0),
        (-1, -1),
        (2**53 + 1, 2**53 + 1),
        (10**4299, 10**4299),
        (0.0, 0.0),
        (1e22, 1e22),
        (5e-324, 5e-324),
        (sys.float_info.max, sys.float_info.max),
        ("", ""),
        ("€ 😀 \0 \n \x7f \u2028 \ufffe", "€ 😀 \0 \n \x7f \u2028 \ufffe"),
        ({}, {}),
        ([], []),
        ((), []),
        ({"": {"a": [1, (2, [3])]}}, {"": {"a": [1, [2, [3]]]}}),
        (Pair(1, 2), [1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (UserDict({"a": 1}), {"a": 1}),
        (QueryDict("a=1&a=2"), {"a": "2"}),
        (Decimal("1.10"), "1.10"),
        (Decimal("-0.00"), "-0.00"),
        (Decimal("1E+2"), "1E+2"),
        (UUID("00000000-0000-4000-8000-00000000000A"), "00000000-0000-4000-8000-00000000000a"),
        (datetime(2026, 5, 15, 10, 30, tzinfo=UTC), "2026-05-15T10:30:00Z"),
        (datetime(2026, 5, 15, 10, 30, 0, 123456, tzinfo=UTC), "2026-05-15T10:30:00.123456Z"),
        (datetime(2026, 5, 15, 10, 30, tzinfo=ZoneInfo("Asia/Kolkata")), "2026-05-15T10:30:00+05:30"),
        (date(2026, 5, 15), "2026-05-15"),
        (date(987, 6, 5), "0987-06-05"),
        (time(10, 30), "10:30:00"),
        (time(10, 30, 0, 5), "10:30:00.000005"),
        (timedelta(0), "P0DT00H00M00S"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4), "P1DT02H03M04S"),
        (timedelta(milliseconds=5), "P0DT00H00M00.005000S"),
        (timedelta(seconds=-1), "-P0DT00H00M01S"),
        (timedelta.max, "P999999999DT23H59M59.999999S"),
        (timedelta.min, "-P999999999DT00H00M00S"),
        (Colour.RED, "red"),
        (Colour.NUMBER, 7),
        (Colour.PAIR, [1, "2.50"]),
        (Colour.NESTED, {"when": "2026-05-15"}),
        (Level.HIGH, 3),
        (Flags.A | Flags.B, 3),
        (Order.Status.PAID, "paid"),
        (Size.SMALL, 1),
        (mark_safe("<b>"), "<b>"),
        (Loud("quiet"), "quiet"),
        (lazystr("later"), "later"),
        (Half(0.5), 0.5),
        (Whole(5), 5),
        ({mark_safe("k"): 1, Order.Status.NEW: 2, Loud("quiet"): 3}, {"k": 1, "new": 2, "quiet": 3}),
    ],
    ids=repr,
)
def test_what_users_have_becomes_plain_json_values(value, written):
    result = plain(value, limit=LIMIT)

    assert result == written
    assert is_plain(result)


def test_a_lazy_translation_is_written_in_the_language_that_is_active():
    with override("de"):
        assert plain({"label": gettext_lazy("Yes")}, limit=LIMIT) == {"label": "Ja"}


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.10"),
        Decimal("12345678901234567890.123456789"),
        UUID(int=5),
        date(2026, 5, 15),
        time(23, 59, 59),
        timedelta(days=3, microseconds=7),
        timedelta(days=-3, microseconds=7),
        datetime(2026, 5, 15, 10, 30, tzinfo=UTC),
        datetime(2026, 5, 15, 10, 30, tzinfo=timezone(timedelta(hours=-3))),
        lazystr("later"),
        Order.Status.PAID,
    ],
    ids=repr,
)
def test_a_value_reads_as_django_would_have_written_it(value):
    assert json.dumps(plain(value, limit=LIMIT)) == json.dumps(value, cls=DjangoJSONEncoder)


def generator():
    yield 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "JSON has no NaN or infinity; send None or text"),
        (math.inf, "NaN or infinity"),
        (-math.inf, "NaN or infinity"),
        (Half("nan"), "NaN or infinity"),
        (Decimal("NaN"), "a Decimal NaN or infinity is not a number; send None or text"),
        (Decimal("sNaN"), "a Decimal NaN"),
        (Decimal("-Infinity"), "a Decimal NaN or infinity"),
        (10**4300, "more than 4300 digits; send it as text"),
        (-(10**4300), "more than 4300 digits"),
        (Whole(10**5000), "more than 4300 digits"),
        ("\ud800", "U+D800 at position 0"),
        ("ok \udfff", "U+DFFF at position 3"),
        (Loud("\ud83d"), "U+D83D"),
        (lazystr("\ud83d"), "U+D83D"),
        (datetime(2026, 5, 15), "without a timezone; use django.utils.timezone.now()"),
        (time(10, 30, tzinfo=UTC), "is ambiguous; send a datetime"),
        ({1, 2}, "a set is not a JSON value; a set has no order: pass sorted(value)"),
        (frozenset("a"), "a frozenset is not a JSON value; a set has no order"),
        ({}.keys(), "a set has no order"),
        (b"raw", "a bytes is not a JSON value; pass base64 text here, or bytes as the whole data"),
        (bytearray(b"raw"), "pass base64 text here"),
        (memoryview(b"raw"), "pass base64 text here"),
        (generator(), "a generator is not a JSON value; pass list(value)"),
        (iter([1]), "pass list(value)"),
        (map(str, [1]), "pass list(value)"),
        (Order(number="1"), "an Order is not a JSON value; name what to send: {'id': instance.pk, ...}"),
        (Order.objects.none(), "a QuerySet is not a JSON value; pass text, a number, a list or a dict"),
        (Point(), "a Point is not a JSON value; pass dataclasses.asdict(value)"),
        (object(), "an object is not a JSON value; pass text, a number, a list or a dict"),
        (Path("/x"), "pass text, a number, a list or a dict"),
        (1j, "a complex is not a JSON value"),
        (range(3), "a range is not a JSON value"),
        (deque([1]), "a deque is not a JSON value"),
        (UserList([1]), "a UserList is not a JSON value"),
        (Order, "a ModelBase is not a JSON value"),
        (print, "a builtin_function_or_method is not a JSON value"),
        (NotImplemented, "not a JSON value"),
        (SimpleLazyObject(lambda: "text"), "a SimpleLazyObject is a proxy for another object"),
        (SimpleLazyObject(lambda: 5), "a SimpleLazyObject is a proxy for another object"),
        (SimpleLazyObject(lambda: {"a": 1}), "a SimpleLazyObject is a proxy for another object"),
        (Mock(spec=dict), "is a proxy for another object"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
@pytest.mark.parametrize("inside", [False, True], ids=["whole", "nested"])
def test_what_has_no_place_in_json_is_refused_with_the_reason_and_the_remedy(value, reason, inside):
    error = refusal({"items": [0, {"price": value}]} if inside else value)

    assert reason in error.reason
    assert error.field == ("data.items[1].price" if inside else "data")
    assert str(error) == f"{error.field}: {error.reason}"


@pytest.mark.parametrize(
    ("key", "step", "reason"),
    [
        (1, "[1]", "the key is an int; JSON keys are text: use str(key)"),
        (None, "[NoneType]", "the key is a NoneType"),
        (True, "[bool]", "the key is a bool"),
        (1.5, "[float]", "the key is a float"),
        ((1, 2), "[tuple]", "the key is a tuple"),
        (UUID(int=1), "[UUID]", "the key is a UUID"),
        (b"k", "[bytes]", "the key is a bytes"),
        (Colour.RED, "[Colour]", "the key is a Colour"),
        (Level.HIGH, "[Level]", "the key is a Level"),
        (lazystr("k"), "[__proxy__]", "the key is a __proxy__"),
        (date(2026, 5, 15), "[date]", "the key is a date"),
        ("\ud800", r'["\ud800"]', "U+D800"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
def test_a_key_that_is_not_text_is_refused_by_its_path(key, step, reason):
    error = refusal({"map": {"fine": 1, key: 2}})

    assert error.field == f"data.map{step}"
    assert reason in error.reason


def test_a_lazy_object_that_stands_for_text_is_no_key():
    class Pretender:
        __class__ = str  # type: ignore[assignment]

    assert "the key is a Pretender" in refusal({Pretender(): 1}).reason


def test_two_keys_with_the_same_characters_never_become_two_members():
    error = refusal({"map": {"a": 1, Twin("a"): 2}})

    assert error.field == "data.map.a"
    assert "two keys become the same name" in error.reason


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": math.nan}, "data.a"),
        ([[0, math.nan]], "data[0][1]"),
        ((1, {"x_1": (math.nan,)}), "data[1].x_1[0]"),
        ({"first name": math.nan}, 'data["first name"]'),
        ({"": math.nan}, 'data[""]'),
        ({"é": math.nan}, r'data["\u00e9"]'),
        ({'q"\n\x1b': math.nan}, r'data["q\"\n\u001b"]'),
        ({"class": math.nan}, "data.class"),
        ({"k" * 41: math.nan}, f"data.{'k' * 40}…"),
        ({"-" * 41: math.nan}, f'data["{"-" * 40}"…]'),
        ({Order.Status.NEW: {Loud("q"): math.nan}}, "data.new.q"),
        (json.loads('{"a":' * 8 + "1" + "}" * 8, parse_int=lambda text: math.nan), "data" + ".a" * 8),
        (json.loads('{"a":' * 9 + "1" + "}" * 9, parse_int=lambda text: math.nan), "data" + ".a" * 8 + "…"),
        (UserDict(a=OrderedDict(b=Pair(0, math.nan))), "data.a.b[1]"),
        ({"label": Colour.RED, "x": [Level.HIGH, math.nan]}, "data.x[1]"),
    ],
    ids=str,
)
def test_the_path_names_the_place_and_stays_short_and_printable(value, path):
    assert refusal(value).field == path


def nested(levels: int, leaf: Any = 1) -> Any:
    for level in range(levels):
        leaf = {"a": leaf} if level % 2 else [leaf]
    return leaf


@pytest.mark.parametrize("leaf", [1, "text", Colour.RED, Decimal(1)], ids=repr)
def test_a_hundred_levels_are_taken(leaf):
    assert is_plain(plain(nested(MAX_DEPTH, leaf), limit=LIMIT))


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 10_000])
def test_more_levels_are_refused_without_a_recursion_error(levels):
    assert refusal(nested(levels)).reason.startswith("nested deeper than 100 levels, or it contains itself")


@pytest.mark.parametrize("container", [[], {}, UserDict()], ids=lambda value: type(value).__name__)
def test_a_value_that_contains_itself_is_refused(container: Any):
    if isinstance(container, list):
        container += [container, container]
    else:
        container["me"] = container

    assert "contains itself" in refusal(container).reason


def test_the_same_part_may_stand_in_two_places():
    part = {"a": [1]}

    result = plain([part, part], limit=LIMIT)

    assert result == [{"a": [1]}, {"a": [1]}]
    assert result[0] is not result[1]


class Endless(dict):
    """A mapping that never ends, and counts how often it was asked."""

    asked = 0

    def items(self) -> Any:
        while True:
            self.asked += 1
            yield f"key{self.asked}", 1


def test_copying_stops_as_soon_as_the_limit_is_passed():
    endless = Endless()

    error = refusal(endless, limit=1_000)

    assert endless.asked < 1_000
    assert error.field == "data"
    assert "more than 1,000 bytes, the limit is 1,000" in error.reason
    assert "dataref" in error.reason
    assert "MAX_EVENT_BYTES" in error.reason


def bomb() -> Any:
    """A few lists that refer to each other: written out, ten to the sixtieth values."""
    value: Any = [1]
    for _ in range(60):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 10_000_000, id="text"),
        pytest.param(["x" * 1_000] * 10_000, id="texts"),
        pytest.param([1] * 5_000_000, id="numbers"),
        pytest.param([None] * 2_500_000, id="nulls"),
        pytest.param([[]] * 3_000_000, id="empty lists"),
        pytest.param({str(number): number for number in range(100_000)}, id="members"),
        pytest.param([10**4000] * 3_000, id="long integers"),
        pytest.param(bomb(), id="bomb"),
    ],
)
def test_ten_megabytes_are_refused_long_before_they_are_copied(value):
    assert "the limit is 262,144" in refusal(value, limit=262_144).reason


def test_an_integer_of_ten_million_digits_is_refused_without_writing_it_out():
    assert "more than 4300 digits" in refusal(1 << 33_000_000).reason


def test_the_interpreters_own_limit_of_digits_counts_where_it_is_lower():
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(700)
    try:
        assert "more than 700 digits" in refusal(10**700).reason
        assert plain(10**699, limit=LIMIT) == 10**699
        sys.set_int_max_str_digits(0)
        assert "more than 4300 digits" in refusal(10**4300).reason
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize(
    "value",
    [
        {SECRET: object()},
        {"card": SECRET + "\ud800"},
        {"card": [SECRET, {1, SECRET}]},
        {"card": Decimal("NaN"), "x": SECRET},
        {"card": SECRET * 10_000},
        {"card": Loud(SECRET), "y": {SECRET, 1}},
    ],
    ids=range(6),
)
def test_a_refusal_never_shows_a_value(value):
    error = refusal(value)

    assert SECRET not in error.reason
    assert SECRET not in error.field or SECRET in value  # a key is a name, and part of the path
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


def test_the_callers_value_is_copied_and_left_alone():
    inner: dict[str, list[Any]] = {"b": [1, 2]}
    value = {"a": inner, "t": (1, Decimal("2.5"))}

    result = plain(value, limit=LIMIT)
    result["a"]["b"].append("ours")
    inner["b"].append("theirs")

    assert result == {"a": {"b": [1, 2, "ours"]}, "t": [1, "2.5"]}
    assert value == {"a": {"b": [1, 2, "theirs"]}, "t": (1, Decimal("2.5"))}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
).map(lambda value: (value, value)) | st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: (value, str(value))),
    st.uuids().map(lambda value: (value, str(value))),
    st.dates().map(lambda value: (value, value.isoformat())),
    st.times().map(lambda value: (value, value.isoformat())),
    st.sampled_from([(member, member.value) for member in Order.Status]),
)
#: Pairs of what a user passes and what JSON must hold.
PAIRS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda pairs: ([a for a, _ in pairs], [b for _, b in pairs]))
        | st.lists(inner, max_size=4).map(lambda pairs: (tuple(a for a, _ in pairs), [b for _, b in pairs]))
        | st.dictionaries(TEXT, inner, max_size=4).map(
            lambda members: (
                {key: a for key, (a, _) in members.items()},
                {key: b for key, (_, b) in members.items()},
            )
        )
    ),
    max_leaves=12,
)


@given(PAIRS)
def test_every_tree_of_known_values_becomes_its_json_form(pair):
    value, expected = pair

    result = plain(value, limit=LIMIT)

    assert is_plain(result)
    assert result == expected
    assert json.loads(json.dumps(result, allow_nan=False)) == expected


def size_of(plain_value: Any) -> int:
    return len(json.dumps(plain_value, ensure_ascii=False, separators=(",", ":")).encode())


@given(PAIRS)
def test_a_limit_that_holds_the_value_and_what_follows_it_never_refuses(pair):
    value, expected = pair

    assert plain(value, limit=size_of(expected) + 1) == expected


@pytest.mark.parametrize(
    "value",
    [[], {}, [[]] * 1_000, [[1]] * 1_000, [{"a": [{}]}] * 1_000, [""] * 1_000, [10**4000, -(2**9999)] * 100],
    ids=[0, 1, 2, 3, 4, 5, 6],
)
def test_many_small_parts_are_never_charged_more_than_they_take(value):
    assert plain(value, limit=size_of(value) + 1) == value


@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.binary(max_size=3) | st.decimals() | st.datetimes(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.sets(st.integers(), max_size=2)
            | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_anything_at_all_is_either_json_or_an_invalid_event_below_data(value):
    try:
        result = plain(value, limit=LIMIT)
    except InvalidEvent as error:
        field = error.field
    else:
        field = "data"
        json.dumps(result, allow_nan=False, ensure_ascii=False).encode()

    assert field.startswith("data")
    assert field.isprintable()

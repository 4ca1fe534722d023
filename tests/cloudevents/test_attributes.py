"""The rules for attributes, one table each: what is taken, what is refused, and that the error says why."""

import base64
import enum
import re
from collections import UserDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.cloudevents import attributes
from genesys_eventbridge.errors import InvalidEvent
from tests.shop.models import Order


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 7
    FRACTION = 0.5


class Size(models.IntegerChoices):
    SMALL = 1, "Small"


class Whole(int):
    pass


class Twin(str):
    """A str that a dict holds beside its equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 1


def type_name(value: object) -> str:
    return type(value).__name__


def refusal(rule: Any, *arguments: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        rule(*arguments)
    return caught.value


# ------------------------------------------------------------------------------------------------ String


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("order.created", "order.created"),
        ("Ünïcode € 😀 日本", "Ünïcode € 😀 日本"),
        (" spaces stay ", " spaces stay "),
        ('quotes " and \\ and <b>', 'quotes " and \\ and <b>'),
        ("\u00a0\u00ad\u2028\ufffd\ue000\U0010fffd", "\u00a0\u00ad\u2028\ufffd\ue000\U0010fffd"),
        (Order.Status.PAID, "paid"),
        (Colour.RED, "red"),
        (mark_safe("safe"), "safe"),
        (lazystr("later"), "later"),
        (UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
    ],
    ids=repr,
)
def test_text_is_taken_as_it_is_and_written_as_exactly_str(value, written):
    text = attributes.check_text("subject", value)

    assert text == written
    assert type(text) is str


FORBIDDEN = [
    *map(chr, [0, 1, 9, 10, 13, 27, 0x1F, 0x7F, 0x80, 0x85, 0x9F]),
    *map(chr, [0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xFDD0, 0xFDEF]),
    *(chr(plane * 0x10000 + low) for plane in range(17) for low in (0xFFFE, 0xFFFF)),
]


@pytest.mark.parametrize("character", FORBIDDEN, ids=lambda character: f"U+{ord(character):04X}")
@pytest.mark.parametrize("text", ["{}", "order{}", "a{}b"])
def test_a_forbidden_character_is_refused_and_named_by_number_and_place(character, text):
    error = refusal(attributes.check_text, "subject", text.format(character))

    assert error.field == "subject"
    assert f"U+{ord(character):04X} at position {text.index('{')}" in error.reason
    assert character not in str(error)


@pytest.mark.parametrize(
    "code", [0x20, 0x7E, 0xA0, 0xD7FF, 0xE000, 0xFDCF, 0xFDF0, 0xFFFD, 0x10000, 0x1FFFD, 0x10FFFD]
)
def test_the_neighbours_of_forbidden_characters_are_taken(code):
    assert attributes.check_text("subject", chr(code)) == chr(code)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is required"),
        ("", "must not be empty; omit it if it is optional"),
        (lazystr(""), "must not be empty"),
        (5, "must be text, not an int; pass str(value)"),
        (True, "must be text, not a bool"),
        (b"bytes", "must be text, not a bytes"),
        (Decimal(1), "must be text, not a Decimal"),
        (["a"], "must be text, not a list"),
        (Colour.NUMBER, "must be text, not a Colour"),
        (Size.SMALL, "must be text, not a Size"),
        (datetime(2026, 5, 15, tzinfo=UTC), "must be text, not a datetime"),
        (SimpleLazyObject(lambda: "text"), "must be text, not a SimpleLazyObject"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_is_not_text_is_refused(value, reason):
    error = refusal(attributes.check_text, "type", value)

    assert error.field == "type"
    assert reason in error.reason


def test_the_length_is_counted_in_characters():
    assert attributes.check_text("subject", "€" * 255, 255) == "€" * 255
    error = refusal(attributes.check_text, "subject", "€" * 256, 255)
    assert error.reason == "has 256 characters; the maximum is 255"


# ------------------------------------------------------------------------------------------ URI-reference

ABSOLUTE_URIS = [
    "https://shop.example/orders/7?x=1&y=/?#frag",
    "HTTPS://SHOP.example:8443/",
    "http://user:pw@shop.example",
    "http://[::1]:80/",
    "http://[2001:db8::7]/c=GB?objectClass?one",
    "http://[::ffff:192.0.2.1]/",
    "http://[v1.fe80::a+en1]/",
    "http://[VF.x]/",
    "http://192.0.2.16:80/",
    "http://shop.example:/",
    "http://",
    "file:///etc/hosts",
    "http:///path",
    "http://a%20b.example/",
    "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
    "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "mailto:cncf-wg-serverless@lists.cncf.io",
    "tel:+1-816-555-1212",
    "news:comp.infosystems.www.servers.unix",
    "a:",
    "a+b-c.1:x",
    "x:a//b",
    "x:/a:b",
    "data:,a%20b",
    "https://x/a;b=c,d@e!f$g'h(i)*j~k_l",
]
RELATIVE_REFERENCES = [
    "com.example.ordering",
    "1-555-123-4567",
    "#fragment",
    "//auth/path",
    "//",
    "//host:80",
    "/cloudevents/spec/pull/123",
    "/a:b",
    "./a:b",
    "../up",
    "a/b:c",
    "a//b",
    "?query:with:colons",
    "a?b:c",
    "a#b:c",
    "%41",
    "%e2%82%ac",
    ".",
    "~",
    "@",
    "a@b",
    "sensors/tn-1234567/alerts",
]
NO_URIS = [
    " ",
    "a b",
    "a ",
    " a",
    "a\n",
    "a\t",
    "{id}",
    "a|b",
    "a^b",
    'a"b',
    "<a>",
    "a\\b",
    "a`b",
    "50%",
    "%",
    "%4",
    "%zz",
    "%4g",
    "a%٤١",
    "café",
    "日本",
    "1a:b",
    ":x",
    ":",
    "-a:b",
    "a_b:c",
    "not a uri",
    "a:b:c d",
    "a#b#c",
    "a[b]",
    "[::1]",
    "/[",
    "?[",
    "#]",
    "http://[::1",
    "http://::1]/",
    "http://[]/",
    "http://[1::2::3]/",
    "http://[::12345]/",
    "http://[::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[1.2.3.4]/",
    "http://[v.x]/",
    "http://[vG.x]/",
    "http://[v1.]/",
    "http://[::1]x/",
    "http://host:port/",
    "http://host:8o/",
    "http://a@b@c/",
    "http://a:b:c/",
    "//a:b",
]


@pytest.mark.parametrize("text", ABSOLUTE_URIS + RELATIVE_REFERENCES)
def test_every_uri_reference_is_a_source(text):
    assert attributes.uri_reference("source", text, 255) == text


@pytest.mark.parametrize("text", ABSOLUTE_URIS)
def test_every_uri_is_a_dataschema(text):
    assert attributes.uri("dataschema", text) == text


@pytest.mark.parametrize("text", NO_URIS, ids=ascii)
@pytest.mark.parametrize("rule", [attributes.uri_reference, attributes.uri])
def test_what_is_no_uri_is_refused(rule, text):
    error = refusal(rule, "source", text)

    assert error.field == "source"
    assert re.search("not allowed in a URI; percent-encode it|is not a URI|control characters", error.reason)


@pytest.mark.parametrize("text", RELATIVE_REFERENCES)
def test_a_dataschema_needs_its_scheme(text):
    error = refusal(attributes.uri, "dataschema", text)

    assert error.reason == "must be an absolute URI, with its scheme: https://..., urn:..."


@pytest.mark.parametrize("rule", [attributes.uri_reference, attributes.uri, attributes.media_type])
@pytest.mark.parametrize("value", [None, "", 5, b"a:b", "a\x00"], ids=repr)
def test_a_uri_and_a_media_type_are_strings_first(rule, value):
    assert refusal(rule, "dataschema", value).field == "dataschema"


def test_a_source_longer_than_its_column_is_refused():
    assert attributes.uri_reference("source", "s" * 255, 255)
    assert "256 characters" in refusal(attributes.uri_reference, "source", "s" * 256, 255).reason


def test_the_stray_character_of_a_uri_is_named_by_number_and_place():
    error = refusal(attributes.uri_reference, "source", "com example")

    assert error.reason == "contains U+0020 at position 3, not allowed in a URI; percent-encode it"


@given(st.text(st.sampled_from("aZ09:/?#[]@!$&'()*+,;=%-._~ |é"), max_size=12))
def test_an_accepted_uri_reference_has_the_parts_of_rfc_3986(text):
    try:
        attributes.uri_reference("source", text)
    except InvalidEvent:
        return

    # The generic split of RFC 3986, appendix B, and what each part may hold.
    scheme, authority, path, query, fragment = re.fullmatch(
        r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", text
    ).groups(default="")  # type: ignore[union-attr]
    assert re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)?", scheme)
    assert not set("[]") & set(path + query + fragment)
    assert "#" not in fragment
    assert all(re.match("%[0-9A-Fa-f]{2}", text[at.start() :]) for at in re.finditer("%", text))
    assert scheme or authority or ":" not in path.split("/")[0]
    assert authority.count("@") <= 1
    assert not set(text) & set(" |é")


@pytest.mark.parametrize(
    "text",
    [
        "x:" + "/a" * 200_000 + "]",
        "//" + "a:" * 200_000 + "]",
        "//" + "a" * 400_000 + "]",
        "?" + "%41" * 100_000 + "%",
        "a" * 400_000 + ":]",
    ],
    ids=lambda text: text[:6],
)
def test_a_long_text_that_is_almost_a_uri_is_refused_in_linear_time(text):
    """A pattern that backtracks would not come back from these within the life of the test run."""
    assert refusal(attributes.uri, "dataschema", text).field == "dataschema"


# -------------------------------------------------------------------------------------------- media type


@pytest.mark.parametrize(
    ("text", "json"),
    [
        ("application/json", True),
        ("Application/JSON", True),
        ("text/json", True),
        ("application/json; charset=utf-8", True),
        ("application/json;charset=utf-8", True),
        ("application/json ; charset=utf-8", True),
        ('application/json; profile="a;b \\" c"', True),
        ("application/cloudevents+json", True),
        ("application/vnd.api+json", True),
        ("model/gltf+json", True),
        ("image/svg+JSON;v=1", True),
        ("application/json-seq", False),
        ("application/json+xml", False),
        ("application/xjson", False),
        ("application/x-json", False),
        ("json/plain", False),
        ("text/plain", False),
        ("text/plain; format=json", False),
        ('text/plain; x="application/json"', False),
        ("application/octet-stream", False),
        ("application/xml", False),
        ("image/png", False),
        ("x-world/x-3dmf", False),
        ("application/vnd.ms-excel.sheet.macroenabled.12", False),
        ("multipart/mixed; boundary=gc0p4Jq0M2Yt08j34c0p", False),
    ],
)
def test_a_media_type_is_taken_as_given_and_known_as_json_or_not(text, json):
    assert attributes.media_type("datacontenttype", text) == text
    assert attributes.is_json(text) is json


@pytest.mark.parametrize(
    "text",
    [
        "xyz",
        "json",
        "application/",
        "/json",
        "/",
        "application//json",
        "application/json/x",
        "application /json",
        "application/ json",
        " application/json",
        "application/json ",
        "application/json;",
        "application/json;;charset=utf-8",
        "application/json; charset",
        "application/json; charset=",
        "application/json; =utf-8",
        "application/json; profile=https://x",
        "application/json; charset=utf 8",
        'application/json; charset="utf-8',
        "application/json charset=utf-8",
        "application/json, text/plain",
        "*/*",
        "application/*",
        "appliçation/json",
        "application/jsоn",  # noqa: RUF001 - a Cyrillic o
        "application/json\n",
        "application/json;\tcharset=utf-8",
        'application/json; profile="é"',
        "a/" + "b" * 128,
        "-a/b",
    ],
    ids=ascii,
)
def test_what_is_no_media_type_is_refused(text):
    assert refusal(attributes.media_type, "datacontenttype", text).field == "datacontenttype"


# --------------------------------------------------------------------------------------------- Timestamp


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-15T10:30:00.5Z",
        "2026-05-15T12:30:00.500+02:00",
        mark_safe("2026-05-15T10:30:00.5Z"),
        datetime(2026, 5, 15, 10, 30, 0, 500_999, tzinfo=UTC),
        datetime(2026, 5, 15, 5, 30, 0, 500_000, tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=repr,
)
def test_a_time_is_an_aware_datetime_or_a_text_and_always_written_alike(value):
    assert attributes.timestamp("time", value) == datetime(2026, 5, 15, 10, 30, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (datetime(2026, 5, 15), "without a timezone"),
        ("2026-05-15T10:30:00", "is not an RFC 3339 timestamp"),
        ("", "is not an RFC 3339 timestamp"),
        (date(2026, 5, 15), "must be an aware datetime or an RFC 3339 text, not a date"),
        (0, "must be an aware datetime or an RFC 3339 text, not an int"),
        (1778841000.5, "not a float"),
        (b"2026-05-15T10:30:00Z", "not a bytes"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "years 0001 to 9999"),
    ],
    ids=repr,
)
def test_any_other_time_is_refused(value, reason):
    error = refusal(attributes.timestamp, "time", value)

    assert error.field == "time"
    assert reason in error.reason


# -------------------------------------------------------------------------------------------- extensions


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "0",
        "1st",
        "traceparent",
        "partitionkey",
        "x" * 21,
        "x" * 300,
        "dataref",
        "datax",
        "ids",
        "schemaurl",
    ],
)
def test_an_extension_name_is_any_run_of_lower_case_letters_and_digits(name):
    assert attributes.extensions({name: "v"}) == {name: "v"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ext\n",
        "\next",
        "Ext",
        "EXT",
        "ext_name",
        "ext-name",
        "ext.name",
        "ext name",
        "ce:ext",
        "é",
        "ß",
        "²",
        "٣",  # isdigit() and isalnum() say yes
        "ａ",  # noqa: RUF001 - a fullwidth a
        "a\u0301",
        "a\0",
        "a\ud800",
        "DATA",
        "x" * 100 + "_",
    ],
    ids=ascii,
)
def test_any_other_extension_name_is_refused_and_shown_harmlessly(name):
    error = refusal(attributes.extensions, {"fine": 1, name: "v"})

    assert error.field == "extensions"
    assert "must be one or more of a-z and 0-9" in error.reason
    assert error.reason.isascii()
    assert error.reason.isprintable()
    assert len(error.reason) < 150


@pytest.mark.parametrize("name", sorted(attributes.CORE_NAMES))
@pytest.mark.parametrize("value", ["v", None])
def test_no_extension_takes_the_name_of_a_core_attribute(name, value):
    error = refusal(attributes.extensions, {name: value})

    assert error.field == "extensions"
    assert error.reason == f'"{name}" belongs to the event itself and cannot be an extension'


def test_the_core_names_are_all_that_the_specification_and_its_json_format_take():
    assert sorted(attributes.CORE_NAMES) == [
        "data",
        "data_base64",
        "datacontenttype",
        "dataschema",
        "id",
        "source",
        "specversion",
        "subject",
        "time",
        "type",
    ]


@pytest.mark.parametrize("name", [1, None, b"a", ("a",), Colour.RED, lazystr("a")], ids=repr)
def test_an_extension_name_that_is_not_text_is_refused(name):
    assert "names are text" in refusal(attributes.extensions, {name: "v"}).reason


def test_a_proxy_that_stands_for_text_is_no_extension_name():
    class Pretender:
        __class__ = str  # type: ignore[assignment]

    assert "a name is a Pretender; names are text" in refusal(attributes.extensions, {Pretender(): 1}).reason


def test_two_keys_with_the_same_characters_never_become_two_extensions():
    assert "same name" in refusal(attributes.extensions, {"a": 1, Twin("a"): 2}).reason


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("text", "text"),
        ("", ""),
        ("42.42", "42.42"),
        ("Ünïcode €", "Ünïcode €"),
        (mark_safe("safe"), "safe"),
        (lazystr("later"), "later"),
        (Order.Status.PAID, "paid"),
        (Colour.RED, "red"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (True, True),
        (False, False),
        (0, 0),
        (2**31 - 1, 2**31 - 1),
        (-(2**31), -(2**31)),
        (Whole(5), 5),
        (Size.SMALL, 1),
        (Colour.NUMBER, 7),
        (b"", ""),
        (b"\xfb\xff\xfe", "+//+"),
        (bytearray(b"ab"), "YWI="),
        (memoryview(b"abc")[::2], "YWM="),
        (b"x" * 100, base64.b64encode(b"x" * 100).decode()),
        (datetime(2026, 5, 15, 10, 30, 0, 123456, tzinfo=UTC), "2026-05-15T10:30:00.123456Z"),
        (
            datetime(2026, 5, 15, 10, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-05-15T10:30:00+05:30",
        ),
        (
            datetime(2026, 5, 15, 10, 30, tzinfo=timezone(timedelta(hours=5, minutes=30, seconds=15))),
            "2026-05-15T04:59:45Z",
        ),
    ],
    ids=type_name,
)
def test_an_extension_value_is_written_in_its_json_type(value, written):
    result = attributes.extensions({"ext": value})["ext"]

    assert result == written
    assert type(result) is type(written)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.5, "must be text, int, bool, bytes or aware datetime, not a float; send it as text"),
        (1.0, "not a float"),
        (float("nan"), "not a float"),
        (Colour.FRACTION, "not a float"),
        (Decimal("1.5"), "not a Decimal"),
        ({}, "not a dict"),
        ([], "not a list"),
        ((1,), "not a tuple"),
        ({1}, "not a set"),
        (object(), "not an object"),
        (date(2026, 5, 15), "not a date"),
        (timedelta(1), "not a timedelta"),
        (2**31, "is an int of more than 32 bits; send it as text"),
        (-(2**31) - 1, "more than 32 bits"),
        (10**5000, "more than 32 bits"),
        (datetime(2026, 5, 15), "without a timezone"),
        ("line\nend", "U+000A at position 4"),
        ("\ud800", "U+D800 at position 0"),
        ("\uffff", "U+FFFF at position 0"),
        (lazystr("\t"), "U+0009"),
        (SimpleLazyObject(lambda: "text"), "not a SimpleLazyObject"),
        (SimpleLazyObject(lambda: 5), "not a SimpleLazyObject"),
    ],
    ids=type_name,
)
def test_an_extension_value_without_a_cloudevents_type_is_refused_by_name(value, reason):
    error = refusal(attributes.extensions, {"fine": 1, "ext": value})

    assert error.field == "extensions.ext"
    assert reason in error.reason


def test_a_refused_value_under_a_long_name_gives_a_short_field():
    assert refusal(attributes.extensions, {"x" * 300: 1.5}).field == "extensions." + "x" * 40


def test_an_extension_that_is_none_is_left_out_and_false_values_are_not():
    assert attributes.extensions({"a": None, "b": 0, "c": False, "d": ""}) == {"b": 0, "c": False, "d": ""}


@pytest.mark.parametrize("value", [None, {}, MappingProxyType({}), UserDict()], ids=repr)
def test_no_extensions_are_an_empty_dict(value):
    assert attributes.extensions(value) == {}


@pytest.mark.parametrize("value", ["a", [("a", 1)], {"a"}, 0, False, ()], ids=repr)
def test_extensions_that_are_no_mapping_are_refused(value):
    error = refusal(attributes.extensions, value)

    assert error.field == "extensions"
    assert "must be a mapping of names to values" in error.reason


def test_the_callers_mapping_is_copied_and_left_alone():
    passed = {"a": "1", "b": None}

    attributes.extensions(passed)["ours"] = 1

    assert passed == {"a": "1", "b": None}


@given(
    st.dictionaries(
        st.text(max_size=6) | st.sampled_from(sorted(attributes.CORE_NAMES)) | st.integers(),
        st.none() | st.text() | st.integers() | st.floats() | st.binary() | st.booleans() | st.datetimes(),
        max_size=4,
    )
)
def test_whatever_is_passed_only_names_and_values_of_the_specification_come_out(passed):
    try:
        written = attributes.extensions(passed)
    except InvalidEvent:
        return

    for name, value in written.items():
        assert re.fullmatch("[a-z0-9]+", name)
        assert name not in attributes.CORE_NAMES
        assert type(value) in {str, bool} or -(2**31) <= value < 2**31  # type: ignore[operator]

"""One CloudEvent: what is in its body, that nothing changes it, and that others can read it."""

import copy
import dataclasses
import enum
import hashlib
import inspect
import json
import pickle
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.formats.json import JSONFormat
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from genesys_eventbridge.cloudevents import (
    MAX_BYTES,
    NO_DATA,
    CloudEvent,
    build_event,
    check_size,
    check_text,
    content_digest,
    digest,
)
from genesys_eventbridge.cloudevents.attributes import CORE_NAMES
from genesys_eventbridge.errors import InvalidEvent
from tests.shop.models import Order

SECRET = "4111-payload-canary"
TIME = "2026-05-15T10:30:00.000Z"


class Whatever(enum.Enum):
    TEXT = "text"
    NUMBER = 1


def build(data: Any = NO_DATA, **attributes: Any) -> CloudEvent:
    return build_event(
        **{"type": "order.created", "source": "com.example.ordering", "data": data} | attributes
    )


def body(data: Any = NO_DATA, **attributes: Any) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(build(data, **attributes).encode())
    return members


def refusal(data: Any = NO_DATA, **attributes: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        build(data, **attributes)
    return caught.value


# --------------------------------------------------------------------------------------------- the body


def test_the_body_of_a_full_event_is_exactly_this_text():
    event = build_event(
        "order.created",
        {"number": "A-1", "amount": Decimal("150.00"), "customer": "Zoë €"},
        source="https://shop.example/orders",
        id="e-1",
        subject="orders/1",
        time="2026-05-15T12:30:00+02:00",
        dataschema="https://shop.example/order.json",
        datacontenttype="application/json; charset=utf-8",
        extensions={"partitionkey": "1", "sampledrate": 3, "deprecated": True, "gone": None},
    )

    assert event.encode() == (
        '{"specversion":"1.0","id":"e-1","source":"https://shop.example/orders","type":"order.created",'
        '"subject":"orders/1","time":"2026-05-15T10:30:00.000Z",'
        '"datacontenttype":"application/json; charset=utf-8","dataschema":"https://shop.example/order.json",'
        '"partitionkey":"1","sampledrate":3,"deprecated":true,'
        '"data":{"number":"A-1","amount":"150.00","customer":"Zoë €"}}'
    )


def test_the_smallest_event_has_what_is_required_and_its_time():
    members = body()

    assert list(members) == ["specversion", "id", "source", "type", "time"]
    assert members["specversion"] == "1.0"


def test_an_event_shows_its_attributes_as_written():
    event = build(
        {"a": 1},
        id=UUID(int=1),
        type=Order.Status.PAID,
        subject=lazystr("orders/1"),
        time=datetime(2026, 5, 15, 12, 30, tzinfo=timezone(timedelta(hours=2))),
        dataschema="urn:x",
        extensions={"at": datetime(2026, 5, 15, 12, 30, tzinfo=UTC), "n": 1, "none": None},
    )

    assert event.id == "00000000-0000-0000-0000-000000000001"
    assert event.source == "com.example.ordering"
    assert event.type == "paid"
    assert event.subject == "orders/1"
    assert event.time == TIME
    assert event.occurred_at == datetime(2026, 5, 15, 10, 30, tzinfo=UTC)
    assert event.dataschema == "urn:x"
    assert event.datacontenttype == "application/json"
    assert event.extensions == {"at": "2026-05-15T12:30:00Z", "n": 1}
    assert event.data == {"a": 1}
    assert event.sha256 == hashlib.sha256(event.encode().encode("utf-8")).hexdigest()
    assert all(type(getattr(event, name)) is str for name in ("id", "source", "type", "subject", "time"))


def test_what_is_not_given_is_none_and_not_in_the_body():
    event = build(subject=None, dataschema=None, datacontenttype=None, extensions=None)

    assert (event.subject, event.dataschema, event.datacontenttype) == (None, None, None)
    assert event.extensions == {}
    assert event.data is NO_DATA
    assert "null" not in event.encode()


def test_without_an_id_each_event_gets_a_uuid4():
    ids = {build().id for _ in range(50)}

    assert len(ids) == 50
    assert all(UUID(text).version == 4 and str(UUID(text)) == text for text in ids)


def test_without_a_time_the_event_happened_now_and_is_written_in_utc():
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    event = build()

    assert before < event.occurred_at <= datetime.now(UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.time)


def test_a_leap_second_is_written_so_that_everyone_can_read_it():
    event = build(time="2016-12-31T23:59:60Z")

    assert event.time == "2016-12-31T23:59:59.999Z"
    assert event.occurred_at == datetime(2016, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_the_public_signature_is_the_promised_one():
    promised = (
        "(type, data=NO_DATA, *, source, id=None, subject=None, time=None, dataschema=None, "
        "datacontenttype=None, extensions=None, max_bytes=1048576)"
    )
    bare = inspect.signature(build_event)
    parameters = [item.replace(annotation=inspect.Parameter.empty) for item in bare.parameters.values()]

    assert str(bare.replace(parameters=parameters, return_annotation=inspect.Signature.empty)) == promised


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": 5}, "id"),
        ({"id": "a\n"}, "id"),
        ({"source": None}, "source"),
        ({"source": ""}, "source"),
        ({"source": "not a uri"}, "source"),
        ({"source": "/a%zz"}, "source"),
        ({"source": ["/orders"]}, "source"),
        ({"type": None}, "type"),
        ({"type": ""}, "type"),
        ({"type": "a\tb"}, "type"),
        ({"type": {"order": "created"}}, "type"),
        ({"subject": ""}, "subject"),
        ({"subject": 5}, "subject"),
        ({"subject": "\ud800"}, "subject"),
        ({"time": datetime(2026, 5, 15)}, "time"),
        ({"time": "2026-05-15"}, "time"),
        ({"time": 0}, "time"),
        ({"dataschema": ""}, "dataschema"),
        ({"dataschema": "order.json"}, "dataschema"),
        ({"datacontenttype": ""}, "datacontenttype"),
        ({"datacontenttype": "xyz"}, "datacontenttype"),
        ({"extensions": {"Bad": 1}}, "extensions"),
        ({"extensions": {"specversion": "0.3"}}, "extensions"),
        ({"extensions": {"data_base64": "AAAA"}}, "extensions"),
        ({"extensions": {"ratio": 1.0}}, "extensions.ratio"),
        ({"data": {"a": [float("nan")]}}, "data.a[0]"),
    ],
    ids=str,
)
def test_a_wrong_attribute_is_refused_under_its_own_name(attributes, field):
    assert refusal(**attributes).field == field


@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_what_has_a_column_in_the_outbox_has_255_characters_at_most(name):
    assert getattr(build(**{name: "x" * 255}), name) == "x" * 255
    error = refusal(**{name: "x" * 256})
    assert error.field == name
    assert "has 256 characters; the maximum is 255" in error.reason


# ------------------------------------------------------------------------------------------------- data


def test_no_data_and_null_are_two_different_events():
    assert "data" not in body()
    assert body(None)["data"] is None
    assert build(None).data is None
    assert build(None).datacontenttype == "application/json"
    assert build().datacontenttype is None


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (None, None),
        (False, False),
        (0, 0),
        ("", ""),
        ('{"a": 1}', '{"a": 1}'),
        ([], []),
        ({}, {}),
        (1.5, 1.5),
        (Decimal("1.50"), "1.50"),
        (date(2026, 5, 15), "2026-05-15"),
        ((1, "a"), [1, "a"]),
        (Whatever.NUMBER, 1),
        ({"nul": "\0", "euro": "€", "line": "\u2028"}, {"nul": "\0", "euro": "€", "line": "\u2028"}),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "media_type", [None, "application/json", "Text/JSON; charset=utf-8", "model/gltf+json"]
)
def test_json_data_of_any_kind_is_a_value_and_never_a_text_in_a_text(data, written, media_type):
    members = body(data, datacontenttype=media_type)

    assert members["data"] == written
    assert type(members["data"]) is type(written)
    assert members["datacontenttype"] == media_type or members["datacontenttype"] == "application/json"
    assert "data_base64" not in members


@pytest.mark.parametrize("data", [b"", b"\x00\xff raw", bytearray(b"raw"), memoryview(b"r-a-w")[::2]])
@pytest.mark.parametrize("media_type", [None, "image/png", "application/json", "text/plain"])
def test_bytes_are_sent_as_base64_under_the_media_type_given_or_none(data, media_type):
    event = build(data, datacontenttype=media_type)
    members = json.loads(event.encode())

    assert "data" not in members
    assert members.get("datacontenttype") == media_type
    assert event.datacontenttype == media_type
    assert event.data == bytes(data)
    assert re.fullmatch("[A-Za-z0-9+/]*={0,2}", members["data_base64"])


@pytest.mark.parametrize(
    ("data", "written"),
    [("", ""), ("a,b\r\n1,2\r\n", "a,b\r\n1,2\r\n"), (lazystr("later"), "later"), (Whatever.TEXT, "text")],
)
@pytest.mark.parametrize("media_type", ["text/plain", "text/csv; charset=utf-8", "application/xml"])
def test_text_under_a_media_type_that_is_not_json_is_sent_as_it_is(data, written, media_type):
    assert body(data, datacontenttype=media_type)["data"] == written


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"a": True}, "a dict"),
        (["a"], "a list"),
        (1, "an int"),
        (None, "a NoneType"),
        (False, "a bool"),
        (Decimal("1.10"), "a Decimal"),
        (date(2026, 5, 15), "a date"),
        (Whatever.NUMBER, "a Whatever"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("media_type", ["text/plain", "application/json-seq", "application/json+xml"])
def test_a_value_under_a_media_type_that_is_not_json_is_refused_and_never_its_repr(data, kind, media_type):
    error = refusal(data, datacontenttype=media_type)

    assert error.field == "data"
    assert f"is {kind}, but a datacontenttype that is not JSON takes only text or bytes" in error.reason


def test_text_under_any_media_type_has_no_half_characters():
    assert refusal("\ud800", datacontenttype="text/plain").field == "data"


@pytest.mark.parametrize("schema", ["https://shop.example/order.json", None])
def test_an_event_without_data_keeps_what_describes_it(schema):
    members = body(datacontenttype="text/plain", dataschema=schema)

    assert members["datacontenttype"] == "text/plain"
    assert members.get("dataschema") == schema


def test_no_data_is_one_object_that_is_false_and_survives_copies():
    assert repr(NO_DATA) == "NO_DATA"
    assert not NO_DATA
    assert copy.copy(NO_DATA) is NO_DATA
    assert copy.deepcopy({"a": NO_DATA})["a"] is NO_DATA
    assert pickle.loads(pickle.dumps(NO_DATA)) is NO_DATA


def test_no_data_inside_data_is_refused():
    assert refusal({"a": NO_DATA}).field == "data.a"


# ----------------------------------------------------------------------------------------- never changes


def test_what_the_caller_changes_later_changes_nothing():
    data: dict[str, Any] = {"items": [{"n": 1}], "raw": "x"}
    extensions = {"partitionkey": "1"}
    event = build(data, extensions=extensions)
    before = event.encode()

    data["items"][0]["n"] = 2
    data["more"] = float("nan")
    extensions["partitionkey"] = "2"

    assert event.encode() == before
    assert event.data == {"items": [{"n": 1}], "raw": "x"}
    assert event.extensions == {"partitionkey": "1"}


def test_bytes_that_change_later_change_nothing():
    data = bytearray(b"before")
    event = build(data)

    data[:] = b"after!"

    assert event.data == b"before"


def test_building_changes_nothing_of_the_callers():
    data = {"items": (1, Decimal("2.5"))}
    extensions = {"a": None, "b": UUID(int=1)}
    given_before = copy.deepcopy((data, extensions))

    build(data, extensions=extensions)

    assert (data, extensions) == given_before


def test_encode_gives_the_same_text_each_time():
    event = build({"a": 1})

    assert event.encode() is event.encode()


def test_an_event_cannot_be_changed():
    event = build({"a": [1]}, extensions={"n": 1})

    with pytest.raises(dataclasses.FrozenInstanceError):
        event.id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.extensions["n"] = 2  # type: ignore[index]
    event.data["a"].append(2)
    assert event.data == {"a": [1]}


def test_an_event_survives_copies_and_compares_by_what_it_says():
    event = build({"a": 1}, extensions={"n": 1}, id="e", time=TIME)

    assert copy.deepcopy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert build({"a": 1}, extensions={"n": 1}, id="e", time=TIME) == event
    assert build({"a": 2}, extensions={"n": 1}, id="e", time=TIME) != event


def test_the_repr_shows_what_may_be_logged():
    event = build({"card": SECRET}, id="e-1", subject="orders/1", extensions={"authclaims": SECRET})

    assert "e-1" in repr(event)
    assert "orders/1" in repr(event)
    assert SECRET not in repr(event)


# ------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("data", [{"a": "€" * 100}, "x" * 100, [1] * 100, {}, b"raw" * 50, NO_DATA])
def test_the_limit_counts_the_bytes_of_the_body_to_the_last(data):
    size = len(build(data, id="e", time=TIME).encode().encode("utf-8"))

    assert build(data, id="e", time=TIME, max_bytes=size)
    error = refusal(data, id="e", time=TIME, max_bytes=size - 1)
    assert error.field == "data"
    assert f"has {size:,} bytes, the limit is {size - 1:,}" in error.reason


def test_check_size_judges_a_finished_event():
    event = build({"a": "€" * 100}, id="e", time=TIME)
    size = len(event.encode().encode("utf-8"))

    check_size(event, size)
    with pytest.raises(InvalidEvent, match=f"has {size:,} bytes.* 'dataref', .* MAX_EVENT_BYTES") as caught:
        check_size(event, size - 1)
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    "data", ["x" * 10_000_000, b"x" * 10_000_000, [0] * 5_000_000], ids=["text", "bytes", "list"]
)
def test_ten_megabytes_are_refused_where_no_limit_was_set(data):
    assert f"more than {MAX_BYTES:,} bytes" in refusal(data).reason


def test_long_attributes_count_as_well():
    error = refusal(None, extensions={"tracestate": "x" * 2_000}, max_bytes=2_000)

    assert "the limit is 2,000" in error.reason


# ---------------------------------------------------------------------------------------------- digests


def test_a_digest_is_the_sha_256_of_the_utf_8_bytes():
    assert digest("€") == hashlib.sha256(b"\xe2\x82\xac").hexdigest()


CONTENT: dict[str, Any] = {
    "data": {"a": [1, {"b": None}], "c": "€"},
    "subject": "orders/1",
    "dataschema": "urn:x",
    "extensions": {"partitionkey": "1", "n": 1},
}


def content(destination: str = "default", with_time: bool = False, **changes: Any) -> str:
    return content_digest(build(**CONTENT | changes), destination, with_time=with_time)


def test_the_content_digest_is_fixed_for_ever():
    """Rows of an older release hold it: computed otherwise, every repeated key would be a conflict."""
    canonical = (
        '{"destination":"default","event":{"data":{"a":[1,{"b":null}],"c":"€"},'
        '"datacontenttype":"application/json","dataschema":"urn:x","n":1,"partitionkey":"1",'
        '"source":"com.example.ordering","subject":"orders/1","type":"order.created"}}'
    )

    assert content() == hashlib.sha256(canonical.encode("utf-8")).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"id": "another"},
        {"time": TIME},
        {"data": {"c": "€", "a": (1, {"b": None})}},
        {"extensions": {"n": 1, "partitionkey": "1", "unset": None}},
        {"datacontenttype": "application/json"},
    ],
    ids=str,
)
def test_the_same_content_said_otherwise_has_the_same_digest(changes):
    assert content(**changes) == content()


@pytest.mark.parametrize(
    "changes",
    [
        {"destination": "other"},
        {"type": "order.updated"},
        {"source": "com.example.other"},
        {"subject": "orders/2"},
        {"subject": None},
        {"dataschema": "urn:y"},
        {"dataschema": None},
        {"datacontenttype": "text/json"},
        {"extensions": {"partitionkey": "2", "n": 1}},
        {"extensions": {"partitionkey": "1", "n": "1"}},
        {"extensions": {"partitionkey": "1", "n": True}},
        {"extensions": {"partitionkey": "1"}},
        {"extensions": {"partitionkey": "1", "n": 1, "destination": "default"}},
        {"data": {"a": [1, {"b": None}], "c": "€ "}},
        {"data": {"a": [{"b": None}, 1], "c": "€"}},
        {"data": {"a": [1.0, {"b": None}], "c": "€"}},
        {"data": {"a": [True, {"b": None}], "c": "€"}},
        {"data": None},
        {"data": NO_DATA},
        {"data": b"raw"},
    ],
    ids=str,
)
def test_other_content_has_another_digest(changes):
    assert content(**changes) != content()


def test_the_time_is_content_only_where_the_caller_said_it():
    earlier, same, later = "2026-05-15T10:30:00Z", "2026-05-15T12:30:00+02:00", "2026-05-15T10:30:01Z"

    assert content(time=earlier) == content(time=later)
    assert content(time=earlier, with_time=True) != content(time=later, with_time=True)
    assert content(time=earlier, with_time=True) == content(time=same, with_time=True)
    assert content(time=earlier, with_time=True) != content(time=earlier)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NO_DATA, None),
        (b"raw", "cmF3"),
        ("1", 1),
        (1, 1.0),
        (0.0, -0.0),
        ("", None),
        ([], {}),
        ({"a": {}}, {"a": []}),
    ],
    ids=str,
)
def test_kinds_of_data_that_look_alike_are_different_content(one, other):
    assert content(data=one, datacontenttype="application/json") != content(
        data=other, datacontenttype="application/json"
    )


# ----------------------------------------------------------------------------- others can read what we write

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
STRING = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=20
)  # without Cn there are no noncharacters
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
EVENTS = st.fixed_dictionaries(
    {
        "type": STRING,
        "source": st.from_regex(r"(https?://[a-z.]{1,9}/[a-z0-9/]{0,9}|[a-z0-9.]{1,20})", fullmatch=True),
        "data": JSON | st.binary(max_size=20) | st.just(NO_DATA),
    },
    optional={
        "id": STRING | st.uuids(),
        "subject": STRING,
        "time": st.datetimes(
            timezones=st.timezones(), min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)
        ),
        "dataschema": st.from_regex(r"(https://|urn:)[a-z]{1,9}(#[a-z]{0,3})?", fullmatch=True),
        "datacontenttype": st.sampled_from(["application/json", "text/json", "application/vnd.x+json; a=b"]),
        "extensions": st.dictionaries(
            st.from_regex("[a-z0-9]{1,25}", fullmatch=True).filter(lambda name: name not in CORE_NAMES),
            STRING | st.booleans() | st.integers(-(2**31), 2**31 - 1),
            max_size=4,
        ),
    },
)


@given(EVENTS)
def test_the_official_sdk_reads_every_event_as_it_was_meant(passed):
    event = build_event(**passed)

    read = JSONFormat().read(None, event.encode())

    assert read.get_specversion() == "1.0"
    assert read.get_type() == passed["type"]
    assert read.get_source() == passed["source"]
    assert read.get_id() == event.id == str(passed.get("id", event.id))
    assert read.get_subject() == passed.get("subject")
    assert read.get_dataschema() == passed.get("dataschema")
    assert read.get_datacontenttype() == event.datacontenttype
    assert read.get_time() == event.occurred_at
    assert {name: read.get_extension(name) for name in event.extensions} == passed.get("extensions", {})
    assert read.get_data() == (None if passed["data"] is NO_DATA else passed["data"])


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    assert len(members) == len(pairs)
    return members


OURS = {"specversion", "id"}


@given(EVENTS)
def test_the_body_holds_the_data_as_it_was_and_each_member_once(passed):
    text = build_event(**passed).encode()

    members = json.loads(text, object_pairs_hook=each_once)

    assert text.encode("utf-8").decode("utf-8") == text
    if isinstance(passed["data"], bytes):
        assert "data" not in members
    elif passed["data"] is NO_DATA:
        assert not {"data", "data_base64"} & set(members)
    else:
        assert json.dumps(members.pop("data")) == json.dumps(passed["data"])
    assert None not in members.values()


@given(EVENTS)
def test_the_content_digest_is_that_of_the_body_read_back(passed):
    """Rows of an older release hold that one."""
    event = build_event(**passed)

    members = {name: value for name, value in json.loads(event.encode()).items() if name not in OURS}
    content = {"destination": "default", "event": members}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    assert content_digest(event, "default", with_time=True) == hashlib.sha256(text.encode()).hexdigest()


@given(
    st.fixed_dictionaries(
        {"type": st.text(), "source": st.text()},
        optional={
            "id": st.text(),
            "subject": st.text(),
            "time": st.text() | st.datetimes(),
            "dataschema": st.text(),
            "datacontenttype": st.text(),
            "extensions": st.dictionaries(
                st.text(max_size=3), st.text() | st.floats() | st.integers(), max_size=2
            ),
            "data": st.text()
            | st.floats()
            | st.dictionaries(st.integers() | st.text(), st.text(), max_size=2),
        },
    )
)
def test_whatever_is_passed_gives_an_event_the_sdk_reads_or_an_invalid_event(passed):
    try:
        text = build_event(**passed).encode()
    except InvalidEvent as error:
        refused = re.split(r"[.\[]", error.field)[0]
    else:
        refused = None
        JSONFormat().read(None, text)

    assert refused is None or refused in passed


def test_check_text_serves_other_rooms_with_the_rules_of_a_string():
    assert check_text("ordering_key", "customer-7", 255) == "customer-7"
    with pytest.raises(InvalidEvent, match=r"^ordering_key: contains U\+0000"):
        check_text("ordering_key", "a\0", 255)

"""The catalogue is a contract: events of real rows are what its entries say, and so are its examples."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.models import (
    CASCADE,
    CharField,
    DateTimeField,
    DecimalField,
    ForeignKey,
    JSONField,
    Model,
    Value,
)
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.model_events import publishes, receivers, registry, suppress_events
from genesys_eventbridge.model_events.catalogue import Entry, Member, entries
from genesys_eventbridge.model_events.contract import asyncapi, json_schema
from genesys_eventbridge.model_events.payload import parse_fields
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import schemas
from tests.kinds.models import BoxedItem, Cover, Item, Label, LentItem, Owner, Passport, Region, Remark
from tests.publishing import Publish, rolled_back

pytest_plugins = ["tests.registrations"]

PATTERNS = {
    "decimal": r"-?\d+(\.\d+)?",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
    "date": r"\d{4}-\d\d-\d\d",
    "time-local": r"\d\d:\d\d:\d\d(\.\d+)?",
    "ISO 8601 duration": r"-?P\d+DT\d\dH\d\dM\d\d(\.\d+)?S",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "email": r"|.+@.+",
    "uri": r"https?://.+",
    "file name": r".+",
}
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "any": object,
    "null": (),
    "refused": (),
}

# ---------------------------------------------------------------------------------- the two judges


def closed(schema: Any) -> Any:
    """The schema with no room for members that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: value if key == "enum" else closed(value) for key, value in schema.items()}
    return {**inner, "additionalProperties": False} if "required" in inner else inner


def differences(entry: Entry, data: Any) -> list[str]:
    """How ``data`` differs from the schema and from the members of its entry."""
    validator = Draft202012Validator(closed(entry.model_schema), format_checker=FormatChecker())
    found = [f"schema: {error.json_path}: {error.message}" for error in validator.iter_errors(data)]
    for member in entry.members:
        steps = re.findall(r"\[\]|[^.\[]+", member.name)
        found += [
            f"members: {member} but {value!r}"
            for value in values_at(data, steps)
            if not allows(member, value)
        ]
    return found


def values_at(data: Any, steps: list[str]) -> Iterator[Any]:
    """Every value of this path; null if an object on the way is null, but a list that is null has none."""
    if not steps or data is None:
        if "[]" not in steps:
            yield data
    elif steps[0] == "[]":
        for element in data:
            yield from values_at(element, steps[1:])
    else:
        yield from values_at(data[steps[0]], steps[1:])


def allows(member: Member, value: Any) -> bool:
    if value is None:
        return member.nullable
    if member.type == "integer" and isinstance(value, bool):
        return False
    if member.choices and value not in member.choices:
        return False
    if member.format and not re.fullmatch(PATTERNS[member.format], value):
        return False
    return isinstance(value, TYPES[member.type])


def entry_of(type_: str) -> Entry:
    (entry,) = (one for one in entries() if one.type == type_)
    return entry


def properties_of(entry: Entry) -> list[Any]:
    assert entry.model_schema is not None
    return list(entry.model_schema["properties"].values())


def saved_data(type_: str) -> Any:
    return OutboxEvent.objects.filter(type=type_).latest("id").data


def saved_event(type_: str) -> Any:
    return json.loads(OutboxEvent.objects.filter(type=type_).latest("id").body)


def whole_schema() -> Draft202012Validator:
    """Of any event, as ``--format jsonschema`` writes it."""
    return Draft202012Validator(json_schema.document(entries()), format_checker=FormatChecker())


def asyncapi_schema(type_: str) -> Draft202012Validator:
    """Of the payload of one type, with the references of the whole document."""
    document = asyncapi.document(entries(), "1")
    where = f"#/components/messages/default.{type_}/payload"
    return Draft202012Validator({**document, "$ref": where}, format_checker=FormatChecker())


# ------------------------------------------------------------------------------------ generated rows

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text("ab é", max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
moments = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "long": texts,
    "nothing": st.none() | st.sampled_from(["", "abc"]),
    "slug": st.sampled_from(["", "a-b"]),
    "code": st.sampled_from(["", "ABCD"]),
    "amount": st.decimals(-99_999, 99_999, places=2),
    "rating": st.decimals(0, 9, places=1),
    "share": st.sampled_from([0, Decimal("0.5"), "0.25"]),
    "ratio": st.floats(-1e6, 1e6),
    "count": st.integers(-(10**9), 10**9),
    "small": st.none() | st.integers(0, 32767),
    "big": st.integers(-(2**63), 2**63 - 1),
    "flag": st.booleans(),
    "maybe": st.none() | st.booleans(),
    "day": st.none() | st.dates(dt.date(1970, 1, 1), dt.date(2100, 1, 1)),
    "moment": moments,
    "at": st.times(),
    "span": st.timedeltas(dt.timedelta(days=-10_000), dt.timedelta(days=10_000)),
    "key": st.uuids(version=4),
    "address": st.none() | st.ip_addresses().map(str),
    "mail": st.sampled_from(["", "ana@example.com"]),
    "site": st.sampled_from(["https://example.com/", "http://müller.example/ü"]),
    "file": st.sampled_from(["", "files/a.pdf"]),
    "path": st.sampled_from(["", "files/a.pdf"]),
    "details": st.none() | st.dictionaries(st.sampled_from("ab"), json_values, max_size=2),
    "json": json_values,
    "size": st.sampled_from(["", "s", Item.Size.LARGE]),
    "shade": st.sampled_from([None, "black", "white"]),
    "stage": st.sampled_from(["", "a", "b"]),
    "level": st.sampled_from([None, 0, 1]),
    "step": st.sampled_from([Decimal("0.5"), Decimal("0.50"), 1]),
    "blob": st.none() | st.just(b"x"),
    "parts": st.lists(st.sampled_from("ab"), min_size=1, max_size=2),
}
columns = st.fixed_dictionaries(COLUMNS)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Which rows there are around the item, and the values of its columns."""
    return {"columns": draw(columns), **{name: draw(st.booleans()) for name in Around.ROWS}}


class Around:
    """The rows around an item; each of ROWS may be missing."""

    ROWS = (
        "owner",
        "owner_region",
        "mentor",
        "passport",
        "region",
        "loose",
        "hidden",
        "parent",
        "child",
        "labels",
        "owner_labels",
        "remarks",
        "boxed",
    )

    def __init__(self, world: Mapping[str, Any]) -> None:
        self.world = world
        self.german = Region.objects.get_or_create(code="DE", tax="0.19")[0]
        self.label = Label.objects.create(name="red")
        self.gone = Label.objects.create(name="gone")
        gone = self.gone.pk
        self.gone.delete()
        self.maker = self._owner("maker")
        self.values: dict[str, Any] = {
            "maker": self.maker,
            "owner": self._owner("owner") if world["owner"] else None,
            "region": self.german if world["region"] else None,
            "loose_id": self.label.pk if world["loose"] else gone,
            "cover": Cover.objects.create(color="blue", hidden=world["hidden"]),
            "parent": self._item() if world["parent"] else None,
        }

    def item(self, model: type[Item]) -> Any:
        return self._columns(model(**self.values))

    def fill(self, item: Item) -> None:
        """Rows that need the item first."""
        if self.world["child"]:
            child = self._item()
            child.parent_id = item.pk
            self.keep_null(child)
            child.save()
        if self.world["labels"]:
            item.labels.add(self.label)
        if self.world["remarks"]:
            item.remarks.create(words="fine")

    def keep_null(self, item: Item) -> None:
        """Django saves None in a JSON column as NULL, also when it has read JSON's null from it."""
        if item.json is None:
            item.json = Value(None, JSONField())

    def _owner(self, name: str) -> Owner:
        owner = Owner.objects.create(
            name=name,
            region=self.german if self.world["owner_region"] else None,
            mentor=Owner.objects.create(name="mentor") if self.world["mentor"] else None,
        )
        if self.world["passport"]:
            Passport.objects.create(owner=owner, number="P1")
        if self.world["owner_labels"]:
            owner.labels.add(self.label)
        return owner

    def _item(self) -> Item:
        made = (BoxedItem if self.world["boxed"] else Item)(
            maker=self.maker, loose=self.label, cover=Cover.objects.create(color="green")
        )
        self._columns(made).save()
        return made

    def _columns(self, item: Any) -> Any:
        for name, value in self.world["columns"].items():
            setattr(item, name, value)
        self.keep_null(item)
        return item


# ------------------------------------------------------------------------- generated lists of names

#: Names that are no fields: what ``read`` takes besides.
OTHER_NAMES = {
    Item: ["pk", "owner_id", "shout", "keeper.name", "counted", "details.a", "file.name", "day.year"]
}
HIDDEN = ("content_type", "loose_items")


def steps_of(model: Any) -> Iterator[tuple[str, type[Model] | None]]:
    """Each name of the model, and the model it leads to."""
    for one in model._meta.get_fields():
        name = one.name if one.concrete or not hasattr(one, "get_accessor_name") else one.get_accessor_name()
        if name is not None and name not in HIDDEN:
            yield name, one.related_model if isinstance(one.related_model, type) else None


@st.composite
def named_paths(draw: st.DrawFn, model: Any, depth: int = 4) -> str:
    others = OTHER_NAMES.get(Item if issubclass(model, Item) else model, ["pk"])
    name, related = draw(st.sampled_from([*steps_of(model), *((other, None) for other in others)]))
    if related is not None and depth > 1 and draw(st.integers(0, 3)):
        return f"{name}.{draw(named_paths(related, depth - 1))}"
    return name


@st.composite
def lists_of_fields(draw: st.DrawFn, model: type[Model]) -> list[str] | dict[str, str]:
    wanted = draw(st.lists(named_paths(model), min_size=1, max_size=12, unique=True))
    if draw(st.booleans()):
        return {f"m{position}": path for position, path in enumerate(wanted)}
    kept: list[str] = []
    for path in wanted:
        try:
            parse_fields([*kept, path])
        except ImproperlyConfigured:
            continue
        kept.append(path)
    return kept


@contextmanager
def registered(model: type[Model], fields: Any) -> Iterator[None]:
    before = registry.registrations()
    publishes(created="it.created", updated="it.updated", deleted="it.deleted", fields=fields)(model)
    try:
        yield
    finally:
        for one in registry.registrations():
            if one not in before:
                receivers.detach(one)


@pytest.mark.django_db
@profile(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), model=st.sampled_from([Item, BoxedItem, LentItem]), world=worlds())
def test_every_event_of_a_row_is_what_the_catalogue_says(data, model, world) -> None:
    """Created, updated and deleted, over generated rows, lists and mappings of names."""
    fields = data.draw(lists_of_fields(model), label="fields")
    with registered(model, fields), rolled_back():
        known = {entry.type: entry for entry in entries()}
        example = known["it.created"].example
        refuses = any(one.type in ("refused", "null") for one in known["it.created"].members)
        if example is not None:
            assert differences(known["it.created"], example) == []
        assert example is not None or refuses

        with suppress_events():
            around = Around(world)
        item = around.item(model)
        try:
            item.save()
            assert differences(known["it.created"], saved_data("it.created")) == []
            for judge in (whole_schema(), asyncapi_schema("it.created")):
                assert [error.message for error in judge.iter_errors(saved_event("it.created"))] == []
            with suppress_events():
                around.fill(item)
            item = model.objects.get(pk=item.pk)
            around.keep_null(item)
            item.save()
            assert differences(known["it.updated"], saved_data("it.updated")) == []
            item.delete()
            assert differences(known["it.deleted"], saved_data("it.deleted")) == []
        except InvalidEvent:
            assert refuses


# ------------------------------------------------------------------------------- the named cases

NAMED: list[tuple[Any, Any, list[tuple[str, str, bool]], Any]] = [
    # model, fields, (member, type, nullable) of each, example
    (
        Item,
        ["labels.name"],
        [("labels", "array", False), ("labels[].name", "string", False)],
        {"labels": [{"name": "text"}]},
    ),
    (Item, {"it": "labels.name"}, [("it", "array", False), ("it[]", "string", False)], {"it": ["text"]}),
    (Item, ["labels"], [("labels", "array", False), ("labels[]", "integer", False)], {"labels": [1]}),
    (Owner, {"it": "made"}, [("it", "array", False), ("it[]", "integer", False)], {"it": [1]}),
    (Item, {"it": "remarks.words"}, [("it", "array", False), ("it[]", "string", False)], {"it": ["text"]}),
    (
        Item,
        {"it": "children.labels.owners"},
        [
            ("it", "array", False),
            ("it[]", "array", False),
            ("it[][]", "array", False),
            ("it[][][]", "string", False),
        ],
        {"it": [[["6f1c3a52-9d0b-4e6e-8c55-2f0f0d6a7b11"]]]},
    ),
    (
        Item,
        {"it": "children.owner.labels.name"},
        [("it", "array", False), ("it[]", "array", True), ("it[][]", "string", False)],
        {"it": [["text"]]},
    ),
    (
        Item,
        ["children.owner.name", "children.parent.labels.name"],
        [
            ("children", "array", False),
            ("children[].owner", "object", True),
            ("children[].owner.name", "string", True),
            ("children[].parent", "object", True),
            ("children[].parent.labels", "array", True),
            ("children[].parent.labels[].name", "string", False),
        ],
        {"children": [{"owner": {"name": "text"}, "parent": {"labels": [{"name": "text"}]}}]},
    ),
    (Item, ["maker.name"], [("maker.name", "string", False)], {"maker": {"name": "text"}}),
    (
        Item,
        ["maker.region.code"],
        [("maker.region", "object", True), ("maker.region.code", "string", True)],
        {"maker": {"region": {"code": "te"}}},
    ),
    (
        Owner,
        ["passport.number"],
        [("passport", "object", True), ("passport.number", "string", True)],
        {"passport": {"number": "text"}},
    ),
    (Owner, {"it": "passport.number"}, [("it", "string", True)], {"it": "text"}),
    (Owner, ["passport"], [("passport", "null", True)], {"passport": None}),
    (Passport, {"it": "pk"}, [("it", "string", False)], {"it": "6f1c3a52-9d0b-4e6e-8c55-2f0f0d6a7b11"}),
    (
        Item,
        ["loose.name"],
        [("loose", "object", True), ("loose.name", "string", True)],
        {"loose": {"name": "text"}},
    ),
    (Item, {"it": "cover.color"}, [("it", "string", True)], {"it": "text"}),
    (
        Item,
        ["cover", "loose"],
        [("cover", "integer", False), ("loose", "integer", False)],
        {"cover": 1, "loose": 1},
    ),
    (
        BoxedItem,
        ["weight", "text"],
        [("weight", "number", False), ("text", "string", False)],
        {"weight": 1.5, "text": "text"},
    ),
    (BoxedItem, {"it": "pk"}, [("it", "integer", False)], {"it": 1}),
    (LentItem, {"it": "owner.email"}, [("it", "string", True)], {"it": "name@example.com"}),
    (Item, ["shout"], [("shout", "any", True)], {"shout": None}),
    (
        Item,
        ["keeper.name"],
        [("keeper", "any", True), ("keeper.name", "any", True)],
        {"keeper": {"name": None}},
    ),
    (
        Item,
        ["details.a"],
        [("details", "object", True), ("details.a", "any", True)],
        {"details": {"a": None}},
    ),
    (Item, {"it": "details.a"}, [("it", "any", True)], {"it": None}),
    (Item, ["json"], [("json", "any", True)], {"json": {}}),
    (Remark, ["about"], [("about", "null", True)], {"about": None}),
    (
        Remark,
        ["about.name"],
        [("about", "any", True), ("about.name", "any", True)],
        {"about": {"name": None}},
    ),
    (Item, ["blob"], [("blob", "null", True)], {"blob": None}),
    (Item, ["bytes"], [("bytes", "refused", False)], None),
    (
        Item,
        ["parent.bytes"],
        [("parent", "object", True), ("parent.bytes", "refused", True)],
        {"parent": None},
    ),
    (Item, {"it": "children.bytes"}, [("it", "array", False), ("it[]", "refused", False)], {"it": []}),
    (Item, ["parts"], [("parts", "any", True)], {"parts": None}),
    (Item, ["code"], [("code", "string", False)], {"code": "text"}),
    (Item, ["double"], [("double", "integer", True)], {"double": 1}),
    (Item, ["file"], [("file", "string", True)], {"file": "folder/file.pdf"}),
]


@pytest.mark.parametrize(("model", "fields", "expected", "example"), NAMED)
def test_a_name_has_this_type_and_this_example(publish: Publish, model, fields, expected, example) -> None:
    publish(model, created="it.created", fields=fields)

    entry = entry_of("it.created")

    assert [(one.name, one.type, one.nullable) for one in entry.members] == expected
    assert entry.example == example
    if example is not None:
        assert differences(entry, example) == []


@pytest.mark.parametrize(
    ("name", "choices", "example"),
    [
        ("size", ("s", "l", ""), "s"),  # may be left empty
        ("shade", ("black", "white"), "black"),  # groups; a label for null is no choice
        ("stage", ("a", "b", ""), "a"),  # empty by default
        ("level", (0, 1), 0),
        ("step", ("0.50", "1.00"), "0.50"),  # as events carry them
    ],
)
def test_choices_are_the_values_that_events_carry(publish: Publish, name, choices, example) -> None:
    publish(Item, created="it.created", fields=[name])

    entry = entry_of("it.created")

    (member,) = entry.members
    (property_,) = properties_of(entry)
    assert member.choices == choices
    assert property_["enum"] == [*choices, *([None] if member.nullable else [])]
    assert entry.example == {name: example}


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("text", {"maxLength": 20}),
        ("long", {}),  # max_length of a TextField binds forms only
        ("code", {"maxLength": 4}),
        ("file", {"maxLength": 100}),
        ("moment", {"format": "date-time"}),
        ("day", {"format": "date"}),
        ("key", {"format": "uuid"}),
        ("site", {"format": "iri", "maxLength": 200}),
        ("mail", {"anyOf": [{"format": "idn-email"}, {"const": ""}], "maxLength": 254}),
        ("region", {"maxLength": 2}),
        ("maker", {"format": "uuid"}),
    ],
)
def test_the_schema_promises_only_what_saving_keeps(publish: Publish, name, keywords) -> None:
    publish(Item, created="it.created", fields=[name])

    (property_,) = properties_of(entry_of("it.created"))

    assert {key: value for key, value in property_.items() if key not in ("type", "description")} == keywords


def test_the_schema_of_an_entry_can_be_used_in_the_setting_schemas(publish: Publish) -> None:
    publish(Item, created="it.created", fields=["text", "owner.name", "labels.name"])
    entry = entry_of("it.created")

    schemas.check(entry.model_schema, "it.created")

    assert schemas.fits(entry.model_schema, "it.created", entry.example)
    assert not schemas.fits(entry.model_schema, "it.created", {**entry.example, "labels": {"name": "red"}})


@pytest.mark.parametrize(
    ("examples", "shown"),
    [
        ([{"text": "A-1", "level": 1}], {"text": "A-1", "level": 1}),
        ([{"text": "A-1"}, {"text": "A-2", "level": None}], {"text": "A-2", "level": None}),
        ([{"text": 7, "level": 1}], {"text": "text", "level": 0}),
        ([], {"text": "text", "level": 0}),
    ],
)
def test_an_example_of_the_users_schema_is_shown_if_real_events_look_like_it(
    publish: Publish, settings, examples, shown
) -> None:
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"it.created": {"examples": examples}}}
    settings.GENESYS_EVENTBRIDGE = {"default": default}
    publish(Item, created="it.created", fields=["text", "level"])

    assert entry_of("it.created").example == shown


def test_no_example_is_shown_that_the_users_schema_refuses(publish: Publish, settings) -> None:
    schema = {"properties": {"text": {"pattern": "^ORD-"}}}
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"it.created": schema}}
    settings.GENESYS_EVENTBRIDGE = {"default": default}
    publish(Item, created="it.created", fields=["text"])

    assert entry_of("it.created").example is None


@isolate_apps("tests.kinds")
def test_an_abstract_model_has_an_entry_for_each_model_that_publishes_by_it(publish: Publish) -> None:
    class Base(Model):
        owner = ForeignKey(Owner, null=True, on_delete=CASCADE, related_name="+")

        class Meta:
            abstract = True
            app_label = "kinds"

    class First(Base):  # noqa: DJ008
        class Meta:
            app_label = "kinds"

    class FirstChild(First):  # noqa: DJ008
        class Meta:
            app_label = "kinds"

    class Second(Base):  # noqa: DJ008
        class Meta:
            app_label = "kinds"

    publish(Base, created="it.created", deleted="it.deleted", fields=["owner.name"])
    publish(Second, created="it.created", fields=["owner"])

    found = [(one.type, one.model, [member.name for member in one.members]) for one in entries()]

    assert found == [
        ("it.created", "kinds.First", ["owner", "owner.name"]),
        ("it.created", "kinds.Second", ["owner"]),
        ("it.deleted", "kinds.First", ["owner", "owner.name"]),
        ("it.deleted", "kinds.Second", ["owner", "owner.name"]),
    ]


# ------------------------------------------------------------------------------ PostgreSQL's own fields


@pytest.mark.django_db
@isolate_apps("tests.kinds")
def test_arrays_and_ranges_of_postgresql(publish: Publish) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("the fields need psycopg and PostgreSQL")
    from django.contrib.postgres.fields import ArrayField, IntegerRangeField

    class Row(Model):  # noqa: DJ008
        words = ArrayField(CharField(max_length=5))
        prices = ArrayField(ArrayField(DecimalField(max_digits=5, decimal_places=2)), null=True)
        times = ArrayField(DateTimeField(), default=list)
        span = IntegerRangeField(null=True)

        class Meta:
            app_label = "kinds"

    with connection.schema_editor() as editor:
        editor.create_model(Row)
    publish(Row, created="it.created", fields=["words", "prices", "times", "span"])
    entry = entry_of("it.created")

    assert [(one.name, one.type, one.format, one.nullable) for one in entry.members] == [
        ("words", "array", "", False),
        ("words[]", "string", "", True),
        ("prices", "array", "", True),
        ("prices[]", "array", "", True),
        ("prices[][]", "string", "decimal", True),
        ("times", "array", "", False),
        ("times[]", "string", "date-time", True),
        ("span", "null", "", True),
    ]
    assert differences(entry, entry.example) == []
    moment = dt.datetime(2025, 1, 31, tzinfo=dt.UTC)
    cases: tuple[dict[str, Any], ...] = (
        {"words": [], "prices": None},
        {"words": ["a", None], "prices": [[Decimal("1.50")], [Decimal("2.00")]], "times": [moment]},
    )
    for values in cases:
        Row._default_manager.create(**values)
        assert differences(entry, saved_data("it.created")) == []
    with pytest.raises(InvalidEvent), transaction.atomic():
        Row._default_manager.create(words=[], span=(1, 2))

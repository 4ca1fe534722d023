"""An event says what its row says: every way of saving, every state of the instance, every kind of column.

The law: data, subject, ordering key, extensions, ``when`` and the change of the last event are those of the
row, read fresh in the same transaction; for a delete those of the row as it was before it.
"""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Now, Upper
from django.forms import modelform_factory, modelformset_factory
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils.translation import gettext_lazy

from genesys_eventbridge.model_events import enqueue_for, suppress_events
from tests.outbox_rows import in_threads
from tests.publishing import Publish, events, rolled_back, types
from tests.shop.models import Bargain, Bundle, Customer, Product, Tag
from tests.truth.law import Truth, facts, last
from tests.truth.models import Label, Owner, Part, Region, Shy, Specimen

pytest_plugins = ["tests.registrations"]
pytestmark = [
    pytest.mark.django_db,
    # Legal, and Django warns: the row has the time in the default time zone.
    pytest.mark.filterwarnings("ignore:DateTimeField .* received a naive datetime:RuntimeWarning"),
]

MOMENT = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=5)))
#: What another request commits, or what is assigned and not saved: no column keeps its value.
OTHER: dict[str, Any] = {
    "name": "other",
    "note": "other",
    "status": "done",
    "count": 40,
    "price": Decimal("40.40"),
    "ratio": 4.5,
    "active": False,
    "day": dt.date(2024, 4, 4),
    "moment": MOMENT,
    "hour": dt.time(4, 4),
    "span": dt.timedelta(days=4),
    "code": "44444444-4444-4444-4444-444444444444",
    "details": {"other": True},
    "manual": "manuals/other.pdf",
    "address": "10.4.4.4",
    "level": 44,
    "shout": "other",
    "revision": 400,
    "body": "other",
    "body_html": "<b>other</b>",
    "slug": "Other ",
    "first": "Grace",
    "last": "Hopper",
}


@pytest.fixture
def truth(publish: Publish) -> Truth:
    truth = Truth()
    truth.register(publish)
    return truth


@pytest.fixture
def row(db: None) -> int:
    """The key of a row with an owner, a tag and a part; no event tells of how it came about."""
    region = Region.objects.create(name="north")
    ada, _ = Owner.objects.bulk_create(
        [Owner(email="ada@example.com", region=region), Owner(email="bob@example.com")]
    )
    red, _ = Label.objects.bulk_create([Label(name="red"), Label(name="blue")])
    with suppress_events():
        specimen = Specimen.objects.create(owner=ada)
    Specimen.tags.through._base_manager.create(specimen=specimen, label=red)
    Part.objects.create(specimen=specimen, text="leg")
    return int(specimen.pk)


def bob() -> Owner:
    return Owner.objects.get(email="bob@example.com")


def red() -> Label:
    return Label.objects.get(name="red")


def blue() -> Label:
    return Label.objects.get(name="blue")


def elsewhere(pk: int, **values: Any) -> None:
    """Another process commits other values: no signal, and no instance of this process hears of it."""
    Specimen._base_manager.filter(pk=pk).update(**(values or {**OTHER, "owner": bob()}))


def assign(specimen: Specimen, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(specimen, name, value)


# ------------------------------------------------------------------------------ the states of an instance


def fresh(pk: int) -> Any:
    return Specimen.objects.get(pk=pk)


def stale(pk: int) -> Any:
    specimen = fresh(pk)
    elsewhere(pk)
    return specimen


def stale_relations(pk: int) -> Any:
    """Whatever it cached of other rows is no longer so: the owner, its region, tags, parts, a property."""
    specimen = Specimen.objects.select_related("owner__region").prefetch_related("tags", "parts").get(pk=pk)
    assert specimen.summary
    Owner.objects.filter(specimens=pk).update(email="ada@example.org")
    Region.objects.update(name="south")
    Specimen.tags.through._base_manager.filter(specimen=pk).update(label=blue())
    Part._base_manager.filter(specimen=pk).update(text="wing")
    return specimen


def only_its_key(pk: int) -> Any:
    return Specimen.objects.only("pk").get(pk=pk)


def deferred_and_stale(pk: int) -> Any:
    specimen = Specimen.objects.defer("name", "status", "count", "owner", "level").get(pk=pk)
    elsewhere(pk)
    return specimen


def assigned(pk: int) -> Any:
    """Everything assigned, nothing saved."""
    specimen = fresh(pk)
    assign(specimen, {**OTHER, "owner": bob()})
    return specimen


def assigned_in_place(pk: int) -> Any:
    specimen = fresh(pk)
    specimen.details["unsaved"] = True
    if specimen.owner:
        specimen.owner.email = "unsaved@example.com"
    return specimen


def after_a_rollback(pk: int) -> Any:
    specimen = fresh(pk)
    with rolled_back():
        assign(specimen, {**OTHER, "owner": bob()})
        specimen.save()
    return specimen


def after_a_rolled_back_create(pk: int) -> Any:
    """It remembers a row that never was, and takes the key of another one."""
    with rolled_back():
        specimen = Specimen.objects.create(**OTHER)
    specimen.pk = pk
    return specimen


def unpickled_and_stale(pk: int) -> Any:
    pickled = pickle.dumps(fresh(pk))
    elsewhere(pk)
    return pickle.loads(pickled)


def copied(pk: int) -> Any:
    """The original is changed and saved after the copy was made."""
    original = fresh(pk)
    found = copy.copy(original)
    original.status, original.count = "done", 5
    original.save()
    return found


def deep_copied(pk: int) -> Any:
    original = fresh(pk)
    assert original.owner
    found = copy.deepcopy(original)
    original.status, original.count = "done", 5
    original.save()
    return found


def made_by_hand(pk: int) -> Any:
    return Specimen(pk=pk)


def made_by_hand_with_values(pk: int) -> Any:
    return Specimen(pk=pk, **OTHER, owner=bob())


def moved_to_another_row(pk: int) -> Any:
    with suppress_events():
        specimen = Specimen.objects.create(name="the first")
    specimen.pk = pk
    return specimen


def saved_with_expressions(pk: int) -> Any:
    """It still holds ``F("count") + 1``, or what the first save made of it."""
    specimen = fresh(pk)
    specimen.count = F("count") + 1
    specimen.name = Upper("name")
    specimen.save()
    return specimen


def refreshed_in_part(pk: int) -> Any:
    specimen = assigned(pk)
    specimen.refresh_from_db(fields=["name", "owner"])
    return specimen


STATES: list[Callable[[int], Any]] = [
    *(fresh, stale, stale_relations, only_its_key, deferred_and_stale, assigned, assigned_in_place),
    *(after_a_rollback, after_a_rolled_back_create, unpickled_and_stale, copied, deep_copied),
    *(made_by_hand, made_by_hand_with_values, moved_to_another_row, saved_with_expressions),
    refreshed_in_part,
]


# ------------------------------------------------------------------------------------- the kinds of column


@dataclass(frozen=True)
class Column:
    """An assignment of one kind: what is set, and the columns that ``update_fields`` names for it."""

    name: str
    values: Mapping[str, Any]
    fields: Sequence[str] = ()
    needs_row: bool = field(default=False)
    """Only an existing row has what the value refers to: F("count") in a create has no meaning."""

    def given(self) -> dict[str, Any]:
        return {name: value() if callable(value) else value for name, value in self.values.items()}

    def names(self) -> list[str]:
        return list(self.fields or self.values)


def unsaved_bob() -> Owner:
    owner = bob()
    owner.email = "unsaved@example.com"
    return owner


COLUMNS = [
    Column("nothing", {"note": ""}),
    Column("text", {"name": "changed"}),
    Column("a number in text", {"name": 12}),
    Column("translated text in text", {"name": gettext_lazy("Yes")}),
    Column("a choice", {"status": Specimen.Status.DONE}),
    Column("text in an integer", {"count": "5"}),
    Column("a float in an integer", {"count": 5.9}),
    Column("a truth value in an integer", {"level": True}),
    Column("text in a decimal", {"price": "3.1"}),
    Column("a float in a decimal", {"price": 0.1 + 0.2}),
    Column("an integer in a decimal", {"price": 3}),
    Column("a decimal that is rounded down", {"price": Decimal("1.005")}),
    Column("a decimal that is rounded up", {"price": Decimal("1.015")}),
    Column("a decimal in scientific form", {"price": Decimal("1E+2")}),
    Column("an integer in a float", {"ratio": 3}),
    Column("text in a float", {"ratio": "1.50"}),
    Column("a number in a truth value", {"active": 0}),
    Column("text in a truth value", {"active": "False"}),
    Column("text in a date", {"day": "2024-05-06"}),
    Column("a datetime in a date", {"day": dt.datetime(2024, 5, 6, 7, 8)}),
    Column("a naive datetime", {"moment": dt.datetime(2024, 5, 6, 7, 8, 9, 123456)}),
    Column("a date in a datetime", {"moment": dt.date(2024, 5, 6)}),
    Column("text in a datetime", {"moment": "2024-05-06T07:08:09+02:00"}),
    Column("another time zone", {"moment": MOMENT}),
    Column("text in a time", {"hour": "07:08"}),
    Column("a duration", {"span": dt.timedelta(days=1, seconds=5, microseconds=7)}),
    Column("text in a uuid", {"code": "{12345678123456781234567812345678}"}),
    Column("tuples in json", {"details": {"pair": (1, 2), "deep": [(3,)]}}),
    Column("numbers as keys in json", {"details": {1: "one"}}),
    Column("a choice in json", {"details": {"status": Specimen.Status.DONE}}),
    Column("a list in json", {"details": [1, "two", None]}),
    Column("a file by its name", {"manual": "manuals/a.pdf"}),
    Column("an address that is rewritten", {"address": "2001:DB8:0::1"}),
    Column("F", {"count": F("count") + 1}, needs_row=True),
    Column("another expression", {"name": Concat(Upper("name"), Value("!"))}, needs_row=True),
    Column("a value expression", {"name": Upper(Value("loud"))}),
    Column("now", {"moment": Now()}),
    Column("a generated column", {"count": 8}),
    Column("a default of the database", {"level": 9}),
    Column("pre_save returns something else", {"shout": "loud"}),
    Column("pre_save sets another column", {"body": "text"}),
    Column("pre_save sets another column that is saved", {"body": "more"}, ["body", "body_html"]),
    Column("pre_save counts", {"revision": 5}),
    Column("get_prep_value changes", {"slug": "  Mixed Case "}),
    Column("a descriptor of two columns", {"full_name": "Mary Shelley"}, ["first", "last"]),
    Column("a descriptor of two columns, one saved", {"full_name": "Mary Wells"}, ["last"]),
    Column("a foreign key", {"owner": bob}),
    Column("a foreign key by its key", {"owner_id": lambda: bob().pk}, ["owner"]),
    Column("a foreign key by its key as text", {"owner_id": lambda: str(bob().pk)}, ["owner"]),
    Column("a foreign key to an unsaved state", {"owner": unsaved_bob}),
    Column("no foreign key", {"owner": None}),
]

#: For the states, several kinds at once: each is one of the ways in which a row differs from an instance.
GROUPS = [
    Column("nothing", {"note": ""}),
    Column(
        "python types",
        {
            "status": Specimen.Status.DONE,
            "name": 12,
            "count": "5",
            "price": 0.1 + 0.2,
            "moment": dt.datetime(2024, 5, 6, 7, 8, 9),
            "day": "2024-05-06",
            "details": {"pair": (1, 2)},
            "code": "12345678123456781234567812345678",
        },
    ),
    Column(
        "expressions",
        {"count": F("count") + 1, "name": Concat("status", Value("!")), "moment": Now()},
        needs_row=True,
    ),
    Column(
        "computed",
        {"count": 8, "shout": "loud", "body": "text", "slug": " A B ", "full_name": "Mary Shelley"},
        ["count", "shout", "body", "slug", "last"],
    ),
    Column("relation", {"owner": unsaved_bob}),
]


# ----------------------------------------------------------------------------------------- the ways to save


def save(specimen: Specimen, column: Column) -> None:
    assign(specimen, column.given())
    specimen.save()


def save_update_fields(specimen: Specimen, column: Column) -> None:
    assign(specimen, column.given())
    specimen.save(update_fields=column.names())


def save_other_fields(specimen: Specimen, column: Column) -> None:
    """The assigned columns are not among those saved."""
    assign(specimen, column.given())
    specimen.save(update_fields=["note"])


def save_force_update(specimen: Specimen, column: Column) -> None:
    assign(specimen, column.given())
    specimen.save(force_update=True)


def asave(specimen: Specimen, column: Column) -> None:
    assign(specimen, column.given())
    async_to_sync(specimen.asave)()


def bulk_update(specimen: Specimen, column: Column) -> None:
    assign(specimen, column.given())
    Specimen.objects.bulk_update([specimen], column.names())


def update_and_enqueue_for_a_queryset(specimen: Specimen, column: Column) -> None:
    assign(specimen, column.given())
    with transaction.atomic():
        enqueue_for(Specimen.objects.filter(pk=specimen.pk), "updated")


def update_and_enqueue_for_a_list(specimen: Specimen, column: Column) -> None:
    """Objects in a list only name their rows."""
    assign(specimen, column.given())
    with transaction.atomic():
        enqueue_for([specimen], "updated")


WAYS: list[Callable[[Specimen, Column], None]] = [
    *(save, save_update_fields, save_other_fields, save_force_update, asave, bulk_update),
    *(update_and_enqueue_for_a_queryset, update_and_enqueue_for_a_list),
]
ENQUEUED = (update_and_enqueue_for_a_queryset, update_and_enqueue_for_a_list)
SAME_CODE = (save_force_update, asave, update_and_enqueue_for_a_queryset)
EVERY_COLUMN = [save, save_update_fields, save_other_fields, bulk_update]


def named(cases: Sequence[Any]) -> list[Any]:
    return [pytest.param(case, id=getattr(case, "name", None) or case.__name__) for case in cases]


def product(ways: Sequence[Any], thorough: Sequence[Any], columns: Sequence[Column]) -> list[Any]:
    """Every column for the thorough ways, which have code of their own; groups for the others."""
    return [
        pytest.param(way, column, id=f"{way.__name__}-{column.name}")
        for way in ways
        for column in (columns if way in thorough else GROUPS)
        if "full_name" not in column.values
        and not (column.needs_row and not any(column.needs_row for column in columns))
    ]


def updated(truth: Truth, row: int, way: Any, specimen: Specimen, column: Column) -> None:
    truth.forget()
    before = facts(row)
    way(specimen, column)
    truth.check("updated", row, before, compares=way not in ENQUEUED)


def cells() -> list[Any]:
    """Ways that lead to the code of another one are tried with one group, in which most kinds are."""
    (computed,) = (column for column in GROUPS if column.name == "computed")
    return [
        pytest.param(way, state, column, id=f"{way.__name__}-{state.__name__}-{column.name}")
        for way in WAYS
        for state in STATES
        for column in ([computed] if way in SAME_CODE else GROUPS)
    ]


@pytest.mark.parametrize(("way", "state", "column"), cells())
def test_an_update_says_what_the_row_says(truth: Truth, row: int, way: Any, state: Any, column: Column):
    updated(truth, row, way, state(row), column)


@pytest.mark.parametrize("column", named(COLUMNS))
@pytest.mark.parametrize("way", named(EVERY_COLUMN))
def test_an_update_of_every_kind_of_column(truth: Truth, row: int, way: Any, column: Column):
    if way is bulk_update and "full_name" in column.values:
        column = Column(column.name, column.values, ["first", "last"])
    updated(truth, row, way, fresh(row), column)


# ------------------------------------------------------------------------- ways that are given values only


def update_or_create(pk: int, values: dict[str, Any]) -> None:
    Specimen.objects.update_or_create(pk=pk, defaults=values)


def aupdate_or_create(pk: int, values: dict[str, Any]) -> None:
    async_to_sync(Specimen.objects.all().aupdate_or_create)(pk=pk, defaults=values)


def queryset_update(pk: int, values: dict[str, Any]) -> None:
    Specimen.objects.filter(pk=pk).update(**values)


def queryset_aupdate(pk: int, values: dict[str, Any]) -> None:
    async_to_sync(Specimen.objects.filter(pk=pk).aupdate)(**values)


def related_update(pk: int, values: dict[str, Any]) -> None:
    owner = Specimen.objects.get(pk=pk).owner
    assert owner is not None
    owner.specimens.update(**values)


def silent_update_and_enqueue_for(pk: int, values: dict[str, Any]) -> None:
    Specimen._base_manager.filter(pk=pk).update(**values)
    with transaction.atomic():
        enqueue_for(Specimen.objects.filter(pk=pk), "updated")


VALUE_WAYS = [
    *(update_or_create, aupdate_or_create, queryset_update, queryset_aupdate, related_update),
    silent_update_and_enqueue_for,
]
#: A creation has no former values to refer to.
FOR_NEW = [column for column in COLUMNS if not column.needs_row]


@pytest.mark.parametrize(("way", "column"), product(VALUE_WAYS, [update_or_create, queryset_update], COLUMNS))
def test_an_update_by_values(truth: Truth, row: int, way: Any, column: Column):
    before = facts(row)
    way(row, column.given())

    truth.check("updated", row, before, compares=way is not silent_update_and_enqueue_for)


@pytest.mark.parametrize("way", [Specimen.objects.get_or_create, Specimen.objects.update_or_create])
def test_what_is_only_found_publishes_no_creation(truth: Truth, row: int, way: Any):
    way(pk=row)

    assert "specimen.created" not in types()


# -------------------------------------------------------------------------------------------------- creates


def create(values: dict[str, Any]) -> Any:
    return Specimen.objects.create(**values)


def acreate(values: dict[str, Any]) -> Any:
    return async_to_sync(Specimen.objects.all().acreate)(**values)


def save_new(values: dict[str, Any]) -> Any:
    specimen = Specimen()
    assign(specimen, values)
    specimen.save()
    return specimen


def save_new_with_a_key(values: dict[str, Any]) -> Any:
    specimen = Specimen(pk=1_000_000)
    assign(specimen, values)
    specimen.save()
    return specimen


def force_insert(values: dict[str, Any]) -> Any:
    specimen = Specimen(**values)
    specimen.save(force_insert=True)
    return specimen


def get_or_create(values: dict[str, Any]) -> Any:
    specimen, _ = Specimen.objects.get_or_create(note="sought", defaults=values)
    return specimen


def update_or_create_new(values: dict[str, Any]) -> Any:
    specimen, _ = Specimen.objects.update_or_create(note="sought", defaults=values)
    return specimen


def related_create(values: dict[str, Any]) -> Any:
    if {"owner", "owner_id"} & values.keys():
        return create(values)
    return bob().specimens.create(**values)


def bulk_create(values: dict[str, Any]) -> Any:
    return Specimen.objects.bulk_create([Specimen(**values)])[0]


def silent_create_and_enqueue_for(values: dict[str, Any]) -> Any:
    with suppress_events():
        specimen = Specimen.objects.create(**values)
    assign(specimen, {**OTHER, "owner": None})
    with transaction.atomic():
        enqueue_for([specimen], "created")
    return specimen


CREATES = [
    *(create, acreate, save_new, save_new_with_a_key, force_insert, get_or_create, update_or_create_new),
    *(related_create, bulk_create, silent_create_and_enqueue_for),
]


@pytest.mark.parametrize(
    ("way", "column"), product(CREATES, [create, bulk_create, update_or_create_new], FOR_NEW)
)
def test_a_creation_says_what_the_row_says(truth: Truth, row: int, way: Any, column: Column):
    made = way(column.given())

    truth.check("created", made.pk, None)


def test_a_creation_by_a_descriptor(truth: Truth, row: int):
    made = save_new({"full_name": "Mary Shelley"})

    truth.check("created", made.pk, None)


@pytest.mark.parametrize("column", named([one for one in GROUPS if not one.needs_row]))
@pytest.mark.parametrize("state", named(STATES))
def test_a_copy_without_key_is_a_creation(truth: Truth, row: int, state: Any, column: Column):
    """``pk = None``: the copy has no tags and no parts, whatever was prefetched for the original."""
    specimen = state(row)
    for name in specimen.get_deferred_fields():
        specimen.refresh_from_db(fields=[name])
    for name in ("count", "name"):  # a creation has no former values to refer to
        if hasattr(vars(specimen)[name], "resolve_expression"):
            specimen.refresh_from_db(fields=[name])
    truth.forget()
    specimen.pk = None
    specimen._state.adding = True
    save(specimen, column)

    assert specimen.pk != row
    truth.check("created", specimen.pk, None)


# ---------------------------------------------------------------------------------------------- many to many


def green() -> Label:
    return Label.objects.get_or_create(name="green")[0]


def there(specimen: Specimen) -> Label:
    """The label that is attached to the row."""
    return Label.objects.get(specimens=specimen.pk)


M2M_WAYS: dict[str, Callable[[Specimen], Any]] = {
    "add": lambda specimen: specimen.tags.add(green()),
    "add by key": lambda specimen: specimen.tags.add(green().pk),
    "aadd": lambda specimen: async_to_sync(specimen.tags.aadd)(green()),
    "create": lambda specimen: specimen.tags.create(name="yellow"),
    "remove": lambda specimen: specimen.tags.remove(there(specimen)),
    "set": lambda specimen: specimen.tags.set([green(), Label.objects.create(name="pink")]),
    "set after a clear": lambda specimen: specimen.tags.set([green()], clear=True),
    "clear": lambda specimen: specimen.tags.clear(),
    "add from the other side": lambda specimen: green().specimens.add(specimen),  # noqa: PLW0108
    "remove from the other side": lambda specimen: there(specimen).specimens.remove(specimen),
    "set from the other side": lambda specimen: green().specimens.set([specimen]),
    "set to nothing from the other side": lambda specimen: there(specimen).specimens.set([]),
    "clear from the other side": lambda specimen: there(specimen).specimens.clear(),
}


# Django refuses to add objects to an instance that was made by hand and names no database.
@pytest.mark.parametrize("state", named([state for state in STATES if state is not made_by_hand]))
@pytest.mark.parametrize("way", M2M_WAYS)
def test_a_many_to_many_change_says_what_the_row_says(truth: Truth, row: int, way: str, state: Any):
    specimen = state(row)
    truth.forget()
    before = facts(row)
    M2M_WAYS[way](specimen)

    truth.check("tags", row, before)


# -------------------------------------------------------------------------------------------------- deletes


def delete(specimen: Specimen) -> None:
    specimen.delete()


def adelete(specimen: Specimen) -> None:
    async_to_sync(specimen.adelete)()


def delete_silently_after_enqueue_for(specimen: Specimen) -> None:
    """``enqueue_for`` comes before a delete that sends no signals."""
    with transaction.atomic():
        enqueue_for([specimen], "deleted")
        for related in (Part, Specimen.tags.through):
            related._base_manager.filter(specimen=specimen.pk).delete()
        rows = Specimen._base_manager.filter(pk=specimen.pk)
        rows._raw_delete(using=rows.db)


@pytest.mark.parametrize("state", named(STATES))
@pytest.mark.parametrize("way", named([delete, adelete, delete_silently_after_enqueue_for]))
def test_a_delete_says_what_the_row_said(truth: Truth, row: int, way: Any, state: Any):
    specimen = state(row)
    truth.forget()
    before = facts(row)
    way(specimen)

    truth.check("deleted", row, before)


@pytest.mark.parametrize(
    "way",
    [
        lambda pk: Specimen.objects.filter(pk=pk).delete(),
        lambda pk: Specimen.objects.only("pk").filter(pk=pk).delete(),
        lambda pk: async_to_sync(Specimen.objects.filter(pk=pk).adelete)(),
        lambda pk: Owner.objects.get(specimens=pk).delete(),
        lambda pk: Owner.objects.filter(specimens=pk).delete(),
        lambda pk: Region.objects.all().delete(),
    ],
    ids=["queryset", "deferred queryset", "async", "cascade", "queryset cascade", "cascade of two levels"],
)
def test_deletes_of_many_say_what_the_rows_said(truth: Truth, row: int, way: Any):
    with suppress_events():
        other = Specimen.objects.create(name="kept", owner=bob())
    elsewhere(row, note="committed by another process")
    before = facts(row)
    way(row)

    truth.check("deleted", row, before)
    assert types() == ["specimen.deleted", "change.deleted"]
    assert Specimen.objects.get() == other


def test_one_delete_tells_each_row_of_its_own(truth: Truth, row: int):
    with suppress_events():
        other = Specimen.objects.create(name="second", owner=bob(), count=9)
    before = {row: facts(row), other.pk: facts(other.pk)}
    Specimen.objects.all().delete()

    published = {event.data["id"]: event.data for event in events() if event.type == "specimen.deleted"}
    assert published == before


def test_a_delete_and_a_creation_with_the_same_key(truth: Truth, row: int):
    """Both events tell of their own row."""
    specimen = fresh(row)
    before = facts(row)
    specimen.delete()
    Specimen.objects.create(pk=row, name="again")

    truth.check("created", row, None)
    event = last("specimen.deleted")
    assert event is not None
    assert event.data == before


# ------------------------------------------------------------------------------------------- forms and admin

site = admin.AdminSite(name="truth")
EDITED = ["name", "note", "status", "count", "price", "moment", "details", "slug", "body", "owner"]
POSTED = {
    "name": "  typed  ",
    "note": "a\r\nb",
    "status": "done",
    "count": "007",
    "price": "1.5",
    "moment_0": "2024-05-06",
    "moment_1": "07:08",
    "moment": "2024-05-06 07:08",
    "details": '{"a": [1, 2.0]}',
    "slug": " Typed ",
    "body": "typed",
}


@admin.register(Specimen, site=site)
class SpecimenAdmin(admin.ModelAdmin):
    fields = [*EDITED, "tags"]
    list_display = ["id", "status", "count", "price"]
    list_editable = ["status", "count", "price"]


def posted(path: str, form: Mapping[str, Any]) -> HttpRequest:
    """A request of a superuser, past the middleware that would store messages and check the token."""
    request = RequestFactory().post(path, form)
    request.user = get_user_model().objects.create_superuser("ada")
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    request._messages = type("Messages", (), {"add": lambda *args: None})()  # type: ignore[attr-defined]
    return request


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("names", [["red"], ["blue"], []], ids=["same tags", "other tags", "no tags"])
def test_the_change_form_of_the_admin(truth: Truth, row: int, names: list[str]):
    before = facts(row)
    form = {**POSTED, "owner": bob().pk, "tags": [Label.objects.get(name=name).pk for name in names]}
    response = SpecimenAdmin(Specimen, site).changeform_view(posted("/", form), str(row))

    assert response.status_code == 302
    truth.check("updated" if names == ["red"] else "tags", row, before)


@pytest.mark.urls(__name__)
def test_the_add_form_of_the_admin(truth: Truth, row: int):
    form = {**POSTED, "owner": bob().pk, "tags": []}
    response = SpecimenAdmin(Specimen, site).changeform_view(posted("/", form))

    assert response.status_code == 302
    truth.check("created", Specimen.objects.latest("pk").pk, None)


@pytest.mark.urls(__name__)
def test_the_editable_list_of_the_admin(truth: Truth, row: int):
    before = facts(row)
    form = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "_save": "Save"}
    cells = {"id": row, "status": "done", "count": "12", "price": "3.1"}
    form |= {f"form-0-{name}": value for name, value in cells.items()}
    response = SpecimenAdmin(Specimen, site).changelist_view(posted("/", form))

    assert response.status_code == 302
    truth.check("updated", row, before)


@pytest.mark.urls(__name__)
def test_the_delete_button_of_the_admin(truth: Truth, row: int):
    before = facts(row)
    response = SpecimenAdmin(Specimen, site).delete_view(posted("/", {"post": "yes"}), str(row))

    assert response.status_code == 302
    truth.check("deleted", row, before)


@pytest.mark.parametrize("state", named([fresh, stale, assigned, after_a_rollback, copied]))
def test_a_model_form(truth: Truth, row: int, state: Any):
    specimen = state(row)
    truth.forget()
    before = facts(row)
    form = modelform_factory(Specimen, fields=EDITED)({**POSTED, "owner": bob().pk}, instance=specimen)
    form.save()

    truth.check("updated", row, before)


@pytest.mark.parametrize("changes", [{"count": "12"}, {"name": "typed"}], ids=["count", "name"])
def test_a_model_formset(truth: Truth, row: int, changes: dict[str, str]):
    before = facts(row)
    forms = modelformset_factory(Specimen, fields=["name", "count"], extra=0)
    cells = {"id": row, "name": "specimen", "count": "1", **changes}
    form = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1}
    forms(form | {f"form-0-{name}": value for name, value in cells.items()}).save()

    truth.check("updated", row, before)


urlpatterns = [path("admin/", site.urls)]


# --------------------------------------------------------------------------------------- several in sequence


def test_every_save_of_one_instance_is_published(truth: Truth, row: int):
    """An instance that lives long, as in a shell or a worker, while others write the row, too."""
    specimen = fresh(row)
    for number in range(3):
        for way in (save, save_update_fields, save_other_fields):
            elsewhere(row, status="new" if number % 2 else "done", price=number)
            updated(truth, row, way, specimen, Column("count", {"count": number}))


@pytest.mark.parametrize("between", [None, "note"], ids=["saved at once", "another save between"])
def test_a_change_that_was_not_saved_is_published_when_it_is(truth: Truth, row: int, between: str | None):
    specimen = fresh(row)
    specimen.status = "done"
    if between:
        specimen.save(update_fields=[between])
        assert last("change.updated") is None
    updated(truth, row, save, specimen, Column("nothing", {}))
    event = last("change.updated")
    assert event is not None
    assert event.data["change"]["before"]["status"] == "new"


def test_two_requests_that_undo_each_other(truth: Truth, row: int):
    """A reads, B saves done, A saves the old status again: two changes, two events."""
    first, second = fresh(row), fresh(row)
    updated(truth, row, save, second, Column("done", {"status": "done"}))
    updated(truth, row, save, first, Column("count", {"count": 3}))
    event = last("change.updated")
    assert event is not None
    assert event.data["change"]["after"]["status"] == "new"


def test_a_caller_keeps_its_instance_as_it_was(truth: Truth, row: int):
    """What is read back goes into the event, not into the instance: unsaved values stay unsaved."""
    specimen = stale(row)
    specimen.name = "assigned"
    specimen.save(update_fields=["count"])

    assert specimen.name == "assigned"
    assert specimen.status == "new"


def test_a_save_leaves_nothing_in_the_instance(publish: Publish, row: int):
    publish(Specimen, updated="s.updated", fields=["name", "owner.email"], changed=["note"])
    specimen = fresh(row)
    tracked = vars(specimen).copy()
    specimen.note = "saved"
    specimen.save(update_fields=["note"])

    assert vars(specimen).keys() == tracked.keys()


# ------------------------------------------------------------------------- inherited models, hidden rows


PRODUCT = ["name", "price", "stock", "supplier.email", "headline"]


def product_row(pk: Any) -> dict[str, Any]:
    row = Product._base_manager.values("name", "price", "stock", "supplier__email").get(pk=pk)
    return {
        "name": row["name"],
        "price": str(row["price"]),
        "stock": row["stock"],
        "supplier": row["supplier__email"] and {"email": row["supplier__email"]},
        "headline": f"{row['name']} for {row['price']}",
    }


@pytest.fixture
def products(publish: Publish) -> None:
    publish(
        Product, created="p.created", updated="p.updated", deleted="p.deleted", m2m={"tags": "p.tags"},
        fields=PRODUCT, changed=["stock", "price"],
    )  # fmt: skip


INHERITED: dict[str, Callable[[Any], Any]] = {
    "save": lambda product: product.save(),
    "update_fields": lambda product: product.save(update_fields=["stock"]),
    "other update_fields": lambda product: product.save(update_fields=["price"]),
    "many to many": lambda product: product.tags.add(Tag.objects.create(name="light")),
    "delete": lambda product: product.delete(),
}


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("model", [Product, Bundle, Bargain], ids=lambda model: model.__name__)
@pytest.mark.parametrize("way", INHERITED)
def test_children_and_proxies_tell_the_rows_of_all_their_tables(model: Any, way: str):
    with suppress_events():
        product = model.objects.create(name="Lamp", supplier=Customer.objects.create(email="a@example.com"))
    Product._base_manager.filter(pk=product.pk).update(price=3, name="Torch")
    Customer.objects.update(email="b@example.com")
    before = product_row(product.pk)
    pk = product.pk
    product.name, product.stock, product.price = "not saved", 4, "9.999"
    INHERITED[way](product)

    assert [event.data for event in events()] == [before if way == "delete" else product_row(pk)]


@pytest.mark.usefixtures("products")
def test_a_child_that_saves_only_its_own_columns_changes_nothing_of_the_parent():
    with suppress_events():
        bundle = Bundle.objects.create(name="Lamp")
    bundle.stock, bundle.size = 9, 5
    bundle.save(update_fields=["size"])

    assert not types()


def test_a_row_that_the_managers_hide_is_published(publish: Publish):
    """Hiding a row is an update like any other, also if Django reads the model by a manager that hides it."""
    publish(
        Shy, created="shy.created", updated="shy.updated", deleted="shy.deleted",
        fields=["name", "hidden", "patron.name"], changed=["hidden"],
    )  # fmt: skip
    with suppress_events():
        patron = Shy.objects.create(name="patron")
    shy = Shy.objects.create(name="shy", patron=patron)
    Shy.everything.filter(pk=patron.pk).update(name="renamed")
    shy.name, shy.hidden = "not saved", True
    shy.save(update_fields=["hidden"])
    shy.delete()
    Shy.objects.create(name="born hidden", hidden=True)

    patrons = {"name": "renamed"}
    assert [(event.type, event.data) for event in events()] == [
        ("shy.created", {"name": "shy", "hidden": False, "patron": {"name": "patron"}}),
        ("shy.updated", {"name": "shy", "hidden": True, "patron": patrons}),
        ("shy.deleted", {"name": "shy", "hidden": True, "patron": patrons}),
        ("shy.created", {"name": "born hidden", "hidden": True, "patron": None}),
    ]


# ------------------------------------------------------------------------------------------ what it may cost


@pytest.fixture
def nothing_wakes(settings: Any) -> None:
    """So that only the statements of the save are counted."""
    default = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": {**default, "WAKE": None}}


def statements(step: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        step()
    return [query["sql"] for query in queries]


def verbs(queries: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for query in queries:
        verb = query.lstrip("( ").split()[0]
        found[verb] = found.get(verb, 0) + 1
    return found


def beyond(prepare: Callable[[], Any], step: Callable[[Any], Any]) -> dict[str, int]:
    """The statements of a step beyond those that Django makes for the same step while events are off."""
    with suppress_events():
        subject = prepare()
        alone = verbs(statements(lambda: step(subject)))
    subject = prepare()
    with_event = verbs(statements(lambda: step(subject)))
    return {
        verb: with_event.get(verb, 0) - alone.get(verb, 0)
        for verb in sorted(with_event.keys() | alone.keys())
        if with_event.get(verb, 0) != alone.get(verb, 0)
    }


def within(found: Mapping[str, int], **allowed: int) -> bool:
    return all(number <= allowed.get(verb, 0) for verb, number in found.items())


def set_count(specimen: Specimen, **options: Any) -> None:
    specimen.count += 1
    specimen.save(**options)


PLAIN = ["name", "status", "price"]
NUMBERS = iter(range(10, 10_000))


@pytest.mark.usefixtures("nothing_wakes")
@pytest.mark.parametrize(
    ("fields", "selects"),
    [
        (PLAIN, 0),
        (["name", "owner_id"], 0),
        (["name", "owner.email"], 1),
        (["name", "owner.email", "owner.region.name"], 1),
        (["name", "total"], 1),
        (["name", "level"], 1),
        (["name", "total", "owner.email"], 1),
        (["name", "tags.name"], 1),
        (["name", "tags.name", "parts.text"], 2),
        (["name", "total", "owner.email", "tags.name"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_a_creation_and_a_full_update_cost(publish: Publish, row: int, fields, selects: int):
    """One INSERT; one SELECT if a path crosses a relation or the database may set a column; one per list."""
    publish(Specimen, created="s.created", updated="s.updated", fields=fields)

    creation = beyond(lambda: Specimen(owner_id=bob().pk), lambda specimen: specimen.save(force_insert=True))
    update = beyond(lambda: fresh(row), set_count)

    assert within(creation, INSERT=1, SELECT=selects), creation
    assert within(update, INSERT=1, SELECT=selects), update
    assert creation["INSERT"] == update["INSERT"] == 1


@pytest.mark.usefixtures("nothing_wakes")
@pytest.mark.parametrize("changes", [True, False], ids=["changed", "unchanged"])
def test_what_an_update_with_changed_costs(publish: Publish, row: int, changes: bool):
    publish(Specimen, updated="s.updated", fields=PLAIN, changed=["status"])

    def step(specimen: Specimen) -> None:
        specimen.status = f"s{next(NUMBERS)}" if changes else specimen.status
        specimen.count += 1
        specimen.save()

    found = beyond(lambda: fresh(row), step)

    assert within(found, INSERT=int(changes), SELECT=1), found
    assert found.get("INSERT", 0) == int(changes)


def reads_apart(fields: Sequence[str]) -> int:
    """MariaDB cannot lock one row of a join: there a delete reads each related row on its own."""
    features = connection.features
    joins = not features.has_select_for_update or features.has_select_for_update_of
    return 0 if joins or types()[-1:] != ["s.deleted"] else sum(path.count(".") for path in fields)


@pytest.mark.usefixtures("nothing_wakes")
@pytest.mark.parametrize(
    "step",
    [
        lambda specimen: set_count(specimen, update_fields=["count"]),
        lambda specimen: specimen.tags.add(Label.objects.create(name="x")),
        lambda specimen: Label.objects.create(name="y").specimens.add(specimen),  # noqa: PLW0108
        lambda specimen: specimen.delete(),
    ],
    ids=["update_fields", "many to many", "many to many from the other side", "delete"],
)
@pytest.mark.parametrize("fields", [PLAIN, ["name", "owner.email"], ["name", "total", "owner.region.name"]])
def test_what_a_partial_save_a_many_to_many_change_and_a_delete_cost(publish: Publish, row, fields, step):
    publish(Specimen, updated="s.updated", deleted="s.deleted", m2m={"tags": "s.tags"}, fields=fields)

    def prepare() -> Any:
        with suppress_events():
            return Specimen.objects.create(owner=bob())

    found = beyond(prepare, step)

    assert within(found, INSERT=1, SELECT=1 + reads_apart(fields)), found
    assert found["INSERT"] == 1


@pytest.mark.usefixtures("nothing_wakes")
def test_a_save_that_publishes_nothing_costs_nothing(publish: Publish, row: int):
    """Creates of a model that publishes updates only, and the other way round."""
    publish(Specimen, updated="s.updated", fields=PLAIN, changed=["status"])

    assert beyond(Specimen, lambda specimen: specimen.save()) == {}


@pytest.mark.usefixtures("nothing_wakes")
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "not atomic"])
@pytest.mark.parametrize("options", [{}, {"update_fields": ["status"]}], ids=["full", "update_fields"])
def test_the_row_is_locked_before_it_is_updated(publish: Publish, row: int, atomic: bool, options):
    """Only the row itself, without joins, and so that inserts of children can go on meanwhile."""
    publish(
        Specimen,
        created="s.created",
        updated="s.updated",
        fields=["owner.email"],
        changed=["status"],
        atomic=atomic,
    )
    specimen = fresh(row)
    specimen.status = "done"
    queries = statements(lambda: specimen.save(**options))
    locks = [query for query in queries if " FOR " in query and query.startswith("SELECT")]

    if connection.vendor == "sqlite" or not atomic:
        assert not locks
    else:
        (lock,) = locks
        assert "JOIN" not in lock
        assert queries.index(lock) < next(i for i, query in enumerate(queries) if query.startswith("UPDATE"))
    if connection.vendor == "postgresql" and atomic:
        assert "FOR NO KEY UPDATE" in locks[0]
    creation = statements(Specimen().save)
    assert not [query for query in creation if query.startswith("SELECT") and " FOR " in query]


@pytest.mark.django_db(transaction=True)
def test_requests_that_insert_a_child_and_save_its_parent_do_not_block_each_other(publish: Publish):
    """A lock that excludes the checks of foreign keys would be a deadlock of the two."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time; on MySQL the two block each other without any event")
    publish(Specimen, updated="s.updated", fields=["id"], changed=["count"])
    with suppress_events():
        pk = Specimen.objects.create().pk
    both = Barrier(2, timeout=60)

    def request() -> None:
        with transaction.atomic():
            specimen = Specimen.objects.get(pk=pk)
            Part.objects.create(specimen=specimen, text="leg")
            both.wait()
            specimen.count = F("count") + 1
            specimen.save()

    in_threads(2, request)

    assert Specimen.objects.get(pk=pk).count == 3
    assert types() == ["s.updated", "s.updated"]

"""What was assigned stands for the row only where that is certain.

Each event here holds one column, or the few that a step assigns: nothing else makes the row be read.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from genesys_eventbridge.model_events import columns, suppress_events
from genesys_eventbridge.model_events import rows as event_rows
from genesys_eventbridge.model_events.columns import UNSURE, same, settled, stored
from tests.model_events.test_truth import COLUMNS, Column, assign, named
from tests.publishing import Publish, events
from tests.truth import law
from tests.truth.fields import ShoutingField
from tests.truth.models import Owner, Specimen

pytest_plugins = ["tests.registrations"]
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:DateTimeField .* received a naive datetime:RuntimeWarning"),
]

#: Values that a database may return in another form, and columns that others set.
DELICATE = [
    Column("numbers of json", {"details": {"big": 1e22, "small": 1e-7, "whole": 2.0}}),
    Column("a negative zero of json", {"details": [-0.0, -0]}),
    Column("a negative zero in a decimal", {"price": Decimal("-0.00")}),
    Column("a decimal with an exponent", {"price": Decimal("1E-1")}),
    Column("an aware time in another zone", {"moment": "2024-05-06T07:08:09.123456-09:30"}),
    Column("an empty file", {"manual": ""}),
    Column("an empty foreign key", {"owner_id": ""}, ["owner"]),
    Column("a column that pre_save of another sets", {"body": "text", "body_html": "<b>mine</b>"}),
    Column("a column that pre_save replaced", {"revision": 7, "count": 3}),
]


@pytest.fixture
def row() -> int:
    ada, _ = Owner.objects.bulk_create([Owner(email="ada@example.com"), Owner(email="bob@example.com")])
    with suppress_events():
        return int(Specimen.objects.create(owner=ada).pk)


def create(pk: int, column: Column) -> int:
    specimen = Specimen()
    assign(specimen, column.given())
    specimen.save()
    return int(specimen.pk)


def bulk_create(pk: int, column: Column) -> int:
    specimen = Specimen()
    assign(specimen, column.given())
    return int(Specimen.objects.bulk_create([specimen])[0].pk)


def save(pk: int, column: Column) -> int:
    specimen = Specimen.objects.get(pk=pk)
    assign(specimen, column.given())
    specimen.save()
    return pk


def save_update_fields(pk: int, column: Column) -> int:
    specimen = Specimen.objects.get(pk=pk)
    assign(specimen, column.given())
    specimen.save(update_fields=column.names())
    return pk


def told_by(column: Column) -> list[str]:
    """The columns that the step assigns, by attname."""
    attnames = dict(zip(law.WATCHED, law.COLUMNS, strict=True))
    names = [*column.values, *column.names()]
    if "full_name" in column.values:
        names = ["first", "last"]
    return sorted({attnames.get(name, name) for name in names})


def watched_by(column: Column) -> list[str]:
    names = dict(zip(law.COLUMNS, law.WATCHED, strict=True))
    return [names[name] for name in told_by(column)]


def of(pk: int, column: Column) -> dict[str, Any]:
    row = law.columns_of(pk)
    assert row is not None
    return {name: row[name] for name in told_by(column)}


@pytest.mark.parametrize("column", named([*COLUMNS, *DELICATE]))
@pytest.mark.parametrize("way", named([create, bulk_create]))
def test_a_creation_says_what_the_row_says(publish: Publish, row: int, way: Any, column: Column):
    if column.needs_row:
        pytest.skip("the expression refers to the row before")
    publish(Specimen, created="s.created", fields=told_by(column))

    pk = way(row, column)

    (event,) = events()
    law.agree("data", event.data, of(pk, column))


@pytest.mark.parametrize("column", named([*COLUMNS, *DELICATE]))
@pytest.mark.parametrize("way", named([save, save_update_fields]))
def test_an_update_says_what_the_row_says(publish: Publish, row: int, way: Any, column: Column):
    publish(Specimen, updated="s.updated", fields=told_by(column))

    way(row, column)

    (event,) = events()
    law.agree("data", event.data, of(row, column))


@pytest.mark.parametrize("column", named([*COLUMNS, *DELICATE]))
@pytest.mark.parametrize("way", named([save, save_update_fields]))
def test_a_change_is_one_of_the_row(publish: Publish, row: int, way: Any, column: Column):
    """A second save of the same values changes nothing but what is counted."""
    publish(
        Specimen,
        updated="s.updated",
        changed=watched_by(column),
        data=lambda specimen, change: law.change_as_json(change),
    )
    for _ in range(2):
        before, since = of(row, column), len(events())
        way(row, column)
        after = of(row, column)

        found = events()[since:]
        assert len(found) == (before != after)
        for event in found:
            names = {name: given for name, given in after.items() if before[name] != given}
            said = dict(zip(told_by(column), watched_by(column), strict=True))
            law.agree("change.after", event.data["after"], {said[name]: names[name] for name in names})
            law.agree("change.before", event.data["before"], {said[name]: before[name] for name in names})


# ------------------------------------------------------------------------------------ what is not certain


@pytest.fixture
def forget():
    """What is known of a class is kept: forget it before and after a test that changes one."""
    known = (
        *(columns.rule_of, columns.saves_as_django, columns._writes_as_django),
        *(event_rows._needed, event_rows._all_written),
    )
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


def model_with(field: models.Field[Any, Any], **meta: Any) -> Any:
    body = {"__module__": __name__, "column": field}
    return type("Held", (models.Model,), {**body, "Meta": type("Meta", (), {"app_label": "shop", **meta})})


UNCERTAIN = [
    ("text that is too long", models.CharField(max_length=3), "four"),
    ("a file name that is too long", models.FileField(max_length=3), "four"),
    ("a file name that is no text", models.FileField(), 4),
    ("a decimal that is rounded", models.DecimalField(max_digits=9, decimal_places=2), "1.005"),
    (
        "more digits than SQLite keeps",
        models.DecimalField(max_digits=20, decimal_places=2),
        "12345678901234.56",
    ),
    ("a decimal that is negative and zero", models.DecimalField(max_digits=9, decimal_places=2), "-0"),
    ("NaN", models.FloatField(), float("nan")),
    ("infinity", models.FloatField(), float("inf")),
    ("a date in a datetime", models.DateTimeField(), dt.date(2024, 5, 6)),
    ("an aware time", models.TimeField(), dt.time(1, 2, tzinfo=dt.UTC)),
    ("text in bytes", models.BinaryField(), "text"),
    ("an exponent in JSON", models.JSONField(), {"n": 1e22}),
    ("a negative zero in JSON", models.JSONField(), [-0.0]),
    ("an empty foreign key", models.ForeignKey(Owner, models.CASCADE), ""),
    ("what the field cannot read", models.IntegerField(), "five"),
    ("an expression", models.CharField(max_length=40), models.F("other")),
    ("a field of a third party", ShoutingField(max_length=40), "text"),
]


@pytest.mark.parametrize(
    ("field", "value"), [pytest.param(field, value, id=name) for name, field, value in UNCERTAIN]
)
@isolate_apps("tests.shop")
def test_what_only_the_database_knows_is_unsure(field: Any, value: Any):
    held = model_with(field)._meta.get_field("column")

    assert stored(held, value) is UNSURE


@isolate_apps("tests.shop")
def test_a_generated_column_is_unsure():
    column = models.GeneratedField(
        expression=models.Value(1), output_field=models.IntegerField(), db_persist=True
    )

    assert stored(model_with(column)._meta.get_field("column"), 1) is UNSURE


@isolate_apps("tests.shop")
def test_a_column_of_an_unmanaged_table_is_unsure():
    """Its type may be any."""
    assert stored(model_with(models.IntegerField(), managed=False)._meta.get_field("column"), 1) is UNSURE


def test_without_use_tz_an_aware_datetime_is_unsure_and_a_naive_one_stays(settings: Any):
    settings.USE_TZ = False
    field: Any = Specimen._meta.get_field("moment")
    naive = dt.datetime(2024, 5, 6, 7, 8)

    assert stored(field, naive.replace(tzinfo=dt.UTC)) is UNSURE
    assert stored(field, naive) == naive


def test_json_is_compared_as_json():
    field: Any = Specimen._meta.get_field("details")

    assert not same(field, {"n": 1}, {"n": True})
    assert not same(field, [1], [1.0])
    assert same(field, {"a": 1, "b": 2}, {"b": 2, "a": 1})


@pytest.mark.usefixtures("forget")
def test_a_field_that_was_changed_in_place_is_not_trusted(publish: Publish, row: int, monkeypatch: Any):
    monkeypatch.setattr(Specimen._meta.get_field("note"), "get_prep_value", lambda value: f"<{value}>")
    publish(Specimen, updated="s.updated", fields=["note"])
    column = Column("note", {"note": "text"})

    save(row, column)

    assert [event.data for event in events()] == [of(row, column)] == [{"note": "<text>"}]


class Trimmed:
    """A third party's descriptor: it reads something else than what the instance holds."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else vars(instance)["note"].strip()

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)["note"] = value


@pytest.mark.usefixtures("forget")
def test_a_descriptor_of_a_third_party_is_not_trusted(publish: Publish, row: int, monkeypatch: Any):
    monkeypatch.setattr(Specimen, "note", Trimmed())
    publish(Specimen, updated="s.updated", fields=["name", "note"])
    column = Column("note", {"note": "  text ", "name": "a"})

    save(row, column)

    assert [event.data for event in events()] == [of(row, column)] == [{"name": "a", "note": "text"}]


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize("method", ["_do_update", "_do_insert"])
def test_a_model_that_writes_its_rows_itself_is_not_trusted(
    publish: Publish, row: int, monkeypatch: Any, method: str
):
    """An override that writes another value, as a library for encrypted or versioned rows may."""
    original = getattr(Specimen, method)

    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(self, *args, **kwargs)
        Specimen._base_manager.update(name="written")
        return found

    monkeypatch.setattr(Specimen, method, own)
    publish(Specimen, created="s.created", updated="s.updated", fields=["name"])
    way = save if method == "_do_update" else create

    way(row, Column("name", {"name": "assigned"}))

    assert [event.data for event in events()] == [{"name": "written"}]


@pytest.mark.parametrize("before", [["list"], {"a": "dict"}, {"set"}])
def test_a_value_that_pre_save_may_have_changed_in_place_is_not_settled(before: Any):
    specimen = Specimen(details=before)

    assert not settled(specimen, dict(vars(specimen)))("details")


def test_a_value_that_pre_save_replaced_is_not_settled():
    specimen = Specimen(name="before", note="kept")
    former = dict(vars(specimen))
    specimen.name = "after"

    is_settled = settled(specimen, former)

    assert not is_settled("name")
    assert is_settled("note")
    assert not settled(specimen, None)("note")

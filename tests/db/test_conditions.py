"""Conditions of ours reach the database as they are, so it can use its indexes for them."""

import datetime as dt

import pytest
from django.db.models import BooleanField, Func, Value

from genesys_eventbridge.db import AnyOf
from genesys_eventbridge.db.indexes import Troubled
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox.due import from_place

pytestmark = pytest.mark.django_db

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(lambda: OutboxEvent.objects.filter(AnyOf("id", [1, 2])), id="AnyOf"),
        pytest.param(lambda: OutboxEvent.objects.filter(Troubled()), id="Troubled"),
        pytest.param(lambda: from_place(OutboxEvent.objects.all(), Value(AT), Value(7)), id="from_place"),
    ],
)
def test_a_condition_is_not_compared_with_true(rows):
    where = str(rows().query).partition(" WHERE ")[2]

    assert where
    assert "= True" not in where
    assert list(rows()) == []


def test_no_function_of_ours_is_a_condition():
    """Where booleans are numbers, Django 6.1 compares a function in WHERE with True; not so a Lookup."""

    def below(kind):
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    ours = [each for each in below(Func) if each.__module__.startswith("genesys_eventbridge.")]
    assert len(ours) > 3
    assert [each for each in ours if isinstance(each.__dict__.get("output_field"), BooleanField)] == []

"""The arguments of publishes(): what cannot work is refused where it is written, with the argument's name."""
# ruff: noqa: DJ008 - the models of these tests are never printed

import functools

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps

from genesys_eventbridge.model_events import publishes
from genesys_eventbridge.model_events.registry import registrations
from tests.publishing import Publish
from tests.shop.models import LineItem, Order, Product

pytest_plugins = ["tests.registrations"]


class ShopModel(models.Model):
    """Says to which app the models of these tests belong."""

    class Meta:
        abstract = True
        app_label = "shop"


async def payload(order: Order) -> dict:
    return {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fields": ["number"]}, "one of created=, updated=, deleted= and m2m= is required"),
        ({"created": "order.created"}, "fields= or data= is required"),
        (
            {"created": "order.created", "fields": ["number"], "data": str},
            "either fields= or data=, not both",
        ),
        (
            {"created": True, "fields": ["number"]},
            'created= must be an event type such as "order.created", got True',
        ),
        ({"created": "", "fields": ["number"]}, "created= must be an event type"),
        (
            {"m2m": {"customer": "order.customer"}, "fields": ["number"]},
            "'customer' is not a ManyToManyField",
        ),
        ({"created": "order.created", "fields": "number"}, "fields= must be a list"),
        (
            {"created": "order.created", "fields": ["customer", "customer.email"]},
            "both a value and an object",
        ),
        ({"created": "order.created", "fields": ["customer.email", "customer"]}, 'fields={"email"'),
        ({"created": "order.created", "data": {"number": 1}}, "data= must be a callable"),
        ({"created": "order.created", "data": payload}, "is async"),
        ({"created": "order.created", "fields": ["number"], "when": True}, "when= must be a callable"),
        ({"created": "order.created", "fields": ["number"], "changed": ["status"]}, "and needs updated="),
        (
            {"updated": "order.updated", "fields": ["number"], "changed": "status"},
            "changed= must be a non-empty list",
        ),
        (
            {"updated": "order.updated", "fields": ["number"], "changed": []},
            "changed= must be a non-empty list",
        ),
        (
            {"updated": "order.updated", "fields": ["number"], "changed": ["staus"]},
            "'staus' is not a column. Did you mean 'status'?",
        ),
        (
            {"updated": "order.updated", "fields": ["number"], "changed": ["customer.email"]},
            "not a column",
        ),
        ({"updated": "order.updated", "fields": ["number"], "changed": ["items"]}, "not a column"),
    ],
)
def test_a_wrong_argument_is_named(given, words: str) -> None:
    before = registrations()

    with pytest.raises(ImproperlyConfigured) as error:
        publishes(**given)(Order)

    assert words in str(error.value)
    assert registrations() == before


@pytest.mark.parametrize("thing", [Order(), "shop.Order", dict, None], ids=str)
def test_only_model_classes_are_registered(thing) -> None:
    with pytest.raises(ImproperlyConfigured, match="registers model classes"):
        publishes(created="order.created", fields=["number"])(thing)


def test_m2m_names_a_set_of_the_model(publish: Publish) -> None:
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'tags'"):
        publish(Product, m2m={"tag": "product.tagged"}, fields=["name"])


@isolate_apps("tests.shop")
def test_an_abstract_model_is_judged_by_what_derives_from_it(publish: Publish) -> None:
    class Base(ShopModel):
        class Meta(ShopModel.Meta):
            abstract = True

    publish(Base, updated="thing.updated", fields=["name"], changed=["name"])

    class Right(Base):
        name = models.CharField(max_length=10)

    with pytest.raises(ImproperlyConfigured, match="on Wrong: 'name' is not a column"):

        class Wrong(Base):
            nam = models.CharField(max_length=10)


@isolate_apps("tests.shop")
def test_sets_of_an_abstract_model_are_judged_by_what_derives_from_it(publish: Publish) -> None:
    class Base(ShopModel):
        class Meta(ShopModel.Meta):
            abstract = True

    publish(Base, m2m={"tags": "thing.tagged"}, data=str)

    with pytest.raises(ImproperlyConfigured, match="on Wrong: 'tags' is not a ManyToManyField"):

        class Wrong(Base):
            tag = models.CharField(max_length=10)


def test_the_decorator_gives_the_class_back() -> None:
    assert publishes(created="item.created", fields=["sku"])(LineItem) is LineItem
    assert publishes(created="item.created", fields=["sku"])(LineItem) is LineItem
    assert [one.model for one in registrations()].count(LineItem) == 1


@pytest.fixture(autouse=True)
def _registrations(publish: Publish) -> Publish:
    return publish


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"data": str}, {"data": str}, True),
        ({"data": functools.partial(str, 1)}, {"data": functools.partial(str, 1)}, False),
        ({"fields": ["a", "b"]}, {"fields": ("a", "b")}, True),
        ({"fields": ["a"]}, {"fields": ["b"]}, False),
        ({"fields": ["a"], "extensions": {"x": "1"}}, {"fields": ["a"], "extensions": {"x": "2"}}, False),
        ({"fields": ["a"], "atomic": False}, {"fields": ["a"]}, False),
        ({"data": lambda order: 1}, {"data": lambda order: 2}, False),
    ],
)
def test_the_same_call_is_known_by_what_it_says(first, second, same: bool) -> None:
    before = len(registrations())

    for given in (first, second):
        publishes(created="order.created", **given)(Order)

    assert len(registrations()) - before == (1 if same else 2)


def test_a_callable_made_by_a_factory_is_known_by_what_it_was_made_with() -> None:
    def payload(make):
        return lambda order: make()

    def first():
        return 1

    before = len(registrations())
    for make in (first, first, payload):
        publishes(created="order.created", data=payload(make))(Order)

    assert len(registrations()) - before == 2

"""Many-to-many changes are published for each object whose set changed, whichever side changed it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.model_events import suppress_events
from genesys_eventbridge.model_events.changes import Change
from tests.publishing import Publish, data, events, types
from tests.shop.models import Bundle, Product, Tag
from tests.truth.models import Badge, Chief, Guard, Label, Phrase, Word

pytest_plugins = ["tests.registrations"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def tagged(publish: Publish) -> None:
    publish(
        Product,
        m2m={"tags": "product.tagged"},
        data=lambda product, change: {
            "name": product.name,
            "kind": change.kind,
            "added": sorted(Tag.objects.get(pk=key).name for key in change.added),
            "removed": len(change.removed),
            "tags": sorted(tag.name for tag in product.tags.all()),
        },
    )


@pytest.fixture
def light() -> Tag:
    return Tag.objects.create(name="light")


@pytest.fixture
def heavy() -> Tag:
    return Tag.objects.create(name="heavy")


@pytest.fixture
def lamp() -> Product:
    lamp: Product = Product.objects.create(name="Lamp")
    return lamp


def facts() -> list[tuple]:
    return [(event["name"], event["added"], event["removed"], event["tags"]) for event in data()]


def test_add_remove_and_clear_are_published(tagged, lamp: Product, light: Tag, heavy: Tag) -> None:
    lamp.tags.add(light, heavy)
    lamp.tags.remove(light)
    lamp.tags.clear()

    assert facts() == [
        ("Lamp", ["heavy", "light"], 0, ["heavy", "light"]),
        ("Lamp", [], 1, ["heavy"]),
        ("Lamp", [], 1, []),
    ]
    assert {event["kind"] for event in data()} == {"tags"}


def test_set_is_what_it_removes_and_what_it_adds(tagged, lamp: Product, light: Tag, heavy: Tag) -> None:
    lamp.tags.add(light)
    lamp.tags.set([heavy])
    lamp.tags.set([heavy])

    assert facts()[1:] == [("Lamp", [], 1, []), ("Lamp", ["heavy"], 0, ["heavy"])]


def test_nothing_is_published_where_nothing_changed(tagged, lamp: Product, light: Tag, heavy: Tag) -> None:
    lamp.tags.add(light)
    already = len(events())

    lamp.tags.add(light)
    lamp.tags.add()
    lamp.tags.remove(heavy)
    light.products.add(lamp)
    heavy.products.clear()
    heavy.products.remove(lamp)

    assert len(events()) == already


def test_the_other_side_changes_each_object_it_names(tagged, lamp: Product, light: Tag) -> None:
    Product.objects.create(name="Bulb")
    Product.objects.create(name="Stone")

    light.products.add(*Product.objects.exclude(name="Stone"))
    light.products.remove(lamp)
    light.products.clear()

    assert sorted(facts()[:2]) == [("Bulb", ["light"], 0, ["light"]), ("Lamp", ["light"], 0, ["light"])]
    assert facts()[2:] == [("Lamp", [], 1, []), ("Bulb", [], 1, [])]


def test_the_other_side_takes_a_constant_number_of_statements(publish: Publish, light: Tag) -> None:
    publish(Product, m2m={"tags": "product.tagged"}, fields=["name", "tags.name", "supplier.email"])

    def statements(count: int) -> list[str]:
        products = [Product.objects.create(name=f"{count}/{number}") for number in range(count)]
        with CaptureQueriesContext(connection) as queries:
            light.products.add(*products)
        return [query["sql"].split()[0] for query in queries]

    assert statements(2) == statements(9)
    assert len(events()) == 11


def test_a_child_is_published_as_what_it_is(tagged, light: Tag) -> None:
    Bundle.objects.create(name="Box").tags.add(light)

    assert [event.object_type for event in events()] == ["shop.bundle"]


def test_a_relation_to_itself_is_published_for_the_side_that_changed(publish: Publish, lamp: Product) -> None:
    publish(Product, m2m={"similar": "product.similar"}, fields=["name", "similar.name"])
    bulb = Product.objects.create(name="Bulb")

    lamp.similar.add(bulb)
    lamp.similar.clear()

    assert data() == [{"name": "Lamp", "similar": [{"name": "Bulb"}]}, {"name": "Lamp", "similar": []}]


def test_several_sets_and_registrations_keep_apart(publish: Publish, lamp: Product, light: Tag) -> None:
    publish(Product, m2m={"tags": "product.tagged", "similar": "product.similar"}, fields=["name"])
    publish(Product, m2m={"tags": "product.noticed"}, fields=["name"])

    lamp.tags.add(light)
    lamp.similar.add(Product.objects.create(name="Bulb"))
    lamp.tags.clear()

    assert types() == [
        "product.tagged",
        "product.noticed",
        "product.similar",
        "product.tagged",
        "product.noticed",
    ]


def test_when_decides_here_too(publish: Publish, lamp: Product, light: Tag) -> None:
    publish(Product, m2m={"tags": "product.tagged"}, fields=["name"], when=lambda product: False)

    lamp.tags.add(light)

    assert not events()


def test_suppressed_changes_publish_nothing(tagged, lamp: Product, light: Tag) -> None:
    with suppress_events():
        lamp.tags.add(light)
        lamp.tags.clear()

    assert not events()


def test_nothing_is_left_on_the_object(tagged, lamp: Product, light: Tag) -> None:
    lamp.tags.add(light)
    lamp.tags.remove(light)
    lamp.tags.clear()

    assert not [name for name in vars(lamp) if "eventbridge" in name]


def test_an_add_costs_one_insert_more(publish: Publish, lamp: Product, light: Tag, heavy: Tag) -> None:
    publish(Product, m2m={"tags": "product.tagged"}, fields=["name"])

    with CaptureQueriesContext(connection) as queries:
        lamp.tags.add(light)

    assert sum("genesys_eventbridge_outboxevent" in query["sql"] for query in queries) == 1


def sets() -> dict[str, tuple[type[Model], str, str, Callable[[], Any], Callable[[], Any]]]:
    """Model with the set, its field, the other side's name for it; an owner and a member in it later."""
    return {
        "two parents": (
            *(Badge, "labels", "badges"),
            lambda: Guard.objects.create(email="a@example.com", text="main"),
            lambda: Label.objects.create(name="red"),
        ),
        "a child with a key of its own": (
            *(Badge, "labels", "badges"),
            lambda: Chief.objects.create(code="main", text="main"),
            lambda: Label.objects.create(name="red"),
        ),
        "to_field in the table between": (
            *(Phrase, "words", "phrases"),
            lambda: Phrase.objects.create(slug="main"),
            lambda: Word.objects.create(text="red"),
        ),
    }


@pytest.mark.parametrize("kind", sets())
@pytest.mark.parametrize("backwards", [False, True], ids=["from the owner", "from the other side"])
def test_sets_whose_table_holds_other_values_than_the_primary_key(
    publish: Publish, kind: str, backwards: bool
) -> None:
    model, name, accessor, make_owner, make_member = sets()[kind]
    for _ in range(3):  # no key of one table is one of another
        model._base_manager.create(**({} if model is Badge else {"slug": f"other {_}"}))
    owner, member = make_owner(), make_member()
    changes: list[tuple[frozenset[Any], frozenset[Any]]] = []

    def tell(owner: Any, change: Change) -> str:
        changes.append((change.added, change.removed))
        return str(owner.slug if model is Phrase else owner.text)

    publish(model, m2m={name: "it.changed"}, data=tell)
    if backwards:
        this, other = (
            getattr(member, accessor),
            model._base_manager.get(pk=getattr(owner, model._meta.pk.attname)),
        )
    else:
        this, other = getattr(owner, name), member

    this.add(other)
    this.remove(other)
    this.set([other])
    this.set([])
    this.add(other)
    this.clear()

    assert data() == ["main"] * 6
    key = frozenset({member.pk})
    assert changes == [(key, frozenset()), (frozenset(), key)] * 3

"""mptt and treebeard: libraries that write tree columns by statements of their own."""

import pytest
from django.db import transaction
from mptt.utils import tree_item_iterator

from genesys_eventbridge.model_events import enqueue_for
from tests.publishing import Publish, events, types
from tests.third_party.models import Genre, ListedCategory, NestedCategory, PathCategory
from tests.third_party.rows import assert_tells_its_row

pytestmark = pytest.mark.django_db(transaction=True)

GENRE = {"created": "genre.created", "updated": "genre.updated", "deleted": "genre.deleted"}
TREE = ["name", "parent_id", "lft", "rght", "tree_id", "level"]
TOLD = {**GENRE, "fields": {name: name for name in TREE}}
CATEGORY = {"created": "category.created", "updated": "category.updated", "deleted": "category.deleted"}
COLUMNS = {
    PathCategory: ["name", "path", "depth", "numchild"],
    NestedCategory: ["name", "lft", "rgt", "tree_id", "depth"],
    ListedCategory: ["name", "parent_id", "sib_order"],
}
TREES = pytest.mark.parametrize("model", COLUMNS, ids=lambda model: model.__name__)


def genres() -> dict[str, Genre]:
    """Jazz with Bebop and Swing, and Rock, a tree of its own."""
    jazz = Genre.objects.create(name="Jazz")
    swing = Genre.objects.create(name="Swing", parent=jazz)
    bebop = Genre.objects.create(name="Bebop", parent=jazz)
    rock = Genre.objects.create(name="Rock")
    return {"jazz": jazz, "swing": swing, "bebop": bebop, "rock": rock}


def drawn() -> list[str]:
    nodes = Genre.objects.order_by("tree_id", "lft")
    return ["-" * node.level + node.name for node, _ in tree_item_iterator(nodes)]


def test_mptt_keeps_its_trees_in_order(maybe_publish: Publish):
    maybe_publish(Genre, **TOLD, changed=["name", "parent"])

    made = genres()
    assert drawn() == ["Jazz", "-Bebop", "-Swing", "Rock"]
    swing = Genre.objects.get(name="Swing")
    swing.parent = made["rock"]
    swing.save()
    assert drawn() == ["Jazz", "-Bebop", "Rock", "-Swing"]
    Genre.objects.get(name="Rock").move_to(Genre.objects.get(name="Jazz"), "last-child")
    assert drawn() == ["Jazz", "-Bebop", "-Rock", "--Swing"]
    Genre.objects.get(name="Rock").delete()
    assert drawn() == ["Jazz", "-Bebop"]
    assert Genre.objects.get(name="Jazz").get_descendant_count() == 1


def test_each_mptt_save_tells_the_tree_columns_of_its_row(publish: Publish):
    publish(Genre, **TOLD)

    made = genres()
    assert_tells_its_row("genre.created", Genre, made["rock"].pk, *TREE)
    stale = Genre.objects.get(pk=made["jazz"].pk)
    Genre.objects.create(name="Cool", parent=made["jazz"])
    stale.name = "All that jazz"
    stale.save()

    held = assert_tells_its_row("genre.updated", Genre, stale.pk, *TREE)
    assert held["rght"] == 8


@pytest.mark.parametrize("way", ["parent", "move_to"])
def test_an_mptt_node_that_moves_publishes_an_update_and_its_shifted_neighbours_none(
    publish: Publish, way: str
):
    made = genres()
    publish(Genre, **TOLD, changed=["parent"])

    swing, rock = Genre.objects.get(pk=made["swing"].pk), Genre.objects.get(pk=made["rock"].pk)
    if way == "parent":
        swing.parent = rock
        swing.save()
    else:
        swing.move_to(rock)

    held = assert_tells_its_row("genre.updated", Genre, swing.pk, *TREE)
    assert held["parent_id"] == rock.pk
    assert len(events()) == 1


def test_an_mptt_node_and_its_descendants_publish_their_deletes(publish: Publish):
    made = genres()
    publish(Genre, **GENRE, fields=["name"])

    Genre.objects.get(pk=made["jazz"].pk).delete()

    assert types() == ["genre.deleted"] * 3
    assert {event.data["name"] for event in events()} == {"Jazz", "Swing", "Bebop"}


@TREES
def test_treebeard_adds_moves_and_deletes_as_before(maybe_publish: Publish, model):
    maybe_publish(model, **CATEGORY, fields=COLUMNS[model], changed=["name"])

    root, other, _ = _tree(model)
    leaf = model.objects.get(name="leaf")
    model.objects.move(leaf, model.objects.get(pk=other.pk), "first-child")
    assert _drawn(model) == ["root", "other", "-leaf"]
    model.objects.get(pk=root.pk).delete()
    assert _drawn(model) == ["other", "-leaf"]
    model.objects.get(pk=other.pk).delete()
    assert _drawn(model) == []


@TREES
def test_a_treebeard_node_publishes_its_row_when_it_is_added_and_saved(publish: Publish, model):
    publish(model, **CATEGORY, fields={name: name for name in COLUMNS[model]})

    root, _, leaf = _tree(model)
    assert types() == ["category.created"] * 3
    assert_tells_its_row("category.created", model, leaf.pk, *COLUMNS[model])
    root.name = "renamed"
    root.save()

    assert_tells_its_row("category.updated", model, root.pk, *COLUMNS[model])


@pytest.mark.parametrize("model", [PathCategory, NestedCategory])
def test_a_treebeard_move_is_made_by_sql_and_is_published_by_enqueue_for(publish: Publish, model):
    _, other, leaf = _tree(model)
    publish(model, **CATEGORY, fields={name: name for name in COLUMNS[model]})

    with transaction.atomic():
        model.objects.move(model.objects.get(pk=leaf.pk), model.objects.get(pk=other.pk), "first-child")
        assert types() == []
        enqueue_for(model.objects.filter(pk=leaf.pk), "updated")

    assert_tells_its_row("category.updated", model, leaf.pk, *COLUMNS[model])
    assert len(events()) == 1


def test_a_treebeard_move_in_an_adjacency_list_is_a_save_and_publishes(publish: Publish):
    _, other, leaf = _tree(ListedCategory)
    columns, nodes = COLUMNS[ListedCategory], ListedCategory.objects
    publish(ListedCategory, **CATEGORY, fields={name: name for name in columns}, changed=["parent"])

    nodes.move(nodes.get(pk=leaf.pk), nodes.get(pk=other.pk), "first-child")

    held = assert_tells_its_row("category.updated", ListedCategory, leaf.pk, *columns)
    assert held["parent_id"] == other.pk
    assert len(events()) == 1


@TREES
def test_a_treebeard_node_and_its_descendants_publish_their_deletes(publish: Publish, model):
    root, _, _ = _tree(model)
    publish(model, **CATEGORY, fields=["name"])

    model.objects.get(pk=root.pk).delete()

    assert sorted(event.data["name"] for event in events()) == ["leaf", "root"]
    assert types() == ["category.deleted"] * 2


def _tree(model):
    """Two roots, and a leaf below the first."""
    nodes = model.objects
    order = {"sib_order": 0} if model is ListedCategory else {}
    root = nodes.add_root({"name": "root", **order})
    other = nodes.add_root({"name": "other", **order})
    leaf = nodes.add_child(nodes.get(pk=root.pk), {"name": "leaf", **order})
    return nodes.get(pk=root.pk), nodes.get(pk=other.pk), leaf


def _drawn(model) -> list[str]:
    return ["-" * (node.get_depth() - 1) + node.name for node in model.objects.get_tree()]

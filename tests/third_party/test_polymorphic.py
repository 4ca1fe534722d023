"""polymorphic: rows of several tables that are read through one manager."""

import pytest

from tests.publishing import Publish, events, types
from tests.third_party.models import ArtProject, Car, Project, ResearchProject, Vehicle
from tests.third_party.rows import assert_tells_its_row

pytestmark = pytest.mark.django_db(transaction=True)

PROJECT = {
    "created": "project.created",
    "updated": "project.updated",
    "deleted": "project.deleted",
    "fields": ["topic"],
}


def test_queries_and_deletes_are_as_polymorphic_as_before(maybe_publish: Publish):
    maybe_publish(Project, **PROJECT, changed=["topic"])

    Project.objects.create(topic="Plain")
    ArtProject.objects.create(topic="Sculpture", artist="Camille")
    ResearchProject.objects.create(topic="Tides", supervisor="Ada")

    found = Project.objects.order_by("pk")
    assert [type(project) for project in found] == [Project, ArtProject, ResearchProject]
    assert found.instance_of(ArtProject).get().artist == "Camille"
    assert [type(project) for project in Project.objects.non_polymorphic()] == [Project] * 3
    assert Project.objects.defer("topic").get(artproject__artist="Camille").topic == "Sculpture"
    found.get(topic="Tides").delete()
    assert ResearchProject.objects.count() == 0
    Project.objects.all().delete()
    assert ArtProject.objects.count() == Project.objects.count() == 0


@pytest.mark.parametrize("read_as", [Project, ArtProject])
def test_a_child_publishes_each_change_once_whichever_manager_read_it(publish: Publish, read_as):
    publish(Project, **PROJECT, changed=["topic"])

    made = ArtProject.objects.create(topic="Sculpture", artist="Camille")
    assert_tells_its_row("project.created", ArtProject, made.pk, "topic")
    project = read_as.objects.get(pk=made.pk)
    project.topic = "Bronze"
    project.save()
    assert assert_tells_its_row("project.updated", ArtProject, made.pk, "topic") == {"topic": "Bronze"}
    project.artist = "Rodin"
    project.save()
    read_as.objects.get(pk=made.pk).delete()

    assert types() == ["project.created", "project.updated", "project.deleted"]


def test_a_registration_of_one_child_leaves_its_siblings_silent(publish: Publish):
    publish(ArtProject, created="art.created", updated="art.updated", fields=["topic", "artist"])

    ResearchProject.objects.create(topic="Tides", supervisor="Ada")
    made = ArtProject.objects.create(topic="Sculpture", artist="Camille")

    assert_tells_its_row("art.created", ArtProject, made.pk, "topic", "artist")
    project = Project.objects.get(pk=made.pk)
    project.artist = "Rodin"
    project.topic = "not saved"
    project.save(update_fields=["artist"])
    held = assert_tells_its_row("art.updated", ArtProject, made.pk, "topic", "artist")
    assert held == {"topic": "Sculpture", "artist": "Rodin"}
    assert types() == ["art.created", "art.updated"]


def test_a_child_that_was_registered_before_its_parent_publishes_each_change_once(publish: Publish):
    publish(Car, created="car.created", updated="car.updated", fields=["brand", "wheels"])
    publish(Vehicle, created="vehicle.created", updated="vehicle.updated", fields=["wheels"])

    car = Car.objects.create(brand="Ami")
    car.brand = "Dyane"
    car.save()

    assert sorted(types()) == ["car.created", "car.updated", "vehicle.created", "vehicle.updated"]


def test_a_delete_of_mixed_rows_publishes_each_once(publish: Publish):
    publish(Project, **PROJECT)
    ArtProject.objects.create(topic="Sculpture", artist="Camille")
    ResearchProject.objects.create(topic="Tides", supervisor="Ada")

    Project.objects.all().delete()

    deleted = [event.data["topic"] for event in events() if event.type == "project.deleted"]
    assert sorted(deleted) == ["Sculpture", "Tides"]

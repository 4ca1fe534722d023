"""Who inherits a registration, and that every one of them publishes exactly once."""
# ruff: noqa: DJ008 - the models of these tests are never printed

import pytest
from django.db import models
from django.db.models.signals import m2m_changed, post_save
from django.test import override_settings
from django.test.utils import isolate_apps

from genesys_eventbridge.model_events import publishes
from genesys_eventbridge.model_events.registry import models_of, plan, registrations
from tests import settings
from tests.publishing import Publish, data, events, types
from tests.shop.models import Bargain, Bundle, Country, Product, Tag

pytest_plugins = ["tests.registrations"]
with_database = pytest.mark.django_db
isolated = isolate_apps("tests.shop")


class ShopModel(models.Model):
    """Says to which app the models of these tests belong."""

    class Meta:
        abstract = True
        app_label = "shop"


@pytest.fixture(autouse=True)
def _registrations(publish: Publish) -> Publish:
    """Registrations made by the decorator in these tests end with them, too."""
    return publish


@with_database
@pytest.mark.parametrize("model", [Product, Bundle, Bargain])
def test_children_and_proxies_publish_once_by_their_parents_registration(publish: Publish, model) -> None:
    publish(
        Product,
        created="product.created",
        updated="product.updated",
        deleted="product.deleted",
        fields=["name"],
        changed=["name"],
    )

    one = model.objects.create(name="Lamp")
    one = model.objects.get()
    one.name = "Bulb"
    one.save()
    one.save()
    one.delete()

    row_of = model._meta.concrete_model._meta.label_lower  # a proxy's object is its model's
    assert [(event.type, event.object_type) for event in events()] == [
        ("product.created", row_of),
        ("product.updated", row_of),
        ("product.deleted", row_of),
    ]


@with_database
def test_parents_do_not_publish_by_their_childrens_registration(publish: Publish) -> None:
    publish(Bundle, created="bundle.created", fields=["name"])
    publish(Bargain, created="bargain.created", fields=["name"])

    Product.objects.create(name="Lamp")
    Bundle.objects.create(name="Box")
    Bargain.objects.create(name="Sale")

    assert types() == ["bundle.created", "bargain.created"]


@with_database
def test_a_child_that_names_the_same_type_again_says_it_in_its_own_words(publish: Publish) -> None:
    publish(Product, created="product.created", deleted="product.deleted", fields=["name"])
    publish(Bundle, created="product.created", fields=["name", "size"])

    Bundle.objects.create(name="Box", size=2).delete()
    Product.objects.create(name="Lamp")

    assert data() == [{"name": "Box", "size": 2}, {"name": "Box"}, {"name": "Lamp"}]


@with_database
def test_a_child_with_a_type_of_its_own_publishes_both(publish: Publish) -> None:
    publish(Product, created="product.created", fields=["name"])
    publish(Bundle, created="bundle.created", fields=["size"])

    Bundle.objects.create(name="Box")

    assert sorted(types()) == ["bundle.created", "product.created"]


@isolated
def test_what_is_defined_later_inherits() -> None:
    @publishes(created="thing.created", updated="thing.updated", fields=["name"], changed=["name"])
    class Thing(ShopModel):
        name = models.CharField(max_length=10)

    class Child(Thing):
        pass

    class Proxy(Thing):
        class Meta(ShopModel.Meta):
            proxy = True

    (made,) = [one for one in registrations() if one.model is Thing]
    assert list(models_of(made)) == [Thing, Child, Proxy]
    for model in (Thing, Child, Proxy):
        assert plan(model).kinds["created"] == (made,)
        assert post_save.has_listeners(model)
        assert [field.name for field in plan(model).watched] == ["name"]


@isolated
def test_an_abstract_model_registers_what_derives_from_it() -> None:
    @publishes(created="thing.created", fields=["name"], m2m={"others": "thing.others"})
    class Base(ShopModel):
        name = models.CharField(max_length=10)
        others = models.ManyToManyField("self")

        class Meta(ShopModel.Meta):
            abstract = True

    class Derived(Base):
        pass

    class Middle(Base):
        class Meta(ShopModel.Meta):
            abstract = True

    class Far(Middle):
        pass

    (made,) = [one for one in registrations() if one.model is Base]
    assert list(models_of(made)) == [Derived, Far]
    assert plan(Far).kinds["created"] == (made,)
    assert m2m_changed.has_listeners(Far.others.through)
    assert m2m_changed.has_listeners(Derived.others.through)


@isolated
def test_a_through_model_may_be_defined_later() -> None:
    @publishes(m2m={"others": "thing.others"}, fields=["name"])
    class Thing(ShopModel):
        name = models.CharField(max_length=10)
        others = models.ManyToManyField("self", through="Link")

    class Link(ShopModel):
        a = models.ForeignKey(Thing, models.CASCADE, related_name="+")
        b = models.ForeignKey(Thing, models.CASCADE, related_name="+")

    assert m2m_changed.has_listeners(Link)


@isolated
def test_methods_of_the_model_are_called_through() -> None:
    """A model's own save_base and from_db, and those of mixins around it, still run."""
    calls = []

    class Mixin(ShopModel):
        class Meta(ShopModel.Meta):
            abstract = True

        def save_base(self, *args, **kwargs):
            calls.append("mixin")

    @publishes(created="thing.created", updated="thing.updated", fields=["name"], changed=["name"])
    class Thing(Mixin):
        name = models.CharField(max_length=10)

        def save_base(self, *args, **kwargs):
            calls.append("thing")
            super().save_base(*args, **kwargs)

        @classmethod
        def from_db(cls, db, field_names, values, **kwargs):
            calls.append(f"from_db of {cls.__name__}")
            return super().from_db(db, field_names, values, **kwargs)

        def refresh_from_db(self, using=None, fields=None, from_queryset=None):
            calls.append("refresh")

    class Child(Thing):
        def save_base(self, *args, **kwargs):
            calls.append("child")
            super().save_base(*args, **kwargs)

    child = Child.from_db("default", ["id", "name", "thing_ptr_id"], [1, "x", 1])
    child.refresh_from_db()
    Thing(name="a").save_base(raw=True)
    child.save_base(True, False, False, "default")

    assert calls == ["from_db of Child", "refresh", "thing", "mixin", "child", "thing", "mixin"]
    assert Thing.save_base.__name__ == "save_base"
    assert Thing.save_base.__doc__ == Mixin.save_base.__doc__
    assert vars(Thing.save_base)["alters_data"]


@isolated
def test_a_class_that_is_not_registered_is_left_alone() -> None:
    class Thing(ShopModel):
        name = models.CharField(max_length=10)

    assert not plan(Thing)
    assert "save_base" not in vars(Thing)
    assert not post_save.has_listeners(Thing)


def test_only_what_needs_the_values_wraps_the_reading() -> None:
    @isolate_apps("tests.shop")
    def define() -> type[models.Model]:
        @publishes(created="thing.created", updated="thing.updated", fields=["name"])
        class Thing(ShopModel):
            name = models.CharField(max_length=10)

        return Thing

    thing = define()
    assert "save_base" in vars(thing)
    assert "from_db" not in vars(thing)


@with_database
def test_a_child_speaks_for_itself_to_one_destination_and_by_its_parent_to_another(publish: Publish) -> None:
    audit = {**settings.GENESYS_EVENTBRIDGE, "audit": settings.GENESYS_EVENTBRIDGE["default"]}
    with override_settings(GENESYS_EVENTBRIDGE=audit):
        publish(Product, created="product.created", fields=["name"])
        publish(Bundle, created="product.created", fields=["size"], destination="audit")

        Bundle.objects.create(name="Box", size=2)

    assert sorted((event.destination, list(event.data)) for event in events()) == [
        ("audit", ["size"]),
        ("default", ["name"]),
    ]


@with_database
def test_one_decorator_may_register_several_models(publish: Publish) -> None:
    register = publishes(created="it.created", fields=["pk"])
    for model in (Tag, Country):
        assert register(model) is model

    Tag.objects.create(name="light")
    Country.objects.create(code="DE", name="Germany")

    assert types() == ["it.created", "it.created"]


@isolated
def test_a_class_that_inherits_twice_publishes_once() -> None:
    @publishes(created="thing.created", updated="thing.updated", fields=["name"], changed=["name"])
    class Base(ShopModel):
        name = models.CharField(max_length=10)

        class Meta(ShopModel.Meta):
            abstract = True

    class Left(Base):
        class Meta(ShopModel.Meta):
            abstract = True

    class Right(Base):
        class Meta(ShopModel.Meta):
            abstract = True

    class Both(Left, Right):
        pass

    class Child(Both):
        pass

    (made,) = [one for one in registrations() if one.model is Base]
    assert list(models_of(made)) == [Both, Child]
    assert plan(Child).kinds["created"] == (made,)
    assert "save_base" in vars(Both)
    assert not {"save_base", "_save_table"} & set(vars(Child))


def test_a_model_is_wrapped_once_however_often_it_is_registered(publish: Publish) -> None:
    publish(Product, updated="product.updated", fields=["name"], changed=["name"])
    wrapped = [vars(Product)[name] for name in ("save_base", "_save_table")]

    publish(Product, updated="product.noticed", fields=["name"], changed=["stock"])
    publish(Bundle, updated="bundle.updated", fields=["name"], changed=["size"])

    assert [vars(Product)[name] for name in ("save_base", "_save_table")] == wrapped
    assert not {"save_base", "_save_table"} & set(vars(Bundle))

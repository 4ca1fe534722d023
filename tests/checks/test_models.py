"""What the system checks say about registered models."""

from django.db import models
from django.test.utils import isolate_apps

from genesys_eventbridge.checks.models import misplaced_models, problems
from genesys_eventbridge.models import OutboxEvent
from tests.publishing import Publish
from tests.shop.models import Bundle, Order, Product

pytest_plugins = ["tests.registrations"]


class ShopElsewhere:
    """A router that writes products to a database of their own."""

    def db_for_write(self, model: type[models.Model], **_) -> str | None:
        return "elsewhere" if issubclass(model, Product) else None


class EverythingElsewhere:
    def db_for_write(self, model: type[models.Model], **_) -> str:
        return "elsewhere"


def test_right_registrations_are_no_problem(publish: Publish) -> None:
    publish(
        Product,
        created="product.created",
        fields=[
            "name",
            "pk",
            "headline",
            "label",
            "supplier.email",
            "tags.name",
            "supplier_id",
            "bundle.size",
        ],
        subject="supplier.name",
        url=lambda product: "/",
    )

    assert problems() == []


def test_a_model_on_another_database_than_the_outbox_is_e012(publish: Publish, settings) -> None:
    publish(Product, created="product.created", fields=["name"])
    publish(Order, created="order.created", fields=["number"])
    settings.DATABASE_ROUTERS = ["tests.checks.test_models.ShopElsewhere"]

    assert misplaced_models() == [
        ("shop.Bargain", "elsewhere"),
        ("shop.Bundle", "elsewhere"),
        ("shop.Product", "elsewhere"),
    ]
    assert {problem.id for problem in problems()} == {"E012"}
    assert "shop.Bundle publishes events, but is written to database 'elsewhere'" in problems()[1].message
    assert "DATABASE_ROUTERS" in problems()[1].hint


def test_models_that_stand_beside_the_outbox_are_in_place_wherever_that_is(publish, settings) -> None:
    publish(Bundle, created="bundle.created", fields=["name"])
    settings.DATABASE_ROUTERS = ["tests.checks.test_models.EverythingElsewhere"]

    assert misplaced_models() == []
    assert OutboxEvent._meta.app_label == "genesys_eventbridge"


def test_a_name_that_the_model_has_not_is_found_before_the_first_save(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["nummber", "customer.email"], subject="nunber.x")

    found = problems()

    assert [(problem.id, problem.hint) for problem in found] == [
        ("E004", "Did you mean 'number'?"),
        ("E004", "Did you mean 'number'?"),
    ]
    assert "publishes() on shop.Order: the model has no 'nummber'" in found[0].message


def test_an_unknown_destination_is_found_before_the_first_save(publish: Publish) -> None:
    publish(Order, created="order.created", fields=["number"], destination="audti")

    (found,) = problems()

    assert (found.id, found.hint) == ("E004", "Known: 'default'.")
    assert "'audti'" in found.message


@isolate_apps("tests.shop")
def test_an_abstract_model_is_judged_too(publish: Publish) -> None:
    class Base(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            abstract = True

    publish(Base, created="thing.created", fields=["name", "nane"])

    assert [problem.hint for problem in problems()] == ["Did you mean 'name'?"]

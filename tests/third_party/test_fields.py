"""django-fsm, django-money, django-phonenumber-field and taggit: fields that are more than a column."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F
from django_fsm import TransitionNotAllowed
from djmoney.money import Money
from moneyed import EUR, USD

from tests.publishing import Publish, data, types
from tests.third_party.models import Caller, Invoice, Payment, Recipe
from tests.third_party.rows import assert_tells_its_row

pytestmark = pytest.mark.django_db(transaction=True)

INVOICE = {
    "created": "invoice.created",
    "updated": "invoice.updated",
    "deleted": "invoice.deleted",
    "fields": ["number", "state"],
}
PAYMENT = {
    "created": "payment.created",
    "updated": "payment.updated",
    "deleted": "payment.deleted",
    "fields": ["reference", "price", "price_currency"],
}
PRICE = ["reference", "price", "price_currency"]


def test_a_protected_state_changes_by_transitions_only_as_before(maybe_publish: Publish):
    maybe_publish(Invoice, **INVOICE, changed=["state"])

    invoice = Invoice.objects.create(number="I-1")
    with pytest.raises(AttributeError):
        invoice.state = "paid"
    with pytest.raises(TransitionNotAllowed):
        invoice.pay()
    invoice.send()
    invoice.save()
    invoice.refresh_from_db()
    assert [found.name for found in invoice.get_available_state_transitions()] == ["pay"]
    lazy = Invoice.objects.defer("state").get(pk=invoice.pk)
    lazy.pay()
    lazy.save(update_fields=["state"])
    assert Invoice.objects.get(pk=invoice.pk).state == "paid"


def test_a_transition_publishes_when_it_is_saved_and_what_was_saved(publish: Publish):
    publish(Invoice, **INVOICE, changed=["state"])

    invoice = Invoice.objects.create(number="I-1")
    invoice.send()
    invoice.number = "I-2"
    invoice.save(update_fields=["number"])
    assert types() == ["invoice.created"]
    invoice.save()
    assert_tells_its_row("invoice.updated", Invoice, invoice.pk, "number", "state")
    invoice.pay()
    invoice.delete()

    assert types() == ["invoice.created", "invoice.updated", "invoice.deleted"]
    assert data()[-1] == {"number": "I-2", "state": "sent"}


def test_money_is_assigned_read_and_computed_as_before(maybe_publish: Publish):
    maybe_publish(Payment, **PAYMENT, changed=["price", "price_currency"])

    payment = Payment.objects.create(reference="P-1", price=Money("10.50", EUR))
    payment.price = Money("12", USD)
    payment.save()
    payment.price = F("price") + Money(1, USD)
    payment.save()

    read = Payment.objects.get(pk=payment.pk)
    assert read.price == Money("13", USD)
    assert Payment.objects.filter(price=Money("13", USD)).exists()
    read.price = Money("13", EUR)
    read.save(update_fields=["price", "price_currency"])
    assert Payment.objects.get(pk=payment.pk).price == Money("13", EUR)


def test_both_columns_of_money_are_told_as_the_row_has_them(publish: Publish):
    publish(Payment, **PAYMENT)

    payment = Payment.objects.create(reference="P-1", price=Money("10.5", EUR))
    held = assert_tells_its_row("payment.created", Payment, payment.pk, *PRICE)
    assert held == {"reference": "P-1", "price": "10.50", "price_currency": "EUR"}
    payment.price = Money("12", USD)
    payment.save(update_fields=["price"])
    held = assert_tells_its_row("payment.updated", Payment, payment.pk, *PRICE)
    assert (held["price"], held["price_currency"]) == ("12.00", "EUR")
    payment.save()
    assert_tells_its_row("payment.updated", Payment, payment.pk, *PRICE)
    payment.delete()

    assert data()[-1] == {"reference": "P-1", "price": "12.00", "price_currency": "USD"}


@pytest.mark.parametrize("watched", ["price", "price_currency"])
def test_a_column_that_a_descriptor_wrote_counts_as_changed(publish: Publish, watched: str):
    publish(Payment, **PAYMENT, changed=[watched])
    payment = Payment.objects.create(reference="P-1", price=Money("10.50", EUR))

    payment.reference = "P-2"
    payment.save()
    assert types() == ["payment.created"]
    payment.price = Money("12", USD)
    payment.save()

    assert_tells_its_row("payment.updated", Payment, payment.pk, *PRICE)
    assert types() == ["payment.created", "payment.updated"]


def test_an_expression_of_money_is_told_as_its_result(publish: Publish):
    publish(Payment, **PAYMENT, changed=["price"])
    payment = Payment.objects.create(reference="P-1", price=Money("10.50", EUR))

    payment.price = F("price") + Money(1, EUR)
    payment.save()

    assert assert_tells_its_row("payment.updated", Payment, payment.pk, *PRICE)["price"] == "11.50"


def test_a_value_that_only_its_field_knows_is_told_as_the_row_has_it(publish: Publish):
    publish(Caller, created="caller.created", updated="caller.updated", fields=["phone"], changed=["phone"])

    caller = Caller.objects.create(name="Ada", phone="+44 20 7946 0958")
    held = assert_tells_its_row("caller.created", Caller, caller.pk, "phone")
    caller = Caller.objects.get(pk=caller.pk)
    caller.name = "Lovelace"
    caller.save()
    assert types() == ["caller.created"]
    caller.phone = ""
    caller.save()

    assert held == {"phone": "+442079460958"}
    assert_tells_its_row("caller.updated", Caller, caller.pk, "phone")


# taggit 6.1 calls a method that Django 6.1 has deprecated.
@pytest.mark.filterwarnings("ignore:SQLCompiler.quote_name_unless_alias")
def test_tags_are_added_and_removed_as_before(maybe_publish: Publish):
    maybe_publish(Recipe, created="recipe.created", updated="recipe.updated", fields=["name"])

    recipe = Recipe.objects.create(name="Scones")
    recipe.tags.add("sweet", "tea")
    recipe.tags.remove("tea")

    assert list(recipe.tags.names()) == ["sweet"]
    assert list(Recipe.objects.filter(tags__name="sweet")) == [recipe]


def test_a_manager_of_tags_is_refused_for_m2m(publish: Publish):
    with pytest.raises(ImproperlyConfigured, match="tags"):
        publish(Recipe, m2m={"tags": "recipe.tagged"}, fields=["name"])

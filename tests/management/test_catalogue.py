"""`eventbridge_catalogue`: the contract a team hands to its consumers, in three forms."""

import pytest

from tests.prompt import run, run_json
from tests.publishing import Publish
from tests.shop.models import Order

pytest_plugins = ["tests.registrations"]


@pytest.fixture
def orders(publish: Publish) -> None:
    publish(
        Order,
        created="order.created",
        updated="order.paid",
        changed=["status"],
        fields=["number", "amount", "status", "customer.email"],
    )


def test_text_tells_each_event_its_occasion_its_members_and_an_example(orders) -> None:
    ran = run("catalogue")

    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0] == "order.created  (shop.Order created; to default)"
    assert "  amount          string (decimal)" in lines
    assert "  customer        object, or null" in lines
    assert "  customer.email  string (email), or null" in lines
    assert '  status          string, one of "new", "paid", "shipped", "cancelled"' in lines
    assert any(line.startswith('  example  {"number": ') for line in lines)
    assert "order.paid  (shop.Order updated, when status changed; to default)" in lines


def test_json_is_the_contract_for_programs(orders) -> None:
    created, paid = run_json("catalogue").data["events"]

    assert (created["type"], created["source"], created["kind"]) == (
        "order.created",
        "com.example.tests",
        "created",
    )
    assert created["members"][1] == {
        "name": "amount",
        "type": "string",
        "format": "decimal",
        "nullable": False,
        "choices": [],
        "text": "amount",
    }
    assert set(created["example"]) == {"number", "amount", "status", "customer"}
    assert (paid["changed"], paid["schema"]) == (["status"], None)


def test_markdown_is_a_page_with_a_table_for_each_event(orders, settings) -> None:
    schema = {"type": "object", "examples": [{"number": "ORD-7 | x"}]}
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.paid": schema}}
    }

    page = run("catalogue", "--format", "markdown").out

    assert page.startswith("# Events\n\n## `order.created`\n\nshop.Order created. To default.\n")
    assert "| `amount` | string (decimal) | amount |" in page
    assert 'JSON Schema of `data`:\n\n```json\n{\n  "type": "object"' in page
    assert '"number": "ORD-7 | x"' in page


def test_only_the_destinations_asked_for_are_listed(orders, settings) -> None:
    settings.GENESYS_EVENTBRIDGE = {
        **settings.GENESYS_EVENTBRIDGE,
        "emea": settings.GENESYS_EVENTBRIDGE["default"],
    }

    assert run_json("catalogue", "--destination", "emea").data["events"] == []
    assert "'emea'" in run("catalogue", "--destination", "eme").error
    assert run("catalogue", "--destination", "emea").out == "No event is declared for emea.\n"


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_without_a_registration_it_says_how_to_make_one(form) -> None:
    ran = run("catalogue", "--format", form)

    assert ran.code == 0
    assert "@publishes(created=" in ran.out

"""The official AsyncAPI parser reads what eventbridge_catalogue writes: `make asyncapi`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kinds.models import Item
from tests.prompt import run
from tests.publishing import Declare, Publish
from tests.shop.models import LineItem, Order, Product

pytest_plugins = ["tests.registrations", "tests.declaring"]

VALIDATE = Path(__file__).with_name("validate.mjs")
NUMBER = {
    "type": "object",
    "properties": {"number": {"$ref": "#/$defs/number"}, "parent": {"$ref": "#"}},
    "required": ["number"],
    "$defs": {"number": {"type": "string", "pattern": "^ORD-"}},
}
OLD = {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"exclusiveMinimum": True}}}


@pytest.fixture
def parsed(tmp_path):
    """What the parser says of a document; or of the catalogue, as the command writes it."""
    assert Path(os.environ["ASYNCAPI_HOME"]).is_dir()  # `make asyncapi` sets it

    def parse(document: Any = None) -> Any:
        file = tmp_path / "asyncapi.json"
        if document is None:
            assert run("catalogue", "--format", "asyncapi", "--output", str(file)).code == 0
        else:
            file.write_text(json.dumps(document), "utf-8")
        ran = subprocess.run(
            ["node", VALIDATE, file], capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return parse


@pytest.fixture
def every_kind(publish: Publish, declare: Declare) -> None:
    """Events of every kind of field, of two models with one type, of odd names, and declared ones."""
    for model in (Product, Item):
        names = [field.name for field in model._meta.concrete_fields]
        kind = model._meta.model_name
        publish(model, created=f"{kind}.created", deleted=f"{kind} deleted/ü", fields=names, subject="pk")
    publish(LineItem, created="it.created", fields=["sku", "order.number", "order.customer.name"])
    publish(Order, created="it.created", data=lambda order: {"number": order.number})
    declare("order.packed", schema=NUMBER, example={"number": "ORD-1"}, description="A parcel is closed.")
    declare("order.sent", schema=OLD)
    declare("order.weighed", schema={"prefixItems": [{"type": "number"}], "items": False})
    declare("order.lost", example=["a list"])


def test_the_parser_finds_nothing_wrong_with_events_of_every_kind(every_kind, parsed) -> None:
    found = parsed()

    assert found["diagnostics"] == []
    assert found["read"]["version"] == "3.0.0"
    assert found["read"]["channels"] == ["/api/v2/eventbridge/events"]
    assert set(found["read"]["operations"]) == {"send"}
    assert {"product.created", "item deleted/ü", "it.created", "order.packed"} <= set(
        found["read"]["messages"]
    )


@pytest.mark.parametrize("body", ["cloudevent", "data"])
def test_the_parser_finds_nothing_wrong_with_a_webhook_beside_it(every_kind, declare, settings, parsed, body):
    settings.GENESYS_EVENTBRIDGE = {
        **settings.GENESYS_EVENTBRIDGE,
        "work.flow": {
            "PROTOCOL": "webhook",
            "REGION": "eu-central-1",
            "WEBHOOK_TOKEN": "token-1",
            "WEBHOOK_BODY": body,
            "ON_DOUBT": "ask",
            "SOURCE": "com.example",
        },
    }
    declare("order.packed", schema=NUMBER, example={"number": "ORD-1"}, destination="work.flow")

    found = parsed()

    assert found["diagnostics"] == []
    assert len(found["read"]["servers"]) == 2
    assert "/api/v2/integrations/webhooks/{token}/events" in found["read"]["channels"]


def test_the_parser_finds_nothing_wrong_with_an_empty_catalogue(parsed) -> None:
    assert parsed()["diagnostics"] == []


@pytest.mark.parametrize("change", ["version", "action", "reference", "schema"])
def test_the_parser_judges(every_kind, parsed, change) -> None:
    document = run("catalogue", "--format", "asyncapi").data
    message = document["components"]["messages"]["default.order.packed"]
    if change == "version":
        del document["info"]["version"]
    elif change == "action":
        document["operations"]["default.order.packed"]["action"] = "publish"
    elif change == "reference":
        message["payload"]["properties"]["data"] = {"$ref": "#/components/nowhere"}
    else:
        message["payload"]["properties"]["data"] = {"type": "text"}

    assert parsed(document)["diagnostics"] != []

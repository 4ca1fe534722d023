"""declare_event(): what enqueue() sends is described in code, validated, and in the catalogue."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import Client

from genesys_eventbridge.checks import check_models
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.outbox import declarations, enqueue, enqueue_many, schemas
from tests.prompt import run, run_json
from tests.publishing import Declare, Publish
from tests.shop.models import Order

pytest_plugins = ["tests.declaring", "tests.registrations"]

SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "string", "pattern": "^ORD-"}},
    "required": ["number"],
}
EXAMPLE = {"number": "ORD-1"}


def ids() -> list[str]:
    return [str(message.id).removeprefix("genesys_eventbridge.") for message in check_models()]


@pytest.fixture
def without_jsonschema(monkeypatch) -> None:
    monkeypatch.setattr(schemas, "available", lambda: False)


@pytest.mark.django_db
def test_enqueue_refuses_data_that_the_declared_schema_refuses(declare: Declare) -> None:
    declare("order.packed", schema=SCHEMA)

    with transaction.atomic():
        enqueue("order.packed", EXAMPLE, standalone=True)
        with pytest.raises(InvalidEvent, match=r"data\.number") as refused:
            enqueue("order.packed", {"number": "7"}, standalone=True)
        with pytest.raises(InvalidEvent, match=r"events\[1\].data"):
            enqueue_many(
                [{"type": "order.packed", "data": EXAMPLE}, {"type": "order.packed", "data": {}}],
                standalone=True,
            )

    assert "rule 'pattern'" in str(refused.value)


@pytest.mark.django_db
def test_a_declaration_for_another_destination_or_type_validates_nothing(declare: Declare) -> None:
    declare("order.packed", schema=SCHEMA, destination="emea")
    declare("order.sent", schema=SCHEMA)

    with transaction.atomic():
        assert enqueue("order.packed", {"number": "7"}, standalone=True).pk


@pytest.mark.django_db
def test_a_schema_in_a_file_is_read(declare: Declare, tmp_path) -> None:
    file = tmp_path / "packed.json"
    file.write_text('{"required": ["number"]}')
    declare("order.packed", schema=file, example=EXAMPLE)

    with transaction.atomic(), pytest.raises(InvalidEvent):
        enqueue("order.packed", {}, standalone=True)
    assert ids() == []


@pytest.mark.django_db
def test_without_jsonschema_enqueue_validates_nothing_and_a_check_says_so(
    declare: Declare, without_jsonschema
) -> None:
    declare("order.packed", schema=SCHEMA, example=EXAMPLE)

    with transaction.atomic():
        assert enqueue("order.packed", {"number": "7"}, standalone=True).pk
    assert ids() == ["W045"]
    assert run_json("catalogue").data["events"][0]["example"] == EXAMPLE


# ---------------------------------------------------------------------------------- registration


def test_the_same_declaration_twice_is_one_and_a_different_one_is_refused(declare: Declare) -> None:
    declare("order.packed", schema=SCHEMA, example=EXAMPLE)
    declare("order.packed", schema=dict(SCHEMA), example=dict(EXAMPLE))
    declare("order.packed", destination="emea")

    with pytest.raises(ImproperlyConfigured, match="declared for destination 'default' already"):
        declare("order.packed", schema=SCHEMA)
    assert len(declarations.declarations()) == 2


def test_later_changes_to_the_arguments_have_no_effect(declare: Declare) -> None:
    schema, example = {"required": ["number"]}, {"number": "ORD-1"}
    declare("order.packed", schema=schema, example=example)

    schema["required"].append("weight")
    example["number"] = "changed"

    (found,) = declarations.declarations()
    assert (found.schema, found.example) == ({"required": ["number"]}, {"number": "ORD-1"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type": ""}, "type must not be empty"),
        ({"type": 7}, "type must be text"),
        ({"schema": ["number"]}, "schema= must be a JSON Schema"),
        ({"schema": {"const": object()}}, "schema= cannot be encoded as JSON"),
        ({"example": object()}, "example= cannot be sent"),
        ({"example": float("nan")}, "example= cannot be sent"),
        ({"description": None}, "description= must be text"),
        ({"destination": None}, "destination= must be an alias"),
    ],
    ids=["empty", "number", "list", "no-json", "object", "nan", "no-text", "no-alias"],
)
def test_a_wrong_argument_is_named(declare: Declare, arguments, message) -> None:
    given = {"type": "order.packed", **arguments}

    with pytest.raises(ImproperlyConfigured, match=message):
        declare(given.pop("type"), **given)
    assert declarations.declarations() == ()


def test_threads_that_declare_at_once_lose_nothing_and_one_conflict_is_reported(declare: Declare) -> None:
    together = threading.Barrier(8)

    def one(number: int) -> bool:
        together.wait(10)
        for at in range(50):
            declare(f"type.{number}.{at}")
            declarations.declarations()
        try:
            declare("contested", example=number)
        except ImproperlyConfigured:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(one, range(8)))

    assert won.count(True) == 1
    assert len(declarations.declarations()) == 401


# ---------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"schema": SCHEMA, "example": EXAMPLE}, []),
        ({"schema": SCHEMA}, []),
        ({"example": EXAMPLE}, []),
        ({"schema": SCHEMA, "example": {"number": "7"}}, ["E045"]),
        ({"schema": {"type": "no such type"}}, ["E004"]),
        ({"schema": {"$ref": "https://example.com/x"}, "example": {}}, ["E004"]),
        ({"schema": "missing.json"}, ["E004"]),
        ({"destination": "defualt"}, ["E004"]),
    ],
    ids=["both", "schema", "example", "mismatch", "invalid", "reference", "no-file", "destination"],
)
def test_a_check_finds_what_is_wrong_with_a_declaration(declare: Declare, arguments, found) -> None:
    declare("order.packed", **arguments)

    assert ids() == found


def test_the_checks_name_the_declaration_the_place_and_the_remedy(declare: Declare) -> None:
    declare("order.packed", schema=SCHEMA, example={"number": "7"})
    declare("order.sent", destination="defualt")

    example, destination = check_models()

    assert example.msg == (
        "declare_event('order.packed'): the example does not match the schema: "
        "data.number must have the pattern ^ORD- (rule 'pattern')."
    )
    assert destination.hint == "Did you mean 'default'?"


@pytest.mark.django_db
def test_a_type_with_two_schemas_is_an_error_and_the_settings_win(declare: Declare, settings) -> None:
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.packed": {"type": "string"}}}
    settings.GENESYS_EVENTBRIDGE = {"default": default}
    declare("order.packed", schema=SCHEMA)

    assert ids() == ["E005"]
    with transaction.atomic():
        assert enqueue("order.packed", "ORD-1", standalone=True).pk


# ------------------------------------------------------------------------------------- catalogue


@pytest.mark.parametrize("form", ["text", "json", "markdown", "jsonschema", "asyncapi"])
def test_a_declared_event_is_in_the_catalogue_in_every_format(declare: Declare, form) -> None:
    declare("order.packed", schema=SCHEMA, example={"number": "ORD-4711"}, description="A parcel is closed.")

    ran = run("catalogue", "--format", form)

    for text in ("order.packed", "^ORD-", "ORD-4711", "A parcel is closed."):
        assert text in ran.out


@pytest.mark.django_db
def test_a_declared_event_is_on_the_page_of_the_admin(declare: Declare, admin_client: Client) -> None:
    declare("order.packed", schema=SCHEMA, example={"number": "ORD-4711"}, description="A parcel is closed.")

    page = admin_client.get("/admin/genesys_eventbridge/outboxevent/catalogue/").content.decode()

    for text in ("^ORD-", "ORD-4711", "A parcel is closed."):
        assert text in page


def test_a_declaration_describes_the_data_of_a_registered_model(declare: Declare, publish: Publish) -> None:
    publish(Order, created="order.created", data=lambda order: {"number": order.number})
    declare("order.created", schema=SCHEMA, example=EXAMPLE, description="An order was placed.")

    (entry,) = run_json("catalogue").data["events"]

    assert (entry["model"], entry["schema"], entry["example"]) == ("shop.Order", SCHEMA, EXAMPLE)
    assert entry["text"] == "An order was placed."

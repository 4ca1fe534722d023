"""`eventbridge_catalogue --check`: a committed file is compared, and what breaks consumers ends with 1."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from genesys_eventbridge.model_events import receivers
from genesys_eventbridge.model_events.registry import registrations
from tests.prompt import Ran, run
from tests.publishing import Declare, Publish
from tests.shop.models import Customer, Order

pytest_plugins = ["tests.registrations", "tests.declaring"]

FORMATS = ("json", "jsonschema", "asyncapi")
SIZES: dict[str, Any] = {"type": "object", "properties": {"size": {"enum": ["s", "m"]}}, "required": ["size"]}


@pytest.fixture(params=FORMATS)
def form(request) -> str:
    return str(request.param)


@pytest.fixture
def file(tmp_path) -> Path:
    return Path(tmp_path, "contract.json")


@pytest.fixture
def emea(settings) -> None:
    settings.GENESYS_EVENTBRIDGE = {
        **settings.GENESYS_EVENTBRIDGE,
        "emea": settings.GENESYS_EVENTBRIDGE["default"],
    }


def written(file: Path, form: str) -> Any:
    """The file as ``--format`` wrote it."""
    ran = run("catalogue", "--format", form, "--output", str(file))
    assert ran.code == 0
    assert ran.out == f"Written to {file}.\n"
    return json.loads(file.read_text("utf-8"))


def printed(text: str) -> list[str]:
    """The arguments of the command in the last line, as a shell reads them: an operator stands alone."""
    arrow, command = text.splitlines()[-1].split(maxsplit=1)
    manage, name, *words = shlex.shlex(command, posix=True, punctuation_chars=True)
    assert (arrow, manage, name) == ("->", "manage.py", "eventbridge_catalogue")
    return words


def check(file: Path, *arguments: str) -> Ran:
    return run("catalogue", "--check", str(file), *arguments)


def report(file: Path, *arguments: str) -> Any:
    return check(file, "--format", "json", *arguments).data


class Events:
    """Declares events, and declares them anew."""

    def __init__(self, declare: Declare) -> None:
        self.declare = declare

    def now(self, *events: tuple[str, dict[str, Any]], destination: str = "default") -> None:
        from genesys_eventbridge.outbox import declarations

        declarations._declared.clear()
        for type_, schema in events:
            self.declare(type_, schema=schema, destination=destination)


@pytest.fixture
def events(declare: Declare) -> Events:
    return Events(declare)


def test_nothing_changed(publish: Publish, events: Events, file, form) -> None:
    publish(Order, created="order.created", fields=["number", "amount", "status", "customer.email"])
    events.now(("box.packed", SIZES))
    written(file, form)

    ran = check(file)

    assert ran.code == 0
    assert ran.out.startswith("0 breaking changes, 0 compatible changes since ")
    assert "(2 event types then, 2 now)." in ran.out


def test_a_change_of_one_of_two_models_with_the_same_type_is_found(publish: Publish, file, form) -> None:
    """An event of the first model was no event of the second: their consumers read different members."""
    publish(Customer, created="thing.created", fields=["name"])
    publish(Order, created="thing.created", fields=["number", "amount", "status", "customer.email"])
    written(file, form)
    receivers.detach(registrations()[-1])
    publish(Order, created="thing.created", fields=["number", "status", "customer.name"])

    ran = check(file)

    assert ran.code == 1
    assert "thing.created (to default): data.amount is gone (removed field)" in ran.out
    assert "thing.created (to default): data.customer.email is gone (removed field)" in ran.out


def test_a_removed_field_and_a_removed_type_fail_and_are_explained(
    publish: Publish, events: Events, file, form
) -> None:
    publish(Order, created="order.created", fields=["number", "customer.email"])
    events.now(("box.packed", SIZES), ("box.sent", SIZES))
    written(file, form)
    wider = {**SIZES, "properties": {"weight": {"type": "integer"}}, "required": []}
    events.now(("box.packed", wider))

    ran = check(file)

    assert (ran.code, ran.error) == (1, "2 breaking changes of the events' contract.")
    lines = ran.out.splitlines()
    assert lines[0] == "box.packed (to default): data.size is gone (removed field)"
    assert lines[1].startswith("  -> Keep the old name")
    assert lines[2] == "box.sent (to default): is no longer published (removed type)"
    assert "2 breaking changes, 1 compatible change since" in ran.out
    assert lines[-2].startswith("If the consumers agree, write the file again")
    again = f"manage.py eventbridge_catalogue --format {form} --output {file}"
    assert lines[-1].endswith(again + (" --contract-version 2.0.0" if form == "asyncapi" else ""))
    assert {(one["type"], one["path"]) for one in report(file)["compatible"]} == {
        ("box.packed", "data.weight")
    }


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (["s"], 'data.size is never "m" any more (narrowed enum)'),
        (["s", "m", "l"], 'data.size may be "l" now (widened enum)'),
        ([1, 2], "data.size was string; is integer now"),
    ],
    ids=["narrowed", "widened", "retyped"],
)
def test_other_values_fail(events: Events, file, form, values, what) -> None:
    events.now(("box.packed", SIZES))
    written(file, form)
    events.now(("box.packed", {**SIZES, "properties": {"size": {"enum": values}}}))

    ran = check(file)

    assert ran.code == 1
    assert ran.out.splitlines()[0] == f"box.packed (to default): {what}"


def test_a_new_type_and_a_new_field_are_compatible(events: Events, file, form) -> None:
    events.now(("box.packed", SIZES))
    written(file, form)
    more = {**SIZES, "properties": {**SIZES["properties"], "note": {}}}
    events.now(("box.packed", more), ("box.sent", SIZES))

    ran = check(file)

    assert ran.code == 0
    assert ran.out.startswith("0 breaking changes, 2 compatible changes")


def test_a_schema_for_a_declared_event_is_compatible_and_its_removal_is_not(
    declare: Declare, events: Events, file, form
) -> None:
    """Without a schema even bytes are allowed, instead of data."""
    events.now()
    declare("box.packed", example={"size": "s"})
    written(file, form)
    events.now(("box.packed", SIZES))
    ran = check(file)
    assert (ran.code, ran.out.startswith("0 breaking changes")) == (0, True)

    written(file, form)
    events.now()
    declare("box.packed", example={"size": "s"})

    assert any("any JSON value" in one["what"] for one in report(file)["breaking"])


def test_a_type_that_moved_to_another_destination_is_breaking(events: Events, emea, file, form) -> None:
    events.now(("box.packed", SIZES))
    written(file, form)
    events.now(("box.packed", SIZES), destination="emea")

    (change,) = report(file)["breaking"]

    assert change["what"] == "moved: it is sent to destination 'emea' now, not to 'default'"
    assert change["remedy"].startswith("Register it for both")


def test_another_source_is_breaking(publish: Publish, settings, file, form) -> None:
    publish(Order, created="order.created", fields=["number"])
    written(file, form)
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SOURCE": "com.example.new"}
    settings.GENESYS_EVENTBRIDGE = {"default": default}

    (change,) = report(file)["breaking"]

    assert change["path"] == "source"
    assert change["what"] == "was 'com.example.tests'; is 'com.example.new' now"


def test_several_models_with_one_type_are_alternatives(publish: Publish, file, form) -> None:
    from tests.kinds.models import Item

    publish(Order, created="it.created", fields=["number"])
    publish(Item, created="it.created", fields=["level"])
    written(file, form)

    assert report(file) == {
        "file": str(file),
        "breaking": [],
        "compatible": [],
        "needs_person": False,
    }


def test_a_destination_that_is_no_longer_configured_is_compared_too(
    events: Events, settings, emea, file, form
) -> None:
    events.now(("box.packed", SIZES), destination="emea")
    written(file, form)
    settings.GENESYS_EVENTBRIDGE = {"default": settings.GENESYS_EVENTBRIDGE["default"]}

    (change,) = report(file)["breaking"]

    assert (change["destination"], change["what"]) == ("emea", "is no longer published (removed type)")


def test_only_the_destinations_asked_for_are_compared(events: Events, emea, file, form) -> None:
    events.now(("box.packed", SIZES), destination="emea")
    written(file, form)
    events.now()

    assert check(file, "--destination", "default").code == 0
    assert check(file, "--destination", "emea").code == 1


def test_the_webhook_with_bare_data_is_compared_like_any_other(events: Events, settings, file) -> None:
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            "PROTOCOL": "webhook",
            "REGION": "us-east-1",
            "WEBHOOK_TOKEN": "token-1",
            "WEBHOOK_BODY": "data",
            "ON_DOUBT": "ask",
            "SOURCE": "com.example",
        }
    }
    events.now(("box.packed", SIZES))
    written(file, "asyncapi")
    assert check(file).code == 0
    events.now(("box.packed", {}))

    (change,) = report(file)["breaking"]

    assert change["path"] == "data"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asyncapi: 3.0.0", "it is not JSON"),
        ("[]", "neither events, $defs nor asyncapi"),
        ('{"name": "package"}', "neither events, $defs nor asyncapi"),
        ('{"asyncapi": "2.6.0", "channels": {"a": {}}}', "eventbridge_catalogue did not write it"),
        ('{"$defs": {"a": {"type": "string"}}}', "eventbridge_catalogue did not write it"),
        ('{"events": [{"type": "a"}]}', "eventbridge_catalogue did not write it"),
        ('{"events": ["a"]}', "eventbridge_catalogue did not write it"),
        ("\udcff", "cannot be read"),
        (None, "cannot be read"),
    ],
    ids=["yaml", "list", "other", "old-asyncapi", "schema", "no-data", "text", "binary", "missing"],
)
def test_a_file_of_another_kind_is_an_error_that_says_how_to_write_one(
    file, text, message, monkeypatch
) -> None:
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))

    ran = check(file)

    assert ran.code == 1
    assert f"--check {file}: " in ran.error
    assert message in ran.error
    monkeypatch.chdir(file.parent)
    assert run("catalogue", *printed(ran.error)).code == 0
    assert check(Path(printed(ran.error)[-1])).code == 0


def test_a_file_whose_name_a_shell_would_split_is_quoted_in_the_commands(events: Events, tmp_path) -> None:
    file = tmp_path / "our events; 2.json"

    assert printed(check(file).error)[-1] == str(file)

    events.now(("box.packed", SIZES))
    written(file, "json")
    events.now()
    assert printed(check(file).out)[-1] == str(file)


@pytest.mark.parametrize(
    "arguments", [["--format", "asyncapi"], ["--output", "x.json"]], ids=["format", "output"]
)
def test_check_prints_a_report_only(file, arguments) -> None:
    ran = check(file, *arguments)

    assert ran.code == 2
    assert "--check prints a report" in ran.error


def test_a_document_without_a_version_is_not_one_of_ours(events: Events, file) -> None:
    events.now(("box.packed", SIZES))
    document = written(file, "asyncapi")
    del document["info"]["version"]
    file.write_text(json.dumps(document), "utf-8")

    assert "eventbridge_catalogue did not write it" in check(file).error


def test_a_file_that_cannot_be_written_is_an_error(tmp_path) -> None:
    ran = run("catalogue", "--output", str(tmp_path / "missing" / "contract.json"))

    assert ran.code == 1
    assert "--output" in ran.error


@pytest.mark.parametrize("form", ["text", "markdown", *FORMATS])
def test_what_is_written_is_what_is_printed_and_the_same_each_time(publish: Publish, file, form) -> None:
    publish(Order, created="order.created", deleted="order.deleted", fields=["number", "status"])
    run("catalogue", "--format", form, "--output", str(file))

    assert file.read_text("utf-8") == run("catalogue", "--format", form).out


@pytest.mark.parametrize(
    ("version", "compatible", "breaking"),
    [("1.4.2", "1.5.0", "2.0.0"), ("0.9.0-rc.1", "0.10.0", "1.0.0"), ("2026-11", "VERSION", "VERSION")],
)
def test_the_remedy_raises_the_version_of_the_contract(
    events: Events, file, version, compatible, breaking
) -> None:
    events.now(("box.packed", SIZES))
    run("catalogue", "--format", "asyncapi", "--contract-version", version, "--output", str(file))

    events.now(("box.packed", SIZES), ("box.sent", SIZES))
    ran = check(file)
    assert ran.code == 0
    sentence, command = ran.out.splitlines()[-2:]
    assert sentence == f"Write the file again, with a new version (it has {version}), and commit it:"
    assert command.endswith(f" --contract-version {compatible}")

    events.now()
    assert check(file).out.splitlines()[-1].endswith(f" --contract-version {breaking}")


@pytest.mark.parametrize("form", ["text", "markdown", "json", "jsonschema"])
def test_a_version_is_refused_where_it_would_be_ignored(form) -> None:
    ran = run("catalogue", "--format", form, "--contract-version", "2.0.0")

    assert ran.code == 2
    assert "use it with --format asyncapi and without --check, or leave it out" in ran.error


def test_a_version_is_refused_beside_check(file) -> None:
    assert check(file, "--contract-version", "2.0.0").code == 2


def test_the_version_of_the_contract_is_the_callers(publish: Publish, file) -> None:
    ran = run("catalogue", "--format", "asyncapi", "--contract-version", "2.3.0")

    assert ran.data["info"]["version"] == "2.3.0"

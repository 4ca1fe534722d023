"""The page of the catalogue: declared types with their data, and all others that the table has."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge.admin import catalogue
from tests.outbox_rows import event
from tests.prompt import run
from tests.publishing import Publish
from tests.shop.models import Order

pytestmark = pytest.mark.django_db
pytest_plugins = ["tests.registrations"]

PAGE = "/admin/genesys_eventbridge/outboxevent/catalogue/"
SCHEMA = {"type": "object", "required": ["number"], "examples": [{"number": "ORD-7"}]}


def payload(order: Order) -> dict:
    """What the warehouse needs to pack."""
    return {"number": order.number}


@pytest.fixture
def viewer(client):
    user = get_user_model().objects.create_user("vera", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxevent"))
    client.force_login(user)
    return client


def text(response) -> str:
    return str(response.content, "utf-8")


def line(response, name):
    [found] = [line for line in response.context["lines"] if line.name == name]
    return found


def test_a_registered_model_shows_its_members_an_example_and_its_schema(viewer, publish: Publish):
    publish(Order, created="order.created", fields=["number", "amount", "customer.email"])
    publish(Order, updated="order.packed", changed=["status"], data=payload)

    response = viewer.get(PAGE)
    page = text(response)

    assert "shop.Order created · to default" in page
    assert "<code>customer.email</code>" in page
    assert "string (email), or null" in page
    assert "&quot;$schema&quot;" in page
    assert line(response, "order.created").declared[0].example.startswith("{")
    assert "shop.Order updated, when status changed · to default" in page
    assert "What the warehouse needs to pack." in page


def test_types_of_enqueue_are_shown_declared_or_not(viewer, settings):
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.paid": SCHEMA}}
    settings.GENESYS_EVENTBRIDGE = {"default": default}
    event("order.shipped")

    response = viewer.get(PAGE)

    paid, shipped = line(response, "order.paid"), line(response, "order.shipped")
    assert [one.entry.occasion for one in paid.declared] == ["enqueue()"]
    assert "ORD-7" in paid.declared[0].example
    assert (paid.count, paid.url) == (0, "")
    assert (shipped.declared, shipped.count) == ([], 1)
    assert "never seen" in text(response)
    assert "enqueue(), without a schema" in text(response)


def test_the_newest_events_are_counted_and_linked_and_older_types_stay(viewer, monkeypatch):
    monkeypatch.setattr(catalogue, "COUNTED", 2)
    for name in ("order.old", "order.new", "order.new"):
        event(name)

    response = viewer.get(PAGE)

    old, new = line(response, "order.old"), line(response, "order.new")
    assert (old.count, old.last) == (0, "")
    assert (new.count, "ago" in new.last or "now" in new.last) == (2, True)
    assert "Of the newest 2 events" in text(response)
    assert [row.type for row in viewer.get(new.url).context["cl"].result_list] == ["order.new"] * 2
    assert [row.type for row in viewer.get(old.url).context["cl"].result_list] == ["order.old"]


def test_more_types_than_are_looked_up_are_said(viewer, monkeypatch):
    monkeypatch.setattr(catalogue, "SEEN", 1)
    event("order.a")

    assert "more types than are shown" in text(viewer.get(PAGE))


def test_without_types_it_says_how_to_declare_one(viewer):
    assert "@publishes(" in text(viewer.get(PAGE))


def test_wrong_settings_are_told_and_the_types_of_the_table_stay(viewer, settings, publish: Publish):
    publish(Order, created="order.created", fields=["number"], destination="default")
    event("order.shipped")
    settings.GENESYS_EVENTBRIDGE = {"default": {"REGION": "nowhere"}}

    page = text(viewer.get(PAGE))

    assert "order.shipped" in page
    assert 'class="eventbridge-warning"' in page


def test_the_number_of_queries_does_not_depend_on_the_number_of_types(viewer, publish: Publish):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            viewer.get(PAGE)
        return len(captured)

    event("order.0")
    queries()  # fills Django's caches of the first request
    few = queries()
    publish(Order, created="order.created", fields=["number"])
    for number in range(40):
        event(f"order.{number}")

    assert queries() == few <= 10


def test_hostile_types_are_text(viewer):
    event("<script>alert(1)</script>")

    page = text(viewer.get(PAGE))

    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (None, "cannot be read as JSON: [Errno 2]"),
        ("{", "cannot be read as JSON: Expecting"),
        ("[]", "is not a JSON Schema: it is no object."),
    ],
)
def test_a_file_without_a_schema_is_named_by_the_page_and_the_command(
    viewer, settings, tmp_path, content, flaw
):
    file = tmp_path / "paid.json"
    if content is not None:
        file.write_text(content, "utf-8")
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.paid": str(file)}}
    settings.GENESYS_EVENTBRIDGE = {"default": default}

    response = viewer.get(PAGE)
    ran = run("catalogue")

    assert (response.status_code, ran.code) == (200, 1)
    for shown in (response.context["problem"], ran.error):
        assert f"SCHEMAS['order.paid'] (file {file}) {flaw}" in shown


def test_a_file_with_a_boolean_is_a_schema(viewer, settings, tmp_path):
    file = tmp_path / "paid.json"
    file.write_text("true", "utf-8")
    default = {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.paid": str(file)}}
    settings.GENESYS_EVENTBRIDGE = {"default": default}

    assert line(viewer.get(PAGE), "order.paid").declared[0].schema == "{}"

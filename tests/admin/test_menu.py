"""Our pages are where a person looks for them, in the index and in the sidebar, if they may be seen."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from genesys_eventbridge.models import OutboxEvent
from tests.outbox_rows import event

pytestmark = pytest.mark.django_db

APP = "/admin/genesys_eventbridge/"
PAGES = {
    f"{APP}dashboardpage/": "Dashboard",
    f"{APP}failurespage/": "Failures",
    f"{APP}cataloguepage/": "Event catalogue",
}
pages = pytest.mark.parametrize("address", PAGES)


@pytest.fixture
def viewer(client):
    user = get_user_model().objects.create_user("vera", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxevent"))
    client.force_login(user)
    return client


def text(response) -> str:
    return str(response.content, "utf-8")


@pages
def test_each_page_is_in_the_index_the_apps_index_and_the_sidebar(viewer, address):
    for where in ("/admin/", APP, f"{APP}outboxevent/"):
        page = text(viewer.get(where))
        assert f'<a href="{address}"' in page
        assert f">{PAGES[address]}</a>" in page


@pages
def test_the_page_is_at_the_address_that_the_sidebar_links_to_and_is_marked_there(viewer, address):
    event()

    page = text(viewer.get(address))

    assert f"<h1>{PAGES[address]}</h1>" in page
    assert f'<a href="{address}" aria-current="page"' in page


@pages
def test_who_may_not_see_events_sees_neither_the_page_nor_a_link_to_it(client, address):
    client.force_login(get_user_model().objects.create_user("nobody", is_staff=True))

    assert client.get(address).status_code == 403
    assert address not in text(client.get("/admin/"))


@pages
def test_a_site_without_events_has_no_such_pages(client, monkeypatch, address):
    monkeypatch.delitem(admin.site._registry, OutboxEvent)
    client.force_login(get_user_model().objects.create_superuser("ana"))

    assert client.get(address).status_code == 403
    assert address not in text(client.get("/admin/"))


def test_a_page_has_no_rows_to_look_at_and_no_permission_of_its_own(viewer):
    row = event()

    for address in PAGES:
        assert viewer.get(f"{address}{row.pk}/change/").status_code == 404
    names = ["dashboardpage", "failurespage", "cataloguepage"]
    kinds = ContentType.objects.filter(app_label="genesys_eventbridge", model__in=names)
    assert not Permission.objects.filter(content_type__in=kinds).exists()

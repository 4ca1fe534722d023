"""With invalid settings no page is a server error: each leads to the index, which says what to write."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.messages import get_messages

from genesys_eventbridge.models import Destination
from genesys_eventbridge.states import State
from tests.outbox_rows import ended, event

pytestmark = pytest.mark.django_db

HOME = "/admin/genesys_eventbridge/"
PAGES = (
    *("outboxevent/", "outboxevent/{}/change/", "outboxevent/failures/", "outboxevent/dashboard/"),
    *("outboxevent/catalogue/", "outboxevent/erase/", "job/", "destination/", "destination/default/change/"),
)


@pytest.fixture
def row(client):
    client.force_login(get_user_model().objects.create_superuser("root"))
    Destination.objects.get_or_create(alias="default")
    return event(row=ended(State.DEAD, "rejected"))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "GENESYS_EVENTBRIDGE is missing or empty."),
        ({}, "GENESYS_EVENTBRIDGE is missing or empty."),
        ({"default": {}}, "has no SOURCE."),
    ],
)
def test_no_page_and_no_act_is_a_server_error(client, row, settings, value, problem):
    settings.GENESYS_EVENTBRIDGE = value
    answers = [client.get(HOME + page.format(row.pk)) for page in PAGES]
    for act in ("requeue", "move", "resolve", "export"):
        selected = {"action": act, "_selected_action": [row.pk]}
        answers.append(client.post(f"{HOME}outboxevent/", selected))
        answers.append(client.post(f"{HOME}outboxevent/act/{act}/", {"ids": row.pk}))

    assert {answer.status_code for answer in answers} == {200, 302}
    for answer in answers:
        if answer.status_code == 302:
            assert answer["Location"] == "/admin/"
            (*_earlier, message) = map(str, get_messages(answer.wsgi_request))
            assert message.startswith("Stopped: invalid settings. ")
            assert problem in message

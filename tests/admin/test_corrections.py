"""The page that corrects a dead event: it shows the difference first, and sends exactly what it showed."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.states import Act, Reason, State
from genesys_eventbridge.text import REDACTED
from tests.outbox_rows import ended, event, fresh

pytestmark = pytest.mark.django_db

LIST = "/admin/genesys_eventbridge/outboxevent/"
FORM = "00000000-0000-4000-8000-000000000001"
DATA = {"amount": "12,50", "login": {"password": "s3cret"}}


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    return client


def dead(data=DATA, **keywords) -> OutboxEvent:
    return event("order.created", data, row=ended(State.DEAD, Reason.REJECTED), **keywords)


def asked(client, row, **fields):
    return client.post(f"{LIST}act/correct/", {"ids": row.pk, "from": "event", **fields})


def sent(client, row, corrected, seen=""):
    fields = {"corrected": corrected, "seen": seen, "once": FORM, "reason": "decimal comma", "confirm": "1"}
    return asked(client, row, **fields)


def seen_in(response) -> str:
    return str(response.context["form"]["seen"].value())


def text(response) -> str:
    return str(response.content, "utf-8")


def test_the_page_shows_the_data_with_hidden_values_masked(ana):
    response = asked(ana, dead())

    shown = json.loads(response.context["form"].initial["corrected"])
    assert shown == {"amount": "12,50", "login": {"password": REDACTED}}
    assert "s3cret" not in text(response)
    assert "Show the changes" in text(response)


def test_the_difference_is_shown_before_anything_is_sent(ana):
    row = dead()
    data = json.dumps({"amount": 12.5, "login": {"password": REDACTED}})

    response = sent(ana, row, data)

    assert response.context["changes"] == ['data.amount: "12,50" -> 12.5']
    assert fresh(row).state == State.DEAD
    assert OutboxEvent.objects.count() == 1

    done = sent(ana, row, data, seen_in(response))

    new = OutboxEvent.objects.get(origin=row)
    assert new.data == {"amount": 12.5, "login": {"password": "s3cret"}}
    assert (fresh(row).state, done.url) == (State.CANCELLED, f"{LIST}{new.pk}/change/")
    assert EventAct.objects.get().act == Act.CORRECT


def test_what_was_changed_after_the_difference_was_shown_is_shown_again(ana):
    row = dead()
    first = sent(ana, row, '{"amount": 1}')

    response = sent(ana, row, '{"amount": 2}', seen_in(first))

    assert 'data.amount: "12,50" -> 2' in response.context["changes"]
    assert OutboxEvent.objects.count() == 1


def test_the_form_twice_makes_one_event(ana):
    row = dead()
    data = '{"amount": 1}'
    seen = seen_in(sent(ana, row, data))

    first, second = sent(ana, row, data, seen), sent(ana, row, data, seen)

    assert OutboxEvent.objects.count() == 2
    assert first.url == second.url
    assert EventAct.objects.count() == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("{", "Not JSON"),
        ("NaN", "Not JSON"),
        ('{"a": 1, "a": 2}', "two members of the same name"),
        (json.dumps(DATA), "nothing was changed"),
        ('{"other": "[redacted]"}', "data.other"),
        ('{"amount": "twelve"}', "data.amount"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["broken", "NaN", "twice", "unchanged", "mask", "schema", "deep"],
)
def test_what_is_wrong_is_said_with_the_data_and_nothing_is_sent(ana, settings, given, why):
    schema = {"type": "object", "properties": {"amount": {"not": {"const": "twelve"}}}}
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "SCHEMAS": {"order.created": schema}}
    }
    row = dead()

    [error] = sent(ana, row, given).context["form"].errors["corrected"]

    assert why in error
    assert fresh(row).state == State.DEAD


def test_invisible_characters_are_shown_and_survive(ana):
    row = dead({"name": "a\u202eb\U000e0001", "n": 1})
    shown = asked(ana, row).context["form"].initial["corrected"]
    assert "\\u202e" in shown

    edited = shown.replace('"n": 1', '"n": 2')
    sent(ana, row, edited, seen_in(sent(ana, row, edited)))

    assert OutboxEvent.objects.get(origin=row).data == {"name": "a\u202eb\U000e0001", "n": 2}


def test_the_page_says_how_many_events_it_goes_behind(ana):
    row = dead(ordering_key="k")
    for _ in range(2):
        event(ordering_key="k")

    assert "to the end of its ordering key, behind 2 events" in text(asked(ana, row))


def test_only_a_dead_event_can_be_corrected(ana):
    row = event("order.created", DATA)

    response = asked(ana, row)

    assert response.url == f"{LIST}{row.pk}/change/"
    assert "corrected" not in text(ana.get(response.url)).split("messagelist")[0]


@pytest.mark.parametrize("missing", ["correct_event", "view_event_payload", "view_outboxevent"])
def test_it_needs_its_permission_and_the_right_to_see_the_payload(client, missing):
    names = {"correct_event", "view_event_payload", "view_outboxevent"} - {missing}
    user = get_user_model().objects.create_user("paul", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    client.force_login(user)
    row = dead()

    assert asked(client, row).status_code == 403
    assert sent(client, row, "{}").status_code == 403


def test_the_event_shows_the_change_to_who_may_see_payloads(ana, client):
    row = dead()
    data = '{"amount": 12.5, "login": {"password": "new"}}'
    sent(ana, row, data, seen_in(sent(ana, row, data)))

    shown = text(ana.get(f"{LIST}{row.pk}/change/"))
    user = get_user_model().objects.create_user("paul", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxevent"))
    client.force_login(user)
    hidden = text(client.get(f"{LIST}{row.pk}/change/"))

    assert "data.amount: &quot;12,50&quot; -&gt; 12.5" in shown
    assert "data.login.password: &quot;[redacted]&quot; -&gt; &quot;[redacted]&quot;" in shown
    assert "12,50" not in hidden

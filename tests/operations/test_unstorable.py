"""A NUL or a lone surrogate in what people type finds nothing and makes nothing fail.

PostgreSQL stores no NUL, and its driver raises; no driver takes a lone surrogate, which is what a shell's
bytes become where they are not UTF-8.
"""

import re
from urllib.parse import quote

import pytest
from django.contrib.auth import get_user_model

from genesys_eventbridge.admin.actions import VERBS
from genesys_eventbridge.admin.events import LIST_FILTERS
from genesys_eventbridge.admin.filters import ValuesForm
from genesys_eventbridge.models import Destination, EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, cancel, pause
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event, fresh
from tests.package import PACKAGE
from tests.prompt import run

pytestmark = pytest.mark.django_db

EVENTS = "/admin/genesys_eventbridge/outboxevent/"
DESTINATIONS = "/admin/genesys_eventbridge/destination/"
UNSTORABLE = {"nul": "a\0b", "only nul": "\0", "surrogate": "a\udcffb"}
#: As bytes of an address; what is not UTF-8 there is replaced before a view sees it.
FORM = "application/x-www-form-urlencoded"
PARAMETERS = [
    "q",
    *(each.parameter_name for each in LIST_FILTERS if hasattr(each, "parameter_name")),
    *ValuesForm.base_fields,
    *("p", "o", "all", "e", "_to_field", "x"),
]
GET = re.compile(r"\bGET\.get\(\"(\w+)\"")
#: What the pages that are no lists read, by their source, and a name that they do not know.
READ = {
    "dashboard/": [*GET.findall((PACKAGE / "admin/dashboard/__init__.py").read_text("utf-8")), "x"],
    "failures/": [*GET.findall((PACKAGE / "admin/dashboard/failures.py").read_text("utf-8")), "x"],
}
IN_ADDRESSES = {"nul": "a%00b", "only nul": "%00", "quoted nul": "_00", "not utf-8": "%ED%A0%80"}


@pytest.fixture
def ana(client):
    client.force_login(get_user_model().objects.create_superuser("ana"))
    client.raise_request_exception = False
    return client


@pytest.fixture(params=IN_ADDRESSES)
def text(request):
    return IN_ADDRESSES[request.param]


@pytest.fixture(params=UNSTORABLE)
def argument(request):
    return UNSTORABLE[request.param]


class TestAdmin:
    @pytest.mark.parametrize("page", ["{}/change/", "{}/history/", "{}/delete/", "{}/", "{}"])
    @pytest.mark.parametrize("where", [DESTINATIONS, EVENTS])
    def test_a_page_of_such_a_name_does_not_exist(self, ana, where, page, text):
        answer = ana.get(where + page.format(text), follow=True)

        # Django's own pages send people to the index with a message, or refuse what they may not do.
        assert answer.status_code in (
            (404,) if where == DESTINATIONS and "change" in page else (200, 403, 404)
        )

    @pytest.mark.parametrize("page", ["pause", "resume", "test"])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_an_act_on_such_a_destination_is_a_404(self, ana, page, method, text):
        assert getattr(ana, method)(f"{DESTINATIONS}{text}/{page}/").status_code == 404

    @pytest.mark.parametrize(
        ("where", "name"),
        [
            *((where, name) for where in (EVENTS, DESTINATIONS) for name in PARAMETERS),
            *((f"{EVENTS}{page}", name) for page, names in READ.items() for name in names),
        ],
    )
    def test_a_list_asked_for_it_is_answered(self, ana, where, name, text):
        event()

        for query in (f"{name}={text}", f"{name}{text}=1", f"{name}=1&{name}={text}"):
            assert ana.get(f"{where}?{query}", follow=True).status_code in (200, 400, 404), query

    def test_a_search_for_it_finds_nothing(self, ana, text):
        event(subject="ORD-1")

        assert ana.get(f"{EVENTS}?q={text}").context["cl"].result_count in (0, 1)

    @pytest.mark.parametrize("field", ["ids", "filters", "reason", "from", "outcome", "spread", "once"])
    @pytest.mark.parametrize("act", sorted(VERBS))
    def test_a_form_with_it_is_shown_again_or_refused(self, ana, act, field, text):
        row = event(row=ended(State.DEAD, Reason.REJECTED))
        given = {"ids": str(row.pk), "confirm": "1", "reason": "r", "once": "1", "outcome": "give_up"}
        body = "&".join(f"{name}={quote(value)}" for name, value in given.items() if name != field)

        answer = ana.post(f"{EVENTS}act/{act}/", f"{body}&{field}={text}", content_type=FORM)

        assert answer.status_code in (200, 302, 400)

    @pytest.mark.parametrize("act", ["pause", "resume"])
    def test_a_reason_with_it_is_kept_without_it_or_asked_for_again(self, ana, act, text):
        body = f"{act}-reason={text}&{act}-minutes={text}"

        assert ana.post(f"{DESTINATIONS}default/{act}/", body, content_type=FORM).status_code in (200, 302)


class TestCommands:
    def test_an_event_of_such_a_name_is_not_found(self, argument):
        for command in (
            ["show"],
            ["retry"],
            ["cancel", "--because", "r"],
            ["resolve", "--delivered", "--because", "r"],
        ):
            ran = run(*command, argument)

            assert ran.code == 1
            assert ran.error.startswith("No event '"), command
            assert all(map(str.isprintable, ran.error.splitlines()))

    def test_a_destination_of_such_a_name_is_wrong_usage(self, argument):
        for command in (
            ["pause", argument, "--because", "r"],
            ["resume", argument],
            ["status", "--destination", argument],
        ):
            ran = run(*command)

            assert ran.code == 2, command
            assert "Unknown destination" in ran.error

    def test_an_event_type_of_such_a_name_has_no_events(self, argument):
        event(row=ended(State.DEAD, Reason.REJECTED))

        ran = run("retry", "--state", "dead", "--because", "x", "--type", argument, "--no-publish")

        assert (ran.code, ran.error) == (0, "")
        assert OutboxEvent.objects.get().state == State.DEAD

    def test_a_reason_is_kept_with_an_escape(self, argument):
        row = event()

        ran = run("cancel", str(row.pk), "--because", f"why {argument}")

        assert (ran.code, fresh(row).state) == (0, State.CANCELLED)
        kept = EventAct.objects.get().reason
        assert kept.startswith("why ")
        assert kept.isprintable()

    def test_a_pause_keeps_its_reason_with_an_escape(self, argument):
        assert run("pause", "default", "--because", f"why {argument}").code == 0
        assert Destination.objects.get().held_reason.isprintable()

    @pytest.mark.parametrize("part", ["type", "subject"])
    def test_an_event_by_hand_is_refused_by_the_attribute(self, argument, part):
        given = {"type": "order.created", "subject": "ORD-1", part: argument}

        ran = run("enqueue", given["type"], "--data", "{}", "--subject", given["subject"])

        assert ran.code == 1
        assert part in ran.error
        assert not OutboxEvent.objects.exists()


def test_the_person_who_acts_is_kept_with_an_escape(argument):
    """A user name of the operating system may hold any byte."""
    row = event()
    actor = Actor(via=f"cron {argument}", name=f"ana {argument}")

    cancel([row.pk], actor, "why")
    pause("default", actor, "why")

    act = EventAct.objects.get()
    assert (act.username.isprintable(), act.via.isprintable()) == (True, True)
    assert Destination.objects.get().held_by.isprintable()

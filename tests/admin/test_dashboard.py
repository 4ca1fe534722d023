"""The dashboard: whether it works, in words, numbers and pictures; bounded, and without scripts."""

import datetime as dt
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import OperationalError
from django.test import Client

from genesys_eventbridge import counters, schedules
from genesys_eventbridge.admin import charts, dashboard
from genesys_eventbridge.admin.dashboard import health
from genesys_eventbridge.admin.dashboard.numbers import share
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import AlertNotice, Destination
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting import samples
from genesys_eventbridge.reporting.figures import Bar, Range
from genesys_eventbridge.states import Reason, State
from tests.alerts import alerting, look
from tests.outbox_rows import accepted, claim, ended, event

pytestmark = pytest.mark.django_db

APP = "/admin/genesys_eventbridge/"
LIST = f"{APP}outboxevent/"
PAGE = f"{LIST}dashboard/"
#: The session, the user and two of permissions aside there are eight of its own.
MAX_QUERIES = 15


def user(name, *codenames, **flags):
    made = get_user_model().objects.create_user(name, is_staff=True, **flags)
    made.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return made


@pytest.fixture
def viewer(client):
    client.force_login(user("vera", "view_outboxevent"))
    return client


@pytest.fixture
def alive():
    return Destination.objects.create(
        alias="default",
        heartbeat_at=DatabaseNow(-5),
        heartbeat_worker="web1:4711",
        accepted_at=DatabaseNow(-8),
    )


@pytest.fixture
def two(settings):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    settings.GENESYS_EVENTBRIDGE = {"default": one, "emea": one}


def html(response) -> str:
    assert response.status_code == 200
    return str(response.content, "utf-8")


def plain(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html(response)).split())


def heading(response) -> str:
    found = re.search(r'<h2 id="verdict-heading">(.*?)</h2>', html(response), re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def numbers(response) -> dict[str, str]:
    return {number.label: number.value for number in response.context["numbers"]}


def listed(client, url) -> list[int]:
    response = client.get(url)
    return [row.pk for row in response.context["cl"].result_list]


class TestTheVerdict:
    def test_all_well(self, viewer, alive):
        assert heading(viewer.get(PAGE)) == "Working normally"

    def test_delayed(self, viewer, alive):
        event(row={"created_at": DatabaseNow(-840)})

        assert heading(viewer.get(PAGE)) == "Delayed: oldest event waiting for 14 min"

    def test_paused_says_until_when_and_why(self, viewer, alive):
        Destination.objects.update(paused_until=DatabaseNow(600), paused_kind="auth", paused_reason="401")

        response = viewer.get(PAGE)

        assert heading(response) == "Paused"
        assert "Nothing is sent until" in plain(response)
        assert "manage.py eventbridge_ping --destination default" in plain(response)

    def test_stopped_says_what_to_type(self, viewer, alive):
        Destination.objects.update(heartbeat_at=DatabaseNow(-900))

        response = viewer.get(PAGE)

        assert heading(response) == "Stopped: no worker"
        assert "manage.py qcluster" in plain(response)

    def test_what_waits_for_a_person_is_said(self, viewer, alive):
        event(row=ended(State.DEAD, Reason.REJECTED))

        response = viewer.get(PAGE)

        assert heading(response) == "Working; 1 event needs an operator"
        assert "eventbridge_retry --destination default --state dead --dry-run" in plain(response)

    def test_an_empty_one_says_what_to_do_first(self, viewer):
        response = viewer.get(PAGE)

        assert heading(response) == "Not used yet"
        for command in ("eventbridge_ping", "eventbridge_publish --loop", "eventbridge_enqueue"):
            assert f"manage.py {command}" in plain(response)

    def test_without_django_q_no_cluster_is_named(self, viewer, settings):
        Destination.objects.update(heartbeat_at=None)
        settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]

        words = plain(viewer.get(PAGE))

        assert "manage.py eventbridge_publish --loop" in words
        assert "qcluster" not in words

    def test_wrong_settings_are_said_and_not_a_server_error(self, viewer, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": {"REGOIN": "us-east-1"}}

        response = viewer.get(PAGE)

        assert heading(response) == "Stopped: invalid settings"
        assert "Did you mean 'REGION'?" in html(response).replace("&#x27;", "'")
        assert "manage.py check" in plain(response)


class TestNumbers:
    def test_each_is_counted_where_it_belongs(self, viewer, alive):
        event()
        event()
        event(row={"attempts": 2, "due_at": DatabaseNow(60)})
        accepted()
        event(row=ended(State.DEAD, Reason.REJECTED))
        event(row=ended(State.UNRESOLVED, Reason.CONFLICT))
        assert len(claim(limit=1).rows) == 1
        counters.add("default", {"delivered": 1999, "dead": 1, "within:6": 1999})

        response = viewer.get(PAGE)

        found = numbers(response)
        assert found.pop("Oldest undelivered").endswith("s")
        assert found.pop("Time to delivery") == "0.7 s"
        assert found == {
            "Waiting": "1",
            "Retrying": "1",
            "In flight": "1",
            "Accepted": "1",
            "Dead": "1",
            "Unresolved": "1",
            "Delivered": "1,999",
            "Success rate": "99.9 %",
        }
        assert "1 new in the past 24 hours" in plain(response)

    def test_each_leads_to_the_events_behind_it(self, viewer, alive):
        rows = {
            "Waiting": event(),
            "Retrying": event(row={"attempts": 2, "last_error": "unavailable", "due_at": DatabaseNow(60)}),
            "Accepted": accepted(due_at=DatabaseNow(60)),
            "Dead": event(row=ended(State.DEAD, Reason.REJECTED)),
            "Unresolved": event(row=ended(State.UNRESOLVED, Reason.CONFLICT)),
            "Delivered": event(row=ended(State.DELIVERED, finished_at=DatabaseNow())),
            "In flight": event(row={"due_at": DatabaseNow(-60)}),
        }
        assert [row.id for row in claim(limit=1).rows] == [rows["In flight"].pk]

        links = {number.label: number.url for number in viewer.get(PAGE).context["numbers"]}

        for label, row in rows.items():
            assert listed(viewer, links[label]) == [row.pk], label
        assert set(listed(viewer, links["Oldest undelivered"])) == {
            rows[label].pk for label in ("Waiting", "Retrying", "In flight", "Accepted")
        }
        assert viewer.get(links["Success rate"]).context["found"].number == 3
        assert listed(viewer, links["Time to delivery"]) == [rows["Delivered"].pk]

    def test_what_is_held_back_names_the_event_that_holds_it(self, viewer, alive):
        head = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
        rows = [event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)}) for _ in range(2)]

        response = viewer.get(PAGE)
        (number,) = (each for each in response.context["numbers"] if each.label == "Held back")

        assert (number.value, number.note) == ("2", f"2 held behind #{head.pk} (dead)")
        assert set(listed(viewer, number.url)) == {row.pk for row in rows}
        assert numbers(response)["Oldest undelivered"] == "-"
        assert heading(response) == "Working; 1 event needs an operator"

    def test_the_chosen_range_is_counted_and_its_links_keep_to_it(self, viewer, alive):
        old = event(row=ended(State.DELIVERED, finished_at=DatabaseNow(-5 * 3600)))
        new = event(row=ended(State.DELIVERED, finished_at=DatabaseNow(-60)))
        for ago, seconds in ((5 * 3600, 2.0), (60, 200.0)):
            with shifted(-ago):
                tally = counters.PassCounters("default")
                tally.took(seconds, "order.created")
                tally.write({"delivered": 1})

        hour, day = (viewer.get(PAGE + query) for query in ("?range=hour", ""))

        for page, value, rows in ((hour, "1", {new.pk}), (day, "2", {new.pk, old.pk})):
            (number,) = (each for each in page.context["numbers"] if each.label == "Delivered")
            assert number.value == value
            assert set(listed(viewer, number.url)) == rows
            ((_alias, name, count, url, *_times),) = page.context["times"]
            assert (name, count) == ("order.created", value)
            assert set(listed(viewer, url)) == rows
        assert numbers(hour)["Time to delivery"] == "3 min"
        assert viewer.get(PAGE, {"range": "year"}).status_code == 404

    def test_where_there_are_more_than_it_looks_at_it_says_so(self, viewer, alive, monkeypatch):
        monkeypatch.setattr(dashboard, "COUNTED", 3)
        for _ in range(5):
            event(row=ended(State.DEAD, Reason.REJECTED))

        response = viewer.get(PAGE)

        assert numbers(response)["Dead"] == "3+"
        assert heading(response) == "Working; 3+ events need an operator"

    @pytest.mark.parametrize(
        ("of", "words"), [(None, "-"), (1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50 %"), (0.0, "0 %")]
    )
    def test_a_hundred_per_cent_means_all(self, of, words):
        assert share(of) == words


class TestSeveralDestinations:
    def test_each_has_a_line_and_a_page_of_its_own(self, viewer, alive, two):
        Destination.objects.create(alias="emea", heartbeat_at=DatabaseNow())
        event(destination="emea", row=ended(State.DEAD, Reason.REJECTED))
        counters.add("emea", {"delivered": 7})

        both, emea, default = (
            viewer.get(PAGE + query) for query in ("", "?destination=emea", "?destination=default")
        )

        assert heading(both) == "emea: Working; 1 event needs an operator"
        assert heading(default) == "Working normally"
        assert [numbers(page)["Dead"] for page in (both, emea, default)] == ["1", "1", "0"]
        assert [numbers(page)["Delivered"] for page in (both, emea, default)] == ["7", "7", "0"]
        assert f"{PAGE}?destination=emea" in html(both)
        links = [number.url for number in emea.context["numbers"]]
        assert all("destination=emea" in url for url in links)

    def test_one_that_is_not_there_is_not_found(self, viewer, alive):
        assert viewer.get(PAGE, {"destination": "nowhere"}).status_code == 404

    def test_one_that_is_gone_from_the_settings_is_told_while_it_has_events(self, viewer, alive):
        Destination.objects.create(alias="gone", heartbeat_at=DatabaseNow(-600))
        event(row={"destination": "gone"})

        assert heading(viewer.get(PAGE)) == "gone: Stopped: no longer in the settings"

    def test_the_number_of_queries_does_not_grow_with_them(
        self, viewer, alive, two, django_assert_max_num_queries
    ):
        with django_assert_max_num_queries(MAX_QUERIES):
            viewer.get(PAGE)


class TestBounds:
    def test_it_takes_few_queries_at_any_size(self, viewer, alive, django_assert_max_num_queries):
        schedules.install()
        viewer.get(PAGE)
        with django_assert_max_num_queries(MAX_QUERIES) as few:
            viewer.get(PAGE)
        for _ in range(30):
            event(row={"attempts": 1, "due_at": DatabaseNow(900)})
            event(row=ended(State.DEAD, Reason.REJECTED))
        with django_assert_max_num_queries(len(few.captured_queries)):
            viewer.get(PAGE)

    def test_every_look_at_events_has_an_end(self, viewer, alive, django_assert_max_num_queries):
        with django_assert_max_num_queries(MAX_QUERIES) as queries:
            viewer.get(PAGE)

        looks = [query["sql"] for query in queries.captured_queries if "outboxevent" in query["sql"]]
        assert len(looks) == 2
        for sql in looks:
            assert sql.count("LIMIT 10001") == sql.count("UNION ALL") + 1

    def test_no_body_is_read(self, viewer, alive, django_assert_max_num_queries):
        with django_assert_max_num_queries(MAX_QUERIES) as queries:
            viewer.get(PAGE)

        assert not [query for query in queries.captured_queries if "body" in query["sql"]]


class TestAccess:
    @pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
    def test_it_only_reads(self, viewer, alive, method):
        assert getattr(viewer, method)(PAGE).status_code == 405

    def test_who_may_not_see_events_may_not_see_it(self, client):
        client.force_login(user("nora", "view_destination"))

        assert client.get(PAGE).status_code == 403
        assert "dashboardpage" not in html(client.get("/admin/"))

    def test_it_is_found_from_the_app_and_from_the_list(self, viewer):
        assert f"{APP}dashboardpage/" in html(viewer.get(APP))
        assert PAGE in html(viewer.get(LIST))

    def test_the_page_of_the_destination_is_linked_for_who_may_see_it(self, client, viewer, alive):
        assert "/destination/" not in html(viewer.get(PAGE))

        client.force_login(user("dora", "view_outboxevent", "view_destination"))
        assert f"{APP}destination/default/change/" in html(client.get(PAGE, {"destination": "default"}))

    def test_an_app_index_of_a_site_without_events_has_no_link(self, viewer, monkeypatch):
        from genesys_eventbridge.models import OutboxEvent

        monkeypatch.delitem(admin.site._registry, OutboxEvent)
        client = Client()
        client.force_login(get_user_model().objects.create_superuser("ana"))

        assert client.get(APP).status_code == 200


class TestHealth:
    def row(self, response, name):
        return next(row for row in response.context["health"] if row.name == name)

    def test_each_row_says_what_to_type(self, viewer, alive):
        response = viewer.get(PAGE)

        assert [(row.name, row.tone) for row in response.context["health"]] == [
            ("Worker", "good"),
            ("Last successful call", "good"),
            ("Schedules", ""),
            ("System checks", "good"),
        ]
        assert all(row.command.startswith("manage.py ") for row in response.context["health"])
        assert "web1:4711" in self.row(response, "Worker").text

    def test_open_alerts_and_a_notice_that_was_not_sent(self, viewer, alive):
        with alerting():
            assert self.row(viewer.get(PAGE), "Alerts").text == "none is open"
            event(row=ended(State.DEAD, Reason.REJECTED))
            look()

            response = viewer.get(PAGE)

        assert self.row(response, "Alerts").tone == "bad"
        assert "default: dead events" in self.row(response, "Alerts").text
        assert "Notices of alerts" not in [row.name for row in response.context["health"]]
        AlertNotice.objects.update(attempts=1, last_error="HTTP 503")
        with alerting():
            text = self.row(viewer.get(PAGE), "Notices of alerts").text
            assert text == "the last one was not sent by function: HTTP 503"
            AlertNotice.objects.update(sent_at=DatabaseNow(), due_at=None, last_error="")
            assert "Notices of alerts" not in [row.name for row in viewer.get(PAGE).context["health"]]

    def test_a_silent_worker(self, viewer, alive):
        Destination.objects.update(heartbeat_at=DatabaseNow(-900))

        assert self.row(viewer.get(PAGE), "Worker").tone == "bad"

    def test_schedules_with_their_last_start_and_what_they_lag(self, viewer, alive):
        schedules.install()
        rows = {row.name: row for row in schedules._ours()}
        late = rows["eventbridge:poll"]
        late.next_run -= dt.timedelta(minutes=14)
        late.save()
        paused = rows["eventbridge:retry"]
        paused.repeats = 0
        paused.save()
        rows["eventbridge:prune"].delete()
        ran = rows["eventbridge:publish"]
        ran.task = "a" * 32
        ran.save()
        now = next_due.database_now()
        task = schedules._schedule()._meta.apps.get_model("django_q", "Task")
        task.objects.create(
            id=ran.task, name="x", func="x", started=now - dt.timedelta(seconds=40), stopped=now, success=True
        )

        response = viewer.get(PAGE)

        assert "40 s ago" in self.row(response, "eventbridge:publish").text
        assert self.row(response, "eventbridge:publish").tone == "good"
        assert "14 min late" in self.row(response, "eventbridge:poll").text
        assert self.row(response, "eventbridge:poll").tone == "bad"
        assert "paused in django-q2" in self.row(response, "eventbridge:retry").text
        assert self.row(response, "eventbridge:prune").command == "manage.py eventbridge_schedules --apply"

    def test_schedules_that_cannot_be_read_break_nothing(self, viewer, alive, monkeypatch):
        def fail():
            raise OperationalError("canary")

        monkeypatch.setattr(schedules, "statuses", fail)

        response = viewer.get(PAGE)

        assert self.row(response, "Schedules").tone == "bad"
        assert "canary" not in html(response)

    def test_without_django_q_there_are_no_schedules(self, viewer, alive, monkeypatch):
        monkeypatch.setattr(health, "apps", SimpleNamespace(is_installed=lambda _name: False))

        assert "Schedules" not in [row.name for row in viewer.get(PAGE).context["health"]]

    def test_what_the_system_checks_find(self, viewer, alive, settings):
        settings.Q_CLUSTER = {"name": "tests", "orm": "default", "timeout": 10, "retry": 5}

        row = self.row(viewer.get(PAGE), "System checks")

        assert row.tone == "bad"
        assert "E009" in row.text


class Shapes(HTMLParser):
    """The drawings of a page as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict] = []
        self.styles = 0
        self.ids: list[str] = []
        self._open: dict | None = None
        self._text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.styles += tag == "style" or "style" in given
        self.ids += [given["id"]] if given.get("id") else []
        if tag == "svg" and given.get("role") == "img":  # not the icons of the admin's own theme switch
            self._open = {"attrs": given, "rects": [], "title": "", "desc": ""}
            self.found.append(self._open)
        elif tag == "rect" and self._open is not None:
            self._open["rects"].append(given)
        self._text = ""

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        if tag == "svg":
            self._open = None
        elif self._open is not None and tag in ("title", "desc") and not self._open[tag]:
            self._open[tag] = self._text


class TestPictures:
    @pytest.fixture
    def full(self, alive):
        for ago in (0, 3600, 7200):
            with shifted(-ago):
                counters.add("default", {"delivered": 100, "dead": 1, "error:503": 4, "error:auth": 2})
        for seconds in (60, 900):
            event(row={"attempts": 1, "due_at": DatabaseNow(seconds)})

    def test_each_is_an_image_with_a_name_a_description_and_a_table(self, viewer, full):
        response = viewer.get(PAGE)
        page = Shapes(html(response))

        assert [picture["title"] for picture in page.found] == [
            "Delivered, dead and unresolved",
            "Upcoming attempts",
            "Failed requests",
        ]
        for picture in page.found:
            assert picture["attrs"]["role"] == "img"
            assert all(name in page.ids for name in picture["attrs"]["aria-labelledby"].split())
            assert picture["desc"]
            assert picture["rects"]
        assert len(page.ids) == len(set(page.ids))
        assert html(response).count("<details>") == 3
        assert "per 15 min: 300 delivered, 3 dead, 0 unresolved." in plain(response)
        assert "HTTP 503" in plain(response)
        assert "login failed" in plain(response)

    def test_they_need_no_style_and_no_script(self, viewer, full):
        page = html(viewer.get(PAGE))

        assert Shapes(page).styles == 0
        assert {
            "class" in rect and {"x", "y", "width", "height", "class"} == rect.keys()
            for picture in Shapes(page).found
            for rect in picture["rects"]
        } == {True}
        content = page[page.index('id="content-main"') :]
        assert "<script" not in content.partition('id="footer"')[0]

    def test_where_there_is_nothing_to_draw_they_say_so(self, viewer, alive):
        response = viewer.get(PAGE)

        assert Shapes(html(response)).found == []
        assert "No attempt is planned for the next 2 hours." in plain(response)

    def test_numbers_are_written_for_a_drawing_in_every_language(self, client, full, settings):
        settings.LANGUAGE_CODE = "de"
        client.force_login(user("vera2", "view_outboxevent"))

        for picture in Shapes(html(client.get(PAGE))).found:
            for rect in picture["rects"]:
                assert all(re.fullmatch(r"[0-9.]+", rect[name]) for name in ("x", "y", "width", "height"))

    def test_bars_are_stacked_within_the_drawing_and_the_rare_is_seen(self):
        now = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
        bars = [Bar(now, delivered=100_000, dead=1), Bar(now), Bar(now, unresolved=3)]

        picture = charts.ended([*bars, *(Bar(now) for _ in range(93))], Range.DAY, now)

        assert (picture.top, picture.middle) == ("200,000 events", "100,000 events")
        (good, bad), (alone,) = (bar.shapes for bar in picture.bars)
        assert float(good.y) + float(good.height) == 100
        assert float(bad.y) + float(bad.height) == float(good.y)
        assert float(bad.height) == float(alone.height) == charts.LEAST
        assert int(alone.x) > int(good.x) + int(good.width)
        assert picture.table[0][1:] == ["100,000", "1", "0"]
        assert picture.table[1][1:] == ["0", "0", "3"]

    @pytest.mark.parametrize(
        ("number", "top"), [(0, 2), (1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (540, 600), (99_999, 100_000)]
    )
    def test_the_top_is_a_round_number_that_holds_all(self, number, top):
        assert charts._round_up(number) == top

    @pytest.mark.parametrize("most", range(1, 12))
    def test_the_label_in_the_middle_is_half_of_the_one_at_the_top(self, most):
        now = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)

        for picture in (
            charts.ended([Bar(now, delivered=most)] * 96, Range.DAY, now),
            charts.wave({0: most}, now, more=False),
        ):
            assert int(picture.middle.split()[0]) * 2 == int(picture.top.split()[0])

    def test_more_retries_than_are_looked_at_are_said(self):
        now = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)

        picture = charts.wave({0: 5, samples.BARS: 7}, now, more=True)

        assert picture.about == (
            "In the next 2 hours, per 5 min: 5 attempts; later: 7. There are more attempts than shown."
        )
        assert picture.table == [["12:00 UTC", "5"], ["later", "7"]]

    def test_times_are_in_the_zone_of_the_reader(self, client, full, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        client.force_login(user("vera2", "view_outboxevent"))

        assert " IST" in plain(client.get(PAGE))

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("503", "HTTP 503"),
            ("200", "200, invalid response"),
            ("rate", "too many requests"),
            ("\x1b[2J", "\\x1b[2J"),
        ],
    )
    def test_errors_have_names_for_people(self, name, words):
        now = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
        assert charts.errors([(name, 1)], Range.DAY, now).table == [[words, "1"]]


def test_every_link_on_it_leads_somewhere(viewer, alive, two):
    event(row=ended(State.DEAD, Reason.REJECTED))
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ana"))
    page = html(client.get(PAGE))
    content = page[page.index('id="content-main"') :].partition('id="footer"')[0]

    links = {link.replace("&amp;", "&") for link in re.findall(r'<a href="([^"]+)"', content)}

    assert len(links) > 10
    for link in links:
        assert client.get(link if urlsplit(link).path else PAGE + link).status_code == 200, link

"""What is found at the destinations, and what is stored because of it."""

import datetime as dt
import json
import logging

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.translation import get_language

from genesys_eventbridge import operations
from genesys_eventbridge.alerts import Notice, evaluation
from genesys_eventbridge.alerts.evaluation import EVERY, KEPT, configured, evaluate, take_turn
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Alert, AlertNotice, Destination, OutboxEvent
from genesys_eventbridge.operations import Actor
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.platform.outcomes import Halt
from genesys_eventbridge.reporting import status
from genesys_eventbridge.states import AlertStatus
from tests.alerts import alerting, fail, heartbeat, look, received, send, told
from tests.outbox_rows import event, halted, in_threads

pytestmark = pytest.mark.django_db
EMAIL = {"email": ["ops@example.com"], "function": "tests.alerts.receive"}
NOON = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
ANA = Actor(via="tests", name="ana")


@pytest.fixture(autouse=True)
def _alerts():
    with alerting():
        yield


def notices() -> list[Notice]:
    """All that were stored, oldest first."""
    rows = AlertNotice.objects.order_by("id").values_list("content", flat=True)
    return [Notice.from_json(content) for content in rows]


def stored() -> list[str]:
    return [f"{notice.status} {notice.kind}" for notice in notices()]


def requeue_all() -> None:
    operations.requeue(list(OutboxEvent.objects.values_list("id", flat=True)), ANA)


# ------------------------------------------------------------------------------------- one alert


def test_nothing_is_stored_while_nothing_is_wrong():
    heartbeat()
    event()

    assert look() == []
    assert not Alert.objects.exists()


def test_five_thousand_failures_are_one_alert():
    heartbeat()
    for _ in range(5):
        fail(1000)
        look()
    send()

    assert told() == ["opened dead"]
    assert AlertNotice.objects.count() == 1


def test_the_storm_is_counted_after_the_window():
    heartbeat()
    fail(100)
    look()
    fail(4900)
    look()
    with shifted(901):
        heartbeat()
        look()

    assert [(notice.number, notice.more) for notice in notices()] == [(100, None), (5000, 4900)]


def test_each_destination_and_each_kind_has_its_own_alert():
    with alerting(aliases=("default", "emea")):
        for alias in ("default", "emea"):
            heartbeat(alias)
        fail(2)
        fail(1, "unresolved", "outcome_unknown")
        fail(3, destination="emea")
        look()

        found = {(notice.destination, notice.kind, notice.number) for notice in notices()}
        assert found == {("default", "dead", 2), ("default", "unresolved", 1), ("emea", "dead", 3)}


def test_a_destination_without_alerts_is_left_alone(settings):
    plain = {key: value for key, value in settings.GENESYS_EVENTBRIDGE["default"].items() if key != "ALERTS"}
    settings.GENESYS_EVENTBRIDGE = {**settings.GENESYS_EVENTBRIDGE, "emea": plain}
    fail(1, destination="emea")
    heartbeat()

    assert look() == []


def test_the_end_is_told_with_what_it_was():
    heartbeat()
    fail(1)
    look()
    requeue_all()
    with shifted(100):
        heartbeat()
        (report,) = look()
        assert (report.finding, report.episode.is_open, report.stored) == (None, True, None)
    OutboxEvent.objects.all().delete()
    with shifted(901):
        heartbeat()
        look()
        look()

    assert stored() == ["opened dead", "recovered dead"]
    assert "1 event is dead" in notices()[1].message


def test_a_trouble_that_flaps_is_told_once():
    heartbeat()
    for minute in range(15):
        with shifted(60 * minute):
            heartbeat()
            halted(Halt.AUTH, "wrong secret") if minute % 2 == 0 else operations.resume("default", ANA)
            Alert.objects.update(since=DatabaseNow(-3600))
            look()

    assert stored() == ["opened paused"]


# ------------------------------------------------------------------------------------- the kinds


def test_a_pause_is_an_alert_once_it_is_long():
    with alerting({"function": "tests.alerts.receive", "paused_for": 600}):
        heartbeat()
        halted(Halt.AUTH, "The login was refused.")
        look()
        assert stored() == []
        for seconds in (300, 601):
            with shifted(seconds):
                heartbeat()
                look()

    assert stored() == ["opened paused"]
    assert "The login was refused." in notices()[0].message
    assert notices()[0].command == "manage.py eventbridge_ping --destination default"


def test_a_pause_that_an_operator_forgot_is_an_alert():
    heartbeat()
    operations.pause("default", ANA, "maintenance")
    look()
    with shifted(901):
        heartbeat()
        look()

    assert stored() == ["opened paused"]
    assert "Paused by ana until resumed: “maintenance”." in notices()[0].message
    assert notices()[0].command == "manage.py eventbridge_resume default"


def test_a_backlog_older_than_the_limit_is_an_alert():
    with alerting({"function": "tests.alerts.receive", "backlog_age": 1000}):
        heartbeat()
        row = event(row={"created_at": DatabaseNow(-999)})
        look()
        assert stored() == []
        OutboxEvent.objects.update(created_at=DatabaseNow(-1001))
        look()

    assert stored() == ["opened age"]
    example = notices()[0].example
    assert example is not None
    assert example.number == row.pk


def test_a_run_of_refusals_is_an_alert():
    heartbeat()
    run = Refusals(NOON, 40, (1, 2), ("order.created",), "HTTP 400: unknown source.")
    Destination.objects.update(refusals=run.stored(), refused_until=DatabaseNow(60))
    look()

    assert stored() == ["opened refusals"]
    assert "unknown source" in notices()[0].message


def test_no_worker_is_an_alert_from_cron_at_once():
    heartbeat()
    with shifted(600):
        look()

    assert stored() == ["opened worker"]
    assert "eventbridge_publish --loop" in notices()[0].command


def test_no_worker_has_ever_reported_is_an_alert_from_cron():
    look()

    assert stored() == ["opened worker"]


def test_a_worker_that_starts_after_a_stop_does_not_report_itself_missing():
    """It evaluates before its heartbeat is written; a minute later it is."""
    heartbeat()
    with shifted(3600):
        look(by_worker=True)
        heartbeat()
    with shifted(3661):
        look(by_worker=True)

    assert stored() == []


def test_a_worker_reports_that_another_destination_has_none():
    with alerting(aliases=("default", "emea")):
        for seconds in (0, 61):
            with shifted(seconds):
                heartbeat()
                look(by_worker=True)

        assert [(notice.destination, notice.kind) for notice in notices()] == [("emea", "worker")]


# ------------------------------------------------------------------------------------- the notice


def test_a_notice_says_what_how_many_since_when_an_example_and_where_to_act():
    with alerting({"function": "tests.alerts.receive", "site": "https://shop.example.com/"}):
        heartbeat()
        fail(3)
        look()

    (notice,) = notices()
    newest = OutboxEvent.objects.latest("id")
    list_url = "https://shop.example.com/admin/genesys_eventbridge/outboxevent/"
    assert notice.title == "default: dead events"
    assert notice.message == "3 events are dead (limit 0)."
    assert (notice.number, notice.more, notice.since) == (3, None, notice.at)
    assert notice.command == "manage.py eventbridge_retry --destination default --state dead --dry-run"
    assert notice.page == f"{list_url}?state=dead&destination=default"
    assert notice.example is not None
    assert (notice.example.number, notice.example.type) == (newest.pk, "order.created")
    assert notice.example.page == f"{list_url}{newest.pk}/change/"
    text = notice.as_text()
    for part in (notice.title, notice.message, f"#{newest.pk}, order.created, rejected", notice.command):
        assert part in text


def test_a_notice_holds_neither_payload_nor_subject_nor_error():
    heartbeat()
    row = event(data={"name": "payload-canary"}, subject="subject-canary", ordering_key="key-canary")
    OutboxEvent.objects.filter(pk=row.pk).update(
        state="dead", reason="rejected", due_at=None, last_error="error-canary"
    )
    look()

    assert "canary" not in AlertNotice.objects.get().content


def test_a_notice_survives_its_way_through_the_table():
    heartbeat()
    fail(1)
    look()
    (notice,) = notices()

    assert Notice.from_json(notice.as_json()) == notice
    document = json.loads(notice.as_json())
    assert document["type"] == "genesys_eventbridge.alert.opened"
    assert document["data"]["id"] == str(AlertNotice.objects.get().notice_id)


def test_a_notice_is_in_the_language_of_the_site(settings):
    settings.LANGUAGE_CODE = "de"
    heartbeat()
    fail(1)
    seen = []

    def spoken(text):
        seen.append(get_language())
        return text

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(evaluation, "_", spoken)
        look()

    assert set(seen) == {"de"}


def test_each_channel_gets_the_same_notice():
    with alerting(EMAIL):
        heartbeat()
        fail(1)
        look()

    assert sorted(AlertNotice.objects.values_list("channel", flat=True)) == ["email", "function"]
    assert len({*AlertNotice.objects.values_list("notice_id", flat=True)}) == 1


# ------------------------------------------------------------------------------------- many at once


@pytest.mark.django_db(transaction=True)
def test_workers_that_evaluate_at_the_same_time_store_one_notice():
    heartbeat()
    fail(5)

    in_threads(4, look)

    assert stored() == ["opened dead"]


@pytest.fixture
def overtaken(monkeypatch):
    """Between the first reading of the episodes and the look at the events, another process evaluates."""
    sampled = status.sampled
    others: list[bool] = []

    def late(*arguments):
        if not others:
            others.append(True)
            look()
        return sampled(*arguments)

    return lambda: monkeypatch.setattr(status, "sampled", late)


def test_an_evaluation_that_was_overtaken_stores_nothing(overtaken):
    """It read that nothing is open, and would tell it again."""
    heartbeat()
    fail(1)
    overtaken()
    (report,) = look()

    assert (report.stored, report.episode.is_open) == (None, True)
    assert stored() == ["opened dead"]


def test_an_overtaken_recovery_is_told_once(overtaken):
    heartbeat()
    fail(1)
    look()
    OutboxEvent.objects.all().delete()
    overtaken()
    with shifted(1000):
        heartbeat()
        look()

    assert stored() == ["opened dead", "recovered dead"]


def test_of_all_workers_one_evaluates_each_minute():
    heartbeat()

    assert [take_turn(["default"]) for _ in range(3)] == [True, False, False]
    with shifted(EVERY - 1):
        assert not take_turn(["default"])
    with shifted(EVERY + 1):
        assert [take_turn(["default"]) for _ in range(3)] == [True, False, False]


def test_the_turn_survives_a_clock_that_was_set_back():
    heartbeat()
    with shifted(86_400):
        assert take_turn(["default"])

    assert take_turn(["default"])


def test_the_first_turn_needs_no_worker():
    assert [take_turn(["default"]) for _ in range(2)] == [True, False]


@pytest.mark.django_db(transaction=True)
def test_of_workers_at_the_same_time_one_gets_the_turn():
    heartbeat()

    assert sorted(in_threads(4, lambda: take_turn(["default"]))) == [False, False, False, True]


def test_an_evaluation_takes_few_queries_whatever_the_number_of_events(django_assert_max_num_queries):
    heartbeat()
    fail(300)
    look()
    with django_assert_max_num_queries(8):
        look()


def test_an_evaluation_scans_no_table(settings):
    heartbeat()
    fail(20)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        look()
    reads = [
        each["sql"] for each in queries if "outboxevent" in each["sql"] and each["sql"].startswith("SELECT")
    ]
    assert reads
    if connection.vendor != "sqlite":
        return
    for sql in reads:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " ".join(str(row[-1]) for row in cursor.fetchall())
        assert "SCAN genesys_eventbridge_outboxevent" not in plan, sql


def test_old_notices_are_forgotten_and_unsent_ones_kept():
    heartbeat()
    fail(1)
    look()
    alert = Alert.objects.get()
    for due_at in (None, DatabaseNow(-1)):
        AlertNotice.objects.create(
            alert=alert,
            notice_id="00000000-0000-0000-0000-00000000000" + ("1" if due_at else "2"),
            status=AlertStatus.OPENED,
            channel="function",
            content="{}",
            created_at=DatabaseNow(-KEPT - 60),
            due_at=due_at,
        )
    look()

    assert AlertNotice.objects.filter(created_at__lt=DatabaseNow(-KEPT)).values_list("due_at", flat=True)[0]
    assert AlertNotice.objects.count() == 2


def test_a_destination_with_wrong_settings_silences_no_other(settings):
    settings.GENESYS_EVENTBRIDGE = {**settings.GENESYS_EVENTBRIDGE, "broken": {"REGION": "us-east-1"}}

    assert list(configured()) == ["default"]


def test_nothing_is_evaluated_for_no_destination():
    assert evaluate({}, by_worker=False) == []


def test_an_enqueue_of_a_user_is_never_part_of_it(caplog):
    """Alerts belong to workers and cron: enqueue() reads and writes none of their tables."""
    with CaptureQueriesContext(connection) as queries, caplog.at_level(logging.DEBUG):
        enqueue("order.created", 1, standalone=True)

    assert not any("alert" in each["sql"] for each in queries)
    assert received == []

"""eventbridge_enqueue, _show, _cancel and _resolve: one event by hand, and what people decide about it."""

import io
import json
import threading

import pytest
from django.utils import timezone

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import wait
from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import accepted, claim, ended, event, fresh, in_threads
from tests.prompt import run, run_json, sandboxed

pytestmark = pytest.mark.django_db

DAY = 86400


def unresolved(ago=60, **row):
    in_doubt = {"in_doubt_since": DatabaseNow(-ago), "attempts": 3, **row}
    return event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, **in_doubt))


class TestEnqueue:
    def test_an_event_is_written_and_its_number_said(self):
        ran = run("enqueue", "order.created", "--data", '{"number": "ORD-7"}', "--subject", "ORD-7")

        row = OutboxEvent.objects.get()
        assert (row.type, row.subject, row.data) == ("order.created", "ORD-7", {"number": "ORD-7"})
        assert f"Enqueued event {row.pk} (order.created, id {row.event_id}) for default." in ran.out
        assert f"-> manage.py eventbridge_show {row.pk}" in ran.out
        assert ran.code == 0

    @pytest.mark.parametrize(
        ("given", "data"), [("null", None), ('"text"', "text"), ("[1, 2.5]", [1, 2.5]), ("{}", {})]
    )
    def test_any_json_value_is_a_payload(self, given, data):
        run("enqueue", "order.created", "--data", given)

        assert OutboxEvent.objects.get().data == data

    def test_the_payload_may_be_in_a_file(self, tmp_path):
        file = tmp_path / "order.json"
        file.write_bytes(b"\xef\xbb\xbf" + '{"name": "Zoë"}'.encode())

        run("enqueue", "order.created", "--data", f"@{file}")

        assert OutboxEvent.objects.get().data == {"name": "Zoë"}

    def test_the_payload_may_come_by_standard_input(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}')))

        run("enqueue", "order.created", "--data", "-")

        assert OutboxEvent.objects.get().data == {"a": 1}

    def test_a_standard_input_that_is_closed_is_said(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", None)

        ran = run("enqueue", "order.created", "--data", "-")

        assert (ran.code, ran.error) == (1, "--data -: standard input is closed.")

    @pytest.mark.parametrize(
        ("given", "code", "said"),
        [
            ("{number: 1}", 2, "line 1, column 2"),
            ("", 2, "not JSON"),
            ('{"a": NaN}', 2, "NaN is not a JSON value"),
            ("[" * 200_000, 2, "nested too deeply"),
            ("@/nowhere/order.json", 1, "cannot read it"),
            ('{"a": "\\ud800"}', 1, "data"),
        ],
        ids=["not-json", "empty", "nan", "deep", "no-file", "surrogate"],
    )
    def test_wrong_data_is_refused_with_what_to_do(self, given, code, said):
        ran = run("enqueue", "order.created", "--data", given)

        assert ran.code == code
        assert said in ran.error
        assert OutboxEvent.objects.count() == 0

    def test_no_error_repeats_the_payload(self):
        ran = run("enqueue", "order.created", "--data", '{"secret": "canary"')

        assert "canary" not in ran.error

    def test_a_file_that_is_no_text_or_too_large_is_refused(self, tmp_path):
        binary, large = tmp_path / "a.bin", tmp_path / "large.json"
        binary.write_bytes(b"\xff\xfe\x00")
        large.write_bytes(b'"' + b"x" * 300_000 + b'"')

        assert "not UTF-8" in run("enqueue", "a.b", "--data", f"@{binary}").error
        assert "MAX_EVENT_BYTES" in run("enqueue", "a.b", "--data", f"@{large}").error

    def test_what_enqueue_refuses_is_said_as_it_says_it(self):
        ran = run("enqueue", "", "--data", "{}")

        assert ran.code == 1
        assert ran.error.startswith("type:")

    def test_json_has_its_keys(self):
        data = run_json("enqueue", "order.created", "--data", "{}").data

        assert set(data["event"]) == {
            *("id", "event_id", "type", "destination", "state", "reason", "remote_id", "last_error")
        }


@pytest.mark.django_db(transaction=True)
class TestWait:
    @pytest.fixture(autouse=True)
    def _often(self, monkeypatch):
        monkeypatch.setattr(wait, "EVERY", 0.01)

    def test_it_watches_until_the_final_state(self):
        """Another worker sends it; this command only looks."""
        with sandboxed():
            done = threading.Event()

            def work():
                while not done.is_set() and not relay.publish_due().moved:
                    done.wait(0.01)

            def watch():
                try:
                    return run_json("enqueue", "order.created", "--data", "{}", "--wait", "60")
                finally:
                    done.set()

            jobs = [work, watch]
            lock = threading.Lock()

            def job():
                with lock:
                    mine = jobs.pop()
                return mine()

            ran = next(each for each in in_threads(2, job) if each is not None)

        assert (ran.code, ran.data["final"], ran.data["event"]["state"]) == (0, True, "delivered")

    def test_what_ends_otherwise_needs_a_person(self, monkeypatch):
        def die(self, **keywords):
            OutboxEvent.objects.update(**ended(State.DEAD, Reason.REJECTED, last_error="HTTP 400"))
            return real(self, **keywords)

        real = type(OutboxEvent.objects.all()).get
        monkeypatch.setattr(type(OutboxEvent.objects.all()), "get", die)

        ran = run("enqueue", "order.created", "--data", "{}", "--wait", "60")

        assert ran.code == 3
        assert "is dead after" in ran.out
        assert "HTTP 400" in ran.out

    def test_when_the_time_is_over_it_says_what_the_event_waits_for(self):
        ran = run("enqueue", "order.created", "--data", "{}", "--wait", "0.05")

        assert ran.code == 3
        assert "is still pending after" in ran.out
        assert "no worker has ever reported" in ran.out
        assert "s  pending" in ran.err

    def test_nothing_beside_the_result_with_v_0(self):
        ran = run("enqueue", "order.created", "--data", "{}", "--wait", "0.05", "-v", "0")

        assert ran.err == ""


class TestShow:
    def test_it_says_what_the_event_is_where_it_stands_and_what_comes_next(self):
        with sandboxed() as sandbox:
            row = event(data={"number": "ORD-7"}, subject="ORD-7")
            sandbox.fail_next(503)
            run("publish")

            out = run("show", row.event_id).out

        assert out.startswith(f"Event {row.pk}  order.created  pending\n")
        assert "  subject: ORD-7\n" in out
        assert "Retries" in out
        assert "Enqueued\n" in out
        assert "Sent, outcome unknown (after " in out
        assert ", HTTP status 503, took " in out
        assert "Next attempt (in " in out
        assert "--payload shows it" in out
        assert "number" not in out

    def test_how_long_the_platform_asked_to_wait_is_shown(self):
        with sandboxed() as sandbox:
            row = event()
            sandbox.fail_next(503, retry_after=120)
            run("publish")

        assert "asked to wait 2 min" in run("show", str(row.pk)).out

    def test_what_people_did_stands_in_the_timeline(self):
        row = event(row=ended(State.DEAD, Reason.REJECTED))
        run("cancel", str(row.pk), "--because", "a test order")

        out = run("show", str(row.pk)).out

        assert " via eventbridge_cancel (state dead → cancelled): a test order" in out
        assert out.count("cancelled") >= 3

    def test_the_payload_is_shown_when_asked_for_with_secrets_masked(self):
        row = event(data={"number": 7, "card": {"password": "canary"}})

        out = run("show", str(row.pk), "--payload").out
        data = run_json("show", str(row.pk), "--payload").data

        assert '"number": 7' in out
        assert "canary" not in out
        assert data["body"]["data"] == {"number": 7, "card": {"password": "[redacted]"}}

    def test_a_blanked_body_is_said(self):
        row = event(row=ended(State.DELIVERED, finished_at=DatabaseNow(), body=""))

        assert "blanked" in run("show", str(row.pk), "--payload").out
        assert run_json("show", str(row.pk), "--payload").data["body"] is None

    def test_json_has_its_keys_and_no_payload(self):
        row = event(data={"number": "canary"})

        ran = run_json("show", str(row.pk))

        assert set(ran.data) == {"event", "next", "timeline", "needs_person"}
        assert ran.data["timeline"][0]["what"] == "enqueued"
        assert "canary" not in ran.out

    def test_texts_from_outside_stay_on_their_line(self):
        row = event(row=ended(State.DEAD, Reason.REJECTED, last_error="a\nforged \x1b[31m\u202e"))

        out = run("show", str(row.pk)).out

        assert "\x1b" not in out
        assert "\u202e" not in out
        assert not any(line.startswith("forged") for line in out.splitlines())


class TestCancel:
    def test_it_withdraws_and_keeps_the_reason(self):
        rows = [event(), event(row=ended(State.DEAD, Reason.REJECTED)), unresolved()]

        ran = run("cancel", *(str(row.pk) for row in rows), "--because", "test data")

        assert {fresh(row).state for row in rows} == {State.CANCELLED}
        assert ran.out == (
            "Cancelled 3 events.\n  1 event may have been accepted before; the platform keeps what it has.\n"
        )
        assert set(EventAct.objects.values_list("act", "via", "reason")) == {
            (Act.CANCEL, "eventbridge_cancel", "test data")
        }

    def test_what_cannot_be_withdrawn_is_said(self):
        row = accepted()

        ran = run_json("cancel", str(row.pk), "--because", "x")

        assert ran.code == 3
        assert ran.data["done"] == []
        assert ran.data["skipped"] == [
            {"reason": "already accepted by the platform", "count": 1, "ids": [row.pk]}
        ]

    def test_what_may_have_been_accepted_is_counted(self):
        fresh_one, doubtful = event(), event(row={"attempts": 1, "in_doubt_since": DatabaseNow(-60)})
        flags = [*(str(row.pk) for row in (fresh_one, doubtful, unresolved())), "--because", "x"]

        foreseen = [run("cancel", *flags, "--dry-run"), run("cancel", *flags)]

        for ran in foreseen:
            assert ran.out.splitlines()[1] == (
                "  2 events may have been accepted before; the platform keeps what it has."
            )
        assert "The platform may have accepted it before." in run("show", str(doubtful.pk)).out
        assert "The platform may have accepted it before." not in run("show", str(fresh_one.pk)).out
        assert run_json("cancel", *flags).data["may_be_known"] == 0

    def test_what_is_being_sent_is_not_counted(self):
        row = event()
        claim()

        ran = run("cancel", str(row.pk), "--because", "x")

        assert ran.out == f"Cancelled 0 events.\n  Skipped: 1 (being sent right now): {row.pk}\n"

    def test_what_is_cancelled_already_needs_nobody(self):
        row = event()
        run("cancel", str(row.pk), "--because", "x")

        ran = run("cancel", str(row.pk), "--because", "x")

        assert ran.out.endswith(f"  Skipped: 1 (already cancelled): {row.pk}\n")
        assert ran.code == 0

    def test_a_dry_run_changes_nothing(self):
        row = event()

        ran = run("cancel", str(row.pk), "--because", "x", "--dry-run")

        assert fresh(row).state == State.PENDING
        assert ran.out == "Would cancel 1 event.\nNothing was changed (dry run).\n"

    def test_a_reason_is_required(self):
        assert "--because" in run("cancel", "1").error


class TestResolve:
    @pytest.mark.parametrize(
        ("flag", "state", "words"),
        [
            ("--delivered", State.DELIVERED, "as delivered"),
            ("--not-delivered", State.PENDING, "as not delivered, to be sent again"),
            ("--give-up", State.DEAD, "as given up"),
        ],
    )
    def test_a_person_decides(self, flag, state, words):
        row = unresolved()

        ran = run("resolve", str(row.pk), flag, "--because", "looked it up")

        assert fresh(row).state == state
        assert f"Resolved 1 event {words}." in ran.out
        assert EventAct.objects.get().reason == "looked it up"

    def test_past_the_window_the_key_changes_and_that_is_said(self):
        row = unresolved(ago=2 * DAY)

        ran = run("resolve", str(row.pk), "--not-delivered", "--because", "not in the CRM")

        assert (fresh(row).state, fresh(row).key_epoch) == (State.PENDING, 1)
        assert "may be delivered twice" in ran.out

    def test_others_are_left_alone(self):
        row = event()

        ran = run("resolve", str(row.pk), "--delivered", "--because", "x")

        assert (fresh(row).state, ran.code) == (State.PENDING, 3)

    @pytest.mark.parametrize(
        ("second", "code"),
        [("--delivered", 0), ("--not-delivered", 3), ("--give-up", 3)],
    )
    def test_the_same_decision_twice_needs_nobody_and_two_decisions_do(self, second, code):
        row = unresolved()
        run("resolve", str(row.pk), "--delivered", "--because", "x")

        ran = run("resolve", str(row.pk), second, "--because", "x")

        assert ran.out.endswith(f"  Skipped: 1 (already delivered): {row.pk}\n")
        assert ran.code == code

    @pytest.mark.parametrize("flag", ["--not-delivered", "--give-up"])
    def test_each_decision_may_be_repeated(self, flag):
        row = unresolved()

        codes = [run("resolve", str(row.pk), flag, "--because", "x").code for _ in range(2)]

        assert codes == [0, 0]

    @pytest.mark.parametrize("flags", [[], ["--delivered", "--give-up"]], ids=str)
    def test_one_outcome_is_chosen(self, flags):
        row = unresolved()

        assert run("resolve", str(row.pk), *flags, "--because", "x").code == 1
        assert fresh(row).state == State.UNRESOLVED


def test_times_are_those_of_the_site(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    timezone.deactivate()
    row = event(row={"created_at": "2026-11-23T09:10:00Z"})

    assert "2026-11-23 18:10:00 JST  Enqueued" in run("show", str(row.pk)).out
    assert json.loads(run_json("show", str(row.pk)).out)["event"]["created_at"] == "2026-11-23T09:10:00+00:00"

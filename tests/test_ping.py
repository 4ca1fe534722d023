"""Ping: each thing that can be wrong is told apart, with the line to change; no event is ever sent."""

import email.utils
import time
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from django.db import OperationalError
from django.test import override_settings

from genesys_eventbridge import ping
from genesys_eventbridge.client import Sender
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.client.transport import DirectTransport
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.platform.outcomes import Token
from genesys_eventbridge.platform.protocols import Webhook
from tests.prompt import run, run_json, sandboxed
from tests.socket_server import Conversation, SocketServer, proxy, self_signed

pytestmark = pytest.mark.django_db

NAMES = ["settings", "token", "permission", "clocks"]


def steps(alias="default"):
    return {step.name: step for step in ping.ping(alias)}


def changed(settings, **keys):
    one = settings.GENESYS_EVENTBRIDGE["default"]
    return override_settings(GENESYS_EVENTBRIDGE={"default": {**one, **keys}})


class TestWell:
    def test_everything_is_looked_at_and_no_event_is_sent(self):
        with sandboxed() as sandbox:
            found = steps()

        assert list(found) == NAMES
        assert all(step.ok for step in found.values()), found
        assert sandbox.received == []
        assert OutboxEvent.objects.count() == 0

    def test_the_hosts_the_life_of_the_token_and_the_rights_are_said(self):
        with sandboxed() as sandbox:
            found = steps()

        assert "http://127.0.0.1" in found["settings"].message
        assert found["token"].message == "expires in 24 h"
        assert found["permission"].message == "POST and GET /api/v2/eventbridge/events"
        assert "database" in found["clocks"].message
        assert "platform" in found["clocks"].message
        assert sandbox.received == []

    @pytest.mark.parametrize("status", [400, 411, 413, 422])
    def test_an_empty_body_is_refused_for_what_it_is(self, status):
        with sandboxed() as sandbox:
            sandbox.fail_next(status)

            assert steps()["permission"].ok

    def test_the_read_right_is_not_needed_where_nobody_asks(self):
        with sandboxed(more={"CONFIRM": False}) as sandbox:
            sandbox.fail_next(403, on="status", times=9)

            assert steps()["permission"].message == "POST /api/v2/eventbridge/events"

    def test_secrets_are_in_no_text(self):
        with sandboxed() as sandbox:
            well = run("ping").out
            sandbox.fail_next(401, on="token", times=9)
            ill = run("ping").out

        assert "test-secret-sample" not in well + ill


class TestWrong:
    @pytest.mark.parametrize("key", ["PROXY", "EXTRA_HEADERS"])
    def test_a_callable_that_fails_is_named_without_its_words(self, settings, key):
        def fail():
            raise LookupError("canary")

        with sandboxed(more={key: fail if key == "PROXY" else {"X-Gateway-Key": fail}}):
            found = steps()

        assert list(found) == NAMES
        assert f"Nothing was sent: {key}" in found["permission"].message
        assert "raised LookupError" in found["permission"].message
        assert "canary" not in "".join(f"{step.message} {step.remedy}" for step in found.values())

    def test_settings(self, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": {"REGOIN": "us-east-1"}}

        found = steps()

        assert found["settings"].ok is False
        assert "REGION" in found["settings"].message
        assert [step.ok for step in found.values()] == [False, None, None, None]

    def test_a_destination_that_is_not_there(self):
        assert "Did you mean 'default'?" in steps("defualt")["settings"].message

    def test_what_conf_lets_pass_and_the_client_does_not(self, settings):
        with changed(settings, CLIENT_ID=lambda: "a:b"):
            assert "CLIENT_ID" in steps()["token"].message

    def test_the_secret_or_the_region(self):
        with sandboxed(credentials={"other": "secret"}):
            found = steps()

        assert found["token"].ok is False
        assert found["permission"].ok is None
        assert all(word in found["token"].message for word in ("REGION", "CLIENT_ID", "CLIENT_SECRET"))

    def test_an_allow_list_at_the_login_service(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(403, on="token", times=9)

            assert "IP allow-list" in steps()["token"].message

    def test_a_host_that_is_not_there(self, settings):
        nobody = {
            "API_BASE_URL": "https://api.nowhere.invalid",
            "LOGIN_BASE_URL": "https://login.nowhere.invalid",
        }
        with changed(settings, **nobody):
            assert "host name was not found" in steps()["token"].message

    def test_a_port_that_nobody_serves(self):
        assert "Check the route to the platform and PROXY" in steps()["token"].message

    def test_a_proxy_that_is_down(self):
        behind = {
            "API_BASE_URL": "https://api.example.invalid",
            "LOGIN_BASE_URL": "https://login.example.invalid",
            "PROXY": "http://127.0.0.1:1",
        }
        with sandboxed(more=behind):
            assert "PROXY" in steps()["token"].message

    def test_tls_that_is_intercepted(self, settings):
        """Plain HTTP answers where TLS is spoken: a stand-in for any broken handshake."""
        with sandboxed():
            url = settings.GENESYS_EVENTBRIDGE["default"]["API_BASE_URL"].replace("http://", "https://")
            with changed(settings, LOGIN_BASE_URL=url):
                assert "TLS" in steps()["token"].message

    def test_a_missing_role(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(403, times=9)
            step = steps()["permission"]

        assert step.ok is False
        assert step.message.startswith("403 on POST /api/v2/eventbridge/events: ")
        assert "eventbridge:event:publish" in step.message

    @pytest.mark.parametrize("body", [b"", b"<html>No required SSL certificate was sent</html>"])
    def test_a_gateways_refusal_is_not_the_platforms(self, monkeypatch, body):
        """The relay would pause on it: the same function judges both."""
        page = httpx.Response(400, content=body)
        real = DirectTransport.handle_request

        def answer(transport, request):
            return page if request.url.path.endswith("/events") else real(transport, request)

        monkeypatch.setattr(DirectTransport, "handle_request", answer)
        with sandboxed():
            step = steps()["permission"]

        assert step.ok is False
        assert "A gateway answered, not the platform" in step.message

    def test_a_missing_read_right(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(403, on="status", times=9)
            step = steps()["permission"]

        assert step.ok is False
        assert step.message.startswith("403 on GET ")
        assert "eventbridge:events:read" in step.message

    def test_a_path_that_is_not_offered(self):
        with sandboxed(events_path="/api/v2/elsewhere"):
            step = steps()["permission"]

        assert step.ok is False
        assert step.message.startswith("404 on POST")
        assert "EVENTS_PATH" in step.message

    def test_an_endpoint_that_takes_everything_is_none(self, monkeypatch):
        from genesys_eventbridge.platform.outcomes import Outcome, Verdict

        monkeypatch.setattr(
            Sender, "publish", lambda *args: Outcome(Verdict.ACCEPTED, status_code=202, remote_id="x")
        )
        with sandboxed():
            step = steps()["permission"]

        assert step.ok is False
        assert "an empty body should be refused" in step.message

    def test_trouble_of_the_platform_itself(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(503, times=9)
            step = steps()["permission"]

        assert step.ok is False
        assert "503 on POST" in step.message


class TestClocks:
    @pytest.mark.parametrize(
        ("ahead", "ok", "words"),
        [
            (0.003, True, "ms ahead"),
            (-2.0, True, "behind"),
            (120.0, False, "2 min ahead"),
            (-3600.0, False, "1 h behind"),
        ],
    )
    def test_the_databases_clock(self, ahead, ok, words, monkeypatch):
        real = next_due.database_now
        monkeypatch.setattr(next_due, "database_now", lambda: real() + timedelta(seconds=ahead))

        step = steps()["clocks"]

        assert step.ok is ok
        assert words in step.message
        assert bool(step.remedy) is not ok

    @pytest.mark.parametrize(("ahead", "ok"), [(0, True), (3600, False), (-3600, False)])
    def test_the_platforms_clock(self, ahead, ok, monkeypatch):
        def told(_text):
            return email.utils.parsedate_to_datetime(email.utils.formatdate(time.time() + ahead))

        monkeypatch.setattr(ping, "parsedate_to_datetime", told)
        with sandboxed():
            step = steps()["clocks"]

        assert step.ok is ok
        assert "platform" in step.message

    @pytest.mark.parametrize(
        "date",
        [
            "",
            "nonsense",
            "0",
            "Mon, 99 Jan 2026 00:00:00 GMT",
            "Mon, 01 Jan 99999 00:00:00 GMT",
            "Mon, 01 Jan 2026 00:00:00 +999999999999",
            "Mon, 01 Jan 2026 99999999999999999999:00:00 GMT",
            "Mon, 01 Jan -1 00:00:00",
        ],
    )
    def test_a_platform_that_tells_no_time_is_not_compared(self, monkeypatch, date):
        real = DirectTransport.handle_request

        def answer(transport, request):
            response = real(transport, request)
            response.headers["Date"] = date
            return response

        monkeypatch.setattr(DirectTransport, "handle_request", answer)
        with sandboxed():
            found = steps()

        assert found["permission"].ok
        assert "platform" not in found["clocks"].message

    def test_a_database_that_is_away(self, monkeypatch):
        def away():
            raise OperationalError("password-canary")

        monkeypatch.setattr(next_due, "database_now", away)
        step = steps()["clocks"]

        assert step.ok is False
        assert "OperationalError" in step.message
        assert "canary" not in step.message


class TestBounded:
    """For somebody who waits before a page."""

    def test_all_steps_share_the_time(self, monkeypatch):
        deadlines = []

        def sender(platform, *given, **keywords):
            deadlines.append(platform.request_deadline)
            return Sender(platform, *given, **keywords)

        monkeypatch.setattr(ping, "Sender", sender)
        with sandboxed():
            found = {step.name: step for step in ping.ping("default", seconds=8.0)}

        assert all(step.ok for step in found.values())
        (each,) = deadlines
        assert each <= 8.0 / 2

    def test_no_step_begins_when_the_time_is_over(self, monkeypatch):
        clock = iter([0.0, 1.0])
        monkeypatch.setattr(ping, "Deadline", lambda seconds: Deadline(seconds, lambda: next(clock, 99.0)))
        monkeypatch.setattr(ping, "ask_for_token", lambda *arguments, **keywords: Token("t", 60.0))

        found = {step.name: step for step in ping.ping("default", seconds=8.0)}

        assert (found["permission"].ok, found["permission"].message) == (
            None,
            "not checked: time limit reached",
        )
        assert found["clocks"].ok


class TestCommand:
    def test_a_destination_that_nobody_configured_is_wrong_usage(self):
        ran = run("ping", "--destination", "defualt")

        assert ran.code == 2
        assert "--destination: " in ran.error
        assert "Did you mean 'default'?" in ran.error

    def test_one_with_wrong_settings_is_looked_at(self, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": {"REGOIN": "us-east-1"}}

        assert run("ping", "--destination", "default").out.startswith("1/4 settings     FAILED")

    def test_it_prints_each_step(self):
        with sandboxed():
            ran = run("ping")

        lines = ran.out.splitlines()
        assert ran.code == 0
        assert [line[:3] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
        assert lines[1] == "2/4 token        OK   expires in 24 h"

    def test_what_failed_needs_a_person(self):
        ran = run("ping")

        assert ran.code == 3
        assert "2/4 token        FAILED  No token" in ran.out
        assert "3/4 permission   -    not checked: it needs a token" in ran.out

    def test_each_destination_has_its_own_steps(self):
        with sandboxed(aliases=("default", "emea")):
            out = run("ping").out

        assert out.startswith("default:\n1/4")
        assert "\nemea:\n1/4" in out

    def test_wrong_settings_do_not_keep_it_from_running(self, settings):
        settings.GENESYS_EVENTBRIDGE = {"default": {}}

        ran = run("ping")

        assert ran.code == 3
        assert ran.out.startswith("1/4 settings     FAILED  ")

    def test_json_has_its_keys(self):
        with sandboxed():
            data = run_json("ping").data

        assert [set(step) for step in data["destinations"]["default"]] == [
            {"name", "ok", "message", "remedy"}
        ] * 4


class TestAWebhook:
    """Any request would be an event, so a ping only connects."""

    TOKEN = "canarytoken-0123456789"

    @contextmanager
    def webhook(self, **more):
        own = {"PROTOCOL": "webhook", "WEBHOOK_TOKEN": self.TOKEN, "ON_DOUBT": "ask", **more}
        gone = dict.fromkeys(["CLIENT_ID", "CLIENT_SECRET", "LOGIN_BASE_URL", "CHECK_DELAYS"])
        with sandboxed(more={**own, **gone}, webhook_token=self.TOKEN) as sandbox:
            yield sandbox

    def test_it_connects_sends_nothing_and_says_what_proves_more(self):
        with self.webhook() as sandbox:
            found = steps()

        assert list(found) == ["settings", "connection", "clocks"]
        assert all(step.ok for step in found.values()), found
        assert "only a real event proves more" in found["connection"].message
        assert "eventbridge_ping --send" in found["connection"].remedy
        assert sandbox.ledger()["attempts"] == []

    def test_a_tunnel_and_tls_are_made_and_nothing_goes_through_them(self, settings, tmp_path):
        made = self_signed(tmp_path)
        if made is None:
            pytest.skip("openssl is needed for the certificate")
        context, bundle = made
        with SocketServer(Conversation.read_request, tls=context) as server, SocketServer(proxy) as between:
            own = {"PROTOCOL": "webhook", "WEBHOOK_TOKEN": self.TOKEN, "SOURCE": "com.example"}
            where = {"API_BASE_URL": server.url, "PROXY": between.url, "CA_BUNDLE": bundle}
            settings.GENESYS_EVENTBRIDGE = {"default": {**own, **where}}
            step = steps()["connection"]

        assert step.ok, step
        assert "with TLS" in step.message
        assert [request.method for request in between.requests] == ["CONNECT"]
        assert (server.connections, server.requests) == (1, [])

    def test_a_host_that_is_not_there_is_named(self):
        with self.webhook(API_BASE_URL="https://api.nowhere.invalid"):
            assert "host name was not found" in steps()["connection"].message

    def test_a_callable_that_fails_is_named(self):
        with self.webhook(WEBHOOK_TOKEN=lambda: "a/b"):
            assert "WEBHOOK_TOKEN must be the token" in steps()["connection"].message

    def test_a_protocol_that_fails_is_named_by_its_error_alone(self, monkeypatch):
        def fails(*_):
            raise RuntimeError(self.TOKEN)

        monkeypatch.setattr(Webhook, "publish_request", fails)
        with self.webhook():
            ran = run("ping")

        assert "nothing was sent: the protocol raised RuntimeError" in ran.out
        assert self.TOKEN not in ran.out
        assert ran.code == 3

    def test_a_test_event_of_unknown_outcome_can_be_looked_for(self):
        with self.webhook() as sandbox:
            sandbox.fail_next(500, on="webhook")
            ran = run("ping", "--send")

        assert f"for type {ping.TEST_TYPE} and id " in ran.out
        assert ran.code == 3

    def test_one_marked_event_is_sent_if_asked_for(self):
        with self.webhook() as sandbox:
            ran = run("ping", "--send")

        (sent,) = [each for each in sandbox.ledger()["attempts"] if each["accepted"]]
        assert sent["type"] == ping.TEST_TYPE
        assert f"accepted as {sent['remote_id']}" in ran.out
        assert "--send" not in ran.out
        assert f"for type {ping.TEST_TYPE} and id {sent['id']}" in ran.out
        assert ran.code == 0
        assert OutboxEvent.objects.count() == 0

    def test_an_event_that_is_not_accepted_is_a_failure(self):
        with self.webhook(WEBHOOK_TOKEN="another-token-0123"):
            ran = run("ping", "--send")

        assert "No webhook has this token" in ran.out
        assert ran.code == 3

    def test_nothing_is_sent_after_a_failure(self):
        with self.webhook(API_BASE_URL="https://api.nowhere.invalid"):
            assert "not sent: fix the connection first" in run("ping", "--send").out

    @pytest.mark.parametrize("arguments", [[], ["--send"], ["--format", "json"]])
    def test_its_token_is_in_no_text(self, arguments):
        with self.webhook() as sandbox:
            well = run("ping", *arguments).out
            sandbox.fail_next(404, times=9, on="webhook")
            assert self.TOKEN not in well + run("ping", *arguments).out


def test_an_event_may_be_sent_by_any_protocol():
    with sandboxed() as sandbox:
        ran = run("ping", "--send")

    assert ran.code == 0
    assert [event["type"] for event in sandbox.received] == [ping.TEST_TYPE]

"""T13, T15, T16, T18, T28-T30: whom the relay talks to, and that it says there what it must, no more."""

import base64
import json
import string
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genesys_eventbridge import conf, relay
from genesys_eventbridge.client import Platform, Sender, auth
from genesys_eventbridge.client.auth import ClientCredentials
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.platform.outcomes import Sent, Verdict
from genesys_eventbridge.states import State
from tests.hostile import CANARY, NO_ID
from tests.outbox_rows import event
from tests.parsers import parser  # noqa: F401 - each test runs with both
from tests.socket_server import SocketServer, answer

EVENTS = "/api/v2/eventbridge/events"


@pytest.fixture(autouse=True)
def _fresh_process():
    auth._process.begin()
    yield
    auth._process.begin()


def token(value="t0ken-of-the-test"):
    return answer(200, {"access_token": value, "token_type": "bearer", "expires_in": 3600})


def taking(*, name="t0ken-of-the-test", remote_id="", status="accepted"):
    """A platform that gives a token and takes every event, each with an id of its own or this one."""

    def script(talk):
        while request := talk.read_request():
            if request.target == "/oauth/token":
                talk.send(token(name))
            else:
                talk.answer(202, {"id": remote_id or f"evt-{uuid4()}", "status": status})

    return script


def configure(settings, server, **changes):
    settings.GENESYS_EVENTBRIDGE = {
        "default": {
            **settings.GENESYS_EVENTBRIDGE["default"],
            "API_BASE_URL": server.url,
            "LOGIN_BASE_URL": server.url,
            **changes,
        }
    }


def asked_for_events(server, since=0):
    return [request for request in server.requests[since:] if request.target != "/oauth/token"]


# ------------------------------------------------------------------------------------- T13, T15: settings


@pytest.mark.django_db(transaction=True)
def test_no_attribute_of_an_event_chooses_a_host(settings):
    """T13: whatever addresses an event holds, it goes where the settings say."""
    with SocketServer(taking()) as elsewhere, SocketServer(taking()) as server:
        configure(settings, server)
        event(
            "order.created",
            {"url": elsewhere.url, "callback": f"{elsewhere.url}/x", "$ref": elsewhere.url},
            source=f"{elsewhere.url}/orders",
            subject=elsewhere.url,
            dataschema=f"{elsewhere.url}/schema.json",
            extensions={"host": elsewhere.url, "location": elsewhere.url},
            ordering_key=elsewhere.url,
            idempotency_key=elsewhere.url,
        )
        relay.publish_due()

        assert OutboxEvent.objects.get().state == State.ACCEPTED
        assert elsewhere.connections == 0
        assert [request.target for request in asked_for_events(server)] == [EVENTS]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.mypurecloud.ie@evil.example",
        "https://api.mypurecloud.ie:443@evil.example",
        "https://evil.example#@api.mypurecloud.ie",
        "https://evil.example?.mypurecloud.ie",
        "https://evil.example\\.mypurecloud.ie",
        "//evil.example",
        "https:evil.example",
        "https:///evil.example",
        "https://evil.example\r\nHost: api.mypurecloud.ie",
        "https://evil.example\t.mypurecloud.ie",
        "https://evil.example/../..",
        "https://evil.example/%2e%2e",
        "https://[::ffff:1.2.3.4%25eth0]",
        "https://0x7f.1",
        "https://2130706433",
        "https://api.mypurecloud.\u0131e",
        "http://169.254.169.254",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://[::1].evil.example",
        "ftp://api.mypurecloud.ie",
        "file:///etc/passwd",
        "gopher://127.0.0.1",
        "unix:///run/docker.sock",
    ],
)
@pytest.mark.parametrize("key", ["API_BASE_URL", "LOGIN_BASE_URL"])
def test_an_address_with_a_trick_in_it_is_a_check_error_and_never_used(settings, key, url):
    """T13: found by `manage.py check`, and refused where it would be used."""
    settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], key: url}}

    assert [(problem.id, problem.key) for problem in conf.problems()] == [("E007", key)]
    good = {"api_base_url": "https://api.x.example", "login_base_url": "https://login.x.example"}
    with pytest.raises(ValueError, match=key):
        Platform(**{**good, key.lower(): url}, client_id="a", client_secret="b")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("VERIFY", False),
        ("VERIFY_SSL", False),
        ("SSL_VERIFY", False),
        ("TLS_VERIFY", False),
        ("INSECURE", True),
        ("FOLLOW_REDIRECTS", True),
        ("CA_BUNDLE", False),
        ("CA_BUNDLE", ""),
    ],
)
def test_no_setting_switches_verification_off(settings, key, value):
    """T15: there is no such key, and CA_BUNDLE takes a file."""
    settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], key: value}}

    assert [problem.id for problem in conf.problems()] == ["E004" if key == "CA_BUNDLE" else "E003"]


# ------------------------------------------------------------------------------------ T16: what is a header

OURS = {"host", "user-agent", "accept", "accept-encoding", "authorization", "content-type", "content-length"}
NASTY = st.text(st.sampled_from(string.printable + "\r\n\x00\x7f\x85\xa0\u2028\u0130é☃\ud800"), max_size=40)
TEXT = NASTY | st.text(max_size=40)


@pytest.fixture(scope="module")
def platform_server():
    with SocketServer(taking()) as server:
        yield server


def sender_to(server, **changes):
    platform = Platform(
        api_base_url=server.url,
        login_base_url=server.url,
        client_id="an-id",
        client_secret="a-secret-0123",
        **changes,
    )
    return Sender(platform, ClientCredentials(platform))


class TestHeaders:
    """On a real socket: a transport in memory never writes the bytes that a proxy would split."""

    @given(key=TEXT, kind=TEXT, subject=TEXT)
    @example("a\r\nX-Evil: 1", "t", "s")
    @example("a\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n", "t", "s")
    @example(" a", "t", "s")
    @example("é", "t", "s")
    def test_whatever_the_key_is_the_request_has_our_headers_or_is_not_sent(
        self, platform_server, key, kind, subject
    ):
        before = len(platform_server.requests)
        sender = sender_to(platform_server)
        body = json.dumps({"id": "1", "source": "s", "type": kind, "subject": subject})
        outcome = sender.publish(body, key, Sent("1", "s", kind, subject))
        sender.close()

        sent = asked_for_events(platform_server, before)
        if outcome.verdict is Verdict.REJECTED:
            assert sent == []
        else:
            (request,) = sent
            assert (request.method, request.target) == ("POST", EVENTS)
            assert {name.lower() for name, _ in request.headers} == OURS | {"idempotency-key"}
            assert request.header("Idempotency-Key") == key
            assert json.loads(request.body) == json.loads(body)

    @given(name=TEXT, value=TEXT)
    @example("X-A", "b\r\nX-Evil: 1")
    @example("X-A: 1\r\nX-Evil", "b")
    @example("transfer-encoding", "chunked")
    @example("Content-Length", "0")
    @example("HOST", "evil.example")
    def test_extra_headers_arrive_as_they_are_or_are_refused(self, platform_server, name, value):
        before = len(platform_server.requests)
        try:
            sender = sender_to(platform_server, extra_headers={name: value})
        except ValueError:
            return
        outcome = sender.check("evt-1")
        sender.close()

        assert outcome.verdict is Verdict.NOT_YET
        (request,) = [one for one in platform_server.requests[before:] if one.method == "GET"]
        names = sorted(given.lower() for given, _ in request.headers)
        assert names == sorted([*(OURS - {"content-type", "content-length"}), name.lower()])
        assert request.header(name) == value

    @given(
        attributes=st.fixed_dictionaries(
            {"type": TEXT, "source": TEXT}, optional={"subject": TEXT, "id": TEXT, "datacontenttype": TEXT}
        ),
        extensions=st.dictionaries(TEXT, TEXT, max_size=2),
    )
    def test_no_attribute_of_an_event_becomes_a_header(self, platform_server, attributes, extensions):
        """Structured mode: what an event says is in the body, and there it is JSON."""
        kind = attributes.pop("type")
        try:
            made = build_event(kind, {"a": 1}, extensions=extensions, **attributes)
        except ValueError:
            return
        before = len(platform_server.requests)
        sender = sender_to(platform_server)
        outcome = sender.publish(made.encode(), "a-key", Sent(made.id, made.source, made.type))
        sender.close()

        assert outcome.verdict is Verdict.ACCEPTED
        (request,) = asked_for_events(platform_server, before)
        assert {name.lower() for name, _ in request.headers} == OURS | {"idempotency-key"}
        assert request.header("Content-Type") == "application/cloudevents+json"
        assert json.loads(request.body)["type"] == kind


# ---------------------------------------------------------------------------------- T18: ids in our URLs


@pytest.mark.django_db(transaction=True)
def test_no_id_that_a_platform_invents_leads_a_check_elsewhere(settings):
    """T18: an id that could be more than one segment is never stored, so it is never asked for."""
    ids = iter([*(json.loads(text).get("id") for text in NO_ID.values()), "evt-1"])

    def script(talk):
        while request := talk.read_request():
            if request.target == "/oauth/token":
                talk.send(token(CANARY))  # one of the ids is the bearer itself
            elif request.method == "POST":
                talk.answer(202, {"id": next(ids), "status": "accepted"})
            else:
                talk.answer(200, {"status": "delivered"})

    with SocketServer(script) as server:
        # Nothing is tried a second time while this runs, however slow the machine.
        configure(settings, server, CHECK_DELAYS=[0.001], CONCURRENCY=1, BACKOFF_BASE=3600, BACKOFF_CAP=3600)
        for _ in range(len(NO_ID) + 1):
            event()
            relay.publish_due()
            Destination.objects.all().delete()  # the run of answers without proof has paused it
        with shifted(1):
            relay.check_accepted()

        targets = [request.target for request in asked_for_events(server)]
        assert targets == [EVENTS] * (len(NO_ID) + 1) + [f"{EVENTS}/evt-1"]
        assert set(OutboxEvent.objects.values_list("remote_id", flat=True)) == {"", "evt-1"}


# ------------------------------------------------------------------------------ T28-T30: the token request


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("changes", "scope"),
    [
        ({}, "eventbridge:event:publish eventbridge:events:read"),
        ({"CONFIRM": False, "SCOPES": ["eventbridge:event:publish"]}, "eventbridge:event:publish"),
        ({"SCOPES": []}, None),
    ],
)
def test_two_narrow_scopes_are_asked_for_and_the_secret_is_in_one_header_only(settings, changes, scope):
    """T28, T29: as the relay asks, with the settings a project has."""
    secret = "Zm9v+/=%20&b:ar"
    with SocketServer(taking(status="delivered")) as server:
        configure(settings, server, CLIENT_ID="an-id", CLIENT_SECRET=secret, **changes)
        event()
        relay.publish_due()

        first, *others = server.requests
        assert first.target == "/oauth/token"
        form = parse_qs(first.body.decode())
        assert form == {"grant_type": ["client_credentials"], **({"scope": [scope]} if scope else {})}
        assert (
            base64.b64decode((first.header("Authorization") or "").removeprefix("Basic ")).decode()
            == f"an-id:{secret}"
        )
        elsewhere = [(name, value) for name, value in first.headers if name.lower() != "authorization"]
        assert secret not in repr([first.target, first.body, elsewhere])
        assert all(secret not in repr(request) for request in others)


@pytest.mark.parametrize("client_id", ["an:id", ":", "ïd", "an id\r\n", "an\x00id"])
def test_a_client_id_that_basic_cannot_carry_is_refused_by_a_check(settings, client_id):
    """T29: the part after a colon would be read as the beginning of the secret."""
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CLIENT_ID": client_id}
    }

    assert [(problem.id, problem.key) for problem in conf.problems()] == [("E004", "CLIENT_ID")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "changes",
    [
        {"CLIENT_ID": "another-client"},
        {"CLIENT_SECRET": "another-secret-0123"},
        {"SCOPES": ["another:scope"]},
        {"LOGIN_BASE_URL": "another"},
        {"TOKEN_PATH": "/another/token"},
    ],
)
def test_a_token_goes_nowhere_its_settings_did_not_name(settings, changes):
    """T30: a setting changed in a living process counts from the next pass, and a bearer stays at home."""

    def script(name):
        def talking(talk):
            while request := talk.read_request():
                if "token" in request.target:
                    talk.send(token(f"t0ken-{name}-{len(talk.server.requests)}"))
                else:
                    talk.answer(202, {"id": f"evt-{uuid4()}", "status": "delivered"})

        return talking

    with SocketServer(script("first")) as first, SocketServer(script("second")) as second:
        configure(settings, first)
        event()
        relay.publish_due()
        if "LOGIN_BASE_URL" in changes:
            changes = {"LOGIN_BASE_URL": second.url}
        configure(settings, first, **{"API_BASE_URL": second.url, **changes})
        event()
        relay.publish_due()
        before, after = bearers(first), bearers(second)

        assert OutboxEvent.objects.filter(state=State.DELIVERED).count() == 2
        assert len(before) == len(after) == 1
        assert before.isdisjoint(after)


@pytest.mark.django_db(transaction=True)
def test_two_organisations_in_one_process_never_share_a_bearer(settings):
    """T30, with a login service of its own each."""
    with SocketServer(taking(name="t0ken-one")) as one, SocketServer(taking(name="t0ken-two")) as two:
        configure(settings, one)
        ours = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {
            "default": ours,
            "emea": {**ours, "API_BASE_URL": two.url, "LOGIN_BASE_URL": two.url},
        }
        for alias in ("default", "emea", "default"):
            event(destination=alias)
            relay.publish_due(alias)

        assert bearers(one) == {"Bearer t0ken-one"}
        assert bearers(two) == {"Bearer t0ken-two"}


def bearers(server):
    return {request.header("Authorization") for request in server.requests if "token" not in request.target}

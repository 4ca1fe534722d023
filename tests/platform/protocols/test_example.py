"""The example in docs/protocols.md is run as it stands, against a real HTTP server."""

import json
import os
import sys
from types import ModuleType
from typing import Any

import pytest

from genesys_eventbridge import conf, ping, relay
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.states import Reason, State
from tests import pages
from tests.outbox_rows import event
from tests.socket_server import SocketServer, answer, replies

PAGE = "docs/protocols.md"
KEY = "key-of-the-gateway-0123"
RECEIPT = answer(200, {"receipt": "r-77"})

pytestmark = pytest.mark.django_db


@pytest.fixture
def gateway(settings, monkeypatch):
    """Installs the page's module and settings; returns a function that points them to a server."""
    code, shown = pages.python_blocks(PAGE)[:2]
    package, module = ModuleType("company"), ModuleType("company.gateway")
    monkeypatch.setitem(sys.modules, "company", package)
    monkeypatch.setitem(sys.modules, "company.gateway", module)
    exec(compile(code, PAGE, "exec"), vars(module))
    monkeypatch.setenv("GATEWAY_KEY", KEY)
    names: dict[str, Any] = {"os": os}
    exec(compile(shown, PAGE, "exec"), names)

    def use(server, **changes):
        given = names["GENESYS_EVENTBRIDGE"]["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**given, "API_BASE_URL": server.url, **changes}}
        assert conf.problems() == []

    return use


def published(gateway, *answers, **changes):
    """One event, one pass. Returns the row and the requests."""
    with SocketServer(replies(*answers)) as server:
        gateway(server, **changes)
        row = event()
        relay.publish_due()
    row.refresh_from_db()
    return row, server.requests


def test_an_event_is_sent_as_the_gateway_takes_it_and_delivered_by_its_receipt(gateway):
    row, requests = published(gateway, RECEIPT)

    assert (row.state, row.remote_id) == (State.DELIVERED, "r-77")
    (sent,) = requests
    assert (sent.method, sent.target) == ("POST", "/events")
    assert sent.header("X-Api-Key") == KEY
    assert sent.header("Content-Type") == "application/json"
    assert sent.body.decode() == f'{{"event": "{row.type}", "payload": {row.body}}}'
    assert json.loads(sent.body)["payload"]["id"] == str(row.event_id)


def test_its_own_settings_are_checked_and_used(gateway):
    row, requests = published(gateway, RECEIPT, GATEWAY_PATH="/v2/in", GATEWAY_KEY=lambda: "another-key-0123")

    assert row.state == State.DELIVERED
    assert (requests[0].target, requests[0].header("X-Api-Key")) == ("/v2/in", "another-key-0123")


def test_a_refusal_in_the_gateways_words_ends_the_event(gateway):
    row, _ = published(gateway, answer(422, {"error": "no such order"}))

    assert (row.state, row.reason) == (State.DEAD, Reason.REJECTED)


def test_a_refused_key_pauses_the_destination_and_charges_no_event(gateway):
    row, _ = published(gateway, answer(401, {"error": "who are you?"}))

    assert (row.state, row.attempts) == (State.PENDING, 0)
    assert "GATEWAY_KEY" in Destination.objects.get().paused_reason


@pytest.mark.parametrize("unknown", [answer(200, {}), answer(503), answer(200, {"receipt": 7})])
def test_without_a_receipt_an_operator_is_asked(gateway, unknown):
    row, requests = published(gateway, unknown)

    assert (row.state, row.reason, len(requests)) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, 1)


def test_the_key_is_masked_in_what_the_gateway_echoes(gateway):
    published(gateway, answer(422, {"error": f"wrong: {KEY}"}))

    attempt = DeliveryAttempt.objects.get()
    assert attempt.verdict == Verdict.REJECTED
    assert KEY not in attempt.error + attempt.response_excerpt


def test_ping_connects_and_sends_nothing_unless_asked(gateway):
    with SocketServer(replies(RECEIPT)) as server:
        gateway(server)
        quiet = {step.name: step.ok for step in ping.ping("default")}
        silent = list(server.requests)
        steps = {step.name: step for step in ping.ping("default", send=True)}

    assert quiet == {"settings": True, "connection": True, "clocks": True}
    assert silent == []
    assert steps["event"].ok
    assert "in the gateway's log" in steps["event"].remedy
    assert len(server.requests) == 1
    assert OutboxEvent.objects.count() == 0


def test_the_page_names_every_attribute_and_method_of_the_interface():
    from genesys_eventbridge.platform.protocols import Protocol

    members = {name for name in vars(Protocol) if not name.startswith("_")}
    members |= {name for name in Protocol.__annotations__ if not name.startswith("_")}
    named = pages.first_cells(PAGE, "### Attributes") | {
        cell.partition("(")[0] for cell in pages.first_cells(PAGE, "### Methods")
    }

    assert named == members

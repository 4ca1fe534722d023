"""The package sends to the webhook: its request is the official one, and the ledger agrees with the rows."""

import json
from typing import Any

import pytest

from genesys_eventbridge import relay
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import enqueue
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.sandbox import WEBHOOK_TOKEN, Sandbox, serve
from genesys_eventbridge.sandbox.hostile import TRICKS
from genesys_eventbridge.sandbox.start import settings_block
from genesys_eventbridge.states import State
from tests.sandbox.invocations import OFFICIAL, Recorder

pytestmark = pytest.mark.django_db(transaction=True)

LOST = "lost-response"
FAULTS = [*TRICKS["webhook"], LOST, 0, 400, 404, 408, 409, 429, 500, 503]
REFUSED = {400}
NOT_TAKEN = {404, 429, "html-403", "redirect-302", "redirect-307", "retry-after-word", "retry-after-negative"}


@pytest.fixture
def sandbox():
    return Sandbox()


@pytest.fixture
def recorder(sandbox, settings):
    """A running sandbox, and the settings that it prints."""
    with serve(recorder := Recorder(sandbox, WEBHOOK_TOKEN)) as server:
        sandbox.configure(protocol="webhook")
        text = settings_block(server.url, sandbox.options)
        namespace: dict[str, Any] = {}
        exec(text[text.index("GENESYS_EVENTBRIDGE") : text.index("What it received")], namespace)
        settings.GENESYS_EVENTBRIDGE = namespace["GENESYS_EVENTBRIDGE"]
        yield recorder


def use(settings, **changes):
    settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], **changes}}


def created(number=1):
    return enqueue(
        "order.created",
        {"number": number, "amount": "10.50", "name": "Käse 🧀"},
        subject=f"ORD-{number} 🧀",
        extensions={"region": "eu 1"},
        standalone=True,
    )


def test_the_printed_settings_deliver_an_event(recorder, sandbox):
    row = created()

    assert relay.publish_due().states == {"delivered": 1}
    assert sandbox.received == [json.loads(row.body)]
    assert OutboxEvent.objects.get().remote_id == sandbox.ledger()["attempts"][0]["remote_id"]


@pytest.mark.parametrize("body", ["cloudevent", "data"])
def test_our_request_is_the_one_of_the_official_sdk(recorder, settings, body):
    use(settings, WEBHOOK_BODY=body)
    created()
    relay.publish_due()

    assert recorder.received == [OFFICIAL]


@pytest.mark.parametrize("body", ["cloudevent", "data"])
def test_in_each_mode_the_ledger_knows_the_event_and_has_all_of_it(recorder, sandbox, settings, body):
    use(settings, WEBHOOK_BODY=body)
    row = created()
    relay.publish_due()

    attempt = sandbox.ledger()["attempts"][0]
    known = {name: attempt[name] for name in ("source", "id", "type", "subject")}
    sent = json.loads(row.body)
    assert known == {name: sent[name] for name in known}
    assert sandbox.received == [sent]


@pytest.mark.parametrize("mode", ["ask", "resend"])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_each_fault_the_row_says_what_the_ledger_says(recorder, sandbox, settings, fault, mode):
    """``ask`` accepts nothing twice, ``resend`` only after an unknown outcome. Neither loses an event."""
    use(settings, ON_DOUBT=mode, REQUEST_DEADLINE=5)
    row = created()
    if fault == LOST:
        sandbox.scenario = LOST
    else:
        sandbox.fail_next(fault, on="webhook")
    for hours in range(3):
        with shifted(hours * 3600):
            Destination.objects.all().delete()  # its pauses are tested elsewhere
            relay.publish_due()
        sandbox.scenario = "happy"

    taken = fault == LOST or (fault in TRICKS["webhook"] and TRICKS["webhook"][fault].honest_first)
    if fault in REFUSED:
        expected = [Verdict.REJECTED], State.DEAD, 0
    elif fault in NOT_TAKEN:
        expected = [Verdict.HALTED, Verdict.ACCEPTED], State.DELIVERED, 1
    elif mode == "ask":
        expected = [Verdict.UNKNOWN], State.UNRESOLVED, int(taken)
    else:
        expected = [Verdict.UNKNOWN, Verdict.ACCEPTED], State.DELIVERED, 1 + taken
    row.refresh_from_db()
    verdicts = list(DeliveryAttempt.objects.order_by("id").values_list("verdict", flat=True))
    accepted = sandbox.ledger()["accepts"].get(f"{row.source} {row.event_id}", 0)
    assert (verdicts, row.state, accepted) == expected

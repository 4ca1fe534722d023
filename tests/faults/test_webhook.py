"""Faults of one request to a webhook, which honours no key: the sandbox's ledger is the judge.

The table is the specification: for each fault of the first request, what the platform has after it, and how
the event ends with ON_DOUBT "ask" and "resend".
"""

import threading

import pytest
from django.db import transaction

from genesys_eventbridge import conf, relay
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import enqueue, expiry
from genesys_eventbridge.relay.batch import Side
from genesys_eventbridge.sandbox import Sandbox, serve
from genesys_eventbridge.signals import event_delivered
from genesys_eventbridge.states import State
from tests.chaos.judge import judge, never_requested
from tests.chaos.processes import webhook
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

#: Seconds between two passes; longer than any lease, backoff or pause that the settings allow. Injected.
STEP = 1000.0
ASKED, SENT, DEAD = "unresolved/outcome_unknown", "delivered", "dead/rejected"

#: The platform has accepted the event, and we do not know.
ACCEPTED = ["lost-response", "gateway-timeout", "half-body", "no-id", "null-id", "html-200", "list-body"]
ACCEPTED += ["empty-body", "no-content", "invalid-utf8", "false-gzip", "error-inside", "errors-inside"]
#: It has not, and we do not know.
NOT_ACCEPTED = [0, 408, 409, 500, 502, 503, 504, "odd-status"]
#: It has not, and says so: the event is sent again in both modes, without a mark.
CERTAIN = [401, 403, 404, 405, 410, 415, 421, 423, 425, 429]
REFUSED = [400, 422]

#: Fault, what the platform has, the end and the requests with "ask", and those with "resend".
TABLE = [
    *((fault, 1, ASKED, 1, SENT, 2) for fault in ACCEPTED),
    *((fault, 0, ASKED, 1, SENT, 2) for fault in NOT_ACCEPTED),
    *((fault, 0, SENT, 2, SENT, 2) for fault in CERTAIN),
    *((fault, 0, DEAD, 1, DEAD, 1) for fault in REFUSED),
    ("slow", 1, ASKED, 1, SENT, 2),
    ("refused connection", 0, SENT, 1, SENT, 1),
]


class Slow:
    """The sandbox's sleep: holds one answer until it is released."""

    def __init__(self):
        self.held = threading.Event()
        self.held.set()

    def __call__(self, _seconds):
        self.held.wait(30)


@pytest.fixture(scope="module")
def slow():
    return Slow()


@pytest.fixture(scope="module")
def platform(slow):
    return Sandbox(protocol="webhook", latency=0.001, sleep=slow)


@pytest.fixture(scope="module")
def server(platform):
    with serve(platform) as running:
        yield running


@pytest.fixture
def sandbox(platform):
    platform.reset()
    return platform


@pytest.fixture(params=["ask", "resend"])
def on_doubt(request, settings, server):
    settings.GENESYS_EVENTBRIDGE = webhook(server.url, request.param)
    return request.param


def backlog(count=1):
    with transaction.atomic():
        for number in range(count):
            order = Order.objects.create(number=f"N-{number}")
            enqueue("order.created", {"number": number}, subject=order.number)


def passes(count=3):
    for number in range(count):
        with shifted(number * STEP):
            relay.publish_due()


def ends():
    rows = OutboxEvent.objects.order_by("id").values_list("state", "reason")
    return ["/".join(filter(None, row)) for row in rows]


def log():
    return list(DeliveryAttempt.objects.order_by("id").values_list("verdict", "may_duplicate"))


def one_fault(fault, sandbox, slow, settings):
    """The first pass meets the fault; afterwards the platform works."""
    match fault:
        case "lost-response":
            sandbox.configure(scenario=fault)
            passes(1)
            sandbox.configure(scenario="happy")
        case "slow":
            slow.held.clear()
            usual = settings.GENESYS_EVENTBRIDGE["default"]
            hasty = {**usual, "REQUEST_DEADLINE": 1.0, "CONNECT_TIMEOUT": 1.0}
            settings.GENESYS_EVENTBRIDGE = {"default": hasty}
            conf.reset()
            passes(1)
            slow.held.set()
            settings.GENESYS_EVENTBRIDGE = {"default": usual}  # a busy machine may need longer for the others
            conf.reset()
        case "refused connection":
            url = settings.GENESYS_EVENTBRIDGE["default"]["API_BASE_URL"]
            settings.GENESYS_EVENTBRIDGE["default"]["API_BASE_URL"] = "http://127.0.0.1:1"
            conf.reset()
            passes(1)
            settings.GENESYS_EVENTBRIDGE["default"]["API_BASE_URL"] = url
            conf.reset()
        case _:
            sandbox.fail_next(fault)
            passes(1)


@pytest.mark.parametrize("case", TABLE, ids=[str(row[0]) for row in TABLE])
def test_each_fault_has_one_end(case, sandbox, slow, settings, on_doubt):
    fault, accepted, asked_end, asked_requests, resent_end, resent_requests = case
    end, requests = (asked_end, asked_requests) if on_doubt == "ask" else (resent_end, resent_requests)
    backlog()

    one_fault(fault, sandbox, slow, settings)
    assert sum(sandbox.ledger()["accepts"].values()) == accepted
    with shifted(STEP):
        passes()

    ledger = sandbox.ledger()
    sent = [each for each in ledger["attempts"] if each["endpoint"] == "webhook"]
    assert (ends(), len(sent)) == ([end], requests)
    assert sum(ledger["accepts"].values()) == accepted + (end == SENT)
    doubtful = on_doubt == "resend" and asked_end == ASKED
    assert [mark for _verdict, mark in log()][1:] == [True if doubtful else None] * (len(log()) - 1)
    assert log()[0][1] is None
    assert never_requested(ledger) == []
    if end != DEAD:
        assert not judge(ledger, on_doubt=on_doubt)


def test_a_doubt_that_a_definite_answer_follows_is_still_marked(sandbox, on_doubt):
    """Lost, then too fast, then accepted: the third request may duplicate the first one."""
    backlog()
    for fault in ("gateway-timeout", 429):
        sandbox.fail_next(fault)
    passes()

    if on_doubt == "ask":
        assert (ends(), log()) == ([ASKED], [("unknown", None)])
    else:
        assert (ends(), log()) == ([SENT], [("unknown", None), ("halted", True), ("accepted", True)])
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)


def test_a_late_answer_with_proof_ends_the_question(sandbox, server, settings, monkeypatch):
    """The worker was frozen past its lease with the answer in its hands; its receivers are called."""
    settings.GENESYS_EVENTBRIDGE = webhook(server.url, "ask")
    backlog()
    settle, states, delivered = Side.settle, [], []

    def lapse_first(side):
        if side.answers:
            OutboxEvent.objects.update(due_at=DatabaseNow(-1))
            expiry.expire(conf.destination())
            states.extend(ends())
        settle(side)

    def receiver(event, **_more):
        delivered.append(event.state)

    monkeypatch.setattr(Side, "settle", lapse_first)
    event_delivered.connect(receiver)
    report = relay.publish_due()
    event_delivered.disconnect(receiver)

    row = OutboxEvent.objects.get()
    assert states == [ASKED]
    assert (report.lost, ends(), delivered) == (1, [SENT], [State.DELIVERED])
    assert (row.due_at, row.in_doubt_since, row.finished_at is None) == (None, None, False)
    assert not judge(sandbox.ledger(), on_doubt="ask")


def test_half_a_backlog_of_faults_is_asked_about_or_repeated_and_nothing_is_lost(sandbox, on_doubt):
    """Of 40 events every other one meets a fault; the platform accepts most of them."""
    backlog(40)
    for fault in (*ACCEPTED[1:6], *NOT_ACCEPTED[:5], *CERTAIN[:5]):
        sandbox.fail_next(fault)
        relay.publish_due(limit=2, concurrency=1)
        Destination.objects.all().delete()  # no fault may hide the next one behind a pause
    with shifted(STEP):
        passes()

    unknown = sum(verdict == "unknown" for verdict, _mark in log())
    assert unknown == 10
    assert ends().count(ASKED) == (unknown if on_doubt == "ask" else 0)
    assert ends().count(SENT) == 40 - ends().count(ASKED)
    assert never_requested(sandbox.ledger()) == []
    assert not judge(sandbox.ledger(), on_doubt=on_doubt)

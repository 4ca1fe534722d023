"""The webhook with ON_DOUBT "ask": how many questions an outage costs, as counts in simulated time."""

import pytest

from genesys_eventbridge.models import DeliveryAttempt, OutboxEvent
from genesys_eventbridge.states import State
from tests.simulation import rules
from tests.simulation.platform import Kind
from tests.simulation.test_fault_plans import FAULTS

pytestmark = pytest.mark.django_db

HOUR = 3600.0
BEGINS = 60.0
ASKED = "unresolved/outcome_unknown"


@pytest.fixture
def webhook(settings, simulate):
    """``webhook(on_doubt, rules, **settings)``: a bench whose destination is a webhook."""

    def webhook(on_doubt="ask", *plan, **changes):
        values = {
            "REGION": "us-east-1",
            "PROTOCOL": "webhook",
            "WEBHOOK_TOKEN": "token-0123456789",
            "ON_DOUBT": on_doubt,
            "SOURCE": "com.example.tests",
        }
        settings.GENESYS_EVENTBRIDGE = {"default": {**values, **changes}}
        return simulate(*plan)

    return webhook


def perhaps_taken(code):
    """This status; half of the events were accepted before."""

    def fault(question):
        if question.random.random() < 0.5:
            question.answer()
        return rules.status(code)(question)

    return fault


def asked_events():
    return {int(row.subject) for row in OutboxEvent.objects.filter(state=State.UNRESOLVED)}


def only_once(bench):
    """Nothing was accepted twice, nothing is lost, and each question is about a request that was made."""
    assert set(bench.platform.taken.values()) <= {1}
    asked = asked_events()
    requested = {one.event for one in bench.platform.requests(Kind.PUBLISH)}
    assert asked <= requested
    delivered = {int(row.subject) for row in OutboxEvent.objects.filter(state=State.DELIVERED)}
    assert delivered <= set(bench.platform.taken)
    assert not delivered & asked


@pytest.mark.parametrize(
    ("concurrency", "lately", "questions"), [(1, False, 5), (1, True, 5), (16, False, 18), (16, True, 18)]
)
def test_a_phase_of_500_over_a_backlog_costs_few_questions(webhook, concurrency, lately, questions):
    """2,000 events are due, and for 30 seconds each request is answered 503; half of them arrived.

    Three unknown outcomes in a row pause. By then each sender may have one more request under way. Each pause
    ends with one probe, and doubles if that fails.
    """
    bench = webhook(CONCURRENCY=concurrency)
    if lately:
        bench.enqueue()
        bench.run(BEGINS)
    bench.clock.move_to(BEGINS)
    phase = rules.between(BEGINS, BEGINS + 30, perhaps_taken(503))
    bench.platform.rules[:] = [phase, lambda question: rules.slowly(2.0, question)]
    bench.enqueue(2000)

    bench.run(29.0)

    asked = len(asked_events())
    pauses = len(bench.pauses)
    assert asked == questions
    assert asked <= max(3, concurrency) + pauses - 1
    assert bench.states() == {ASKED: questions, "pending": 2000 - questions} | (
        {"delivered": 1} if lately else {}
    )

    bench.run(7.0)

    assert len(asked_events()) == questions
    assert bench.states()["delivered"] >= 5
    only_once(bench)


#: The longest pause under "ask".
LONGEST = 900.0


@pytest.mark.parametrize(("hours", "most"), [(1, 30), (12, 80)])
def test_in_an_outage_each_probe_is_one_question_and_afterwards_everything_flows(webhook, hours, most):
    """503 for half a day over a backlog: in the end one question for each LONGEST seconds."""
    bench = webhook()
    bench.enqueue()
    bench.run(BEGINS)
    bench.clock.move_to(BEGINS)
    ends = BEGINS + hours * HOUR
    bench.platform.rules[:] = [rules.between(BEGINS, ends, perhaps_taken(503))]
    bench.enqueue(most + 100)

    bench.run(hours * HOUR)

    asked = len(asked_events())
    requests = bench.platform.requests(Kind.PUBLISH, start=BEGINS, end=ends)
    assert asked == len(requests) <= most
    assert bench.states() == {"delivered": 1, "pending": most + 100 - asked, ASKED: asked}

    bench.run(2 * HOUR)

    assert len(asked_events()) <= asked + 1
    assert bench.states()["delivered"] == bench.enqueued - len(asked_events())
    assert max(bench.platform.accepted_at.values()) - ends <= 1.1 * LONGEST + 60
    only_once(bench)


def test_an_outage_that_refuses_connections_costs_no_question(webhook):
    bench = webhook()
    bench.enqueue(30)
    bench.platform.rules[:] = [rules.between(0.0, HOUR, rules.refused_connection)]

    bench.run(2 * HOUR)

    assert bench.states() == {"delivered": 30}
    only_once(bench)


#: Faults of FAULTS that may hide an acceptance.
UNKNOWN = {"a 500", "a reset connection", "a body cut off", "a page with 200", "a read timeout"}


@pytest.mark.parametrize("on_doubt", ["ask", "resend"])
@pytest.mark.parametrize("fault", FAULTS)
def test_of_a_backlog_with_faults_nothing_is_lost_and_only_doubts_are_repeated(webhook, fault, on_doubt):
    """A fifth of the requests fail; which of those arrived is for the platform to know."""
    bench = webhook(on_doubt, rules.share(0.2, FAULTS[fault]), CONCURRENCY=4)
    bench.enqueue(40)

    bench.run(6 * HOUR)

    platform = bench.platform
    faulty = {one.event for one in platform.requests(Kind.PUBLISH) if one.planned_fault}
    doubtful = faulty if fault in UNKNOWN else set()
    marked = set(DeliveryAttempt.objects.filter(may_duplicate=True).values_list("event__subject", flat=True))
    assert faulty
    if on_doubt == "ask":
        assert asked_events() == doubtful
        assert bench.states() == {"delivered": 40 - len(doubtful)} | (
            {ASKED: len(doubtful)} if doubtful else {}
        )
        assert not marked
        only_once(bench)
    else:
        assert bench.states() == {"delivered": 40}
        assert set(platform.taken) == set(range(40))
        assert {number for number, times in platform.taken.items() if times > 1} <= doubtful
        assert {int(subject) for subject in marked} == doubtful

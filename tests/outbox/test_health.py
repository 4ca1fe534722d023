"""What a group of answers means for the destination: said once, in the order in which they came."""

from types import SimpleNamespace
from typing import cast

import pytest
from django.utils import timezone

from genesys_eventbridge import signals
from genesys_eventbridge.models import Destination
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.outbox.claim import Claimed
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from tests.outbox_rows import CHECK, PUBLISH, settings_with

pytestmark = pytest.mark.django_db

ACCEPTED = Outcome(Verdict.ACCEPTED, status_code=202, remote_id="evt-1")
REFUSED = Outcome(Verdict.HALTED, halt=Halt.NETWORK, error="connection refused")
SLOW_DOWN = Outcome(Verdict.HALTED, halt=Halt.RATE, retry_after=30.0, error="429")
BROKEN = Outcome(Verdict.UNKNOWN, status_code=503, outage=Halt.NETWORK, error="503")


def record(*outcomes, kind=PUBLISH, **row):
    rows = [(claimed(number, **row), outcome) for number, outcome in enumerate(outcomes, 1)]
    return destinations.record_outcomes(kind, settings_with(concurrency=2), rows).paused


def claimed(number, *, halts=0, kind="order.created"):
    row = SimpleNamespace(
        id=number,
        halts=halts,
        type=kind,
        probe=False,
        turn=False,
        turn_until=None,
        suspected_since=None,
        waiting_since=timezone.now(),
    )
    return cast(Claimed, row)


def destination():
    return Destination.objects.get()


@pytest.fixture
def paused():
    heard = []

    def hear(reason, **_keywords):
        heard.append(reason)

    signals.destination_paused.connect(hear)
    yield heard
    signals.destination_paused.disconnect(hear)


def test_trouble_that_several_senders_meet_is_one_pause_and_said_once(paused):
    assert record(REFUSED, REFUSED, REFUSED)

    assert paused == ["connection refused"]
    assert destination().pause_seconds == 5.0


def test_of_several_troubles_the_longest_is_told(paused):
    record(REFUSED, SLOW_DOWN)

    assert paused == ["429"]


def test_acceptances_pause_nothing(paused):
    assert not record(ACCEPTED, ACCEPTED)

    assert paused == []


def test_failures_before_an_acceptance_of_the_same_group_do_not_count():
    assert not record(*[BROKEN] * 4, ACCEPTED)
    assert not record(*[BROKEN] * 4)
    assert record(BROKEN)


def test_failures_after_the_acceptance_do():
    record(ACCEPTED)

    assert record(ACCEPTED, *[BROKEN] * 5)


def test_a_503_that_names_a_wait_pauses_at_once(paused):
    assert record(
        Outcome(Verdict.UNKNOWN, status_code=503, outage=Halt.NETWORK, retry_after=40.0, error="503")
    )

    assert destination().paused_kind == "rate"


def test_what_a_check_meets_does_not_count_to_the_run_of_publishing():
    answers = [Outcome(Verdict.NOT_YET, status_code=503, error="503")] * 20

    assert not record(*answers, kind=CHECK)
    assert not Destination.objects.filter(run_failures__gt=0).exists()

"""The judge of these tests finds what it looks for, and a missing gateway is no silent success."""

import pytest

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import Reason, State
from tests.gateways.processes import REQUIRED, installed


def ended(**columns):
    """Each row becomes as if the app had ended it so."""
    OutboxEvent.objects.update(due_at=None, claim_token=None, **columns)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"state": State.DEAD, "reason": Reason.REJECTED}, "never refused it"),
        ({"state": State.UNRESOLVED, "reason": Reason.OUTCOME_UNKNOWN}, "was never sent"),
        ({"state": State.DELIVERED, "finished_at": DatabaseNow()}, "never took it"),
    ],
    ids=["dead", "unresolved", "delivered"],
)
def test_an_event_that_never_left_may_not_have_ended(columns, words, worker):
    worker.enqueue(1)
    ended(**columns)

    with pytest.raises(AssertionError, match=words):
        worker.judge()


def test_an_event_that_was_accepted_is_not_dead(worker):
    worker.enqueue(1)
    worker.publish()
    ended(state=State.DEAD, reason=Reason.REJECTED)

    with pytest.raises(AssertionError, match="never refused it"):
        worker.judge()


def test_an_event_that_is_accepted_again_under_another_key_is_noticed(worker):
    worker.enqueue(1)
    worker.publish()
    OutboxEvent.objects.update(state=State.PENDING, due_at=DatabaseNow(), remote_id="", key_epoch=1)
    worker.publish()

    with pytest.raises(AssertionError, match="accepted 2 times"):
        worker.judge()


def test_what_was_refused_by_the_platform_may_be_dead(worker, platform):
    platform.sandbox.unregister("order.created")
    worker.enqueue(1)
    worker.publish()

    assert worker.states() == {State.DEAD: 1}
    worker.judge()


def test_a_gateway_that_is_not_installed_is_skipped_and_fails_where_it_is_required(monkeypatch):
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-such-gateway"):
        installed("no-such-gateway")

    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-gateway is not installed"):
        installed("no-such-gateway")

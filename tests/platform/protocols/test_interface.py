"""A protocol is a user's code: whatever its methods raise has the meaning that docs/protocols.md says."""

from dataclasses import dataclass
from typing import ClassVar

import httpx
import pytest

from genesys_eventbridge import conf, relay
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.platform.outcomes import Verdict
from genesys_eventbridge.platform.protocols import Protocol, Request
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import accepted, event, fresh
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

SECRET = "a-secret-of-the-users-code"


@dataclass(frozen=True, repr=False)
class Faulty(Protocol):
    """Accepts every response, except that the methods in ``raises`` raise."""

    name: ClassVar = "faulty"
    raises: ClassVar[dict[str, Exception]] = {}

    def publish_request(self, platform, event, key):
        self._may_raise("publish_request")
        return Request("POST", "/events", body=event.body)

    def publish_outcome(self, answer, event):
        self._may_raise("publish_outcome")
        return answer.outcome(Verdict.ACCEPTED, remote_id="r-1")

    def status_request(self, platform, remote_id):
        self._may_raise("status_request")
        return Request("GET", f"/events/{remote_id}")

    def status_outcome(self, answer, remote_id, event, age):
        self._may_raise("status_outcome")
        return answer.outcome(Verdict.DELIVERED)

    def check_event(self, event):
        self._may_raise("check_event")

    def account(self, platform):
        self._may_raise("account")
        return self.name

    def _may_raise(self, method):
        if method in self.raises:
            raise self.raises[method]


class Confirming(Faulty):
    """Faulty, with a delivery status."""

    confirms: ClassVar = True


@pytest.fixture
def faulty(settings, monkeypatch):
    """Makes the methods that are given raise; ``confirms`` is for those of a delivery status."""

    def use(*, confirms=False, **raises):
        monkeypatch.setattr(Faulty, "raises", raises)
        kind = Confirming if confirms else Faulty
        settings.GENESYS_EVENTBRIDGE = {
            "default": {
                "PROTOCOL": f"{kind.__module__}.{kind.__name__}",
                "API_BASE_URL": "http://127.0.0.1:1",
                "SOURCE": "com.example.tests",
                "ON_DOUBT": "ask",
            }
        }
        assert conf.problems() == []

    return use


def publish():
    platform = ScriptedPlatform(httpx.Response(200, json={}))
    relay.publish_due(transport=platform.transport)
    return platform


def check(row):
    OutboxEvent.objects.filter(pk=row.pk).update(due_at=row.created_at)
    platform = ScriptedPlatform(check=[httpx.Response(200, json={})])
    relay.check_accepted(transport=platform.transport)
    return platform


def test_without_errors_an_event_is_sent_and_delivered(faulty):
    faulty()
    row = event()

    assert len(publish().published) == 1
    assert fresh(row).state == State.DELIVERED


class TestPublishing:
    def test_a_halt_pauses_the_destination_and_charges_no_event(self, faulty):
        faulty(publish_request=Halted("GATEWAY_KEY is unusable", kind="config"))
        row = event()

        assert publish().published == []
        assert (fresh(row).state, fresh(row).attempts) == (State.PENDING, 0)
        assert Destination.objects.get().paused_kind == "config"

    def test_an_invalid_event_is_dead(self, faulty):
        faulty(publish_request=InvalidEvent("subject", "is too long"))
        row = event()

        assert publish().published == []
        assert (fresh(row).state, fresh(row).reason) == (State.DEAD, Reason.REJECTED)

    def test_another_error_before_the_request_is_counted_and_tried_again(self, faulty, caplog):
        faulty(publish_request=RuntimeError(SECRET))
        row = event()

        assert publish().published == []
        assert (fresh(row).state, fresh(row).attempts) == (State.PENDING, 1)
        assert fresh(row).in_doubt_since is None
        assert fresh(row).last_error == "Nothing was sent: the protocol raised RuntimeError."
        assert SECRET not in caplog.text

    def test_an_error_about_the_response_leaves_the_outcome_unknown(self, faulty, caplog):
        faulty(publish_outcome=RuntimeError(SECRET))
        row = event()

        assert len(publish().published) == 1
        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
        assert SECRET not in caplog.text

    def test_an_account_that_cannot_be_read_stops_nothing(self, faulty):
        faulty(account=RuntimeError(SECRET))
        row = event()
        publish()

        assert fresh(row).state == State.DELIVERED


class TestChecking:
    @pytest.mark.parametrize("method", ["status_request", "status_outcome"])
    def test_an_error_ends_no_accepted_event(self, faulty, method):
        faulty(confirms=True, **{method: RuntimeError(SECRET)})
        row = accepted()
        check(row)

        assert fresh(row).state == State.ACCEPTED
        assert fresh(row).due_at is not None

    def test_without_one_it_is_delivered(self, faulty):
        faulty(confirms=True)
        row = accepted()
        check(row)

        assert fresh(row).state == State.DELIVERED


class TestEnqueue:
    @pytest.mark.parametrize("error", [InvalidEvent("data", "is too odd"), RuntimeError("a bug")])
    def test_what_the_check_of_an_event_raises_reaches_the_caller_and_leaves_no_row(self, faulty, error):
        faulty(check_event=error)

        with pytest.raises(type(error)):
            event()
        assert not OutboxEvent.objects.exists()

"""A protocol is a user's code: whatever its methods raise has the meaning that docs/protocols.md says."""

from dataclasses import dataclass
from typing import Any, ClassVar

import httpx
import pytest

from genesys_eventbridge import conf, relay
from genesys_eventbridge.errors import Halted, InvalidEvent
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
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

    def secrets(self, platform):
        self._may_raise("secrets")
        return ()

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


def unchecked(verdict: Any, **fields: Any) -> Outcome:
    """What an untyped protocol may return."""
    return Outcome(verdict, **fields)


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

    def test_an_error_of_the_texts_to_mask_comes_before_the_request(self, faulty):
        faulty(secrets=RuntimeError(SECRET))
        row = event()

        assert publish().published == []
        assert (fresh(row).state, fresh(row).in_doubt_since) == (State.PENDING, None)

    @pytest.mark.parametrize(
        "given",
        [
            None,
            ("POST", "/events"),
            Request("POST", "events"),
            Request("POST", "@elsewhere.example.com/events"),
            Request("POST", "/events", ("X-One", "1")),  # type: ignore[arg-type]
        ],
    )
    def test_what_is_no_request_is_not_sent_and_leaves_no_doubt(self, faulty, monkeypatch, given):
        faulty()
        monkeypatch.setattr(Faulty, "publish_request", lambda *_: given)
        row = event()

        assert publish().published == []
        assert (fresh(row).state, fresh(row).attempts) == (State.PENDING, 1)
        assert fresh(row).in_doubt_since is None

    @pytest.mark.parametrize(
        "outcome",
        [
            None,
            "accepted",
            Verdict.ACCEPTED,
            unchecked("accepted"),
            unchecked(Verdict.HALTED),
            unchecked(Verdict.ACCEPTED, remote_id=None),
            unchecked(Verdict.ACCEPTED, remote_id=7),
            unchecked(Verdict.ACCEPTED, remote_id="x" * 256),
            unchecked(Verdict.ACCEPTED, remote_id="a\0b"),
            unchecked(Verdict.UNKNOWN, error=None),
            unchecked(Verdict.UNKNOWN, status_code="200"),
            unchecked(Verdict.UNKNOWN, status_code=10**12),
            unchecked(Verdict.UNKNOWN, outage="network"),
            unchecked(Verdict.UNAVAILABLE, retry_after=float("nan")),
            unchecked(Verdict.UNAVAILABLE, retry_after=1e300),
        ],
    )
    def test_what_is_no_outcome_leaves_the_outcome_unknown(self, faulty, monkeypatch, outcome):
        faulty()
        monkeypatch.setattr(Faulty, "publish_outcome", lambda *_: outcome)
        row = event()
        publish()

        assert (fresh(row).state, fresh(row).reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
        assert fresh(row).last_error.startswith("HTTP 200: the response could not be judged (TypeError).")

    def test_texts_of_an_outcome_are_made_fit_to_be_stored(self, faulty, monkeypatch):
        faulty()
        outcome = Outcome(Verdict.REJECTED, error="a\0b" * 999, correlation_id="c" * 999, excerpt="\0" * 9999)
        monkeypatch.setattr(Faulty, "publish_outcome", lambda *_: outcome)
        row = event()
        publish()

        assert (fresh(row).state, len(fresh(row).last_error)) == (State.DEAD, 500)
        assert "\0" not in fresh(row).last_error

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "put"])
    def test_a_body_is_sent_by_any_method(self, faulty, monkeypatch, method):
        faulty()
        row = event()
        body = fresh(row).body
        monkeypatch.setattr(Faulty, "publish_request", lambda *_: Request(method, "/events", body=body))
        lengths = []

        def answer(request):
            lengths.append(request.headers["content-length"])
            return httpx.Response(200, json={})

        relay.publish_due(transport=lambda: httpx.MockTransport(answer))

        assert lengths == [str(len(body.encode()))]

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

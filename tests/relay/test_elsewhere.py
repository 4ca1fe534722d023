"""What is due and must not be sent: a doubt about another organisation, and a body changed by hand."""

import httpx
import pytest

from genesys_eventbridge import conf, operations, relay
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.operations import Actor, Resolution
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.reporting.explain import explain
from genesys_eventbridge.reporting.facts import facts_for
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import claim, event, fresh
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

PERSON = Actor("tests", name="Ada")


@pytest.fixture
def change(settings):
    def change(**keys):
        settings.GENESYS_EVENTBRIDGE = {"default": {**settings.GENESYS_EVENTBRIDGE["default"], **keys}}

    return change


def publish(*answers):
    platform = ScriptedPlatform(*answers)
    relay.publish_due(transport=platform.transport)
    return platform


def doubtful():
    """An event that the present organisation may have taken, due again."""
    row = event()
    publish(httpx.ReadTimeout("no answer"))
    OutboxEvent.objects.update(due_at=row.created_at)
    return fresh(row)


CHANGES = {
    "host": {"API_BASE_URL": "https://api.mypurecloud.ie"},
    "client": {"CLIENT_ID": "another-client"},
}


@pytest.mark.parametrize("keys", CHANGES.values(), ids=CHANGES)
def test_a_doubt_about_another_organisation_is_never_sent_by_itself(change, keys):
    row = doubtful()

    change(**keys)
    platform = publish()

    row = fresh(row)
    assert platform.published == []
    assert (row.state, row.reason) == (State.UNRESOLVED, Reason.OUTCOME_UNKNOWN)
    assert "Another organisation or endpoint may have accepted it" in explain(row, facts_for(row))


def test_a_doubt_about_this_organisation_is_sent_again(change):
    row = doubtful()

    change(EVENTS_PATH="/api/v2/other/events")
    publish(202)

    assert fresh(row).state == State.ACCEPTED


def test_an_event_that_was_never_sent_goes_to_the_new_organisation(change):
    row = event()

    change(**CHANGES["host"])
    publish(202)

    assert fresh(row).state == State.ACCEPTED
    assert fresh(row).doubt_about == destinations.organisation(conf.destination())


def test_a_definite_answer_leaves_no_doubt_about_the_organisation_before(change):
    row = event()
    publish(httpx.ConnectError("refused"))
    Destination.objects.update(paused_until=None, pauses=None)

    change(**CHANGES["host"])
    publish(202)

    assert fresh(row).state == State.ACCEPTED


def test_a_client_id_that_cannot_be_read_now_ends_no_doubt(change):
    row = doubtful()

    def failing():
        raise OSError

    change(CLIENT_ID=failing)
    claim(about=destinations.organisation(conf.destination()))

    assert fresh(row).state == State.PENDING
    assert fresh(row).doubt_about == row.doubt_about is not None


def test_an_operator_who_sends_it_again_must_accept_a_duplicate(change):
    row = doubtful()
    change(**CHANGES["host"])
    publish()

    refused = operations.resolve([row.pk], PERSON, Resolution.NOT_DELIVERED, "looked")
    accepted = operations.resolve(
        [row.pk], PERSON, Resolution.NOT_DELIVERED, "looked", accept_duplicates=True
    )
    publish(202)

    assert refused.ids == []
    assert accepted.may_duplicate.ids == [row.pk]
    assert fresh(row).state == State.ACCEPTED


class TestAlteredBodies:
    def test_a_body_that_was_changed_by_hand_is_not_sent(self):
        row, other = event(), event()
        OutboxEvent.objects.filter(pk=row.pk).update(body='{"specversion": "1.0"}')

        platform = publish(202)

        assert len(platform.published) == 1
        assert fresh(other).state == State.ACCEPTED
        row = fresh(row)
        assert (row.state, row.reason) == (State.DEAD, Reason.REJECTED)
        assert "changed after the event was enqueued" in row.last_error

    def test_in_doubt_it_is_unresolved(self):
        row = doubtful()
        OutboxEvent.objects.filter(pk=row.pk).update(body="{}")

        publish()

        assert fresh(row).state == State.UNRESOLVED

    def test_many_of_them_are_no_refusals_of_the_platform(self):
        rows = [event() for _ in range(40)]
        OutboxEvent.objects.update(body="{}")

        publish()

        assert {fresh(row).state for row in rows} == {State.DEAD}
        assert Destination.objects.get().paused_until is None

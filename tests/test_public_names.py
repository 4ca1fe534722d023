"""The import paths that users' code holds: a move inside the package never changes them."""

from importlib import import_module

import pytest
from django.core.management import get_commands
from django.utils.module_loading import import_string

from genesys_eventbridge.models import OutboxEvent
from tests.package import PACKAGE

PUBLIC = {
    "alerts": "Example Notice",
    "admin": "DestinationAdmin OutboxEventAdmin",
    "client": "Accepted EventBridgeClient Status",
    "cloudevents": "NO_DATA CloudEvent build_event",
    "conf": "aliases destination",
    "errors": "EventBridgeError Halted IdempotencyConflict InvalidEvent NotInTransaction OutcomeUnknown "
    "Rejected Unavailable Unconfirmed",
    "model_events": "Change EventManager EventQuerySet enqueue_for publishes suppress_events",
    "models": "DeliveryAttempt Destination EventAct OutboxEvent Rollup",
    "operations": "cancel check_now pause requeue resend resolve resume retry_now",
    "outbox": "aenqueue declare_event enqueue enqueue_many",
    "ping": "ping",
    "platform.outcomes": "Halt Outcome Sent Verdict",
    "platform.protocols": "Answer Channel EventBridge Protocol Request Webhook",
    "platform.protocols.verdicts": "not_accepted without_proof",
    "platform.values": "Secret or_callable setting",
    "relay": "check_accepted publish_due",
    "sandbox": "Sandbox serve",
    "signals": "destination_paused destination_resumed event_accepted event_dead event_delivered "
    "event_enqueued event_retried event_unresolved",
    "states": "Act AttemptKind Reason State",
    "tasks": "poll poll_all prune prune_all publish publish_all publish_backlog retry retry_all",
    "testing": "Attempt DrainReport EventBridgeDrain EventBridgeOutbox EventBridgeSandbox "
    "EventBridgeTestMixin LeftEvent Scenario capture_events sandboxed",
    "text": "DEFAULT_REDACT_KEYS",
}
COMMANDS = (
    "alert cancel catalogue enqueue pause ping poll prune publish resolve resume retry sandbox schedules "
    "show status"
)


@pytest.mark.parametrize(
    "path", [f"{PACKAGE.name}.{module}.{name}" for module, names in PUBLIC.items() for name in names.split()]
)
def test_a_public_name_is_where_users_import_it_from(path):
    assert import_string(path) is not None


@pytest.mark.parametrize("name", COMMANDS.split())
def test_a_command_is_found(name):
    assert get_commands()[f"eventbridge_{name}"] == PACKAGE.name


def test_querysets_offer_what_is_promised():
    for scope in ("blocked", "due", "in_flight", "open", "retrying"):
        assert callable(getattr(OutboxEvent.objects.all(), scope))


def test_the_version_is_read_from_the_package():
    assert import_module(PACKAGE.name).__version__

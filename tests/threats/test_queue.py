"""T21-T23: django-q2 is a clock and a bell; what it brings along can lose a message and never an event."""

import queue
import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from django_q import pusher as django_q_pusher
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.signing import BadSignature, SignedPackage

from genesys_eventbridge import relay, schedules, tasks, wake
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import State
from tests.outbox_rows import event
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh_wake():
    wake.forget()
    yield
    wake.forget()


def pushed():
    """What the cluster's pusher takes from the broker in one look."""
    taken: queue.Queue[Any] = queue.Queue()
    stop = threading.Event()
    stop.set()
    django_q_pusher.pusher(taken, stop)
    return [taken.get() for _ in range(taken.qsize())]


def test_a_new_secret_key_loses_messages_and_no_event(settings, monkeypatch):
    """T23: django-q2 signs with SECRET_KEY alone, whatever SECRET_KEY_FALLBACKS says."""
    platform = ScriptedPlatform()
    wake.announce("default")
    event("order.created")
    (message,) = OrmQ.objects.all()
    OrmQ.objects.update(lock="2001-01-01T00:00Z")
    assert SignedPackage.loads(message.payload)["func"] == "genesys_eventbridge.tasks.publish"

    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    monkeypatch.setattr(Conf, "SECRET_KEY", "a-new-key")
    with pytest.raises(BadSignature):
        SignedPackage.loads(message.payload)
    assert pushed() == []
    assert not OrmQ.objects.exists()

    wake.forget()
    wake.announce("default")
    wake.wake("default")
    assert [task["func"] for task in pushed()] == ["genesys_eventbridge.tasks.publish"]
    relay.publish_due(transport=platform.transport)
    assert OutboxEvent.objects.get().state == State.ACCEPTED
    assert len(platform.published) == 1


def test_our_schedules_run_our_functions_with_nothing_to_evaluate():
    """T22: a schedule's arguments are literals that somebody may edit; ours have none, and a check looks."""
    schedules.install()

    for row in Schedule.objects.all():
        assert row.func.startswith("genesys_eventbridge.tasks.")
        assert callable(getattr(tasks, row.func.rpartition(".")[2]))
        assert not row.args
        assert not row.kwargs
        assert not row.hook

    Schedule.objects.filter(name="eventbridge:poll").update(args="'x',")
    assert [one.name for one in schedules.statuses() if not one.right] == ["eventbridge:poll"]

"""A person's pause: nothing is claimed until it ends, and no worker touches it."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.test import TestCase

from genesys_eventbridge import conf
from genesys_eventbridge.circuit import Reply
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import Destination
from genesys_eventbridge.operations import Actor, pause, resume
from genesys_eventbridge.outbox import destinations
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.signals import destination_paused, destination_resumed
from tests.outbox_rows import CHECK, PUBLISH, accepted, claim, event

pytestmark = pytest.mark.django_db

ANA = Actor("admin", name="ana")


def gate(kind=PUBLISH):
    return destinations.gate(kind, "default", "tests")


def test_a_paused_destination_sends_and_checks_nothing():
    event()
    accepted()

    pause("default", ANA, "their maintenance")

    assert claim().rows == claim(CHECK).rows == []
    row = Destination.objects.get()
    assert (row.held_by, row.held_reason, row.held_until) == ("ana", "their maintenance", None)


def test_a_pause_for_a_time_ends_by_itself():
    event()
    pause("default", ANA, "their maintenance", 600)

    assert claim().rows == []
    with shifted(601):
        assert len(claim().rows) == 1


def test_a_second_pause_replaces_the_first():
    pause("default", ANA, "short", 60)
    pause("default", Actor("eventbridge_pause", name="ben"), "long")

    row = Destination.objects.get()
    assert (row.held_by, row.held_reason, row.held_until) == ("ben", "long", None)


def test_resumed_it_goes_on():
    event()
    pause("default", ANA, "their maintenance")

    assert resume("default", ANA) is True

    assert len(claim().rows) == 1
    assert Destination.objects.get().held_reason == ""


def test_resuming_what_is_not_paused_does_nothing():
    assert resume("default", ANA) is False
    assert resume("default", ANA, also_trouble=True) is False


def test_resuming_leaves_a_pause_by_trouble_unless_asked():
    settings = conf.destination()
    refused = Outcome(Verdict.HALTED, halt=Halt.PERMISSION)
    for kind in (PUBLISH, CHECK):
        destinations.record(kind, settings, [Reply(1, refused)])
    pause("default", ANA, "their maintenance")

    resume("default", ANA)
    assert not gate().open
    assert not gate(CHECK).open

    assert resume("default", ANA, also_trouble=True) is True
    assert gate().probing
    assert gate(CHECK).probing


def test_a_probe_that_never_answered_can_be_given_up():
    Destination.objects.create(
        alias="default", paused_until=DatabaseNow(-5), paused_reason="x", probe_until=DatabaseNow(60)
    )

    assert resume("default", ANA, also_trouble=True) is True
    assert gate().probing


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 1e12])
def test_a_pause_is_for_a_positive_time_of_ten_years_at_most(seconds):
    with pytest.raises(ValueError, match="seconds"):
        pause("default", ANA, "why", seconds)


def test_a_pause_wants_a_reason():
    with pytest.raises(ValueError, match="reason"):
        pause("default", ANA, " ")


@pytest.mark.parametrize("act", [lambda: pause("defualt", ANA, "why"), lambda: resume("defualt", ANA)])
def test_an_unknown_destination_is_named_with_the_known_ones(act):
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'default'"):
        act()
    assert not Destination.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_that_the_settings_no_longer_name_is_paused_and_resumed(caplog):
    event(row={"destination": "gone"})

    pause("gone", ANA, "another project's")

    assert resume("gone", ANA, "ours again")
    assert Destination.objects.get(alias="gone").held_by == ""
    assert "Unknown destination" not in caplog.text


def test_staff_leave_a_line_in_the_history():
    ana = get_user_model().objects.create_user("ana", is_staff=True)
    actor = Actor("admin", user=ana)

    pause("default", actor, "their maintenance")
    resume("default", actor, "they are back")
    resume("default", actor)

    entries = list(LogEntry.objects.order_by("id"))
    assert [entry.get_change_message() for entry in entries] == [
        "paused: their maintenance",
        "resumed: they are back",
    ]
    assert entries[0].get_edited_object() == Destination.objects.get()


def test_both_are_announced_after_the_commit():
    heard = []

    def paused(sender, alias, reason, **kwargs):
        heard.append(("paused", alias, reason))

    def resumed(sender, alias, reason, **kwargs):
        heard.append(("resumed", alias, reason))

    destination_paused.connect(paused)
    destination_resumed.connect(resumed)
    try:
        with TestCase.captureOnCommitCallbacks(execute=True):
            pause("default", ANA, "why")
            assert heard == []
        with TestCase.captureOnCommitCallbacks(execute=True):
            resume("default", ANA, "done")
    finally:
        destination_paused.disconnect(paused)
        destination_resumed.disconnect(resumed)

    assert heard == [("paused", "default", "why"), ("resumed", "default", "done")]

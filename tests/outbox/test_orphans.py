"""A destination that is configured no more: its events can be ended, moved and pruned, its alarm silenced."""

import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured

from genesys_eventbridge import operations, signals, tasks
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, EventAct, OutboxEvent, Rollup
from genesys_eventbridge.operations import Actor, Resolution
from genesys_eventbridge.outbox import orphans
from genesys_eventbridge.relay import publish_due
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import accepted, ended, event, fresh, skipped
from tests.prompt import run, run_json
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db

ANA = Actor("tests", name="ana")
DAY = 86400
GONE = "its destination is no longer in GENESYS_EVENTBRIDGE: move it, or cancel it"


def pending(**row):
    return event(row={"destination": "old", **row})


def in_doubt():
    return pending(attempts=2, in_doubt_since=DatabaseNow(-60))


def taken():
    return accepted(destination="old", remote_key=uuid.uuid4())


def dead(**row):
    return event(row=ended(State.DEAD, Reason.REJECTED, destination="old", **row))


def unresolved():
    doubt = {"destination": "old", "in_doubt_since": DatabaseNow(-60)}
    return event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, **doubt))


UNFINISHED = [pending, in_doubt, taken, dead, unresolved]


@pytest.fixture
def served():
    """Another project on this database has a worker for it."""
    Destination.objects.create(alias="old", heartbeat_at=DatabaseNow(-60))


class TestWhichTheyAre:
    def test_those_of_events_in_any_state_and_of_rows_without_events(self):
        for state in State:
            reason = Reason.OPERATOR if state in (State.DEAD, State.UNRESOLVED, State.CANCELLED) else ""
            finished = DatabaseNow() if state in (State.DELIVERED, State.CANCELLED) else None
            row = {"state": state, "reason": reason, "finished_at": finished, "destination": f"of {state}"}
            event(row=row if state in (State.PENDING, State.ACCEPTED) else {**row, "due_at": None})
        Destination.objects.create(alias="row only")
        event()

        assert orphans.left() == (*sorted(f"of {state}" for state in State), "row only")
        assert all(orphans.is_left(alias) for alias in orphans.left())
        assert not orphans.is_left("default")
        assert not orphans.is_left("never")

    def test_one_that_another_project_serves_is_no_orphan(self, served):
        pending()

        assert orphans.left() == ("old",)
        assert orphans.orphans() == ()


class TestEnds:
    @pytest.mark.parametrize("make", UNFINISHED)
    def test_every_unfinished_event_can_be_cancelled(self, make):
        row = make()

        done = operations.cancel([row.pk], ANA, "the contract has ended")

        assert done.ids == [row.pk]
        assert fresh(row).state == State.CANCELLED

    @pytest.mark.parametrize("make", [in_doubt, taken, unresolved])
    @pytest.mark.parametrize(
        ("outcome", "state"), [(Resolution.DELIVERED, State.DELIVERED), (Resolution.GIVE_UP, State.DEAD)]
    )
    def test_what_the_platform_may_have_taken_can_be_resolved(self, make, outcome, state):
        row = make()

        done = operations.resolve([row.pk], ANA, outcome, "looked it up")

        assert done.ids == [row.pk]
        assert fresh(row).state == state

    @pytest.mark.parametrize("make", [in_doubt, taken, unresolved])
    def test_it_cannot_be_sent_again_before_it_is_moved(self, make):
        row = make()

        done = operations.resolve([row.pk], ANA, Resolution.NOT_DELIVERED, "x", accept_duplicates=True)

        assert skipped(done) == {GONE: [row.pk]}
        assert fresh(row).state == row.state

    def test_requeue_retry_and_check_say_what_is_missing(self):
        rows = [dead(), pending(attempts=1, due_at=DatabaseNow(60)), taken()]

        verbs = (operations.requeue, operations.retry_now, operations.check_now)
        whys = [skipped(verb([row.pk], ANA)) for verb, row in zip(verbs, rows, strict=True)]

        assert whys == [{GONE: [row.pk]} for row in rows]

    def test_an_accepted_event_of_another_project_is_left_to_it(self, served):
        row = taken()

        assert skipped(operations.cancel([row.pk], ANA, "not ours")) == {
            "a worker served its destination within the last 3 minutes": [row.pk]
        }
        assert not operations.resolve([row.pk], ANA, Resolution.DELIVERED, "not ours").ids

    def test_one_in_flight_is_left_to_its_lease(self):
        row = in_doubt()
        OutboxEvent.objects.filter(pk=row.pk).update(
            claim_token="11111111-2222-4333-8444-555555555555", due_at=DatabaseNow(60)
        )

        assert not operations.cancel([row.pk], ANA, "x").ids
        assert not operations.move([row.pk], ANA, "default", "x", same_organisation=True).ids


class TestMove:
    @pytest.mark.parametrize("make", [pending, dead])
    def test_what_nobody_can_have_taken_goes_as_it_is(self, make):
        row = make()

        done = operations.move([row.pk], ANA, "default", "renamed")

        now = fresh(row)
        assert (done.ids, done.may_duplicate.ids) == ([row.pk], [])
        assert (now.destination, now.state, now.reason, now.due_at) == (
            "default",
            row.state,
            row.reason,
            row.due_at,
        )
        assert (now.idempotency_key, now.key_epoch, now.body) == (row.idempotency_key, 0, row.body)
        act = EventAct.objects.get()
        assert (act.act, act.reason, act.username) == (Act.MOVE, "renamed", "ana")

    @pytest.mark.parametrize("make", [in_doubt, taken, unresolved])
    def test_what_may_have_been_taken_stays_unless_a_person_knows_more(self, make):
        row = make()

        done = operations.move([row.pk], ANA, "default", "renamed")

        assert skipped(done) == {"it may have reached the organisation of its destination": [row.pk]}
        assert fresh(row).destination == "old"

    @pytest.mark.parametrize("make", [in_doubt, taken, unresolved])
    def test_under_another_name_of_the_same_organisation_it_goes_on(self, make):
        row = make()

        operations.move([row.pk], ANA, "default", "renamed", same_organisation=True)

        now = fresh(row)
        assert (now.destination, now.state, now.in_doubt_since) == ("default", row.state, row.in_doubt_since)
        assert (now.key_epoch, now.remote_id, now.remote_key) == (0, row.remote_id, None)

    @pytest.mark.parametrize("make", [in_doubt, taken, unresolved])
    def test_where_duplicates_are_accepted_it_is_sent_under_a_new_key(self, make):
        row = make()

        done = operations.move([row.pk], ANA, "default", "renamed", accept_duplicates=True)

        now = fresh(row)
        assert done.may_duplicate.ids == [row.pk]
        assert (now.destination, now.state, now.key_epoch) == ("default", State.PENDING, 1)
        assert (now.in_doubt_since, now.remote_id, now.attempts) == (None, "", 0)

    def test_a_delay_is_kept(self):
        row = pending(due_at=DatabaseNow(DAY), not_before=DatabaseNow(DAY))

        operations.move([row.pk], ANA, "default", "renamed")

        assert fresh(row).due_at == row.due_at

    def test_what_is_in_use_or_finished_stays(self, served):
        ours, theirs = event(), pending()
        done = event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()))
        OutboxEvent.objects.filter(pk=done.pk).update(destination="older")

        found = operations.move([ours.pk, theirs.pk, done.pk], ANA, "default", "x")

        assert skipped(found) == {
            "its destination is in use": [ours.pk],
            "a worker served its destination within the last 3 minutes": [theirs.pk],
            "already cancelled": [done.pk],
        }

    def test_only_a_configured_destination_takes_them_and_a_reason_is_needed(self):
        row = pending()

        with pytest.raises(ImproperlyConfigured):
            operations.move([row.pk], ANA, "older", "x")
        with pytest.raises(ValueError, match="reason"):
            operations.move([row.pk], ANA, "default", " ")

    @pytest.mark.django_db(transaction=True)
    def test_a_dead_one_is_announced_once_in_its_life_and_a_pending_one_is_published(self):
        heard = []
        row, other = dead(), pending()

        def hear(event, **_):
            heard.append(event.pk)

        signals.event_dead.connect(hear)
        try:
            operations.move([row.pk, other.pk], ANA, "default", "renamed")
        finally:
            signals.event_dead.disconnect(hear)
        platform = ScriptedPlatform()
        publish_due(transport=platform.transport)

        assert heard == []
        assert not Rollup.objects.filter(measure="dead").exists()
        assert platform.keys == [str(other.idempotency_key)]
        assert fresh(other).state == State.ACCEPTED


class TestCommands:
    def test_retry_by_number_says_which_destination_is_missing(self):
        row = dead()

        ran = run("retry", str(row.pk), "--no-publish", "--because", "x")

        assert f"Skipped: 1 ({GONE}): {row.pk}" in ran.out

    def test_retry_of_all_of_it_sends_nothing(self):
        pending(attempts=1)

        ran = run("retry", "--destination", "old")

        assert GONE in ran.out

    def test_all_of_it_is_moved(self):
        rows = [pending(), dead(), taken()]

        tried = run("retry", "--destination", "old", "--move-to", "default", "--dry-run")
        ran = run("retry", "--destination", "old", "--move-to", "default", "--because", "renamed")

        assert "Would move 2 events to default." in tried.out
        assert "Moved 2 events to default." in ran.out
        assert "Skipped: 1 (it may have reached the organisation of its destination)" in ran.out
        assert ran.code == 3
        assert [fresh(row).destination for row in rows] == ["default", "default", "old"]

    def test_all_of_it_is_cancelled_or_resolved(self):
        rows = [pending(), dead(), taken()]

        resolved = run("resolve", "--destination", "old", "--delivered", "--because", "looked them up")
        cancelled = run("cancel", "--destination", "old", "--because", "the contract has ended")

        assert "Resolved 1 event as delivered." in resolved.out
        assert "Cancelled 2 events." in cancelled.out
        assert {fresh(row).state for row in rows} == {State.CANCELLED, State.DELIVERED}

    @pytest.mark.parametrize(
        "words",
        [
            ("cancel", "--because", "x"),
            ("resolve", "--delivered", "--because", "x"),
            ("retry", "--move-to", "default", "--because", "x"),
            ("retry", "1", "--move-to", "default"),
            ("retry", "1", "--move-to", "nowhere", "--because", "x"),
            ("retry", "1", "--move-to", "default", "--because", "x", "--spread", "60"),
            ("retry", "1", "--same-organisation"),
            ("prune", "--destination", "never"),
        ],
    )
    def test_what_means_nothing_is_wrong_usage(self, words):
        assert run(*words).code == 2

    def test_prune_takes_it(self):
        event(row=ended(State.DELIVERED, destination="old", finished_at=DatabaseNow(-40 * DAY)))
        event(row=ended(State.DELIVERED, destination="old", finished_at=DatabaseNow(-20 * DAY)))

        ran = run("prune", "--destination", "old")

        assert ran.code == 0
        assert "old: 1 event removed" in ran.out

    def test_the_task_and_the_command_prune_every_destination_of_the_table(self):
        for _ in range(2):
            event(row=ended(State.DELIVERED, destination="old", finished_at=DatabaseNow(-40 * DAY)))
            data = run_json("prune", "--dry-run").data
            assert data["destinations"]["old"]["rows"] == 1
            tasks.prune_all()
            assert not OutboxEvent.objects.exists()

    def test_status_alarms_until_a_person_pauses_it_or_its_events_have_ended(self):
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
        row = pending()

        alarmed = run("status", "--check")
        run("pause", "old", "--because", "belongs to the shop project")
        silenced = run("status", "--check")
        run("resume", "old")
        operations.cancel([row.pk], ANA, "x")
        ended = run("status", "--check")

        assert (alarmed.code, silenced.code, ended.code) == (3, 0, 0)
        assert "PROBLEM  old: no longer in GENESYS_EVENTBRIDGE: 1 open" in alarmed.out
        assert "NOTE     old is not in GENESYS_EVENTBRIDGE" in silenced.out
        assert "--move-to ALIAS" in silenced.out

    def test_another_projects_destination_is_named_and_not_judged(self, served):
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
        pending(created_at=DatabaseNow(-DAY))
        dead()

        ran = run("status", "--check")

        assert ran.code == 0
        assert "NOTE     old is served by another project on this database" in ran.out

"""Retention: only finished events that are old enough go, in batches; what lives or waits stays."""

import pytest

from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import DeliveryAttempt, Destination, EventAct, Job, JobItem, OutboxEvent
from genesys_eventbridge.operations import Actor, Order, correct, jobs
from genesys_eventbridge.outbox import retention
from genesys_eventbridge.outbox.retention import Pruned, prune
from genesys_eventbridge.states import Act, AttemptKind, Reason, State
from tests.outbox_rows import ended, event, fresh, settings_with

pytestmark = pytest.mark.django_db

DAY = 86400


def aged(days, state=State.DELIVERED, *, created=None, **row) -> OutboxEvent:
    """An event that ended so many days ago, and was written then (or ``created`` days ago)."""
    reason = Reason.OPERATOR if state == State.CANCELLED else ""
    written = DatabaseNow(-(days if created is None else created) * DAY)
    columns = ended(state, reason, created_at=written, finished_at=DatabaseNow(-days * DAY))
    return event(row={**columns, **row})


def left() -> set[int]:
    return set(OutboxEvent.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("state", [State.DELIVERED, State.CANCELLED])
def test_old_finished_events_go_and_young_ones_stay(state):
    aged(31, state)
    young = aged(29, state)

    assert prune(settings_with()) == Pruned(rows=1)
    assert left() == {young.pk}


@pytest.mark.parametrize("state", [State.PENDING, State.ACCEPTED, State.DEAD, State.UNRESOLVED])
def test_what_is_open_or_waits_for_a_person_stays_for_ever(state):
    is_open = state in (State.PENDING, State.ACCEPTED)
    waiting = {} if is_open else ended(state, Reason.REJECTED)
    row = event(row={"state": state, "created_at": DatabaseNow(-400 * DAY), **waiting})

    assert prune(settings_with(payload_retention_days=0.1)) == Pruned()
    assert fresh(row).body


def test_an_old_event_that_ended_lately_stays():
    recent = aged(1, created=100)
    aged(40)

    assert prune(settings_with()).rows == 1
    assert left() == {recent.pk}


def test_old_rows_are_found_behind_young_ones():
    """Ids are not quite in the order of time: a long transaction commits late."""
    young = aged(1)
    aged(40)

    assert prune(settings_with(), batch_size=10).rows == 1
    assert left() == {young.pk}


def test_only_the_destination_asked_for_is_pruned():
    other = aged(40, destination="other")

    assert prune(settings_with(), alone=True) == Pruned()
    assert left() == {other.pk}


@pytest.mark.parametrize(("days_ago", "removed"), [(None, 1), (8, 1), (6, 0)])
def test_a_destination_that_no_project_serves_any_more_is_pruned_with_it(days_ago, removed):
    """Another project may keep its events longer than we do: its workers report."""
    aged(40, destination="other")
    if days_ago is not None:
        Destination.objects.create(alias="other", heartbeat_at=DatabaseNow(-days_ago * DAY))

    assert prune(settings_with()).rows == removed


def test_no_key_goes_before_the_platform_has_forgotten_it():
    kept = aged(2)

    assert prune(settings_with(retention_days=0.1, idempotency_window=3.0 * DAY)) == Pruned()
    assert left() == {kept.pk}


def test_a_wish_below_the_window_is_refused_with_the_least_that_goes():
    with pytest.raises(ValueError, match=r"Use 1 or more"):
        prune(settings_with(), older_than_days=0.5)


def test_a_wish_stands_in_for_the_setting():
    aged(3)

    assert prune(settings_with(), older_than_days=2).rows == 1


def test_without_retention_nothing_goes_unless_asked():
    aged(400)
    settings = settings_with(retention_days=None)

    assert prune(settings) == Pruned()
    assert prune(settings, older_than_days=30).rows == 1


def test_attempts_go_with_their_event_acts_stay_and_a_resent_one_forgets_its_origin():
    origin = aged(40)
    resent = event(row={"origin": origin})
    DeliveryAttempt.objects.create(
        event=origin,
        number=1,
        kind=AttemptKind.PUBLISH,
        started_at=DatabaseNow(),
        duration=1,
        verdict="accepted",
    )
    EventAct.objects.create(
        event=origin,
        act="resend",
        via="admin",
        from_state="delivered",
        to_state="delivered",
        at=DatabaseNow(),
    )

    assert prune(settings_with()).rows == 1
    assert left() == {resent.pk}
    assert fresh(resent).origin is None
    assert not DeliveryAttempt.objects.exists()
    act = EventAct.objects.get()  # written by a worker of the release before, without these names
    assert (act.event_id, act.event_number, act.cloudevent_id) == (None, origin.pk, origin.event_id)


def test_the_events_of_an_old_job_are_forgotten_and_the_job_stays():
    with shifted(-40 * DAY):
        ended_job = jobs.freeze(Order(Act.CANCEL, Actor("admin", name="ana"), "old"), [1, 2], claim=True)
        jobs.run(ended_job, Actor("admin", name="ana"))
        open_job = jobs.freeze(Order(Act.CANCEL, Actor("admin", name="ana"), "open"), [3])
    new_job = jobs.freeze(Order(Act.CANCEL, Actor("admin", name="ana"), "new"), [4])

    prune(settings_with(), batch_size=1)

    assert set(JobItem.objects.values_list("job_id", flat=True)) == {open_job.pk, new_job.pk}
    assert Job.objects.count() == 3


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_every_old_row_goes_whatever_the_batch(batch_size):
    kept = {aged(days).pk for days in (1, 2)}
    for days in (31, 50, 33, 45, 60):
        aged(days)

    assert prune(settings_with(), batch_size=batch_size).rows == 5
    assert left() == kept


@pytest.mark.parametrize("act", [retention._remove, retention.blank])
def test_what_is_not_finished_is_out_of_reach(act):
    row = event(row={"created_at": DatabaseNow(-400 * DAY)})

    assert act([row.pk]) == 0
    assert fresh(row).body


def test_a_batch_has_a_size():
    with pytest.raises(ValueError, match="batch_size"):
        prune(settings_with(), batch_size=0)


def test_when_the_time_is_over_the_rest_waits_for_the_next_run():
    aged(40)

    assert prune(settings_with(), max_seconds=0) == Pruned(complete=False)
    assert prune(settings_with(), max_seconds=600) == Pruned(rows=1)


def test_a_dry_run_counts_and_keeps():
    old = aged(40)
    aged(10)

    assert prune(settings_with(payload_retention_days=5.0), dry_run=True) == Pruned(rows=1, blanked=2)
    assert fresh(old).body


def test_bodies_are_blanked_earlier_and_ids_times_and_hashes_stay():
    old = aged(8)
    young = aged(6)
    attempt = DeliveryAttempt.objects.create(
        event=old,
        number=1,
        kind=AttemptKind.PUBLISH,
        started_at=DatabaseNow(),
        duration=1,
        verdict="accepted",
        response_excerpt="what the platform repeated",
    )
    settings = settings_with(payload_retention_days=7.0)

    assert prune(settings) == Pruned(blanked=1)
    assert prune(settings) == Pruned()

    now = fresh(old)
    attempt.refresh_from_db()
    assert (now.body, now.last_error, attempt.response_excerpt, attempt.error) == ("", "", "", "")
    assert fresh(young).body
    kept = ("event_id", "idempotency_key", "body_sha256", "content_sha256", "created_at", "finished_at")
    assert [getattr(now, name) for name in kept] == [getattr(old, name) for name in kept]


def test_a_walk_ends_at_the_first_page_that_is_all_young(monkeypatch, django_assert_num_queries):
    """A nightly prune does not look at a month of rows to remove a day of them."""
    monkeypatch.setattr(retention, "PAGE", 2)
    aged(40)
    for _ in range(9):
        aged(1)

    with django_assert_num_queries(3):
        assert prune(settings_with(), dry_run=True, alone=True).rows == 1


@pytest.mark.parametrize(
    "days", [{"retention_days": 30}, {"retention_days": None, "payload_retention_days": 1}]
)
def test_the_differences_of_a_correction_go_with_the_body_that_they_repeat(days):
    origin = event("order.created", {"name": "Zoe"}, row=ended(State.DEAD, Reason.REJECTED))
    correct(origin.pk, {"name": "Zoë"}, Actor("admin", name="ana"), "spelling")
    OutboxEvent.objects.filter(pk=origin.pk).update(
        created_at=DatabaseNow(-31 * DAY), finished_at=DatabaseNow(-31 * DAY)
    )

    prune(settings_with(**days))

    act = EventAct.objects.get()
    assert (act.details, act.reason, act.event_number) == (None, "spelling", origin.pk)

"""eventbridge_retry: what failed is tried again, in words that say what became of each group."""

from copy import copy
from uuid import uuid4

import pytest

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import follow
from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, pause
from genesys_eventbridge.states import Act, Reason, State
from tests.outbox_rows import accepted, ended, event, fresh, in_threads
from tests.prompt import run, run_json, sandboxed

pytestmark = pytest.mark.django_db


def waiting(seconds=3600, **row):
    """An event whose first try failed."""
    return event(row={"attempts": 1, "due_at": DatabaseNow(seconds), "last_error": "HTTP 503", **row})


def dead(kind="order.created", reason=Reason.REJECTED, **row):
    return event(kind, row=ended(State.DEAD, reason, attempts=12, last_error="HTTP 400: no", **row))


def unresolved(ago=60, **row):
    """In doubt since so many seconds; a day and the key is forgotten."""
    return event(
        row=ended(
            State.UNRESOLVED, Reason.OUTCOME_UNKNOWN, in_doubt_since=DatabaseNow(-ago), attempts=12, **row
        )
    )


DAY = 86400
WHY = ("--because", "fixed")


def copies(row, number):
    """Rows like this one under other ids and keys, not saved."""
    for _ in range(number):
        yield copy_of(row)


def copy_of(row):
    made = copy(row)
    made.pk, made.event_id, made.idempotency_key = None, str(uuid4()), uuid4()
    return made


class TestWaiting:
    def test_every_event_that_waits_for_a_retry_is_tried_now(self):
        with sandboxed():
            rows = [waiting(), waiting(7200)]

            ran = run("retry")

        assert {fresh(row).state for row in rows} == {State.DELIVERED}
        assert ran.code == 0
        assert "Retried 2 events (pending" in ran.out
        assert "Then sent: delivered 2" in ran.out

    def test_attempts_made_stay_counted_and_the_act_is_kept(self):
        with sandboxed():
            row = waiting()
            run("retry")

        assert fresh(row).attempts == 2
        act = EventAct.objects.get()
        assert (act.act, act.via, act.event_id) == (Act.RETRY, "eventbridge_retry", row.pk)

    def test_what_was_never_tried_waits_for_its_time(self):
        with sandboxed():
            delayed = event(row={"due_at": DatabaseNow(3600)})
            ran = run("retry")

        assert fresh(delayed).state == State.PENDING
        assert ran.out == "No event matches (pending): nothing to retry.\n"

    def test_where_none_waits_those_that_need_a_person_are_named_with_the_command(self):
        dead()
        dead("order.cancelled")
        unresolved()

        ran = run("retry", "--type", "order.created")

        assert ran.out.splitlines() == [
            "No event matches (pending, type order.created): nothing to retry.",
            "1 such event is dead:",
            "  -> manage.py eventbridge_retry --state dead --type order.created --dry-run",
            "1 such event is unresolved:",
            "  -> manage.py eventbridge_retry --state unresolved --type order.created --dry-run",
        ]

    def test_what_is_due_already_is_sent_too(self):
        """Nobody has to know that it would have gone by itself."""
        with sandboxed():
            row = waiting(seconds=-10)
            ran = run("retry")

        assert fresh(row).state == State.DELIVERED
        assert "delivered 1" in ran.out

    def test_what_fails_again_is_told_with_its_error_and_where_to_look(self):
        with sandboxed() as sandbox:
            sandbox.fail_next(503, times=9)
            row = waiting()
            ran = run("retry")

        assert "Then sent: tried again later 1" in ran.out
        assert "tried again later 1: HTTP 503" in ran.out
        assert f"-> manage.py eventbridge_show {row.pk}" in ran.out
        assert ran.code == 0

    def test_what_ends_dead_needs_a_person(self):
        with sandboxed(refused_types={"order.created"}):
            waiting()
            ran = run_json("retry")

        assert ran.code == 3
        assert ran.data["results"] == {"dead": 1}
        assert ran.data["errors"][0]["state"] == "dead"

    def test_a_confirmation_that_comes_soon_is_waited_for(self):
        with sandboxed(deliver_after=0.05, more={"CHECK_DELAYS": [0.1]}):
            row = waiting()
            ran = run("retry")

        assert fresh(row).state == State.DELIVERED
        assert "delivered 1" in ran.out

    def test_a_confirmation_that_comes_late_is_not(self):
        with sandboxed(deliver_after=3600, more={"CHECK_DELAYS": [600]}):
            waiting()
            ran = run("retry")

        assert (ran.code, "Then sent: accepted 1" in ran.out) == (0, True)


class TestDead:
    def test_they_are_requeued_with_a_fresh_budget_and_delivered(self):
        with sandboxed():
            row = dead()
            ran = run("retry", "--state", "dead", *WHY, "--because", "the type is registered now")

        assert (fresh(row).state, fresh(row).attempts) == (State.DELIVERED, 1)
        assert "Requeued 1 event (dead" in ran.out
        assert EventAct.objects.get().reason == "the type is registered now"

    def test_without_the_flag_they_are_left_alone(self):
        with sandboxed():
            row = dead()
            run("retry")

        assert fresh(row).state == State.DEAD

    @pytest.mark.parametrize(
        ("flags", "chosen"),
        [
            (["--type", "order.paid"], {"paid"}),
            (["--type", "order.paid", "--type", "order.created"], {"old", "paid", "new"}),
            (["--reason", "exhausted"], {"paid"}),
            (["--since", "3d"], {"paid", "new"}),
            (["--until", "3d"], {"old"}),
            (["--since", "9d", "--until", "3d"], {"old"}),
            (["--destination", "emea"], set()),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_filters_choose(self, flags, chosen):
        with sandboxed(aliases=("default", "emea")):
            rows = {
                "old": dead(created_at=DatabaseNow(-7 * DAY)),
                "paid": dead("order.paid", Reason.EXHAUSTED),
                "new": dead(),
            }
            run("retry", "--state", "dead", *WHY, "--no-publish", *flags)

        assert {name for name, row in rows.items() if fresh(row).state == State.PENDING} == chosen

    def test_a_type_that_matches_nothing_is_repeated(self):
        """It is misspelt more often than not."""
        dead()

        ran = run("retry", "--state", "dead", *WHY, "--type", "order.creatd")

        assert ran.out == "No event matches (dead, type order.creatd): nothing to retry.\n"

    def test_a_dry_run_says_what_would_be_and_changes_nothing(self):
        rows = [dead() for _ in range(3)] + [dead("order.cancelled")]

        ran = run("retry", "--state", "dead", *WHY, "--reason", "rejected", "--limit", "3", "--dry-run")

        assert {fresh(row).state for row in rows} == {State.DEAD}
        assert "Would requeue 3 events of 4 (dead, rejected, " in ran.out
        assert "\n  order.created 3\n" in ran.out
        assert "1 more match; without --limit all are taken." in ran.out
        assert ran.out.endswith("Nothing was changed (dry run).\n")
        assert ran.code == 0

    def test_the_limit_takes_the_oldest(self):
        with sandboxed():
            rows = [dead() for _ in range(3)]
            run("retry", "--state", "dead", *WHY, "--limit", "2")

        assert [fresh(row).state for row in rows] == [State.DELIVERED, State.DELIVERED, State.DEAD]

    @pytest.mark.parametrize(
        "words", [("retry", "--spread"), ("pause", "default", "--because", "x", "--for")]
    )
    def test_milliseconds_for_seconds_are_wrong_usage(self, words):
        ran = run(*words, "1800000000000")

        assert "at most 315576000" in ran.error

    def test_a_spread_leaves_the_sending_to_the_workers(self):
        with sandboxed() as sandbox:
            rows = [dead() for _ in range(4)]
            ran = run("retry", "--state", "dead", *WHY, "--spread", "600")

        assert {fresh(row).state for row in rows} == {State.PENDING}
        assert OutboxEvent.objects.filter(due_at__gt=DatabaseNow(60)).exists()
        assert sandbox.received == []
        assert "over the next 10 min" in ran.out

    def test_no_publish_leaves_the_sending_to_the_workers(self):
        with sandboxed() as sandbox:
            row = dead()
            ran = run("retry", "--state", "dead", *WHY, "--no-publish")

        assert (fresh(row).state, sandbox.received) == (State.PENDING, [])
        assert "-> manage.py eventbridge_publish" in ran.out

    def test_a_failed_delivery_gets_a_new_key_and_that_is_said(self):
        with sandboxed():
            row = dead(reason=Reason.DELIVERY_FAILED)
            ran = run("retry", "--state", "dead", *WHY)

        assert fresh(row).key_epoch == 1
        assert "may be delivered twice" in ran.out

    @pytest.mark.django_db(transaction=True)
    def test_two_at_once_requeue_each_event_once(self):
        with sandboxed() as sandbox:
            rows = [dead() for _ in range(20)]
            ran = in_threads(2, lambda: run_json("retry", "--state", "dead", *WHY))

        assert {fresh(row).state for row in rows} == {State.DELIVERED}
        assert EventAct.objects.count() == 20
        assert sum(each.data["done"] for each in ran) == 20
        assert len(sandbox.received) == 20


class TestUnresolved:
    def test_those_whose_key_is_known_are_sent_again_under_it(self):
        with sandboxed():
            row = unresolved()
            ran = run("retry", "--state", "unresolved", *WHY)

        assert (fresh(row).state, fresh(row).key_epoch, ran.code) == (State.DELIVERED, 0, 0)

    def test_others_are_listed_and_need_a_person(self):
        with sandboxed() as sandbox:
            row = unresolved(ago=2 * DAY)
            ran = run("retry", "--state", "unresolved", *WHY)

        assert (fresh(row).state, sandbox.received, ran.code) == (State.UNRESOLVED, [], 3)
        assert f"Skipped: 1 (may duplicate: it may have been delivered already): {row.pk}" in ran.out
        assert (
            "manage.py eventbridge_resolve ID --delivered|--not-delivered|--give-up --because TEXT" in ran.out
        )

    def test_a_person_may_accept_duplicates_and_the_words_are_kept(self):
        with sandboxed():
            row = unresolved(ago=2 * DAY)
            ran = run(
                "retry",
                "--state",
                "unresolved",
                *WHY,
                "--accept-duplicates",
                "--because",
                "not in the CRM, looked",
            )

        assert (fresh(row).state, fresh(row).key_epoch) == (State.DELIVERED, 1)
        assert "may be delivered twice" in ran.out
        assert EventAct.objects.get().reason == "not in the CRM, looked"

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            (["--state", "unresolved", "--accept-duplicates"], "--because"),
            (["--state", "dead", "--accept-duplicates", "--because", "x"], "--state unresolved"),
            (["--reason", "rejected"], "--state dead"),
            (["--state", "pending", "--reason", "rejected"], "--state dead"),
            (["--since", "2h", "--until", "3h"], "--since must be before --until"),
        ],
        ids=str,
    )
    def test_flags_that_cannot_go_together_are_named(self, flags, named):
        ran = run("retry", *flags)

        assert ran.code == 2
        assert named in ran.error


class TestById:
    def test_each_is_treated_as_its_state_allows(self):
        with sandboxed():
            rows = [waiting(), dead(), unresolved()]
            ran = run_json("retry", *WHY, *(row.event_id for row in rows))

        assert {fresh(row).state for row in rows} == {State.DELIVERED}
        assert (ran.data["done"], ran.data["matched"]) == (3, 3)

    @pytest.mark.parametrize(
        ("make", "why"),
        [
            (lambda: event(row=ended(State.DELIVERED, finished_at=DatabaseNow())), "already delivered"),
            (
                lambda: event(row=ended(State.CANCELLED, "operator", finished_at=DatabaseNow())),
                "already cancelled",
            ),
            (accepted, "already accepted by the platform"),
            (lambda: event(row={"due_at": DatabaseNow(600)}), "never tried"),
        ],
        ids=["delivered", "cancelled", "accepted", "delayed"],
    )
    def test_what_cannot_be_retried_is_left_alone_and_said(self, make, why):
        with sandboxed() as sandbox:
            row = make()
            state = row.state
            ran = run("retry", *WHY, str(row.pk))

        assert (fresh(row).state, sandbox.received) == (state, [])
        assert f"({why}" in ran.out
        assert "Then sent" not in ran.out

    def test_filters_hold_for_named_events_too(self):
        with sandboxed():
            row = dead()
            run("retry", *WHY, str(row.pk), "--state", "unresolved")

        assert fresh(row).state == State.DEAD


class TestPaused:
    @pytest.mark.django_db(transaction=True)
    def test_paused_destinations_are_skipped_and_named(self):
        with sandboxed(aliases=("default", "emea")):
            held, sent = dead(), event(destination="emea", row=ended(State.DEAD, "rejected"))
            pause("default", Actor(via="test"), "maintenance")

            ran = run("retry", "--state", "dead", *WHY)

        assert (fresh(held).state, fresh(sent).state) == (State.DEAD, State.DELIVERED)
        assert ran.code == 3
        assert "Skipped: 1 (default is paused)" in ran.out
        assert "maintenance" in ran.out

    def test_in_json_they_are_a_list(self):
        dead()
        pause("default", Actor(via="test"), "maintenance", 600)

        data = run_json("retry", "--state", "dead", *WHY).data

        (paused,) = data["paused"]
        assert (paused["destination"], paused["events"], paused["reason"]) == ("default", 1, "maintenance")
        assert 500 < paused["seconds"] <= 600


def test_an_event_that_was_not_sent_yet_is_not_said_to_have_failed_again():
    """It waits for an earlier one of its ordering key; its error is that of its last attempt."""
    old = {"attempts": 3, "last_error": "HTTP 400: no", "failed_at": DatabaseNow(-60)}
    with sandboxed():
        event(ordering_key="ORD-1", row={"attempts": 1, "due_at": DatabaseNow(7200)})
        behind = event(ordering_key="ORD-1", row=ended(State.DEAD, Reason.REJECTED, **old))
        ran = run("retry", str(behind.pk), *WHY)

    assert (fresh(behind).state, fresh(behind).last_error) == (State.PENDING, "HTTP 400: no")
    assert "Then sent: not sent yet 1\n" in ran.out
    assert "HTTP 400" not in ran.out
    assert f"-> manage.py eventbridge_show {behind.pk}\n" in ran.out


def test_a_retry_of_events_whose_destination_is_gone_needs_an_operator():
    row = dead(destination="gone")

    ran = run("retry", str(row.pk), *WHY)

    assert "its destination is no longer in GENESYS_EVENTBRIDGE" in ran.out
    assert ran.code == 3


def test_the_event_to_look_at_is_a_dead_one_where_there_is_one():
    with sandboxed(refused_types={"order.odd"}) as sandbox:
        waiting()
        row = event("order.odd", row={"attempts": 1, "due_at": DatabaseNow(7200)})
        sandbox.fail_next(503)
        ran = run("retry")

    assert f"-> manage.py eventbridge_show {row.pk}\n" in ran.out


def test_trouble_on_the_way_ends_it_and_is_named():
    with sandboxed() as sandbox:
        sandbox.fail_next(403, times=9)
        row = waiting()
        ran = run("retry")
        data = run_json("retry").data

    assert (fresh(row).state, ran.code) == (State.PENDING, 3)
    assert "default is paused for another" in ran.out
    assert "eventbridge:event:publish" in ran.out
    assert data["paused"][0]["destination"] == "default"


def test_only_the_events_it_acted_on_are_sent():
    with sandboxed() as sandbox:
        earlier = [event(row={"due_at": DatabaseNow(-60)}) for _ in range(3)]
        rows = [dead() for _ in range(4)]
        ran = run_json("retry", "--state", "dead", *WHY, "--limit", "2")

    assert [fresh(row).state for row in rows] == [State.DELIVERED] * 2 + [State.DEAD] * 2
    assert {fresh(row).state for row in earlier} == {State.PENDING}
    assert len(sandbox.received) == 2
    assert (ran.data["matched"], ran.data["done"], ran.data["results"]) == (4, 2, {"delivered": 2})


def test_an_event_behind_another_of_its_key_waits_for_it():
    """The order within a key comes before the wish to send only these."""
    with sandboxed() as sandbox:
        first = event(ordering_key="ORD-1", row={"due_at": DatabaseNow(3600), "attempts": 1})
        row = event(ordering_key="ORD-1", row=ended(State.DEAD, Reason.REJECTED))
        run("retry", *WHY, str(row.pk))

    assert sandbox.received == []
    assert {fresh(first).state, fresh(row).state} == {State.PENDING}


def test_dead_and_unresolved_events_are_sent_again_for_a_reason():
    rows = [dead(), unresolved()]

    for words in (["--state", "dead"], ["--state", "unresolved"], [str(rows[0].pk)], [str(rows[1].pk)]):
        ran = run("retry", *words)
        assert ran.code == 2
        assert "--because TEXT is required" in ran.error
    assert run("retry", "--state", "dead", "--dry-run").code == 0
    assert {fresh(row).state for row in rows} == {State.DEAD, State.UNRESOLVED}


def test_there_is_no_limit_unless_one_is_given():
    with sandboxed():
        for _ in range(3):
            dead()
        OutboxEvent.objects.bulk_create(copies(OutboxEvent.objects.first(), 1200))
        ran = run_json("retry", "--state", "dead", *WHY, "--no-publish")

    assert ran.data["done"] == 1203
    assert not OutboxEvent.objects.filter(state=State.DEAD).exists()


def test_more_events_than_one_statement_holds_are_followed(monkeypatch):
    monkeypatch.setattr(follow, "CHUNK", 2)
    with sandboxed():
        for number in range(5):
            waiting(seconds=3600 + number)
        ran = run_json("retry")

    assert ran.data["results"] == {"delivered": 5}

"""What people do to events: which rows each verb takes, what it makes of them, and what it leaves alone."""

import getpass
import logging
import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import operations
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.models import EventAct, OutboxEvent
from genesys_eventbridge.operations import Actor, Resolution, bulk, jobs
from genesys_eventbridge.signals import event_dead, event_delivered
from genesys_eventbridge.states import Act, AttemptKind, Reason, State
from tests.outbox_rows import accepted, claim, ended, event, fresh, skipped

pytestmark = pytest.mark.django_db

COMMAND = Actor("eventbridge_retry", name="ops")
TOKEN = uuid.uuid4()
SENT = "being sent right now"


def dead(reason=Reason.REJECTED, **row) -> OutboxEvent:
    return event(row=ended(State.DEAD, reason, attempts=12, halts=2, **row))


def unresolved(reason=Reason.OUTCOME_UNKNOWN, **row) -> OutboxEvent:
    return event(row=ended(State.UNRESOLVED, reason, attempts=12, halts=2, **row))


def retrying(**row) -> OutboxEvent:
    return event(row={"attempts": 3, "due_at": DatabaseNow(3600), **row})


def in_flight(**row) -> OutboxEvent:
    return event(
        row={
            "attempts": 1,
            "claim_token": TOKEN,
            "in_doubt_since": DatabaseNow(),
            "due_at": DatabaseNow(60),
            **row,
        }
    )


def delivered(**row) -> OutboxEvent:
    return event(row=ended(State.DELIVERED, finished_at=DatabaseNow(), **row))


def cancelled() -> OutboxEvent:
    return event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()))


# Each kind of row a verb may meet.
KINDS = {
    "pending": event,
    "delayed": lambda: event(delay=3600),
    "retrying": retrying,
    "in flight": in_flight,
    "accepted": lambda: accepted(due_at=DatabaseNow(60)),
    "asked about": lambda: accepted(claim_token=TOKEN, due_at=DatabaseNow(60)),
    "dead": dead,
    "unresolved": unresolved,
    "unresolved with id": lambda: unresolved(Reason.UNCONFIRMED, remote_id="evt-1"),
    "delivered": delivered,
    "cancelled": cancelled,
}
# For each verb: what it makes of each kind of row it takes, and its words where those are promised.
VERBS = {
    "requeue": (lambda ids, **k: operations.requeue(ids, COMMAND, **k), {"dead": State.PENDING}),
    "retry_now": (lambda ids, **k: operations.retry_now(ids, COMMAND, **k), {"retrying": State.PENDING}),
    "check_now": (
        lambda ids, **k: operations.check_now(ids, COMMAND, **k),
        {"accepted": State.ACCEPTED, "unresolved with id": State.ACCEPTED},
    ),
    "cancel": (
        lambda ids, **k: operations.cancel(ids, COMMAND, "no longer wanted", **k),
        dict.fromkeys(
            ["pending", "delayed", "retrying", "dead", "unresolved", "unresolved with id"], State.CANCELLED
        ),
    ),
    "resolve as delivered": (
        lambda ids, **k: operations.resolve(ids, COMMAND, Resolution.DELIVERED, "seen there", **k),
        dict.fromkeys(["unresolved", "unresolved with id"], State.DELIVERED),
    ),
    "give up": (
        lambda ids, **k: operations.resolve(ids, COMMAND, Resolution.GIVE_UP, "too old", **k),
        dict.fromkeys(["unresolved", "unresolved with id"], State.DEAD),
    ),
    "resolve as not delivered": (
        lambda ids, **k: operations.resolve(
            ids, COMMAND, Resolution.NOT_DELIVERED, "not there", accept_duplicates=True, **k
        ),
        dict.fromkeys(["unresolved", "unresolved with id"], State.PENDING),
    ),
}
MATRIX = [pytest.param(verb, kind, id=f"{verb}: {kind}") for verb in VERBS for kind in KINDS]


@pytest.mark.parametrize(("verb", "kind"), MATRIX)
def test_a_verb_moves_only_rows_of_its_states_and_says_why_not(verb, kind):
    do, takes = VERBS[verb]
    row = KINDS[kind]()

    done = do([row.pk])

    now = fresh(row)
    if kind in takes:
        assert done.ids == [row.pk]
        assert now.state == takes[kind]
        assert EventAct.objects.get().event_id == row.pk
    else:
        assert done.ids == []
        assert [some.ids for some in done.skipped.values()] == [[row.pk]]
        assert (now.state, now.reason, now.due_at, now.claim_token) == (
            row.state,
            row.reason,
            row.due_at,
            row.claim_token,
        )
        assert not EventAct.objects.exists()


@pytest.mark.parametrize(("verb", "kind"), MATRIX)
def test_a_dry_run_says_the_same_and_changes_nothing(verb, kind):
    do, takes = VERBS[verb]
    row = KINDS[kind]()

    done = do([row.pk], dry_run=True)

    assert (done.ids == [row.pk]) is (kind in takes)
    assert (fresh(row).state, fresh(row).due_at, fresh(row).key_epoch) == (
        row.state,
        row.due_at,
        row.key_epoch,
    )
    assert not EventAct.objects.exists()
    assert done == do([row.pk])


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("retry_now", "check_now")])
def test_what_is_in_flight_is_refused_in_those_words(verb):
    do, _takes = VERBS[verb]

    assert skipped(do([in_flight().pk])).keys() == {SENT}


@pytest.mark.parametrize("verb", VERBS)
def test_doing_it_twice_changes_nothing_more(verb):
    do, takes = VERBS[verb]
    row = KINDS[next(iter(takes))]()
    do([row.pk])
    once = OutboxEvent.objects.values().get(pk=row.pk)

    again = do([row.pk])

    assert again.ids == []
    assert again.skipped
    assert OutboxEvent.objects.values().get(pk=row.pk) == once
    assert EventAct.objects.count() == 1


def test_mixed_ids_are_sorted_out_and_unknown_ones_named():
    good, flying, done_already = dead(), in_flight(), delivered()

    done = operations.requeue([good.pk, flying.pk, done_already.pk, good.pk, 10**9], COMMAND)

    assert done.ids == [good.pk]
    assert skipped(done) == {
        SENT: [flying.pk],
        "already delivered": [done_already.pk],
        "no such event": [10**9],
    }


# ------------------------------------------------------------------------------------------------- requeue


def test_a_requeued_event_has_a_fresh_budget_and_the_same_key():
    row = dead(last_error="400: unknown type", not_before=DatabaseNow(-86400))

    operations.requeue([row.pk], COMMAND)

    now = fresh(row)
    assert (now.state, now.reason, now.attempts, now.halts, now.key_epoch) == (State.PENDING, "", 0, 0, 0)
    assert now.idempotency_key == row.idempotency_key
    assert now.not_before == now.due_at
    assert now.body == row.body
    assert claim().rows[0].key == str(row.idempotency_key)


def test_the_age_of_a_requeued_event_is_counted_anew():
    row = dead(Reason.EXPIRED)

    with shifted(7200):
        operations.requeue([row.pk], COMMAND)
        assert claim().rows[0].age < 3600


def test_after_delivery_failed_a_requeue_takes_a_new_key_and_forgets_the_old_answer():
    row = dead(Reason.DELIVERY_FAILED, remote_id="evt-old", accepted_at=DatabaseNow(-60), checks=4)

    done = operations.requeue([row.pk], COMMAND)

    now = fresh(row)
    assert done.may_duplicate.ids == [row.pk]
    assert (now.key_epoch, now.remote_id, now.accepted_at, now.checks) == (1, "", None, 0)
    assert now.idempotency_key == row.idempotency_key
    assert claim().rows[0].key == str(uuid.uuid5(row.idempotency_key, "1"))


def test_an_event_given_up_in_doubt_keeps_its_doubt_when_it_is_requeued():
    """Otherwise a requeue after the window would be a blind resend under a forgotten key."""
    row = unresolved(in_doubt_since=DatabaseNow(-7200))
    operations.resolve([row.pk], COMMAND, Resolution.GIVE_UP, "too old")

    operations.requeue([row.pk], COMMAND)

    assert fresh(row).in_doubt_since == row.in_doubt_since


def test_a_spread_distributes_the_due_times():
    rows = [dead() for _ in range(5)]

    operations.requeue([row.pk for row in rows], COMMAND, spread=100)

    dues = [due for row in rows if (due := fresh(row).due_at)]
    assert dues == sorted(set(dues))
    assert 79 <= (dues[-1] - dues[0]).total_seconds() <= 82
    assert all(fresh(row).not_before == fresh(row).due_at for row in rows)


@pytest.mark.parametrize("spread", [-1, 3652.5 * 86400 + 1, float("inf"), float("nan")])
def test_a_spread_is_of_ten_years_at_most(spread):
    row = dead()

    with pytest.raises(ValueError, match=r"^spread: "):
        operations.requeue([row.pk], COMMAND, spread=spread)

    assert fresh(row).state == State.DEAD


def test_a_bulk_act_goes_in_batches(monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 2)
    rows = [dead() for _ in range(5)]

    done = operations.requeue([row.pk for row in rows], COMMAND)

    assert done.ids == [row.pk for row in rows]
    assert EventAct.objects.count() == 5


def test_the_statements_of_a_bulk_act_do_not_depend_on_the_number_of_events():
    few, many = [dead().pk for _ in range(3)], [dead().pk for _ in range(30)]
    statements = []

    for ids in (few, many):
        with CaptureQueriesContext(connection) as queries:
            operations.requeue(ids, COMMAND)
        statements.append(len(queries))

    assert statements[0] == statements[1] < 30


@pytest.mark.parametrize("make", [cancelled, delivered, in_flight], ids=["cancelled", "delivered", "claimed"])
def test_a_row_that_slips_away_stops_no_other(monkeypatch, make):
    """It moved between the read and the write, as can be where the database has no row locks."""
    good, gone = retrying(), make()
    read = bulk._read

    def outdated(rows):
        return [{**row, "state": State.PENDING, "claim_token": None} for row in read(rows)]

    monkeypatch.setattr(bulk, "_read", outdated)
    monkeypatch.setattr(bulk, "locked", lambda rows: rows)

    done = operations.cancel([good.pk, gone.pk], COMMAND, "withdrawn")

    assert done.ids == [good.pk]
    assert skipped(done) == {"it changed just now": [gone.pk]}
    assert (fresh(gone).state, fresh(gone).claim_token) == (gone.state, gone.claim_token)
    assert EventAct.objects.get().event_id == good.pk


def test_a_dry_run_takes_no_lock_and_writes_nothing(django_assert_num_queries):
    row = dead()

    with django_assert_num_queries(1) as queries:
        operations.requeue([row.pk], COMMAND, dry_run=True)

    assert "UPDATE" not in queries.captured_queries[0]["sql"]


def test_on_sqlite_an_act_begins_with_a_write(django_assert_max_num_queries):
    """A transaction that reads first and then writes fails there at once, when another one writes."""
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite refuses to turn a reading transaction into a writing one")
    row = dead()

    with django_assert_max_num_queries(30) as queries:
        operations.requeue([row.pk], COMMAND)

    statements = [query["sql"] for query in queries.captured_queries if "SAVEPOINT" not in query["sql"]]
    assert statements[0].startswith("UPDATE")


# ------------------------------------------------------------------------------------------- retry, check


def test_a_retry_is_due_now_with_its_attempts_kept():
    row = retrying(in_doubt_since=DatabaseNow(-60))

    operations.retry_now([row.pk], COMMAND)

    now = fresh(row)
    assert (now.attempts, now.in_doubt_since, now.not_before) == (3, row.in_doubt_since, None)
    assert [claimed.id for claimed in claim().rows] == [row.pk]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: retrying(due_at=DatabaseNow(-1)), "already due"),
        (lambda: event(delay=60), "never tried: it is scheduled for later"),
        (in_flight, SENT),
        (accepted, "already accepted by the platform"),
        (dead, "dead: requeue it"),
        (unresolved, "unresolved: resolve it"),
    ],
)
def test_a_retry_leaves_others_alone_and_says_why(make, words):
    row = make()

    assert skipped(operations.retry_now([row.pk], COMMAND)) == {words: [row.pk]}


def test_a_check_makes_an_accepted_event_due_and_an_unresolved_one_accepted_again():
    waiting = accepted(due_at=DatabaseNow(3600))
    lost = unresolved(Reason.UNCONFIRMED, remote_id="evt-1", accepted_at=DatabaseNow(-90))

    operations.check_now([waiting.pk, lost.pk], COMMAND)

    assert {row.id for row in claim(kind=AttemptKind.CHECK).rows} == {waiting.pk, lost.pk}
    assert (fresh(lost).reason, fresh(lost).accepted_at) == ("", lost.accepted_at)


def test_an_unresolved_event_without_an_id_cannot_be_asked_about():
    row = unresolved()

    assert skipped(operations.check_now([row.pk], COMMAND)) == {
        "the platform returned no id to check": [row.pk]
    }


def test_an_event_asked_about_again_counts_as_accepted_from_now():
    """It has the platform's id, so that it holds no followers back, whatever the answer."""
    row = unresolved(Reason.OUTCOME_UNKNOWN, remote_id="evt-1")

    operations.check_now([row.pk], COMMAND)

    assert fresh(row).accepted_at is not None


# ----------------------------------------------------------------------------------------- cancel, resolve


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_cancel_and_resolve_want_a_reason(reason):
    row = unresolved()

    with pytest.raises(ValueError, match="reason: must not be empty"):
        operations.cancel([row.pk], COMMAND, reason)
    with pytest.raises(ValueError, match="reason: must not be empty"):
        operations.resolve([row.pk], COMMAND, Resolution.DELIVERED, reason)
    assert fresh(row).state == State.UNRESOLVED


def test_a_cancelled_event_is_finished_with_its_reason():
    row = event()

    operations.cancel([row.pk], COMMAND, "customer\n withdrew")

    now = fresh(row)
    assert (now.state, now.reason, now.due_at, now.finished_at is None) == (
        State.CANCELLED,
        Reason.OPERATOR,
        None,
        False,
    )
    assert EventAct.objects.get().reason == "customer withdrew"


def test_a_lapsed_claim_can_be_cancelled_and_its_worker_writes_no_more():
    row = event()
    claimed = claim().rows[0]
    with shifted(120):
        done = operations.cancel([row.pk], COMMAND, "withdrawn")

    assert done.ids == [row.pk]
    assert not OutboxEvent.objects.filter(pk=row.pk, claim_token=claimed.token).exists()


def test_cancelling_the_head_lets_its_followers_go():
    head = event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
    follower = event(ordering_key="ORD-7", row={"due_at": DatabaseNow(60)})

    operations.cancel([head.pk], COMMAND, "withdrawn")

    assert [row.id for row in claim().rows] == [follower.pk]


def test_resolved_as_delivered_is_final():
    row = unresolved(in_doubt_since=DatabaseNow(-60))

    operations.resolve([row.pk], COMMAND, Resolution.DELIVERED, "seen in their log")

    now = fresh(row)
    assert (now.state, now.reason, now.finished_at is None) == (State.DELIVERED, "", False)


def test_within_the_window_not_delivered_goes_again_under_the_same_key_and_keeps_its_doubt():
    row = unresolved(in_doubt_since=DatabaseNow(-7200))

    done = operations.resolve([row.pk], COMMAND, Resolution.NOT_DELIVERED, "not there")

    now = fresh(row)
    assert done.ids == [row.pk]
    assert done.may_duplicate.ids == []
    assert (now.state, now.key_epoch, now.attempts, now.in_doubt_since) == (
        State.PENDING,
        0,
        0,
        row.in_doubt_since,
    )


@pytest.mark.parametrize("reason", [Reason.UNCONFIRMED, Reason.UNTRACKED])
def test_an_accepted_event_is_in_doubt_since_its_acceptance_when_it_is_sent_again(reason):
    """The platform knows its key since then: no blind resend past that window."""
    row = unresolved(reason, accepted_at=DatabaseNow(-7200), in_doubt_since=None, remote_id="evt-1", checks=9)

    operations.resolve([row.pk], COMMAND, Resolution.NOT_DELIVERED, "not there")

    now = fresh(row)
    assert now.in_doubt_since == row.accepted_at
    assert (now.accepted_at, now.remote_id, now.checks) == (None, "", 0)


@pytest.mark.parametrize(
    "row",
    [
        {"in_doubt_since": DatabaseNow(-23 * 3600 - 1)},
        {"in_doubt_since": DatabaseNow(-23 * 3600 + 30)},
        {"in_doubt_since": None, "accepted_at": DatabaseNow(-2 * 86400)},
        {"in_doubt_since": None, "accepted_at": DatabaseNow(-60), "key_known_since": DatabaseNow(-86400)},
        {"in_doubt_since": None},
        {"in_doubt_since": DatabaseNow(-60), "reason": Reason.CONFLICT},
    ],
    ids=[
        "window closed",
        "window closes within a lease",
        "accepted too long ago",
        "first sent too long ago",
        "unknown",
        "conflict",
    ],
)
def test_where_the_platform_may_have_forgotten_the_key_a_duplicate_must_be_accepted(row):
    stuck = unresolved(**row)
    decide = operations.resolve

    refused = decide([stuck.pk], COMMAND, Resolution.NOT_DELIVERED, "not there")

    assert skipped(refused) == {"may duplicate: it may have been delivered already": [stuck.pk]}
    assert fresh(stuck).state == State.UNRESOLVED

    done = decide([stuck.pk], COMMAND, Resolution.NOT_DELIVERED, "not there", accept_duplicates=True)

    now = fresh(stuck)
    assert done.may_duplicate.ids == [stuck.pk]
    assert (now.state, now.key_epoch, now.in_doubt_since, now.attempts) == (State.PENDING, 1, None, 0)
    assert now.key_known_since is None


@pytest.mark.parametrize("outcome", [Resolution.NOT_DELIVERED, Resolution.GIVE_UP])
def test_an_event_accepted_at_a_later_try_is_in_doubt_since_its_first(outcome):
    first = DatabaseNow(-5 * 3600)
    row = unresolved(
        Reason.UNCONFIRMED, accepted_at=DatabaseNow(-7200), in_doubt_since=None, key_known_since=first
    )

    operations.resolve([row.pk], COMMAND, outcome, "not there")

    assert fresh(row).in_doubt_since == row.key_known_since


def test_an_accepted_event_that_is_given_up_is_in_doubt_since_its_acceptance():
    row = unresolved(Reason.UNCONFIRMED, accepted_at=DatabaseNow(-7200), remote_id="evt-1")

    operations.resolve([row.pk], COMMAND, Resolution.GIVE_UP, "nobody needs it")

    assert fresh(row).in_doubt_since == row.accepted_at


def test_given_up_is_dead_by_an_operator():
    row = unresolved(in_doubt_since=DatabaseNow(-60))

    operations.resolve([row.pk], COMMAND, Resolution.GIVE_UP, "nobody needs it")

    assert (fresh(row).state, fresh(row).reason) == (State.DEAD, Reason.OPERATOR)


def test_to_be_checked_now_releases_nothing():
    """It left its key when it was accepted; what is held now waits for another event."""
    event(ordering_key="k", delay=600)
    row = accepted(ordering_key="k", due_at=DatabaseNow(60))
    held = event(ordering_key="k", row={"key_held": True, "due_at": DatabaseNow(86400)})

    operations.check_now([row.pk], COMMAND)

    assert (fresh(held).key_held, fresh(held).due_at) == (True, held.due_at)


def test_given_up_it_still_blocks_its_key():
    row = unresolved(in_doubt_since=DatabaseNow(-60), ordering_key="k")
    held = event(ordering_key="k", row={"key_held": True, "due_at": DatabaseNow(86400)})

    operations.resolve([row.pk], COMMAND, Resolution.GIVE_UP, "nobody needs it")

    assert (fresh(held).key_held, fresh(held).due_at) == (True, held.due_at)


# ------------------------------------------------------------------------------------ audit, log, signals


def test_each_act_is_kept_with_who_when_what_and_why():
    ana = get_user_model().objects.create_user("ana", is_staff=True)
    row = dead()

    operations.requeue([row.pk], Actor("admin", user=ana), reason=" mended\nthere ")

    act = EventAct.objects.get()
    assert (act.act, act.user, act.username, act.via) == (Act.REQUEUE, ana, "ana", "admin")
    assert (act.from_state, act.to_state, act.reason) == (State.DEAD, State.PENDING, "mended there")
    assert act.at >= row.created_at
    entry = LogEntry.objects.get()
    assert (entry.user_id, entry.object_id, entry.get_edited_object()) == (ana.pk, str(row.pk), fresh(row))
    assert entry.get_change_message() == "requeued: mended there"


def test_a_command_is_kept_by_its_name_and_leaves_no_admin_history():
    operations.requeue([dead().pk], Actor("eventbridge_retry", name=getpass.getuser()))

    act = EventAct.objects.get()
    assert (act.user, act.username, act.via) == (None, getpass.getuser(), "eventbridge_retry")
    assert not LogEntry.objects.exists()


def test_a_user_who_is_no_staff_leaves_no_admin_history():
    ben = get_user_model().objects.create_user("ben")

    operations.requeue([dead().pk], Actor("api", user=ben))

    assert EventAct.objects.get().user == ben
    assert not LogEntry.objects.exists()


def test_a_hostile_reason_and_name_are_kept_harmless():
    actor = Actor("admin\x1b[2J", name="a\u202eb" + "x" * 300)

    operations.cancel([event().pk], actor, "\x1b[31m" + "y" * 600)

    act = EventAct.objects.get()
    assert act.reason.startswith("\\x1b[31myy")
    assert len(act.reason) == 500
    assert act.username.startswith("a\\u202eb")
    assert "\x1b" not in act.via


def test_an_act_is_one_log_line(caplog):
    row = event()

    with caplog.at_level(logging.INFO, "genesys_eventbridge"):
        after_commit(lambda: operations.cancel([row.pk], COMMAND, "no"))

    [line] = [record for record in caplog.records if record.name == "genesys_eventbridge"]
    assert line.getMessage() == f"Event {row.pk} of default is cancelled, was pending: cancel by ops"


@pytest.mark.parametrize(
    ("outcome", "signal"), [(Resolution.DELIVERED, event_delivered), (Resolution.GIVE_UP, event_dead)]
)
def test_an_end_by_a_person_is_announced_after_the_commit(outcome, signal):
    row = unresolved(in_doubt_since=DatabaseNow(-60))
    heard = []

    def receiver(sender, event, **kwargs):
        heard.append((event.pk, event.state))
        raise RuntimeError("receivers change nothing")

    signal.connect(receiver)
    try:
        after_commit(lambda: operations.resolve([row.pk], COMMAND, outcome, "why"))
    finally:
        signal.disconnect(receiver)

    assert heard == [(row.pk, fresh(row).state)]


def test_a_worker_is_woken_after_the_commit(monkeypatch):
    woken: list[str] = []
    monkeypatch.setattr("genesys_eventbridge.wake.wake", woken.append)
    known, gone = dead(), dead(destination="gone")

    after_commit(lambda: operations.requeue([known.pk, gone.pk], COMMAND))

    assert woken == ["default"]


def after_commit(work):
    from django.test import TestCase

    with TestCase.captureOnCommitCallbacks(execute=True):
        return work()


class TestRetryNow:
    """What was tried, and what waits for its key, is not said to be scheduled for later."""

    def test_an_event_that_met_only_pauses_was_tried(self):
        row = event(row={"halts": 2, "last_error": "HTTP 403", "due_at": DatabaseNow(600)})

        assert operations.retry_now([row.pk], COMMAND).ids == [row.pk]

    def test_one_behind_another_of_its_key_is_held(self):
        event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))
        behind = event(ordering_key="ORD-7")
        assert claim().moved

        done = operations.retry_now([behind.pk], COMMAND)

        assert skipped(done) == {"held behind an earlier event of its ordering key": [behind.pk]}

    def test_one_that_was_only_delayed_was_never_tried(self):
        row = event(delay=600)

        assert skipped(operations.retry_now([row.pk], COMMAND)) == {
            "never tried: it is scheduled for later": [row.pk]
        }

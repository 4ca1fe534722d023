"""What happens next to an event, in words: every row of the table, and every combination the states allow."""

import datetime as dt
import itertools
import uuid

import pytest
from django.utils import timezone

from genesys_eventbridge import conf
from genesys_eventbridge.circuit import Pause
from genesys_eventbridge.circuit.refusals import Refusals
from genesys_eventbridge.db.clock import shifted
from genesys_eventbridge.models import Destination, EventAct, OutboxEvent
from genesys_eventbridge.reporting.explain import Facts, explain, facts_for, is_in_flight
from genesys_eventbridge.reporting.facts import Blocker
from genesys_eventbridge.states import Act, Reason, State
from tests import outbox_rows as rows
from tests.outbox_rows import changed

NOW = dt.datetime(2026, 11, 23, 14, 35, tzinfo=dt.UTC)
ALIVE = Destination(heartbeat_at=NOW - dt.timedelta(seconds=5), heartbeat_worker="web1:4711")


def at(**ago) -> dt.datetime:
    return NOW - dt.timedelta(**ago)


def event(state=State.PENDING, **columns) -> OutboxEvent:
    """An event as a row would be, due now where it is open."""
    is_open = state in (State.PENDING, State.ACCEPTED)
    ended = state in (State.DELIVERED, State.CANCELLED)
    given = {
        "pk": 7,
        "destination": "default",
        "event_id": "event-7",
        "type": "order.created",
        "body": "{}",
        "state": state,
        "created_at": at(minutes=10),
        "due_at": at(seconds=1) if is_open else None,
        "finished_at": at(minutes=1) if ended else None,
    }
    return OutboxEvent(**{**given, **columns})


def facts(health=ALIVE, *, rate=None, blocker=None, last_act=None, **settings) -> Facts:
    chosen = conf.destination().changed(**settings)
    return Facts(now=NOW, settings=chosen, health=health, rate=rate, blocker=blocker, last_act=last_act)


def deed(act, to_state, reason="customer asked twice") -> EventAct:
    return EventAct(act=act, username="ana", via="admin", to_state=to_state, reason=reason, at=at(hours=1))


# ------------------------------------------------------------------------------- the table of operations.md


def test_a_pending_event_with_workers_alive_is_sent_soon():
    assert explain(event(), facts()) == "Will be sent within about 60 s."


def test_without_a_heartbeat_nothing_will_happen_and_the_command_is_named():
    silent = Destination(heartbeat_at=at(minutes=4))

    assert explain(event(), facts(silent)) == (
        "Nothing will happen: no worker has reported since 14:31 UTC. "
        "Start one: manage.py qcluster, or manage.py eventbridge_publish --loop."
    )


def test_a_cluster_is_no_advice_where_django_q_is_not_installed(settings):
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]

    assert explain(event(), facts(Destination())).endswith("Start one: manage.py eventbridge_publish --loop.")


def test_where_no_worker_ever_came_by_it_says_so():
    assert explain(event(), facts(Destination())).startswith(
        "Nothing will happen: no worker has ever reported. Start one: manage.py qcluster"
    )


def test_a_paused_destination_holds_until_a_time_and_names_its_reason():
    reason = "429: the platform asked us to slow down (Retry-After 480 s)."
    paused = changed(ALIVE, paused_until=at(minutes=-5), paused_reason=reason, paused_kind="rate")

    assert explain(event(), facts(paused)) == (
        f"Held until 14:40 UTC, because the destination is paused: {reason}"
    )


def test_after_a_pause_one_event_is_tried_first():
    over = changed(ALIVE, paused_until=at(seconds=2), paused_reason="connection refused")

    assert explain(event(), facts(over)).startswith("Will be sent once the event being tried gets through")


def test_a_persons_pause_names_who_and_why_and_until_when():
    held = changed(ALIVE, held_by="ben", held_reason="their maintenance", held_until=at(minutes=-25))

    assert explain(event(), facts(held)) == "Held until 15:00 UTC: paused by ben, “their maintenance”."
    assert explain(event(), facts(changed(held, held_until=None))) == (
        "Held until the destination is resumed: paused by ben, “their maintenance”."
    )


def test_a_persons_pause_that_is_over_holds_nothing():
    over = changed(ALIVE, held_by="ben", held_reason="their maintenance", held_until=at(minutes=1))

    assert explain(event(), facts(over)) == "Will be sent within about 60 s."


def test_a_pause_that_ends_before_the_next_try_does_not_matter():
    paused = changed(ALIVE, paused_until=at(seconds=-5), paused_reason="503", held_by="x", held_until=NOW)
    waiting = event(attempts=2, due_at=at(minutes=-20))

    assert explain(waiting, facts(paused)).startswith("Retries in 20 min")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.DEAD, "which is dead. Requeue or cancel that one."),
        (State.UNRESOLVED, "which is unresolved. Resolve or cancel that one."),
        (State.PENDING, "which goes first."),
    ],
)
def test_behind_its_key_it_names_the_event_to_look_at(state, words):
    waiting = event(ordering_key="ORD-7")

    assert explain(waiting, facts(blocker=Blocker(123, state))) == (
        f"Waits for event #123 (ordering key ORD-7), {words}"
    )


def test_behind_a_dead_event_no_worker_helps_so_a_missing_one_is_not_the_news():
    waiting = event(ordering_key="ORD-7")

    assert "#123" in explain(waiting, facts(Destination(), blocker=Blocker(123, State.DEAD)))
    assert "no worker" in explain(waiting, facts(Destination(), blocker=Blocker(123, State.PENDING)))


def test_in_flight_it_says_since_when_and_what_if_that_worker_died():
    flying = event(claim_token=uuid.uuid4(), due_at=at(seconds=-58), attempts=1, in_doubt_since=at(seconds=2))

    assert explain(flying, facts()) == (
        "Being sent for 2 s. If that worker died, another one takes over at 14:35 UTC."
    )


def test_a_claim_that_ran_out_is_taken_over():
    lapsed = event(claim_token=uuid.uuid4(), due_at=at(seconds=3), attempts=1, in_doubt_since=at(minutes=1))

    assert explain(lapsed, facts()).startswith("The worker that was sending it stopped responding")
    assert "It is retried with the same key until" in explain(lapsed, facts())


def test_waiting_for_a_retry_it_counts_and_promises_the_same_key():
    waiting = event(attempts=3, due_at=at(minutes=-4))

    assert explain(waiting, facts()) == (
        "Retries in 4 min (attempt 4 of 12). If all attempts fail, it becomes dead at about 16:27 UTC. "
        "Retrying is safe: same idempotency key."
    )


def test_before_the_last_try_it_says_so():
    waiting = event(attempts=11, due_at=at(minutes=-4))

    assert "This is the last attempt" in explain(waiting, facts())


def test_max_age_ends_the_tries_earlier():
    waiting = event(attempts=3, due_at=at(minutes=-4))

    assert "dead at about 14:40 UTC" in explain(waiting, facts(max_age=900.0))


def test_a_huge_number_of_attempts_is_no_endless_sum():
    waiting = event(attempts=3, due_at=at(minutes=-4))

    assert "attempt 4 of 2147483647" in explain(waiting, facts(max_attempts=2**31 - 1))


def test_in_doubt_the_same_key_is_sent_until_its_window_closes():
    doubtful = event(attempts=1, due_at=at(seconds=-8), in_doubt_since=at(minutes=35))

    assert explain(doubtful, facts()) == (
        "Retries in 8 s (attempt 2 of 12). It may have been accepted: the outcome of an attempt is unknown. "
        "It is retried with the same key until 24 Nov 13:00 UTC; after that an operator must decide."
    )


def test_past_the_window_a_person_must_decide():
    doubtful = event(attempts=1, in_doubt_since=at(hours=24))

    assert "an operator must decide soon" in explain(doubtful, facts())


@pytest.mark.parametrize(
    ("doubt", "words"), [(None, "the next pass marks it dead"), (at(hours=1), "an operator must decide soon")]
)
def test_with_its_attempts_used_up_it_ends_at_the_next_pass(doubt, words):
    assert words in explain(event(attempts=12, in_doubt_since=doubt), facts())


def test_a_delayed_event_names_its_time():
    later = event(due_at=at(minutes=-25), not_before=at(minutes=-25))

    assert explain(later, facts()) == "Will be sent in 25 min, at 15:00 UTC."


def test_an_overdue_event_says_that_workers_are_busy():
    assert explain(event(due_at=at(minutes=14)), facts()).startswith("Due for 14 min: workers are running")


def test_an_accepted_event_is_checked_again():
    accepted = event(State.ACCEPTED, accepted_at=at(minutes=5), due_at=at(seconds=-30))

    assert explain(accepted, facts(confirm_for=4200.0)) == (
        "The platform accepted it; delivery is checked again in 30 s, until 15:40 UTC."
    )


def test_an_accepted_event_due_now_is_checked_soon():
    accepted = event(State.ACCEPTED, accepted_at=at(minutes=5))

    assert "is checked again within about 60 s, until" in explain(accepted, facts())


def test_an_accepted_event_past_confirm_for_is_decided_by_the_next_answer():
    accepted = event(State.ACCEPTED, accepted_at=at(hours=2))

    assert "If it is not confirmed then, an operator must decide." in explain(accepted, facts())


def test_an_accepted_event_in_flight_is_being_asked_about():
    asked = event(State.ACCEPTED, accepted_at=NOW, claim_token=uuid.uuid4(), due_at=at(seconds=-50))

    assert explain(asked, facts()).startswith("Being checked for 10 s.")


def test_a_check_that_ran_out_is_taken_over():
    asked = event(State.ACCEPTED, accepted_at=NOW, claim_token=uuid.uuid4())

    assert explain(asked, facts()).startswith("The worker that was checking it stopped responding")


@pytest.mark.parametrize(
    ("columns", "rate"),
    [
        ({"check_paused_until": at(minutes=-5), "check_paused_reason": "403: no read right"}, None),
        ({}, Pause("rate", at(minutes=-5), "403: no read right")),
        (
            {"check_paused_until": at(minutes=1), "check_paused_reason": "an older one, which is over"},
            Pause("rate", at(minutes=-5), "403: no read right"),
        ),
    ],
)
def test_checks_that_are_paused_say_why(columns, rate):
    accepted = event(State.ACCEPTED, accepted_at=NOW)

    assert explain(accepted, facts(changed(ALIVE, **columns), rate=rate)) == (
        "The platform accepted it; status checks are paused until 14:40 UTC: 403: no read right"
    )


def test_trouble_with_publishing_does_not_hold_the_checks():
    paused = changed(ALIVE, paused_until=at(minutes=-5), paused_kind="network", paused_reason="refused")

    assert "is checked again" in explain(event(State.ACCEPTED, accepted_at=NOW), facts(paused))


def test_with_confirm_off_an_accepted_event_is_closed():
    accepted = event(State.ACCEPTED, accepted_at=NOW)

    assert "CONFIRM is off" in explain(accepted, facts(confirm=False))


def test_a_dead_event_quotes_the_correlation_id_to_ask_support_with():
    dead = event(
        State.DEAD,
        reason=Reason.EXHAUSTED,
        attempts=12,
        last_status_code=503,
        last_error="503: service unavailable",
        correlation_id="c0ffee",
    )

    assert explain(dead, facts()) == (
        "Stopped after 12 attempts: 503: service unavailable. It will not be retried automatically. "
        "What usually helps: give correlation id c0ffee to Genesys support; requeue once the platform has "
        "recovered."
    )


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"reason": Reason.REJECTED, "last_error": "400: unknown type"},
            "rejected it permanently: 400: unknown type.",
        ),
        ({"reason": Reason.EXPIRED, "attempts": 3}, "older than MAX_AGE when attempt 3 failed"),
        ({"reason": Reason.DELIVERY_FAILED}, "may deliver it twice"),
        ({"reason": Reason.EXHAUSTED, "last_status_code": 502}, "wait until the platform has recovered"),
        ({"reason": Reason.EXHAUSTED, "last_status_code": None}, "fix the cause, then requeue"),
        ({"reason": Reason.OPERATOR}, "Given up by an operator."),
    ],
)
def test_each_reason_of_a_dead_event_has_its_own_help(columns, words):
    told = explain(event(State.DEAD, **columns), facts())

    assert words in told
    assert "It will not be retried automatically." in told


def test_an_event_given_up_names_who_and_why():
    given_up = deed(Act.RESOLVE, State.DEAD, "nobody needs it")
    dead = event(State.DEAD, reason=Reason.OPERATOR)

    assert explain(dead, facts(last_act=given_up)).startswith(
        "Given up by ana (13:35 UTC): “nobody needs it”."
    )


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"reason": Reason.OUTCOME_UNKNOWN},
            "It is not known whether it was delivered. "
            "Look for id event-7 on the platform, then choose Resolve.",
        ),
        ({"reason": Reason.CONFLICT}, "returns a different event"),
        ({"reason": Reason.UNTRACKED}, "returned no id"),
        ({"reason": Reason.UNCONFIRMED, "remote_id": "evt-9"}, "Look for id evt-9 on the platform"),
        (
            {"reason": Reason.UNCONFIRMED, "remote_id": "evt-9"},
            "“Check status now” asks the platform again.",
        ),
    ],
)
def test_each_reason_of_an_unresolved_event_says_what_is_not_known(columns, words):
    assert words in explain(event(State.UNRESOLVED, **columns), facts())


def test_a_delivered_event_says_how_long_it_took_and_how_long_it_is_kept():
    delivered = event(State.DELIVERED, created_at=at(seconds=3.9), finished_at=at(seconds=2))

    assert explain(delivered, facts()) == "Delivered in 1.9 s. Kept until 23 Dec, then pruned."


def test_an_event_that_a_person_called_delivered_says_so():
    delivered = event(State.DELIVERED)

    assert explain(delivered, facts(last_act=deed(Act.RESOLVE, State.DELIVERED))).startswith(
        "Marked as delivered by ana (13:35 UTC): “customer asked twice”."
    )
    assert explain(delivered, facts(last_act=deed(Act.RESOLVE, State.PENDING))).startswith(
        "Delivered in 9 min."
    )


@pytest.mark.parametrize(
    ("columns", "settings", "words"),
    [
        ({}, {"retention_days": None}, "Kept until pruned manually."),
        ({}, {"retention_days": 0.5, "idempotency_window": 3 * 86400.0}, "Kept until 26 Nov, then pruned."),
        ({}, {"retention_days": 60.0}, "Kept until 22 Jan 2027, then pruned."),
        ({"body": ""}, {}, "Its body was blanked; ids, times and hashes are kept."),
    ],
)
def test_a_finished_event_says_what_is_kept(columns, settings, words):
    assert words in explain(event(State.DELIVERED, **columns), facts(**settings))


def test_a_cancelled_event_names_who_and_why():
    cancelled = event(State.CANCELLED, reason=Reason.OPERATOR)

    assert explain(cancelled, facts(last_act=deed(Act.CANCEL, State.CANCELLED))).startswith(
        "Cancelled by ana (13:35 UTC): “customer asked twice”. Kept until"
    )
    assert explain(cancelled, facts()).startswith("Cancelled by an operator. Kept until")


@pytest.mark.parametrize("state", [State.PENDING, State.ACCEPTED])
def test_an_event_of_a_destination_that_is_gone_says_what_to_do(state):
    gone, elsewhere = (Facts(now=NOW, settings=None, health=health) for health in (Destination(), ALIVE))

    assert explain(event(state, destination="old"), gone) == (
        "Nothing will happen: GENESYS_EVENTBRIDGE has no destination old. Add it again, move this event to "
        "another destination, or cancel it."
    )
    assert explain(event(state, destination="old"), elsewhere) == (
        "Another project on this database serves the destination old."
    )


def test_a_state_of_a_newer_release_is_no_error():
    assert "Unknown state parked, written by a newer release" in explain(event("parked"), facts())


def test_an_event_of_a_refused_type_is_held_back():
    run = Refusals(since=at(minutes=9), count=8, types=("order.created",), error="HTTP 400: no such schema.")
    holding = changed(ALIVE, refusals=run.stored(), refused_until=at(minutes=-1))

    held = explain(event(due_at=at(minutes=-1)), facts(holding))

    assert held.startswith("Held back: the platform refuses events of this type")
    assert "the next at about 14:36 UTC. Latest refusal: HTTP 400: no such schema." in held
    assert "may have been accepted" in explain(event(in_doubt_since=at(hours=1)), facts(holding))
    assert "Held back" not in explain(event(type="order.paid"), facts(holding))
    assert "Held back" not in explain(event(), facts(changed(holding, refused_until=None)))
    later = event(due_at=at(hours=-1), not_before=at(hours=-1))
    assert explain(later, facts(holding)) == "Will be sent in 1 h, at 15:35 UTC."


# ---------------------------------------------------------------------------------------- all combinations

HEALTHS = [
    Destination(),
    ALIVE,
    changed(ALIVE, paused_until=at(minutes=-5), paused_kind="rate", paused_reason="429."),
    changed(ALIVE, paused_until=at(minutes=1), paused_kind="network", paused_reason="refused."),
    changed(ALIVE, held_by="ben", held_reason="why"),
    changed(ALIVE, check_paused_until=at(minutes=-1), check_paused_reason="403."),
    changed(
        ALIVE,
        refusals=Refusals(at(hours=1), types=("order.created",), error="400.").stored(),
        refused_until=NOW,
    ),
]
OPEN_ROWS = [
    event(
        state,
        claim_token=token,
        due_at=due,
        attempts=attempts,
        in_doubt_since=doubt,
        ordering_key="ORD-7",
        accepted_at=accepted,
    )
    for state, token, due, attempts, doubt, accepted in itertools.product(
        [State.PENDING, State.ACCEPTED],
        [None, uuid.uuid4()],
        [at(hours=1), at(minutes=-1)],
        [0, 1, 12],
        [None, at(hours=1), at(days=2)],
        [None, at(minutes=1), at(hours=5)],
    )
]
REASONS: dict[State, list[str]] = {
    State.DEAD: [Reason.REJECTED, Reason.EXHAUSTED, Reason.EXPIRED, Reason.DELIVERY_FAILED, Reason.OPERATOR],
    State.UNRESOLVED: [Reason.CONFLICT, Reason.OUTCOME_UNKNOWN, Reason.UNCONFIRMED, Reason.UNTRACKED],
    State.DELIVERED: [""],
    State.CANCELLED: [Reason.OPERATOR],
}
CLOSED_ROWS = [
    event(state, reason=reason, remote_id=remote_id, last_status_code=status, correlation_id=correlation)
    for state, reasons in REASONS.items()
    for reason, remote_id, status, correlation in itertools.product(
        reasons, ["", "evt-9"], [None, 400, 503], ["", "c0ffee"]
    )
]


def test_every_open_row_gets_a_whole_sentence():
    blockers = [None, *(Blocker(3, state) for state in (State.PENDING, State.DEAD, State.UNRESOLVED))]
    for health, blocker, confirm in itertools.product(HEALTHS, blockers, [True, False]):
        known = facts(health, blocker=blocker, confirm=confirm)
        for row in OPEN_ROWS:
            assert_whole(explain(row, known))


def test_every_closed_row_gets_a_whole_sentence():
    deeds = [None, *(deed(act, state) for act in Act for state in State)]
    for health, done in itertools.product(HEALTHS, deeds):
        known = facts(health, last_act=done)
        for row in CLOSED_ROWS:
            assert_whole(explain(row, known))


def assert_whole(sentence):
    assert sentence
    assert sentence[0].isupper()
    assert sentence.endswith((".", "”"))
    assert "%(" not in sentence
    assert "None" not in sentence
    assert "  " not in sentence


# ------------------------------------------------------------------------------------------ facts and words


@pytest.mark.django_db
def test_facts_come_from_the_database_in_three_queries(django_assert_num_queries):
    head = rows.event(ordering_key="ORD-7", row=rows.ended(State.DEAD, Reason.REJECTED))
    waiting = rows.event(ordering_key="ORD-7")
    Destination.objects.create(alias="default", held_by="ben", held_reason="why", heartbeat_at=NOW)
    EventAct.objects.create(
        event=waiting, act=Act.REQUEUE, via="admin", from_state="dead", to_state="pending", at=NOW
    )

    with django_assert_num_queries(3):
        found = facts_for(waiting)

    assert found.blocker == Blocker(head.pk, State.DEAD)
    assert found.health.held_by == "ben"
    assert found.health.heartbeat_at == NOW
    assert found.last_act is not None
    assert found.last_act.act == Act.REQUEUE
    assert abs((found.now - timezone.now()).total_seconds()) < 3600
    assert found.settings == conf.destination()


@pytest.mark.django_db
def test_facts_need_no_row_of_the_destination(django_assert_num_queries):
    waiting = rows.event(row={"destination": "gone"})

    with django_assert_num_queries(2):
        found = facts_for(waiting, acts=[])

    assert (found.settings, found.rate, found.blocker, found.last_act) == (None, None, None, None)
    assert found.health._state.adding
    assert not found.health.alias


@pytest.mark.django_db
def test_facts_follow_the_clock_of_the_database():
    waiting = rows.event()
    now = facts_for(waiting).now

    with shifted(3600):
        later = facts_for(waiting).now

    assert (later - now).total_seconds() >= 3600


def test_in_flight_is_a_claim_whose_lease_lasts():
    token = uuid.uuid4()

    assert is_in_flight(event(claim_token=token, due_at=at(seconds=-1)), NOW)
    assert not is_in_flight(event(claim_token=token, due_at=at(seconds=1)), NOW)
    assert not is_in_flight(event(due_at=at(seconds=-1)), NOW)

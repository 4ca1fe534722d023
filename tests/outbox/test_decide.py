"""One answer and one claimed row give one transition: the table of guarantees.md, section 2."""

import datetime as dt
import uuid
from dataclasses import replace

import pytest

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.outbox.claim import Claimed
from genesys_eventbridge.outbox.decide import decide, released
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict
from genesys_eventbridge.states import AttemptKind, Reason, State

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
EARLIER = NOW - dt.timedelta(hours=1)
DAY = 86400.0


def settings(**changes):
    platform = Platform(
        api_base_url="https://api.example.com",
        login_base_url="https://login.example.com",
        client_id="id",
        client_secret="secret",
    )
    return DestinationSettings(alias="default", platform=platform, source="tests").changed(**changes)


def claimed(**changes):
    return Claimed(
        **{
            "id": 7,
            "destination": "default",
            "token": uuid.UUID(int=7),
            "kind": AttemptKind.PUBLISH,
            "event_id": "e-7",
            "source": "tests",
            "type": "order.created",
            "subject": "",
            "time": NOW,
            "body": "{}",
            "key": "k",
            "ordering_key": "",
            "remote_id": "",
            "attempts": 1,
            "checks": 0,
            "halts": 0,
            "doubt_before": None,
            "doubt_left": 23 * 3600.0,
            "age": 1.0,
            "accepted_age": None,
            "waiting_since": NOW,
            "claimed_at": NOW,
            "started": 0.0,
            "last_status_code": 503,
            "last_error": "before",
            "correlation_id": "c-0",
            **changes,
        }
    )


def checked(**changes):
    return claimed(
        **{"kind": AttemptKind.CHECK, "checks": 1, "remote_id": "evt-1", "accepted_age": 9.0, **changes}
    )


def middle():
    return 0.5


def decided(row, outcome, *, elapsed=0.0, uncounted=False, accused=False, paused=False, **changes):
    return decide(
        row,
        outcome,
        settings(**changes),
        elapsed=elapsed,
        uncounted=uncounted,
        accused=accused,
        paused=paused,
        random=middle,
    )


ACCEPTED = Outcome(Verdict.ACCEPTED, status_code=202, remote_id="evt-1", correlation_id="c-1")
REJECTED = Outcome(Verdict.REJECTED, status_code=400, error="400 bad")
UNAVAILABLE = Outcome(Verdict.UNAVAILABLE, status_code=423, error="423")
UNKNOWN = Outcome(Verdict.UNKNOWN, status_code=503, error="503", outage=Halt.NETWORK)
CONFLICT = Outcome(Verdict.UNKNOWN, status_code=409, error="409", conflict=True)
IN_DOUBT = {"doubt_before": EARLIER, "doubt_left": 22 * 3600.0}


@pytest.mark.parametrize(
    ("row", "outcome", "changes", "state", "reason"),
    [
        ({}, ACCEPTED, {}, State.ACCEPTED, ""),
        (IN_DOUBT, ACCEPTED, {}, State.ACCEPTED, ""),
        ({}, ACCEPTED, {"confirm": False}, State.DELIVERED, ""),
        ({}, Outcome(Verdict.ACCEPTED, remote_id="x", final=Verdict.DELIVERED), {}, State.DELIVERED, ""),
        (
            {},
            Outcome(Verdict.ACCEPTED, remote_id="x", final=Verdict.FAILED),
            {"confirm": False},
            State.DEAD,
            Reason.DELIVERY_FAILED,
        ),
        ({}, Outcome(Verdict.ACCEPTED), {}, State.UNRESOLVED, Reason.UNTRACKED),
        ({}, Outcome(Verdict.ACCEPTED), {"confirm": False}, State.DELIVERED, ""),
        ({}, REJECTED, {}, State.DEAD, Reason.REJECTED),
        (IN_DOUBT, REJECTED, {}, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN),
        ({}, UNAVAILABLE, {}, State.PENDING, ""),
        (IN_DOUBT, UNAVAILABLE, {}, State.PENDING, ""),
        ({"attempts": 12}, UNAVAILABLE, {}, State.DEAD, Reason.EXHAUSTED),
        ({"attempts": 11}, UNAVAILABLE, {}, State.PENDING, ""),
        ({"attempts": 12, **IN_DOUBT}, UNAVAILABLE, {}, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN),
        ({"age": 61.0}, UNAVAILABLE, {"max_age": 60.0}, State.DEAD, Reason.EXPIRED),
        ({"age": 60.0}, UNAVAILABLE, {"max_age": 60.0}, State.PENDING, ""),
        ({"age": 61.0, **IN_DOUBT}, UNAVAILABLE, {"max_age": 60.0}, State.PENDING, ""),
        ({"age": 61.0}, UNKNOWN, {"max_age": 60.0}, State.PENDING, ""),
        ({}, UNKNOWN, {}, State.PENDING, ""),
        ({"attempts": 12}, UNKNOWN, {}, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN),
        ({"doubt_before": EARLIER, "doubt_left": 0.0}, UNKNOWN, {}, State.UNRESOLVED, Reason.OUTCOME_UNKNOWN),
        ({"attempts": 2}, CONFLICT, {}, State.PENDING, ""),
        ({"attempts": 3}, CONFLICT, {}, State.UNRESOLVED, Reason.CONFLICT),
    ],
)
def test_a_publishing_answer_means_one_state(row, outcome, changes, state, reason):
    became = decided(claimed(**row), outcome, **changes)

    assert (became.state, became.reason) == (state, reason)


@pytest.mark.parametrize(
    ("outcome", "changes", "state", "reason"),
    [
        (Outcome(Verdict.DELIVERED), {}, State.DELIVERED, ""),
        (Outcome(Verdict.FAILED), {}, State.DEAD, Reason.DELIVERY_FAILED),
        (Outcome(Verdict.NOT_YET), {}, State.ACCEPTED, ""),
        (Outcome(Verdict.UNKNOWN), {}, State.UNRESOLVED, Reason.UNCONFIRMED),
        (Outcome(Verdict.HALTED, halt=Halt.PERMISSION), {}, State.ACCEPTED, ""),
    ],
)
def test_a_checking_answer_means_one_state(outcome, changes, state, reason):
    became = decided(checked(), outcome, **changes)

    assert (became.state, became.reason) == (state, reason)


@pytest.mark.parametrize("halt", list(Halt))
@pytest.mark.parametrize("doubt", [None, EARLIER])
def test_a_halt_charges_no_event_and_gives_its_old_doubt_back(halt, doubt):
    row = claimed(attempts=4, doubt_before=doubt)

    became = decided(row, Outcome(Verdict.HALTED, halt=halt, error="stop"))

    assert (became.state, became.attempts, became.due_in) == (State.PENDING, 3, 0.0)
    assert (became.doubt, became.keep_doubt) == (doubt, False)
    assert became.error == "stop"


@pytest.mark.parametrize("halt", Halt)
@pytest.mark.parametrize("accuses", [True, False])
def test_only_an_answer_to_the_events_own_post_counts_against_it(halt, accuses):
    """A CA bundle, a proxy, a login host or a name that does not resolve accuses no event."""
    became = decided(claimed(halts=2), Outcome(Verdict.HALTED, halt=halt, accuses=accuses))

    assert became.halts == 2 + accuses
    assert became.attempts == 0


@pytest.mark.parametrize(
    ("halts", "accused", "accuses", "state"),
    [
        (3, True, True, State.DEAD),
        (99, True, False, State.PENDING),
        (3, False, True, State.PENDING),
        (2, True, True, State.PENDING),
    ],
)
def test_an_event_that_halts_again_while_others_are_accepted_is_itself_refused(
    halts, accused, accuses, state
):
    row = claimed(halts=halts)
    page = Outcome(Verdict.HALTED, halt=Halt.CONFIG, accuses=accuses)

    became = decided(row, page, accused=accused)

    assert became.state == state
    assert became.reason == (Reason.REJECTED if state is State.DEAD else "")


@pytest.mark.parametrize(
    ("halts", "wait"), [(0, 3.75), (1, 7.5), (2, 15.0), (3, 30.0), (9, 45.0), (40, 45.0)]
)
def test_a_suspect_lets_the_others_go_first_and_waits_no_longer_than_a_pause(halts, wait):
    page = Outcome(Verdict.HALTED, halt=Halt.CONFIG, accuses=True)

    assert decided(claimed(halts=halts), page).due_in == wait
    assert decided(claimed(halts=halts), page, paused=True).due_in == 0.0  # the pause decides


@pytest.mark.parametrize(
    ("outcome", "doubt", "keep"),
    [
        (ACCEPTED, None, False),
        (REJECTED, EARLIER, False),
        (UNAVAILABLE, EARLIER, False),
        (UNKNOWN, EARLIER, True),
        (CONFLICT, EARLIER, True),
    ],
)
def test_doubt_ends_by_proof_only_and_a_definite_answer_restores_what_was_before(outcome, doubt, keep):
    became = decided(claimed(**IN_DOUBT), outcome)

    assert (became.doubt, became.keep_doubt) == (doubt, keep)


@pytest.mark.parametrize(
    ("attempts", "least", "most"), [(1, 2.5, 5), (2, 5, 10), (5, 40, 80), (11, 1800, 3600)]
)
def test_each_counted_failure_waits_longer(attempts, least, most):
    assert least <= decided(claimed(attempts=attempts), UNAVAILABLE).due_in <= most


@pytest.mark.parametrize("outcome", [UNKNOWN, UNAVAILABLE])
def test_a_failure_that_is_not_counted_uses_up_no_attempt_and_no_age(outcome):
    """It is the destination's (G9). The window of a doubtful event closes all the same."""
    row = claimed(attempts=12, age=1e6)

    became = decided(row, outcome, uncounted=True, max_age=60.0)

    assert (became.state, became.attempts) == (State.PENDING, 11)
    closed = replace(row, doubt_before=EARLIER, doubt_left=0.0)
    assert decided(closed, outcome, uncounted=True).reason == Reason.OUTCOME_UNKNOWN


def test_the_first_halt_of_an_event_is_remembered():
    page = Outcome(Verdict.HALTED, halt=Halt.CONFIG, accuses=True)

    assert decided(claimed(), page).suspected_since == NOW
    assert decided(claimed(halts=1, suspected_since=EARLIER), page).suspected_since == EARLIER
    assert decided(claimed(halts=1, suspected_since=EARLIER), UNKNOWN).suspected_since == EARLIER


@pytest.mark.parametrize("found", [True, None])
def test_a_check_that_confirms_nothing_for_good_is_for_a_person(found):
    assert decided(checked(), Outcome(Verdict.UNKNOWN, found=found)).state is State.UNRESOLVED


def test_an_event_that_no_check_finds_ends_only_where_it_is_accused():
    missing = Outcome(Verdict.UNKNOWN, found=False)

    assert decided(checked(), missing, accused=True).reason == Reason.UNCONFIRMED
    again = decided(checked(checks=3), missing)
    assert (again.state, again.checks) == (State.ACCEPTED, 3)
    assert 60 <= again.due_in <= 72


def test_a_wait_that_the_platform_asked_for_is_never_cut():
    asked = Outcome(Verdict.UNKNOWN, status_code=503, retry_after=120.0)

    assert decided(claimed(), asked).due_in == 120.0


@pytest.mark.parametrize("outcome", [UNKNOWN, UNAVAILABLE])
def test_a_doubtful_event_is_looked_at_no_later_than_its_window_closes(outcome):
    row = claimed(attempts=9, doubt_before=EARLIER, doubt_left=40.0)

    assert decided(row, outcome, elapsed=10.0).due_in == 30.0


def test_an_event_without_doubt_waits_its_whole_backoff_whatever_the_window():
    row = claimed(attempts=9, doubt_left=40.0)

    assert decided(row, UNAVAILABLE).due_in > 40.0


@pytest.mark.parametrize(("checks", "delay"), [(1, 5), (2, 15), (3, 60), (4, 300), (99, 300)])
def test_checks_follow_the_delays_and_repeat_the_last(checks, delay):
    became = decided(checked(checks=checks), Outcome(Verdict.NOT_YET))

    assert delay <= became.due_in <= delay * 1.2


def test_the_first_check_follows_the_acceptance_by_the_first_delay():
    assert decided(claimed(), ACCEPTED).due_in == 2.0


def test_a_halted_check_is_not_counted():
    assert decided(checked(checks=3), Outcome(Verdict.HALTED, halt=Halt.RATE)).checks == 2


def test_no_check_ever_leads_to_a_republish():
    """G15."""
    for verdict in Verdict:
        assert decided(checked(), Outcome(verdict, halt=Halt.RATE)).state is not State.PENDING


def test_a_row_not_begun_goes_back_as_it_was():
    row = claimed(attempts=5, doubt_before=EARLIER)

    became = released(row)

    assert (became.state, became.attempts, became.doubt) == (State.PENDING, 4, EARLIER)
    assert (became.status_code, became.error, became.correlation_id) == (503, "before", "c-0")
    assert became.attempt is None


def test_an_answer_without_news_keeps_the_known_remote_and_correlation_ids():
    became = decided(checked(), Outcome(Verdict.NOT_YET, status_code=200))

    assert (became.remote_id, became.correlation_id) == ("evt-1", "c-0")


def test_acceptance_is_remembered_with_the_platforms_id():
    became = decided(claimed(), ACCEPTED)

    assert (became.accepted, became.remote_id, became.correlation_id) == (True, "evt-1", "c-1")


@pytest.mark.parametrize("verdict", [Verdict.UNAVAILABLE, Verdict.UNKNOWN, Verdict.REJECTED])
def test_a_failure_of_a_protocol_that_names_no_error_is_stored_with_one(verdict):
    """Lists of what failed look for events with an error."""
    assert decided(claimed(), Outcome(verdict)).error == verdict.value
    assert decided(claimed(), Outcome(verdict, error="gone")).error == "gone"

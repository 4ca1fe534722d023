"""How a destination stands, and which numbers need a person."""

from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from genesys_eventbridge import conf, counters
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import next_due
from genesys_eventbridge.reporting import status
from genesys_eventbridge.reporting.figures import figures
from genesys_eventbridge.reporting.problems import Limits, problems
from genesys_eventbridge.reporting.samples import BARS, coming
from genesys_eventbridge.reporting.status import DestinationStatus, statuses
from genesys_eventbridge.reporting.summary import Summary, summarize, worst
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import accepted, claim, ended, event

pytestmark = pytest.mark.django_db


def delivered(ago=60, **keywords):
    return event(row=ended(State.DELIVERED, finished_at=DatabaseNow(-ago)), **keywords)


def here() -> DestinationStatus:
    return statuses()[0]


def statements(queries) -> int:
    """Their number, without the setting that spares PostgreSQL a compilation."""
    return sum(not query["sql"].startswith("SET LOCAL") for query in queries.captured_queries)


class TestNumbers:
    def test_an_empty_outbox(self):
        at = here()

        assert (at.alias, at.undelivered, at.dead, at.unresolved, at.oldest) == ("default", 0, 0, 0, None)
        assert (at.delivered_1h, at.success_1h, at.heartbeat_ago) == (0, None, None)

    def test_each_event_is_counted_once_under_where_it_is(self):
        event()
        event()
        event(row={"attempts": 2, "due_at": DatabaseNow(60)})
        accepted()
        event(row=ended(State.DEAD, Reason.REJECTED))
        event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))
        delivered()
        event(row=ended(State.CANCELLED, Reason.OPERATOR, finished_at=DatabaseNow()))
        assert len(claim(limit=1).rows) == 1

        at = here()

        assert (at.waiting, at.in_flight, at.retrying, at.accepted) == (1, 1, 1, 1)
        assert (at.dead, at.unresolved, at.undelivered) == (1, 1, 4)

    def test_the_oldest_is_the_one_that_could_have_been_delivered_the_longest(self):
        event(row={"created_at": DatabaseNow(-500)})
        event(row={"created_at": DatabaseNow(-900), "not_before": DatabaseNow(-100)})
        event(
            row={"created_at": DatabaseNow(-9999), "not_before": DatabaseNow(600), "due_at": DatabaseNow(600)}
        )
        event(row=ended(State.DEAD, Reason.REJECTED, created_at=DatabaseNow(-9999)))

        assert here().oldest == pytest.approx(500, abs=5)

    def test_an_accepted_event_is_not_delivered_yet(self):
        accepted(created_at=DatabaseNow(-700))

        assert here().oldest == pytest.approx(700, abs=5)

    def test_deliveries_of_the_last_hour_and_their_share(self):
        for ago in (10, 3000, 4000):
            delivered(ago)
        event(row=ended(State.DEAD, Reason.REJECTED))
        event(row=ended(State.DEAD, Reason.REJECTED, created_at=DatabaseNow(-9999)))

        at = here()

        assert at.delivered_1h == 2
        assert at.success_1h == pytest.approx(2 / 3)

    def test_where_more_were_delivered_than_are_looked_at_that_is_said(self, monkeypatch):
        monkeypatch.setattr(status, "RECENT", 3)
        for _ in range(5):
            delivered()

        at = here()

        assert (at.delivered_1h, at.delivered_1h_is_least) == (3, True)

    def test_destinations_are_told_apart_and_come_in_the_order_of_the_setting(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"emea": one, "default": one}
        event(destination="emea")

        found = statuses()

        assert [(at.alias, at.waiting) for at in found] == [("emea", 1), ("default", 0)]
        assert [at.alias for at in statuses(["default"])] == ["default"]

    def test_events_of_a_destination_that_is_gone_are_seen(self):
        row = event()
        OutboxEvent.objects.filter(pk=row.pk).update(destination="gone")

        assert [(at.alias, at.configured, at.waiting) for at in statuses()] == [
            ("default", True, 0),
            ("gone", False, 1),
        ]

    def test_the_number_of_statements_does_not_grow_with_the_events(self):
        next_due.database_now()
        with CaptureQueriesContext(connection) as few:
            here()
        for _ in range(20):
            event()
            delivered()
        with CaptureQueriesContext(connection) as many:
            here()

        assert statements(few) == statements(many) <= 5


class TestHeldIsNotLate:
    """One dead event with followers in its key is no backlog and no outage."""

    @pytest.fixture
    def head(self):
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())
        return event(ordering_key="ORD-7", row=ended(State.DEAD, Reason.REJECTED))

    def look(self):
        now = next_due.database_now()
        (at,) = status.sampled(now, {}, 10_000)
        return at

    def test_followers_of_a_dead_event_are_counted_apart_from_age(self, head):
        for _ in range(14):
            event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)})
        event(ordering_key="ORD-8", row={"created_at": DatabaseNow(-20)})

        for at in (here(), self.look()):
            held = at.held_back
            assert (held.number, held.stuck, held.head, held.state) == (14, 14, head.pk, State.DEAD)
            assert held.sentence == f"14 held behind #{head.pk} (dead)"
            assert at.oldest == pytest.approx(20, abs=5)

    def test_so_is_one_that_a_worker_has_put_aside(self, head):
        event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)})
        assert claim().moved

        for at in (here(), self.look()):
            assert (at.held_back.stuck, at.oldest) == (1, None)

    def test_the_destination_is_neither_delayed_nor_fails_a_health_check(self, head):
        event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)})
        at = here()

        assert [each.kind for each in problems(at, Limits(max_dead=1))] == []
        (problem,) = problems(at, Limits())
        assert problem.kind == "dead"
        assert problem.message == f"1 event is dead (limit 0); 1 held behind #{head.pk} (dead)"
        assert summarize(at, conf.destination()).word == "person"

    def test_behind_a_waiting_event_of_its_key_it_is_held_but_needs_nobody(self):
        event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-30)})
        event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-9999)})

        for at in (here(), self.look()):
            assert (at.held_back.number, at.held_back.stuck, at.held_back.sentence) == (1, 0, "")
            assert at.oldest == pytest.approx(30, abs=5)

    def test_several_heads_are_not_hidden_behind_the_first(self, head):
        event(ordering_key="ORD-9", row=ended(State.UNRESOLVED, Reason.UNCONFIRMED))
        for key in ("ORD-7", "ORD-9", "ORD-9"):
            event(ordering_key=key)

        for at in (here(), self.look()):
            assert at.held_back.sentence == f"3 held behind #{head.pk} (dead) and others"

    def test_a_lower_bound_is_said(self, head):
        for _ in range(5):
            event(ordering_key="ORD-7")

        (at,) = status.sampled(next_due.database_now(), {}, 3)

        assert at.held_back.sentence == f"3+ held behind #{head.pk} (dead)"

    def test_with_block_key_on_dead_off_nothing_is_held(self, head, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"default": {**one, "BLOCK_KEY_ON_DEAD": False}}
        event(ordering_key="ORD-7", row={"created_at": DatabaseNow(-500)})

        assert here().held_back.number == 0
        assert here().oldest == pytest.approx(500, abs=5)


class TestProblems:
    @pytest.fixture
    def well(self):
        now = next_due.database_now()
        Destination.objects.update(heartbeat_at=now)
        return here()

    def kinds(self, at, limits=None):
        return [problem.kind for problem in problems(at, limits or Limits())]

    def test_a_healthy_destination_has_none(self, well):
        assert self.kinds(well) == []

    @pytest.mark.parametrize(("age", "kinds"), [(None, []), (299, []), (301, ["age"])])
    def test_an_old_event(self, age, kinds, well):
        assert self.kinds(replace(well, oldest=age)) == kinds

    def test_the_limits_are_the_askers(self, well):
        at = replace(well, oldest=20.0, dead=3)

        assert self.kinds(at, Limits(max_age=10, max_dead=3)) == ["age"]
        assert self.kinds(at, Limits(max_age=30, max_dead=2)) == ["dead"]

    def test_no_worker_ever(self, well):
        (problem,) = problems(replace(well, health=Destination()), Limits())

        assert (problem.kind, problem.message) == ("worker", "no worker has ever reported")
        assert "manage.py qcluster" in problem.remedy

    @pytest.mark.parametrize(("ago", "kinds"), [(10, []), (170, []), (190, ["worker"])])
    def test_a_worker_that_fell_silent(self, ago, kinds, well):
        Destination.objects.update(heartbeat_at=DatabaseNow(-ago))

        assert self.kinds(here()) == kinds

    @pytest.mark.parametrize(
        ("kind", "found"),
        [
            ("auth", ["paused"]),
            ("permission", ["paused"]),
            ("config", ["paused"]),
            ("rate", []),
            ("network", []),
        ],
    )
    def test_a_pause_that_only_people_end(self, kind, found, well):
        Destination.objects.update(paused_until=DatabaseNow(60), paused_kind=kind, paused_reason="why")

        assert self.kinds(here()) == found

    def test_a_missing_read_right_says_what_to_grant(self, well):
        Destination.objects.update(
            check_paused_until=DatabaseNow(60),
            check_paused_kind="permission",
            check_paused_reason="HTTP 403",
        )

        (problem,) = problems(here(), Limits())

        assert problem.kind == "checks_paused"
        assert "eventbridge:events:read" in problem.remedy
        assert "CONFIRM" in problem.remedy

    @pytest.mark.parametrize("kind", ["auth", "config", ""])
    def test_for_other_trouble_with_checks_nobody_is_advised_to_call_everything_delivered(self, kind, well):
        Destination.objects.update(
            check_paused_until=DatabaseNow(60), check_paused_kind=kind, check_paused_reason="HTTP 404"
        )

        (problem,) = problems(here(), Limits())

        assert problem.kind == "checks_paused"
        assert problem.remedy == "manage.py eventbridge_ping --destination default"

    @pytest.mark.parametrize("kind", ["network", "rate"])
    def test_checks_that_go_on_without_help_call_nobody(self, kind, well):
        Destination.objects.update(check_paused_until=DatabaseNow(60), check_paused_kind=kind)

        assert list(problems(here(), Limits())) == []

    @pytest.mark.parametrize("state", ["dead", "unresolved"])
    def test_what_waits_for_a_person(self, state, well):
        (problem,) = problems(replace(well, **{state: 1}), Limits())

        assert (problem.kind, problem.message) == (state, f"1 event is {state} (limit 0)")
        assert f"--state {state}" in problem.remedy

    def test_where_a_retry_would_skip_every_unresolved_event_they_are_listed(self, well):
        (problem,) = problems(replace(well, unresolved=1, honours_key=False), Limits())
        (dead,) = problems(replace(well, dead=1, honours_key=False), Limits())

        assert problem.remedy == "manage.py eventbridge_list --destination default --state unresolved"
        assert dead.remedy == "manage.py eventbridge_retry --destination default --state dead --dry-run"

    def test_a_destination_whose_platform_knows_no_keys(self, well, settings):
        one = {**settings.GENESYS_EVENTBRIDGE["default"], "PROTOCOL": "webhook", "WEBHOOK_TOKEN": "t" * 32}
        settings.GENESYS_EVENTBRIDGE = {"default": one}

        assert not here().honours_key

    def test_a_destination_that_is_gone(self, well):
        gone = replace(well, configured=False, waiting=3, dead=1, health=Destination())
        held = replace(gone, health=Destination(held_by="ana", held_reason="another project's"))

        assert self.kinds(gone) == ["not_configured"]
        assert self.kinds(replace(gone, waiting=0)) == []
        assert self.kinds(held) == []

    def test_one_of_another_project_is_not_judged(self, well):
        assert self.kinds(replace(well, configured=False, waiting=3, oldest=9999.0)) == []

    def test_texts_of_the_platform_stay_on_one_line(self, well):
        Destination.objects.update(
            paused_until=DatabaseNow(60), paused_kind="auth", paused_reason="a\nPROBLEM forged \x1b[31m"
        )

        (problem,) = problems(here(), Limits())

        assert "\n" not in problem.message
        assert "\x1b" not in problem.message


class TestTheLook:
    """The dashboard's way: so many events of each kind, whatever there are."""

    def look(self, most=10_000):
        now = next_due.database_now()
        return status.sampled(now, figures(now), most)

    def test_it_says_what_counting_says(self):
        event()
        event()
        event(row={"created_at": DatabaseNow(-500)})
        event(delay=60)
        event(row={"attempts": 2, "due_at": DatabaseNow(60)})
        event(row={"attempts": 2, "due_at": DatabaseNow(-60)})
        event(row={"created_at": DatabaseNow(-9999), "not_before": DatabaseNow(60)})
        accepted(created_at=DatabaseNow(-700))
        event(row=ended(State.DEAD, Reason.REJECTED))
        event(row=ended(State.UNRESOLVED, Reason.OUTCOME_UNKNOWN))
        assert len(claim(limit=2).rows) == 2

        (counted,), (at,) = statuses(), self.look()

        assert at.oldest == pytest.approx(counted.oldest, abs=5)
        at = replace(at, now=counted.now, oldest=counted.oldest, success_1h=counted.success_1h)
        assert at == counted

    def test_where_there_are_more_than_it_looks_at_it_says_so(self):
        for _ in range(5):
            event()
            event(row={"attempts": 2, "due_at": DatabaseNow(60)})
            event(row=ended(State.DEAD, Reason.REJECTED))
        accepted()

        (at,) = self.look(most=3)

        assert at.least == {"waiting", "retrying", "in_flight", "dead", "oldest", "held"}
        assert (at.waiting, at.retrying, at.dead, at.accepted) == (3, 3, 3, 1)
        assert at.shown(at.dead, "dead") == "3+"
        assert at.shown(at.accepted, "accepted") == "1"

    def test_the_last_hour_is_told_by_the_roll_up(self):
        counters.add("default", {"delivered": 99, "dead": 1})

        (at,) = self.look()

        assert (at.delivered_1h, at.success_1h) == (99, 0.99)

    def test_destinations_are_told_apart_and_those_that_are_gone_only_with_events(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {"emea": one, "default": one}
        event(destination="emea")
        row = event()
        OutboxEvent.objects.filter(pk=row.pk).update(destination="gone")
        for alias in ("gone", "long gone"):
            Destination.objects.create(alias=alias)

        assert [(at.alias, at.configured, at.waiting) for at in self.look()] == [
            ("emea", True, 1),
            ("default", True, 0),
            ("gone", False, 1),
        ]

    def test_the_number_of_statements_grows_with_nothing(self, settings):
        one = settings.GENESYS_EVENTBRIDGE["default"]
        settings.GENESYS_EVENTBRIDGE = {f"org{number}": one for number in range(5)}
        for number in range(5):
            event(destination=f"org{number}")
        now = next_due.database_now()

        with CaptureQueriesContext(connection) as queries:
            assert len(status.sampled(now, {}, 10)) == 5
        assert statements(queries) == 2

    def test_planned_attempts_are_told_by_the_five_minutes_in_which_they_come(self):
        now = next_due.database_now()
        for seconds in (10, 290, 310, 6 * 3600):
            event(row={"attempts": 1, "due_at": DatabaseNow(seconds)})
        event(row={"attempts": 1, "due_at": DatabaseNow(-10)})
        event(delay=60)
        event(row={"key_held": True, "due_at": DatabaseNow(60)})
        assert len(claim(limit=1).rows) == 1

        assert coming(["default"], now, 10) == ({0: 3, 1: 1, BARS: 1}, False)
        assert coming(["default"], now, 3) == ({0: 2}, True)
        assert coming([], now, 2) == ({}, False)


class TestTheJudgement:
    @pytest.fixture
    def well(self):
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow(), accepted_at=DatabaseNow())
        return here()

    def said(self, at):
        found = summarize(at, conf.destination() if at.configured else None)
        return found.word, found.title

    def test_all_well(self, well):
        assert self.said(well) == ("well", "Working normally")

    @pytest.mark.parametrize(
        ("changes", "word", "title"),
        [
            ({"oldest": 840.0}, "delayed", "Delayed: oldest event waiting for 14 min"),
            ({"oldest": 299.0}, "well", "Working normally"),
            ({"dead": 1}, "person", "Working; 1 event needs an operator"),
            ({"dead": 1200, "unresolved": 4}, "person", "Working; 1,204 events need an operator"),
            (
                {"dead": 10_000, "least": frozenset({"dead"})},
                "person",
                "Working; 10,000+ events need an operator",
            ),
            ({"dead": 1, "oldest": 840.0}, "delayed", "Delayed: oldest event waiting for 14 min"),
            ({"configured": False, "waiting": 3}, "unused", "Not configured"),
            (
                {"configured": False, "waiting": 3, "health": Destination()},
                "unknown",
                "Stopped: no longer in the settings",
            ),
        ],
    )
    def test_numbers(self, well, changes, word, title):
        assert self.said(replace(well, **changes)) == (word, title)

    @pytest.mark.parametrize(
        ("columns", "word", "title"),
        [
            ({"heartbeat_at": DatabaseNow(-600)}, "stopped", "Stopped: no worker"),
            ({"held_by": "ana", "held_reason": "why"}, "held", "Paused by an operator"),
            ({"held_by": "ana", "held_until": DatabaseNow(-1)}, "well", "Working normally"),
            ({"paused_until": DatabaseNow(60), "paused_kind": "network"}, "paused", "Paused"),
            ({"paused_until": DatabaseNow(-1), "paused_kind": "network"}, "paused", "Trying again"),
            ({"check_paused_until": DatabaseNow(60)}, "paused", "Checks paused"),
        ],
    )
    def test_its_row(self, well, columns, word, title):
        Destination.objects.update(**columns)

        assert self.said(here()) == (word, title)

    def test_what_was_never_used_is_not_in_trouble(self, well):
        never = replace(well, health=Destination())

        assert self.said(never) == ("unused", "Not used yet")
        for name in ("waiting", "dead", "unresolved"):
            assert self.said(replace(never, **{name: 1})) == ("stopped", "Stopped: no worker")

    def test_it_brings_the_problems_with_what_to_type(self, well):
        found = summarize(replace(well, dead=1), conf.destination())

        assert [problem.kind for problem in found.problems] == ["dead"]
        assert "eventbridge_retry" in found.problems[0].remedy

    def test_the_gravest_is_told_first(self):
        def judged(*words):
            return [Summary(word, word, "") for word in words]

        for words, first in [
            (["well", "person", "stopped", "held"], "stopped"),
            (["unused", "well"], "well"),
            (["held", "delayed"], "held"),
        ]:
            found = worst(judged(*words))
            assert found is not None
            assert found.word == first
        assert worst([]) is None

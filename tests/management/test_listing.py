"""eventbridge_list, and eventbridge_show by subject: search and filters of the admin, in a terminal."""

import csv
import io
import json
import sys

import pytest
from django.core.management import load_command_class

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import listing, show
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import ended, event
from tests.prompt import run, run_json

pytestmark = pytest.mark.django_db


def dead(subject="ORD-4711", kind="order.created", **row):
    return event(kind, subject=subject, row=ended(State.DEAD, Reason.REJECTED, **row))


class TestList:
    def test_each_event_is_a_line_newest_first_with_its_ids_first(self):
        first = event("order.paid", subject="ORD-1")
        second = dead(last_error="HTTP 400: no\x1bsuch field")

        lines = run("list").out.splitlines()

        assert lines[0].startswith(
            f"#{second.pk}  {second.event_id}  dead (rejected)  order.created  ORD-4711  "
        )
        assert lines[0].endswith("HTTP 400: no\\x1bsuch field")
        assert lines[1].startswith(f"#{first.pk}  {first.event_id}  pending  order.paid  ORD-1  ")
        assert lines[2] == "2 events (all events)."

    def test_a_text_and_filters_combine(self):
        dead()
        dead("ORD-4712")
        event(subject="ORD-4711")

        ran = run("list", "ord-4711", "--state", "dead", "--type", "order.created")

        assert ran.out.count("ORD-4711  ") == 1
        assert ran.out.splitlines()[-1] == "1 event (dead, type order.created, found by “ord-4711”)."

    @pytest.mark.parametrize(
        ("flags", "names"),
        [
            (["--state", "dead", "--state", "pending"], {"dead", "refused", "head", "behind"}),
            (["--reason", "exhausted"], {"refused"}),
            (["--status-code", "503"], {"refused"}),
            (["--status-code", "4xx"], {"dead"}),
            (["--ordering-key", "K"], {"head", "behind"}),
            (["--subject", "S-1"], {"dead"}),
            (["--error", "GATEWAY"], {"refused"}),
            (["--held"], {"behind"}),
            (["--since", "2h", "--until", "2999-01-01"], {"dead", "refused", "head", "behind", "done"}),
            (["--since", "2999-01-01"], set()),
            (["--finished-since", "1h", "--finished-until", "2999-01-01"], {"done"}),
            (["--destination", "default", "--type", "nothing"], set()),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_the_filters_are_those_of_the_admin(self, flags, names):
        made = {
            "dead": dead("S-1", last_status_code=400),
            "refused": event(
                row=ended(State.DEAD, Reason.EXHAUSTED, last_status_code=503, last_error="bad gateway")
            ),
            "head": event(ordering_key="K", row=ended(State.DEAD, Reason.REJECTED)),
            "behind": event(ordering_key="K"),
            "done": event(row=ended(State.DELIVERED, finished_at=DatabaseNow())),
        }

        found = {json.loads(line)["id"] for line in run_json("list", *flags).out.splitlines()}

        assert {name for name, row in made.items() if row.pk in found} == names

    def test_json_is_one_event_per_line_and_csv_a_table(self):
        rows = [event("order.created", {"name": "canary"}) for _ in range(3)]
        ids = [row.pk for row in rows[::-1]]

        lines = run_json("list").out.splitlines()
        table = list(csv.DictReader(io.StringIO(run("list", "--format", "csv").out)))

        assert [json.loads(line)["id"] for line in lines] == ids
        assert [int(cells["id"]) for cells in table] == ids
        assert "canary" not in "".join(lines)
        assert "canary" in run_json("list", "--payload").out
        assert "canary" in run("list", "--payload", "--format", "csv").out

    def test_a_limit_takes_the_newest_and_says_that_there_may_be_more(self, monkeypatch):
        monkeypatch.setattr(listing, "PAGE", 2)
        rows = [event() for _ in range(5)]

        ran = run("list", "--limit", "3")

        assert [line.split()[0] for line in ran.out.splitlines()[:-1]] == [
            f"#{row.pk}" for row in rows[:1:-1]
        ]
        assert ran.out.splitlines()[-1] == "3 events (all events). There may be more: --limit was reached."
        assert len(run_json("list", "--limit", "3").out.splitlines()) == 3
        assert "There may be more" not in run("list", "--limit", "9").out

    def test_without_a_hit_it_says_what_was_searched_and_the_nearest(self):
        event(subject="ORD-4711")

        ran = run("list", "ORD-4712")

        assert ran.code == 0
        assert "No event matches (found by “ORD-4712”)." in ran.out
        assert "correlation id" in ran.out
        assert "  -> manage.py eventbridge_show ORD-4711" in ran.out
        assert run_json("list", "ORD-4712").out == ""
        assert run("list", "--state", "dead").out == "0 events (dead).\n"

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (["--since", "2026-01-02", "--until", "2026-01-01"], "--since must be before --until"),
            (["--finished-since", "1h", "--finished-until", "2h"], "--finished-since must be before"),
            (["--state", "pending", "--reason", "rejected"], "--reason needs --state dead"),
            (["--subject", ""], "--subject must not be empty"),
            (["--destination", "nowhere"], "--destination: "),
            ([" "], "TEXT must not be empty"),
        ],
        ids=str,
    )
    def test_what_means_nothing_is_a_usage_error_that_names_the_flag(self, arguments, error):
        ran = run("list", *arguments)

        assert ran.code == 2
        assert error in ran.error

    @pytest.mark.parametrize("code", ["99", "600", "6xx", "abc", ""])
    def test_a_status_that_is_none_is_a_usage_error(self, code):
        ran = run("list", "--status-code", code)

        assert "argument --status-code: " in ran.error
        assert "write an HTTP status such as 503" in ran.error

    def test_a_reader_that_has_enough_is_no_error(self, monkeypatch):
        """Like ``eventbridge_list | head``."""

        class Closed(io.StringIO):
            def write(self, text):
                raise BrokenPipeError

        event()
        with open("/dev/null", "w") as sink:  # noqa: PTH123 - a real file, whose descriptor is replaced
            monkeypatch.setattr(sys, "stdout", sink)
            command = load_command_class("genesys_eventbridge", "eventbridge_list")
            parser = command.create_parser("manage.py", "eventbridge_list")
            options = vars(parser.parse_args([]))
            command.execute(**{**options, "stdout": Closed(), "no_color": True})


class TestShow:
    def test_a_subject_shows_its_event(self):
        row = dead()

        for text in ("ORD-4711", "ord-4711", "4711", f"#{row.pk}", row.event_id):
            assert run("show", text).out.startswith(f"Event {row.pk}  order.created"), text

    def test_several_events_are_listed_newest_first_with_a_command_for_each(self, monkeypatch):
        monkeypatch.setattr(show, "MOST", 2)
        rows = [event(subject="ORD-4711") for _ in range(2)]

        ran = run("show", "ORD-4711")

        assert ran.out.splitlines()[0] == "2 events are found by 'ORD-4711', newest first:"
        assert ran.out.splitlines()[2::2] == [
            f"  -> manage.py eventbridge_show {row.pk}" for row in rows[::-1]
        ]
        assert [each["id"] for each in run_json("show", "ORD-4711").data["events"]] == [
            row.pk for row in rows[::-1]
        ]
        assert not run_json("show", "ORD-4711").data["more"]

        event(subject="ORD-4711 b'x")
        ran = run("show", "ORD-4711")
        assert ran.out.splitlines()[0] == "More than 2 events are found by 'ORD-4711', newest first:"
        assert ran.out.splitlines()[-1] == "  -> manage.py eventbridge_list ORD-4711"
        assert run_json("show", "ORD-4711").data["more"]

    def test_a_number_is_the_number_of_an_event_first(self):
        row = event(subject="x")
        event(subject=f"ORD-{row.pk}")

        assert run("show", str(row.pk)).out.startswith(f"Event {row.pk}  ")

    def test_nothing_found_says_what_was_searched_and_the_nearest(self):
        event(subject="ORD-4711 it's")

        ran = run("show", "ORD-4712")

        assert ran.code == 1
        assert "No event 'ORD-4712'." in ran.error
        assert "in any case" in ran.error
        assert """eventbridge_show 'ORD-4711 it'"'"'s'""" in ran.error

    @pytest.mark.parametrize(
        ("row", "commands"),
        [
            (ended(State.DEAD, Reason.REJECTED), ["retry {} --state dead", "cancel {}"]),
            (
                ended(State.UNRESOLVED, Reason.UNCONFIRMED),
                ["resolve {} --delivered", "resolve {} --not-delivered", "resolve {} --give-up"],
            ),
            ({}, []),
        ],
        ids=["dead", "unresolved", "pending"],
    )
    def test_what_can_be_done_is_a_command_to_type(self, row, commands):
        made = event(row=row)

        out = run("show", str(made.pk)).out

        expected = [f'eventbridge_{each.format(made.pk)} --because "TEXT"' for each in commands]
        assert [
            line[len("  -> manage.py ") :] for line in out.splitlines() if "-> manage" in line
        ] == expected

"""What every command promises: flags, exit codes 0, 1, 2, 3, two formats, and errors that say what to do."""

import argparse
import importlib
import io
import json
import os
import pkgutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError, CommandParser
from django.db import ProgrammingError
from django.utils import timezone, translation

from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.management import arguments, commands
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted, listed
from genesys_eventbridge.models import EventAct
from genesys_eventbridge.reporting import status
from genesys_eventbridge.states import Reason, State
from tests.outbox_rows import accepted, ended, event
from tests.prompt import run, sandboxed, shell, start

pytestmark = pytest.mark.django_db

NAMES = [name for _finder, name, _package in pkgutil.iter_modules(commands.__path__)]
OURS = [
    name
    for name in NAMES
    if issubclass(importlib.import_module(f"{commands.__name__}.{name}").Command, OutboxCommand)
]
#: Arguments with which a command has something to do.
ARGUMENTS = {
    "eventbridge_enqueue": ["order.created", "--data", "{}"],
    "eventbridge_show": ["1"],
    "eventbridge_cancel": ["1", "--because", "test"],
    "eventbridge_resolve": ["1", "--delivered", "--because", "test"],
    "eventbridge_pause": ["default", "--because", "test"],
    "eventbridge_resume": ["default"],
    "eventbridge_alert": ["--check"],
    "eventbridge_replay": ["--since", "1h", "--because", "test"],
}
#: Times whose year is another one, or none, in another time zone.
EDGES = ("0001-01-01T00:00+14:00", "0001-01-01", "9999-12-31T23:59:59-12:00")
PROMISED = "publish poll retry status show enqueue ping cancel resolve pause resume schedules prune metrics"


def parser_of(name) -> CommandParser:
    command = load_command_class("genesys_eventbridge", name)
    vars(command)["_called_from_command_line"] = (
        True  # as manage.py sets it: an error of usage ends the process
    )
    return command.create_parser("manage.py", name)


def takes_destination(name) -> bool:
    flags = {flag for action in parser_of(name)._actions for flag in action.option_strings}
    return "--destination" in flags and name != "eventbridge_ping"  # ping looks at it as one of its steps


@pytest.mark.parametrize("name", PROMISED.split())
def test_the_promised_commands_are_there(name):
    assert f"eventbridge_{name}" in OURS


@pytest.mark.parametrize("name", OURS)
def test_each_command_documents_the_keys_of_its_json(name):
    module = importlib.import_module(f"{commands.__name__}.{name}")

    assert "JSON:" in (module.__doc__ or "")


@pytest.mark.parametrize("name", OURS)
def test_help_can_be_printed_and_says_what_the_command_does(name, capsys):
    text = parser_of(name).format_help()

    assert "--format" in text
    assert len(load_command_class("genesys_eventbridge", name).help) > 20


@pytest.mark.parametrize("name", OURS)
def test_a_usage_error_ends_with_2(name, capsys):
    with pytest.raises(SystemExit) as end:
        parser_of(name).parse_args([*ARGUMENTS.get(name, []), "--no-such-flag"])

    assert end.value.code == 2


@pytest.mark.parametrize("name", [name for name in OURS if takes_destination(name)])
def test_an_unknown_destination_is_an_error_that_names_flag_and_remedy(name):
    ran = run(name.removeprefix("eventbridge_"), *ARGUMENTS.get(name, []), "--destination", "defualt")

    assert ran.code == 2
    assert "--destination" in ran.error
    assert "Did you mean 'default'?" in ran.error


@pytest.mark.django_db(transaction=True)
def test_exit_codes_reach_the_shell():
    """Real processes; the rest is judged in this one. Django 6.1's own checks open the database first."""
    codes = [
        shell(*arguments).code
        for arguments in (
            ["eventbridge_status", "--help"],
            ["eventbridge_show"],
            ["eventbridge_pause", "nowhere", "--because", "x"],
            ["eventbridge_show", "nothing"],
        )
    ]

    assert codes == [0, 2, 2, 1]


@pytest.mark.django_db(transaction=True)
def test_a_result_that_needs_a_person_ends_with_3_in_the_shell():
    event(row=ended(State.DEAD, "rejected"))

    ran = shell("eventbridge_status", "--check", "--format", "json")

    assert (ran.code, ran.err) == (3, "")
    assert ran.data["needs_person"] is True


@pytest.mark.django_db(transaction=True)
def test_output_that_is_not_utf_8_shows_escapes():
    event(subject="café")

    ran = start("eventbridge_list", PYTHONIOENCODING="ascii")
    out, err = ran.communicate(timeout=60)

    assert (ran.returncode, err) == (0, "")
    assert "caf\\xe9" in out


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("words", "then"),
    [
        (["eventbridge_status"], "the command has done its work."),
        (["eventbridge_status", "--watch"], "nothing is shown any more."),
        (["eventbridge_sandbox", "--port", "0", "--allow-production"], "the sandbox has ended."),
    ],
)
def test_a_full_disk_is_one_line(words, then):
    with Path("/dev/full").open("w") as full:
        ran = start(*words, stdout=full, PYTHONUNBUFFERED="")
        _out, err = ran.communicate(timeout=60)

    (line,) = err.splitlines()
    assert line == f"CommandError: The output could not be written (No space left on device); {then}"
    assert ran.returncode == 1


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_is_watched_ends_with_its_reader():
    """Like ``eventbridge_status --watch | head -1``."""
    read, write = os.pipe()
    ran = start("eventbridge_status", "--watch", stdout=write)
    os.close(write)
    os.close(read)
    _out, err = ran.communicate(timeout=60)

    assert (ran.returncode, err) == (0, "")


def test_a_sandbox_outlives_the_reader_of_its_settings(monkeypatch):
    """Like ``eventbridge_sandbox | head -3``."""
    written = []

    def write(text):
        written.append(text)
        raise BrokenPipeError

    with Path(os.devnull).open("w") as sink:
        monkeypatch.setattr(sys, "stdout", sink)
        command: Any = load_command_class("genesys_eventbridge", "eventbridge_sandbox")
        command.stdout = SimpleNamespace(write=write)
        command._say("the settings")

    assert written == ["the settings"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("list", ["--subject="], "--subject must not be empty."),
        ("sandbox", ["--host=::"], "--host: '::' is not loopback: others can reach it."),
        ("sandbox", ["--webhook-token="], "--webhook-token: must be 4 to 255 letters, digits or the "),
    ],
)
def test_a_usage_error_reads_like_one_of_argparse(name, arguments, message):
    production = ["--allow-production"] if name == "sandbox" else []

    ran = shell(f"eventbridge_{name}", *arguments, *production)

    assert ran.err.startswith(f"manage.py eventbridge_{name}: error: {message}")
    assert ran.code == 2


def test_a_missing_table_is_one_line_with_the_remedy(monkeypatch):
    def missing(*args):
        raise ProgrammingError("relation does not exist\nLINE 1: SELECT secret-canary")

    monkeypatch.setattr(status, "statuses", missing)

    ran = run("status")

    assert ran.code == 1
    assert "manage.py migrate" in ran.error
    assert "canary" not in ran.error


def test_words_are_english_whatever_the_language_of_the_site(monkeypatch):
    spoken = []

    def statuses(aliases):
        spoken.append(translation.get_language())
        return []

    monkeypatch.setattr(status, "statuses", statuses)
    with translation.override("de"):
        run("status")

    assert spoken == [None]


class TestAsking:
    """``--no-input``, and never a question without a terminal."""

    @pytest.fixture
    def row(self):
        return event(row=ended(State.DEAD, "rejected"))

    @pytest.fixture
    def terminal(self, monkeypatch):
        class Keyboard(io.StringIO):
            def isatty(self):
                return True

        monkeypatch.setattr("sys.stdin", Keyboard())
        person = SimpleNamespace(says="n", asked=[])

        def answer(question):
            person.asked.append(question)
            return person.says

        monkeypatch.setattr("builtins.input", answer)
        return person

    def test_on_a_terminal_a_no_changes_nothing(self, row, terminal):
        ran = run("cancel", str(row.pk), "--because", "x", terminal=True)

        assert "Nothing was changed" in ran.out
        assert terminal.asked == ["Cancel 1 event permanently? [y/N] "]
        assert type(row).objects.get().state == State.DEAD

    @pytest.mark.parametrize(
        "command",
        [
            ["resolve", "{}", "--not-delivered", "--because", "x"],
            ["retry", "--state", "dead", "--because", "fixed"],
            ["prune", "--delivered-older-than", "30"],
            ["schedules", "--remove"],
        ],
        ids=lambda command: command[0],
    )
    def test_what_cannot_be_taken_back_is_asked_first(self, command, row, terminal):
        ran = run(*(word.format(row.pk) for word in command), terminal=True)

        assert (ran.code, ran.out, len(terminal.asked)) == (0, "Nothing was changed.\n", 1)

    def test_a_retry_that_harms_nobody_is_not_asked_about(self, row, terminal):
        run("retry", "--dry-run", terminal=True)
        run("retry", terminal=True)

        assert terminal.asked == []

    def test_on_a_terminal_a_yes_does_it(self, row, terminal):
        terminal.says = "y"

        assert "Cancelled 1 event" in run("cancel", str(row.pk), "--because", "x", terminal=True).out

    def test_the_end_of_the_input_is_a_no(self, row, terminal, monkeypatch):
        """Ctrl-D."""

        def end(question):
            raise EOFError

        monkeypatch.setattr("builtins.input", end)

        ran = run("cancel", str(row.pk), "--because", "x", terminal=True)

        assert (ran.code, ran.out) == (0, "\nNothing was changed.\n")
        assert type(row).objects.get().state == State.DEAD

    @pytest.mark.parametrize("flags", [["--no-input"], ["--dry-run"]], ids=str)
    def test_nobody_is_asked_with_no_input_or_a_dry_run(self, flags, row, terminal):
        run("cancel", str(row.pk), "--because", "x", *flags, terminal=True)

        assert terminal.asked == []

    def test_nobody_is_asked_where_the_answer_goes_to_a_file(self, row, terminal):
        run("cancel", str(row.pk), "--because", "x")

        assert terminal.asked == []
        assert type(row).objects.get().state == State.CANCELLED

    def test_nobody_is_asked_where_nobody_can_type(self, row, terminal, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO())

        run("cancel", str(row.pk), "--because", "x", terminal=True)

        assert terminal.asked == []


def test_a_host_that_does_not_know_its_user_keeps_the_command_as_the_actor(monkeypatch):
    """A container without an entry in passwd."""

    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    row = event(row=ended(State.DEAD, "rejected"))

    run("cancel", str(row.pk), "--because", "x")

    assert EventAct.objects.get().username == "eventbridge_cancel"


class TestArguments:
    @pytest.mark.parametrize("text", ["0", "-3", "1.5", "x", "", "٣", "9" * 40])
    def test_a_count_is_a_whole_number_of_1_or_more(self, text):
        with pytest.raises(argparse.ArgumentTypeError):
            arguments.count(text)

    @pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "x", ""])
    def test_seconds_are_a_number_above_0(self, text):
        with pytest.raises(argparse.ArgumentTypeError):
            arguments.seconds(text)

    @pytest.mark.parametrize("read", [arguments.seconds_or_zero, arguments.days, arguments.milliseconds])
    @pytest.mark.parametrize("text", ["1e300", "-1", "nan", "x"])
    def test_other_spans_end_somewhere_too(self, read, text):
        with pytest.raises(argparse.ArgumentTypeError, match="at most"):
            read(text)

    @pytest.mark.parametrize("text", ["-1", "65536", "x", ""])
    def test_a_port_is_one(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 65535"):
            arguments.port(text)

    def test_what_may_be_0_may_be_0(self):
        assert (arguments.count_or_zero("0"), arguments.seconds_or_zero("0")) == (0, 0.0)

    @pytest.mark.parametrize(
        ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), (" 1 h", 3600)]
    )
    def test_a_time_may_be_an_age(self, text, seconds):
        ago = (timezone.now() - arguments.moment(text)).total_seconds()

        assert ago == pytest.approx(seconds, abs=5)

    @pytest.mark.parametrize(
        ("text", "iso"),
        [
            ("2026-11-23", "2026-11-23T00:00:00+00:00"),
            ("2026-11-23T09:10", "2026-11-23T09:10:00+00:00"),
            ("2026-11-23 09:10:11", "2026-11-23T09:10:11+00:00"),
            ("2026-11-23T09:10+02:00", "2026-11-23T09:10:00+02:00"),
        ],
    )
    def test_a_time_may_be_iso_8601_in_the_zone_of_the_site(self, text, iso):
        assert arguments.moment(text).isoformat() == iso

    def test_a_time_is_naive_where_the_site_keeps_naive_times(self, settings):
        settings.USE_TZ = False

        assert timezone.is_naive(arguments.moment("2026-11-23T09:10+02:00"))

    @pytest.mark.parametrize(
        "text", ["", "yesterday", "2026-13-01", "2026-11-23T25:00", "5x", "999999999d", *EDGES]
    )
    def test_another_time_is_refused_with_samples(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="30m, 2h, 7d"):
            arguments.moment(text)

    @pytest.mark.parametrize("text", ["", "  ", "\t"])
    def test_a_reason_says_something(self, text):
        with pytest.raises(argparse.ArgumentTypeError):
            arguments.reason(text)

    def test_an_event_is_found_by_each_of_its_names(self):
        row = accepted()

        names = [str(row.pk), row.event_id, str(row.idempotency_key), row.remote_id]
        assert [arguments.event_numbers([name]) for name in names] == [[row.pk]] * 4
        assert arguments.event_numbers(names) == [row.pk]

    def test_where_one_is_not_found_none_is_acted_on(self):
        row = event()

        ran = run("cancel", str(row.pk), "no-such-id", "--because", "x")

        assert ran.code == 1
        assert "No event 'no-such-id'" in ran.error
        assert type(row).objects.get().state == State.PENDING

    def test_an_event_id_of_two_sources_names_both(self):
        first = event(event_id="ORD-7", source="com.example.a")
        second = event(event_id="ORD-7", source="com.example.b")

        with pytest.raises(CommandError, match="several events") as error:
            arguments.event_numbers(["ORD-7"])

        assert str(first.pk) in str(error.value)
        assert "com.example.b" in str(error.value)
        assert str(second.pk) in str(error.value)

    @pytest.mark.parametrize("text", ["9" * 18, "9" * 30, "x\r\ny", "'; DROP TABLE", ""])
    def test_any_text_may_be_asked_for(self, text):
        with pytest.raises(CommandError, match="No event"):
            arguments.event_numbers([text])


class TestOutput:
    @pytest.mark.parametrize(("count", "words"), [(0, "0 events"), (1, "1 event"), (1204, "1,204 events")])
    def test_numbers_read_well(self, count, words):
        assert counted(count, "event") == words

    def test_the_most_frequent_comes_first(self):
        assert listed({"a": 2, "b": 1100, "c": 2}) == "b 1,100 · a 2 · c 2"

    def test_json_has_always_the_same_end(self):
        assert json.loads(Result(data={"at": timezone.now()}).as_json())["needs_person"] is False


def test_two_runs_of_the_suite_do_not_meet():
    """The platform of these tests listens on a port of its own."""
    with sandboxed() as one, sandboxed() as other:
        assert one is not other


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given", [{"state": "dead"}, {"state": ["dead"]}, {"type": "order.created"}], ids=str
)
def test_a_repeatable_flag_may_be_one_text_where_code_calls_a_command(given):
    """Django passes keywords of ``call_command`` as they are, without the parser."""
    row = event("order.created", row=ended(State.DEAD, Reason.REJECTED))
    event("order.paid", row=ended(State.DELIVERED, finished_at=DatabaseNow()))

    out = io.StringIO()
    call_command("eventbridge_list", **given, stdout=out)

    assert row.event_id in out.getvalue()
    assert len(out.getvalue().strip().splitlines()) <= 3

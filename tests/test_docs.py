"""The pages say what the code does: each command, flag, setting, check, word and test they name exists."""

import ast
import dataclasses
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.apps import apps
from django.conf import global_settings
from django.core.management import CommandParser, get_commands, load_command_class
from django.core.management.base import CommandError
from django.dispatch import Signal

import genesys_eventbridge
from genesys_eventbridge import conf, schedules, signals
from genesys_eventbridge.admin.actions import VERBS
from genesys_eventbridge.checks import queue
from genesys_eventbridge.contrib.prometheus import EventBridgeCollector
from genesys_eventbridge.platform.outcomes import Halt, Rules, Sent, Verdict
from genesys_eventbridge.platform.protocols import BUILT_IN, Protocol
from genesys_eventbridge.sandbox import Scenario
from genesys_eventbridge.states import Reason, State
from genesys_eventbridge.text import DEFAULT_REDACT_KEYS
from tests import pages
from tests.judging import publish_outcome
from tests.pages import PAGES, ROOT, codes, first_cells, introduction, prose, rows, section

PACKAGE = Path(genesys_eventbridge.__file__).parent
COMMANDS = sorted(name for name, app in get_commands().items() if app == "genesys_eventbridge")
KEYS = {"REGION", *conf.DEFAULTS}
#: Settings of the example in docs/protocols.md.
EXAMPLE = {"GATEWAY_KEY", "GATEWAY_PATH"}
#: Capital words with an underscore that are nobody's setting.
OTHER_WORDS = {
    "DJANGO_SETTINGS_MODULE",
    "LISTEN",
    "NOTIFY",
    "CONN_MAX_AGE",
    "BASE_DIR",
    "CHAT_URL",
    "DEFAULT_REDACT_KEYS",
    "BENCH_ARGS",
    "EVENTBRIDGE_TEST_DATABASE",
    "EVENTBRIDGE_REQUIRE_GATEWAYS",
    "EVENTBRIDGE_REQUIRE_SPIN",
    "EVENTBRIDGE_TEST_DEPTH",
    "EVENTBRIDGE_SIMULATION",
    "RELIABLE_OUTBOX_PYTHON",
    "GENESYS_CLIENT_ID",
    "GENESYS_CLIENT_SECRET",
    "GENESYS_CRM_CLIENT_ID",
    "GENESYS_EVENTBRIDGE_HTTP",
    "GENESYS_EVENTBRIDGE_PARSER",
    "GENESYS_CRM_CLIENT_SECRET",
    "GENESYS_EVENTBRIDGE",
    "GENESYS_ORG_HOST",
    "GENESYS_WEBHOOK_TOKEN",
    "HTTPS_PROXY",
    "MONITORING_TOKEN",
    "PYTEST_ARGS",
    "Q_CLUSTER",
    "SSL_CERT_FILE",
    "SSLKEYLOGFILE",
    "TASKS",
    "TEST_DATABASES",
    "TEST_MYSQL_URL",
    "TEST_POSTGRESQL_URL",
    "TEST_PROCESSES",
    "TEST_REDIS_URL",
    "PUBLISH_ON_COMMIT",
    # keys of DATABASES
    "ATOMIC_REQUESTS",
    "OPTIONS",
    "DISABLE_SERVER_SIDE_CURSORS",
}
#: Named like commands.
METRICS = {
    f"{family.name}_total" if family.type == "counter" else family.name
    for family in EventBridgeCollector().describe()
}
#: Flags of other programs.
OTHER_FLAGS = {
    *("--backlog", "--parts", "--quick", "--rows", "--snapshot"),  # of the benchmarks
    "--database",
    "--deploy",
    "--exclude",
    "--hypothesis-profile",
    "--parallel",
    "--mutants",
    "--model",
    "--profile",
    "--recorded",
    "--choices",
    "--seed",
    "--seeds",
}

every_page = pytest.mark.parametrize("page", PAGES)
every_command = pytest.mark.parametrize("command", COMMANDS)


def parser_of(command: str) -> CommandParser:
    return load_command_class("genesys_eventbridge", command).create_parser("manage.py", command)


def flags_of(command: str) -> set[str]:
    """The flags that are its own, not those of every Django command."""
    flags = (flag for action in parser_of(command)._actions for flag in action.option_strings)
    djangos = {
        *("--help", "--version", "--verbosity", "--settings", "--pythonpath"),
        *("--traceback", "--no-color", "--force-color", "--skip-checks"),
    }
    return {flag for flag in flags if flag.startswith("--")} - djangos


def told_by(command: str) -> str:
    """What the command's module says of itself: also its JSON."""
    return importlib.import_module(f"genesys_eventbridge.management.commands.{command}").__doc__ or ""


def check_ids() -> set[str]:
    """The ids of the system checks, as the code writes them."""
    sources = (file.read_text("utf-8") for file in PACKAGE.rglob("*.py"))
    return {number for source in sources for number in re.findall(r'"([EW]0\d\d)"', source)}


class TestCommands:
    @every_page
    def test_every_line_can_be_typed_as_it_stands(self, page):
        for line in pages.command_lines(page):
            if line in METRICS:
                continue
            command, *arguments = shlex.split(line)
            assert command in get_commands(), f"{page}: manage.py {line}"
            if command in COMMANDS and arguments:
                try:
                    parser_of(command).parse_args(arguments)
                except CommandError as error:
                    pytest.fail(f"{page}: manage.py {line}: {error}")

    def test_the_lines_are_found(self):
        """Reading nothing would prove nothing."""
        lines = {line for page in PAGES for line in pages.command_lines(page)}

        assert {
            'eventbridge_cancel 42 43 --because "customer withdrew"',  # a comment behind it
            "eventbridge_publish --max-seconds 50 -v 0",  # a cron line
            "eventbridge_publish --loop -v 0",  # a list in a container's file
            "eventbridge_schedules --apply",  # the second of a line
            "eventbridge_retry --state dead --reason rejected",  # within a sentence
        } <= lines
        assert len(lines) > 60

    @every_command
    def test_every_flag_is_documented_with_its_command(self, command):
        text = introduction("docs/commands.md") + section("docs/commands.md", f"## {command}")
        if "#filters" in text:
            text += section("docs/commands.md", "## Filters")

        assert {flag for flag in flags_of(command) if not re.search(rf"{flag}(?![\w-])", text)} == set()

    @every_page
    def test_every_flag_that_is_named_exists(self, page):
        known = OTHER_FLAGS.union(*map(flags_of, COMMANDS))
        named = {flag for code in codes(prose(page)) for flag in re.findall(r"--[a-z][a-z-]+", code)}

        assert named <= known

    @every_command
    def test_every_key_of_the_json_is_documented_with_its_command(self, command):
        _, _, told = told_by(command).partition("JSON: ")
        keys = set(re.findall(r"``(\w+)``", told)) - {"needs_person"}

        assert keys <= codes(section("docs/commands.md", f"## {command}"))

    def test_every_scenario_of_the_sandbox_is_documented(self):
        assert set(Scenario) <= first_cells("docs/commands.md", "## eventbridge_sandbox")

    @every_page
    def test_every_make_target_exists(self, page):
        targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

        assert set(re.findall(r"(?:^ {4}|`)make ([a-z0-9-]+)", PAGES[page], re.MULTILINE)) <= targets


class TestSettings:
    def test_every_setting_stands_in_the_table_with_its_default(self):
        table = {row[0].strip("`"): row[1] for row in rows(section("docs/settings.md", "## All keys"))}

        assert {key: self._read(cell) for key, cell in table.items()} == {
            key: self._default(key) for key in KEYS
        }

    def test_the_built_in_list_is_the_one_shown(self):
        shown = section("docs/settings.md", "## REDACT_KEYS").partition("```python\n")[2].partition("```")[0]

        assert tuple(ast.literal_eval(shown)) == DEFAULT_REDACT_KEYS

    def test_the_defaults_in_the_readme_are_right(self):
        """A cell holds a default for each key, or one for all; words are left to the page of settings."""
        compared = 0
        for keys, cell, _ in rows(section("README.md", "## Settings")):
            names = re.findall(r"`(\w+)`", keys)
            assert set(names) <= KEYS
            seconds = re.sub(r"(\d+) h\b", lambda hours: str(int(hours[1]) * 3600), cell.replace("`", ""))
            try:
                values = ast.literal_eval(f"({seconds},)")
            except (SyntaxError, ValueError):
                continue
            values = values * len(names) if len(values) == 1 else values
            assert [_plain(value) for value in values] == [self._default(name) for name in names]
            compared += len(names)

        assert compared > 20

    @every_page
    def test_every_setting_that_is_named_exists(self, page):
        """A capital word with an underscore is a setting wherever it stands, one without only in code."""
        named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", PAGES[page]))
        alone = {word for code in codes(prose(page)) for word in re.findall(r"^[A-Z]{4,}$", code)}
        alone -= {verdict.name for verdict in Verdict}

        assert (named | alone) - KEYS - EXAMPLE - OTHER_WORDS - set(dir(global_settings)) == set()

    @every_page
    def test_every_dict_of_settings_is_complete_and_has_keys_that_exist(self, page):
        for value in pages.assigned(page, "GENESYS_EVENTBRIDGE"):
            assert isinstance(value, ast.Dict)
            for destination in value.values:
                assert isinstance(destination, ast.Dict)
                given = {
                    ast.literal_eval(key): value
                    for key, value in zip(destination.keys, destination.values, strict=True)
                    if key
                }
                name = ast.literal_eval(given["PROTOCOL"]) if "PROTOCOL" in given else "eventbridge"
                protocol = BUILT_IN.get(name)
                if page == "docs/testing.md" and set(given) == {"SOURCE"}:
                    continue  # the settings of a test run, which sends nothing
                assert {"SOURCE", *(protocol.credentials if protocol else ())} <= set(given)
                assert set(given) <= KEYS | (set() if protocol else EXAMPLE)
                assert not protocol or not protocol.unused & set(given)

    @every_page
    def test_every_cluster_that_is_shown_passes_the_checks(self, page, settings):
        for value in pages.assigned(page, "Q_CLUSTER"):
            settings.Q_CLUSTER = ast.literal_eval(value)
            assert list(queue.problems()) == []

    @staticmethod
    def _read(cell: str) -> Any:
        return cell.strip("*") if cell.startswith("*") else ast.literal_eval(cell.strip("`"))

    @staticmethod
    def _default(key: str) -> Any:
        if any(key in protocol.credentials for protocol in BUILT_IN.values()):
            return "optional"
        if key in ("API_BASE_URL", "LOGIN_BASE_URL"):
            return "derived"
        default = conf.DEFAULTS.get(key, dataclasses.MISSING)
        if default is dataclasses.MISSING:
            return "required"
        return "built-in list" if key == "REDACT_KEYS" else _plain(default)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class TestWords:
    def test_every_system_check_is_explained_and_no_other(self):
        assert first_cells("docs/troubleshooting.md", "## System checks") == check_ids()

    @every_page
    def test_every_check_that_is_named_exists(self, page):
        assert set(re.findall(r"\b[EW]0\d\d\b", PAGES[page])) <= check_ids()

    @pytest.mark.parametrize(
        ("heading", "words"),
        [
            ("## States", set(State)),
            ("## Reasons", set(Reason)),
            ("## Attempts", set(Verdict)),
            ("## Pauses", {*Halt, "operator"}),
        ],
    )
    def test_every_word_that_people_meet_is_explained_and_no_other(self, heading, words):
        assert first_cells("docs/troubleshooting.md", heading) == words

    def test_every_kind_of_problem_is_explained_and_no_other(self):
        kinds = re.search(r"kinds: ([a-z_,\s]+)\.", told_by("eventbridge_status"))
        assert kinds

        explained = first_cells("docs/troubleshooting.md", "## What eventbridge_status --check says")
        assert explained == set(re.split(r",\s+", kinds[1]))

    def test_every_permission_is_explained_and_no_other(self):
        models = apps.get_app_config("genesys_eventbridge").get_models()
        names = {
            name
            for meta in (model._meta for model in models)
            for name in (
                *(f"{action}_{meta.model_name}" for action in meta.default_permissions),
                *(codename for codename, _label in meta.permissions),
            )
        }

        assert first_cells("docs/operations.md", "## Who may do what") == names

    def test_every_action_of_the_admin_is_explained_with_its_permission_and_no_other(self):
        actions = {str(verb.label): f"`{verb.permission}_event`" for verb in VERBS.values()}

        assert {row[0]: row[1] for row in rows(section("docs/admin.md", "## Actions"))} == actions

    def test_every_signal_is_explained_and_no_other(self):
        names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}

        assert first_cells("docs/events.md", "## Signals") == names

    def test_every_schedule_is_named(self):
        assert {plan.name for plan in schedules.PLANS} <= codes(PAGES["docs/operations.md"])


class TestPlatform:
    """docs/platform.md, row by row: each status and body that is shown gets the verdict that is shown."""

    @pytest.mark.parametrize(
        ("heading", "protocols"),
        [
            ("### Protocol eventbridge", [BUILT_IN["eventbridge"]()]),
            ("### Protocol webhook", [BUILT_IN["webhook"](webhook_token="a-token-0123")]),  # type: ignore[call-arg]
            (
                "### Every protocol",
                [BUILT_IN["eventbridge"](), BUILT_IN["webhook"](webhook_token="a-token-0123")],  # type: ignore[call-arg]
            ),
        ],
        ids=["eventbridge", "webhook", "every protocol"],
    )
    def test_each_response_means_what_the_table_says(self, heading: str, protocols: list[Protocol]):
        sent = Sent(
            event_id="0b8f4c1e-58a5-4c0e-9d55-6a0e8f1d7a01", source="com.example", type="order.created"
        )
        table = list(rows(section("docs/platform.md", heading)))
        assert len(table) > 5
        for numbers, bodies, verdict, _means in table:
            shown = re.findall(r"`(\w+)`", verdict)
            for status in map(int, re.findall(r"\b\d{3}\b", numbers)):
                for content in self._bodies(bodies, status):
                    for protocol in protocols:
                        response = httpx.Response(status, content=content)
                        found = publish_outcome(response, sent, Rules(), protocol=protocol)
                        words = [found.verdict.value, *([found.halt.value] if found.halt else [])]
                        assert words == shown, f"{protocol.name}: {status} {content!r}"

    @staticmethod
    def _bodies(cell: str, status: int) -> Iterator[bytes]:
        error = json.dumps({"message": "no", "code": "bad.request", "status": status}).encode()
        if cell == "any":
            yield from (error, b"<html>no</html>", b"")
        if "error format" in cell:
            yield error
        yield from (code.encode() for code in codes(cell))


class TestGuarantees:
    def test_every_promise_is_there(self):
        promised = re.findall(r"^### (G\d+) ", section("docs/guarantees.md", "## Promised"), re.MULTILINE)

        assert promised == [f"G{number}" for number in range(1, 23)]

    def test_every_promise_names_tests_that_exist(self):
        promises = re.findall(r"^- .*(?:\n  .*)*", section("docs/guarantees.md", "## Promised"), re.MULTILINE)
        for promise in promises:
            named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", promise)
            assert named, f"names no test: {promise}"
            assert [test for path, test in named if test not in pages.tests_in(path)] == []

        assert len(promises) > 30

    def test_what_is_not_promised_says_what_you_do(self):
        lines = list(rows(section("docs/guarantees.md", "## Not promised")))

        assert len(lines) > 10
        assert [line for line in lines if len(line) != 2 or not all(line)] == []


class TestPages:
    @every_page
    def test_every_link_leads_somewhere(self, page):
        for link in pages.links(page):
            if not link.startswith("https://"):
                path, _, anchor = link.partition("#")
                target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
                assert target.exists(), link
                if target.suffix == ".rst":  # the anchors of Sphinx are its own
                    continue
                assert not anchor or anchor in pages.anchors(target.relative_to(ROOT).as_posix()), link

    def test_every_picture_is_there_is_described_and_is_shown(self):
        shown = {}
        for page in PAGES:
            for words, file in pages.images(page):
                shown[((ROOT / page).parent / file).resolve()] = words

        assert set(shown) == set((ROOT / "docs" / "images").resolve().iterdir())
        assert all(shown.values())
        assert sum(file.stat().st_size for file in shown) < 1_000_000

    @pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
    def test_every_page_is_linked_from_the_readme(self, page):
        assert page in pages.links("README.md")

    def test_the_readme_links_only_absolutely(self):
        """It is the description on the package index, where a relative link leads nowhere."""
        relative = [
            link for link in pages.written_links("README.md") if not link.startswith(("https://", "#"))
        ]

        assert relative == []

    def test_the_readme_reads_the_files_of_this_repository(self):
        found = [link for link in pages.written_links("README.md") if "django-genesys-eventbridge/" in link]

        assert len(found) > 20
        assert [link for link in found if not link.startswith((pages.IN_REPOSITORY, pages.RAW_FILES))] == []

    def test_every_page_is_in_the_navigation_of_the_site(self):
        """Written as ``name*``: a page that may not exist yet."""
        index = (ROOT / "docs" / "index.rst").read_text("utf-8")
        named = set(re.findall(r"^   ([a-z-]+)(?:\*)?$", index, re.MULTILINE))
        files = {file.stem for pattern in ("*.md", "*.rst") for file in (ROOT / "docs").glob(pattern)}

        assert files - {"index"} <= named
        assert set(re.findall(r"^   ([a-z-]+)$", index, re.MULTILINE)) <= files

    @every_page
    def test_every_python_block_is_python_and_imports_what_exists(self, page):
        for block in pages.python_blocks(page):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genesys_eventbridge"):
                    exec(ast.unparse(node), {})

"""docs/monitoring.md: its blocks run as they stand, and its tables list what the code has."""

import ast
import json
import logging
import logging.config
import re
import subprocess
import sys
import types

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from genesys_eventbridge import relay
from genesys_eventbridge.contrib.prometheus import COUNTED, SAMPLED, EventBridgeCollector, as_text, registry
from genesys_eventbridge.db.clock import DatabaseNow
from genesys_eventbridge.models import Destination
from genesys_eventbridge.operations import Actor, cancel
from genesys_eventbridge.reporting.judgement import LOOKED_AT
from tests import pages
from tests.contrib.test_monitoring import RULES
from tests.outbox_rows import event
from tests.package import PACKAGE, SOURCES
from tests.pages import codes, first_cells, rows, section
from tests.scripted import ScriptedPlatform

PAGE = "docs/monitoring.md"
VIEWS, REGISTRATION, CHECK, FORMATTER, JSON_LOGGING, Q_LOGGING = pages.python_blocks(PAGE)
JSON_BLOCKS = re.findall(r"^```json\n(.*?)^```", pages.PAGES[PAGE], re.MULTILINE | re.DOTALL)
BODY, LINE = (json.loads(block) for block in JSON_BLOCKS)


def module(name, source, monkeypatch) -> types.ModuleType:
    made = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(source, made.__dict__)
    return made


def keys_in_code() -> set[str]:
    """The keys of every dict that is passed to a logger as ``extra``."""
    found = set()
    for source in SOURCES.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.keyword) and node.arg == "extra":
                assert isinstance(node.value, ast.Dict), ast.unparse(node)
                found |= {ast.literal_eval(key) for key in node.value.keys if key is not None}
    return found


@pytest.mark.django_db
class TestBlocks:
    @pytest.fixture(autouse=True)
    def _a_worker_reports(self):
        Destination.objects.create(alias="default", heartbeat_at=DatabaseNow())

    def test_the_views(self, client, settings, monkeypatch):
        monkeypatch.setenv("MONITORING_TOKEN", "sample")
        settings.ROOT_URLCONF = module("monitored_urls", VIEWS, monkeypatch).__name__
        bearer = {"Authorization": "Bearer sample"}
        config = yaml.safe_load(
            re.findall(r"^```yaml\n(.*?)^```", pages.PAGES[PAGE], re.MULTILINE | re.DOTALL)[0]
        )

        metrics = client.get(config["scrape_configs"][0]["metrics_path"], headers=bearer)
        health = client.get("/health/eventbridge", headers=bearer)

        assert b"eventbridge_events{" in metrics.content
        assert (health.status_code, health.json()) == (200, {"healthy": True, "problems": []})
        assert client.get("/health/eventbridge").status_code == 401

    def test_the_answer_that_is_shown_is_one_of_the_view(self, client, settings, monkeypatch):
        monkeypatch.setenv("MONITORING_TOKEN", "sample")
        settings.ROOT_URLCONF = module("monitored_urls", VIEWS, monkeypatch).__name__
        for _ in range(2):
            event()
        relay.publish_due(transport=ScriptedPlatform(400, 400).transport)

        answer = client.get("/health/eventbridge", headers={"Authorization": "Bearer sample"})

        assert answer.json() == BODY

    def test_a_registry_of_yours(self, monkeypatch):
        registered: list = []
        monkeypatch.setattr(REGISTRY, "register", registered.append)

        exec(REGISTRATION, {})

        assert isinstance(registered[0], EventBridgeCollector)

    @pytest.mark.django_db(transaction=True)
    def test_the_health_check(self, client, settings, monkeypatch):
        settings.ROOT_URLCONF = module("checked_urls", CHECK, monkeypatch).__name__

        answer = client.get("/health/?format=json")

        assert answer.status_code == 200
        assert any("EventBridge" in name for name in answer.json())

    def test_a_line_of_json_has_the_keys_that_are_shown(self, monkeypatch, capsys):
        self.log_as_json(monkeypatch)
        event()

        relay.publish_due(transport=ScriptedPlatform(400).transport)

        (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
        assert line.keys() == LINE.keys()
        assert {name: line[name] for name in ("state", "reason", "verdict", "level", "logger")} == {
            name: LINE[name] for name in ("state", "reason", "verdict", "level", "logger")
        }

    def test_an_exception_and_what_json_does_not_know_are_text(self, monkeypatch, capsys):
        self.log_as_json(monkeypatch)
        try:
            raise ValueError("wrong")
        except ValueError:
            logging.getLogger("genesys_eventbridge").exception("It failed", extra={"event": object})

        (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
        assert line["exception"].endswith("ValueError: wrong")
        assert line["event"] == str(object)

    def log_as_json(self, monkeypatch):
        """Configure logging as shown; the handlers of the logger are restored afterwards."""
        logger = logging.getLogger("genesys_eventbridge")
        for name in ("handlers", "level", "propagate"):
            monkeypatch.setattr(logger, name, getattr(logger, name))
        shop = module("shop", "", monkeypatch)
        vars(shop)["logs"] = module("shop.logs", FORMATTER, monkeypatch)
        shown: dict = {}
        exec(JSON_LOGGING, shown)
        logging.config.dictConfig(shown["LOGGING"])


class TestTables:
    def test_every_metric_is_listed_with_its_type_and_labels(self, db):
        Destination.objects.create(alias="default")
        found = {}
        for family in text_string_to_metric_families(as_text(registry().collect())):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, labels)

        listed = {
            next(iter(codes(name))): (kind, codes(labels))
            for name, kind, labels, _is in rows(section(PAGE, "### What there is"))
        }
        assert listed == found

    def test_every_value_of_a_label_that_is_bounded_is_listed(self, db):
        text = section(PAGE, "### What there is")
        values = {
            value
            for family in text_string_to_metric_families(as_text(registry().collect()))
            for sample in family.samples
            for label, value in sample.labels.items()
            if label in {"verdict", "kind"}
        }

        assert values <= codes(text)

    def test_numbers_are_those_of_the_code(self):
        text = pages.PAGES[PAGE]

        assert f"at most {COUNTED:,} of each state" in text
        assert f"at most {SAMPLED:,} |" in text
        assert f"up to {LOOKED_AT:,} events" in text

    def test_every_alert_is_listed(self):
        named = {name for name in codes(section(PAGE, "### Dashboard and rules")) if "EventBridge" in name}

        assert named == set(RULES)

    def test_every_file_that_is_named_is_in_the_package(self):
        files = {name for name in first_cells(PAGE, "### Dashboard and rules") if "/" in name}

        assert {
            file.relative_to(PACKAGE / "contrib").as_posix()
            for file in (PACKAGE / "contrib" / "monitoring").iterdir()
        } == files

    def test_every_key_of_extra_is_listed_and_no_other(self):
        assert first_cells(PAGE, "### Keys in extra") == keys_in_code()


@pytest.mark.django_db(transaction=True)
class TestRecords:
    """Which records have which keys."""

    def keys(self, caplog, words) -> set[str]:
        standard = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
        (record,) = [record for record in caplog.records if words in record.getMessage()]
        return set(vars(record)) - standard

    def listed(self, *where) -> set[str]:
        table = list(rows(section(PAGE, "### Keys in extra")))
        return {
            next(iter(codes(key)))
            for key, _is, records in table
            if records.startswith(("all", "the same")) or records in where
        }

    def test_of_a_request(self, caplog):
        caplog.set_level(logging.INFO, "genesys_eventbridge")
        event()
        relay.publish_due(transport=ScriptedPlatform(400).transport)

        assert self.keys(caplog, "is dead") == self.listed("what a worker did", "a request")

    def test_of_an_end_without_a_request(self, caplog):
        caplog.set_level(logging.INFO, "genesys_eventbridge")
        event(row={"attempts": 12})
        relay.publish_due(transport=ScriptedPlatform().transport)

        assert self.keys(caplog, "without a request") == self.listed("what a worker did")

    def test_of_an_operators_act(self, caplog):
        caplog.set_level(logging.INFO, "genesys_eventbridge")
        cancel([event().pk], Actor("tests", name="ana"), "wrong")

        assert self.keys(caplog, "cancel by ana") == self.listed("an operator's act")


ENQUEUES = """
import logging.config
from django.conf import settings
from django.test.utils import override_settings
import django
settings.configure(
    SECRET_KEY="only-for-tests",
    INSTALLED_APPS=["django.contrib.contenttypes", "django_q"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    Q_CLUSTER={cluster!r},
    {logging}
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django_q.tasks import async_task
async_task("math.floor", 1.5)
"""


@pytest.mark.parametrize(
    ("cluster", "logged", "silent"),
    [
        ({}, "", False),
        ({}, Q_LOGGING.replace("# settings.py\n", ""), True),
        ({}, 'LOGGING = {"version": 1, "loggers": {"django-q": {"level": "WARNING"}}}', False),
        ({"log_level": "WARNING"}, "", True),
    ],
    ids=["default", "as shown", "a level alone", "log_level"],
)
def test_how_the_lines_of_django_q2_are_silenced(cluster, logged, silent):
    cluster = {"name": "shop", "orm": "default", "timeout": 60, "retry": 90, **cluster}
    shown = logged.strip().replace("LOGGING = ", "LOGGING=", 1) + "," if logged else ""
    code = ENQUEUES.format(cluster=cluster, logging=shown)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert ("Enqueued [shop]" not in done.stderr) is silent

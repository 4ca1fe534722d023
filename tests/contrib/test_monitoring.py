"""The dashboard and the alerting rules that are shipped: they use only what a real scrape contains.

If Prometheus's own ``promtool`` is installed (Debian: prometheus), it checks every expression and runs the
unit tests of the rules, too.
"""

import json
import re
import shutil
import subprocess
from itertools import combinations

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from genesys_eventbridge import counters
from genesys_eventbridge.contrib.prometheus import as_text, registry
from genesys_eventbridge.models import Destination
from genesys_eventbridge.reporting.explain import NO_WORKER_AFTER
from genesys_eventbridge.reporting.problems import Limits
from tests.package import PACKAGE
from tests.pages import ROOT

FOLDER = PACKAGE / "contrib" / "monitoring"
RULES_FILE = FOLDER / "rules.yml"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
TARGETS = [(panel, target) for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [target["expr"] for _panel, target in TARGETS] + [rule["expr"] for rule in RULES.values()]

#: A metric, its matchers in braces, and what is not one of its labels.
SELECTOR = re.compile(r"\b(eventbridge_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
BY = re.compile(r"\bby \(([^)]*)\)")
#: Prometheus adds these to each time series.
ADDED = {"instance", "job"}
#: Grafana replaces these.
VARIABLES = {"$destination": "default", "$__rate_interval": "5m"}

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    promtool is None, reason="promtool is not installed: PromQL is checked by its names and labels only"
)


def plain(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def words_of(template: str) -> set[str]:
    """The labels that a legend or an annotation mentions."""
    return set(re.findall(r"\$labels\.(\w+)", template)) | set(re.findall(r"\{\{\s*(\w+)\s*\}\}", template))


@pytest.fixture
def series(db) -> dict[str, list[dict[str, str]]]:
    """The labels of each time series of a scrape, by the name of its samples."""
    Destination.objects.create(alias="default")
    counters.add("default", {"publish:accepted": 1, "within:4": 1}, seconds=0.3)
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(as_text(registry().collect())):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def faults(expression: str, series) -> list[str]:
    """What an expression asks for that no scrape contains."""
    found = []
    labels: set[str] = set()
    for name, matchers in SELECTOR.findall(expression):
        if name not in series:
            found.append(f"no metric {name}")
            continue
        labels |= set(series[name][0])
        for label, operator, value in MATCHER.findall(matchers):
            if label not in series[name][0]:
                found.append(f"{name} has no label {label}")
                continue
            known = {each[label] for each in series[name]}
            wanted = set(value.split("|")) if "~" in operator else {value}
            found += [f"{label} is never {missing}" for missing in wanted - known]
    for group in BY.findall(expression):
        found += [
            f"by {label}, which no metric has" for label in set(re.findall(r"\w+", group)) - labels - ADDED
        ]
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_metric_label_and_value_that_is_asked_for_is_in_a_scrape(expression, series):
    assert SELECTOR.findall(expression)
    assert faults(plain(expression), series) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("max(eventbridge_event)", "no metric eventbridge_event"),
        ("eventbridge_published", "no metric eventbridge_published"),
        ('eventbridge_events{status="dead"}', "eventbridge_events has no label status"),
        ('eventbridge_events{state="died"}', "state is never died"),
        ('eventbridge_events{state=~"dead|died"}', "state is never died"),
        ("max by (verdict) (eventbridge_events)", "by verdict, which no metric has"),
    ],
)
def test_what_no_scrape_contains_is_found(expression, fault, series):
    assert faults(expression, series) == [fault]


def test_every_metric_is_on_the_dashboard(series):
    shown = {name for _panel, target in TARGETS for name, _ in SELECTOR.findall(target["expr"])}

    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in series}
    assert families == {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}


@pytest.mark.parametrize(("panel", "target"), TARGETS, ids=[target["expr"] for _, target in TARGETS])
def test_a_legend_names_labels_that_its_expression_keeps(panel, target):
    kept = set(re.findall(r"\w+", BY.findall(target["expr"])[0]))

    assert words_of(target["legendFormat"]) <= kept
    assert panel["datasource"] == target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_bad_it_is_and_what_to_do(name):
    rule = RULES[name]
    kept = set(re.findall(r"\w+", ", ".join(BY.findall(rule["expr"])[-1:])))

    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert words_of(" ".join(rule["annotations"].values())) <= kept


def test_several_processes_that_show_the_same_numbers_are_not_added_up():
    """Each selector is aggregated by max or min before anything is summed."""
    for expression in EXPRESSIONS:
        assert re.search(r"\b(max|min) by|absent", expression), expression
        assert not re.search(r"\bsum[^(]*\([^)]*\) \((?!max by)", expression), expression


def test_the_limits_are_those_of_status():
    limits = Limits()

    assert RULES["EventBridgeNoWorker"]["expr"].endswith(f" > {NO_WORKER_AFTER:.0f}")
    assert RULES["EventBridgeLate"]["expr"].endswith(f" > {limits.max_age:.0f}")
    for name in ("EventBridgeDead", "EventBridgeUnresolved"):
        assert RULES[name]["expr"].endswith(f" > {limits.max_dead}")


def test_panels_have_ids_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    places = [panel["gridPos"] for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(at["x"] + at["w"] <= 24 for at in places)
    assert [(a, b) for a, b in combinations(places, 2) if overlap(a, b)] == []


def overlap(a, b):
    across = a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
    return across and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def test_the_variables_of_the_dashboard_are_those_used():
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval"}

    assert used == defined
    (destinations,) = [each for each in DASHBOARD["templating"]["list"] if each["name"] == "destination"]
    assert destinations["query"]["query"] == "label_values(eventbridge_events, destination)"


def ran(*arguments, given=None):
    return subprocess.run(
        [str(promtool), *arguments], input=given, capture_output=True, text=True, check=False
    )


@needs_promtool
def test_prometheus_itself_accepts_the_rules():
    done = ran("check", "rules", str(RULES_FILE))

    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@needs_promtool
def test_prometheus_itself_accepts_each_expression_of_the_dashboard(tmp_path):
    """As recording rules, because promtool reads no dashboards."""
    rules = [{"record": f"panel_{n}", "expr": plain(target["expr"])} for n, (_, target) in enumerate(TARGETS)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = ran("check", "rules", str(file))

    assert done.returncode == 0, done.stderr


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before(tmp_path):
    text = (ROOT / "tests" / "contrib" / "rules_test.yml").read_text(encoding="utf-8")
    file = tmp_path / "rules_test.yml"
    file.write_text(text.replace("[RULES]", json.dumps([str(RULES_FILE)])))
    tried = {case["alertname"] for test in yaml.safe_load(text)["tests"] for case in test["alert_rule_test"]}

    done = ran("test", "rules", str(file))

    assert done.returncode == 0, done.stdout + done.stderr
    assert tried == set(RULES)


@needs_promtool
def test_prometheus_itself_finds_nothing_wrong_with_a_scrape(series):
    done = ran("check", "metrics", given=as_text(registry().collect()))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")

"""A foreign project adopts the app by its documentation: settings, model, tests; without credentials."""

import json
import re
import subprocess
import sys

import pytest

from tests.testing.foreign import ForeignProject, blocks


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = ForeignProject(tmp_path_factory.mktemp("foreign"))
    project.run("manage.py", "makemigrations", "shop")
    project.run("manage.py", "migrate", "-v", "0")
    return project


def passed(output):
    found = re.search(r"(\d+) passed", output)
    assert found, output
    return int(found[1])


@pytest.mark.parametrize("settings", ["config.settings", "test_settings"])
def test_every_example_of_the_page_passes_with_pytest(project, settings):
    output = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds", settings)

    assert passed(output) == sum(block.count("def test_") for block in blocks().values()), output


def test_every_example_of_the_page_passes_in_two_processes(project):
    output = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2")

    assert passed(output) == sum(block.count("def test_") for block in blocks().values()), output


@pytest.mark.parametrize("settings", ["config.settings", "test_settings"])
def test_the_examples_without_pytest_pass_in_parallel(project, settings):
    output = project.run("manage.py", "test", "--parallel", "2", "--settings", settings)

    assert f"Ran {blocks()['shop/tests.py'].count('def test_')} tests" in output
    assert "OK" in output


def test_the_failure_on_the_page_is_the_one_that_pytest_prints(project):
    (project.folder / "test_wrong.py").write_text(
        "from shop.models import Order\n\n\n"
        "def test_wrong(eventbridge_outbox):\n"
        "    Order.objects.create(number='A1', amount='9.09')\n"
        "    eventbridge_outbox.assert_enqueued('order.created', data={'amount': '9.90'})\n",
        "utf-8",
    )
    try:
        output = project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wrong.py", code=1)
    finally:
        (project.folder / "test_wrong.py").unlink()

    assert 'no events with type="order.created", data={"amount": "9.90"} were enqueued, expected 1.' in output
    assert 'data.amount is "9.09", expected "9.90"' in output
    assert "testing/outbox.py" not in output.partition("short test summary")[0], "frames of ours are shown"


@pytest.mark.parametrize(
    "command",
    [
        ("makemigrations", "--check"),
        ("migrate",),
        ("check",),
        ("eventbridge_enqueue", "order.created", "--data", "{}"),
        ("eventbridge_list",),
        ("eventbridge_show", "1"),
        ("eventbridge_catalogue",),
        ("eventbridge_pause", "default", "--because", "test"),
        ("eventbridge_resume", "default"),
        ("eventbridge_prune",),
    ],
    ids=lambda command: command[0],
)
def test_what_does_not_send_needs_no_credentials(project, command):
    output = project.run("manage.py", *command, "--settings", "test_settings")

    assert "E001" not in output
    assert "E002" not in output


@pytest.mark.parametrize(
    "command",
    [
        ("eventbridge_publish",),
        ("eventbridge_publish", "--loop"),
        ("eventbridge_poll",),
        ("eventbridge_retry", "1"),
        ("eventbridge_ping",),
    ],
    ids=" ".join,
)
def test_what_sends_names_the_missing_credential(project, command):
    project.run("manage.py", "eventbridge_enqueue", "order.created", "--data", "{}")

    output = project.run("manage.py", *command, code=3 if command == ("eventbridge_ping",) else 1)

    assert "has no CLIENT_ID" in output
    assert "os.environ" in output
    assert "Traceback" not in output


def test_the_deploy_check_reports_what_is_missing(project):
    output = project.run("manage.py", "check", "--deploy", "--settings", "test_settings", code=1)

    assert "genesys_eventbridge.E001" in output
    assert "genesys_eventbridge.E002" in output


@pytest.mark.parametrize("line", ["del GENESYS_EVENTBRIDGE", "GENESYS_EVENTBRIDGE = {}"])
@pytest.mark.parametrize("command", [("check",), ("migrate",), ("makemigrations", "--check"), ("test",)])
def test_without_the_setting_the_project_still_migrates_and_tests(project, line, command):
    (project.folder / "bare.py").write_text(f"from config.settings import *\n{line}\n", "utf-8")
    if command == ("test",):
        command = ("test", "no_tests", "--settings=bare")
        test = "class T(TestCase):\n    def test(self):\n        pass\n"
        (project.folder / "no_tests.py").write_text(f"from django.test import TestCase\n\n{test}", "utf-8")

    output = project.run("manage.py", *command, "--settings", "bare")

    assert "W040" in output


def test_pytest_starts_without_what_the_fixtures_need(tmp_path):
    """The plugin is a file with three fixtures: no Django, no httpx, no sandbox."""
    (tmp_path / "test_plain.py").write_text(
        "import sys, json, pathlib\n\n\ndef test_plain(request):\n"
        "    assert request.config.pluginmanager.hasplugin('genesys_eventbridge')\n"
        "    pathlib.Path('loaded.json').write_text(json.dumps(sorted(sys.modules)))\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "-p", "no:xdist",
         "-c", "/dev/null", "--rootdir", ".", "test_plain.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = json.loads((tmp_path / "loaded.json").read_text())

    ours = [name for name in loaded if name.startswith("genesys_eventbridge")]
    package = "genesys_eventbridge"
    assert ours == [package, f"{package}.testing", f"{package}.testing.pytest_plugin"]
    assert not {"django", "httpx", "httpcore", "django_q"} & {name.partition(".")[0] for name in loaded}


def test_every_public_name_can_be_imported_from_the_package():
    from genesys_eventbridge import testing

    assert {name for name in testing.__all__ if getattr(testing, name) is None} == set()
    assert set(testing.__all__) == set(testing._PLACES)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = testing.nonsense

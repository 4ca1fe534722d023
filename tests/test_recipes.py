"""The recipes of docs/runners.md: each runs, or names commands that exist."""

import re
import subprocess
import sys
import types
from unittest import mock

import pytest
import yaml
from django.core.cache import cache
from django.core.management import load_command_class

from genesys_eventbridge import signals
from genesys_eventbridge.outbox import enqueue, enqueue_many
from genesys_eventbridge.states import State
from tests.outbox_rows import fresh
from tests.pages import ROOT
from tests.projects import Project
from tests.prompt import sandboxed


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


UNITS = blocks("operations.md", "ini")


@pytest.mark.django_db(transaction=True)
def test_the_recipe_for_celery_sends_after_a_commit(monkeypatch):
    pytest.importorskip("celery", reason="celery is not installed")
    recipe, wake = (block for block in blocks("runners.md", "python") if "celery" in block)
    module = types.ModuleType("shop.celery")
    monkeypatch.setitem(sys.modules, "shop.celery", module)
    exec(compile(recipe, "shop/celery.py", "exec"), vars(module))
    app = vars(module)["app"]
    app.conf.update(task_always_eager=True, broker_url="memory://")
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)

    before = signals.event_enqueued.receivers[:]
    try:
        exec(compile(wake, "shop/apps.py", "exec"), {})
        with sandboxed(more={"WAKE": None}):
            row = enqueue("order.created", 1, standalone=True)
            assert fresh(row).state in (State.ACCEPTED, State.DELIVERED)
            for name in ("poll_events", "retry_events", "prune_events"):
                vars(module)[name].delay()
            cache.clear()
            woken = mock.Mock()
            vars(module)["publish_events"] = woken
            enqueue_many([{"type": "order.created", "data": 1}] * 3, standalone=True)
            assert woken.apply_async.call_count == 1
    finally:
        cache.clear()
        signals.event_enqueued.receivers = before
        signals.event_enqueued.sender_receivers_cache.clear()


def test_the_commands_of_kubernetes_exist():
    (manifest,) = blocks("runners.md", "yaml")
    pod = yaml.safe_load(manifest)["spec"]["template"]["spec"]
    commands = [container["command"] for container in (*pod["initContainers"], *pod["containers"])]

    assert [command[:2] for command in commands] == [["python", "manage.py"]] * 2
    for _python, _manage, name, *arguments in commands:
        if name != "migrate":
            load_command_class("genesys_eventbridge", name).create_parser("manage.py", name).parse_args(
                arguments
            )


def test_a_worker_of_the_database_backend_publishes_what_a_commit_queued(tmp_path):
    pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed")
    pytest.importorskip("django.tasks", reason="this Django has no tasks framework")
    with sandboxed():
        from django.conf import settings

        one = {**settings.GENESYS_EVENTBRIDGE["default"], "WAKE": "tasks"}
        one = {name: one[name] for name in one if isinstance(one[name], str | list)}
        project = Project(
            tmp_path,
            'INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "genesys_eventbridge",',
            '                  "django_tasks_db"]',
            'TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}',
            f"GENESYS_EVENTBRIDGE = {{'default': {one!r}}}",
        )
        assert project.manage("migrate", "-v", "0").returncode == 0
        assert project.manage("eventbridge_enqueue", "order.created", "--data", "{}").returncode == 0
        ran = project.manage("db_worker", "--batch")
        assert ran.returncode == 0, ran.stdout

        shown = project.manage("eventbridge_show", "1")

    assert re.search("accepted|delivered", shown.stdout), shown.stdout


@pytest.mark.parametrize(
    "unit", re.findall(r"```ini\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
)
def test_systemd_accepts_the_units(unit, tmp_path):
    """Apart from the programs and users that they name, which are not on this machine."""
    path = tmp_path / "events.service"
    here = re.sub(r"ExecStart=\S+ manage.py", f"ExecStart={sys.executable} manage.py", unit)
    path.write_text(re.sub(r"User=shop\n", "", here))
    try:
        ran = subprocess.run(
            ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")

    assert "events.service" not in ran.stdout + ran.stderr

"""System checks as people meet them: `manage.py check` in projects of their own, exit codes and words."""

import pytest

from tests.projects import SECRET, Project

OURS = "genesys_eventbridge."


@pytest.fixture
def project(tmp_path):
    return lambda *lines: Project(tmp_path, *lines)


def test_a_fresh_project_is_led_from_fault_to_fault_until_nothing_is_left(project):
    here = project()

    empty = here.manage("check", "--database", "default")
    assert empty.returncode == 1
    assert f"{OURS}E030" in empty.stdout
    assert "python manage.py migrate --database default" in empty.stdout

    migrated = here.manage("migrate", "--database", "default")
    assert migrated.returncode == 0, migrated.stdout

    bare = here.manage("check", "--database", "default")
    assert bare.returncode == 0
    assert f"{OURS}W033" in bare.stdout
    assert "python manage.py eventbridge_schedules --apply" in bare.stdout

    installed = here.manage("eventbridge_schedules", "--apply")
    assert installed.returncode == 0, installed.stdout

    for command in (["check"], ["check", "--database", "default"], ["check", "--deploy"]):
        done = here.manage(*command)
        assert done.returncode == 0
        assert OURS not in done.stdout


def test_check_deploy_says_what_production_may_not_have(project):
    here = project(
        'GENESYS_EVENTBRIDGE["default"] |= {"CLIENT_ID": "sandbox", "CLIENT_SECRET": "sandbox-only"}',
        'GENESYS_EVENTBRIDGE["default"]["RETENTION_DAYS"] = None',
    )

    told = here.manage("check", "--deploy", "--fail-level", "WARNING")

    assert told.returncode == 1
    assert f"{OURS}W020" in told.stdout
    assert f"{OURS}W021" in told.stdout
    assert f"{OURS}W02" not in here.manage("check").stdout


def test_a_sandbox_left_in_the_settings_is_a_warning_and_stops_a_deploy(project):
    here = project(
        'GENESYS_EVENTBRIDGE["default"] |= {'
        '"API_BASE_URL": "http://127.0.0.1:8900", "LOGIN_BASE_URL": "http://127.0.0.1:8900"}'
    )

    plain, deploy = here.manage("check"), here.manage("check", "--deploy")

    assert (plain.returncode, deploy.returncode) == (0, 1)
    assert f"{OURS}W016" in plain.stdout
    assert f"{OURS}E016" in deploy.stdout
    assert SECRET not in plain.stdout + deploy.stdout


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ('GENESYS_EVENTBRIDGE["default"]["MAX_ATEMPTS"] = 3', "E003"),
        ('GENESYS_EVENTBRIDGE = [GENESYS_EVENTBRIDGE["default"]]', "E001"),
        ('GENESYS_EVENTBRIDGE = GENESYS_EVENTBRIDGE["default"]', "E001"),
        ("GENESYS_EVENTBRIDGE = repr(GENESYS_EVENTBRIDGE)", "E001"),
        ("del GENESYS_EVENTBRIDGE", "E001"),
        ('GENESYS_EVENTBRIDGE["default"]["CLIENT_SECRET"] += chr(10)', "E004"),
        ("Q_CLUSTER = 7", "E009"),
        ('DATABASES["default"]["NAME"] = "no/such/folder/shop.sqlite3"', "E030"),
    ],
)
def test_a_broken_setting_is_a_message_without_traceback_or_secret(project, line, number):
    told = project(line).manage("check", "--database", "default", "--deploy")

    assert told.returncode == 1
    assert f"{OURS}{number}" in told.stdout
    assert "HINT" in told.stdout
    assert "Traceback" not in told.stdout
    assert SECRET not in told.stdout

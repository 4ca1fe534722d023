"""Without the packages of the extras everything else works; what needs them names the extra."""

import os

import pytest

from tests import warm
from tests.pages import ROOT
from tests.test_imports import SET_UP

#: The import system finds None in ``sys.modules`` and raises ImportError, as if nothing were installed.
MISSING = "import sys; sys.modules['prometheus_client'] = sys.modules['health_check'] = None;"


def ran(code):
    return warm.run("-c", MISSING + SET_UP + code, cwd=ROOT, env=dict(os.environ), timeout=60)


@pytest.mark.parametrize("extra", ["prometheus", "health"])
def test_a_module_without_its_package_names_the_extra(extra):
    done = ran(f"import genesys_eventbridge.contrib.{extra}")

    assert done.returncode == 1
    assert f'pip install "django-genesys-eventbridge[{extra}]"' in done.stderr.splitlines()[-1]


def test_the_command_names_the_extra_and_fails():
    done = ran("from django.core.management import call_command; call_command('eventbridge_metrics')")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("django.core.management.base.CommandError: ")
    assert 'pip install "django-genesys-eventbridge[prometheus]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "module",
    ["contrib.views", "management.commands.eventbridge_metrics", "reporting.judgement", "admin", "relay"],
)
def test_the_rest_does_not_need_them(module):
    done = ran(f"import genesys_eventbridge.{module}")

    assert (done.returncode, done.stderr) == (0, "")

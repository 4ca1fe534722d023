"""Fixtures: a site, a browser, visitors and a worker."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from playwright.sync_api import Browser

from genesys_eventbridge.model_events import receivers, registry
from tests.browser.chromium import chromium
from tests.browser.visitor import Visitor
from tests.prompt import start

Visit = Callable[..., Visitor]

#: A theme has its own settings: `make themes` names them, and this folder.
collect_ignore = [] if settings.SETTINGS_MODULE.startswith("tests.browser.themes.") else ["themes"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def registrations() -> Iterator[None]:
    """Models that a page's way has registered are so until the end of the test."""
    before = registry.registrations()
    yield
    for registration in registry.registrations():
        if registration not in before:
            receivers.detach(registration)


@pytest.fixture
def visit(browser: Browser, live_server: Any) -> Iterator[Visit]:
    """``visit("vera", "view_outboxevent")`` returns a visitor with these permissions; "ana" has all.

    The test fails at its end if a page violated its policy, had a JavaScript error or opened a dialog.
    """
    visitors: list[Visitor] = []

    def enter(name: str = "ana", *codenames: str, **looks: Any) -> Visitor:
        users = get_user_model().objects
        user = users.filter(username=name).first()
        if user is None and name == "ana":
            user = users.create_superuser(name, password="ana")
        elif user is None:
            user = users.create_user(name, is_staff=True)
            user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
        visitors.append(Visitor(browser, live_server.url, user, **looks))
        return visitors[-1]

    yield enter
    for visitor in visitors:
        visitor.close()
    assert [thing for visitor in visitors for thing in visitor.noticed] == []


@pytest.fixture
def worker() -> Callable[[], Any]:
    """``with worker():`` runs a real ``eventbridge_publish --loop`` on the test's database and platform."""

    @contextmanager
    def run() -> Iterator[None]:
        with start("eventbridge_publish", "--loop", "-v", "0") as process:
            try:
                yield
                assert process.poll() is None, f"the worker exited early: {process.communicate()}"
                process.terminate()
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                pytest.fail("the worker did not stop")
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    return run

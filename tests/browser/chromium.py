"""Debian's Chromium, driven by playwright, which is installed without a browser.

``chromium-headless-shell`` is the same engine and draws no windows of its own: the tests take two thirds of
the time.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: Timeout in milliseconds for everything in a test; long, because the machine may be busy.
PATIENCE = 30_000
FLAGS = [
    "--no-sandbox",  # CI runs as root in a container
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    # Like every test, the browser must not reach another machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser. Raises RuntimeError if none is installed: skipping the tests would prove nothing."""
    # playwright runs an event loop in this thread; the ORM is used between its calls, never within one.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise RuntimeError("Chromium is missing: apt-get install chromium-headless-shell, or set CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()

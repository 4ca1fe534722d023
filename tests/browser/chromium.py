"""Debian's Chromium, driven by playwright, which brings none of its own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Milliseconds that anything may take before the test fails; a busy machine is slow.
PATIENCE = 30_000
FLAGS = [
    "--no-sandbox",  # CI is root in a container
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    # A browser reaches no other machine, like every test.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser process. Raises RuntimeError where the machine has none: a skipped page proves nothing."""
    # playwright's own loop runs below this thread; the ORM is used between its calls, never within one.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise RuntimeError("No Chromium here: apt-get install chromium, or name one in CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()

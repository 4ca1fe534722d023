"""A visitor with a separate browser session, which records everything that no page may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, expect

from tests.browser.chromium import PATIENCE

WATCH = """
document.addEventListener('securitypolicyviolation', event => tellTest(
    'policy', `${event.effectiveDirective} ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`
));
document.addEventListener('click', event => event.isTrusted && event.detail && tellTest('click', ''), true);
"""
#: The impacts in axe that count as barriers; the others are moderate and minor.
BARRIERS = ("serious", "critical")
#: Only the violations: what axe says of all elements that are well takes longer than looking at them.
RUN_AXE = """part => axe.run(part ?? document, {preload: false, resultTypes: ['violations']}).then(
    results => results.violations
)"""
#: Barriers in Django's own templates: axe's rule, and the element that it is about or that contains it.
DJANGOS_OWN = {
    "label-title-only": "#searchbar",  # its label is an image only
    "link-in-text-block": ".breadcrumbs",  # links without an underline
}

expect.set_options(timeout=PATIENCE)


class Visitor:
    """``page`` is playwright's. ``noticed`` must stay empty on every page; ``clicks`` counts mouse clicks."""

    def __init__(self, browser: Browser, site: str, user: User | None = None, **looks: Any) -> None:
        self.site = site
        self.noticed: list[str] = []
        self.clicks = 0
        self.context = browser.new_context(
            base_url=site, locale="en-GB", timezone_id="UTC", reduced_motion="reduce", **looks
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.expose_binding("tellTest", lambda source, kind, what: self._hear(kind, what))
        self.context.add_init_script(WATCH)
        if user is not None:
            client = Client()
            client.force_login(user)
            name = settings.SESSION_COOKIE_NAME
            self.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site}])
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)
        self.page.on("pageerror", lambda error: self.noticed.append(f"script error: {error}"))

    def go(self, path: str) -> None:
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == 200, f"{answer.status} at {path}"

    def press_until(self, target: Locator, key: str = "Tab", most: int = 150) -> int:
        """Press a key until the target has the focus; returns how often. Filters may come first."""
        for pressed in range(1, most + 1):
            self.page.keyboard.press(key)
            if target.evaluate("element => element === document.activeElement"):
                return pressed
        raise AssertionError(f"pressing {key} {most} times does not reach {target}")

    def reload_until(self, holds: Callable[[], bool], most: int = 600) -> None:
        """Reload the page until ``holds()``, like a user who waits for a worker."""
        for _ in range(most):
            if holds():
                return
            self.page.reload()
        raise AssertionError(f"not true after {most} reloads: {self.text()}")

    def text(self) -> str:
        shown: str = self.page.locator("#content").inner_text()
        return shown

    def barriers(self, part: str | None = None) -> list[str]:
        """The accessibility barriers that axe finds on this page, or in the part that a selector names."""
        self.page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(Axe().axe_script)
        return [
            f"{violation['impact']}: {violation['id']} at {node['target']}: {node['failureSummary']}"
            for violation in self.page.evaluate(RUN_AXE, part)
            for node in violation["nodes"]
            if violation["impact"] in BARRIERS and not self._djangos(violation["id"], *node["target"])
        ]

    def _djangos(self, rule: str, element: str) -> bool:
        within = DJANGOS_OWN.get(rule)
        return within is not None and self.page.locator(element).evaluate(
            "(element, within) => element.closest(within) !== null", within
        )

    def close(self) -> None:
        self.context.close()

    def _hear(self, kind: str, what: str) -> None:
        if kind == "click":
            self.clicks += 1
        else:
            self.noticed.append(f"{kind}: {what}")

    def _console(self, message: ConsoleMessage) -> None:
        # Browsers request an icon from every site, and this site has none. (A route for it would turn off the
        # browser's cache: each page would load all its files again.)
        if message.type in ("error", "warning") and not message.location["url"].endswith("/favicon.ico"):
            self.noticed.append(f"{message.type} at {message.location['url']}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.noticed.append(f"dialog: {dialog.message}")
        dialog.dismiss()

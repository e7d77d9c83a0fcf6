"""A real Chromium, headless, and pages of it that must neither complain nor ask anybody but their server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from keeper.devnet.npm import Package, fetch

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--no-sandbox",  # containers that tests run in have no user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 30_000
"""For anything that is waited for; a busy machine is no failure."""

AXE = Package("axe-core@4.14.1", ("axe.min.js",))
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def find_chromium() -> str | None:
    """Path of the browser: $KEEPER_CHROMIUM, or the first that is installed; `scripts/browser` installs one."""
    if chosen := os.environ.get("KEEPER_CHROMIUM"):
        return chosen
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """With an empty profile of its own."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """One page in a profile of its own. problems: what the console, scripts and the content security policy said;
    strangers: what it asked of anybody but its server."""

    page: Page
    context: BrowserContext
    base: str
    problems: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def goto(self, path: str) -> Page:
        """Go there, and wait until the scripts have taken over (if they run)."""
        self.page.goto(self.base + path)
        return self.page

    def settle(self, path: str) -> Page:
        """Go there, and wait until the page is live."""
        self.goto(path)
        self.page.wait_for_selector('#live[data-state="live"]')
        self.page.wait_for_selector("#main[data-view]")
        return self.page

    def violations(self, *rules: str) -> list[str]:
        """What axe-core finds against these rules; none named: against WCAG 2.2 AA and its best practices."""
        if not self.page.evaluate("'axe' in globalThis"):
            (home,) = fetch(AXE)
            self.page.evaluate((home / "axe.min.js").read_text())
        found = self.page.evaluate("rules => axe.run({runOnly: rules})", list(rules) or AXE_RULES)["violations"]
        return [f"{one['id']}: {node['target']}: {node['failureSummary']}" for one in found for node in one["nodes"]]


@contextmanager
def open_tab(browser: Browser, base: str, *, silent: bool = True, **options: Any) -> Iterator[Tab]:
    """options: of a Playwright context, such as viewport, color_scheme, java_script_enabled. silent: fail on leaving
    when the page said anything on its console; requests that failed count too."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    tab = Tab(page, context, base)
    page.on("console", lambda message: tab.problems.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: tab.problems.append(f"error: {error}"))
    page.on("request", lambda request: None if request.url.startswith(base) else tab.strangers.append(request.url))
    try:
        yield tab
        assert tab.strangers == []
        if silent:
            assert tab.problems == []
    finally:
        context.close()

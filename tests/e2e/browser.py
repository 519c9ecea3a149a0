"""The portal as people see it: Debian's Chromium, driven by Playwright, every page looked at by axe-core."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from infra.local.users import PASSWORD

CHROMIUM = shutil.which("chromium")
WIDTHS = {"phone": (360, 740), "desk": (1440, 900)}
LARGEST_PAGE = 100_000  # bytes, everything that belongs to it included
SERIOUS = ("serious", "critical")

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("BROWSER") != "required", reason="Debian's chromium is not installed"
)


@dataclass
class Visitor:
    """Somebody with a browser of their own: nothing that goes wrong on a page goes unseen."""

    page: Page
    site: str
    pictures: Path
    complaints: list[str] = field(default_factory=list)
    bytes_on_page: int = 0

    def go(self, path: str) -> None:
        """Open a page."""
        self.page.goto(self.site + path)

    def sign_in(self, email: str, password: str = PASSWORD) -> None:
        """Sign in as a demo user."""
        self.go("/portal/login")
        self.page.fill("#email", email)
        self.page.fill("#password", password)
        self.page.click("main button.main")

    def look(self, name: str) -> None:
        """Take the page's picture in both widths, and hold it to what every page keeps."""
        for kind, (width, height) in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.screenshot(path=self.pictures / f"{name}-{kind}.png", full_page=True)
            overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if overflow > 0:
                self.complaints.append(f"{name}: {overflow} pixels too wide on a {kind}")
            for violation in Axe().run(self.page).response["violations"]:
                if violation["impact"] in SERIOUS:
                    where = violation["nodes"][0]["html"][:120]
                    self.complaints.append(f"{name}: {violation['id']} on a {kind}: {where}")
        if self.bytes_on_page > LARGEST_PAGE:
            self.complaints.append(f"{name}: {self.bytes_on_page} bytes")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, with nothing of its own to say to the world."""
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, "--disable-sync", "--no-first-run"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(
    browser: Browser, site: str, pictures: Path, *, locale: str = "en-GB", script: bool = True, dark: bool = False
) -> Iterator[Visitor]:
    """A visitor whose browser speaks a language; gone with all cookies afterwards."""
    context = browser.new_context(
        locale=locale, java_script_enabled=script, color_scheme="dark" if dark else "light", accept_downloads=True
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    here = Visitor(page, site, pictures)
    page.on("pageerror", lambda error: here.complaints.append(f"script: {error}"))
    page.on("console", lambda said: here.complaints.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda asked: setattr(here, "bytes_on_page", 0) if asked.is_navigation_request() else None)
    page.on("response", lambda answer: _count(here, answer.headers.get("content-length")))
    try:
        yield here
    finally:
        context.close()


def _count(here: Visitor, length: str | None) -> None:
    here.bytes_on_page += int(length or 0)

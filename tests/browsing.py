"""A real Chromium without a window, for tests of the page: each test has a profile of its own.

It is Debian's, which `scripts/services.py` installs; no browser is downloaded. What a page does
wrong on its way (errors in the console, requests to other hosts) fails the test that opened it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    sync_playwright,
)

from tests.services import program

TIMEOUT_MS = 10_000.0
_GIVEN_UP = "net::ERR_ABORTED"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run one browser for the tests of a file."""
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


def launched(playwright: Playwright) -> Browser:
    """Start the machine's own Chromium."""
    # Chromium's sandbox does not work for root.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=program("Chromium"), args=options)


@contextlib.contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    scheme: Literal["light", "dark"] = "light",
    has_script: bool = True,
    width: int = 1_200,
    height: int = 800,
) -> Iterator[Page]:
    """Open a page in a profile of its own; fail for what it does wrong meanwhile."""
    context = browser.new_context(
        base_url=url, color_scheme=scheme, java_script_enabled=has_script,
        viewport={"width": width, "height": height}, reduced_motion="reduce",
    )  # fmt: skip
    wrong: list[str] = []
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on("console", lambda said: _note(wrong, said))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: _note_failure(wrong, request))
    page.on(
        "request",
        lambda request: None if request.url.startswith(url) else wrong.append(request.url),
    )
    try:
        yield page
        if wrong:
            pytest.fail(repr(wrong), pytrace=False)
    finally:
        context.close()


def _note_failure(wrong: list[str], request: Request) -> None:
    """Note what could not be had; what the browser gave up as it went on to another page could."""
    if request.failure != _GIVEN_UP:
        wrong.append(f"failed: {request.url}: {request.failure}")


def _note(wrong: list[str], said: ConsoleMessage) -> None:
    """Note what the console says, but for advice."""
    if said.type in ("warning", "error"):
        wrong.append(f"{said.type}: {said.text}")


def sign_in(page: Page, key: str, wanted: str = "/") -> None:
    """Sign in by hand."""
    page.goto(wanted)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def barriers(page: Page, *, only_colours: bool = False) -> list[str]:
    """Return what keeps people out of a page, as axe-core finds it; or of its colours alone."""
    what = {"type": "tag", "values": RULES}
    if only_colours:
        what = {"type": "rule", "values": ["color-contrast"]}
    options: dict[str, Any] = {"runOnly": what}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found
        for node in one["nodes"]
    ]

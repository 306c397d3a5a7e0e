"""The page in a real Chromium: with the mouse, with keys alone, in the dark, without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from examples.page.fill import fill, fill_budgets
from tests.browsing import barriers, chromium, opened, sign_in
from tests.contract.central.making import usage_event
from tests.serving import RunningServer, running_server
from tollspan.usage import encode_cloud_event

__all__ = ["chromium"]

pytestmark = pytest.mark.service
VIEWS = (
    "/", "/spend?range=30d", "/spend?by=session&customer=acme&range=30d", "/refusals",
    "/refusals?of=warnings", "/budgets", "/caching", "/trust", "/events?of=late", "/health",
)  # fmt: skip
DARK_VIEWS = ("/", "/spend?range=30d", "/refusals", "/budgets", "/trust", "/health")
"""All colours that there are."""
_MOST_TABS = 60
_FOCUS = """() => {
  const e = document.activeElement;
  const said = e.labels?.[0]?.innerText || e.innerText || e.id;
  return [said.trim(), getComputedStyle(e).outlineStyle];
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where) as running:
        assert fill(running.url, running.key, count=400, days=20) == 400
        fill_budgets(running.url, running.key)
        yield running


def test_somebody_signs_in_looks_closer_and_signs_out(
    chromium: Browser, server: RunningServer
) -> None:
    with opened(chromium, server.url) as page:
        sign_in(page, server.key)
        page.get_by_role("link", name="By customer").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by customer")
        page.get_by_role("link", name="acme", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by model")
        expect(page.get_by_role("list", name="Filters in force")).to_contain_text(
            "customer is acme"
        )
        page.get_by_label("By", exact=True).select_option("feature")
        page.get_by_role("button", name="Show").click()
        expect(page).to_have_url(re.compile("customer=acme"))
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by feature")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to tollspan")
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to tollspan")


def test_all_of_it_works_without_javascript(chromium: Browser, server: RunningServer) -> None:
    with opened(chromium, server.url, has_script=False) as page:
        sign_in(page, server.key, "/spend?by=model")
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by model")
        page.get_by_label("Time").select_option("7d")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_label("Time")).to_have_value("7d")
        page.get_by_role("link", name="gpt-4o-mini").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by customer")
        page.get_by_text("As a table").click()
        expect(page.get_by_role("table").first).to_be_visible()
        page.get_by_role("button", name="Sign out").click()


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called so."""
    passed: list[str] = []
    for _ in range(_MOST_TABS):
        page.keyboard.press("Tab")
        said, outline = page.evaluate(_FOCUS)
        if said == name:
            assert outline != "none", f"{name}: nobody sees that it has the focus"
            return
        passed.append(said)
    raise AssertionError(f"Tab does not lead to {name}, but to {passed}")


def test_keys_alone_lead_everywhere(chromium: Browser, server: RunningServer) -> None:
    with opened(chromium, server.url) as page:
        page.goto("/")
        expect(page.get_by_label("API key")).to_be_focused()
        page.keyboard.type(server.key)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Sign out").wait_for()
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Skip to content")
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        _tab_to(page, "By customer")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by customer")
        _tab_to(page, "acme")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Spend by model")
        _tab_to(page, "Sign out")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to tollspan")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(chromium: Browser, server: RunningServer, scheme: str) -> None:
    assert scheme in ("light", "dark")
    with opened(chromium, server.url, scheme="dark" if scheme == "dark" else "light") as page:
        page.goto("/login")
        assert barriers(page) == []
        sign_in(page, server.key)
        for view in VIEWS if scheme == "light" else DARK_VIEWS:
            page.goto(view)
            for closed in page.locator("details").all():
                closed.evaluate("e => { e.open = true }")
            assert barriers(page, only_colours=scheme == "dark") == [], view


def test_light_and_dark_follow_the_system_until_somebody_chooses(
    chromium: Browser, server: RunningServer
) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    with opened(chromium, server.url, scheme="dark") as page:
        sign_in(page, server.key)
        dark = page.evaluate(background)
        page.emulate_media(color_scheme="light")
        light = page.evaluate(background)
        assert dark != light
        page.get_by_role("button", name="Theme: auto").click()
        page.get_by_role("button", name="Theme: light").click()
        assert page.evaluate(background) == dark
        page.goto("/spend")
        assert page.evaluate(background) == dark
        expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()


@pytest.mark.parametrize("width", [320, 1_600])
def test_a_page_is_never_wider_than_the_window(
    chromium: Browser, server: RunningServer, width: int
) -> None:
    with opened(chromium, server.url, width=width) as page:
        sign_in(page, server.key)
        for view in VIEWS:
            page.goto(view)
            most = page.evaluate("() => document.documentElement.scrollWidth")
            assert most <= width, view


def test_a_value_that_is_markup_runs_nothing(chromium: Browser, server: RunningServer) -> None:
    key = server.make_key("markup")
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    event = encode_cloud_event(usage_event(customer=evil))
    answer = server.ask(
        "POST", "/v1/events", key=key, data=event,
        headers={"Content-Type": "application/cloudevents+json"},
    )  # fmt: skip
    assert answer.json["results"][0]["status"] == "accepted"
    with opened(chromium, server.url) as page:
        sign_in(page, key, "/spend")
        expect(page.get_by_role("link", name=evil)).to_be_visible()
        page.get_by_role("link", name=evil).click()
        expect(page.get_by_role("list", name="Filters in force")).to_contain_text(evil)
        assert page.locator("img").count() == 0
        assert page.locator("main script").count() == 0

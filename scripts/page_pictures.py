"""Take the pictures of the page that the docs show: `.venv/bin/python scripts/page_pictures.py`.

A server of its own on loopback is filled through its API by `examples/page/fill.py`, always with
the same calls, which end today; Chromium looks at it. Written into docs/images/.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright  # noqa: E402 - the path comes first

from examples.page.fill import fill  # noqa: E402
from tests.browsing import launched, opened, sign_in  # noqa: E402
from tests.serving import running_server  # noqa: E402

IMAGES = ROOT / "docs" / "images"
EVENTS = 4_000


def main() -> None:
    """Take them all."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(f"sqlite:{folder}/server.db") as server,
        sync_playwright() as playwright,
    ):
        fill(server.url, server.key, count=EVENTS, days=30)
        browser = launched(playwright)
        with opened(browser, server.url, width=1_000, height=860) as page:
            sign_in(page, server.key)
            page.screenshot(path=IMAGES / "page-overview.png")
        with opened(browser, server.url, scheme="dark", width=1_000, height=860) as page:
            sign_in(page, server.key, "/spend?by=model&customer=acme&range=30d")
            page.get_by_text("Filters", exact=True).click()
            page.screenshot(path=IMAGES / "page-spend-dark.png")
        browser.close()


if __name__ == "__main__":
    main()

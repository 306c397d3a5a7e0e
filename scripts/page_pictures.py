"""Take the pictures of the page that the docs show: `.venv/bin/python scripts/page_pictures.py`.

A server of its own on loopback shows a month of calls by `examples/page/fill.py`, always the same,
which end now; Chromium looks at it. They are stored by a clock that follows them, so that they came
seconds after they ended, as a host's do. Written into docs/images/.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402 - the path comes first

from examples.page.fill import DAY_NS, events, fill_budgets, fill_oddities  # noqa: E402
from tests.browsing import launched, opened, sign_in  # noqa: E402
from tests.serving import RunningServer, running_server  # noqa: E402
from tollspan.ledger.central import CentralLedger, Scope  # noqa: E402
from tollspan.server import ServerSettings  # noqa: E402
from tollspan.server.metrics import ServerMetrics  # noqa: E402
from tollspan.server.principals import Principal  # noqa: E402
from tollspan.server.receiving import Receiver  # noqa: E402
from tollspan.server.tally import Tally  # noqa: E402
from tollspan.usage import Event, UsageEvent  # noqa: E402

IMAGES = ROOT / "docs" / "images"
EVENTS = 4_000
LATELY = 40
"""Calls of the last hour, besides."""
TENANT = "acme"
HEIGHTS = {"overview": 1_000, "budgets": 760, "refusals": 980, "health": 1_130, "trust": 880}
DARK = {"spend": "/spend?by=model&customer=acme&range=30d", "caching": "/caching"}


def main() -> None:
    """Take them all."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        where = f"sqlite:{folder}/server.db"
        store(where)
        with running_server(where) as server, sync_playwright() as playwright:
            fill_oddities(server.url, server.key)
            fill_budgets(server.url, server.key)
            browser = launched(playwright)
            for name, height in HEIGHTS.items():
                with looking(browser, server, height) as page:
                    page.goto("/" if name == "overview" else f"/{name}")
                    page.screenshot(path=IMAGES / f"page-{name}.png")
            for name, path in DARK.items():
                with looking(browser, server, 760, is_dark=True) as page:
                    page.goto(path)
                    page.screenshot(path=IMAGES / f"page-{name}-dark.png")
            browser.close()


@contextmanager
def looking(
    browser: Browser, server: RunningServer, height: int, *, is_dark: bool = False
) -> Generator[Page]:
    """Open a page of somebody who is signed in."""
    scheme: Literal["light", "dark"] = "dark" if is_dark else "light"
    with opened(browser, server.url, scheme=scheme, width=1_120, height=height) as page:
        sign_in(page, server.key)
        yield page


def store(where: str) -> None:
    """Store a month of calls, each some seconds after its end."""
    dice = random.Random(7)
    now = time.time_ns() - 10**9
    made = [*events(EVENTS, 30, now, 7), *events(LATELY, 1 / 24, now, 8)]
    arrivals = sorted((min(end_of(one) + dice.randrange(3 * 10**8, 4 * 10**9), now), number)
                      for number, one in enumerate(made))  # fmt: skip
    clock = [now - 31 * DAY_NS]
    ledger = CentralLedger(where, clock=lambda: clock[0])
    ledger.tenants.create(TENANT, actor="pictures")
    scopes: tuple[Scope, ...] = ("ingest",)
    key, _ = ledger.tenants.create_key(TENANT, scopes, actor="pictures")
    tally = Tally(ledger, ServerMetrics(), lambda: clock[0])
    settings = ServerSettings(database=where)
    receiver = Receiver(ledger, settings, tally, lambda: clock[0])
    who = Principal(key_id=key.id, tenant=TENANT, scopes=key.scopes)
    for at, number in arrivals:
        clock[0] = at
        receiver.take(who, [made[number]])
    tally.flush()
    ledger.close()


def end_of(event: Event) -> int:
    """Return when a call ended, nanoseconds since the epoch."""
    length = event.outcome.duration_ns if isinstance(event, UsageEvent) else 0
    return event.call.started_at_unix_ns + length


if __name__ == "__main__":
    main()

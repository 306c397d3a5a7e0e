"""The program that fills a server for a look at its page."""

from __future__ import annotations

from pathlib import Path

from examples.page.fill import DAY_NS, events, fill
from tests.serving import running_server
from tollspan.ledger.central import UsageQuery
from tollspan.usage import DecisionEvent, UsageEvent

END = 1_790_000_000 * 10**9


def test_the_same_seed_makes_the_same_calls() -> None:
    def said(seed: int) -> list[object]:
        made = events(50, 3, END, seed)
        return [(one.call.started_at_unix_ns, one.call.attribution) for one in made]

    assert said(7) == said(7)
    assert said(7) != said(8)


def test_all_of_it_comes_through_the_api_and_is_within_its_days(tmp_path: Path) -> None:
    made = list(events(700, 3, END, 7))
    assert all(END - 3 * DAY_NS <= one.call.started_at_unix_ns <= END for one in made)
    warned = [one for one in made if isinstance(one, DecisionEvent) and one.warning is not None]
    assert any(not isinstance(one, UsageEvent) for one in made)
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server:
        assert fill(server.url, server.key, count=700, days=3) == 700
        (row,) = server.ledger.usage.usage("acme", UsageQuery()).rows
    assert row.sums.calls + row.sums.denied + len(warned) == 700
    assert row.sums.unpriced > 0

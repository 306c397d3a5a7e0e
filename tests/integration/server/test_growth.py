"""The central ledger stays as quick as it was, however many events it has."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from benchmarks import usage
from benchmarks.multiplying import multiply
from tollspan.ledger.central import CentralLedger, UsageQuery

FEW = 10_000
MORE = 5_000
LONGEST_MS = 300


def grow(where: str, times: int) -> None:
    """Store a few events, then have so many times as many; see what storing and asking take."""
    end = time.time_ns()
    with contextlib.closing(CentralLedger(where)) as ledger:
        ledger.tenants.create(usage.TENANT, actor="test")
        usage.store(ledger, FEW, end)
        few = usage.store(ledger, MORE, end, seed=8)
        before = usage.ask(ledger, end)
        multiply(where, times)
        usage.store(ledger, MORE, end, seed=10)  # brings what was written so quickly to its place
        many = usage.store(ledger, MORE, end, seed=9)
        after = usage.ask(ledger, end)
        (total,) = ledger.usage.usage(usage.TENANT, UsageQuery()).rows
    assert total.sums.calls == (FEW + MORE) * times + 2 * MORE
    assert many.cpu_seconds < 3 * few.cpu_seconds
    for name, one in after.items():
        if "reads events" not in name:  # as many more of them are read
            assert one.median_ms < 4 * before[name].median_ms + 20, name
        assert one.median_ms < LONGEST_MS, name


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a database of each kind, with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'books.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.mark.alone
@pytest.mark.service
def test_a_hundred_times_the_events_make_nothing_slower(where: str) -> None:
    grow(where, 67)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.service
@pytest.mark.timeout(3_600)
def test_ten_million_events_make_nothing_slower(where: str) -> None:
    grow(where, 667)

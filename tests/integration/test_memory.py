"""Memory stays flat over a million calls: run by `make prove`."""

from __future__ import annotations

import pytest

from benchmarks import memory


@pytest.mark.slow
def test_memory_is_flat_over_a_million_calls() -> None:
    pytest.importorskip("httpx2")
    found = memory.measure(1_000_000)
    assert found.added_mib <= 30, found
    assert found.growth_mib <= 2, found

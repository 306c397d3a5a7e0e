"""The benchmark of folding runs, and sees at every place that accounts of closed periods go."""

from __future__ import annotations

import pytest

from benchmarks.budgets import folding

pytestmark = [pytest.mark.service, pytest.mark.slow]


def test_a_quick_run_sees_accounts_go_where_they_are_folded() -> None:
    found = folding.measure(is_quick=True)
    assert [one.place for one in found] == [place for place, _, _ in folding.LIVES]
    for one in found:
        *_, last = one.moments
        assert (last.piece is not None) == one.is_folded
        assert last.again.p50 > 0
    never, folded = found[0].moments[-1], found[1].moments[-1]
    assert never.accounts >= never.sessions
    assert folded.piece is not None
    assert folded.piece.steps > 0

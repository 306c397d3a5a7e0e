"""What a lease's events take down after its account was folded, they take down once."""

from __future__ import annotations

import pytest

from tests.contract.authority.kits import FOREVER, SETTINGS, Kit
from tests.contract.authority.making import Holder, settlement, sums
from tests.contract.folding.kits import HOUR_NS, run
from tollspan.budget import FOLDED, Account

OVER_UNIX_NS = 1_704_110_400_000_000_000  # 2024-01-01T12:00:00Z
SHORT = Account(budget_id="fast", scope='{"user":"u"}', period="60s/00167294880", limit=1_000)
SUM = Account(budget_id="fast", scope=FOLDED, period="2023-01 rolling", limit=0)


@pytest.mark.parametrize("drawn", [10, 40, 100])
def test_an_event_that_comes_after_the_horizon_and_a_folding_counts_once(
    kit: Kit, drawn: int
) -> None:
    authority = kit.authority
    holder = Holder(authority)
    assert holder.has(SHORT, 100) == 100
    kit.advance(SETTINGS.life_seconds + 1)
    authority.expire()
    for number in range(5):  # unresolved: it stays
        run(authority, OVER_UNIX_NS + number * HOUR_NS)
    assert sums(authority, SHORT) == (0, 0, 100)
    kit.advance(SETTINGS.horizon_seconds)
    authority.expire()
    for number in range(5, 10):
        run(authority, OVER_UNIX_NS + number * HOUR_NS)
    assert sums(authority, SHORT) == (0, 0, 0)
    assert sums(authority, SUM) == (100, 0, 0)
    authority.settle([settlement(holder.lease.id, (SHORT, 10, 0), drawn=drawn)])
    assert sums(authority, SHORT)[0] + sums(authority, SUM)[0] == 110 - drawn
    for number in range(10, 15):
        run(authority, OVER_UNIX_NS + number * HOUR_NS)
    kit.advance(FOREVER)
    authority.expire()
    assert sums(authority, SUM) == (110 - drawn, 0, 0)

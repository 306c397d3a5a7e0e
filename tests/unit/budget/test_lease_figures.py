"""What is counted of leases: grants, what is left, who waited, what was lost, and failures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.contract.ledger.making import account, hold
from tollspan.budget import (
    Grant,
    Lease,
    LeasedLedger,
    LeaseSettings,
    LeaseStock,
    MemoryAuthority,
    MemoryLedger,
    Refusal,
    Want,
)
from tollspan.usage import LedgerError, LedgerUnavailableError

WIDE = account("wide", limit=100_000)
TOKENS = account("tokens", limit=100_000, unit="tokens")
SETTINGS = LeaseSettings()


class World:
    """A process with leases of a shared authority in memory, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.authority = Outage(SETTINGS, clock=lambda: int(self.now * 1e9))
        self.authority.open_epoch()
        self.leased = LeasedLedger(
            self.authority, MemoryLedger(), holder=lambda: "me", clock=lambda: self.now
        )

    def calls(self, count: int, *, amount: int = 10) -> None:
        """Make calls that stay in flight."""
        for _ in range(count):
            assert self.leased.hold(hold((WIDE, amount), (TOKENS, amount))) is None


class Outage(MemoryAuthority):
    """A shared authority that can be away."""

    is_away = False

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        if self.is_away:
            raise LedgerUnavailableError("away")
        return super().grant(lease, wants)


def test_what_is_granted_and_what_is_left_are_told_budget_by_budget() -> None:
    world = World()
    world.calls(1)
    state = world.leased.state()
    assert state.stocks == (
        LeaseStock(budget_id="wide", unit="usd", granted=40, remaining=30),
        LeaseStock(budget_id="tokens", unit="tokens", granted=40, remaining=30),
    )
    assert (state.answers, state.waits, state.failures, state.lost) == (1, 1, 0, 0)
    world.calls(1)
    assert [one.remaining for one in world.leased.state().stocks] == [20, 20]
    assert world.leased.state().waits == 1  # it was there


def test_a_lease_that_is_over_has_nothing_left_and_is_counted_lost_once() -> None:
    world = World()
    world.calls(1)
    world.now += SETTINGS.life_seconds
    assert [one.remaining for one in world.leased.state().stocks] == [0, 0]
    world.calls(1)
    assert world.leased.state().lost == 1
    assert [one.granted for one in world.leased.state().stocks] == [80, 80]


def test_an_authority_that_is_away_is_counted() -> None:
    world = World()
    world.authority.is_away = True
    with pytest.raises(LedgerError):
        world.calls(1)
    state = world.leased.state()
    assert (state.failures, state.answers, state.waits, state.stocks) == (1, 0, 1, ())


def test_a_forked_child_counts_from_nothing() -> None:
    world = World()
    world.calls(1)
    world.leased.forget()
    assert world.leased.state().stocks == ()

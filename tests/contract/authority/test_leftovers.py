"""What ended leases leave is told once, however many hosts look, and whichever looks first."""

from __future__ import annotations

import time

from tests.contract.authority.kits import SETTINGS, Kit
from tests.contract.authority.making import Holder
from tests.contract.ledger.making import account
from tollspan.budget import SharedAuthority, Unresolved
from tollspan.exporter._leftovers import Leftovers

LIFE = SETTINGS.life_seconds
NARROW = account("narrow", limit=100)
OTHER = account("other", limit=100, period="2026-11", unit="tokens")
KITS_CLOCK_SLACK_NS = 400 * 86_400 * 1_000_000_000


class Host:
    """A host that watches an authority, and what it told."""

    def __init__(self, authority: SharedAuthority) -> None:
        self.told: list[Unresolved] = []
        self.authority = authority
        self.leftovers = Leftovers(
            authority, self.told.extend, clock=lambda: time.time_ns() - KITS_CLOCK_SLACK_NS
        )

    def looks(self) -> list[tuple[str, int]]:
        """Look; return what it tells: budget and amount."""
        self.told.clear()
        self.authority.expire()
        self.leftovers.look()
        return sorted((one.account.budget_id, one.amount) for one in self.told)


def test_what_a_lease_left_is_told_by_one_host_once(kit: Kit) -> None:
    here, there = Host(kit.authority), Host(kit.other())
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    holder.has(OTHER, 7)
    assert here.looks() == []
    kit.advance(LIFE)
    assert here.looks() == [("narrow", 40), ("other", 7)]
    assert here.looks() == there.looks() == []


def test_a_host_that_starts_anew_tells_nothing_again(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 40)
    kit.advance(LIFE)
    assert Host(kit.authority).looks() == [("narrow", 40)]
    assert Host(kit.authority).looks() == []


def test_what_other_holders_grants_have_ended_is_told_too(kit: Kit) -> None:
    here = Host(kit.authority)
    Holder(kit.authority).has(NARROW, 40)
    kit.advance(LIFE)
    Holder(kit.authority).has(OTHER, 1)  # any grant ends leases that are over
    assert here.looks() == [("narrow", 40)]


def test_leases_that_end_later_are_told_when_they_do(kit: Kit) -> None:
    here = Host(kit.authority)
    for amount in (10, 20):
        Holder(kit.authority).has(NARROW, amount)
        kit.advance(LIFE)
        assert here.looks() == [("narrow", amount)]


def test_a_lease_that_left_nothing_is_no_news(kit: Kit) -> None:
    here = Host(kit.authority)
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    holder.spends(NARROW, 40)
    kit.advance(LIFE)
    assert here.looks() == []

"""Allowances: slices of every shared authority, in outages that last longer than a lease."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from tests.contract.authority.allowing import Drawer, Process
from tests.contract.authority.kits import SETTINGS, Kit
from tests.contract.ledger.making import account
from tollspan.budget import Allowance, Balance

SHARE = Allowance(share=Decimal("0.05"))
ORG = account("org", limit=20_000, period="2026-11")
TEAM = account("team", limit=8_000, period="2026-11")
LIFE_SECONDS = SETTINGS.life_seconds


class Hosts:
    """Processes on several hosts, and one clock."""

    def __init__(self, kit: Kit, number: int) -> None:
        self.kit = kit
        self.now = 1_000.0
        self.drawers: list[Drawer] = []
        self.processes = [self.start() for _ in range(number)]

    def start(self) -> Process:
        """Start another process; its events outlive it."""
        drawer = Drawer()
        self.drawers.append(drawer)
        return Process(self.kit.other(), SHARE, drawer, lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.kit.advance(seconds)

    def cut(self, *, is_cut: bool) -> None:
        for one in self.processes:
            one.way.is_cut = is_cut

    def tick(self) -> None:
        for one in self.processes:
            one.ledger.tick()

    def settle(self) -> None:
        for drawer in self.drawers:
            self.kit.authority.settle(drawer.settlements())

    def stands(self, of: object = ORG) -> Balance:
        assert of in (ORG, TEAM)
        (balance,) = self.kit.authority.balances([SHARE.beside(ORG if of == ORG else TEAM)])
        return balance


def test_slices_are_held_in_the_allowance_and_budgets_know_nothing_of_them(kit: Kit) -> None:
    hosts = Hosts(kit, 3)
    for one in hosts.processes:
        assert one.asks((ORG, 10), (TEAM, 10)) is not None
    assert 0 < hosts.stands().held <= 1_000
    assert 0 < hosts.stands(TEAM).held <= 400
    assert [one.counted for one in kit.authority.balances([ORG, TEAM])] == [0, 0]


def test_a_slice_is_used_in_an_outage_longer_than_its_lease_and_counts_once(kit: Kit) -> None:
    hosts = Hosts(kit, 1)
    (process,) = hosts.processes
    first = process.asks((ORG, 10), (TEAM, 10))
    assert first is not None
    hosts.cut(is_cut=True)
    hosts.wait(3 * LIFE_SECONDS)
    kit.authority.expire()
    counted = hosts.stands().counted
    second = process.asks((ORG, 10), (TEAM, 10))
    assert second is not None
    process.ends(first, 4, 4)
    process.ends(second, 6, 6)
    hosts.settle()
    for account_of in (ORG, TEAM):
        assert hosts.stands(account_of).posted == 10
    assert hosts.stands().counted == counted


def test_what_is_left_of_a_slice_is_free_again_when_its_holder_is_heard(kit: Kit) -> None:
    hosts = Hosts(kit, 1)
    (process,) = hosts.processes
    taken = process.asks((ORG, 10), (TEAM, 10))
    assert taken is not None
    hosts.cut(is_cut=True)
    hosts.wait(2 * LIFE_SECONDS)
    kit.authority.expire()
    assert hosts.stands().unresolved > 10
    hosts.cut(is_cut=False)
    hosts.tick()
    assert hosts.stands().unresolved == 10
    assert hosts.stands().held > 0
    process.ends(taken, 7, 7)
    hosts.settle()
    assert (hosts.stands().posted, hosts.stands().unresolved) == (7, 0)
    process.ledger.close()
    assert hosts.stands().counted == 7


def test_what_is_left_is_given_back_once_though_the_answer_was_lost(kit: Kit) -> None:
    hosts = Hosts(kit, 1)
    (process,) = hosts.processes
    taken = process.asks((ORG, 10))
    assert taken is not None
    hosts.cut(is_cut=True)
    hosts.wait(2 * LIFE_SECONDS)
    hosts.cut(is_cut=False)
    process.way.loses_answers = True
    hosts.tick()
    hosts.tick()
    process.way.loses_answers = False
    hosts.tick()
    hosts.tick()
    process.ends(taken, 10)
    hosts.settle()
    process.ledger.close()
    assert hosts.stands().posted == 10
    assert hosts.stands().counted <= 1_000


def test_processes_that_are_killed_again_and_again_cost_the_allowance_at_most(kit: Kit) -> None:
    hosts = Hosts(kit, 2)
    let_through = 0
    for number in range(60):
        hosts.tick()
        hosts.cut(is_cut=True)
        for process in hosts.processes:
            while (taken := process.asks((ORG, 40), (TEAM, 40))) is not None:
                let_through += 40
                process.ends(taken, 40, 40)
        hosts.processes = [hosts.start() for _ in hosts.processes]
        if number % 3 == 0:
            hosts.wait(LIFE_SECONDS)
            hosts.settle()
            kit.authority.expire()
        for process in hosts.processes:  # the authority is back for a moment
            process.asks((ORG, 40), (TEAM, 40))
    hosts.settle()
    assert 0 < let_through <= 400
    assert hosts.stands(TEAM).posted == let_through
    assert hosts.stands(TEAM).counted <= 400
    assert hosts.stands().counted <= 1_000


@pytest.mark.parametrize("seed", range(3))
def test_hosts_that_race_are_granted_the_allowance_at_most(kit: Kit, seed: int) -> None:
    hosts = Hosts(kit, 8)
    chance = random.Random(seed)
    amounts = [chance.randrange(1, 80) for _ in hosts.processes]

    def work(number: int) -> int:
        process = hosts.processes[number]
        spent = 0
        for _ in range(20):
            taken = process.asks((ORG, amounts[number]), (TEAM, amounts[number]))
            if taken is not None:
                process.ends(taken, *[amounts[number] for _ in taken.legs])
                spent += amounts[number]
            process.ledger.tick()
        return spent

    with ThreadPoolExecutor(len(amounts)) as pool:
        spent = sum(pool.map(work, range(len(amounts))))
    hosts.settle()
    for process in hosts.processes:
        process.ledger.close()
    assert 0 < spent <= 400
    assert (hosts.stands(TEAM).posted, hosts.stands(TEAM).held) == (spent, 0)
    assert (hosts.stands().posted, hosts.stands().held) == (spent, 0)

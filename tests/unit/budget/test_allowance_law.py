"""The law of allowances: whatever happens, in which order, they cost their share at most.

Processes come, are cut off, die, and come back; leases expire; answers get lost; events reach the
authority late. What was let through unasked, with calls in flight and those that died with their
process, and what processes could still let through, is together never more than the share; and
neither is what the authority counts.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contract.authority.allowing import Drawer, Process
from tests.contract.ledger.making import account
from tollspan.budget import Allowance, Hold, Lease, LeaseSettings, MemoryAuthority
from tollspan.budget.slices import Slices
from tollspan.usage import Charge, UsageEvent

SHARE = Decimal("0.05")
ALLOWANCE = Allowance(share=SHARE)
WHOLE = account("org", limit=2_000)
PART = account("team", limit=1_000)
UNASKED = [ALLOWANCE.beside(one) for one in (WHOLE, PART)]
LIFE_SECONDS = 30.0
_process = st.integers(0, 3)


class Outages(RuleBasedStateMachine):
    """Four processes, two accounts, one authority."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.authority = MemoryAuthority(
            LeaseSettings(life_seconds=LIFE_SECONDS, horizon_seconds=300.0),
            clock=lambda: int(self.now * 1_000_000_000),
        )
        self.authority.open_epoch()
        self.drawers = [Drawer() for _ in range(4)]
        self.processes = [self.a_process(number) for number in range(4)]
        self.open: dict[str, tuple[int, Hold]] = {}
        self.used = [0, 0]

    def a_process(self, number: int) -> Process:
        # A drawer is a disk: what is in it outlives its processes.
        return Process(self.authority, ALLOWANCE, self.drawers[number], lambda: self.now)

    @rule(number=_process, amount=st.integers(0, 30), is_of_team=st.booleans())
    def begin(self, number: int, amount: int, is_of_team: bool) -> None:
        legs = [(WHOLE, amount), (PART, amount)] if is_of_team else [(WHOLE, amount)]
        taken = self.processes[number].asks(*legs)
        if taken is not None:
            self.open[taken.call_id] = (number, taken)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), is_rescued=st.booleans())
    def end(self, data: st.DataObject, is_rescued: bool) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.open)))
        number, taken = self.open.pop(call_id)
        amount = taken.legs[0][1]
        posted = data.draw(st.integers(0, amount))
        unresolved = data.draw(st.integers(0, amount - posted))
        process = self.processes[number]
        process.ends(taken, *[posted for _ in taken.legs], unresolved=unresolved)
        for nth, _ in enumerate(taken.legs):
            self.used[nth] += posted + unresolved
        if is_rescued:
            process.drawer.rescued.append(process.drawer.events.pop())

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.open)))
        number, _ = self.open.pop(call_id)
        self.processes[number].ledger.release_soon(call_id)

    @rule(number=_process, is_cut=st.booleans(), loses_answers=st.booleans())
    def cut(self, number: int, is_cut: bool, loses_answers: bool) -> None:
        way = self.processes[number].way
        way.is_cut, way.loses_answers = is_cut, loses_answers

    @rule(seconds=st.sampled_from([0.5, 5.0, LIFE_SECONDS, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.authority.expire()

    @rule(number=_process)
    def outlive(self, number: int) -> None:
        """Be cut off until the lease is over, and be heard again."""
        self.cut(number, is_cut=True, loses_answers=False)
        self.wait(LIFE_SECONDS)
        self.tick(number)
        self.cut(number, is_cut=False, loses_answers=False)
        self.tick(number)

    @rule(number=_process)
    def tick(self, number: int) -> None:
        self.processes[number].ledger.tick()

    @rule(number=_process)
    def settle(self, number: int) -> None:
        self.authority.settle(self.drawers[number].settlements())

    @rule(number=_process, is_killed=st.booleans())
    def restart(self, number: int, is_killed: bool) -> None:
        if not is_killed:
            self.processes[number].ledger.close()
        for call_id, (whose, taken) in list(self.open.items()):
            if whose == number:  # nobody knows what they cost: all of it
                del self.open[call_id]
                for nth, (_, amount) in enumerate(taken.legs):
                    self.used[nth] += amount
        self.processes[number] = self.a_process(number)

    @invariant()
    def all_together_cost_the_share_at_most(self) -> None:
        for nth, (budget, one) in enumerate(zip((WHOLE, PART), UNASKED, strict=True)):
            in_flight = sum(
                taken.legs[nth][1] for _, taken in self.open.values() if nth < len(taken.legs)
            )
            left = sum(process.left(budget) for process in self.processes)
            assert self.used[nth] + in_flight + left <= one.limit
            (balance,) = self.authority.balances([one])
            assert balance.counted <= one.limit
            assert min(balance.posted, balance.held, balance.unresolved) >= 0

    @invariant()
    def nothing_is_counted_in_the_budgets_themselves(self) -> None:
        for balance in self.authority.balances([WHOLE, PART]):
            assert balance.counted == 0


_SETTINGS = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestOutages = Outages.TestCase
TestOutages.settings = _SETTINGS

_QUICK = settings(
    _SETTINGS, phases=[Phase.generate], derandomize=True, database=None, max_examples=1_000
)
"""For what is known to be broken: as soon as that is found, it is done."""

_lose, _named = Slices.lose, Slices.named


def _keeps_what_it_lost(self: Slices) -> tuple[Lease, tuple[Charge, ...]] | None:
    before = {one.account: one.left for one in self.beside.values()}
    lost = _lose(self)
    for one in self.beside.values():
        one.left = before.get(one.account, 0)
    return lost


def _draws_nothing_for_the_rest(self: Slices, event: UsageEvent) -> UsageEvent:
    named = _named(self, event)
    opened = self._open.get(event.call.id)
    if opened is not None:
        opened.drawn = [0 for _ in opened.drawn]
    return named


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        pytest.param("lose", _keeps_what_it_lost, id="a lost lease is given back and kept"),
        pytest.param("named", _draws_nothing_for_the_rest, id="a call gives back what it used"),
    ],
)
def test_the_law_finds_what_breaks_it(
    monkeypatch: pytest.MonkeyPatch, name: str, broken: Callable[..., object]
) -> None:
    monkeypatch.setattr(Slices, name, broken)
    with pytest.raises(AssertionError, match=r"left|counted"):
        run_state_machine_as_test(Outages, settings=_QUICK)

"""Overruns and unresolved money are told: how much, whose, and not again every time."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tests.contract.ledger.making import account, charge, event, new_id
from tests.unit.budget.test_loops import Clock
from tollspan.budget import (
    Account,
    Allowance,
    MoneyWarner,
    MoneyWarning,
    OverrunWarning,
    Unresolved,
    UnresolvedWarning,
    Window,
    periods,
)
from tollspan.usage import Charge, DecisionNote, UsageEvent

ALL = account("all")
OF_ACME = msgspec.structs.replace(ALL, scope='{"customer":"acme"}', period="2026-11")


class World:
    """A warner, and what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[MoneyWarning] = []
        self.warner = MoneyWarner(self.told.append, clock=self.clock)

    def see(self, *charges: Charge, bound: int | None = 10) -> list[MoneyWarning]:
        """Look at a finished call; return what was told of it."""
        before = len(self.told)
        self.warner.look(an_event(*charges, bound=bound))
        return self.told[before:]


def an_event(*charges: Charge, bound: int | None) -> UsageEvent:
    """Make the event of a new call that was bounded so."""
    done = event(new_id(), *charges)
    return msgspec.structs.replace(done, decision=DecisionNote(bound_nanousd=bound))


def over(where: Account, posted: int, overrun: int) -> Charge:
    """Charge an account more than was held."""
    return msgspec.structs.replace(charge(where, posted=posted), overrun=overrun)


def left(where: Account, amount: int, lease_id: str = "me/1") -> Unresolved:
    """Leave an amount unresolved."""
    return Unresolved(lease_id=lease_id, account=where, amount=amount, since_unix_ns=0)


def test_an_overrun_is_told_with_what_was_used() -> None:
    (told,) = World().see(over(OF_ACME, 13, 3))
    assert isinstance(told, OverrunWarning)
    assert (told.rule_id, told.used, told.overrun, told.unit) == ("all", 13, 3, "usd")
    assert (told.scope, told.period) == ((("customer", "acme"),), "2026-11")


def test_an_overrun_is_told_once_a_minute_for_each_account() -> None:
    world = World()
    assert len(world.see(over(ALL, 13, 3))) == 1
    assert world.see(over(ALL, 13, 3)) == []
    assert len(world.see(over(OF_ACME, 13, 3))) == 1
    world.clock.now += 60
    assert len(world.see(over(ALL, 13, 3))) == 1


def test_what_was_never_asked_for_is_no_overrun_of_a_hold() -> None:
    assert World().see(over(ALL, 13, 13), bound=0) == []


def test_a_call_that_fits_is_no_warning() -> None:
    assert World().see(charge(ALL, posted=10)) == []


def test_a_call_that_does_not_tell_all_that_it_used_is_told() -> None:
    (told,) = World().see(charge(ALL, posted=4, unresolved=6))
    assert isinstance(told, UnresolvedWarning)
    assert (told.reason, told.amount, told.accounts, len(told.ids)) == ("call", 6, 1, 1)


def test_what_the_dead_left_is_one_warning_for_each_budget_and_unit() -> None:
    world = World()
    tokens = account("all", unit="tokens")
    world.warner.left(
        "process", [left(ALL, 5), left(OF_ACME, 7, "call"), left(ALL, 1), left(tokens, 9)]
    )
    told = [(one.unit, one.amount, one.accounts, one.ids) for one in unresolved(world)]
    assert told == [("usd", 13, 2, ("me/1", "call")), ("tokens", 9, 1, ("me/1",))]
    assert {one.reason for one in unresolved(world)} == {"process"}


def test_one_account_is_told_by_its_owner_and_several_by_none() -> None:
    world = World()
    world.warner.left("lease", [left(OF_ACME, 5)])
    world.warner.left("lease", [left(OF_ACME, 5), left(ALL, 5)])
    assert [one.scope for one in unresolved(world)] == [(("customer", "acme"),), ()]


def test_what_is_in_every_window_of_a_rolling_budget_is_counted_once() -> None:
    world = World()
    keys, _ = periods(Window(every="rolling", seconds=60), 1_795_348_800_000_000_000)
    world.warner.left("lease", [left(account("fast", period=key), 5) for key in keys])
    (told,) = unresolved(world)
    assert (told.amount, told.accounts) == (5, 1)


def test_what_is_left_of_its_allowance_is_counted_once_too_and_beside_it() -> None:
    world = World()
    keys, _ = periods(Window(every="rolling", seconds=60), 1_795_348_800_000_000_000)
    budgets = [account("fast", period=key) for key in keys]
    unasked = [Allowance(share=Decimal(1)).beside(one) for one in budgets]
    world.warner.left("lease", [left(one, 5) for one in (*budgets, *unasked)])
    (told,) = unresolved(world)
    assert (told.amount, told.accounts) == (10, 2)


def unresolved(world: World) -> list[UnresolvedWarning]:
    """Return what was told of unresolved money."""
    return [one for one in world.told if isinstance(one, UnresolvedWarning)]

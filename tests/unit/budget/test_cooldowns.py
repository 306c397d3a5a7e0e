"""Owners who were too fast: refused until they have cooled down, and not a moment longer."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS
from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_loops import Clock
from tests.unit.budget.test_plans import a_call
from tollspan.budget import (
    Account,
    Balance,
    Budget,
    BudgetGate,
    Decision,
    MemoryLedger,
    OnExceed,
    Refusal,
    RuleSet,
    Window,
)
from tollspan.budget.cooldowns import Cooldowns
from tollspan.usage import BudgetExceededError, Call, Mode, VelocityExceededError

HOUR_SECONDS = 3_600


class World:
    """A gate of one budget that cools down, and how much of it is taken."""

    def __init__(
        self,
        limit: int = 250,
        *,
        cooldown: int = 60,
        on_exceed: OnExceed = "deny",
        mode: Mode = "enforce",
    ) -> None:
        self.clock = Clock()
        self.prices = Prices(bound=100)
        self.budget = Budget(
            id="fast",
            limit=limit,
            per=("customer",),
            window=Window(every="hour"),
            cooldown_seconds=cooldown,
            on_exceed=on_exceed,
            message="Slow down.",
        )
        self.rules = RuleSet(budgets=(self.budget,))
        self.gate = BudgetGate(self.rules, self.prices, MemoryLedger(), mode=mode, clock=self.clock)
        self.held: list[Call] = []

    def ask(self, customer: str = "acme") -> Decision:
        call = a_call(customer=customer)
        decision = self.gate.authorize(call)
        if decision.denial is None:
            self.held.append(call)
        return decision

    def free(self) -> None:
        """Give everything back: from here on there is room."""
        for call in self.held:
            self.gate.abandon(call.id)


def test_once_refused_an_owner_is_refused_until_he_has_cooled_down_though_there_is_room() -> None:
    world = World()
    assert [world.ask().denial is None for _ in range(3)] == [True, True, False]
    world.free()
    world.clock.now += 59
    assert isinstance(world.ask().denial, VelocityExceededError)
    world.clock.now += 1
    assert world.ask().denial is None


def test_others_are_not_refused() -> None:
    world = World(limit=100)
    assert [world.ask().denial is None for _ in range(2)] == [True, False]
    assert world.ask("other").denial is None


def test_what_is_refused_meanwhile_makes_it_no_longer() -> None:
    world = World(limit=100)
    world.ask()
    world.ask()
    world.free()
    for _ in range(6):
        assert world.ask().denial is not None
        world.clock.now += 10
    assert world.ask().denial is None


def test_both_denials_are_of_the_same_kind_and_say_when_to_come_back() -> None:
    world = World(limit=100)
    world.ask()
    first = world.ask().denial
    assert isinstance(first, VelocityExceededError)
    assert isinstance(first, BudgetExceededError)
    assert first.error_type == "tollspan.velocity_exceeded"
    assert (first.held, first.asked) == (100, 100)
    world.clock.now += 15
    decision = world.ask()
    denial = decision.denial
    assert isinstance(denial, VelocityExceededError)
    assert str(denial) == (
        "Slow down. (budget 'fast' of customer 'acme' had no room for a call, and cools down for "
        "45 s more)"
    )
    assert denial.recovery.retry_after_seconds == 45
    assert denial.recovery.retryable
    assert denial.resets_at is not None
    assert denial.resets_at.timestamp() == NOON_UNIX_NS / 1e9 + 45
    assert (denial.rule_id, denial.limit, denial.message) == ("fast", 100, "Slow down.")
    assert denial.scope == (("customer", "acme"),)
    assert (decision.note.action, decision.note.rule_ids) == ("deny", ("fast",))


@pytest.mark.parametrize(
    ("cooldown", "seconds"), [(60, HOUR_SECONDS), (2 * HOUR_SECONDS, 2 * HOUR_SECONDS)]
)
def test_the_first_denial_waits_for_the_window_and_for_the_cooldown(
    cooldown: int, seconds: float
) -> None:
    world = World(limit=100, cooldown=cooldown)
    world.ask()
    denial = world.ask().denial
    assert denial is not None
    assert denial.recovery.retry_after_seconds == seconds  # the call began at noon


def test_a_call_that_never_fits_says_nothing_of_how_fast_its_owner_is() -> None:
    world = World(limit=50)
    denial = world.ask().denial
    assert denial is not None
    assert not denial.recovery.retryable
    world.prices.bound_nanousd = 50
    assert world.ask().denial is None


def test_whoever_only_wants_to_know_cools_nobody_down_and_is_told() -> None:
    world = World(limit=100)
    world.ask()
    assert world.gate.check(a_call(customer="acme")).denial is not None
    world.free()
    assert world.ask().denial is None
    assert world.ask().denial is not None
    world.free()
    denial = world.gate.check(a_call(customer="acme")).denial
    assert denial is not None
    assert "cools down" in str(denial)


def test_the_asynchronous_way_cools_down_too() -> None:
    world = World(limit=100)
    world.ask()
    for _ in range(2):
        decision = asyncio.run(world.gate.authorize_async(a_call(customer="acme")))
        assert isinstance(decision.denial, VelocityExceededError)
        world.free()


@pytest.mark.parametrize(
    ("on_exceed", "mode"), [("warn", "enforce"), ("shadow", "enforce"), ("deny", "observe")]
)
def test_what_refuses_nothing_cools_nobody_down(on_exceed: OnExceed, mode: Mode) -> None:
    world = World(limit=100, on_exceed=on_exceed, mode=mode)
    assert [world.ask().denial for _ in range(3)] == [None] * 3
    world.free()
    assert world.ask().note.action == "allow"


@pytest.mark.parametrize("how", ["rules", "fork"])
def test_new_rules_and_a_fork_end_it(how: str) -> None:
    world = World(limit=100)
    world.ask()
    world.ask()
    world.free()
    assert world.ask().denial is not None
    if how == "rules":
        world.gate.use(world.rules)
    else:
        world.gate.forget()
    assert world.ask().denial is None


def refusal(owner: str) -> Refusal:
    """Refuse an owner, in a budget of his own."""
    account = Account(budget_id="b", scope=owner, period="", limit=10)
    return Refusal(balances=(Balance(account=account, posted=10),), asked=(1,))


BUDGETS = {"b": Budget(id="b", limit=10, cooldown_seconds=60)}


@given(st.lists(st.tuples(st.integers(0, 70), st.sampled_from("ab"), st.booleans()), max_size=40))
def test_an_owner_cools_down_from_the_first_refusal_outside_of_a_cooldown(
    found: list[tuple[int, str, bool]],
) -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    ends: dict[str, float] = {}
    for pause, owner, is_refused in found:
        clock.now += pause
        refused = refusal(owner)
        if is_refused:
            cooldowns.begin(refused, BUDGETS)
            if ends.get(owner, 0.0) <= clock.now:
                ends[owner] = clock.now + 60
        wait = ends.get(owner, 0.0) - clock.now
        account = refused.balances[0].account
        assert cooldowns.find([account]) == ((account, wait) if wait > 0 else None)


def test_the_longest_of_several_cooldowns_counts_and_memory_is_bounded() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock, most=3)
    accounts = [refusal(owner).balances[0].account for owner in "abcd"]
    for owner in "abcd":
        cooldowns.begin(refusal(owner), BUDGETS)
        clock.now += 1
    assert cooldowns.find(accounts) == (accounts[3], 59)
    assert cooldowns.find(accounts[:1]) is None, "the first is the one that is forgotten"
    assert cooldowns.find([]) is None

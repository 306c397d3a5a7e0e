"""Policies of single calls: what one may cost, and how deep its agents are nested."""

from __future__ import annotations

import pytest

from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_plans import a_call
from tollspan.budget import Budget, BudgetGate, MemoryLedger, OnUnpriced, Policy, RuleSet
from tollspan.usage import GateUnavailableError, PolicyViolationError, PriceBookError

ALL = Budget(id="all", limit=10**12)
CHEAP = Policy(id="cheap", most_cost_nanousd=100)
budgets = pytest.mark.parametrize("budgets", [(), (ALL,)], ids=["alone", "with a budget"])


def gate(
    policy: Policy,
    prices: Prices,
    budgets: tuple[Budget, ...] = (),
    *,
    agents: tuple[str, ...] = (),
    on_unpriced: OnUnpriced | None = None,
) -> BudgetGate:
    """Make a gate of one policy, at prices of a test, within agents."""
    rules = RuleSet(budgets=budgets, policies=(policy,), on_unpriced=on_unpriced)
    return BudgetGate(rules, prices, MemoryLedger(), agents=lambda: agents)


@budgets
def test_a_call_that_may_cost_more_than_one_call_may_is_refused(
    budgets: tuple[Budget, ...],
) -> None:
    assert gate(CHEAP, Prices(bound=100), budgets).authorize(a_call()).denial is None
    denial = gate(CHEAP, Prices(bound=101), budgets).authorize(a_call()).denial
    assert isinstance(denial, PolicyViolationError)
    assert (denial.unit, denial.limit, denial.asked) == ("usd", 100, 101)
    assert "it allows calls of at most 0.0000001 USD, and this one may cost up to 0.000000101" in (
        str(denial)
    )
    assert not denial.recovery.retryable


def test_a_call_that_nothing_bounds_is_more_than_any_amount() -> None:
    prices = Prices(bound=None)
    prices.reasons = ("context",)
    denial = gate(CHEAP, prices).authorize(a_call()).denial
    assert isinstance(denial, PolicyViolationError)
    assert "nothing bounds what this one costs" in str(denial)


@pytest.mark.parametrize(("on_unpriced", "is_refused"), [("allow", False), ("deny", True)])
def test_a_model_without_a_price_is_what_the_defaults_say(
    on_unpriced: OnUnpriced, is_refused: bool
) -> None:
    prices = Prices(bound=None)
    prices.reasons = ("unpriced",)
    decision = gate(CHEAP, prices, on_unpriced=on_unpriced).authorize(a_call())
    assert (decision.denial is not None) is is_refused


def test_without_prices_nothing_that_may_cost_too_much_goes_through() -> None:
    prices = Prices(bound=None)
    prices.reasons = ("unpriced",)
    shut = gate(CHEAP, prices)
    shut.use(shut.rules, no_prices=PriceBookError("no book"))
    assert isinstance(shut.authorize(a_call()).denial, GateUnavailableError)
    other = gate(Policy(id="deep", most_depth=1), prices)
    other.use(other.rules, no_prices=PriceBookError("no book"))
    assert other.authorize(a_call()).denial is None


@budgets
@pytest.mark.parametrize(
    ("agents", "own", "is_refused"),
    [
        pytest.param((), None, False, id="no agent"),
        pytest.param(("a", "b"), "b", False, id="as deep as may be"),
        pytest.param(("a", "b", "a"), "a", True, id="deeper"),
        pytest.param(("a", "b"), "c", True, id="one more of this call alone"),
        pytest.param(("a",), "c", False, id="this call is the second"),
    ],
)
def test_a_call_of_agents_that_are_nested_too_deep_is_refused(
    budgets: tuple[Budget, ...], agents: tuple[str, ...], own: str | None, is_refused: bool
) -> None:
    deep = gate(Policy(id="deep", most_depth=2), Prices(), budgets, agents=agents)
    denial = deep.authorize(a_call(agent=own)).denial
    assert isinstance(denial, PolicyViolationError) is is_refused
    if denial is not None:
        assert "agents to be nested 2 deep, and this call is 3 deep" in str(denial)


def test_nobody_asks_for_agents_where_no_policy_does() -> None:
    def agents() -> tuple[str, ...]:
        raise AssertionError("somebody asked")

    gate = BudgetGate(RuleSet(policies=(CHEAP,)), Prices(bound=1), MemoryLedger(), agents=agents)
    assert gate.authorize(a_call()).denial is None

"""What a budget keeps for calls that finish something: for nobody else, and all of it for them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_plans import World, a_call
from tollspan.budget import parse_rules
from tollspan.usage import BudgetExceededError, ConfigError

TEN_CALLS = "id: all, limit: 10 calls, finish_reserve: 20%"


def made(world: World, number: int, *, finishing: bool = False) -> int:
    """Make calls, and return how many were let through."""
    return sum(world.make(a_call(finishing=finishing)) is None for _ in range(number))


def test_the_reserve_is_for_finishing_calls_alone() -> None:
    world = World(TEN_CALLS)
    assert made(world, 20) == 8
    assert made(world, 20, finishing=True) == 2


def test_finishing_calls_may_use_all_of_the_limit() -> None:
    world = World(TEN_CALLS)
    assert made(world, 20, finishing=True) == 10
    assert made(world, 1) == 0


def test_without_a_reserve_the_mark_changes_nothing() -> None:
    for finishing in (True, False):
        assert made(World("id: all, limit: 3 calls"), 9, finishing=finishing) == 3


def test_each_account_keeps_its_own() -> None:
    world = World(
        "id: all, per: [customer], limit: 10 calls, finish_reserve: 50%, limits: {acme: 4 calls}"
    )
    for customer, normal, last in (("acme", 2, 2), ("other", 5, 5)):
        calls = [a_call(customer=customer) for _ in range(20)]
        assert sum(world.make(call) is None for call in calls) == normal
        calls = [a_call(customer=customer, finishing=True) for _ in range(20)]
        assert sum(world.make(call) is None for call in calls) == last


def test_the_denial_says_what_is_kept() -> None:
    world = World("id: all, limit: 10 calls, finish_reserve: 12.5%")
    made(world, 8)
    denial = world.make(a_call())
    assert isinstance(denial, BudgetExceededError)
    assert denial.limit == 8
    assert "12.5 % of the budget are kept for finishing" in str(denial)
    made(world, 2, finishing=True)
    denial = world.make(a_call(finishing=True))
    assert denial is not None
    assert denial.limit == 10
    assert "finishing" not in str(denial)


def test_a_clamp_leaves_the_reserve_alone() -> None:
    world = World("id: all, limit: 3000 tokens, finish_reserve: 10%, on_exceed: {clamp: {}}")
    decision = world.gate.authorize(a_call(max_output_tokens=5_000))
    assert decision.note.clamped_to == 2_700 - 2_024


@given(st.integers(0, 10**18), st.decimals("0.000000001", "0.999999999", places=9))
def test_the_reserve_is_no_less_than_its_share_and_never_more_by_one(
    limit: int, share: Decimal
) -> None:
    text = f"version: 1\nbudgets: [{{id: a, limit: 1 call, finish_reserve: '{share:f}'}}]"
    (budget,) = parse_rules(text).budgets
    from tollspan.budget.finishing import limit_for

    assert limit_for(budget, limit, is_finishing=True) == limit
    left = limit_for(budget, limit, is_finishing=False)
    assert share * limit <= limit - left < share * limit + 1


@pytest.mark.parametrize(
    ("written", "share"), [("5%", "0.05"), ("0.5 %", "0.005"), ("0.25", "0.25"), (".1", "0.1")]
)
def test_a_share_is_written_in_two_ways(written: str, share: str) -> None:
    text = f"version: 1\nbudgets: [{{id: a, limit: 1 call, finish_reserve: {written}}}]"
    (budget,) = parse_rules(text).budgets
    assert budget.finish_reserve == Decimal(share)


@pytest.mark.parametrize("written", ["0%", "0", "1", "100%", "half", "-5%", "5", "0.0", "5 USD"])
def test_what_is_no_share_is_named_with_its_line(written: str) -> None:
    text = f"version: 1\nbudgets:\n  - {{id: a, limit: 1 call, finish_reserve: {written}}}"
    with pytest.raises(ConfigError, match=r"^t:3: `finish_reserve` is .*; expected a share of"):
        parse_rules(text, source="t")

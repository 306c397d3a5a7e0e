"""Budgets that hold what calls like one used, and what becomes of those that use more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.budget.test_plans import World, a_call
from tollspan.budget import Decision, parse_rules
from tollspan.budget.typical import ENOUGH_CALLS
from tollspan.usage import Call, ConfigError, Usage, UsageEvent

# Of gpt-4o-mini, with 1,000 bytes in and 100 tokens out at most.
BOUND_NANOUSD, BOUND_TOKENS = 2024 * 150 + 100 * 600, 2124
MONEY = "id: all, limit: 1 USD, bound: typical"
TOKENS = "id: all, limit: 100000000 tokens, bound: typical"


def held(world: World, call: Call | None = None) -> int:
    """Return what a call holds now, and give it back."""
    decision = world.gate.authorize(call or a_call())
    assert decision.hold is not None
    world.gate.abandon(decision.hold.call_id)
    return decision.hold.legs[0][1]


def spend(world: World, calls: int, usage: Usage) -> UsageEvent:
    """Make calls that use so much, and have it learned from them; return the last one's event."""
    events: list[UsageEvent] = []
    for _ in range(calls):
        call = a_call()
        events.append(world.end(call, decided(world, call), usage))
        world.gate.typical.learn(events[-1])
    return events[-1]


def decided(world: World, call: Call) -> Decision:
    decision = world.gate.authorize(call)
    assert decision.denial is None
    return decision


@pytest.mark.parametrize(("budget", "most"), [(MONEY, BOUND_NANOUSD), (TOKENS, BOUND_TOKENS)])
def test_the_most_is_held_until_enough_calls_were_seen(budget: str, most: int) -> None:
    world = World(budget)
    spend(world, ENOUGH_CALLS - 1, Usage(input_uncached=200, output=10))
    assert held(world) == most
    spend(world, 1, Usage(input_uncached=200, output=10))
    used = (200 * 150 + 10 * 600) if budget is MONEY else 210
    assert used <= held(world) <= used + most // 100 + 1


def test_one_call_in_a_thousand_may_use_more_and_no_second() -> None:
    world = World(MONEY)
    spend(world, ENOUGH_CALLS - 1, Usage(input_uncached=20))
    spend(world, 1, Usage(input_uncached=2_000, output=100))
    assert held(world) < BOUND_NANOUSD // 50
    spend(world, 1, Usage(input_uncached=2_000, output=100))
    assert held(world) > BOUND_NANOUSD * 9 // 10


def test_kinds_of_calls_are_told_apart() -> None:
    world = World(MONEY)
    spend(world, ENOUGH_CALLS, Usage(input_uncached=20))
    low = held(world)
    for other in (
        a_call("gpt-4o"),
        a_call(max_output_tokens=None),
        a_call(max_output_tokens=1_000),
        a_call(input_bytes=9_000),
        a_call(choices=2),
    ):
        assert held(world, other) > 10 * low


def test_an_overrun_is_posted_in_full_and_marked() -> None:
    world = World(MONEY)
    spend(world, ENOUGH_CALLS, Usage(input_uncached=20))
    low = held(world)
    event = spend(world, 1, Usage(input_uncached=2_000, output=100))
    assert event.marks == ("overrun",)
    (charge,) = event.charges
    assert charge.posted == 2_000 * 150 + 100 * 600
    assert charge.overrun == charge.posted - low
    assert event.decision.bound_nanousd == BOUND_NANOUSD


def test_a_strict_budget_beside_it_holds_the_most() -> None:
    world = World(MONEY, "id: hard, limit: 1 USD")
    spend(world, ENOUGH_CALLS, Usage(input_uncached=20))
    decision = world.gate.authorize(a_call())
    assert decision.hold is not None
    typical, strict = [amount for _, amount in decision.hold.legs]
    assert typical < BOUND_NANOUSD // 50
    assert strict == BOUND_NANOUSD


def test_calls_are_counted_one_by_one_all_the_same() -> None:
    world = World("id: few, limit: 5000 calls, bound: typical")
    spend(world, ENOUGH_CALLS, Usage(input_uncached=20))
    assert held(world) == 1


def test_where_no_rule_goes_by_it_nothing_is_learned() -> None:
    world = World("id: all, limit: 1 USD")
    spend(world, 2, Usage(input_uncached=20))
    assert world.gate.typical._kinds == {}


def test_a_call_that_failed_or_is_not_known_teaches_nothing() -> None:
    world = World(MONEY)
    for usage in (None, Usage(status="unknown"), Usage(status="estimated", output=3)):
        call = a_call()
        world.gate.typical.learn(world.end(call, decided(world, call), usage))
    assert world.gate.typical._kinds == {}


def test_a_clamp_goes_by_what_is_typical() -> None:
    world = World("id: all, limit: 0.004 USD, bound: typical, on_exceed: {clamp: {minimum: 10}}")
    assert world.gate.authorize(a_call(max_output_tokens=100_000)).note.action == "clamp"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 2_000), min_size=ENOUGH_CALLS, max_size=ENOUGH_CALLS + 500))
def test_no_more_than_one_call_in_a_thousand_used_more_than_is_held(inputs: list[int]) -> None:
    world = World(TOKENS)
    for used in inputs:
        spend(world, 1, Usage(input_uncached=used))
    low = held(world)
    assert sum(used > low for used in inputs) * 1_000 <= len(inputs)


def test_a_word_that_is_none_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^t:2: `bound` is 'loose'; expected one of strict, ty"):
        parse_rules("version: 1\nbudgets: [{id: a, limit: 1 USD, bound: loose}]", source="t")

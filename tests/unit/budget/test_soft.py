"""Budgets that refuse nothing: whatever is missing, calls that only they count go through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.budget.test_plans import BOOK, World, a_call
from tollspan.budget import BudgetGate, Decision, MemoryLedger
from tollspan.pricing import PriceBook
from tollspan.usage import (
    BudgetExceededError,
    Call,
    ConfigError,
    GateUnavailableError,
    LedgerUnavailableError,
    PriceBookError,
    UnboundedCallError,
    Usage,
)

STRICT = "{on_unbounded: deny, on_unpriced: deny, on_unbounded_input: deny}"
UNITS = ("USD", "tokens", "calls")


class Away(MemoryLedger):
    """An authority that can't answer."""

    def hold(self, hold: object) -> None:
        raise LedgerUnavailableError("away")


def unbounded() -> Call:
    return a_call(max_output_tokens=None)


def unpriced() -> Call:
    return a_call("no-such-model", provider="nobody", is_assumed=True)


def endless() -> Call:
    return a_call("no-such-model", provider="nobody", is_assumed=True, max_output_tokens=None)


@pytest.mark.parametrize("action", ["warn", "shadow"])
@pytest.mark.parametrize("make", [unbounded, unpriced, endless])
@pytest.mark.parametrize("limit", ["1 USD", "1000000 tokens"])
def test_a_call_that_nothing_bounds_or_prices_passes_soft_budgets(
    limit: str, make: Callable[[], Call], action: str
) -> None:
    world = World(f"id: soft, limit: {limit}, on_exceed: {action}", defaults=STRICT)
    call = make()
    decision = world.gate.authorize(call)
    assert decision.denial is None
    assert decision.note.action in (action, "allow")
    event = world.end(call, decision, Usage(output=3))
    assert [one.budget_id for one in event.charges] == ["soft"]


@pytest.mark.parametrize("soft", ["1 USD", "1000000 tokens"])
def test_what_only_a_soft_budget_needs_to_know_refuses_no_call(soft: str) -> None:
    world = World(
        f"id: soft, limit: {soft}, on_exceed: shadow", "id: hard, limit: 1 call", defaults=STRICT
    )
    assert world.make(endless()) is None
    denial = world.make(endless())
    assert isinstance(denial, BudgetExceededError)
    assert denial.rule_id == "hard"


@pytest.mark.parametrize("hard", ["1 USD", "1000000 tokens"])
def test_what_a_hard_budget_needs_to_know_still_refuses(hard: str) -> None:
    world = World(
        "id: soft, limit: 5 calls, on_exceed: warn", f"id: hard, limit: {hard}", defaults=STRICT
    )
    assert isinstance(world.make(unbounded()), UnboundedCallError)


@pytest.mark.parametrize("action", ["warn", "shadow"])
@pytest.mark.parametrize("unit", UNITS)
def test_an_authority_that_is_away_refuses_nothing_of_soft_budgets(unit: str, action: str) -> None:
    rules = World(f"id: soft, limit: 1 {unit}, on_exceed: {action}").gate.rules
    decision = BudgetGate(rules, BOOK, Away()).authorize(a_call())
    assert decision.denial is None
    assert (decision.note.action, decision.note.is_unavailable) == (action, True)


def test_an_authority_that_is_away_refuses_for_the_hard_budget_among_soft_ones() -> None:
    rules = World("id: soft, limit: 1 USD, on_exceed: warn", "id: hard, limit: 1 USD").gate.rules
    denial = BudgetGate(rules, BOOK, Away()).authorize(a_call()).denial
    assert isinstance(denial, GateUnavailableError)
    assert denial.rule_id == "hard"


def without_prices(*budgets: str) -> Callable[..., Decision]:
    """Return how a gate decides that found no price book."""
    rules = World(*budgets).gate.rules
    gate = BudgetGate(rules, PriceBook.empty(), MemoryLedger())
    gate.use(rules, no_prices=PriceBookError("no prices"))
    return gate.authorize


def test_without_prices_only_what_a_hard_budget_counts_is_refused() -> None:
    for action in ("warn", "shadow"):
        decide = without_prices(f"id: soft, limit: 1 USD, on_exceed: {action}")
        assert decide(a_call()).note.action == action
        assert decide(a_call()).denial is None
    decide = without_prices("id: hard, limit: 1 USD, where: {customer: acme}")
    assert decide(a_call(customer="other")).denial is None
    assert isinstance(decide(a_call(customer="acme")).denial, GateUnavailableError)


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_calls_are_counted_without_prices_too_where_nothing_is_enforced(mode: str) -> None:
    world = World("id: few, limit: 1 call", mode=mode)  # type: ignore[arg-type]  # a table of modes
    world.gate.use(world.gate.rules, no_prices=PriceBookError("no prices"))
    for _ in range(2):
        call = a_call()
        event = world.end(call, world.gate.authorize(call), Usage(output=1))
        assert [one.posted for one in event.charges] == [1]


def test_rules_that_can_not_be_read_refuse_whatever_the_last_ones_said() -> None:
    world = World("id: soft, limit: 1 USD, on_exceed: shadow")
    world.gate.refuse_all(ConfigError("broken"))
    assert isinstance(world.gate.authorize(a_call()).denial, GateUnavailableError)

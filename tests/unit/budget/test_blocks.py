"""Budgets of blocks: what is planned for a call that is made inside of some."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_plans import a_call
from tollspan.budget import Budget, BudgetGate, MemoryLedger, RuleSet
from tollspan.budget.plans import Planner
from tollspan.usage import (
    BLOCK_PERIOD,
    Attribution,
    BlockBudget,
    BudgetExceededError,
    Call,
    decode_event,
    encode_event,
    merge_attributions,
)

ids = st.sampled_from(("a", "b"))
blocks = st.lists(
    st.builds(BlockBudget, id=ids, limit=st.integers(0, 3), unit=st.sampled_from(("usd", "calls"))),
    max_size=4,
)
ALL = RuleSet(budgets=(Budget(id="all", limit=1_000),))


def inside(*budgets: BlockBudget) -> Call:
    return msgspec.structs.replace(a_call(), attribution=Attribution(budgets=budgets))


def a_gate(rules: RuleSet, ledger: MemoryLedger | None = None) -> BudgetGate:
    return BudgetGate(rules, Prices(bound=100), ledger or MemoryLedger())


@given(blocks)
def test_nested_blocks_all_apply_and_the_lower_limit_of_an_id_holds(
    found: list[BlockBudget],
) -> None:
    merged = Attribution()
    for one in found:
        merged = merge_attributions(merged, Attribution(budgets=(one,)))
    limits = {(one.id, one.unit): one.limit for one in merged.budgets}
    assert len(limits) == len(merged.budgets)
    for one in found:
        assert limits[one.id, one.unit] == min(
            other.limit for other in found if (other.id, other.unit) == (one.id, one.unit)
        )
    call = msgspec.structs.replace(a_call(), attribution=merged)
    accounts = Planner(ALL, heeds_blocks=True).plan(call).accounts
    assert [one.budget_id for one in accounts] == ["all", *(one.id for one in merged.budgets)]
    assert {one.period for one in accounts[1:]} <= {BLOCK_PERIOD}


def test_until_a_block_is_heeded_one_plan_serves_every_call() -> None:
    gate = a_gate(ALL)
    gate.authorize(a_call())
    assert gate._planner.every_call.accounts
    gate.heed_blocks()
    gate.authorize(a_call())
    assert not gate._planner.every_call.accounts
    assert gate.rules is ALL


def test_rules_that_change_keep_heeding_blocks() -> None:
    gate = a_gate(ALL)
    gate.heed_blocks()
    gate.use(RuleSet())
    denial = gate.authorize(inside(BlockBudget(id="task", limit=99))).denial
    assert isinstance(denial, BudgetExceededError)
    assert (denial.rule_id, denial.limit, denial.asked) == ("task", 99, 100)
    assert (denial.resets_at, denial.scope, denial.unit) == (None, (), "usd")


def test_a_block_never_shares_the_account_or_the_message_of_a_budget_of_its_name() -> None:
    ledger = MemoryLedger()
    rules = RuleSet(budgets=(Budget(id="task", limit=1_000, message="of the document"),))
    gate = a_gate(rules, ledger)
    gate.heed_blocks()
    decision = gate.authorize(inside(BlockBudget(id="task", limit=150)))
    assert decision.hold is not None
    assert [(one.limit, asked) for one, asked in decision.hold.legs] == [(1_000, 100), (150, 100)]
    denial = gate.authorize(inside(BlockBudget(id="task", limit=150))).denial
    assert denial is not None
    assert (denial.limit, denial.held, denial.message) == (150, 100, None)


def test_calls_inside_and_outside_of_a_block_have_plans_of_their_own() -> None:
    gate = a_gate(ALL)
    gate.heed_blocks()
    one, other = BlockBudget(id="a", limit=500), BlockBudget(id="b", limit=500)
    for call, names in (
        (inside(one), ("all", "a")),
        (inside(), ("all",)),
        (inside(one, other), ("all", "a", "b")),
        (inside(other), ("all", "b")),
    ):
        assert gate.authorize(call).note.rule_ids == names


def test_an_operator_who_switched_the_gate_off_switched_off_blocks_too() -> None:
    gate = BudgetGate(ALL, Prices(bound=100), MemoryLedger(), mode="observe")
    gate.heed_blocks()
    decision = gate.authorize(inside(BlockBudget(id="task", limit=0)))
    assert (decision.denial, decision.note.action) == (None, "shadow")


def test_the_blocks_of_a_call_stay_with_its_event() -> None:
    from tests.integration.cli.books import used

    event = used(inside(BlockBudget(id="task", limit=5, unit="calls")))
    assert decode_event(encode_event(event)) == event
    assert b"budgets" not in encode_event(used(inside()))

"""What is said of a call beforehand is what the planner and the authority would do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_planner import budgets, planner, values
from tests.unit.budget.test_plans import a_call
from tollspan.budget import Account, Balance, Hold, Looking, MemoryLedger, RuleSet, matchings

NAMES = ("a", "b", "ab")
amounts = st.integers(0, 4)


@given(budgets, values, values, values, st.sampled_from(NAMES))
def test_a_budget_counts_a_call_in_the_explanation_and_in_the_plan_or_in_neither(
    found: list[tuple[dict[str, list[str]], tuple[str, ...]]],
    customer: str | None,
    user: str | None,
    tag: str | None,
    model: str,
) -> None:
    plans = planner(found)
    call = a_call(model, customer=customer, user=user, tags=None if tag is None else {"t": tag})
    seen = matchings(RuleSet(budgets=tuple(plans.budgets.values())), call)
    assert tuple(one.budget.id for one in seen if one.counts) == plans.plan(call).rule_ids
    for one in seen:
        assert one.counts == all(condition.is_met for condition in one.seen)


@given(st.lists(st.tuples(amounts, amounts, amounts, st.booleans()), min_size=1, max_size=4))
def test_looking_says_what_holding_would_and_holds_nothing(
    accounts: list[tuple[int, int, int, bool]],
) -> None:
    """Of each account: what it has, its limit, what is asked, whether it only counts."""
    ledger = MemoryLedger()
    legs = tuple(
        (Account(budget_id=f"b{at}", scope="", period="", limit=limit, is_soft=is_soft), asked)
        for at, (_, limit, asked, is_soft) in enumerate(accounts)
    )
    before = tuple(
        (Account(budget_id=f"b{at}", scope="", period="", limit=9, is_soft=True), held)
        for at, (held, *_) in enumerate(accounts)
    )
    ledger.hold(Hold(call_id="before", started_at_unix_ns=0, legs=before))
    hold = Hold(call_id="asked", started_at_unix_ns=0, legs=legs)
    stood = ledger.balances([account for account, _ in legs])
    looking = Looking(ledger.balances)
    said = looking.hold(hold)
    assert looking.hold_now(hold) == looking.hold_soon(hold).result() == said
    assert looking.hold_asked == hold
    looking.release_soon("before")
    assert ledger.balances([account for account, _ in legs]) == stood
    assert ledger.hold(hold) == said


def test_how_accounts_stand_comes_from_who_is_asked() -> None:
    account = Account(budget_id="b", scope="", period="", limit=5)
    looking = Looking(lambda asked: tuple(Balance(account=one, posted=5) for one in asked))
    refusal = looking.hold(Hold(call_id="c", started_at_unix_ns=0, legs=((account, 1),)))
    assert refusal is not None
    assert (refusal.balances[0].posted, refusal.asked, refusal.is_held) == (5, (1,), False)

"""Accounts that a server says are used up: refused beforehand, and nothing else is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS
from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_plans import a_call
from tollspan.budget import (
    AccountName,
    Budget,
    BudgetGate,
    Condition,
    Decision,
    Flag,
    FlaggedAuthority,
    MemoryLedger,
    OnExceed,
    RuleSet,
    Window,
)
from tollspan.usage import BudgetExceededError, Mode

ACME: AccountName = ("month", '{"customer":"acme"}', "2026-11", "usd")
FLAG = Flag(limit=500, spent=480, held=30, resets_at=datetime(2026, 12, 1, tzinfo=UTC))


def a_gate(on_exceed: OnExceed = "deny", mode: Mode = "enforce") -> BudgetGate:
    """Return a gate of one budget for each customer, by the month."""
    budget = Budget(
        id="month",
        limit=1_000,
        per=("customer",),
        window=Window(every="month"),
        on_exceed=on_exceed,
        reroute=(("gpt-4o", "mini"),) if on_exceed == "reroute" else (),
        where=(Condition("model", ("gpt-4o",)),) if on_exceed == "reroute" else (),
        message="Used up.",
    )
    return BudgetGate(RuleSet(budgets=(budget,)), Prices(bound=100), MemoryLedger(), mode=mode)


def denial_of(decision: Decision) -> BudgetExceededError:
    denial = decision.denial
    assert isinstance(denial, BudgetExceededError)
    return denial


def test_a_call_that_touches_a_flagged_account_is_denied_with_what_the_server_says() -> None:
    gate = a_gate()
    gate.flag({ACME: FLAG})
    denial = denial_of(gate.authorize(a_call(customer="acme")))
    assert denial.source == "ingest_flag"
    assert (denial.limit, denial.spent, denial.held, denial.asked) == (500, 480, 30, 100)
    assert (denial.period, denial.resets_at) == ("2026-11", FLAG.resets_at)
    assert str(denial).startswith("Used up. (budget 'month' of customer 'acme' has 0.0000005 USD: ")
    assert str(denial).endswith("; so says the ingest API)")
    assert denial_of(asyncio.run(gate.authorize_async(a_call(customer="acme")))).source == (
        "ingest_flag"
    )
    assert denial_of(gate.check(a_call(customer="acme"))).source == "ingest_flag"
    (account,) = gate.accounts(a_call(customer="acme"))
    (balance,) = gate.balances([account])
    assert balance.counted == account.limit


def test_other_customers_and_other_periods_are_let_be() -> None:
    gate = a_gate()
    gate.flag({ACME: FLAG})
    assert gate.authorize(a_call(customer="beta")).denial is None
    december = NOON_UNIX_NS + 20 * 86_400 * 10**9
    assert (
        gate.authorize(
            msgspec.structs.replace(a_call(customer="acme"), started_at_unix_ns=december)
        ).denial
        is None
    )


def test_a_flag_ends_with_its_time_and_when_it_is_taken_back() -> None:
    gate = a_gate()
    past = datetime.fromtimestamp(NOON_UNIX_NS / 1e9, UTC)
    gate.flag({ACME: Flag(limit=1, spent=1, held=0, resets_at=past)})
    assert gate.authorize(a_call(customer="acme")).denial is None
    gate.flag({ACME: Flag(limit=1, spent=1, held=0)})
    assert gate.authorize(a_call(customer="acme")).denial is not None
    gate.flag({})
    assert gate.authorize(a_call(customer="acme")).denial is None


def test_a_flag_stays_when_another_authority_takes_over_and_none_costs_calls_nothing() -> None:
    gate = a_gate()
    first = gate._authority
    gate.flag({ACME: FLAG})
    other = MemoryLedger()
    gate.ask(other)
    assert gate.authorize(a_call(customer="acme")).denial is not None
    gate.flag({})
    assert (gate._authority is other, isinstance(first, FlaggedAuthority)) == (True, False)


@pytest.mark.parametrize("on_exceed", ["warn", "shadow"])
def test_budgets_that_refuse_nothing_refuse_nothing(on_exceed: OnExceed) -> None:
    gate = a_gate(on_exceed)
    gate.flag({ACME: FLAG})
    assert gate.authorize(a_call(customer="acme")).denial is None


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_a_gate_that_enforces_nothing_refuses_nothing(mode: Mode) -> None:
    gate = a_gate(mode=mode)
    gate.flag({ACME: FLAG})
    assert gate.authorize(a_call(customer="acme")).denial is None


def test_a_call_that_may_go_elsewhere_goes_there() -> None:
    gate = a_gate("reroute")
    gate.flag({ACME: FLAG})
    call = a_call(customer="acme", model="gpt-4o")
    decision = gate.authorize(call)
    assert decision.denial is None
    assert decision.change is not None
    assert decision.change.request.model == "mini"


@given(st.sets(st.sampled_from("abcde")), st.lists(st.sampled_from("abcde"), max_size=20))
def test_exactly_the_flagged_are_denied_and_nothing_is_held_for_them(
    flagged: set[str], asked: list[str]
) -> None:
    gate = a_gate()
    names = {("month", f'{{"customer":"{one}"}}', "2026-11", "usd") for one in flagged}
    gate.flag(dict.fromkeys(names, FLAG))
    for customer in asked:
        call = a_call(customer=customer)
        decision = gate.authorize(call)
        assert (decision.denial is not None) == (customer in flagged)
        gate.abandon(call.id)
    gate.flag({})
    for customer in flagged:
        (account,) = gate.accounts(a_call(customer=customer))
        assert gate.balances([account])[0].counted == 0

"""The gate at real prices: what it bounds and holds, what it says, and what it can't ask."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import pytest

from tollspan.budget import (
    BUSY,
    Budget,
    BudgetGate,
    Busy,
    Closer,
    Closing,
    Decision,
    Hold,
    MemoryLedger,
    Refusal,
    RuleSet,
    Window,
)
from tollspan.pricing import PriceBook
from tollspan.usage import (
    Attribution,
    BudgetExceededError,
    Call,
    GateUnavailableError,
    LedgerUnavailableError,
    Outcome,
    Request,
    UnboundedCallError,
    UnpricedModelError,
    Usage,
    UsageEvent,
    new_call_id,
)

BOOK = PriceBook.load()
NOVEMBER = int(datetime(2026, 11, 22, 8, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
DECEMBER = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
USD = 1_000_000_000


def a_call(at: int = NOVEMBER, **request: object) -> Call:
    asked: dict[str, object] = {
        "provider": "openai",
        "operation": "chat",
        "model": "gpt-4o-mini",
        "input_bytes": 1000,
        "max_output_tokens": 100,
        "service_tier": "default",
        **request,
    }
    return Call(
        id=new_call_id(at),
        started_at_unix_ns=at,
        request=Request(**asked),  # type: ignore[arg-type]  # a table of keyword arguments
        attribution=Attribution(),
    )


def a_gate(*budgets: Budget, ledger: MemoryLedger | None = None, **rules: str) -> BudgetGate:
    found = RuleSet(budgets=budgets, **rules)  # type: ignore[arg-type]  # a table of choices
    return BudgetGate(found, BOOK, ledger or MemoryLedger())


def a_budget(limit_usd: str = "1", **more: object) -> Budget:
    limit = int(float(limit_usd) * USD)
    return Budget(id=str(more.pop("id", "all")), limit=limit, **more)  # type: ignore[arg-type]  # a table of keyword arguments


def test_the_upper_bound_is_held_in_every_budget() -> None:
    ledger = MemoryLedger()
    gate = a_gate(a_budget(id="a"), a_budget(id="b", window=Window(every="month")), ledger=ledger)
    decision = gate.authorize(a_call())
    assert decision.denial is None
    assert decision.hold is not None
    # 2,024 tokens at 0.15 USD a million and 100 at 0.60: bytes and the constant of 1,024.
    bound = 2024 * 150 + 100 * 600
    assert decision.note.bound_nanousd == bound
    for account, amount in decision.hold.legs:
        assert amount == bound
        assert ledger.balance(account).held == bound
    assert [account.period for account, _ in decision.hold.legs] == ["", "2026-11"]


def test_a_budget_without_room_denies_and_says_everything() -> None:
    budget = a_budget(
        "0.0001",
        window=Window(every="month"),
        message="Used up.",
        upgrade_url="https://example.com/plans",
    )
    denial = a_gate(budget).authorize(a_call()).denial
    assert isinstance(denial, BudgetExceededError)
    assert denial.rule_id == "all"
    assert (denial.limit, denial.spent, denial.held) == (100_000, 0, 0)
    assert denial.asked == 2024 * 150 + 100 * 600
    assert denial.remaining == 100_000
    assert denial.resets_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert denial.message == "Used up."
    assert denial.upgrade_url == "https://example.com/plans"
    assert denial.source == "precall"
    assert not denial.recovery.retryable  # the limit is below what the call may cost
    assert "Used up." in str(denial)


def test_every_budget_without_room_is_named() -> None:
    gate = a_gate(a_budget("0.0001", id="a"), a_budget(id="b"), a_budget("0.0002", id="c"))
    assert gate.authorize(a_call()).note.rule_ids == ("a", "c")


def test_a_refused_call_leaves_nothing_held_anywhere() -> None:
    ledger = MemoryLedger()
    gate = a_gate(a_budget(id="wide"), a_budget("0", id="narrow"), ledger=ledger)
    assert gate.authorize(a_call()).denial is not None
    wide = a_gate(a_budget(id="wide"), ledger=ledger).authorize(a_call())
    assert wide.hold is not None
    (account, amount), *_ = wide.hold.legs
    assert ledger.balance(account).held == amount


def test_without_a_limit_the_models_maximum_is_held_or_the_call_refused() -> None:
    decision = a_gate(a_budget()).authorize(a_call(max_output_tokens=None))
    assert "model_max" in decision.note.bound_reasons
    assert decision.note.bound_nanousd == 2024 * 150 + 16384 * 600
    strict = a_gate(a_budget(), on_unbounded="deny")
    refused = strict.authorize(a_call(max_output_tokens=None))
    assert isinstance(refused.denial, UnboundedCallError)
    assert strict.authorize(a_call()).denial is None


IMAGE: dict[str, Any] = {"input_bytes": 100, "unbounded": ("media",)}


def test_input_without_a_bound_holds_the_window_or_a_reserve_or_is_refused() -> None:
    window = a_gate(a_budget()).authorize(a_call(**IMAGE))
    assert window.note.bound_nanousd is not None
    reserved = a_gate(a_budget()).authorize(a_call(**IMAGE, input_reserve_tokens=500))
    assert reserved.note.bound_nanousd is not None
    assert reserved.note.bound_nanousd < window.note.bound_nanousd / 10
    strict = a_gate(a_budget(), on_unbounded_input="deny")
    refused = strict.authorize(a_call(**IMAGE)).denial
    assert isinstance(refused, UnboundedCallError)
    assert "input_reserve_tokens" in str(refused)
    assert strict.authorize(a_call(**IMAGE, input_reserve_tokens=500)).denial is None
    assert strict.authorize(a_call()).denial is None


def test_a_unit_without_a_price_is_refused_where_the_rules_refuse_unpriced() -> None:
    asked: dict[str, Any] = {"quantities": (("a_unit_of_the_future", 1),)}
    assert a_gate(a_budget()).authorize(a_call(**asked)).denial is None
    refused = a_gate(a_budget(), on_unpriced="deny").authorize(a_call(**asked)).denial
    assert isinstance(refused, UnpricedModelError)
    assert "a_unit_of_the_future" in str(refused)


@pytest.mark.parametrize(
    ("on_unpriced", "is_assumed", "expected"),
    [
        pytest.param(None, False, "ceiling", id="the provider's own host assumes the dearest"),
        pytest.param(None, True, "allow", id="another host is let through, and shown"),
        pytest.param("ceiling", True, "ceiling", id="or held to the dearest, if the rules say so"),
        pytest.param("deny", True, "deny", id="or refused, if the rules say so"),
        pytest.param("deny", False, "deny", id="on the provider's host too"),
        pytest.param("allow", False, "allow", id="or let through there"),
    ],
)
def test_a_model_without_a_price(on_unpriced: str | None, is_assumed: bool, expected: str) -> None:
    rules = {} if on_unpriced is None else {"on_unpriced": on_unpriced}
    decision = a_gate(a_budget("1000"), ledger=None, **rules).authorize(
        a_call(model="no-such-model", is_assumed=is_assumed)
    )
    if expected == "deny":
        assert isinstance(decision.denial, UnpricedModelError)
        assert decision.hold is None
        return
    assert decision.denial is None
    assert decision.hold is not None
    if expected == "ceiling":
        assert (decision.note.bound_nanousd or 0) > 2024 * 150
        assert "ceiling" in decision.note.bound_reasons
    else:
        assert decision.note.bound_nanousd is None
        assert [amount for _, amount in decision.hold.legs] == [0]


class BusyAuthority(MemoryLedger):
    """Always busy for those who can't wait, and as slow as it is told for those who can."""

    def __init__(self, *, answers: bool) -> None:
        super().__init__()
        self.answers = answers
        self.released: list[str] = []

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        return BUSY

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        return super().hold_soon(hold) if self.answers else Future()

    def release_soon(self, call_id: str) -> None:
        self.released.append(call_id)


class BrokenAuthority(MemoryLedger):
    """Can't answer at all."""

    def hold(self, hold: Hold) -> Refusal | None:
        raise LedgerUnavailableError("the disk is full")

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        raise LedgerUnavailableError("the disk is full")


def test_a_busy_authority_is_awaited() -> None:
    gate = a_gate(a_budget(), ledger=BusyAuthority(answers=True))
    decision = asyncio.run(gate.authorize_async(a_call()))
    assert decision.denial is None
    assert decision.hold is not None


def test_an_authority_that_does_not_answer_in_time_counts_as_unavailable() -> None:
    authority = BusyAuthority(answers=False)
    gate = BudgetGate(RuleSet(budgets=(a_budget(),)), BOOK, authority, acquire_timeout_seconds=0.01)
    call = a_call()
    decision = asyncio.run(gate.authorize_async(call))
    assert isinstance(decision.denial, GateUnavailableError)
    assert authority.released == [call.id], "what may still be granted is given back"


@pytest.mark.parametrize("is_async", [False, True])
def test_an_unavailable_authority_denies_unless_the_rules_allow(is_async: bool) -> None:
    def ask(gate: BudgetGate, call: Call) -> Decision:
        return asyncio.run(gate.authorize_async(call)) if is_async else gate.authorize(call)

    denied = ask(a_gate(a_budget(), ledger=BrokenAuthority()), a_call())
    assert isinstance(denied.denial, GateUnavailableError)
    assert denied.note.is_unavailable
    assert "the disk is full" in str(denied.denial)
    allowed = ask(a_gate(a_budget(), ledger=BrokenAuthority(), on_unavailable="allow"), a_call())
    assert allowed.denial is None
    assert allowed.note.is_unavailable


def test_spending_of_a_call_let_through_in_an_outage_is_counted_and_marked() -> None:
    ledger = MemoryLedger()
    gate = a_gate(a_budget(), ledger=BrokenAuthority(), on_unavailable="allow")
    call = a_call()
    decision = gate.authorize(call)
    event = Closer(BOOK, ledger).close(
        Closing(call, decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    )
    (charge,) = event.charges
    assert charge.posted == 1000 * 150 + 50 * 600
    assert event.marks == ("unavailable",)
    assert decision.hold is not None
    balance = ledger.balance(decision.hold.legs[0][0])
    assert (balance.posted, balance.held) == (charge.posted, 0)


@pytest.mark.parametrize("on_unpriced", ["ceiling", "allow"])
def test_an_unpriced_call_is_charged_as_it_was_let_through(on_unpriced: str) -> None:
    ledger = MemoryLedger()
    gate = a_gate(a_budget("1000"), ledger=ledger, on_unpriced=on_unpriced)
    call = a_call(model="no-such-model")
    decision = gate.authorize(call)
    event = Closer(BOOK, ledger).close(
        Closing(call, decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    )
    (charge,) = event.charges
    if on_unpriced == "ceiling":
        assert event.cost.is_assumed
        assert charge.posted == event.cost.amount_nanousd
        assert charge.posted > 0
    else:
        assert event.cost.status == "unpriced"
        assert event.cost.amount_nanousd is None
        assert charge.posted == 0


class InterruptedBooks(MemoryLedger):
    """Is interrupted while it stores."""

    def __init__(self) -> None:
        super().__init__()
        self.rescued: list[str] = []

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        raise KeyboardInterrupt

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        raise KeyboardInterrupt

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        self.rescued.append(event.call.id)


def test_an_interrupt_while_an_event_is_stored_puts_it_aside() -> None:
    books = InterruptedBooks()
    call = a_call()
    closing = Closing(call, a_gate().authorize(call), Usage(output=1), Outcome(status="ok"))
    with pytest.raises(KeyboardInterrupt):
        Closer(BOOK, books).close(closing)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(Closer(BOOK, books).close_async(closing))
    assert books.rescued == [call.id, call.id]

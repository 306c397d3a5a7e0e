"""Allowances: what the document says, and what becomes of a call that nobody could be asked for."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import pytest

from tests.contract.authority.allowing import Away, Drawer, Process, Way
from tests.contract.ledger.making import account, hold
from tests.unit.budget.test_decisions import BOOK, a_budget, a_call
from tollspan.budget import (
    Allowance,
    AllowedLedger,
    Budget,
    BudgetGate,
    Closer,
    Closing,
    Decision,
    LeaseSettings,
    MemoryAuthority,
    MemoryLedger,
    RuleSet,
    allowance_words,
    is_allowance,
    parse_rules,
    plain_period,
)
from tollspan.budget.slices import IDLE_SECONDS, Slices
from tollspan.usage import ConfigError, GateUnavailableError, Outcome, Usage

FIVE_PERCENT = Allowance(share=Decimal("0.05"))
LIFE_SECONDS = 30.0
BOUND = 2024 * 150 + 100 * 600
"""What `a_call` can cost at most, in nano-USD."""


class World:
    """An authority, a clock, and one gate in front of an authority that answers nobody."""

    def __init__(self, *budgets: Budget, allowance: Allowance = FIVE_PERCENT) -> None:
        self.now = 1_000.0
        self.authority = MemoryAuthority(
            LeaseSettings(life_seconds=LIFE_SECONDS), clock=lambda: int(self.now * 1_000_000_000)
        )
        self.authority.open_epoch()
        self.drawer = Drawer()
        self.process = Process(self.authority, allowance, self.drawer, lambda: self.now)
        rules = RuleSet(budgets=budgets, on_unavailable=allowance)
        self.gate = BudgetGate(rules, BOOK, self.process.ledger)
        self.gate.ask(self.process.ledger, self.process.ledger)
        self.sink = Closer(BOOK, self.process.ledger)


@pytest.mark.parametrize(
    ("text", "allowance", "words"),
    [
        ("5%", Allowance(share=Decimal("0.05")), "5 % of each limit"),
        ("2.5 %", Allowance(share=Decimal("0.025")), "2.5 % of each limit"),
        ("0.05", Allowance(share=Decimal("0.05")), "5 % of each limit"),
        ("100%", Allowance(share=Decimal(1)), "100 % of each limit"),
        ("2 USD", Allowance(amount=2_000_000_000), "2.00 USD beside each limit"),
        ("9 calls", Allowance(amount=9, unit="calls"), "9 calls beside each limit"),
    ],
)
def test_the_document_says_how_much(text: str, allowance: Allowance, words: str) -> None:
    rules = parse_rules(f"version: 1\ndefaults:\n  on_unavailable: {{allow_up_to: {text}}}")
    assert rules.on_unavailable == allowance
    assert allowance_words(allowance) == words


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{allow_up_to: 0%}", "is '0%'; expected a share of each limit"),
        ("{allow_up_to: 101%}", "is '101%'; expected a share of each limit"),
        ("{allow_up_to: 5}", "is '5'; expected a share of each limit"),
        ("{allow_up_to: -5%}", "is '-5%'; expected a share of each limit"),
        ("{allow_up_to: 0 USD}", "is '0 USD'; expected a share of each limit"),
        ("{allow_up_to: 2 EUR}", "`allow_up_to` is in EUR; expected USD"),
        ("{allow_up_to: [1]}", "`allow_up_to` is no plain value"),
        ("{}", "has no `allow_up_to`; write `allow_up_to: 5%`"),
        ("{up_to: 5%}", "unknown key `up_to` in on_unavailable; known: allow_up_to"),
        ("sometimes", "is 'sometimes'; expected one of allow, deny, or {allow_up_to: 5%}"),
    ],
)
def test_what_is_no_allowance_is_an_error_with_its_line(written: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rules(f"version: 1\ndefaults:\n  on_unavailable: {written}", source="rules.yaml")
    assert "rules.yaml:3" in str(caught.value)
    assert says in str(caught.value)


def test_an_allowance_is_rounded_down_and_has_an_account_of_its_own() -> None:
    beside = FIVE_PERCENT.beside(account(limit=59, period="2026-11"))
    assert beside.limit == 2
    assert is_allowance(beside.period)
    assert not is_allowance("2026-11")
    assert plain_period(beside.period) == "2026-11"
    assert is_allowance(FIVE_PERCENT.beside(account(period="")).period)


def test_an_amount_is_never_more_than_the_limit_and_never_in_another_unit() -> None:
    two = Allowance(amount=2)
    assert two.of(account(limit=100)) == 2
    assert two.of(account(limit=1)) == 1
    assert two.of(account(limit=100, unit="calls")) == 0


def _ask(gate: BudgetGate, *, is_async: bool) -> Decision:
    return asyncio.run(gate.authorize_async(a_call())) if is_async else gate.authorize(a_call())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_is_let_through_from_a_slice_and_counted_in_the_allowance(is_async: bool) -> None:
    world = World(a_budget("1"), a_budget("2", id="other"))
    decision = _ask(world.gate, is_async=is_async)
    assert decision.denial is None
    assert (decision.note.action, decision.note.is_unavailable) == ("allow", True)
    assert decision.hold is not None
    assert [amount for _, amount in decision.hold.legs] == [BOUND, BOUND]
    assert all(is_allowance(one.period) for one, _ in decision.hold.legs)
    event = world.sink.close(
        Closing(a_call(), decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    )
    assert event.marks == ("unavailable",)


def test_what_was_let_through_is_settled_out_of_the_slice_and_the_rest_is_there_again() -> None:
    world = World(a_budget("1"))
    call = a_call()
    decision = world.gate.authorize(call)
    assert decision.hold is not None
    (beside, _), *_ = decision.hold.legs
    granted = world.process.left(account("all", limit=1_000_000_000)) + BOUND
    closing = Closing(call, decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    cost = world.sink.close(closing).cost.amount_nanousd
    assert cost is not None
    (stored,) = world.drawer.events
    assert stored.lease_id is not None
    assert world.process.left(account("all", limit=1_000_000_000)) == granted - cost
    world.authority.settle(world.drawer.settlements())
    (balance,) = world.authority.balances([beside])
    assert (balance.posted, balance.held) == (cost, granted - cost)


def test_a_call_that_is_never_made_leaves_the_slice_as_it_was() -> None:
    world = World(a_budget("1"))
    wide = account("all", limit=1_000_000_000)
    world.gate.authorize(a_call())
    left = world.process.left(wide)
    call = a_call()
    world.gate.authorize(call)
    assert world.process.left(wide) == left - BOUND
    world.gate.abandon(call.id)
    assert world.process.left(wide) == left


def test_who_holds_no_slice_has_none() -> None:
    world = World(a_budget("1"))
    world.process.way.is_cut = True
    decision = world.gate.authorize(a_call())
    assert isinstance(decision.denial, GateUnavailableError)
    assert "too little of what on_unavailable lets through" in str(decision.denial)


def test_it_is_all_accounts_or_none() -> None:
    # The second budget's allowance is less than one call may cost.
    world = World(a_budget("1"), a_budget("0.001", id="small"))
    assert world.gate.authorize(a_call()).denial is not None
    assert world.process.left(account("all", limit=1_000_000_000)) > 0


def test_budgets_that_only_warn_need_no_slice_and_are_charged_as_ever() -> None:
    world = World(a_budget("1"), a_budget("0.001", id="soft", on_exceed="warn"))
    decision = world.gate.authorize(a_call())
    assert decision.denial is None
    assert decision.hold is not None
    assert [is_allowance(one.period) for one, _ in decision.hold.legs] == [True, False]
    world.sink.close(
        Closing(a_call(), decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    )


def test_asking_whether_a_call_would_go_through_holds_nothing() -> None:
    world = World(a_budget("1"))
    world.gate.authorize(a_call())
    left = world.process.left(account("all", limit=1_000_000_000))
    checked = world.gate.check(a_call())
    assert checked.denial is None
    assert checked.note.is_unavailable
    assert world.process.left(account("all", limit=1_000_000_000)) == left


def test_the_slice_is_used_up_to_the_last_call_and_not_beyond() -> None:
    world = World(a_budget("1"))
    allowed = sum(world.gate.authorize(a_call()).denial is None for _ in range(200))
    (balance,) = world.authority.balances([FIVE_PERCENT.beside(account(limit=1_000_000_000))])
    assert balance.held == 50_000_000 // 16
    assert allowed == balance.held // BOUND


def test_more_is_asked_for_when_half_of_it_is_used_and_together_it_is_the_share() -> None:
    world = World(a_budget("1"))
    allowed = 0
    for _ in range(2_000):
        allowed += world.gate.authorize(a_call()).denial is None
        world.now += 1
        world.process.ledger.tick()
    assert allowed == 50_000_000 // BOUND
    assert world.authority.balances([FIVE_PERCENT.beside(account(limit=1_000_000_000))])


def test_a_slice_is_used_after_its_lease_is_over_for_the_authority() -> None:
    world = World(a_budget("1"))
    world.gate.authorize(a_call())
    world.process.way.is_cut = True
    world.now += 100 * LIFE_SECONDS
    world.process.ledger.tick()
    world.authority.expire()
    call = a_call()
    decision = world.gate.authorize(call)
    assert decision.denial is None
    beside = FIVE_PERCENT.beside(account(limit=1_000_000_000))
    (before,) = world.authority.balances([beside])
    world.sink.close(
        Closing(call, decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    )
    world.authority.settle(world.drawer.settlements())
    (after,) = world.authority.balances([beside])
    assert after.counted == before.counted  # it was counted already, as unresolved
    assert after.posted == 1000 * 150 + 50 * 600


def test_what_an_ended_lease_had_left_is_free_again_once_its_holder_is_heard() -> None:
    world = World(a_budget("1"))
    open_call = a_call()
    decision = world.gate.authorize(open_call)
    world.process.way.is_cut = True
    world.now += 2 * LIFE_SECONDS
    world.authority.expire()
    world.process.way.is_cut = False
    world.process.ledger.tick()
    beside = FIVE_PERCENT.beside(account(limit=1_000_000_000))
    (balance,) = world.authority.balances([beside])
    assert balance.unresolved == BOUND  # what the call in flight holds
    assert balance.held == (50_000_000 - BOUND) // 16
    world.sink.close(
        Closing(open_call, decision, Usage(input_uncached=1000, output=50), Outcome(status="ok"))
    )
    world.authority.settle(world.drawer.settlements())
    (balance,) = world.authority.balances([beside])
    assert (balance.posted, balance.unresolved) == (1000 * 150 + 50 * 600, 0)


def test_a_killed_process_leaves_its_slice_counted_and_a_closed_one_nothing() -> None:
    world = World(a_budget("1"))
    beside = FIVE_PERCENT.beside(account(limit=1_000_000_000))
    closed = Process(world.authority, FIVE_PERCENT, world.drawer, lambda: world.now)
    closed.asks((account(limit=1_000_000_000), BOUND))
    killed = Process(world.authority, FIVE_PERCENT, world.drawer, lambda: world.now)
    killed.asks((account(limit=1_000_000_000), BOUND))
    (before,) = world.authority.balances([beside])
    open_calls = BOUND
    left = closed.left(account(limit=1_000_000_000))
    closed.ledger.close()
    (after,) = world.authority.balances([beside])
    assert after.held == before.held - left
    world.now += 2 * LIFE_SECONDS
    world.authority.expire()
    (after,) = world.authority.balances([beside])
    assert after.unresolved == before.held - left >= open_calls


def test_slices_of_idle_accounts_go_back_and_so_do_those_of_too_many() -> None:
    world = World()
    several = [account(f"customer-{number}", limit=10_000) for number in range(5)]
    unasked = [FIVE_PERCENT.beside(one) for one in several]
    ledger = world.process.ledger
    for one in several:
        taken = world.process.asks((one, 10))
        assert taken is not None
        ledger.release_soon(taken.call_id)
    for _ in range(int(IDLE_SECONDS / LIFE_SECONDS * 3)):
        world.now += LIFE_SECONDS / 3
        ledger.tick()
        world.process.asks((several[0], 1))
    ledger.tick()
    held = [one.held for one in world.authority.balances(unasked)]
    assert held[0] > 0
    assert held[1:] == [0, 0, 0, 0]


def test_no_more_slices_are_kept_than_are_bound() -> None:
    slices = Slices(lambda: "me", most=3)
    for number in range(9):
        slices.want(hold((account(f"a{number}", limit=100), 1)), FIVE_PERCENT, float(number))
    assert len(slices.beside) == 6  # twice as many until the next look
    slices.ask()
    gone = slices.collect(9.0, idle_seconds=IDLE_SECONDS)
    assert [one.account.budget_id for one in gone] == ["a0", "a1", "a2"]
    assert len(slices.beside) == 3


def test_an_allowance_without_room_is_asked_for_again_only_later() -> None:
    world = World()
    whole = account("all", limit=1_000)
    first = world.process
    for _ in range(200):
        first.asks((whole, 1))
        world.now += 1
        first.ledger.tick()
    second = Process(world.authority, FIVE_PERCENT, Drawer(), lambda: world.now)
    assert second.asks((whole, 1)) is None
    questions = second.way.questions
    second.ledger.tick()
    second.asks((whole, 1))
    assert second.way.questions == questions
    first.ledger.close()  # what its calls hold stays; nothing else was left
    world.now += 31
    second.ledger.tick()
    assert second.way.questions > questions


def test_a_forked_child_has_none_of_its_parents_slices() -> None:
    world = World()
    whole = account("all", limit=100_000)
    world.process.asks((whole, 10))
    assert world.process.left(whole) > 0
    world.process.ledger.forget()
    assert world.process.left(whole) == 0


def test_rules_that_allow_nothing_any_more_let_nothing_through() -> None:
    world = World()
    whole = account("all", limit=100_000)
    world.process.asks((whole, 10))
    world.process.ledger.use(None)
    assert world.process.asks((whole, 10)) is None


def test_slices_are_asked_for_in_another_thread_than_the_callers() -> None:
    world = World()
    threads: list[int] = []

    class Watched(Way):
        def _leave(self) -> None:
            threads.append(threading.get_ident())

    way = Watched(world.authority)
    ledger = AllowedLedger(MemoryLedger(), world.drawer, way, world.drawer)
    ledger.use(FIVE_PERCENT)
    ledger.hold_now(hold((account("all", limit=100_000), 10)))
    ledger.close()
    assert threads
    assert threads[0] != threading.get_ident()


def test_a_plan_that_is_touched_again_asks_for_nothing() -> None:
    world = World()
    whole = account("all", limit=100_000)
    world.process.asks((whole, 10))
    questions = world.process.way.questions
    for _ in range(50):
        taken = world.process.asks((whole, 10))
        assert taken is not None
        world.process.ledger.release_soon(taken.call_id)
    assert world.process.way.questions == questions


def test_calls_that_the_authority_holds_are_none_of_the_allowances_matter() -> None:
    world = World()
    away = Away()
    world.process.ledger.decide_by(away, world.drawer)
    world.process.ledger.release_soon("some-call")
    assert away.released == ["some-call"]

"""When somebody is told that a budget runs low, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tests.contract.ledger.making import account, call, new_id
from tollspan.budget import (
    Account,
    Allowance,
    Balance,
    BudgetWarning,
    MemoryLedger,
    Warner,
    parse_rules,
)
from tollspan.usage import (
    Charge,
    Cost,
    DecisionNote,
    LedgerUnavailableError,
    Outcome,
    Usage,
    UsageEvent,
)


class World:
    """A warner over a memory ledger; what it told is kept, and time stands still."""

    def __init__(self, budget: str, ledger: MemoryLedger | None = None) -> None:
        self.rules = parse_rules(f"version: 1\nbudgets: [{{id: all, {budget}}}]")
        self.ledger = ledger or MemoryLedger()
        self.told: list[BudgetWarning] = []
        self.now = 0.0
        self.warner = Warner(
            lambda: self.rules, self.ledger, self.ledger, self.told.append, clock=lambda: self.now
        )

    def spend(self, amount: int, **more: object) -> list[Decimal | None]:
        """Post an amount in the budget's unit; return the shares that were told of."""
        before = len(self.told)
        action = more.pop("action", "allow")
        charge = {"budget_id": "all", "unit": self.rules.budgets[0].unit, **more}
        done = UsageEvent(
            call=call(new_id()),
            decision=DecisionNote(action=action, rule_ids=("all",)),  # type: ignore[arg-type]  # a keyword of a test
            outcome=Outcome(status="ok"),
            usage=Usage(output=1),
            cost=Cost(status="priced", amount_nanousd=0),
            charges=(Charge(posted=amount, **charge),),  # type: ignore[arg-type]  # the same
        )
        self.ledger.post(done, None)
        self.warner.look(done)
        return [one.share for one in self.told[before:]]


HALF, MOST = Decimal("0.5"), Decimal("0.8")


def test_each_share_is_told_once_when_it_is_reached() -> None:
    world = World("limit: 100 tokens, warn_at: [0.5, 0.8]")
    assert [world.spend(amount) for amount in (49, 1, 29, 1, 100)] == [[], [HALF], [], [MOST], []]


def test_a_raised_limit_is_told_anew_by_its_own_shares() -> None:
    world = World("limit: 100 tokens, warn_at: [0.5, 0.8]")
    assert world.spend(80) == [HALF, MOST]
    world.rules = parse_rules(
        "version: 1\nbudgets: [{id: all, limit: 160 tokens, warn_at: [0.5, 0.8]}]"
    )
    assert [world.spend(amount) for amount in (1, 47, 1)] == [[HALF], [MOST], []]
    assert [(one.limit, one.spent) for one in world.told[2:]] == [(160, 81), (160, 128)]


def test_one_call_may_pass_several_shares() -> None:
    assert World("limit: 100 tokens, warn_at: [0.8, 0.5]").spend(90) == [HALF, MOST]


def test_every_period_and_owner_is_told_anew() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5, per: [customer], window: day")
    for scope in ('{"customer":"a"}', '{"customer":"b"}'):
        for period in ("2026-11-22", "2026-11-23"):
            assert world.spend(60, scope=scope, period=period) == [HALF]
            assert world.spend(10, scope=scope, period=period) == []
    assert {one.scope for one in world.told} == {(("customer", "a"),), (("customer", "b"),)}


def test_who_has_a_limit_of_his_own_is_told_of_by_its_shares() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5, per: customer, limits: {a: 1000 tokens}")
    assert world.spend(60, scope='{"customer":"a"}') == []
    assert world.spend(60, scope='{"customer":"b"}') == [HALF]
    assert world.spend(440, scope='{"customer":"a"}') == [HALF]
    assert world.told[-1].limit == 1000


def test_two_processes_tell_it_once_together() -> None:
    ledger = MemoryLedger()
    worlds = [World("limit: 100 tokens, warn_at: 0.5", ledger) for _ in range(2)]
    assert [world.spend(60) for world in worlds] == [[HALF], []]


def test_a_warning_says_how_the_account_stands() -> None:
    world = World(
        "limit: 100 tokens, warn_at: 0.5, message: Low., upgrade_url: 'https://x.example'"
    )
    world.spend(70)
    (told,) = world.told
    assert (told.rule_id, told.reason, told.unit) == ("all", "share", "tokens")
    assert (told.limit, told.spent, told.held) == (100, 70, 0)
    assert (told.message, told.upgrade_url) == ("Low.", "https://x.example")


def test_what_may_have_been_spent_counts_as_used() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5")
    assert world.spend(1, unresolved=60) == [HALF]


def test_what_nobody_knows_the_use_of_is_told_of_too() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5")
    assert world.spend(0, unresolved=60) == [HALF]


def test_a_budget_that_counts_something_else_now_is_told_of_anew() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5")
    assert world.spend(60) == [HALF]
    world.rules = parse_rules("version: 1\nbudgets: [{id: all, limit: 10 calls, warn_at: 0.5}]")
    assert world.spend(5) == [HALF]
    assert world.told[-1].unit == "calls"


def test_a_budget_that_only_warns_is_told_of_once_a_minute_and_account() -> None:
    world = World("limit: 1 token, on_exceed: warn")
    for second, tells in ((0, 1), (30, 0), (59, 0), (60, 1), (61, 0)):
        world.now = second
        assert len(world.spend(5, action="warn")) == tells, second
    assert len(world.spend(5, action="warn", scope='{"customer":"b"}')) == 1
    assert {one.reason for one in world.told} == {"exceeded"}


def test_a_warning_that_could_not_be_told_is_told_by_the_next_call() -> None:
    class Away(MemoryLedger):
        is_away = True

        def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
            if self.is_away:
                raise LedgerUnavailableError("away")
            return super().balances(accounts)

    ledger = Away()
    world = World("limit: 1 token, on_exceed: warn, warn_at: 1", ledger)
    with pytest.raises(LedgerUnavailableError):
        world.spend(5, action="warn")
    ledger.is_away = False
    assert world.spend(5, action="warn") == [None, Decimal(1)]


@pytest.mark.parametrize("action", ["allow", "shadow"])
def test_a_call_that_fits_or_is_only_watched_warns_nobody(action: str) -> None:
    assert World("limit: 1 token, on_exceed: warn").spend(5, action=action) == []


def test_new_rules_tell_by_their_own_shares() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5")
    assert world.spend(60) == [HALF]
    world.rules = parse_rules("version: 1\nbudgets: [{id: all, limit: 50 tokens, warn_at: 0.8}]")
    assert world.spend(1) == [MOST]


def test_a_budget_whose_unit_was_changed_is_not_judged_by_what_it_counted_before() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5")
    assert world.spend(60, unit="calls") == []
    assert world.ledger.balance(account(unit="calls")).posted == 60


def test_what_was_spent_unasked_in_an_outage_is_no_share_of_the_budget() -> None:
    world = World("limit: 100 tokens, warn_at: 0.5")
    unasked = Allowance(share=Decimal(1)).beside(account(period=""))
    assert world.spend(90, period=unasked.period) == []
    assert world.spend(90) == [HALF]

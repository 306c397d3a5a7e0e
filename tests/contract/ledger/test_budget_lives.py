"""Random lives of budgets through the gate: windows, linked budgets, new rules in mid-call.

The model knows nothing of accounts, plans or period keys: it is a dictionary of sums, by what a
budget is for and the calendar as Python's own `datetime` has it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contract.ledger.kits import KITS, Kit
from tests.contract.ledger.making import NOON_UNIX_NS, new_id
from tollspan.budget import (
    Account,
    Budget,
    BudgetGate,
    Closer,
    Closing,
    Condition,
    Decision,
    Every,
    LeasedLedger,
    RuleSet,
    Window,
)
from tollspan.usage import (
    Attribution,
    Bound,
    BudgetUnit,
    Call,
    Cost,
    Outcome,
    Request,
    Response,
    Usage,
)

SECOND = 1_000_000_000
STEPS = (1, 1_800, 3_600, 3_600, 23 * 3_600, 8 * 86_400, 33 * 86_400)
NAMES = ("org", "team", "customer", "tokens", "calls", "hint")
CUSTOMERS = (None, "acme")
Key = tuple[str, str, str, str]
"""A budget, its unit, its owner, and the beginning of its period."""


def calendar(every: Every) -> Callable[[datetime], object]:
    """Say when a period began, in the plainest way."""
    berlin = ZoneInfo("Europe/Berlin")
    begins: dict[str, Callable[[datetime], object]] = {
        "lifetime": lambda now: "",
        "hour": lambda now: now.replace(minute=0, second=0, microsecond=0),
        "day": lambda now: now.astimezone(berlin).date(),
        "week": lambda now: now.date() - timedelta(days=now.weekday()),
        "month": lambda now: _fourteenth(now.date()),
        "year": lambda now: now.year,
    }
    return begins[every]


def _fourteenth(day: date) -> date:
    """Find the last fourteenth."""
    if day.day >= 14:
        return day.replace(day=14)
    return (day.replace(day=1) - timedelta(days=1)).replace(day=14)


WINDOWS: dict[Every, Window] = {
    "lifetime": Window(),
    "hour": Window(every="hour"),
    "day": Window(every="day", timezone="Europe/Berlin"),
    "week": Window(every="week"),
    "month": Window(every="month", anchor=date(2026, 1, 14)),
    "year": Window(every="year"),
}
EVERY = st.sampled_from(["hour", *sorted(WINDOWS)])
LIMITS = st.one_of(st.integers(0, 12), st.sampled_from([0, 400]))
EXAMPLES = {"memory": 600, "leased-memory": 200, "sqlite": 80, "leased-sqlite": 60}
UNITS: dict[str, BudgetUnit] = {"tokens": "tokens", "calls": "calls"}


class Prices:
    """Bounds and costs that the machine sets just before they are asked for."""

    bound_nanousd = most_tokens = cost_nanousd = 0

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        return Bound(amount_nanousd=self.bound_nanousd)

    def most_of(
        self, request: Request, unit: str, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        return self.most_tokens, ()

    def rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        return Cost(status="priced", amount_nanousd=self.cost_nanousd)


class Standing(msgspec.Struct):
    """What the model knows of one account."""

    posted: int = 0
    held: int = 0
    unresolved: int = 0

    @property
    def counted(self) -> int:
        return self.posted + self.held + self.unresolved


class Flight(msgspec.Struct):
    """A call in flight, and what the model holds for it."""

    call: Call
    decision: Decision
    legs: list[tuple[Key, int]]


class BudgetLives(RuleBasedStateMachine):
    """A program makes calls while time goes by and its rules change."""

    open_kit: ClassVar[Callable[[Path], AbstractContextManager[Kit]]]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        home = Path(tempfile.mkdtemp(prefix="tollspan-budget-lives-"))
        self.stack.callback(shutil.rmtree, home)
        self.kit = self.stack.enter_context(type(self).open_kit(home))
        self.prices = Prices()
        self.budgets = {
            name: Budget(id=name, limit=400, unit=UNITS.get(name, "usd")) for name in NAMES
        }
        self.budgets["team"] = self.having("team", where=(Condition("team", ("core",)),))
        for name in ("customer", "tokens"):
            self.budgets[name] = self.having(name, per=("customer",))
        self.budgets["hint"] = self.having("hint", on_exceed="warn")
        self.in_force = set(NAMES)
        self.gate = BudgetGate(self.document(), self.prices, self.kit.ledger)
        self.closer = Closer(self.prices, self.kit.ledger)
        self.now_unix_ns = NOON_UNIX_NS
        self.standing: dict[Key, Standing] = {}
        self.accounts: dict[Key, Account] = {}
        self.in_flight: list[Flight] = []

    def teardown(self) -> None:
        self.compare()
        self.stack.close()

    def having(self, name: str, **changes: Any) -> Budget:
        """Return a budget with something else in it."""
        return msgspec.structs.replace(self.budgets[name], **changes)

    def document(self) -> RuleSet:
        """Write the document in force."""
        return RuleSet(budgets=tuple(self.budgets[name] for name in sorted(self.in_force)))

    # -- what happens --

    @initialize(names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), every=EVERY)
    def a_program_begins(self, names: set[str], every: Every) -> None:
        self.in_force = names
        for name in names:
            self.budgets[name] = self.having(name, limit=15, window=WINDOWS[every])
        self.gate.use(self.document())

    @rule(beside=st.sampled_from([-1, 0, 1]))
    def an_hour_ends(self, beside: int) -> None:
        hour = 3_600 * SECOND
        self.now_unix_ns += hour - self.now_unix_ns % hour + beside

    @rule(seconds=st.sampled_from(STEPS))
    def time_goes_by(self, seconds: int) -> None:
        self.now_unix_ns += seconds * SECOND

    @rule(name=st.sampled_from(NAMES), limit=LIMITS)
    def a_limit_is_raised_or_lowered(self, name: str, limit: int) -> None:
        self.budgets[name] = self.having(name, limit=limit)
        self.gate.use(self.document())

    @rule(name=st.sampled_from(NAMES), every=EVERY)
    def a_budget_has_another_window(self, name: str, every: Every) -> None:
        self.budgets[name] = self.having(name, window=WINDOWS[every])
        self.gate.use(self.document())

    @rule(name=st.sampled_from(NAMES))
    def a_budget_goes_or_comes_back(self, name: str) -> None:
        self.in_force ^= {name}
        self.gate.use(self.document())

    @rule(bound=st.integers(0, 5))
    def a_usual_call_asks(self, bound: int) -> None:
        self.a_call_asks("acme", "core", bound, bound)

    @rule(
        customer=st.sampled_from(CUSTOMERS),
        team=st.sampled_from(["core", "shop"]),
        bound=st.integers(0, 5),
        tokens=st.integers(0, 5),
    )
    def another_call_asks(self, customer: str | None, team: str, bound: int, tokens: int) -> None:
        self.a_call_asks(customer, team, bound, tokens)

    def a_call_asks(self, customer: str | None, team: str, bound: int, tokens: int) -> None:
        """Ask for a call, and compare what the gate says with what the model says."""
        self.prices.bound_nanousd, self.prices.most_tokens = bound, tokens
        call = Call(
            id=new_id(),
            started_at_unix_ns=self.now_unix_ns,
            request=Request(provider="openai", operation="chat", model="m", max_output_tokens=9),
            attribution=Attribution(customer=customer, team=team),
        )
        asked = self.asked_of(customer, team, {"usd": bound, "tokens": tokens, "calls": 1})
        self.settle_down()
        decision = self.gate.authorize(call)
        short = [
            key
            for key, amount in asked
            if not self.fits(key, amount) and self.budgets[key[0]].on_exceed == "deny"
        ]
        assert (decision.denial is not None) == bool(short), (decision, short)
        if decision.denial is not None:
            assert decision.denial.rule_id in {key[0] for key in short}
            return
        self.know_the_accounts(decision, asked)
        for key, amount in asked:
            self.standing[key].held += amount
        self.in_flight.append(Flight(call, decision, asked))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), share=st.integers(0, 5), is_cut_off=st.booleans())
    def a_call_ends(self, data: st.DataObject, share: int, is_cut_off: bool) -> None:
        """End a call, now, in whichever period that is; it may cost a quarter too much."""
        flight = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        held = dict.fromkeys(("usd", "tokens"), 0) | {key[1]: n for key, n in flight.legs}
        used = {unit: amount * share // 4 for unit, amount in held.items()} | {"calls": 1}
        self.prices.cost_nanousd = used["usd"]
        usage = Usage(status="reported", output=used["tokens"])
        self.closer.close(
            Closing(flight.call, flight.decision, usage, Outcome(status="ok"), None, is_cut_off)
        )
        for key, amount in flight.legs:
            stands = self.standing[key]
            stands.held -= amount
            stands.posted += used[key[1]]
            if is_cut_off and key[1] != "calls":
                stands.unresolved += max(0, amount - used[key[1]])

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def a_call_is_never_made(self, data: st.DataObject) -> None:
        flight = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.kit.ledger.release_soon(flight.call.id)
        self.kit.drain()
        for key, amount in flight.legs:
            self.standing[key].held -= amount

    @rule()
    def compare(self) -> None:
        """Compare every account that was ever touched with what the model knows."""
        self.kit.drain()
        for key, account in self.accounts.items():
            stands = self.standing[key]
            expected = (stands.posted, stands.held, stands.unresolved)
            assert self.kit.balance(account) == expected, key

    # -- the model --

    def asked_of(
        self, customer: str | None, team: str, amounts_of: dict[str, int]
    ) -> list[tuple[Key, int]]:
        """Say in which accounts a call counts, and how much it may use there."""
        now = datetime.fromtimestamp(self.now_unix_ns // SECOND, UTC)
        found: list[tuple[Key, int]] = []
        for name in sorted(self.in_force):
            budget = self.budgets[name]
            if budget.where and team != "core":
                continue
            owner = repr(customer) if budget.per else ""
            every = budget.window.every
            key = (name, budget.unit, owner, f"{every} {calendar(every)(now)}")
            self.standing.setdefault(key, Standing())
            found.append((key, amounts_of[budget.unit]))
        return found

    def fits(self, key: Key, amount: int) -> bool:
        """Say whether so much more may be held."""
        limit = self.budgets[key[0]].limit
        return limit > 0 and self.standing[key].counted + amount <= limit

    def know_the_accounts(self, decision: Decision, asked: list[tuple[Key, int]]) -> None:
        """Check that the call holds where the model says, each place being one account."""
        legs = decision.hold.legs if decision.hold is not None else ()
        held = {account.budget_id: (account, amount) for account, amount in legs}
        assert {name: amount for name, (_, amount) in held.items()} == {
            key[0]: amount for key, amount in asked
        }
        for key, _ in asked:
            account = held[key[0]][0]
            known = self.accounts.setdefault(key, account)
            assert named(known) == named(account)
        assert len({named(one) for one in self.accounts.values()}) == len(self.accounts)

    def settle_down(self) -> None:
        """Have leases give back what calls did not use, so that a refusal is exact."""
        if isinstance(self.kit.ledger, LeasedLedger):
            self.kit.drain()


def named(account: Account) -> tuple[str, str, str, str]:
    """Return what names an account."""
    return account.budget_id, account.scope, account.period, account.unit


def lives_of(kit: str) -> type[BudgetLives]:
    """Return the machine over one kind of ledger."""
    return type("Lives", (BudgetLives,), {"open_kit": staticmethod(KITS[kit])})


@pytest.mark.parametrize("kit", sorted(KITS))
def test_budgets_count_as_a_model_of_a_few_sums_does(kit: str) -> None:
    few = settings(max_examples=EXAMPLES[kit], stateful_step_count=40, deadline=None)
    run_state_machine_as_test(lives_of(kit), settings=few)


@pytest.mark.slow
@pytest.mark.parametrize("kit", sorted(KITS))
def test_budgets_count_as_the_model_does_for_long(kit: str) -> None:
    many = settings(max_examples=3_000, stateful_step_count=80, deadline=None)
    run_state_machine_as_test(lives_of(kit), settings=many)

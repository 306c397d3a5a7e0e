"""Random lives of a file that two owners share, against the memory ledger as the model."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contract.ledger.kits import amounts
from tests.contract.ledger.making import account, charge, event, hold, new_id, settled
from tollspan.budget import Account, Hold, MemoryLedger, Refusal
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.ledger._repair import recompute
from tollspan.ledger._session import Session
from tollspan.usage import BudgetUnit, UsageEvent

NAMES = ("wide", "narrow", "day")
UNITS = st.sampled_from(["usd", "tokens", "calls"])
SHARES = st.sampled_from([Decimal("0.5"), Decimal("0.50"), Decimal("0.8"), Decimal(1)])
LARGE = 1 << 59
LARGEST_SOFT = 1 << 50  # so much of what a soft account has no room for is held at most
AMOUNTS = st.one_of(st.integers(0, 60), st.sampled_from([0, LARGE, 1 << 63]))
LIMITS = st.one_of(st.integers(0, 300), st.just(1 << 60))
OWNERS = st.sampled_from([0, 1])
Key = tuple[str, str, str]


def key(where: Account) -> Key:
    """Name an account without its limit."""
    return where.budget_id, where.period, where.unit


class Lives(RuleBasedStateMachine):
    """Two owners of one file do at random what programs do, and end with calls in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="tollspan-lives-"))
        self.path = self.home / LEDGER_FILE
        self.owners = (SQLiteLedger(self.home), SQLiteLedger(self.home))
        self.model = MemoryLedger()
        self.limits = dict.fromkeys(NAMES, 100)
        self.units: dict[str, BudgetUnit] = dict.fromkeys(NAMES, "usd")
        self.soft: set[str] = set()
        self.day = 0
        self.seen: dict[Key, Account] = {}
        self.highest_limit: Counter[Key] = Counter()
        self.by_named_causes: Counter[Key] = Counter()
        self.in_flight: dict[str, tuple[int, Hold]] = {}
        self.orphans: dict[str, Hold] = {}
        self.finished: list[UsageEvent] = []

    def teardown(self) -> None:
        for owner in self.owners:
            owner.close()
        shutil.rmtree(self.home)

    @initialize()
    def open(self) -> None:
        self.owners[0].open()

    @rule(name=st.sampled_from(NAMES), limit=LIMITS)
    def a_limit_is_changed(self, name: str, limit: int) -> None:
        self.limits[name] = limit

    @rule(name=st.sampled_from(NAMES), unit=UNITS)
    def a_budget_counts_something_else(self, name: str, unit: BudgetUnit) -> None:
        self.units[name] = unit

    @rule(name=st.sampled_from(NAMES), is_soft=st.booleans())
    def a_budget_becomes_soft_or_hard(self, name: str, is_soft: bool) -> None:
        (self.soft.add if is_soft else self.soft.discard)(name)

    @rule()
    def a_day_goes_by(self) -> None:
        self.day += 1

    @rule(owner=OWNERS, asked=st.dictionaries(st.sampled_from(NAMES), AMOUNTS, min_size=1))
    def a_call_asks(self, owner: int, asked: dict[str, int]) -> None:
        wanted = hold(
            *(
                (self.account(name), min(amount, LARGEST_SOFT) if name in self.soft else amount)
                for name, amount in sorted(asked.items())
            )
        )
        answer = self.owners[owner].hold(wanted)
        assert answer == self.model.hold(wanted)
        if answer is None or answer.is_held:
            self.in_flight[wanted.call_id] = (owner, wanted)
            self.is_held(wanted, answer)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def a_call_asks_again(self, data: st.DataObject) -> None:
        owner, held = self.in_flight[data.draw(st.sampled_from(sorted(self.in_flight)))]
        for answer in (self.owners[owner].hold(held), self.model.hold(held)):
            assert answer is None or answer.is_held

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), quarters=st.integers(0, 5), keeps_rest=st.booleans())
    def a_call_ends(self, data: st.DataObject, quarters: int, keeps_rest: bool) -> None:
        owner, held = self.pick(data)
        charges = []
        for where, amount in held.legs:
            cost = min(amount * quarters // 4, LARGE)
            rest = amount - cost if keeps_rest and cost < amount else 0
            charges.append(charge(where, posted=cost, unresolved=rest))
        done = event(held.call_id, *charges)
        self.owners[owner].post(done, held)
        self.is_finished(done, held)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), cost=st.integers(0, 50))
    def a_call_ends_in_an_outage(self, data: st.DataObject, cost: int) -> None:
        owner, held = self.pick(data)
        done = settled(held, cost)
        self.owners[owner].rescue(done, held)
        self.owners[owner].take_rescued()
        self.is_finished(done, held)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def a_call_is_given_up(self, data: st.DataObject) -> None:
        owner, held = self.pick(data)
        self.owners[owner].release_soon(held.call_id)
        self.owners[owner].hold_soon(hold()).result(10)
        self.model.release_soon(held.call_id)

    @precondition(lambda self: self.finished)
    @rule(data=st.data())
    def an_event_comes_again(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.finished))
        self.owners[0].post(done, None)
        self.owners[1].post_soon(done, None).result(10)

    @rule(owner=OWNERS, name=st.sampled_from(NAMES), cost=st.integers(0, 50))
    def an_unknown_call_is_heard_of(self, owner: int, name: str, cost: int) -> None:
        done = event(new_id(), charge(self.account(name), posted=cost))
        self.owners[owner].post(done, None)
        self.is_finished(done, None)

    @rule(owner=OWNERS, name=st.sampled_from(NAMES), share=SHARES)
    def a_share_is_passed(self, owner: int, name: str, share: Decimal) -> None:
        where = self.account(name)
        assert self.owners[owner].is_first(where, share) is self.model.is_first(where, share)

    @rule(owner=OWNERS)
    def an_owner_ends_and_the_other_sweeps(self, owner: int) -> None:
        self.owners[owner].close()
        left = {call: held for call, (mine, held) in self.in_flight.items() if mine == owner}
        assert self.owners[1 - owner].sweep() == sum(1 for held in left.values() if held.legs)
        for call, held in left.items():
            del self.in_flight[call]
            self.orphans[call] = held
            self.model.release_soon(call)
            self.move_in_model(held, 1)

    @precondition(lambda self: self.orphans)
    @rule(owner=OWNERS, data=st.data(), cost=st.integers(0, 50), knows_hold=st.booleans())
    def a_dead_call_is_heard_of_after_all(
        self, owner: int, data: st.DataObject, cost: int, knows_hold: bool
    ) -> None:
        held = self.orphans.pop(data.draw(st.sampled_from(sorted(self.orphans))))
        done = settled(held, cost)
        self.owners[owner].post(done, held if knows_hold else None)
        self.move_in_model(held, -1)
        self.is_finished(done, held)

    @invariant()
    def every_account_stands_as_in_the_model(self) -> None:
        for where in self.seen.values():
            posted, held, unresolved = self.stands(where)
            assert (posted, held, unresolved) == amounts(self.model.balance(where))
            assert held >= 0
            allowed = self.highest_limit[key(where)] + self.by_named_causes[key(where)]
            assert posted + held + unresolved <= allowed

    @invariant()
    def what_is_posted_is_what_the_events_say(self) -> None:
        charged: Counter[Key] = Counter()
        for one in LedgerReader(self.path).events():
            assert isinstance(one, UsageEvent)
            for each in one.charges:
                charged[each.budget_id, each.period, each.unit] += each.posted
        for where in self.seen.values():
            assert self.stands(where)[0] == charged[key(where)]

    @invariant()
    def the_sums_are_what_a_rebuild_would_make_of_them(self) -> None:
        session = Session(self.path)
        try:
            session.begin(1.0)
            query = "SELECT * FROM accounts ORDER BY id"
            before = session.connection.execute(query).fetchall()
            recompute(session)
            assert session.connection.execute(query).fetchall() == before
        finally:
            session.rollback()
            session.close()

    def account(self, name: str) -> Account:
        """Name an account with its limit of now."""
        period = str(self.day) if name == "day" else ""
        found = account(
            name,
            limit=self.limits[name],
            period=period,
            unit=self.units[name],
            is_soft=name in self.soft,
        )
        self.seen[key(found)] = found
        return found

    def stands(self, where: Account) -> tuple[int, int, int]:
        """Return what the file says of an account."""
        for one in LedgerReader(self.path).balances():
            if key(one.account) == key(where):
                return amounts(one)
        return 0, 0, 0

    def pick(self, data: st.DataObject) -> tuple[int, Hold]:
        """Take one of the calls in flight."""
        return self.in_flight.pop(data.draw(st.sampled_from(sorted(self.in_flight))))

    def is_held(self, held: Hold, answer: Refusal | None) -> None:
        """Note what a hold adds: to its limit, and beyond it where that is soft."""
        short = [balance.account for balance in answer.balances] if answer else []
        assert all(where.is_soft for where in short)
        for where, amount in held.legs:
            if where in short:
                self.by_named_causes[key(where)] += amount
            else:
                assert sum(self.stands(where)) <= where.limit
                self.highest_limit[key(where)] = max(self.highest_limit[key(where)], where.limit)

    def is_finished(self, done: UsageEvent, held: Hold | None) -> None:
        """Tell the model of an event, and note what it adds beyond its hold."""
        self.finished.append(done)
        self.model.post(done, held)
        reserved = {key(where): amount for where, amount in held.legs} if held else {}
        for each in done.charges:
            name = (each.budget_id, each.period, each.unit)
            counted = each.posted + each.unresolved
            self.by_named_causes[name] += max(0, counted - reserved.get(name, 0))

    def move_in_model(self, held: Hold, sign: int) -> None:
        """Count a dead call's hold as unresolved in the model, or take it out again."""
        charges = (charge(where, posted=0, unresolved=sign * n) for where, n in held.legs)
        self.model.post(event(new_id(), *charges), None)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

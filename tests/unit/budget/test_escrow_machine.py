"""The escrow of one process, tried in every order against an authority that loses and repeats."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.contract.ledger.making import account, hold, settled
from tollspan.budget import (
    GivenBack,
    Grant,
    Hold,
    Lease,
    LeaseLostError,
    LeaseSettings,
    MemoryAuthority,
    Settlement,
    Want,
)
from tollspan.budget.escrow import Ask, Escrow
from tollspan.usage import UsageEvent

LEASES = LeaseSettings(
    first=2, most=8, idle_seconds=1, life_seconds=10, drift_seconds=1, horizon_seconds=30
)
ACCOUNTS = (
    account("wide", limit=5_000),
    account("narrow", limit=300),
    account("soft", limit=20, is_soft=True),
)
PICK = st.integers(0, 1_000)


class Lives(RuleBasedStateMachine):
    """One process does at random what programs do; its messages get lost, late or repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.authority = MemoryAuthority(LEASES, clock=lambda: int(self.now * 1_000_000_000))
        self.authority.open_epoch()
        self.escrow = Escrow(lambda: "me", LEASES, lambda: self.now)
        self.asked: list[tuple[Hold, Ask]] = []
        self.in_flight: dict[str, Hold] = {}
        self.stored: list[UsageEvent] = []
        self.told: list[UsageEvent] = []
        self.late: list[tuple[Lease, list[Want]]] = []
        self.late_back: list[tuple[Lease, list[GivenBack]]] = []

    # -- calls --

    @rule(amount=st.integers(0, 60), which=st.sets(st.sampled_from(ACCOUNTS), min_size=1))
    def a_call_asks(self, amount: int, which: set[object]) -> None:
        wanted = hold(*((where, amount) for where in ACCOUNTS if where in which))
        ask = self.escrow.begin(wanted)
        if ask is None:
            self.in_flight[wanted.call_id] = wanted
        elif isinstance(ask, Ask):
            self.asked.append((wanted, ask))

    @precondition(lambda self: self.asked)
    @rule(pick=PICK, fate=st.sampled_from(["heard", "heard", "heard", "lost", "late", "unheard"]))
    def a_question_is_answered(self, pick: int, fate: str) -> None:
        wanted, ask = self.asked.pop(pick % len(self.asked))
        if fate == "late":
            self.late.append((ask.lease, ask.wants))
        if fate in {"lost", "late"}:
            self.escrow.undo(ask)
            return
        try:
            answer = self.authority.grant(ask.lease, ask.wants)
        except LeaseLostError:
            self.escrow.undo(ask)
            self.escrow.lose(ask.lease)
            return
        if fate == "unheard" or not isinstance(answer, Grant):
            self.escrow.undo(ask)
        elif self.escrow.finish(wanted, ask, answer):
            self.in_flight[wanted.call_id] = wanted

    @precondition(lambda self: self.in_flight)
    @rule(pick=PICK, tenths=st.integers(0, 13))
    def a_call_ends(self, pick: int, tenths: int) -> None:
        wanted = self.in_flight.pop(sorted(self.in_flight)[pick % len(self.in_flight)])
        cost = wanted.legs[0][1] * tenths // 10
        self.stored.append(self.escrow.named(settled(wanted, cost)))
        assert self.escrow.settle(wanted.call_id)

    @precondition(lambda self: self.in_flight)
    @rule(pick=PICK)
    def a_call_is_never_made(self, pick: int) -> None:
        wanted = self.in_flight.pop(sorted(self.in_flight)[pick % len(self.in_flight)])
        assert self.escrow.settle(wanted.call_id)

    @precondition(lambda self: self.stored)
    @rule(pick=PICK, times=st.integers(1, 2))
    def an_event_is_settled(self, pick: int, times: int) -> None:
        event = self.stored.pop(pick % len(self.stored))
        self.told.append(event)
        for _ in range(times):
            self.settle(event)

    def settle(self, event: UsageEvent) -> None:
        told = Settlement(call_id=event.call.id, lease_id=event.lease_id, charges=event.charges)
        self.authority.settle([told])

    # -- what goes back --

    @rule(fate=st.sampled_from(["heard", "twice", "lost", "late", "unheard"]))
    def what_is_idle_goes_back(self, fate: str) -> None:
        lease = self.escrow.lease
        if lease is None:
            return
        given = self.escrow.collect(idle_seconds=LEASES.idle_seconds)
        asked_at = self.now
        if fate in {"lost", "late"}:
            again = self.escrow.unsent(lease, given)
            self.late_back += [(lease, again)] if fate == "late" or again else []
            return
        try:
            life_seconds = self.authority.give_back(lease, given)
            if fate == "twice":
                self.authority.give_back(lease, given)
        except LeaseLostError:
            self.escrow.lose(lease)
            return
        if fate == "unheard":
            self.late_back.append((lease, self.escrow.unsent(lease, given)))
        else:
            self.escrow.sent(lease, given)
            if self.escrow.has(lease):
                self.escrow.live(asked_at, life_seconds)

    @precondition(lambda self: self.late)
    @rule(pick=PICK)
    def a_late_question_comes(self, pick: int) -> None:
        lease, wants = self.late[pick % len(self.late)]
        try:
            self.authority.grant(lease, wants)
        except LeaseLostError:
            assert self.authority.epoch() is not None

    @precondition(lambda self: self.late_back)
    @rule(pick=PICK)
    def what_went_back_comes_late(self, pick: int) -> None:
        lease, given = self.late_back[pick % len(self.late_back)]
        try:
            self.authority.give_back(lease, given)
        except LeaseLostError:
            assert self.authority.epoch() is not None

    @rule(seconds=st.sampled_from([0.3, 1.0, 4.0, 9.5]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.authority.expire()

    # -- laws --

    @invariant()
    def hard_limits_hold(self) -> None:
        beyond: Counter[str] = Counter()
        for event in [*self.told, *self.stored]:
            for charge in event.charges:
                drawn = charge.posted if charge.drawn is None else charge.drawn
                beyond[charge.budget_id] += max(0, charge.posted - drawn)
        for where, balance in zip(ACCOUNTS, self.authority.balances(ACCOUNTS), strict=True):
            assert min(balance.posted, balance.held, balance.unresolved) >= 0
            if not where.is_soft:
                assert balance.counted <= where.limit + beyond[where.budget_id]

    @invariant()
    def nothing_is_posted_twice(self) -> None:
        posted: Counter[str] = Counter()
        for event in self.told:
            for charge in event.charges:
                posted[charge.budget_id] += charge.posted
        written_off = Counter(
            {
                key[0]: part.amount
                for has in self.authority._state.ended.values()
                if has.is_written_off
                for key, part in has.parts.items()
            }
        )
        for balance in self.authority.balances(ACCOUNTS):
            name = balance.account.budget_id
            assert balance.posted >= posted[name]
            if not written_off:
                assert balance.posted == posted[name]

    @invariant()
    def the_process_has_no_more_than_is_held_for_it(self) -> None:
        used: Counter[tuple[str, str]] = Counter()
        for event in self.stored:
            for charge in event.charges:
                drawn = charge.posted if charge.drawn is None else charge.drawn
                used[event.lease_id or "", charge.budget_id] += drawn
        for opened in self.escrow._open.values():
            for part, amount in zip(opened.parts, opened.amounts, strict=True):
                used[opened.lease.id, part.account.budget_id] += amount
        if self.escrow.lease is not None:
            for part in self.escrow._names.values():
                assert part.left >= 0
                assert part.calls_open >= 0
                used[self.escrow.lease.id, part.account.budget_id] += part.left
        state = self.authority._state
        for (lease_id, budget_id), amount in used.items():
            has = state.open.get(lease_id) or state.ended.get(lease_id)
            parts = has.parts.items() if has is not None else ()
            held = sum(part.amount for key, part in parts if key[0] == budget_id)
            assert amount <= held


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)

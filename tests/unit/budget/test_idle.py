"""Idle windows at the gate: an account begins anew once its owner has been silent for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tests.contract.ledger.making import NOON_UNIX_NS, new_id
from tests.unit.budget.test_gate import Prices
from tollspan.budget import (
    IDLE,
    Account,
    Budget,
    BudgetGate,
    Closer,
    Closing,
    Condition,
    Decision,
    Looking,
    MemoryLedger,
    Replay,
    RuleSet,
    Touch,
    Window,
    end_of,
    idle_key,
    periods,
    read_idle,
)
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    LedgerUnavailableError,
    Mode,
    Outcome,
    Request,
    SessionLimitExceededError,
    Usage,
    UsageEvent,
)

IDLE_SECONDS = 100
SECOND = 1_000_000_000


def session(limit: int = 1_000_000, **more: object) -> Budget:
    """Return a budget of each session that begins anew after 100 s of silence."""
    return Budget(
        id="session",
        limit=limit,
        per=("session",),
        window=Window(every=IDLE, seconds=IDLE_SECONDS),
        **more,  # type: ignore[arg-type]  # the same
    )


class Mute(MemoryLedger):
    """A memory authority that a test makes silent, and whose questions it counts."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock=clock)
        self.is_mute = False
        self.touches: list[Touch] = []

    def touch(self, touch: Touch) -> str:
        self.touches.append(touch)
        if self.is_mute:
            raise LedgerUnavailableError("silent")
        return super().touch(touch)


class World:
    """Processes that share an authority, at a time that a test sets."""

    def __init__(self, *budgets: Budget, mode: Mode = "enforce", **defaults: object) -> None:
        self.seconds = 0.0
        self.prices = Prices()
        self.ledger = Mute(self.unix_ns)
        self._rules = RuleSet(budgets=budgets or (session(),), **defaults)  # type: ignore[arg-type]  # keywords of a test
        self._mode = mode
        self.gate = self.process()
        self.closer = Closer(self.prices, self.ledger)

    def unix_ns(self) -> int:
        return NOON_UNIX_NS + int(self.seconds * SECOND)

    def process(self) -> BudgetGate:
        return BudgetGate(
            self._rules,
            self.prices,
            self.ledger,
            mode=self._mode,
            clock=lambda: 5_000.0 + self.seconds,
            acquire_timeout_seconds=5,
        )

    def call(self, whose: str | None = "a") -> Call:
        return Call(
            id=new_id(),
            started_at_unix_ns=self.unix_ns(),
            request=Request(provider="openai", operation="chat", model="m", max_output_tokens=9),
            attribution=Attribution(session=whose),
        )

    def ask(self, whose: str | None = "a", gate: BudgetGate | None = None) -> tuple[Call, Decision]:
        call = self.call(whose)
        return call, (gate or self.gate).authorize(call)

    def end(self, call: Call, decision: Decision) -> UsageEvent:
        usage = Usage(status="reported", output=1)
        return self.closer.close(Closing(call, decision, usage, Outcome(status="ok")))

    def spend(self, whose: str | None = "a", gate: BudgetGate | None = None) -> str:
        """Make a call that costs 30; return its period."""
        call, decision = self.ask(whose, gate)
        assert decision.denial is None, decision.denial
        (charge,) = self.end(call, decision).charges
        return charge.period


def period_of(decision: Decision) -> str:
    assert decision.hold is not None
    return decision.hold.legs[0][0].period


def test_an_account_begins_anew_after_silence_and_not_before() -> None:
    world = World()
    first = world.spend()
    assert first == idle_key(IDLE_SECONDS, NOON_UNIX_NS // 1_000)
    world.seconds = 99.9
    assert world.spend() == first
    world.seconds = 99.9 + 109.9
    assert world.spend() == first
    world.seconds += 110.1
    again = world.spend()
    assert again == idle_key(IDLE_SECONDS, world.unix_ns() // 1_000)
    accounts = [
        Account(budget_id="session", scope='{"session":"a"}', period=one, limit=0)
        for one in (first, again)
    ]
    assert [one.posted for one in world.ledger.balances(accounts)] == [90, 30]


def test_a_session_that_is_used_up_is_refused_and_told_how_long_to_be_silent() -> None:
    world = World(session(limit=250))
    for _ in range(6):
        world.spend()
    _, decision = world.ask()
    denial = decision.denial
    assert isinstance(denial, SessionLimitExceededError)
    assert denial.spent == 180
    assert denial.resets_at is not None
    assert denial.resets_at.timestamp() * SECOND == world.unix_ns() + 110 * SECOND
    assert denial.recovery.retry_after_seconds == 110
    world.spend("another")


def test_calls_that_are_refused_keep_a_session_from_beginning_anew() -> None:
    world = World(session(limit=100))
    world.spend()
    for _ in range(5):
        world.seconds += 60
        assert world.ask()[1].denial is not None
    world.seconds += 111
    world.spend()


def test_a_call_that_runs_for_long_keeps_its_session_alive() -> None:
    world = World()
    call, decision = world.ask()
    for _ in range(40):
        world.seconds += 10
        world.gate.tick()
    other = world.process()
    assert world.spend(gate=other) == period_of(decision)
    world.end(call, decision)
    world.gate.tick()
    world.seconds += 99
    assert world.spend(gate=world.process()) == period_of(decision)


def test_what_is_held_keeps_a_session_alive_although_its_process_says_nothing() -> None:
    world = World()
    _, decision = world.ask()
    world.seconds += 1_000
    assert world.spend(gate=world.process()) == period_of(decision)


def test_an_end_counts_as_activity_once_it_is_told() -> None:
    world = World()
    call, decision = world.ask()
    world.seconds += 60
    world.end(call, decision)
    world.seconds += 6
    world.gate.tick()
    assert world.ledger.touches[-1].ago_ns == pytest.approx(6 * SECOND)
    world.seconds = 60 + 109
    look = Touch(account=account_of(decision), idle_seconds=IDLE_SECONDS, is_look=True)
    assert world.ledger.touch(look) == period_of(decision)
    world.seconds = 60 + 111
    assert world.ledger.touch(look) != period_of(decision)


def account_of(decision: Decision) -> Account:
    assert decision.hold is not None
    return decision.hold.legs[0][0]


def test_the_authority_is_asked_once_in_a_tenth_of_the_idle_time() -> None:
    world = World()
    for _ in range(1_000):
        world.seconds += 0.1
        world.spend()
    assert len(world.ledger.touches) <= 11


def test_with_a_tick_calls_never_wait_for_the_authority_but_the_first() -> None:
    world = World()
    world.spend()
    for _ in range(200):
        world.seconds += 1
        world.gate.tick()
        world.ledger.is_mute = True  # a call that asked now would not get an answer
        world.spend()
        world.ledger.is_mute = False
    assert len(world.ledger.touches) == 1 + 200 // 5


def test_processes_share_the_period_of_a_session() -> None:
    world = World()
    one, other = world.process(), world.process()
    first = world.spend(gate=one)
    for _ in range(20):
        world.seconds += 20
        one.tick()
        other.tick()
        assert world.spend(gate=one) == world.spend(gate=other) == first
    world.seconds += 111
    assert world.spend(gate=other) == world.spend(gate=one) != first


def test_without_the_authority_what_is_known_is_used_and_what_is_not_is_denied() -> None:
    world = World()
    first = world.spend()
    world.ledger.is_mute = True
    world.seconds = 50
    assert world.spend() == first
    _, decision = world.ask("new")
    assert decision.denial is not None
    assert decision.note.is_unavailable
    world.ledger.is_mute = False
    world.spend("new")


def test_where_the_rules_allow_outages_a_call_names_a_period_that_the_authority_takes() -> None:
    world = World(on_unavailable="allow")
    world.ledger.is_mute = True
    call, decision = world.ask()
    assert decision.denial is None
    assert decision.note.is_unavailable
    world.ledger.is_mute = False
    world.seconds += 1
    assert world.spend() == period_of(decision)
    world.end(call, decision)


def test_a_call_in_an_event_loop_awaits_the_answer() -> None:
    world = World()
    call = world.call()
    decision = asyncio.run(world.gate.authorize_async(call))
    assert decision.denial is None
    assert read_idle(period_of(decision)) is not None
    world.ledger.is_mute = True
    refused = asyncio.run(world.gate.authorize_async(world.call("new")))
    assert refused.denial is not None
    assert refused.note.is_unavailable
    world.gate.close(5)


def test_looking_begins_nothing_and_finds_what_is_there() -> None:
    world = World(session(limit=250))
    assert world.gate.check(world.call()).denial is None
    assert world.ledger.touches[-1].is_look
    for _ in range(6):
        world.spend()
    other = world.process()
    assert other.check(world.call()).denial is not None
    (account,) = other.accounts(world.call())
    assert world.ledger.balance(account).posted == 180
    world.seconds += 111
    assert other.check(world.call()).denial is None
    (account,) = other.accounts(world.call())
    assert world.ledger.balance(account).posted == 0


def test_a_look_at_balances_that_stood_needs_the_same_accounts() -> None:
    world = World()
    call = world.call()
    asked = world.gate.accounts(call)
    looking = Looking(world.ledger.balances)
    world.gate.check(call, looking)
    assert looking.hold_asked is not None
    assert tuple(account for account, _ in looking.hold_asked.legs) == asked


def test_what_is_spent_without_asking_is_charged_to_the_running_period() -> None:
    world = World()
    first = world.spend()
    call = world.call()
    spent = world.gate.spent(call)
    (charge,) = world.end(call, spent).charges
    assert charge.period == first
    assert len(world.ledger.touches) == 1


def test_a_gate_that_is_off_asks_nobody_and_its_periods_are_told_later() -> None:
    world = World(mode="off")
    world.ledger.is_mute = True
    first = world.spend()
    assert not world.ledger.touches
    world.ledger.is_mute = False
    world.seconds += 1
    world.gate.tick()
    assert world.spend() == first
    world.seconds += 111
    assert world.spend() != first


def test_other_windows_beside_an_idle_one_keep_their_periods() -> None:
    month = Budget(id="month", limit=1_000, window=Window(every="month"))
    world = World(month, session())
    call, decision = world.ask()
    charges = {one.budget_id: one.period for one in world.end(call, decision).charges}
    assert charges["month"] == "2026-11"
    assert read_idle(charges["session"]) is not None


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_goes_out_to_another_model_learns_the_period_of_its_budget(
    is_async: bool,
) -> None:
    dear = Budget(
        id="dear",
        limit=10,
        where=(Condition(key="model", patterns=("m",)),),
        on_exceed="reroute",
        reroute=(("m", "n"),),
    )
    world = World(dear, session(where=(Condition(key="model", patterns=("n",)),)))
    call = world.call()
    if is_async:
        decision = asyncio.run(world.gate.authorize_async(call))
    else:
        decision = world.gate.authorize(call)
    assert decision.note.action == "reroute"
    assert read_idle(period_of(decision)) is not None
    world.gate.close(5)


def test_a_forked_child_begins_with_nothing_in_flight() -> None:
    world = World()
    world.ask()
    world.gate.forget()
    world.seconds += 20
    world.gate.tick()
    assert len(world.ledger.touches) == 1


def test_a_period_ends_at_the_latest_a_tenth_after_the_idle_time() -> None:
    window = Window(every=IDLE, seconds=600)
    key = idle_key(600, 1_700_000_000_000_000)
    ends = end_of(window, key, NOON_UNIX_NS)
    assert ends is not None
    assert int(ends.timestamp()) == NOON_UNIX_NS // SECOND + 660
    assert periods(window, NOON_UNIX_NS)[0] == ("idle:600s/",)


def test_replayed_sessions_begin_anew_after_silence() -> None:
    replay = Replay(RuleSet(budgets=(session(limit=100),)), Prices(bound=100))
    for at_seconds in (0, 50, 100, 150, 261, 500):
        replay.see(event(at_seconds))
    outlook = replay.outlooks["bounds"]
    assert outlook.denied == 3  # all that came in the first period but its first


def test_a_replayed_call_keeps_its_session_until_its_end() -> None:
    replay = Replay(RuleSet(budgets=(session(limit=100),)), Prices(bound=100))
    replay.see(event(0, lasts_seconds=300))
    replay.see(event(350))
    assert replay.outlooks["bounds"].denied == 1
    replay.see(event(350 + 111))
    assert replay.outlooks["bounds"].denied == 1


def event(at_seconds: int, *, lasts_seconds: int = 1) -> UsageEvent:
    call = msgspec.structs.replace(
        World().call(), started_at_unix_ns=NOON_UNIX_NS + at_seconds * SECOND
    )
    return UsageEvent(
        call=call,
        decision=DecisionNote(),
        outcome=Outcome(status="ok", duration_ns=lasts_seconds * SECOND),
        usage=Usage(status="reported", output=1),
        cost=Cost(status="priced", amount_nanousd=30),
        charges=(),
    )

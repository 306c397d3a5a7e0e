"""What the gate decides and what the closer charges, at prices that a test sets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.contract.ledger.making import NOON_UNIX_NS, new_id
from tollspan.budget import (
    Balance,
    Budget,
    BudgetGate,
    Closer,
    Closing,
    Decision,
    MemoryLedger,
    RuleSet,
    Window,
)
from tollspan.usage import (
    Attribution,
    Bound,
    BudgetExceededError,
    Call,
    ConfigError,
    Cost,
    DecisionNote,
    GateUnavailableError,
    Outcome,
    OutcomeStatus,
    Recovery,
    Request,
    Response,
    UnboundedCallError,
    Usage,
    UsageEvent,
)

HOUR_NS = 3_600_000_000_000


class Prices:
    """Bounds and costs as a test sets them."""

    def __init__(self, *, bound: int | None = 100, cost: int | None = 30) -> None:
        self.reasons: tuple[str, ...] = ()
        self.bound_nanousd = bound
        self.tokens: int | None = 50
        self.cost = Cost(
            status="priced" if cost is not None else "unknown",
            amount_nanousd=cost,
        )
        self.ceilings: list[bool] = []

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        self.ceilings.append(ceiling)
        return Bound(amount_nanousd=self.bound_nanousd, reasons=self.reasons)

    def most_of(
        self, request: Request, unit: str, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        return self.tokens, ("model_max",) if self.tokens is None else ()

    def rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        return self.cost


class World:
    """A gate and a closer over one ledger."""

    def __init__(self, rules: RuleSet, prices: Prices, ledger: MemoryLedger | None = None) -> None:
        self.prices = prices
        self.ledger = ledger or MemoryLedger()
        self.gate = BudgetGate(rules, prices, self.ledger)
        self.closer = Closer(prices, self.ledger)

    def ask(self, at_unix_ns: int = NOON_UNIX_NS, **request: object) -> tuple[Call, Decision]:
        asked = {"provider": "openai", "operation": "chat", "model": "m", "max_output_tokens": 9}
        call = Call(
            id=new_id(),
            started_at_unix_ns=at_unix_ns,
            request=Request(**{**asked, **request}),  # type: ignore[arg-type]  # keywords of a test
            attribution=Attribution(),
        )
        return call, self.gate.authorize(call)

    def end(
        self,
        call: Call,
        decision: Decision,
        *,
        usage: Usage | None = Usage(status="reported", output=1),  # noqa: B008 - frozen
        status: OutcomeStatus = "ok",
        maybe_billed: int = 0,
        keep: bool = False,
    ) -> UsageEvent:
        outcome = Outcome(status=status, maybe_billed_attempts=maybe_billed)
        return self.closer.close(Closing(call, decision, usage, outcome, None, keep))

    def stands(self, decision: Decision) -> Balance:
        assert decision.hold is not None
        return self.ledger.balance(decision.hold.legs[0][0])


def one_budget(limit: int = 250, **defaults: object) -> RuleSet:
    return RuleSet(budgets=(Budget(id="all", limit=limit),), **defaults)  # type: ignore[arg-type]  # keywords of a test


def counted(balance: Balance) -> tuple[int, int, int]:
    return balance.posted, balance.held, balance.unresolved


def test_calls_are_let_through_while_their_bounds_fit() -> None:
    world = World(one_budget(limit=250), Prices(bound=100))
    denials = [world.ask()[1].denial for _ in range(3)]
    assert denials[:2] == [None, None]
    denial = denials[2]
    assert isinstance(denial, BudgetExceededError)
    assert (denial.rule_id, denial.limit, denial.asked) == ("all", 250, 100)
    assert (denial.spent, denial.held, denial.remaining) == (0, 200, 50)
    assert denial.resets_at is None
    assert denial.recovery.retryable  # what is held may come back


def test_a_denial_of_a_window_says_when_it_ends() -> None:
    rules = RuleSet(budgets=(Budget(id="hourly", limit=100, window=Window(every="hour")),))
    world = World(rules, Prices(bound=100))
    world.end(*world.ask(NOON_UNIX_NS))
    _, decision = world.ask(NOON_UNIX_NS + HOUR_NS // 4)
    assert isinstance(decision.denial, BudgetExceededError)
    assert decision.denial.resets_at == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert decision.denial.recovery.retryable
    assert decision.denial.recovery.retry_after_seconds == 2700


def test_a_call_above_the_whole_limit_has_no_window_to_wait_for() -> None:
    rules = RuleSet(budgets=(Budget(id="hourly", limit=99, window=Window(every="hour")),))
    denial = World(rules, Prices(bound=100)).ask()[1].denial
    assert isinstance(denial, BudgetExceededError)
    assert denial.resets_at is not None
    assert denial.recovery == Recovery(retryable=False, owner_action_required=True)


def test_the_longest_of_the_windows_without_room_says_when_to_try_again() -> None:
    hourly = Budget(id="hourly", limit=100, window=Window(every="hour"))
    daily = Budget(id="daily", limit=100, window=Window(every="day"))
    for more, seconds in (((daily,), 12 * 3_600), ((daily, Budget(id="all", limit=100)), None)):
        world = World(RuleSet(budgets=(hourly, *more)), Prices(bound=100, cost=100))
        world.end(*world.ask())
        denial = world.ask()[1].denial
        assert isinstance(denial, BudgetExceededError)
        assert denial.rule_id == "hourly"
        assert denial.recovery.retry_after_seconds == seconds
        assert denial.recovery.retryable is (seconds is not None)


def test_what_others_hold_is_worth_waiting_for_only_if_it_is_enough() -> None:
    world = World(one_budget(limit=150), Prices(bound=100, cost=100))
    world.end(*world.ask())
    world.prices.bound_nanousd = 50
    assert world.ask()[1].denial is None
    world.prices.bound_nanousd = 60
    denial = world.ask()[1].denial
    assert denial is not None
    assert not denial.recovery.retryable


def test_a_call_is_counted_in_the_period_in_which_it_began() -> None:
    rules = RuleSet(budgets=(Budget(id="hourly", limit=150, window=Window(every="hour")),))
    world = World(rules, Prices(bound=100, cost=90))
    late, first = world.ask(NOON_UNIX_NS + HOUR_NS - 1)
    _, second = world.ask(NOON_UNIX_NS + HOUR_NS)
    assert first.denial is None
    assert second.denial is None
    world.end(late, first)
    assert counted(world.stands(first)) == (90, 0, 0)
    assert counted(world.stands(second)) == (0, 100, 0)


@pytest.mark.parametrize("jump_ns", [-HOUR_NS, HOUR_NS, -48 * HOUR_NS])
def test_a_clock_that_jumps_moves_calls_to_the_period_it_says_and_back(jump_ns: int) -> None:
    rules = RuleSet(budgets=(Budget(id="hourly", limit=150, window=Window(every="hour")),))
    world = World(rules, Prices(bound=100))
    assert world.ask(NOON_UNIX_NS)[1].denial is None
    assert world.ask(NOON_UNIX_NS + jump_ns)[1].denial is None
    assert world.ask(NOON_UNIX_NS + 1)[1].denial is not None
    assert world.ask(NOON_UNIX_NS + jump_ns + 1)[1].denial is not None


def test_new_rules_count_for_the_next_call_and_know_what_was_spent() -> None:
    world = World(one_budget(limit=100), Prices(bound=100, cost=100))
    world.end(*world.ask())
    assert world.ask()[1].denial is not None
    world.gate.use(one_budget(limit=200))
    world.end(*world.ask())
    world.gate.use(one_budget(limit=100))
    assert world.ask()[1].denial is not None


def test_a_call_that_nothing_bounds_is_denied() -> None:
    prices = Prices(bound=None)
    prices.reasons = ("context",)
    _, decision = World(one_budget(), prices).ask()
    assert isinstance(decision.denial, UnboundedCallError)
    assert decision.hold is None


def test_without_budgets_every_call_goes_through_and_nothing_is_bounded() -> None:
    world = World(RuleSet(), Prices())
    call, decision = world.ask()
    assert decision == Decision(note=DecisionNote())
    assert world.prices.ceilings == []
    assert world.end(call, decision).charges == ()


def test_a_gate_whose_rules_can_not_be_read_denies() -> None:
    world = World(one_budget(), Prices())
    world.gate.refuse_all(ConfigError("tollspan.yaml:3: a budget has no `limit`"))
    denial = world.ask()[1].denial
    assert isinstance(denial, GateUnavailableError)
    assert "tollspan.yaml:3" in str(denial)
    world.gate.use(one_budget())
    assert world.ask()[1].denial is None


@pytest.mark.parametrize(
    ("cost", "ending", "stands", "marks"),
    [
        pytest.param(30, {}, (30, 0, 0), (), id="the rest of the hold comes back"),
        pytest.param(100, {}, (100, 0, 0), (), id="the bound itself is no overrun"),
        pytest.param(130, {}, (130, 0, 0), ("overrun",), id="more than the bound is posted"),
        pytest.param(30, {"keep": True}, (30, 0, 70), (), id="more may have been spent"),
        pytest.param(130, {"keep": True}, (130, 0, 0), ("overrun",), id="no rest to keep"),
        pytest.param(None, {}, (0, 0, 100), (), id="nobody knows what it cost"),
        pytest.param(30, {"maybe_billed": 2}, (30, 0, 200), (), id="two attempts went unanswered"),
        pytest.param(
            None, {"maybe_billed": 1}, (0, 0, 200), (), id="an attempt and the call itself"
        ),
        pytest.param(30, {"usage": None, "status": "error"}, (0, 0, 0), (), id="not billed"),
    ],
)
def test_a_call_is_charged_for_what_it_cost_and_may_have_cost(
    cost: int | None,
    ending: dict[str, object],
    stands: tuple[int, int, int],
    marks: tuple[str, ...],
) -> None:
    world = World(one_budget(limit=1000), Prices(bound=100, cost=cost))
    call, decision = world.ask()
    event = world.end(call, decision, **ending)  # type: ignore[arg-type]  # keywords of a table
    assert counted(world.stands(decision)) == stands
    assert event.marks == marks
    (charge,) = event.charges
    assert (charge.posted, charge.unresolved) == (stands[0], stands[2])
    assert charge.overrun == max(0, stands[0] - 100)


def test_every_budget_is_charged_alike() -> None:
    rules = RuleSet(
        budgets=(
            Budget(id="all", limit=1000),
            Budget(id="daily", limit=1000, window=Window(every="day")),
        )
    )
    world = World(rules, Prices(bound=100, cost=30))
    call, decision = world.ask()
    event = world.end(call, decision)
    assert [(one.budget_id, one.period, one.posted) for one in event.charges] == [
        ("all", "", 30),
        ("daily", "2026-11-22", 30),
    ]


def test_a_call_that_is_given_up_holds_nothing() -> None:
    world = World(one_budget(), Prices())
    call, decision = world.ask()
    world.gate.abandon(call.id)
    assert counted(world.stands(decision)) == (0, 0, 0)


def test_the_asynchronous_ways_decide_and_charge_alike() -> None:
    world = World(one_budget(limit=250), Prices(bound=100, cost=30))

    async def run() -> list[Decision]:
        decisions = []
        for _ in range(3):
            call, _ = world.ask()
            world.gate.abandon(call.id)
            decision = await world.gate.authorize_async(call)
            decisions.append(decision)
        return decisions

    decisions = asyncio.run(run())
    assert [decision.denial is None for decision in decisions] == [True, True, False]


def test_what_was_spent_without_asking_is_posted_over_the_limit_and_marked() -> None:
    world = World(one_budget(limit=100), Prices(bound=80, cost=80))
    world.ask()
    call, refused = world.ask()
    assert refused.denial is not None
    decision = world.gate.spent(call)
    assert decision.denial is None
    event = world.end(call, decision)
    assert event.marks == ("overrun",)
    assert [(one.posted, one.overrun) for one in event.charges] == [(80, 80)]
    assert counted(world.stands(decision)) == (80, 80, 0)


def test_what_was_spent_touches_nothing_where_there_is_no_budget() -> None:
    world = World(RuleSet(), Prices())
    call, _ = world.ask()
    assert world.gate.spent(call).hold is None

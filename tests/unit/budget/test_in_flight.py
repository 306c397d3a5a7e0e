"""Calls in flight: counted for whom they are, never more than may be, and until they end."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_plans import a_call, a_tool
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
    OnViolation,
    Policy,
    Refusal,
    RuleSet,
)
from tollspan.budget.in_flight import InFlight, Place
from tollspan.usage import (
    Call,
    LedgerUnavailableError,
    Mode,
    Outcome,
    PolicyViolationError,
    Usage,
)

ALL = Budget(id="all", limit=10**12)


class World:
    """A gate that lets few calls be under way, and a closer."""

    def __init__(
        self,
        most: int = 2,
        *,
        per: tuple[str, ...] = ("customer",),
        budgets: tuple[Budget, ...] = (ALL,),
        ledger: MemoryLedger | None = None,
        on_violation: OnViolation = "deny",
        mode: Mode = "enforce",
    ) -> None:
        policy = Policy(id="few", most_in_flight=most, per=per, on_violation=on_violation)
        rules = RuleSet(budgets=budgets, policies=(policy,))
        self.ledger = ledger or MemoryLedger()
        self.gate = BudgetGate(rules, Prices(), self.ledger, mode=mode)
        self._closer = Closer(Prices(), self.ledger)

    def begin(self, customer: str = "acme") -> tuple[Call, Decision]:
        call = a_call(customer=customer)
        return call, self.gate.authorize(call)

    def end(self, call: Call, decision: Decision, usage: Usage | None = None) -> None:
        outcome = Outcome(status="error" if usage is None else "ok")
        self._closer.close(Closing(call, decision, usage, outcome))


budgets = pytest.mark.parametrize("budgets", [(), (ALL,)], ids=["alone", "with a budget"])


@budgets
def test_as_many_calls_are_under_way_as_may_be_and_the_next_one_when_one_has_ended(
    budgets: tuple[Budget, ...],
) -> None:
    world = World(2, budgets=budgets)
    first, second = world.begin(), world.begin()
    assert (first[1].denial, second[1].denial) == (None, None)
    denial = world.begin()[1].denial
    assert isinstance(denial, PolicyViolationError)
    assert str(denial) == (
        "policy 'few' refuses this call: it allows 2 calls of customer 'acme' in flight in this "
        "process, and as many are"
    )
    assert (denial.scope, denial.unit) == ((("customer", "acme"),), "calls")
    assert (denial.limit, denial.held, denial.asked, denial.remaining) == (2, 2, 1, 0)
    assert denial.recovery.retryable
    assert not denial.recovery.owner_action_required
    world.end(*first, Usage(output=1))
    assert world.begin()[1].denial is None
    assert world.begin()[1].denial is not None


def test_each_value_is_counted_apart_and_those_without_one_together() -> None:
    world = World(1)
    for customer in ("acme", "other", None):
        assert world.gate.authorize(a_call(customer=customer)).denial is None
    for customer in ("acme", "other", None):
        assert world.gate.authorize(a_call(customer=customer)).denial is not None


def test_a_policy_may_count_by_what_calls_are() -> None:
    world = World(1, per=("model",))
    assert world.gate.authorize(a_call("gpt-4o")).denial is None
    assert world.gate.authorize(a_call("gpt-4o-mini")).denial is None
    assert world.gate.authorize(a_call("gpt-4o")).denial is not None
    assert world.gate.authorize(a_tool("gpt-4o")).denial is None


@budgets
@pytest.mark.parametrize("usage", [Usage(output=1), None], ids=["used", "not billed"])
def test_a_call_that_has_ended_is_let_go_once(
    budgets: tuple[Budget, ...], usage: Usage | None
) -> None:
    world = World(2, budgets=budgets)
    first, second = world.begin(), world.begin()
    for _ in range(3):
        world.end(*first, usage)
    assert world.gate.in_flight == 1
    world.end(*second, usage)
    assert world.gate.in_flight == 0
    assert [charge.posted for charge in world.ledger.events()[0].charges] == [30] * len(
        budgets
    ) or usage is None


def test_a_call_that_is_given_up_is_let_go() -> None:
    world = World(1)
    call, _ = world.begin()
    world.gate.abandon(call.id)
    assert world.begin()[1].denial is None


def test_a_call_that_a_budget_refuses_is_not_under_way() -> None:
    world = World(1, budgets=(Budget(id="nothing", limit=0),))
    denial = world.begin()[1].denial
    assert denial is not None
    assert denial.rule_id == "nothing"
    assert world.gate.in_flight == 0


class Away(MemoryLedger):
    """An authority that can't be asked."""

    def hold(self, hold: Hold) -> Refusal | None:
        raise LedgerUnavailableError("away")

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        raise LedgerUnavailableError("away")


def test_a_call_whose_authority_is_away_is_under_way_only_where_it_goes_on() -> None:
    world = World(1, ledger=Away())
    assert world.begin()[1].denial is not None
    assert world.gate.in_flight == 0
    asyncio.run(world.gate.authorize_async(a_call()))
    assert world.gate.in_flight == 0
    rules = RuleSet(
        budgets=world.gate.rules.budgets,
        policies=world.gate.rules.policies,
        on_unavailable="allow",
    )
    world.gate.use(rules)
    call, decision = world.begin()
    assert (decision.denial, world.gate.in_flight) == (None, 1)
    world.end(call, decision)
    assert world.gate.in_flight == 0


class Slow(MemoryLedger):
    """An authority that never answers."""

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        return BUSY

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        return Future()


def test_a_task_that_is_cancelled_while_it_waits_for_the_authority_gives_its_place_back() -> None:
    world = World(1, ledger=Slow())
    call = a_call()

    async def ask() -> None:
        task = asyncio.create_task(world.gate.authorize_async(call))
        await asyncio.sleep(0.01)
        assert world.gate.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    world.gate.abandon(call.id)  # as whoever asked does
    assert world.gate.in_flight == 0


@budgets
@pytest.mark.parametrize(
    ("on_violation", "mode", "action"),
    [("warn", "enforce", "warn"), ("shadow", "enforce", "shadow"), ("deny", "observe", "shadow")],
)
def test_where_nothing_is_refused_calls_are_counted_past_the_limit(
    budgets: tuple[Budget, ...], on_violation: OnViolation, mode: Mode, action: str
) -> None:
    world = World(1, budgets=budgets, on_violation=on_violation, mode=mode)
    begun = [world.begin() for _ in range(3)]
    assert [decision.note.action for _, decision in begun] == ["allow", action, action]
    assert world.gate.in_flight == 3
    for one in begun[:2]:
        world.end(*one)
    assert world.begin()[1].note.action == action
    world.end(*begun[2])
    assert world.gate.in_flight == 1


@pytest.mark.parametrize("door", ["report", "processor", "gate", "http"])
def test_what_may_never_be_seen_to_end_is_not_counted(door: str) -> None:
    world = World(1)
    for _ in range(3):
        call = a_call()
        other = Call(
            id=call.id,
            started_at_unix_ns=call.started_at_unix_ns,
            request=call.request,
            attribution=call.attribution,
            door=door,
        )
        assert world.gate.authorize(other).denial is None
    assert world.gate.in_flight == 0


@budgets
def test_whoever_only_wants_to_know_is_told_and_not_counted(budgets: tuple[Budget, ...]) -> None:
    world = World(1, budgets=budgets)
    for _ in range(3):
        assert world.gate.check(a_call(customer="acme")).denial is None
    assert world.gate.in_flight == 0
    first = world.begin()
    assert isinstance(world.gate.check(a_call(customer="acme")).denial, PolicyViolationError)
    world.end(*first)
    assert world.gate.check(a_call(customer="acme")).denial is None


def test_new_rules_know_what_is_under_way() -> None:
    world = World(2)
    first = world.begin()
    world.gate.use(World(1).gate.rules)
    assert world.begin()[1].denial is not None
    world.end(*first)
    assert world.begin()[1].denial is None


def test_a_forked_child_begins_with_none_and_lets_its_parents_calls_be() -> None:
    world = World(1)
    parents = world.begin()
    world.gate.forget()
    assert world.begin()[1].denial is None
    world.end(*parents)
    assert world.gate.in_flight == 1


def test_threads_get_no_more_than_there_is_and_all_of_it() -> None:
    world = World(7)
    barrier = threading.Barrier(16)

    def begin() -> bool:
        barrier.wait()
        return world.begin()[1].denial is None

    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            world.gate.forget()
            assert sum(pool.map(lambda _: begin(), range(16))) == 7


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from("ab")), max_size=60)


@given(steps, st.integers(0, 3))
def test_counts_are_those_of_calls_that_entered_and_have_not_left(
    found: list[tuple[bool, int, str]], most: int
) -> None:
    counts, under_way = InFlight(), dict[int, str]()
    for enters, call, whose in found:
        place = ("p", (("customer", whose),))
        if enters and call not in under_way:
            is_full = list(under_way.values()).count(whose) >= most
            assert counts.enter(str(call), [(place, most)], []) == [place] * is_full
            if not is_full:
                under_way[call] = whose
        elif not enters:
            counts.leave(str(call))
            under_way.pop(call, None)
        assert len(counts) == len(under_way)


def test_a_call_that_one_place_has_no_room_for_is_in_none() -> None:
    counts = InFlight()

    def full(call: str) -> list[Place]:
        return counts.enter(call, [(("wide", ()), 9), (("narrow", ()), 1)], [(("soft", ()), 1)])

    assert full("1") == []
    assert full("2") == [("narrow", ())]
    counts.leave("1")
    assert full("3") == []

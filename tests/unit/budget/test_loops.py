"""Calls that are alike: so many within a time, then none, and no memory for ever."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_plans import a_call
from tollspan.budget import (
    Budget,
    BudgetGate,
    Decision,
    Loop,
    MemoryLedger,
    OnViolation,
    Policy,
    RuleSet,
    fingerprint,
    note_turn,
)
from tollspan.budget.loops import Loops, Mark
from tollspan.budget.policies import TURN
from tollspan.usage import Call, LoopDetectedError, Mode


class Clock:
    """Seconds as a test sets them."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A gate that finds loops, by a clock of its own."""

    def __init__(
        self,
        repeats: int = 3,
        *,
        of: tuple[str, ...] = ("customer", "model", TURN),
        budgets: tuple[Budget, ...] = (),
        on_violation: OnViolation = "deny",
        mode: Mode = "enforce",
    ) -> None:
        loop = Loop(repeats=repeats, within_seconds=60, of=of)
        self.policy = Policy(id="stuck", loop=loop, on_violation=on_violation)
        self.clock = Clock()
        rules = RuleSet(budgets=budgets, policies=(self.policy,))
        self.gate = BudgetGate(rules, Prices(), MemoryLedger(), mode=mode, clock=self.clock)

    def say(self, text: str | None, *, call: Call | None = None) -> Decision:
        """Ask for a call whose last turn is a text; None for a call that has none."""
        made = call or a_call(customer="acme")
        note_turn(made.id, None if text is None else fingerprint([made.request.model, text]))
        return self.gate.authorize(made)

    def refuses(self, text: str | None, customer: str = "acme", **more: Any) -> bool:
        """Say whether a call is refused as a loop."""
        call = a_call(customer=customer, **more)
        denial = self.say(text, call=call).denial
        assert denial is None or isinstance(denial, LoopDetectedError)
        return denial is not None


def test_the_same_turn_goes_through_so_often_and_then_not_until_time_has_passed() -> None:
    world = World(3)
    for _ in range(3):
        assert not world.refuses("what now?")
        world.clock.now += 10
    assert world.refuses("what now?")
    assert not world.refuses("what else?")
    world.clock.now += 29.9
    assert world.refuses("what now?")
    world.clock.now += 0.2
    assert not world.refuses("what now?")
    assert world.refuses("what now?")


def test_a_denial_says_what_was_alike_and_when_there_is_room_again() -> None:
    world = World(2)
    world.say("again")
    world.clock.now += 15
    world.say("again")
    call = a_call(customer="acme")
    decision = world.say("again", call=call)
    denial = decision.denial
    assert isinstance(denial, LoopDetectedError)
    assert denial.error_type == "tollspan.loop_detected"
    assert str(denial) == (
        "policy 'stuck' refuses this call: it allows 2 calls of customer 'acme' of model "
        "'gpt-4o-mini' with the same last turn within 60 s, and there were as many"
    )
    assert denial.scope == (("customer", "acme"), ("model", "gpt-4o-mini"))
    assert (denial.unit, denial.limit, denial.spent, denial.asked) == ("calls", 2, 2, 1)
    assert denial.recovery.retry_after_seconds == 45
    assert not denial.recovery.retryable  # the same turn again is the same loop
    assert denial.resets_at is not None
    assert denial.resets_at.timestamp() == pytest.approx(call.started_at_unix_ns / 1e9 + 45)
    assert (decision.note.action, decision.note.rule_ids) == ("deny", ("stuck",))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"customer": "other"}, id="another customer"),
        pytest.param({"model": "gpt-4o"}, id="another model"),
    ],
)
def test_what_differs_in_what_is_to_be_alike_is_no_loop(other: dict[str, Any]) -> None:
    world = World(1)
    assert not world.refuses("again")
    assert not world.refuses("again", **other)
    assert world.refuses("again")


def test_without_turn_calls_are_alike_whatever_they_say() -> None:
    world = World(2, of=("customer",))
    assert [world.refuses(text) for text in ("a", None, "c")] == [False, False, True]
    assert not world.refuses("a", customer="other")
    denial = world.say("d").denial
    assert denial is not None
    assert denial.recovery.retryable
    assert denial.recovery.retry_after_seconds == 60


def test_all_calls_may_be_alike() -> None:
    world = World(1, of=())
    assert not world.refuses("a")
    assert world.refuses("b", customer="other")


def test_a_call_whose_turn_nobody_knows_is_no_loop() -> None:
    world = World(1)
    assert not any(world.refuses(None) for _ in range(5))


def test_a_turn_is_that_of_its_own_call_alone() -> None:
    world = World(1)
    world.refuses("again")
    for _ in range(3):
        assert world.gate.authorize(a_call(customer="acme")).denial is None
    assert world.refuses("again")


def test_refused_calls_are_not_counted() -> None:
    world = World(1)
    world.say("again")
    for _ in range(6):
        world.clock.now += 9.9
        assert world.refuses("again")
    world.clock.now += 1
    assert not world.refuses("again")


def test_whoever_only_wants_to_know_is_told_and_not_counted() -> None:
    world = World(1, of=("customer",))
    for _ in range(3):
        assert world.gate.check(a_call(customer="acme")).denial is None
    world.say("hello")
    assert isinstance(world.gate.check(a_call(customer="acme")).denial, LoopDetectedError)


def test_what_a_budget_refuses_is_not_counted() -> None:
    world = World(1, budgets=(Budget(id="nothing", limit=0),))
    for _ in range(3):
        denial = world.say("again").denial
        assert denial is not None
        assert denial.rule_id == "nothing"


def test_what_another_policy_refuses_is_not_counted() -> None:
    world = World(1)
    full = Policy(id="full", most_in_flight=0)
    world.gate.use(RuleSet(policies=(world.policy, full)))
    for _ in range(3):
        denial = world.say("again").denial
        assert denial is not None
        assert denial.rule_id == "full"
    world.gate.use(RuleSet(policies=(world.policy,)))
    assert not world.refuses("again")


def test_what_a_program_reports_and_a_forked_child_are_not_counted() -> None:
    world = World(1)
    for _ in range(3):
        report = msgspec.structs.replace(a_call(customer="acme"), door="report")
        assert world.say("again", call=report).denial is None
    assert not world.refuses("again")
    world.gate.forget()
    assert not world.refuses("again")


@pytest.mark.parametrize(
    ("on_violation", "mode", "action"),
    [("warn", "enforce", "warn"), ("shadow", "enforce", "shadow"), ("deny", "observe", "shadow")],
)
def test_where_nothing_is_refused_it_is_said(
    on_violation: OnViolation, mode: Mode, action: str
) -> None:
    world = World(2, on_violation=on_violation, mode=mode)
    actions = [world.say("again").note.action for _ in range(4)]
    assert actions == ["allow", "allow", action, action]


def test_the_asynchronous_way_finds_loops_too_each_task_by_its_own_turn() -> None:
    world = World(1)

    async def say(text: str) -> bool:
        call = a_call(customer="acme")
        note_turn(call.id, fingerprint([text]))
        await asyncio.sleep(0)
        return (await world.gate.authorize_async(call)).denial is not None

    async def main() -> list[bool]:
        return await asyncio.gather(*[say(text) for text in ("a", "b", "a", "c", "b")])

    assert sorted(asyncio.run(main())) == [False] * 3 + [True] * 2


def test_threads_get_no_more_than_there_may_be_and_all_of_it() -> None:
    world = World(7)
    with ThreadPoolExecutor(16) as pool:
        for round_ in range(10):
            refused = list(pool.map(lambda _, at=round_: world.refuses(str(at)), range(16)))
            assert refused.count(False) == 7


def test_new_rules_go_on_counting_by_their_own_number() -> None:
    world = World(3)
    for _ in range(2):
        world.say("again")
    narrower = Loop(repeats=2, within_seconds=60, of=("customer", "model", TURN))
    world.gate.use(RuleSet(policies=(Policy(id="stuck", loop=narrower),)))
    assert world.refuses("again")
    wider = Loop(repeats=4, within_seconds=60, of=("customer", "model", TURN))
    world.gate.use(RuleSet(policies=(Policy(id="stuck", loop=wider),)))
    assert [world.refuses("again") for _ in range(3)] == [False, False, True]


events = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), max_size=60)


@given(events, st.integers(1, 4))
def test_in_no_stretch_of_time_are_there_more_and_no_call_is_refused_for_nothing(
    found: list[tuple[int, str]], repeats: int
) -> None:
    clock = Clock()
    loops = Loops(clock)
    let: dict[str, list[float]] = {"a": [], "b": []}
    loop = Loop(repeats=repeats, within_seconds=60, of=())
    for pause, kind in found:
        clock.now += pause
        recent = [at for at in let[kind] if clock.now - at < 60]
        repeated, _ = loops.enter([Mark((kind, (), None), loop, is_hard=True)])
        assert bool(repeated) is (len(recent) >= repeats)
        if repeated:
            assert repeated[0].wait_seconds == recent[-repeats] + 60 - clock.now
        else:
            let[kind].append(clock.now)


@given(events)
def test_what_is_taken_back_was_never_counted(found: list[tuple[int, str]]) -> None:
    clock = Clock()
    loops, others = Loops(clock), Loops(clock)
    for number, (pause, kind) in enumerate(found):
        clock.now += pause + 0.001
        mark = Mark((kind, (), None), Loop(repeats=100, within_seconds=60, of=()), is_hard=True)
        _, take_back = loops.enter([mark])
        if number % 2:
            take_back()
        else:
            others.enter([mark])
    kept = [times for times in loops._kinds.values() if times]
    assert sum(map(len, kept)) == len(loops)
    for kind in "ab":
        mark = Mark((kind, (), None), Loop(repeats=1, within_seconds=60, of=()), is_hard=True)
        assert bool(loops.enter([mark])[0]) is bool(others.enter([mark])[0])


def test_memory_is_bounded_whatever_is_asked_and_forgets_what_is_over() -> None:
    clock = Clock()
    loops = Loops(clock, most_kinds=100, most_calls=250)
    loop = Loop(repeats=100, within_seconds=60, of=())
    for number in range(120):
        loops.enter([Mark((f"p{number}", (), None), loop, is_hard=True)])
    assert len(loops) == 100
    for kind in range(5):
        for _ in range(100):
            loops.enter([Mark((f"w{kind}", (), None), loop, is_hard=True)])
        assert len(loops) <= 250
    latest = Mark(("w4", (), None), loop, is_hard=True)
    assert loops.enter([latest])[0], "the latest are forgotten first"
    clock.now += 60
    loops.enter([Mark(("p", (), None), loop, is_hard=True)])
    assert len(loops) == 1


def test_a_fingerprint_is_of_the_words_and_not_of_spaces_and_capitals() -> None:
    one = fingerprint(["user", "What  is\nthis?"])
    assert one == fingerprint(["user", " what is this? "])
    assert len(one) == 16
    others = [["user", "What is that?"], ["user", "What is this"], ["userWhat is this?"]]
    others += [["user What is this?"], ["user", "What", "is this?"], ["user", "What is this? 2"]]
    assert len({one, *map(fingerprint, others)}) == 7
    assert fingerprint(["\ud800"]) != fingerprint(["\ud801"])


def test_a_fingerprint_is_worth_nothing_without_the_secret_of_the_process() -> None:
    assert fingerprint(["x"], key=b"1" * 32) != fingerprint(["x"], key=b"2" * 32)
    assert fingerprint(["x"]) != fingerprint(["x"], key=b"2" * 32)

"""Calls that do not fit are let write less: as much as there is room for, and never more."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS, hold
from tests.unit.budget.test_plans import BOOK, World, a_call, a_tool
from tollspan.budget import (
    CLAMP_MINIMUM_TOKENS,
    Decision,
    Hold,
    MemoryLedger,
    Refusal,
    accounts_of,
)
from tollspan.usage import (
    Attribution,
    BudgetExceededError,
    Call,
    LedgerUnavailableError,
    UnboundedCallError,
    Usage,
    format_usd,
)

# The bound of 1,000 bytes in, and what a token out adds to it, of gpt-4o-mini.
INPUT_NANOUSD, EACH_NANOUSD = 2024 * 150, 600
INPUT_TOKENS = 2024
CLAMP = "on_exceed: {clamp: {minimum: 10}}"
INJECT = "{on_unbounded: inject}"
MODEL_MAX = 16_384


def usd(output_tokens: int, *, more: int = 0) -> str:
    """Write a limit that has room for so much output, and for `more` nano-USD."""
    return f"{format_usd(INPUT_NANOUSD + output_tokens * EACH_NANOUSD + more)} USD"


def sent(decision: Decision) -> int | None:
    """Return the limit of output that a call goes out with."""
    assert decision.denial is None
    assert decision.change is not None
    assert decision.note.clamped_to == decision.change.request.max_output_tokens
    return decision.note.clamped_to


def ask(world: World, **more: object) -> Decision:
    return world.gate.authorize(a_call(**{"max_output_tokens": 100, **more}))  # type: ignore[arg-type]  # keywords of a test


@pytest.mark.parametrize("limit", [usd(40), usd(40, more=599), f"{INPUT_TOKENS + 40} tokens"])
def test_a_call_writes_as_much_as_fits(limit: str) -> None:
    world = World(f"id: all, limit: {limit}, {CLAMP}")
    decision = ask(world)
    assert sent(decision) == 40
    note = decision.note
    assert (note.action, note.clamped_from, note.rule_ids) == ("clamp", 100, ("all",))
    assert decision.hold is not None
    assert note.bound_nanousd == INPUT_NANOUSD + 40 * EACH_NANOUSD
    assert world.stands(decision).fits(1) is (limit == usd(40, more=599))


def test_a_rolling_budget_is_clamped_into_what_its_fullest_account_has_left() -> None:
    world = World(f"id: all, window: {{rolling: 60s}}, limit: {usd(100)}, {CLAMP}")
    newest, *_, oldest = accounts_of(world.gate.rules, "all", Attribution(), NOON_UNIX_NS)
    world.ledger.hold(hold((newest, 10 * EACH_NANOUSD), (oldest, 60 * EACH_NANOUSD)))
    decision = ask(world)
    assert sent(decision) == 40
    assert decision.note.rule_ids == ("all",)


def test_a_call_that_fits_is_left_alone() -> None:
    decision = ask(World(f"id: all, limit: {usd(100)}, {CLAMP}"))
    assert decision.change is None
    assert (decision.note.action, decision.note.clamped_to) == ("allow", None)


@pytest.mark.parametrize("room", [9, 0])
def test_below_the_minimum_it_is_denied(room: int) -> None:
    decision = ask(World(f"id: all, limit: {usd(room)}, {CLAMP}"))
    assert isinstance(decision.denial, BudgetExceededError)
    assert decision.denial.asked == INPUT_NANOUSD + 100 * EACH_NANOUSD
    assert decision.note.action == "deny"


def test_the_minimum_of_a_rule_that_names_none_is_the_documented_one() -> None:
    for room, is_denied in ((CLAMP_MINIMUM_TOKENS, False), (CLAMP_MINIMUM_TOKENS - 1, True)):
        world = World(f"id: all, limit: {usd(room)}, on_exceed: clamp")
        assert (ask(world, max_output_tokens=4_000).denial is not None) is is_denied


def test_a_call_that_asks_for_less_than_the_minimum_is_never_let_write_more() -> None:
    world = World(f"id: all, limit: {usd(5)}, {CLAMP}")
    assert ask(world, max_output_tokens=7).denial is not None


def test_all_that_clamp_and_have_no_room_must_have_it() -> None:
    world = World(
        f"id: money, limit: {usd(60)}, {CLAMP}",
        f"id: count, limit: {INPUT_TOKENS + 50} tokens, on_exceed: {{clamp: {{minimum: 20}}}}",
        "id: wide, limit: 1 USD",
    )
    decision = ask(world)
    assert sent(decision) == 50
    assert decision.note.rule_ids == ("money", "count")
    assert decision.hold is not None
    assert len(decision.hold.legs) == 3


@pytest.mark.parametrize("hard", ["limit: 0.0000001 USD", "limit: 0 calls"])
def test_a_hard_budget_without_room_denies_whatever_others_say(hard: str) -> None:
    world = World(f"id: clamps, limit: {usd(40)}, {CLAMP}", f"id: hard, {hard}")
    decision = ask(world)
    assert decision.denial is not None
    assert decision.denial.rule_id == "hard"
    assert decision.note.rule_ids == ("hard", "clamps")


def test_calls_can_not_be_clamped_into_a_number_of_calls() -> None:
    world = World(f"id: few, limit: 1 call, {CLAMP}")
    assert ask(world).denial is None
    assert ask(world).denial is not None


def test_a_tool_and_a_span_of_somebody_else_are_denied() -> None:
    world = World(f"id: all, limit: {usd(40)}, {CLAMP}", "id: none, limit: 0 USD, on_exceed: clamp")
    assert world.gate.authorize(a_tool()).denial is not None
    call = msgspec.structs.replace(a_call(), door="processor")
    assert World(f"id: all, limit: {usd(40)}, {CLAMP}").gate.authorize(call).denial is not None


def test_each_of_several_answers_gets_its_share() -> None:
    decision = ask(World(f"id: all, limit: {usd(100)}, {CLAMP}"), choices=3)
    assert sent(decision) == 33


def test_a_call_without_a_limit_is_held_for_the_models_own_and_clamped_from_there() -> None:
    world = World(f"id: all, limit: {usd(2_000)}, {CLAMP}")
    decision = ask(world, max_output_tokens=None)
    assert sent(decision) == 2_000
    assert decision.note.clamped_from is None


def test_soft_budgets_without_room_are_named_too() -> None:
    world = World(
        "id: soft, limit: 0.0000001 USD, on_exceed: warn", f"id: all, limit: {usd(40)}, {CLAMP}"
    )
    assert ask(world).note.rule_ids == ("all", "soft")


def test_observing_changes_nothing() -> None:
    world = World(f"id: all, limit: {usd(40)}, {CLAMP}", mode="observe", defaults=INJECT)
    for most in (100, None):
        decision = ask(world, max_output_tokens=most)
        assert (decision.denial, decision.change, decision.note.action) == (None, None, "shadow")


class Crowded(MemoryLedger):
    """An authority where others take a part of the room before each hold but the first."""

    def __init__(self, taken: list[int]) -> None:
        super().__init__()
        self._taken = taken
        self.asked = 0

    def hold(self, hold: Hold) -> Refusal | None:
        if self.asked and self._taken:
            amount = self._taken.pop(0)
            legs = tuple([(account, amount) for account, _ in hold.legs])
            other = msgspec.structs.replace(hold, call_id=f"other {len(self._taken)}", legs=legs)
            assert super().hold(other) is None
        self.asked += 1
        return super().hold(hold)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("quicker", "writes"), [(1, 59), (2, 58), (3, None)])
def test_who_is_overtaken_looks_again_a_few_times(
    quicker: int, writes: int | None, is_async: bool
) -> None:
    world = World(f"id: all, limit: {usd(60)}, {CLAMP}")
    ledger = world.ledger = Crowded([EACH_NANOUSD] * quicker)
    world.gate._authority = ledger
    call = a_call()
    if is_async:
        decision = asyncio.run(world.gate.authorize_async(call))
    else:
        decision = world.gate.authorize(call)
    if writes is None:
        assert isinstance(decision.denial, BudgetExceededError)
        assert decision.denial.held == 3 * EACH_NANOUSD
    else:
        assert sent(decision) == writes


class GoesAway(MemoryLedger):
    """An authority that answers once."""

    asked = 0

    def hold(self, hold: Hold) -> Refusal | None:
        self.asked += 1
        if self.asked > 1:
            raise LedgerUnavailableError("away")
        return super().hold(hold)


@pytest.mark.parametrize(("rule", "is_denied"), [("deny", True), ("allow", False)])
def test_an_authority_that_goes_away_in_between_is_unavailable(rule: str, is_denied: bool) -> None:
    world = World(f"id: all, limit: {usd(60)}, {CLAMP}", defaults=f"{{on_unavailable: {rule}}}")
    world.gate._authority = GoesAway()
    decision = world.gate.authorize(a_call())
    assert (decision.denial is not None) is is_denied
    assert decision.note.is_unavailable
    assert decision.change is None


# -- inject --


def test_a_call_without_a_limit_goes_out_with_the_models_own() -> None:
    decision = ask(World("id: all, limit: 1 USD", defaults=INJECT), max_output_tokens=None)
    assert sent(decision) == MODEL_MAX
    assert (decision.note.action, decision.note.rule_ids) == ("allow", ("all",))
    assert decision.note.bound_nanousd == INPUT_NANOUSD + MODEL_MAX * EACH_NANOUSD


def test_it_goes_out_with_what_fits_where_that_is_less_even_for_a_hard_budget() -> None:
    decision = ask(World(f"id: all, limit: {usd(700)}", defaults=INJECT), max_output_tokens=None)
    assert sent(decision) == 700
    assert decision.note.action == "clamp"


def test_what_fits_is_no_less_than_the_usual_minimum() -> None:
    world = World(f"id: all, limit: {usd(CLAMP_MINIMUM_TOKENS - 1)}", defaults=INJECT)
    assert isinstance(ask(world, max_output_tokens=None).denial, BudgetExceededError)


def test_a_call_with_a_limit_of_its_own_is_left_alone() -> None:
    world = World(f"id: all, limit: {usd(90)}", defaults=INJECT)
    assert ask(world, max_output_tokens=90).change is None
    assert ask(world, max_output_tokens=91).denial is not None


def test_of_a_soft_budget_too_it_says_what_it_sets() -> None:
    world = World("id: soft, limit: 0.0000001 USD, on_exceed: warn", defaults=INJECT)
    decision = ask(world, max_output_tokens=None)
    assert sent(decision) == MODEL_MAX
    assert decision.note.action == "warn"


def test_a_model_without_a_known_limit_is_denied_where_nothing_bounds_it() -> None:
    world = World("id: all, limit: 1000 tokens", defaults=INJECT)
    call = a_call("no-such-model", provider="nobody", max_output_tokens=None)
    assert isinstance(world.gate.authorize(call).denial, UnboundedCallError)


def test_what_writes_nothing_gets_no_limit() -> None:
    world = World("id: all, limit: 1 USD", defaults=INJECT)
    decision = ask(
        world, model="text-embedding-3-small", operation="embeddings", max_output_tokens=None
    )
    assert (decision.denial, decision.change) == (None, None)


# -- laws --

models = st.sampled_from(["gpt-4o-mini", "gpt-4o", "o3", "gpt-5-nano"])


@given(
    model=models,
    room=st.integers(0, 40_000_000),
    most=st.none() | st.integers(1, 30_000),
    size=st.integers(0, 30_000),
    choices=st.integers(1, 4),
    unit=st.sampled_from(["USD", "tokens"]),
)
def test_the_output_is_the_most_whose_bound_fits(
    model: str, room: int, most: int | None, size: int, choices: int, unit: str
) -> None:
    limit = f"{format_usd(room)} USD" if unit == "USD" else f"{room // 100} tokens"
    world = World(f"id: all, limit: {limit}, {CLAMP}")
    call = a_call(model, max_output_tokens=most, input_bytes=size, choices=choices)
    decision = world.gate.authorize(call)
    amount = room if unit == "USD" else room // 100
    if decision.change is not None:
        found = decision.change.request.max_output_tokens
        assert found is not None
        assert bound(call, found, unit) <= amount < bound(call, found + 1, unit)
        assert found >= 10
    elif decision.denial is not None:
        assert bound(call, 10, unit) > amount or (most is not None and most < 10)
    else:
        assert bound(call, most, unit) <= amount


def bound(call: Call, output_tokens: int | None, unit: str) -> int:
    """Return the bound of a call with so much output."""
    request = msgspec.structs.replace(call.request, max_output_tokens=output_tokens)
    if unit == "USD":
        found = BOOK.bound(request, call.started_at_unix_ns, ceiling=True).amount_nanousd
    else:
        found, _ = BOOK.most_of(request, "tokens", call.started_at_unix_ns, ceiling=True)
    assert found is not None
    return found


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_clamped_calls_never_overspend(outputs: list[int]) -> None:
    world = World(f"id: all, limit: {usd(3_000)}, {CLAMP}")
    for output in outputs:
        call = a_call(max_output_tokens=1_000)
        decision = world.gate.authorize(call)
        if decision.denial is not None:
            continue
        most = call.request.max_output_tokens if decision.change is None else sent(decision)
        assert most is not None
        world.end(call, decision, Usage(input_uncached=2_000, output=min(output, most)))
        assert world.stands(decision).counted <= INPUT_NANOUSD + 3_000 * EACH_NANOUSD

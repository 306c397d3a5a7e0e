"""Calls that do not fit go out with a cheaper model, by the budgets of that one."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.budget.test_plans import BOOK, World, a_call, a_tool
from tests.unit.budget.test_soft import Away
from tollspan.budget import Decision
from tollspan.usage import BudgetExceededError, Call, format_usd

TO_MINI = "on_exceed: {reroute: {gpt-4o: gpt-4o-mini}}"


def bound(model: str, output_tokens: int = 100) -> int:
    """Return the bound of `a_call` for a model."""
    call = a_call(model, max_output_tokens=output_tokens)
    found = BOOK.bound(call.request, call.started_at_unix_ns).amount_nanousd
    assert found is not None
    return found


def usd(amount_nanousd: int) -> str:
    return f"{format_usd(amount_nanousd)} USD"


def goes_to(decision: Decision) -> str:
    """Return the model that a call goes out with."""
    assert decision.denial is None
    assert decision.change is not None
    return decision.change.request.model


def ask(world: World, model: str = "gpt-4o", **more: object) -> Decision:
    return world.gate.authorize(a_call(model, **more))  # type: ignore[arg-type]  # keywords of a test


@pytest.mark.parametrize(
    "table", ["{gpt-4o: gpt-4o-mini}", "{'gpt-*': gpt-4o-mini}", "{GPT-4O: gpt-4o-mini, '*': o3}"]
)
def test_a_call_that_does_not_fit_goes_out_with_the_other_model(table: str) -> None:
    limit = usd(bound("gpt-4o") - 1)
    decision = ask(World(f"id: all, limit: {limit}, on_exceed: {{reroute: {table}}}"))
    assert goes_to(decision) == "gpt-4o-mini"
    note = decision.note
    assert (note.action, note.asked_model, note.rule_ids) == ("reroute", "gpt-4o", ("all",))
    assert (note.clamped_from, note.clamped_to) == (None, None)
    assert note.bound_nanousd == bound("gpt-4o-mini")
    assert decision.hold is not None
    assert [amount for _, amount in decision.hold.legs] == [bound("gpt-4o-mini")]


def test_a_call_that_fits_is_left_alone() -> None:
    decision = ask(World(f"id: all, limit: {usd(bound('gpt-4o'))}, {TO_MINI}"))
    assert (decision.change, decision.note.asked_model) == (None, None)


@pytest.mark.parametrize(
    ("model", "table"),
    [
        ("gpt-4o", "{o3: gpt-4o-mini}"),
        ("gpt-4o", "{gpt-4o: gpt-4o}"),
        ("gpt-4o-mini", "{'gpt-4o*': gpt-4o-mini}"),
        ("", "{'*': gpt-4o-mini}"),
    ],
    ids=["no other model", "itself", "itself by a glob", "no model"],
)
def test_a_model_that_has_no_other_is_denied(model: str, table: str) -> None:
    world = World(f"id: all, limit: 0.0000001 USD, on_exceed: {{reroute: {table}}}")
    assert ask(world, model).denial is not None


def test_where_the_other_model_does_not_fit_either_the_call_is_denied_as_it_was_asked() -> None:
    decision = ask(World(f"id: all, limit: {usd(bound('gpt-4o-mini') - 1)}, {TO_MINI}"))
    assert isinstance(decision.denial, BudgetExceededError)
    assert decision.hold is None


def test_budgets_are_matched_anew() -> None:
    world = World(
        f"id: dear, where: {{model: gpt-4o}}, limit: 0.0000001 USD, {TO_MINI}",
        "id: cheap, where: {model: gpt-4o-mini}, limit: 1 USD",
    )
    decision = ask(world)
    assert goes_to(decision) == "gpt-4o-mini"
    assert decision.hold is not None
    assert [account.budget_id for account, _ in decision.hold.legs] == ["cheap"]
    assert decision.note.rule_ids == ("dear",)


def test_a_model_that_no_budget_counts_goes_out_uncounted() -> None:
    world = World(f"id: dear, where: {{model: gpt-4o}}, limit: 0.0000001 USD, {TO_MINI}")
    decision = ask(world)
    assert goes_to(decision) == "gpt-4o-mini"
    assert decision.hold is None


def test_a_hard_budget_of_the_other_model_denies() -> None:
    world = World(
        f"id: dear, where: {{model: gpt-4o}}, limit: 0.0000001 USD, {TO_MINI}",
        "id: cheap, where: {model: gpt-4o-mini}, limit: 0 USD",
    )
    decision = ask(world)
    assert decision.denial is not None
    assert decision.denial.rule_id == "cheap"


def test_a_hard_budget_without_room_denies_before_anything_is_rerouted() -> None:
    world = World(f"id: all, limit: 0.0000001 USD, {TO_MINI}", "id: hard, limit: 0.0000001 USD")
    decision = ask(world)
    assert decision.denial is not None
    assert decision.denial.rule_id == "hard"
    assert decision.note.rule_ids == ("hard", "all")


def test_first_the_model_then_the_output() -> None:
    limit = usd(bound("gpt-4o-mini", 40))
    world = World(
        f"id: other, limit: {limit}, {TO_MINI}",
        f"id: less, limit: {limit}, on_exceed: {{clamp: {{minimum: 10}}}}",
    )
    assert ask(world).denial is not None  # the one that reroutes has no room for the rest
    both = "on_exceed: {reroute: {gpt-4o: gpt-4o-mini}, clamp: {minimum: 10}}"
    decision = ask(World(f"id: all, limit: {limit}, {both}"))
    assert goes_to(decision) == "gpt-4o-mini"
    note = decision.note
    assert (note.action, note.clamped_from, note.clamped_to) == ("reroute", 100, 40)


def test_a_clamp_of_another_budget_follows() -> None:
    world = World(
        f"id: other, limit: {usd(bound('gpt-4o') - 1)}, {TO_MINI}",
        f"id: less, limit: {usd(bound('gpt-4o-mini', 40))}, on_exceed: {{clamp: {{minimum: 10}}}}",
    )
    note = ask(world).note
    assert (note.action, note.rule_ids) == ("reroute", ("other", "less"))
    assert (note.asked_model, note.clamped_to) == ("gpt-4o", 40)


def test_the_output_is_no_more_than_the_other_model_writes() -> None:
    world = World("id: all, limit: 0.4 USD, on_exceed: {reroute: {o3: gpt-4o-mini}}")
    decision = ask(world, "o3", max_output_tokens=90_000)
    assert goes_to(decision) == "gpt-4o-mini"
    assert (decision.note.clamped_from, decision.note.clamped_to) == (90_000, 16_384)


def test_with_inject_the_other_models_own_limit_is_sent() -> None:
    world = World(
        f"id: all, limit: {usd(bound('gpt-4o'))}, {TO_MINI}", defaults="{on_unbounded: inject}"
    )
    decision = ask(world, max_output_tokens=None)
    assert goes_to(decision) == "gpt-4o-mini"
    assert decision.change is not None
    assert decision.change.request.max_output_tokens is not None


def test_one_model_leads_to_the_next_and_never_back() -> None:
    world = World(
        f"id: a, limit: {usd(bound('gpt-4o') - 1)}, {TO_MINI}",
        f"id: b, limit: {usd(bound('gpt-4o-mini') - 1)}, "
        "on_exceed: {reroute: {gpt-4o: gpt-4o-mini, gpt-4o-mini: gpt-4.1-nano}}",
    )
    assert goes_to(ask(world)) == "gpt-4.1-nano"
    circle = "on_exceed: {reroute: {gpt-4o: gpt-4o-mini, gpt-4o-mini: gpt-4o}}"
    assert ask(World(f"id: a, limit: 0.0000001 USD, {circle}")).denial is not None


def calls_that_are_not_ours() -> list[Call]:
    return [a_tool("gpt-4o"), msgspec.structs.replace(a_call("gpt-4o"), door="processor")]


@pytest.mark.parametrize("call", calls_that_are_not_ours(), ids=["a tool", "somebody's span"])
def test_what_is_not_ours_to_change_is_denied(call: Call) -> None:
    world = World("id: all, limit: 0 calls, on_exceed: {reroute: {'*': gpt-4o-mini}}")
    assert world.gate.authorize(call).denial is not None


def test_without_an_answer_nothing_is_rerouted() -> None:
    world = World(f"id: all, limit: 1 USD, {TO_MINI}")
    world.gate._authority = Away()
    decision = ask(world)
    assert decision.note.is_unavailable
    assert decision.change is None

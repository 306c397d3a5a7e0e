"""Budgets for each trace: one account for one trace, and one for a call outside of any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_plans import World, a_call
from tollspan.usage import BudgetExceededError

ONE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b700f067aa0ba902b7"


def test_each_trace_has_an_account_of_its_own_which_no_clock_ends() -> None:
    world = World("id: some, limit: 2 calls, window: trace")
    for trace in (ONE, OTHER):
        assert [world.make(a_call(trace=trace)) for _ in range(2)] == [None, None]
        denial = world.make(a_call(trace=trace))
        assert isinstance(denial, BudgetExceededError)
        assert (denial.spent, denial.resets_at) == (2, None)
        assert denial.recovery.owner_action_required


def test_a_call_outside_of_any_trace_is_a_trace_of_its_own() -> None:
    world = World("id: some, limit: 1 call, window: trace")
    assert [world.make(a_call()) for _ in range(3)] == [None, None, None]
    call = a_call()
    decision = world.gate.authorize(call)
    event = world.end(call, decision, None)
    assert [one.period for one in event.charges] == [call.id]


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER, None]), st.booleans()), max_size=12))
def test_traces_are_told_apart_beside_everything_else(calls: list[tuple[str | None, bool]]) -> None:
    world = World(
        "id: each, limit: 2 calls, window: trace, per: [customer]", "id: all, limit: 9 calls"
    )
    made: dict[tuple[str | None, bool], int] = {}
    total = 0
    for trace, is_acme in calls:
        key = (trace, is_acme)
        fits = total < 9 and (trace is None or made.get(key, 0) < 2)
        denial = world.make(a_call(trace=trace, customer="acme" if is_acme else "other"))
        assert (denial is None) == fits
        if fits:
            made[key] = made.get(key, 0) + 1
            total += 1

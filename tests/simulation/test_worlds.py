"""Thousands of worlds, each from its seed: in every one the laws hold after every step."""

from __future__ import annotations

import pytest

from tests.simulation.simulation import simulate

AT_ONCE = 100
IN_CI = 1_500
AT_LENGTH = 200_000


@pytest.mark.parametrize("first", range(0, IN_CI, AT_ONCE))
def test_the_laws_hold_in_every_world(first: int) -> None:
    admitted = sum(simulate(seed).auditor.admitted for seed in range(first, first + AT_ONCE))
    assert admitted > 20 * AT_ONCE  # else nothing was tried


@pytest.mark.slow
@pytest.mark.parametrize("first", range(IN_CI, AT_LENGTH, 10 * AT_ONCE))
def test_the_laws_hold_in_many_more_worlds(first: int) -> None:
    for seed in range(first, first + 10 * AT_ONCE):
        simulate(seed)


def test_a_seed_is_one_world_to_the_last_step() -> None:
    for seed in (1, 22, 333):
        first, second = simulate(seed), simulate(seed)
        everything = len(first.world.trace)
        assert first.world.told(everything) == second.world.told(everything)
        assert first.world.steps == second.world.steps


def test_among_the_worlds_are_all_kinds_of_faults() -> None:
    plans = [simulate(seed).plan for seed in range(60)]
    assert {plan.clocks for plan in plans} == {"true", "skewed", "wild"}
    assert any(plan.is_calm for plan in plans)
    for fault in (
        "loss",
        "slow",
        "cuts",
        "crashes",
        "forks",
        "changes",
        "restores",
        "overruns",
        "jobs",
    ):
        assert any(getattr(plan, fault) for plan in plans), fault

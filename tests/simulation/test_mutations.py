"""The simulation finds defects: each of these, made on purpose, within so many seeds."""

from __future__ import annotations

import msgspec
import pytest

import tests.simulation.simulation as world
from tests.simulation.mutations import MUTATIONS, SUITED, Mutation
from tests.simulation.plan import plan
from tests.simulation.simulation import simulate

WITHIN = 300


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_defect_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    suited = SUITED.get(mutation, {})
    monkeypatch.setattr(world, "plan", lambda seed: msgspec.structs.replace(plan(seed), **suited))
    told = next(filter(None, map(failure, range(WITHIN))), None)
    assert told is not None, f"{mutation.__doc__} was not found within {WITHIN} seeds"
    assert "replay: .venv/bin/python -m tests.simulation" in told


def failure(seed: int) -> str | None:
    """Return what a seed's world says of the law that was broken in it; None when none was."""
    try:
        simulate(seed)
    except AssertionError as error:
        return str(error)
    return None

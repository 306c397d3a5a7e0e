"""Worlds of outages: the allowance holds in each; and what is broken on purpose is found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tests.simulation.outages import live_through
from tollspan.budget import AllowedLedger, GivenBack, MemoryAuthority
from tollspan.budget.shared_state import Holding
from tollspan.budget.slices import Slice, Slices
from tollspan.usage import UsageEvent

AT_ONCE = 50
IN_CI = 200
AT_LENGTH = 20_000
WITHIN = 100
_numbers = itertools.count(1)


@pytest.mark.parametrize("first", range(0, IN_CI, AT_ONCE))
def test_the_allowance_holds_in_every_world(first: int) -> None:
    admitted = sum(live_through(seed).admitted for seed in range(first, first + AT_ONCE))
    assert admitted > 20 * AT_ONCE  # else nothing was tried


@pytest.mark.slow
@pytest.mark.parametrize("first", range(IN_CI, AT_LENGTH, 10 * AT_ONCE))
def test_the_allowance_holds_in_many_more_worlds(first: int) -> None:
    for seed in range(first, first + 10 * AT_ONCE):
        live_through(seed)


def test_a_seed_is_one_world_of_outages_to_the_last_step() -> None:
    for seed in (1, 22):
        first, second = live_through(seed).world, live_through(seed).world
        everything = len(first.trace)
        assert first.told(everything) == second.told(everything)


def lost_and_kept(patch: pytest.MonkeyPatch) -> None:
    """A holder goes on with what it has said of a lost lease that it was not spent."""
    real = Slices.lose

    def lose(self: Slices) -> Any:
        before = {name: one.left for name, one in self._names.items()}
        lost = real(self)
        for name, one in self._names.items():
            one.left = before[name]
        return lost

    patch.setattr(Slices, "lose", lose)


def spent_and_kept(patch: pytest.MonkeyPatch) -> None:
    """All that a call held is there again, whatever its event takes out."""
    real = Slices.named

    def named(self: Slices, event: UsageEvent) -> UsageEvent:
        found = real(self, event)
        opened = self._open.get(event.call.id)
        if opened is not None:
            opened.drawn = [0 for _ in opened.drawn]
        return found

    patch.setattr(Slices, "named", named)


def forked_and_kept(patch: pytest.MonkeyPatch) -> None:
    """A forked child goes on with its parent's slices."""
    real = AllowedLedger.forget

    def forget(self: AllowedLedger) -> None:
        kept = getattr(self, "_slices", None)
        real(self)
        if kept is not None:
            self._slices = kept

    patch.setattr(AllowedLedger, "forget", forget)


def left_told_anew(patch: pytest.MonkeyPatch) -> None:
    """What a lost lease had left is told under another id each time."""

    def tell(self: AllowedLedger) -> None:
        self._unsettled = [
            msgspec.structs.replace(one, call_id=f"again-{next(_numbers)}")
            for one in self._unsettled
        ]
        real(self)

    real = AllowedLedger._tell
    patch.setattr(AllowedLedger, "_tell", tell)


def in_flight_told_as_left(patch: pytest.MonkeyPatch) -> None:
    """What calls in flight hold of a lost lease is said not to be spent."""
    real = Slices.lose

    def lose(self: Slices) -> Any:
        for opened in self._open.values():
            for part, (_, amount) in zip(opened.parts, opened.hold.legs, strict=True):
                if part is not None and self._names.get(_name(part)) is part:
                    part.left += amount
        return real(self)

    patch.setattr(Slices, "lose", lose)


def given_back_and_kept(patch: pytest.MonkeyPatch) -> None:
    """An idle slice is given back and used on."""

    def give_up(self: Slices, several: Sequence[Slice]) -> list[GivenBack]:
        kept = dict(self._names), dict(self.beside)
        found = real(self, several)
        self._names, self.beside = kept
        return found

    real = Slices._give_up
    patch.setattr(Slices, "_give_up", give_up)


def ended_is_free(patch: pytest.MonkeyPatch) -> None:
    """What an ended lease holds is free once its horizon is over."""
    real = MemoryAuthority._write_off

    def write_off(self: MemoryAuthority, has: Holding) -> None:
        real(self, has)
        for key, part in has.parts.items():
            self._state.row(key).posted -= part.amount

    patch.setattr(MemoryAuthority, "_write_off", write_off)


@pytest.mark.parametrize(
    "mutation",
    [
        lost_and_kept,
        spent_and_kept,
        forked_and_kept,
        left_told_anew,
        in_flight_told_as_left,
        given_back_and_kept,
        ended_is_free,
    ],
)
def test_a_defect_of_allowances_is_found(
    mutation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    assert any(map(fails, range(WITHIN))), f"{mutation.__doc__} Not found in {WITHIN} worlds."


def fails(seed: int) -> bool:
    """Say whether a law is broken in a seed's world."""
    try:
        live_through(seed)
    except AssertionError:
        return True
    return False


def _name(one: Slice) -> tuple[str, str, str, str]:
    account = one.account
    return account.budget_id, account.scope, account.period, account.unit

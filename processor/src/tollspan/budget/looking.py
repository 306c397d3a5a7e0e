"""Looks at accounts without holding anything: what would another authority say now?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from .idle import Touch
from .values import Account, Balance, Hold, Refusal

Balances = Callable[[Sequence[Account]], tuple[Balance, ...]]
"""Says how accounts stand, in the order asked; raises `LedgerError` when nobody can say."""


class Looking:
    """An authority that answers as another would, and holds nothing.

    Attributes:
        hold_asked: What the first call would have held as it was asked for, before it was made to
            fit; None when nobody asked.

    Args:
        balances: How accounts stand there.
        has_room: Says of a hold whether it is not even asked there; None where all are.
        touch: Says which periods of idle windows run there; else none does.
    """

    def __init__(
        self,
        balances: Balances,
        has_room: Callable[[Hold], bool] | None = None,
        *,
        touch: Callable[[Touch], str] = lambda one: one.account.period,
    ) -> None:
        self._balances = balances
        self._has_room = has_room
        self._touch = touch
        self.hold_asked: Hold | None = None

    def hold(self, hold: Hold) -> Refusal | None:
        """Say whether it would fit."""
        self.hold_asked = self.hold_asked or hold
        if self._has_room is not None and self._has_room(hold):
            return None
        return refusal_of(hold, self.balances([account for account, _ in hold.legs]))

    def hold_now(self, hold: Hold) -> Refusal | None:
        """Say whether it would fit."""
        return self.hold(hold)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Say whether it would fit, as a future."""
        future: Future[Refusal | None] = Future()
        future.set_result(self.hold(hold))
        return future

    def release_soon(self, call_id: str) -> None:
        """Give nothing back: nothing is held."""

    def touch(self, touch: Touch) -> str:
        """Name the period that runs."""
        return self._touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        return self._balances(accounts)


def refusal_of(hold: Hold, balances: Sequence[Balance]) -> Refusal | None:
    """Return which accounts have no room for a hold, as an authority would; None when all have.

    Args:
        hold: What is asked.
        balances: Its accounts as they stand, in the order of its legs.
    """
    pairs = [(balance, asked) for balance, (_, asked) in zip(balances, hold.legs, strict=True)]
    short = [pair for pair in pairs if not pair[0].fits(pair[1])]
    hard = [pair for pair in short if not pair[0].account.is_soft]
    said = hard or short
    if not said:
        return None
    return Refusal(
        balances=tuple([balance for balance, _ in said]),
        asked=tuple([asked for _, asked in said]),
        is_held=not hard,
    )

"""What the leases of one process have done so far, for whoever watches it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tollspan.usage import BudgetUnit

from .values import Account


class LeaseStock(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease has of one budget, in the budget's unit, over all of its accounts.

    Attributes:
        budget_id, unit: The budget.
        granted: All that was ever granted to this process.
        remaining: What no call holds: it can be used without asking.
    """

    budget_id: str
    unit: BudgetUnit
    granted: int
    remaining: int


class LeaseState(msgspec.Struct, frozen=True, kw_only=True):
    """How the leases of one process stand.

    Attributes:
        answers, failures, waits, lost: As `LeaseFigures` counts them.
        stocks: What it has, budget by budget.
    """

    answers: int
    failures: int
    waits: int
    lost: int
    stocks: tuple[LeaseStock, ...]


class LeaseFigures:
    """Counts what happens to the leases of one process; its owner locks it.

    Attributes:
        answers, failures: Questions to the authority, for more, that it answered, and that it
            could not answer.
        waits: Calls that waited for an answer.
        lost: Leases that were over before this process gave them back.
        granted: (Budget, unit) → all that was ever granted, in that unit.
    """

    __slots__ = ("answers", "failures", "granted", "lost", "waits")

    def __init__(self) -> None:
        self.answers = self.failures = self.waits = self.lost = 0
        self.granted: dict[tuple[str, BudgetUnit], int] = {}

    def grant(self, budget_id: str, unit: BudgetUnit, amount: int) -> None:
        """Count what was granted."""
        place = (budget_id, unit)
        self.granted[place] = self.granted.get(place, 0) + amount

    def state(self, left: Iterable[tuple[Account, int]]) -> LeaseState:
        """Return how things stand.

        Args:
            left: What no call holds, account by account.
        """
        remaining: dict[tuple[str, BudgetUnit], int] = {}
        for account, amount in left:
            place = (account.budget_id, account.unit)
            remaining[place] = remaining.get(place, 0) + amount
        return LeaseState(
            answers=self.answers,
            failures=self.failures,
            waits=self.waits,
            lost=self.lost,
            stocks=tuple(
                [
                    LeaseStock(
                        budget_id=place[0],
                        unit=place[1],
                        granted=granted,
                        remaining=remaining.get(place, 0),
                    )
                    for place, granted in self.granted.items()
                ]
            ),
        )

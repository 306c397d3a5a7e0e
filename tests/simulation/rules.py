"""The budgets of a simulated world, as one process has read them last."""

from __future__ import annotations

from typing import Final

import msgspec

from tests.simulation.world import NOON_UNIX_NS, World
from tollspan.budget import Account, Hold

WINDOW_SECONDS: Final = 5.0
SOFT: Final = frozenset({"notice"})
NARROW: Final = ("team-a", "team-b", "window", "notice", "calls")


class Rules(msgspec.Struct, frozen=True):
    """Limits by budget.

    `org` counts every call; of the others a call touches up to three. `window` begins anew every
    few seconds, `notice` is soft, `calls` counts calls.
    """

    limits: dict[str, int]
    mean: int

    def hold(self, world: World, call_id: str) -> Hold:
        """Ask for a new call, by the window in which it starts."""
        chance = world.chance
        amount = chance.randint(0, 2 * self.mean)
        names = ["org", *chance.sample(NARROW, chance.randint(0, 3))]
        legs = tuple(
            [(self.account(world, name), 1 if name == "calls" else amount) for name in names]
        )
        return Hold(call_id=call_id, started_at_unix_ns=NOON_UNIX_NS, legs=legs, is_money=False)

    def account(self, world: World, name: str) -> Account:
        """Name the account of a budget, by the window that it is in now."""
        return Account(
            budget_id=name,
            scope="",
            period=str(int(world.now / WINDOW_SECONDS)) if name == "window" else "",
            limit=self.limits[name],
            unit="calls" if name == "calls" else "usd",
            is_soft=name in SOFT,
        )

    def changed(self, name: str, factor: float) -> Rules:
        """Return the rules with another limit."""
        return Rules({**self.limits, name: int(self.limits[name] * factor)}, self.mean)

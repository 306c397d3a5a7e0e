"""Policies as values: what calls may be, and for whom, whatever they cost."""

from __future__ import annotations

from typing import Literal

import msgspec

from .rules import Condition

OnViolation = Literal["deny", "warn", "shadow"]
TURN = "turn"
"""What calls may have in common besides what they are and whom they are for: their last turn."""


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls may be alike.

    Attributes:
        repeats: So many are let through, 1 or more.
        within_seconds: In any stretch of time as long as this.
        of: What they have in common: subjects, owners, `turn`; empty for all calls together.
    """

    repeats: int
    within_seconds: int
    of: tuple[str, ...]

    @property
    def asks_turn(self) -> bool:
        """Whether calls are alike only when their last turns are."""
        return TURN in self.of


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls that it is for may be.

    Attributes:
        id: Unique in its document, among budgets too.
        where: Conditions that a call must meet for the policy to be for it, all of them.
        allow: A call must meet each of them, as far as it can: a tool has no model.
        deny: A call must meet none of them.
        kill: No call is let through.
        require: Dimensions of which a call must say something.
        most_cost_nanousd: The most that one call may cost, by its bound; None for any.
        most_in_flight: The most calls that may be under way in one process; None for any.
        per: Dimensions by whose values calls in flight are counted apart.
        most_depth: How deep agents may be nested around a call; None for any.
        loop: How many calls may be alike; None for any number.
        on_violation: What becomes of a call that is not as it should be.
        message, upgrade_url: What a denial tells the program's user.
    """

    id: str
    where: tuple[Condition, ...] = ()
    allow: tuple[Condition, ...] = ()
    deny: tuple[Condition, ...] = ()
    kill: bool = False
    require: tuple[str, ...] = ()
    most_cost_nanousd: int | None = None
    most_in_flight: int | None = None
    per: tuple[str, ...] = ()
    most_depth: int | None = None
    loop: Loop | None = None
    on_violation: OnViolation = "deny"
    message: str | None = None
    upgrade_url: str | None = None

    def keys(self) -> frozenset[str]:
        """Return what has to be known of a call to say whether it violates the policy."""
        conditions = (*self.where, *self.allow, *self.deny)
        named = (condition.key for condition in conditions)
        alike = () if self.loop is None else self.loop.of
        return frozenset((*self.require, *self.per, *alike, *named)) - {TURN}

    @property
    def is_watching(self) -> bool:
        """Whether each call has to be looked at: it is not enough to know of what kind it is."""
        limits = (self.most_cost_nanousd, self.most_in_flight, self.most_depth, self.loop)
        return any(limit is not None for limit in limits)

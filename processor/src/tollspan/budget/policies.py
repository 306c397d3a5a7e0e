"""Policies as values: what calls may be, and for whom, whatever they cost."""

from __future__ import annotations

from typing import Literal

import msgspec

from .rules import Condition

OnViolation = Literal["deny", "warn", "shadow"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls that it is for may be.

    Attributes:
        id: Unique in its document, among budgets too.
        where: Conditions that a call must meet for the policy to be for it, all of them.
        allow: A call must meet each of them, as far as it can: a tool has no model.
        deny: A call must meet none of them.
        kill: No call is let through.
        require: Dimensions of which a call must say something.
        on_violation: What becomes of a call that is not as it should be.
        message, upgrade_url: What a denial tells the program's user.
    """

    id: str
    where: tuple[Condition, ...] = ()
    allow: tuple[Condition, ...] = ()
    deny: tuple[Condition, ...] = ()
    kill: bool = False
    require: tuple[str, ...] = ()
    on_violation: OnViolation = "deny"
    message: str | None = None
    upgrade_url: str | None = None

    def keys(self) -> frozenset[str]:
        """Return what has to be known of a call to say whether it violates the policy."""
        conditions = (*self.where, *self.allow, *self.deny)
        return frozenset((*self.require, *(condition.key for condition in conditions)))

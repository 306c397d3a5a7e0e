"""The rules in force: budgets and defaults, as values."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from tollspan.usage import DIMENSIONS, BudgetUnit

from .allowances import Allowance
from .ports import OnUnavailable, OnUnbounded, OnUnboundedInput, OnUnpriced
from .windows import LIFETIME, TRACE, Window

if TYPE_CHECKING:
    from .policies import Policy

BoundKind = Literal["strict", "typical"]
OnExceed = Literal["deny", "reroute", "clamp", "warn", "shadow"]
SHARPEST_FIRST: tuple[OnExceed, ...] = get_args(OnExceed)
"""What becomes of a call that does not fit: where several rules speak, the first of these wins."""
LETS_PASS: frozenset[OnExceed] = frozenset({"warn", "shadow"})
"""Those that refuse no call, whatever happens."""
CHANGES: frozenset[OnExceed] = frozenset({"reroute", "clamp"})
"""Those that have something else go out than was asked for; what can't be changed is refused."""
_NOTHING = Decimal(0)
CLAMP_MINIMUM_TOKENS = 256
"""Least output to which a call is clamped where a rule does not say.

That is a paragraph of some 190 English words, and more than the arguments of a usual call of a
tool: a call that may write less is likely to be cut in the middle, and its input is paid all the
same.
"""
OWNERS = (*DIMENSIONS, "service", "environment")
"""Whom a call may be for, as `per` and `where` name it; beside them each `tag.<name>`."""
SUBJECTS = ("provider", "model", "operation", "tool")
"""What a call may be, as `where` names it."""


class Condition(msgspec.Struct, frozen=True):
    """What a call must be for a budget to count it.

    Attributes:
        key: One of `SUBJECTS` or `OWNERS`, or `tag.<name>`.
        patterns: Globs (`*`, `?`, `[…]`), one of which the call's value matches. Of what a call is,
            capitals don't matter; of whom it is for they do. Empty for any value.
        excluded: Globs of which it matches none. Where there are only these, who says nothing of
            an owner is none of them; but a call without a model or a tool is not meant.
    """

    key: str
    patterns: tuple[str, ...]
    excluded: tuple[str, ...] = ()


class OwnLimit(msgspec.Struct, frozen=True):
    """The limit of those accounts of a divided budget that are for certain values.

    Attributes:
        values: (dimension, value) pairs, of some or all of the dimensions that divide the budget.
        limit: In the budget's unit.
    """

    values: tuple[tuple[str, str], ...]
    limit: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on money, tokens or calls in a window.

    Attributes:
        id: Unique in its document.
        limit: In the unit, 0 or more; 0 allows nothing.
        unit: What is counted; `usd` in nano-USD.
        window: When it starts anew.
        per: Dimensions by whose values it is divided: one account for each.
        limits: Limits of single values instead of `limit`; the first that is for a call counts.
        where: Conditions that a call must meet, all of them.
        plan: The plan whose customers have it; None for one that everybody has.
        on_exceed: What becomes of a call that does not fit; the sharpest, where it says several.
        reroute: (glob, model) pairs: such a call of a model that matches goes out with the other
            one, by the first that matches.
        clamp_minimum_tokens: Least output, of each answer, to which such a call may be clamped;
            None where none is.
        bound: What is held for a call: `strict`: the most that it can use; `typical`: what all but
            one in a thousand calls like it used, once a thousand were seen.
        finish_reserve: Share of the limit that only calls which the program marks as finishing may
            use; 0 for none.
        cooldown_seconds: How long its owner is refused once a call was; None for no longer than
            there is no room.
        warn_at: Shares of the limit, rising, at which somebody is told, once in each period.
        message, upgrade_url: What a denial tells the program's user.
    """

    id: str
    limit: int
    unit: BudgetUnit = "usd"
    window: Window = LIFETIME
    per: tuple[str, ...] = ()
    limits: tuple[OwnLimit, ...] = ()
    where: tuple[Condition, ...] = ()
    plan: str | None = None
    on_exceed: OnExceed = "deny"
    reroute: tuple[tuple[str, str], ...] = ()
    clamp_minimum_tokens: int | None = None
    bound: BoundKind = "strict"
    finish_reserve: Decimal = _NOTHING
    cooldown_seconds: int | None = None
    warn_at: tuple[Decimal, ...] = ()
    message: str | None = None
    upgrade_url: str | None = None


class Assignment(msgspec.Struct, frozen=True):
    """What a customer has.

    Attributes:
        plan: The plan's name.
        anchor: A day on which its billing period begins, for the plan's months, quarters and years;
            None to go by the plan's own windows.
    """

    plan: str
    anchor: date | None = None


class RuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """One document's rules.

    Attributes:
        budgets: Every budget, in the document's order; those of plans last.
        policies: Every policy, in the document's order.
        on_unavailable: What happens to calls in a budget while the authority can't answer; an
            allowance lets them through as far as it goes.
        on_unbounded: What happens to calls without a limit on their output.
        on_unbounded_input: What happens to calls whose input has no bound in bytes (media by URL,
            tools at the provider, history that it keeps) and for which no reserve is declared:
            `window` holds the model's context window.
        on_unpriced: What happens to models without a price; None: `ceiling` on hosts that are known
            to be the provider's own, `allow` elsewhere.
        assign: (customer, what it is assigned) pairs; `*` is everybody else.
        hosts: (host or host:port, provider) pairs that extend the table of known hosts.
        authority: Who holds the money where no setting says it; None for the default.
        source: Where the rules come from, for messages.
    """

    budgets: tuple[Budget, ...] = ()
    policies: tuple[Policy, ...] = ()
    on_unavailable: OnUnavailable | Allowance = "deny"
    on_unbounded: OnUnbounded = "model_max"
    on_unbounded_input: OnUnboundedInput = "window"
    on_unpriced: OnUnpriced | None = None
    assign: tuple[tuple[str, Assignment], ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    authority: str | None = None
    source: str = "no rules"

    @property
    def goes_by_traces(self) -> bool:
        """Whether some budget has an account for each trace."""
        return any(budget.window.every == TRACE for budget in self.budgets)

    @property
    def asks_turns(self) -> bool:
        """Whether a policy has to know the last turns of calls."""
        return any(one.loop is not None and one.loop.asks_turn for one in self.policies)

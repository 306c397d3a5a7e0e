"""The rules in force: budgets and defaults, as values."""

from __future__ import annotations

import msgspec

from .ports import OnUnavailable, OnUnbounded, OnUnboundedInput, OnUnpriced
from .windows import Window


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on money in a window.

    Attributes:
        id: Unique in its document.
        limit_nanousd: 0 or more; 0 allows only what costs nothing.
        window: When it starts anew.
        message, upgrade_url: What a denial tells the program's user.
    """

    id: str
    limit_nanousd: int
    window: Window = "lifetime"
    message: str | None = None
    upgrade_url: str | None = None


class RuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """One document's rules.

    Attributes:
        budgets: Every budget, in the document's order.
        on_unavailable: What happens to calls in a budget while the authority can't answer.
        on_unbounded: What happens to calls without a limit on their output.
        on_unbounded_input: What happens to calls whose input has no bound in bytes (media by URL,
            tools at the provider, history that it keeps) and for which no reserve is declared:
            `window` holds the model's context window.
        on_unpriced: What happens to models without a price; None: `ceiling` on hosts that are known
            to be the provider's own, `allow` elsewhere.
        hosts: (host or host:port, provider) pairs that extend the table of known hosts.
        source: Where the rules come from, for messages.
    """

    budgets: tuple[Budget, ...] = ()
    on_unavailable: OnUnavailable = "deny"
    on_unbounded: OnUnbounded = "model_max"
    on_unbounded_input: OnUnboundedInput = "window"
    on_unpriced: OnUnpriced | None = None
    hosts: tuple[tuple[str, str], ...] = ()
    source: str = "no rules"

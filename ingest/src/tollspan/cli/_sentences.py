"""Says what rules mean, a sentence for each."""

from __future__ import annotations

from tollspan.budget import Budget, RuleSet
from tollspan.usage import usd

_WINDOWS = {
    "lifetime": "in all, for good",
    "hour": "in each hour (UTC)",
    "day": "on each day (UTC)",
    "week": "in each week from Monday (UTC)",
    "month": "in each calendar month (UTC)",
}


def sentence(budget: Budget) -> str:
    """Say what a budget allows."""
    if budget.limit_nanousd == 0:
        return f"{budget.id}: nothing that costs is allowed; every such call is refused."
    return (
        f"{budget.id}: at most {usd(budget.limit_nanousd)} {_WINDOWS[budget.window]}, over all "
        "calls; a call that may not fit is refused."
    )


def defaults_sentences(rules: RuleSet) -> tuple[str, ...]:
    """Say what happens where budgets can't decide, as far as it lets calls through."""
    found: list[str] = []
    if rules.on_unavailable == "allow":
        found.append("While the ledger can't answer, calls go through uncounted.")
    if rules.on_unpriced == "allow":
        found.append("Models without a price are let through, and cost nothing in the budgets.")
    if rules.on_unbounded == "deny":
        found.append("Calls without a limit on their output are refused.")
    if rules.on_unbounded_input == "deny":
        found.append("Calls whose input has no bound are refused.")
    return tuple(found)

"""Finds what is legal in a document, and still can't be what somebody wanted.

Only what is certain: a warning that is wrong costs more than one that is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from tollspan.budget import LETS_PASS, Budget, RuleSet
from tollspan.pricing import PriceBook

from ._reach import why_unreachable

# What two budgets may differ in that count the same calls in the same accounts.
_OWN = ("id", "limit", "on_exceed", "warn_at", "message", "upgrade_url")


class Oddity(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at.

    Attributes:
        budget: The budget's id; None for the document.
        text: What is odd, and what to do.
    """

    budget: str | None
    text: str


def oddities(rules: RuleSet, book: PriceBook | None) -> tuple[Oddity, ...]:
    """Return what is odd, in the document's order.

    Args:
        rules: What the document says.
        book: Knows models and providers; None where there is no book, and nobody knows them.

    Raises:
        PriceBookError: The book can't be read.
    """
    lost = {} if book is None else why_unreachable(rules, book)
    first: dict[str, Budget] = {}
    found: list[Oddity] = []
    if not rules.budgets and not rules.policies:
        found.append(
            Oddity(budget=None, text="the document has no budget and no policy: nothing is refused")
        )
    plans = {assignment.plan for _, assignment in rules.assign}
    for budget in rules.budgets:
        texts = [*_of_one(budget)]
        if budget.plan is not None and budget.plan not in plans:
            texts.append(f"counts no call: nobody is assigned the plan {budget.plan}")
        if budget.id in lost:
            texts.insert(0, f"counts no call: {lost[budget.id]}; mend its `where`, or take it out")
        twin = first.setdefault(_what_counts(budget), budget)
        if twin is not budget:
            texts += _of_twins(twin, budget)
        found += [Oddity(budget=budget.id, text=text) for text in texts]
    return tuple(found)


def _of_one(budget: Budget) -> Iterator[str]:
    is_hard = budget.on_exceed not in LETS_PASS
    is_nothing = budget.limit == 0 and not budget.limits
    if is_nothing and is_hard and not budget.where and budget.plan is None:
        yield "refuses every call: its limit is 0 and it has no `where`"
    if is_nothing and not is_hard:
        yield f"says `{budget.on_exceed}` of every call that it counts: its limit is 0"
    if is_nothing and budget.warn_at:
        yield "has shares to warn at of a limit of 0: leave `warn_at` out"
    says = [key for key in ("message", "upgrade_url") if getattr(budget, key) is not None]
    if budget.on_exceed == "shadow" and not budget.warn_at and says:
        yield f"tells nobody its `{says[0]}`: a shadow budget refuses nothing, and warns of nothing"


def _of_twins(one: Budget, other: Budget) -> Iterator[str]:
    """Compare two budgets that count the same calls for the same owners in the same windows."""
    low, high = sorted((one, other), key=_limit)
    if low.on_exceed == "deny":
        yield (
            f"counts the same calls as {one.id}: {high.id} refuses nothing that {low.id} lets "
            "through, since its limit is no lower; take one of them out"
        )
    elif low.on_exceed == high.on_exceed:
        yield f"counts the same calls as {one.id}, and both only {low.on_exceed}: one is enough"


def _limit(budget: Budget) -> tuple[int, bool]:
    return budget.limit, budget.on_exceed in LETS_PASS


def _what_counts(budget: Budget) -> str:
    """Name what a budget counts, for whom and when: all that it says but what is its own."""
    said = {name: value for name, value in msgspec.to_builtins(budget).items() if name not in _OWN}
    said["per"] = sorted(said["per"])
    said["where"] = sorted(said["where"], key=json.dumps)
    return json.dumps(said, sort_keys=True)

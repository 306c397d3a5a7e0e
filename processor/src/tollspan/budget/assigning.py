"""Finds a customer's plan, and the windows that the plan's budgets have for its billing period."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .rules import Assignment, Budget, RuleSet
from .windows import BILLED, Window

EVERYBODY_ELSE = "*"
"""Who has no plan of its own, in `assign`; calls that name no customer among them."""


class Assignments:
    """Who has which plan. A look-up costs as much with ten thousand customers as with one."""

    def __init__(self, rules: RuleSet) -> None:
        self._by_customer = dict(rules.assign)
        self._others = self._by_customer.pop(EVERYBODY_ELSE, None)

    def of(self, customer: str | None) -> Assignment | None:
        """Return what a customer is assigned; None where that is nothing."""
        found = None if customer is None else self._by_customer.get(customer)
        return found or self._others

    def windows(self, budget: Budget) -> Iterator[Window]:
        """Yield every window that a budget has, for whomever; each once."""
        if budget.plan is None:
            yield budget.window
            return
        everybody = [*self._by_customer.values(), *([self._others] if self._others else [])]
        yield from {window_of(budget, one) for one in everybody if one.plan == budget.plan}


def window_of(budget: Budget, assignment: Assignment | None) -> Window:
    """Return a budget's window for whom it is assigned to: months and more from its own anchor."""
    anchor = None if assignment is None else assignment.anchor
    if anchor is None or budget.plan is None or budget.window.every not in BILLED:
        return budget.window
    return msgspec.structs.replace(budget.window, anchor=anchor)

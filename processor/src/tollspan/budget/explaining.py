"""Says which budgets count a call, and why the others don't."""

from __future__ import annotations

import msgspec

from tollspan.usage import Call

from .assigning import Assignments
from .plans import said_of, test_of
from .rules import Budget, Condition, RuleSet


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of a budget, and what a call says of it.

    Attributes:
        condition: The condition.
        value: What the call says; None when it says nothing.
        is_met: Whether that meets the condition.
    """

    condition: Condition
    value: str | None
    is_met: bool


class Matching(msgspec.Struct, frozen=True, kw_only=True):
    """One budget, and how a call meets its conditions.

    Attributes:
        budget: The budget.
        seen: Its conditions, in the order of the document.
        plan: The plan of the call's customer; None when it has none.
    """

    budget: Budget
    seen: tuple[Seen, ...]
    plan: str | None = None

    @property
    def is_of_plan(self) -> bool:
        """Whether everybody has the budget, or the call's customer by its plan."""
        return self.budget.plan in (None, self.plan)

    @property
    def counts(self) -> bool:
        """Whether the budget counts the call: it meets every condition, and the plan is its own."""
        return self.is_of_plan and all(one.is_met for one in self.seen)


def matchings(rules: RuleSet, call: Call) -> tuple[Matching, ...]:
    """Return for each budget how a call meets its conditions."""
    assigned = Assignments(rules).of(call.attribution.customer)
    plan = None if assigned is None else assigned.plan
    return tuple(
        Matching(budget=budget, seen=tuple([_see(one, call) for one in budget.where]), plan=plan)
        for budget in rules.budgets
    )


def _see(condition: Condition, call: Call) -> Seen:
    return Seen(
        condition=condition,
        value=said_of(call, condition.key),
        is_met=test_of(condition)(call),
    )

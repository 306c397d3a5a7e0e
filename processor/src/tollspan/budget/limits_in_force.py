"""The limits that the rules have now, of accounts that were made by older ones too."""

from __future__ import annotations

import msgspec

from tollspan.usage import BLOCK_PERIOD

from .allowances import Allowance, is_allowance, plain_period
from .folding import FOLDED
from .limits import Limits
from .plans import read_scope
from .rules import Budget, RuleSet
from .values import Account


class LimitsInForce:
    """Says what limits accounts have by the rules in force.

    Attributes:
        budgets: The rules' budgets by id.

    Args:
        rules: The rules.
    """

    def __init__(self, rules: RuleSet) -> None:
        self.budgets = {budget.id: budget for budget in rules.budgets}
        self._limits: dict[str, Limits] = {}
        self._rules = rules

    def budget_of(self, account: Account) -> Budget | None:
        """Return the budget that an account is of; None where no rule in force says its limit."""
        budget = self.budgets.get(account.budget_id)
        is_block = plain_period(account.period) == BLOCK_PERIOD
        if budget is None or budget.unit != account.unit or is_block or account.scope == FOLDED:
            return None
        return budget

    def of(self, account: Account) -> Account | None:
        """Return an account with its limit; None where no rule in force says it."""
        budget = self.budget_of(account)
        if budget is None:
            return None
        limits = self._limits.get(budget.id)
        if limits is None:
            limits = self._limits[budget.id] = Limits(budget)
        limit = limits.of(dict(read_scope(account.scope)))
        return msgspec.structs.replace(account, limit=self._allowed(account, limit))

    def _allowed(self, account: Account, limit: int) -> int:
        """Return the limit of an account beside which its budget has so much; 0 for none."""
        if not is_allowance(account.period):
            return limit
        rule = self._rules.on_unavailable
        beside = msgspec.structs.replace(account, limit=limit)
        return rule.of(beside) if isinstance(rule, Allowance) else 0

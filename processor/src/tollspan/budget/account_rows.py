"""Accounts as authorities in memory keep them."""

from __future__ import annotations

from tollspan.usage import BudgetUnit

from .values import Account

Key = tuple[str, str, str, BudgetUnit]
"""Names an account: budget, scope, period, unit."""


class Row:
    """An account's sums, and the mark of whoever folds: 0 since anything changed."""

    __slots__ = ("held", "mark", "posted", "unresolved")

    def __init__(self) -> None:
        self.posted = self.held = self.unresolved = self.mark = 0


def key_of(account: Account) -> Key:
    """Name an account."""
    return account.budget_id, account.scope, account.period, account.unit


def account_of(key: Key) -> Account:
    """Return the account of a name, with limit 0."""
    return Account(budget_id=key[0], scope=key[1], period=key[2], unit=key[3], limit=0)

"""How budgets and the outbox stand, for metric readers: read-only, bounded in number and time."""

from __future__ import annotations

import contextlib
import json
import time
from typing import cast

from tollspan.budget import Account, Balance, BudgetGate, period
from tollspan.instrumentation import BudgetState
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.usage import NANOUSD_PER_USD, LedgerError

_KEPT_SECONDS = 1.0
_MOST_BUDGETS = 1000
_MOST_SCOPES = 1000


class LedgerStates:
    """Reads the accounts in force, at most once a second.

    Args:
        ledger: Whose file is read, by a connection of its own.
        gate: Knows the rules in force.
        dimensions: A divided budget is told account by account where all of its dimensions are
            among these.
    """

    def __init__(
        self, ledger: SQLiteLedger, gate: BudgetGate, *, dimensions: frozenset[str]
    ) -> None:
        self._ledger = ledger
        self._gate = gate
        self._dimensions = dimensions
        self._read_at = -_KEPT_SECONDS
        self._kept: list[BudgetState] = []

    def budgets(self) -> list[BudgetState]:
        """Return the accounts in force; those of the last time when the ledger can't be read."""
        if time.monotonic() - self._read_at >= _KEPT_SECONDS:
            self._read_at = time.monotonic()
            with contextlib.suppress(LedgerError):  # nothing ran yet, or others say what is wrong
                self._kept = self._read()
        return self._kept

    def outbox(self) -> tuple[int, int | None]:
        """Return how many events wait outside the ledger, and when the oldest began."""
        waiting = self._ledger.waiting()
        return waiting.count, waiting.oldest_unix_ns

    def _read(self) -> list[BudgetState]:
        now = time.time_ns()
        undivided = {
            (budget.id, period(budget.window, now)[0]): budget.limit_nanousd
            for budget in self._gate.rules.budgets[:_MOST_BUDGETS]
        }
        most_scopes = _MOST_SCOPES if self._dimensions else 0
        states: list[BudgetState] = []
        for balance in LedgerReader(self._ledger.path).balances_of(
            undivided, most_scopes=most_scopes
        ):
            account = balance.account
            scope = _scope(account.scope)
            if not scope:
                undivided.pop((account.budget_id, account.period), None)
            if self._dimensions.issuperset(dict(scope)):
                states.append(_state(balance, scope))
        for (budget_id, key), limit in undivided.items():  # of which nothing was spent yet
            account = Account(budget_id=budget_id, scope="", period=key, limit_nanousd=limit)
            states.append(_state(Balance(account=account), ()))
        return states


def _scope(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(cast("dict[str, str]", dict(json.loads(text))).items()) if text else ()


def _state(balance: Balance, scope: tuple[tuple[str, str], ...]) -> BudgetState:
    """Put a balance into what people count in: the one place here that knows the ledger's units."""
    account = balance.account
    return BudgetState(
        budget_id=account.budget_id,
        scope=scope,
        unit="USD",
        limit=account.limit_nanousd / NANOUSD_PER_USD,
        spent=balance.posted_nanousd / NANOUSD_PER_USD,
        held=(balance.held_nanousd + balance.unresolved_nanousd) / NANOUSD_PER_USD,
    )

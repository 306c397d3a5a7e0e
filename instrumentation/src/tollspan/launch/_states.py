"""How budgets and the outbox stand, for metric readers: read-only, bounded in number and time."""

from __future__ import annotations

import contextlib
import time

import msgspec

from tollspan.budget import Account, Balance, BudgetGate, Standing, period, read_scope
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
        standing: The shared authority that knows how accounts stand; None where the ledger does.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        gate: BudgetGate,
        *,
        dimensions: frozenset[str],
        standing: Standing | None = None,
    ) -> None:
        self._ledger = ledger
        self._standing = standing
        self._gate = gate
        self._dimensions = dimensions
        self._read_at = -_KEPT_SECONDS
        self._kept: list[BudgetState] = []

    def budgets(self) -> list[BudgetState]:
        """Return the accounts in force; those of the last time when the ledger can't be read."""
        now = time.monotonic()
        if now - self._read_at >= _KEPT_SECONDS:
            with contextlib.suppress(LedgerError):  # nothing ran yet, or others say what is wrong
                self._kept = self._read()
            self._read_at = now  # not before: another thread that looks meanwhile reads them too
        return self._kept

    def outbox(self) -> tuple[int, int | None]:
        """Return how many events wait outside the ledger, and when the oldest began."""
        waiting = self._ledger.waiting()
        return waiting.count, waiting.oldest_unix_ns

    def _read(self) -> list[BudgetState]:
        now = time.time_ns()
        budgets = self._gate.rules.budgets[:_MOST_BUDGETS]
        periods = {(one.id, period(one.window, now)[0]): one for one in budgets}
        units = {one.id: one.unit for one in budgets}
        unseen = {place: one for place, one in periods.items() if not one.per}
        most_scopes = _MOST_SCOPES if self._dimensions else 0
        found: list[Balance] = []
        for balance in LedgerReader(self._ledger.path).balances_of(
            periods, most_scopes=most_scopes
        ):
            account = balance.account
            if account.unit != units[account.budget_id]:
                continue  # from when the budget counted something else
            scope = read_scope(account.scope)
            if not scope:
                unseen.pop((account.budget_id, account.period), None)
            if self._dimensions.issuperset(dict(scope)):
                found.append(balance)
        for (budget_id, key), one in unseen.items():  # of which nothing was used yet
            account = Account(
                budget_id=budget_id, scope="", period=key, limit=one.limit, unit=one.unit
            )
            found.append(Balance(account=account))
        if self._standing is not None:  # this host's file knows of them, others' money is not there
            limits = {one.id: one.limit for one in budgets}
            found = list(
                self._standing.balances(
                    [
                        msgspec.structs.replace(
                            one.account, limit=one.account.limit or limits[one.account.budget_id]
                        )
                        for one in found
                    ]
                )
            )
        return [_state(balance, read_scope(balance.account.scope)) for balance in found]


def _state(balance: Balance, scope: tuple[tuple[str, str | None], ...]) -> BudgetState:
    """Put a balance into what people count in: the one place here that knows the ledger's units."""
    account = balance.account
    is_money = account.unit == "usd"
    each = NANOUSD_PER_USD if is_money else 1
    return BudgetState(
        budget_id=account.budget_id,
        scope=scope,
        unit="USD" if is_money else account.unit,
        limit=account.limit / each,
        spent=balance.posted / each,
        held=(balance.held + balance.unresolved) / each,
    )

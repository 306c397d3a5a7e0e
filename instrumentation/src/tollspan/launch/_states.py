"""How budgets and the outbox stand, for metric readers: read-only, bounded in number and time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from itertools import islice

import msgspec

from tollspan.budget import (
    IDLE,
    ROLLING,
    TRACE,
    Account,
    Assignments,
    Balance,
    Budget,
    BudgetGate,
    LeaseState,
    Limits,
    RuleSet,
    Standing,
    Window,
    ends_at,
    fullest,
    length_seconds,
    periods,
    read_scope,
)
from tollspan.exporter import Shipper
from tollspan.instrumentation import BudgetState, ShippingState, people_unit
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.usage import LedgerError, parts_of

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
        leases: Says how this process's leases stand.
        unsettled: Counts what a shared authority was not told yet.
        shipper: Sends events; None where they stay.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        gate: BudgetGate,
        *,
        dimensions: frozenset[str],
        standing: Standing | None = None,
        leases: Callable[[], LeaseState | None] = lambda: None,
        unsettled: Callable[[], int | None] = lambda: None,
        shipper: Shipper | None = None,
    ) -> None:
        self._ledger = ledger
        self._standing = standing
        self._gate = gate
        self._unsettled = unsettled
        self._shipper = shipper
        self._shipping: ShippingState | None = None
        self._shipping_at = -_KEPT_SECONDS
        self.leases = leases
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

    def shipping(self) -> ShippingState | None:
        """Return how sending goes, looked at once a second at most; None where events stay."""
        shipper = self._shipper
        now = time.monotonic()
        if shipper is not None and now - self._shipping_at >= _KEPT_SECONDS:
            self._shipping_at = now
            waits = shipper.status().waits
            figures = shipper.figures
            self._shipping = ShippingState(
                waiting=None if waits is None else waits.count,
                oldest_unix_ns=None if waits is None else waits.oldest_unix_ns,
                sent=figures.sent,
                rejected=figures.rejected,
                failures=tuple(figures.failures.copy().items()),
            )
        return self._shipping

    def unsettled(self) -> int | None:
        """Count events that a shared authority was not told yet; None where nobody knows."""
        with contextlib.suppress(LedgerError):
            return self._unsettled()
        return None

    def _read(self) -> list[BudgetState]:
        rules = self._gate.rules
        budgets = rules.budgets[:_MOST_BUDGETS]
        now = time.time_ns()
        windows = self._windows(rules, now)
        periods = {place: one for place, (one, _) in windows.items()}
        units = {one.id: one.unit for one in budgets}
        unseen = {place: one for place, one in periods.items() if not one.per}
        most_scopes = _MOST_SCOPES if self._dimensions else 0
        balances: list[Balance] = []
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
                balances.append(balance)
        for (budget_id, key), one in unseen.items():  # of which nothing was used yet
            account = Account(
                budget_id=budget_id, scope="", period=key, limit=one.limit, unit=one.unit
            )
            balances.append(Balance(account=account))
        if self._standing is not None:
            limits = {one.id: Limits(one) for one in budgets}
            balances = self._ask(self._standing, balances, limits)
        return [
            _state(one, windows[one.account.budget_id, one.account.period][1], now)
            for one in fullest(balances)
        ]

    def _windows(self, rules: RuleSet, now: int) -> dict[tuple[str, str], tuple[Budget, Window]]:
        """Return budgets, and windows, by the budgets' ids and the periods in force."""
        assigned = Assignments(rules)
        found = {
            (one.id, key): (one, window)
            for one in rules.budgets[:_MOST_BUDGETS]
            if one.window.every not in (TRACE, IDLE) and (one.plan is None or self._dimensions)
            for window in assigned.windows(one)
            for key in periods(window, now)[0]
        }
        return dict(islice(found.items(), _MOST_BUDGETS))

    @staticmethod
    def _ask(
        standing: Standing, balances: list[Balance], limits: Mapping[str, Limits]
    ) -> list[Balance]:
        """Ask a shared authority: this host's file knows of the accounts, not of others' money."""
        accounts = [
            msgspec.structs.replace(
                one.account,
                limit=one.account.limit
                or limits[one.account.budget_id].of(dict(read_scope(one.account.scope))),
            )
            for one in balances
        ]
        return list(standing.balances(accounts))


def _state(balance: Balance, window: Window, now: int) -> BudgetState:
    """Put a balance into what people count in: the one place here that knows the ledger's units."""
    account = balance.account
    each = parts_of(account.unit)
    end = None if window.every == ROLLING else ends_at(window, now)
    return BudgetState(
        budget_id=account.budget_id,
        scope=read_scope(account.scope),
        unit=people_unit(account.unit),
        limit=account.limit / each,
        spent=balance.posted / each,
        held=(balance.held + balance.unresolved) / each,
        unresolved=balance.unresolved / each,
        period_seconds=length_seconds(window, now),
        ends_at_unix_ns=None if end is None else int(end.timestamp()) * 10**9,
    )

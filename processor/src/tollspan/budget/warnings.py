"""Tells when budgets run low or are passed: after calls, away from the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from tollspan.usage import BLOCK_PERIOD, BudgetUnit, Charge, UsageEvent

from .allowances import is_allowance
from .limits import Limits
from .plans import read_scope
from .rolling import fullest, read_rolling
from .rules import Budget, RuleSet
from .values import Account, Balance

_EVERY_SECONDS = 60.0
_MOST_REMEMBERED = 10_000
# Decisions that let a call through and name the rules that it did not fit, those that warn too.
_NAME_WHAT_IS_SHORT = frozenset({"warn", "clamp", "reroute"})
WarningReason = Literal["share", "exceeded"]


class BudgetWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A budget runs low, or was passed by a call that its rule lets through.

    Attributes:
        rule_id: The budget.
        reason: `share`: a share of the limit that `warn_at` names is used, told once in each
            period for each limit, and of a rolling window at most once in its length. `exceeded`: a
            call did not fit, and `on_exceed` is `warn`; told at most once a minute for each
            account.
        share: The share of the limit; None where a call did not fit.
        scope: Whose account it is, as (dimension, value) pairs.
        period: Key of the window, as in events.
        unit: What the budget counts; the amounts are whole numbers of it, nano-USD for `usd`.
        limit, spent, held: The account as it stands; `held` includes what is unresolved.
        message, upgrade_url: As the rule says them.
        call_id: The call after which it was seen.
    """

    rule_id: str
    reason: WarningReason
    share: Decimal | None
    scope: tuple[tuple[str, str | None], ...]
    period: str
    unit: BudgetUnit
    limit: int
    spent: int
    held: int
    message: str | None
    upgrade_url: str | None
    call_id: str


class Standing(Protocol):
    """Says how accounts stand."""

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...


class Milestones(Protocol):
    """Remembers for all processes what was told already."""

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether nobody has told yet that an account passed a share, and note that now.

        Any number may stand for what is told; only equal ones are the same.

        Raises:
            LedgerError: Nobody can say.
        """
        ...


class Warner:
    """Looks at accounts after the calls that they were charged for. For one thread.

    Args:
        rules: The rules in force.
        authority: Says how accounts stand.
        milestones: Remembers what was told.
        tell: Is told of each warning.
    """

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        authority: Standing,
        milestones: Milestones,
        tell: Callable[[BudgetWarning], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._authority = authority
        self._milestones = milestones
        self._tell = tell
        self._clock = clock
        self._seen: tuple[RuleSet | None, dict[str, Budget]] = (None, {})
        self._limits: dict[str, Limits] = {}
        self._passed: set[tuple[str, str, str, BudgetUnit, int, Decimal]] = set()
        self._told_at: dict[tuple[str, str], float] = {}

    def look(self, event: UsageEvent) -> None:
        """Tell what a finished call brought about.

        Raises:
            LedgerError: The accounts can't be read; the next call tells it.
        """
        budgets = self._budgets()
        is_warned = event.decision.action in _NAME_WHAT_IS_SHORT
        for charges in _by_budget(event.charges):
            first = charges[0]
            budget = budgets.get(first.budget_id)
            if budget is None or budget.unit != first.unit or first.period == BLOCK_PERIOD:
                continue
            if is_allowance(first.period):
                continue
            exceeds = is_warned and budget.on_exceed == "warn"
            if exceeds and budget.id in event.decision.rule_ids:
                self._tell_exceeded(budget, charges, event.call.id)
            if budget.warn_at and (first.posted or first.unresolved):
                self._tell_shares(budget, charges, event.call.id)

    def _budgets(self) -> dict[str, Budget]:
        """Return the budgets that may warn, by id."""
        rules = self._rules()
        if self._seen[0] is not rules:
            may_warn = [one for one in rules.budgets if one.warn_at or one.on_exceed == "warn"]
            self._limits = {one.id: Limits(one) for one in may_warn}
            self._seen = (rules, {one.id: one for one in may_warn})
        return self._seen[1]

    def _tell_exceeded(self, budget: Budget, charges: list[Charge], call_id: str) -> None:
        place = (budget.id, charges[0].scope)
        now = self._clock()
        if now - self._told_at.get(place, -_EVERY_SECONDS) < _EVERY_SECONDS:
            return
        balance = self._balance(budget, charges)  # what can't be read is told by the next call
        if len(self._told_at) >= _MOST_REMEMBERED:
            self._told_at.clear()
        self._told_at[place] = now
        self._tell(_warning(budget, balance, "exceeded", None, call_id))

    def _tell_shares(self, budget: Budget, charges: list[Charge], call_id: str) -> None:
        oldest = charges[0]
        limit = self._limits[budget.id].of(dict(read_scope(oldest.scope)))
        place = (oldest.budget_id, oldest.scope, oldest.period, oldest.unit, limit)
        ahead = [share for share in budget.warn_at if (*place, share) not in self._passed]
        if not ahead:
            return
        balance = self._balance(budget, charges)
        used = balance.posted + balance.unresolved
        accounts = self._accounts(budget, charges)
        for share in _passed(ahead, used, balance.account.limit):
            # In windows that overlap it is told once: oldest first, and who loses one stops there.
            is_first = all(
                self._milestones.is_first(one, _milestone(share, limit)) for one in accounts
            )
            if len(self._passed) >= _MOST_REMEMBERED:
                self._passed.clear()
            self._passed.add((*place, share))
            if is_first:
                self._tell(_warning(budget, balance, "share", share, call_id))

    def _balance(self, budget: Budget, charges: list[Charge]) -> Balance:
        """Return how the account stands; of a rolling window, the fullest."""
        return fullest(self._authority.balances(self._accounts(budget, charges)))[0]

    def _accounts(self, budget: Budget, charges: list[Charge]) -> list[Account]:
        return [
            Account(
                budget_id=charge.budget_id,
                scope=charge.scope,
                period=charge.period,
                limit=self._limits[budget.id].of(dict(read_scope(charge.scope))),
                unit=charge.unit,
            )
            for charge in charges
        ]


def _by_budget(charges: Iterable[Charge]) -> list[list[Charge]]:
    """Return the charges to each account; those to one rolling window together, oldest first."""
    found: dict[object, list[Charge]] = {}
    for charge in charges:
        rolling = read_rolling(charge.period)
        when = charge.period if rolling is None else rolling.seconds
        place = (charge.budget_id, charge.scope, charge.unit, when)
        found.setdefault(place, []).append(charge)
    return [sorted(one, key=lambda charge: charge.period) for one in found.values()]


def _milestone(share: Decimal, limit: int) -> Decimal:
    """Name a share of a limit in one number: that of another limit is another, told anew."""
    return limit * 10 + share


def _passed(shares: Iterable[Decimal], used: int, limit: int) -> list[Decimal]:
    return [share for share in shares if used >= share * limit]


def _warning(
    budget: Budget,
    balance: Balance,
    reason: WarningReason,
    share: Decimal | None,
    call_id: str,
) -> BudgetWarning:
    account = balance.account
    return BudgetWarning(
        rule_id=budget.id,
        reason=reason,
        share=share,
        scope=read_scope(account.scope),
        period=account.period,
        unit=account.unit,
        limit=account.limit,
        spent=balance.posted,
        held=balance.held + balance.unresolved,
        message=budget.message,
        upgrade_url=budget.upgrade_url,
        call_id=call_id,
    )

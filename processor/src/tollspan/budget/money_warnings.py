"""Tells of money beyond what was held, and of money that nobody knows to be spent or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from tollspan.usage import BudgetUnit, UsageEvent

from .allowances import plain_period
from .leases import Unresolved
from .plans import read_scope
from .rolling import read_rolling
from .values import Account
from .violations import Scope

_EVERY_SECONDS = 60.0
_MOST_REMEMBERED = 10_000
UnresolvedReason = Literal["call", "process", "lease"]


class OverrunWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A call used more than was held for it: it is spent, and counted over the limit too.

    Told at most once a minute for each account; the event of each such call is marked `overrun`,
    and `tollspan.overruns` counts them all.

    Attributes:
        rule_id: The budget, or the id of a block.
        scope: Whose account it is, as (dimension, value) pairs.
        period: Key of the window, as in events.
        unit: What the budget counts; the amounts are whole numbers of it, nano-USD for `usd`.
        used: What the call used.
        overrun: What of that was not held.
        call_id: The call.
    """

    rule_id: str
    scope: Scope
    period: str
    unit: BudgetUnit
    used: int
    overrun: int
    call_id: str


class UnresolvedWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a budget became unresolved: counted, though nobody knows whether it was spent.

    Attributes:
        rule_id: The budget, or the id of a block.
        reason: `call`: a call does not tell all that it used; told at most once a minute for each
            account. `process`: a process of this host died, with what its calls and its lease held.
            `lease`: a lease of a shared authority ended that was not given back whole; that of a
            process of any host.
        scope: Whose account it is, as (dimension, value) pairs; `()` where it is several.
        unit: What the budget counts.
        amount: How much, in all of these accounts; nano-USD for `usd`.
        accounts: How many accounts it is.
        ids: The calls or leases whose it is, as `tollspan budgets --unresolved` names them.
    """

    rule_id: str
    reason: UnresolvedReason
    scope: Scope
    unit: BudgetUnit
    amount: int
    accounts: int
    ids: tuple[str, ...]


MoneyWarning = OverrunWarning | UnresolvedWarning


class MoneyWarner:
    """Looks at the money of calls, and at what was left by the dead. For one thread.

    Args:
        tell: Is told of each warning.
        clock: Seconds.
    """

    def __init__(
        self,
        tell: Callable[[MoneyWarning], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._told_at: dict[object, float] = {}

    def look(self, event: UsageEvent) -> None:
        """Tell what a finished call brought about.

        What was never asked for, a report or other people's spans say, is no overrun of a hold.
        """
        was_asked = event.decision.bound_nanousd != 0
        for charge in event.charges:
            place = (charge.budget_id, charge.scope, charge.unit)
            if charge.overrun and was_asked and self._is_due("overrun", place):
                self._tell(
                    OverrunWarning(
                        rule_id=charge.budget_id,
                        scope=read_scope(charge.scope),
                        period=charge.period,
                        unit=charge.unit,
                        used=charge.posted,
                        overrun=charge.overrun,
                        call_id=event.call.id,
                    )
                )
            if charge.unresolved and self._is_due("call", place):
                self._tell(
                    UnresolvedWarning(
                        rule_id=charge.budget_id,
                        reason="call",
                        scope=read_scope(charge.scope),
                        unit=charge.unit,
                        amount=charge.unresolved,
                        accounts=1,
                        ids=(event.call.id,),
                    )
                )

    def left(self, reason: UnresolvedReason, found: Iterable[Unresolved]) -> None:
        """Tell what dead processes or ended leases have left, one warning for each budget."""
        by_budget: dict[tuple[str, BudgetUnit], list[Unresolved]] = {}
        for one in found:
            account = one.account
            by_budget.setdefault((account.budget_id, account.unit), []).append(one)
        for (rule_id, unit), those in by_budget.items():
            amounts = _amounts(those)
            scopes = {scope for scope, _ in amounts}
            self._tell(
                UnresolvedWarning(
                    rule_id=rule_id,
                    reason=reason,
                    scope=read_scope(scopes.pop()) if len(amounts) == 1 else (),
                    unit=unit,
                    amount=sum(amounts.values()),
                    accounts=len(amounts),
                    ids=tuple(dict.fromkeys(one.lease_id for one in those)),
                )
            )

    def _is_due(self, what: str, place: object) -> bool:
        """Say whether it was not told within the last minute, and note it."""
        now = self._clock()
        if now - self._told_at.get((what, place), -_EVERY_SECONDS) < _EVERY_SECONDS:
            return False
        if len(self._told_at) >= _MOST_REMEMBERED:
            self._told_at.clear()
        self._told_at[what, place] = now
        return True


def _amounts(found: Sequence[Unresolved]) -> dict[tuple[str, str], int]:
    """Sum up by scope and window; the accounts of one rolling window once, as the fullest is."""
    sums: dict[Account, int] = {}
    for one in found:
        sums[one.account] = sums.get(one.account, 0) + one.amount
    amounts: dict[tuple[str, str], int] = {}
    for account, amount in sums.items():
        plain = plain_period(account.period)
        rolling = read_rolling(plain)
        unasked = account.period[len(plain) :]  # counted beside the budget itself
        window = account.period if rolling is None else f"{rolling.seconds}s{unasked}"
        place = (account.scope, window)
        amounts[place] = max(amount, amounts.get(place, 0))
    return amounts

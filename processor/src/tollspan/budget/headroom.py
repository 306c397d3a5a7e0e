"""How budgets stand, for programs that ask before they call; and how much output still fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction

import msgspec

from tollspan.usage import BLOCK_PERIOD, BudgetUnit

from .plans import read_scope
from .rules import Budget
from .values import Account, Balance, Leg
from .windows import end_of

_PROBE_TOKENS = 1_000_000
_MOST_TOKENS = 1 << 40


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """How one account of one budget stands. Amounts are whole numbers of its unit.

    Attributes:
        rule_id: The budget, or the id of a block.
        scope: Whose account it is, as (dimension, value) pairs; `()` for an undivided budget.
        period: Key of the window, as in events; `block` for a block.
        unit: What is counted: `usd` (then all amounts are nano-USD), `tokens` or `calls`.
        limit: The limit.
        spent: What is posted.
        held: What is held for calls that run now, and what is unresolved.
        resets_at: When the window ends, aware UTC; None when it never does.
    """

    rule_id: str
    scope: tuple[tuple[str, str | None], ...] = ()
    period: str = ""
    unit: BudgetUnit = "usd"
    limit: int
    spent: int
    held: int
    resets_at: datetime | None = None

    @property
    def remaining(self) -> int:
        """What is left for further calls, never below 0."""
        return max(0, self.limit - self.spent - self.held)

    @property
    def share(self) -> Fraction:
        """What is left, as a share of the limit; 0 of a limit of 0."""
        return Fraction(self.remaining, self.limit) if self.limit else Fraction(0)


def headroom_of(balance: Balance, budget: Budget | None, at_unix_ns: int) -> Headroom:
    """Return how an account stands.

    Args:
        balance: The account.
        budget: The document's budget of that id, None where it has none.
        at_unix_ns: A moment in the account's period.
    """
    account = balance.account
    if account.period == BLOCK_PERIOD:
        budget = None
    return Headroom(
        rule_id=account.budget_id,
        scope=read_scope(account.scope),
        period=account.period,
        unit=account.unit,
        limit=account.limit,
        spent=balance.posted,
        held=balance.held + balance.unresolved,
        resets_at=None if budget is None else end_of(budget.window, account.period, at_unix_ns),
    )


def tightest(headrooms: Iterable[Headroom]) -> Headroom | None:
    """Return the one that ends first.

    Of those that count the same unit, the one with the least left; of these, since units can't be
    compared, the one with the smallest share of its limit left. None of none.
    """
    by_unit: dict[str, Headroom] = {}
    for one in headrooms:
        known = by_unit.get(one.unit)
        if known is None or one.remaining < known.remaining:
            by_unit[one.unit] = one
    return min(by_unit.values(), key=lambda one: one.share, default=None)


def most_output(
    stood: Mapping[Account, Balance],
    ask: Callable[[int], Sequence[Leg] | None],
    model_most: int | None,
) -> int | None:
    """Return the largest maximum of output tokens whose hold fits now.

    Args:
        stood: How the accounts stand.
        ask: Returns what a call with such a maximum would hold in those that refuse what does not
            fit, never less for more; None where the rules refuse it whatever its maximum.
        model_most: What the model writes at most; None when nobody knows.

    Returns:
        0 when nothing fits; None when no maximum would be refused.
    """

    def fits(tokens: int) -> bool:
        legs = ask(tokens)
        return legs is not None and all(
            stood.get(account, Balance(account=account)).fits(asked) for account, asked in legs
        )

    most = _MOST_TOKENS if model_most is None else model_most
    if fits(most):
        return model_most
    none, probe = ask(0), ask(_PROBE_TOKENS)
    if none is None or probe is None or not fits(0):
        return 0
    # Bounds are linear in the output but for their rounding: go near at once, then look.
    first = dict(none)
    near = min(
        _affordable(stood[account], first.get(account, 0), asked) for account, asked in probe
    )
    return _last_that_fits(fits, most, near)


def _last_that_fits(fits: Callable[[int], bool], most: int, near: int) -> int:
    """Return the last number that fits: 0 does, `most` does not, and one is thought to be near."""
    low, high, step = 0, most, 1
    if 0 < near < most:
        if fits(near):
            low = near
            while low + step < high and fits(low + step):
                low, step = low + step, step * 2
            high = min(high, low + step)
        else:
            high = near
            while high - step > low and not fits(high - step):
                high, step = high - step, step * 2
            low = max(low, high - step)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _affordable(balance: Balance, none: int, probe: int) -> int:
    """Return about how much output an account has room for.

    Args:
        balance: The account.
        none: What a call without output asks of it.
        probe: What one with `_PROBE_TOKENS` of output asks of it.
    """
    left = balance.account.limit - balance.counted - none
    if probe <= none:
        return _MOST_TOKENS if left >= 0 else 0
    return left * _PROBE_TOKENS // (probe - none)

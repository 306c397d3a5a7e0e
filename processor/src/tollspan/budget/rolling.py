"""Rolling windows, made of fixed ones: no stretch of time of a length may hold more than a limit.

Fixed windows overlap so that every such stretch lies inside one of them: for a length of six steps,
one of seven steps begins at each step. A call counts in the seven that it lies in, each of which
is an account with the limit of the budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from .allowances import is_allowance, plain_period
from .values import Balance

ROLLING_STEPS: Final = 6
"""How many steps make the length; what is spent comes back at most one step late."""
_NS = 1_000_000_000
_KEY = re.compile(r"([1-9][0-9]{0,9})s/(-?[0-9]{10,12})")


class RollingPeriod(NamedTuple):
    """One of the fixed windows.

    Attributes:
        seconds: The length of the rolling window that it is of; it is itself one step longer.
        begins_at_unix_ns: Its first moment.
        ends_at_unix_ns: The first moment after it.
    """

    seconds: int
    begins_at_unix_ns: int
    ends_at_unix_ns: int


def rolling_keys(seconds: int, unix_ns: int) -> tuple[tuple[str, ...], int]:
    """Name the fixed windows that a moment lies in.

    Args:
        seconds: The length of the rolling window.
        unix_ns: The moment, nanoseconds since the epoch.

    Returns:
        Their keys, `60s/00179534880` say, the one that began last first; each has the length in
        seconds and its number, so that those of one length sort by time. And the moment until which
        these are the windows, nanoseconds since the epoch, exclusive.
    """
    step = _step_ns(seconds)
    newest = unix_ns // step
    keys = [f"{seconds}s/{newest - back:011d}" for back in range(ROLLING_STEPS + 1)]
    return tuple(keys), (newest + 1) * step


def read_rolling(key: str) -> RollingPeriod | None:
    """Read the key of a fixed window back; None for the key of anything else."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    seconds, number = int(match[1]), int(match[2])
    step = _step_ns(seconds)
    return RollingPeriod(seconds, number * step, (number + ROLLING_STEPS + 1) * step)


def fullest(balances: Iterable[Balance]) -> tuple[Balance, ...]:
    """Return one balance for each rolling window of each owner: the one with the least left.

    That is the one which refuses first, so it says how the budget stands; of two, the one that ends
    later. All other balances are returned as they are, and the order stays.
    """
    found: dict[object, Balance] = {}
    for number, one in enumerate(balances):
        account = one.account
        rolling = read_rolling(plain_period(account.period))
        length = None if rolling is None else rolling.seconds
        is_unasked = is_allowance(account.period)
        place = (account.budget_id, account.scope, account.unit, length, is_unasked)
        if rolling is None:
            found[number] = one
        elif place not in found or _fullness(one) > _fullness(found[place]):
            found[place] = one
    return tuple(found.values())


def _fullness(balance: Balance) -> tuple[int, str]:
    return balance.counted, balance.account.period


def _step_ns(seconds: int) -> int:
    """Return how far apart fixed windows begin; where six don't make the length, a bit more."""
    return -(-seconds * _NS // ROLLING_STEPS)

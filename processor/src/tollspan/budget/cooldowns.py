"""Owners who were too fast, and are refused until they have cooled down."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from tollspan.usage import BLOCK_PERIOD

from .rules import Budget
from .values import Account, Refusal

Place = tuple[str, str]
"""A budget's id and whose part of it."""


class Cooldowns:
    """Who is refused until when, in this process. Safe for threads.

    A refusal begins a cool-down where none runs; those within it do not make it longer. Where more
    cool down than are kept, the cool-down that began first ends early.

    Args:
        clock: Seconds, which no setting of a clock moves.
        most: So many cool-downs are kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self.forget()

    def forget(self) -> None:
        """End every cool-down; with a lock that nobody has: also for a forked child."""
        self._lock = threading.Lock()
        self._ends: OrderedDict[Place, float] = OrderedDict()

    def begin(self, refusal: Refusal, budgets: Mapping[str, Budget]) -> None:
        """Begin the cool-downs of the accounts that refused a call.

        A call that not even an empty account has room for says nothing of how fast its owner is.
        """
        now = self._clock()
        for balance, asked in zip(refusal.balances, refusal.asked, strict=True):
            account = balance.account
            budget = budgets.get(account.budget_id)
            if budget is None or budget.cooldown_seconds is None or account.is_soft:
                continue
            if account.period == BLOCK_PERIOD:  # a block's own, whatever its id
                continue
            if asked <= account.limit:
                self._begin((account.budget_id, account.scope), now, budget.cooldown_seconds)

    def find(self, accounts: Iterable[Account]) -> tuple[Account, float] | None:
        """Return the account that cools down for longest, and how many seconds more; or None."""
        now = self._clock()
        waits = [
            (self._ends.get((account.budget_id, account.scope), now) - now, account)
            for account in accounts
        ]
        wait, account = max(waits, key=lambda one: one[0], default=(0.0, None))
        return (account, wait) if account is not None and wait > 0 else None

    def _begin(self, place: Place, now: float, seconds: int) -> None:
        with self._lock:
            if self._ends.get(place, now) > now:
                return
            self._ends[place] = now + seconds
            self._ends.move_to_end(place)
            while next(iter(self._ends.values())) <= now or len(self._ends) > self._most:
                self._ends.popitem(last=False)

"""What calls of a kind typically use of their bounds: a quantile, learned from those that ended.

In this process's memory alone, and bounded there: a process that begins anew learns anew, and holds
the upper bound until it has seen enough.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from tollspan.usage import TOKEN_UNITS, BudgetUnit, Request, Usage, UsageEvent

from .bounds import Bounds
from .counting import count_tokens
from .values import Leg

ENOUGH_CALLS = 1_000
"""Calls of a kind that must have ended before less than their bound is held."""
ONE_IN = 1_000
"""The quantile is p99.9: about one call in so many costs more than is held for it."""
_MOST_KINDS = 1_024
# Shares of a bound fall into steps of one per cent: each ends 1 % of the bound above the last.
_STEPS = 100
# So many calls are remembered in full; then all count half, so that old ones are forgotten.
_HALVED_AT = 100_000
_Kind = tuple[str, str, str, int, int, int]


class _Seen:
    """How much of their bounds the calls of one kind used."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (_STEPS + 1)
        self.total = 0

    def add(self, used: int, bound: int) -> None:
        """Count a call: by the step that covers what it used, the last for more than its bound."""
        self.counts[min(-(-used * _STEPS // bound), _STEPS)] += 1
        self.total += 1
        if self.total >= _HALVED_AT:
            self.counts = [count // 2 for count in self.counts]
            self.total = sum(self.counts)

    def step(self) -> int:
        """Return the least step that all but one call in `ONE_IN` did not pass."""
        above = 0
        for step in range(_STEPS, 0, -1):
            above += self.counts[step]
            if above * ONE_IN > self.total:
                return step
        return 1


class TypicalBounds:
    """Learns from finished calls what calls like them hold. Safe for one learner, many askers.

    Args:
        bounds: Say how many tokens a request can use at most.

    Attributes:
        is_wanted: Some rule goes by what is typical; else nothing is learned.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.is_wanted = False
        self._kinds: dict[_Kind, _Seen] = {}

    def learn(self, event: UsageEvent) -> None:
        """Take note of a call that ended well, and whose use is known. In the worker."""
        usage, request = event.usage, event.call.request
        if not self.is_wanted or request.calls != 1:
            return
        if event.outcome.status != "ok" or usage is None or usage.status != "reported":
            return
        cost, bound = event.cost, event.decision.bound_nanousd
        if bound and cost.status == "priced" and cost.amount_nanousd is not None:
            self._add(request, "usd", cost.amount_nanousd, bound)
        self._learn_tokens(event, usage)

    def lower(
        self, request: Request, legs: tuple[Leg, ...], budget_ids: AbstractSet[str]
    ) -> tuple[Leg, ...]:
        """Hold what is typical in the accounts of some budgets, instead of the most.

        The most while too few calls are known, and of what is neither money nor tokens.
        """
        return tuple(
            [self._lowered(request, leg) if leg[0].budget_id in budget_ids else leg for leg in legs]
        )

    def _lowered(self, request: Request, leg: Leg) -> Leg:
        account, most = leg
        seen = self._kinds.get(_kind(request, account.unit))
        if seen is None or seen.total < ENOUGH_CALLS:
            return leg
        return account, -(-most * seen.step() // _STEPS)

    def _learn_tokens(self, event: UsageEvent, usage: Usage) -> None:
        units = {charge.unit for charge in event.charges} & TOKEN_UNITS
        for unit in units:
            most, _ = self._bounds.most_of(
                event.call.request, unit, event.call.started_at_unix_ns, ceiling=True
            )
            if most:
                self._add(event.call.request, unit, count_tokens(usage, unit), most)

    def _add(self, request: Request, unit: BudgetUnit, used: int, bound: int) -> None:
        kind = _kind(request, unit)
        seen = self._kinds.get(kind)
        if seen is None:
            if len(self._kinds) >= _MOST_KINDS:
                return
            seen = self._kinds[kind] = _Seen()
        seen.add(used, bound)


def _kind(request: Request, unit: BudgetUnit) -> _Kind:
    """Name the kind of a call: its model, and powers of two of what it may read and write."""
    limit = request.max_output_tokens
    return (
        unit,
        request.provider,
        request.model,
        request.input_bytes.bit_length(),
        -1 if limit is None else limit.bit_length(),
        request.choices,
    )

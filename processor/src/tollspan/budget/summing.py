"""The most that many requests can cost together: those of a batch, which are let through as one."""

from __future__ import annotations

from collections.abc import Sequence

from tollspan.usage import Bound, BudgetUnit, Request

from .bounds import Bounds


class SummedBounds:
    """Bounds of one call that stands for many requests.

    Args:
        bounds: Say what each can cost, and use, at most.
        requests: All of them; one may stand for several like it.
    """

    def __init__(self, bounds: Bounds, requests: Sequence[Request]) -> None:
        self._bounds = bounds
        self._requests = requests

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:  # noqa: ARG002
        """Return the most that all of them can cost; none where one of them has no bound."""
        found = [self._bounds.bound(one, at_unix_ns, ceiling=ceiling) for one in self._requests]
        amounts = [
            one.amount_nanousd * asked.calls
            for one, asked in zip(found, self._requests, strict=True)
            if one.amount_nanousd is not None
        ]
        return Bound(
            amount_nanousd=sum(amounts) if len(amounts) == len(found) else None,
            is_assumed=any(one.is_assumed for one in found),
            reasons=tuple(dict.fromkeys([why for one in found for why in one.reasons])),
        )

    def most_of(
        self,
        request: Request,  # noqa: ARG002
        unit: BudgetUnit,
        at_unix_ns: int,
        *,
        ceiling: bool,
    ) -> tuple[int | None, tuple[str, ...]]:
        """Return the most of a unit that all of them can use; None where nothing bounds one."""
        found = [
            self._bounds.most_of(one, unit, at_unix_ns, ceiling=ceiling) for one in self._requests
        ]
        amounts = [
            most * one.calls
            for (most, _), one in zip(found, self._requests, strict=True)
            if most is not None
        ]
        reasons = tuple(dict.fromkeys([why for _, reasons in found for why in reasons]))
        return (sum(amounts) if len(amounts) == len(found) else None), reasons

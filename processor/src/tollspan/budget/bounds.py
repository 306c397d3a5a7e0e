"""What the gate asks of a price book."""

from __future__ import annotations

from typing import Protocol

from tollspan.usage import Bound, BudgetUnit, Request


class Bounds(Protocol):
    """The part of a price book that the gate needs."""

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        """Return the most that a request can cost; `ceiling` assumes the dearest for no price."""
        ...

    def most_of(
        self, request: Request, unit: BudgetUnit, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        """Return the most of a unit, neither money nor calls, that a request can use, and why.

        0 where it can use none, None where nothing bounds it.
        """
        ...

"""The budgets that a program opens in its own code, for the calls made inside of a block."""

from __future__ import annotations

import msgspec

from .units import BudgetUnit

BLOCK_PERIOD = "block"
"""The period of a block's account: it has no window, and is never one of the document's."""


class BlockBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on what the calls inside of a block may use, all together.

    Attributes:
        id: Whoever opens the same id counts in the same account.
        limit: In the unit, 0 or more; 0 allows nothing.
        unit: What is counted.
    """

    id: str
    limit: int
    unit: BudgetUnit = "usd"


def merge_blocks(
    outer: tuple[BlockBudget, ...], inner: tuple[BlockBudget, ...]
) -> tuple[BlockBudget, ...]:
    """Return the budgets of both, each once: where an id is there twice, the lower limit holds."""
    merged = {(one.id, one.unit): one for one in outer}
    for one in inner:
        known = merged.get((one.id, one.unit))
        if known is None or one.limit < known.limit:
            merged[one.id, one.unit] = one
    return tuple(merged.values())

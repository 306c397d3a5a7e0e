"""The bar of one budget: what is spent, held and unresolved beside each other, within its limit."""

from __future__ import annotations

import msgspec

from .charts import share


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of 100, from the left; of a budget that was passed, 100 is what counts against it.

    Attributes:
        posted, held, unresolved: How wide each part is.
        held_at, unresolved_at: Where the second and third begin.
        limit_at: Where the limit is; None where it is the bar's end, or there is none.
    """

    posted: str
    held: str
    unresolved: str
    held_at: str
    unresolved_at: str
    limit_at: str | None


def bar_of(limit: int | None, posted: int, held: int, unresolved: int) -> Bar:
    """Return the bar of amounts of one unit; without a limit, what is counted fills it."""
    posted = max(0, posted)
    counted = posted + held + unresolved
    whole = max(counted, limit or 0)
    return Bar(
        posted=share(posted, whole), held=share(held, whole), unresolved=share(unresolved, whole),
        held_at=share(posted, whole), unresolved_at=share(posted + held, whole),
        limit_at=share(limit, whole) if limit is not None and counted > limit else None,
    )  # fmt: skip

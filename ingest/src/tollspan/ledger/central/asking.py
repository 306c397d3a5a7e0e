"""What is asked of sums, and what the answer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from tollspan.usage import DIMENSIONS, LedgerError, is_tag

from .measures import GROUPED, UsageSums

Bucket = Literal["hour", "day", "month"]
"""A span of time, in UTC."""
Order = Literal["time", "cost", "denied"]
"""By time and values, or the dearest first, or the most often refused."""
OUTCOME: Final = "outcome"
NAMED: Final = (*GROUPED, *(name for name in DIMENSIONS if name not in GROUPED), OUTCOME)
"""Dimensions with a name of their own; there are tags besides, `tag.tier` say."""


class TooMuchError(LedgerError):
    """A question would need too much to be read or kept; the text says how to ask for less."""


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sums are asked for.

    Attributes:
        since_unix_ns, until_unix_ns: Calls that began then or later, and before; None for no end.
        group_by: Dimensions; a row for each combination of their values.
        bucket: A row for each hour, day or month besides; None for all of the time together.
        where: Dimension → the value that a call must have; None for those that say none.
        order: Of the rows.
        skip, most: Which part of them.
    """

    since_unix_ns: int = 0
    until_unix_ns: int | None = None
    group_by: tuple[str, ...] = ()
    bucket: Bucket | None = None
    where: Mapping[str, str | None] = {}
    order: Order = "time"
    skip: int = 0
    most: int = 1_000

    @property
    def dimensions(self) -> frozenset[str]:
        """All dimensions that matter for the answer."""
        return frozenset(self.group_by) | self.where.keys()


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of one group.

    Attributes:
        start_unix_ns: When the bucket begins; None without buckets.
        values: Of the dimensions that were asked for, in their order; None where nobody said one.
        sums: What was used.
    """

    start_unix_ns: int | None
    values: tuple[str | None, ...]
    sums: UsageSums


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the rows; `is_last` where no others come after it."""

    rows: tuple[UsageRow, ...]
    is_last: bool


def is_usage_dimension(name: str) -> bool:
    """Say whether sums can be asked for by this."""
    return name in NAMED or is_tag(name)

"""Costs that are kept of calls whose events are not: what FOCUS rows are made of, in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from tollspan.pricing import PriceBook
from tollspan.usage import Attribution, UsageEvent

from .focus import FocusCosts, FocusPart, costs_of

KeptPart = tuple[bytes, int, int, int]
"""What a part of the cost is for, in how many calls, how many tokens or units, and nano-USD."""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(FocusPart).decode


def kept_parts(event: UsageEvent, book: PriceBook) -> list[KeptPart]:
    """Take a call's cost apart; parts that say the same of two calls are equal bytes.

    Raises:
        PriceBookError: A part of the book can't be read.
    """
    parts = costs_of(event, book).parts
    return [(_encode(part), calls, count, cost) for part, calls, count, cost in parts]


def read_kept(at_unix_ns: int, owner: Attribution, parts: Iterable[KeptPart]) -> FocusCosts:
    """Return costs as they are written into FOCUS rows.

    Args:
        at_unix_ns: A time of the day that they are of.
        owner: Who pays.
        parts: As `kept_parts` made them, and sums of those.
    """
    return FocusCosts(
        at_unix_ns=at_unix_ns,
        owner=owner,
        parts=[(_decode(part), calls, count, cost) for part, calls, count, cost in parts],
    )

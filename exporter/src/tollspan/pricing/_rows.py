"""Which rows of a model hold, and their prices as vectors over the buckets of `Usage`."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from operator import attrgetter

from tollspan.usage import INPUT_BUCKETS, TOKEN_BUCKETS

from ._file import Model, Row

STANDARD = "standard"
_STANDARD_NAMES = frozenset({None, "auto", "default", STANDARD, "standard_only", "on_demand"})
_UNDECIDED_NAMES = frozenset({None, "auto"})
_NS_PER_DAY = 86_400 * 1_000_000_000
_EPOCH = date(1970, 1, 1)
SINCE_EVER = -(1 << 63)
FOR_EVER = 1 << 63
# Dearer than any sum of real prices, so that one comparison finds tokens that have no price.
UNPRICED = 1 << 120

# What a bucket without a price of its own is billed as. A bucket missing here is never priced by
# another one: audio by the text price would be a guess, and a silent one.
_BILLED_AS = {
    "cache_read": ("input_uncached",),
    "cache_write": ("input_uncached",),
    "cache_write_5m": ("cache_write", "input_uncached"),
    "image_in": ("input_uncached",),
    "reasoning": ("output",),
}
_INPUTS = len(INPUT_BUCKETS)


def tier_of(asked: str | None, said: str | None) -> str:
    """Return the tier that a call ran in: what the provider said, else what was asked for."""
    name = asked if said is None else said
    return STANDARD if name in _STANDARD_NAMES else str(name)


def reachable_tiers(asked: str | None, auto_tiers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tiers that a call may run in, the one whose rows must exist first.

    A call that names no tier runs in its project's own, which may be any of `auto_tiers`. A named
    tier may be refused in favour of standard. A batch is never anything else.
    """
    if asked in _UNDECIDED_NAMES:
        return (STANDARD, *auto_tiers)
    tier = tier_of(asked, None)
    return (tier,) if tier in {STANDARD, "batch"} else (tier, STANDARD)


def active(model: Model, tier: str, at_unix_ns: int) -> tuple[Row, ...]:
    """Return the rows of a tier that hold at a time, by rising context tier; empty for none."""
    rows = [
        row
        for row in model.rows
        if row.tier == tier
        and _day(row.valid_from, SINCE_EVER) <= at_unix_ns < _day(row.valid_to, FOR_EVER)
    ]
    return tuple(sorted(rows, key=attrgetter("above")))


def span(model: Model, at_unix_ns: int) -> tuple[int, int]:
    """Return the span of time around a moment in which no row of a model begins or ends."""
    edges = {SINCE_EVER, FOR_EVER}
    for row in model.rows:
        edges.add(_day(row.valid_from, SINCE_EVER))
        edges.add(_day(row.valid_to, FOR_EVER))
    since = max(edge for edge in edges if edge <= at_unix_ns)
    return since, min(edge for edge in edges if edge > at_unix_ns)


def for_input(rows: tuple[Row, ...], input_tokens: int) -> Row:
    """Return the row for a call of so many input tokens; `rows` must not be empty.

    Context tiers are cliffs: past one, all tokens of the call are billed by it.
    """
    found = rows[0]
    for row in rows:
        if input_tokens > row.above:
            found = row
    return found


def vector(row: Row) -> tuple[int, ...]:
    """Return the row's price of each of `TOKEN_BUCKETS`, `UNPRICED` where it has none."""
    return tuple(_price(row.prices, bucket) for bucket in TOKEN_BUCKETS)


def dearest(row: Row) -> tuple[int, int | None]:
    """Return the dearest price of an input token and of an output token, in whole pico-USD.

    None for the output of a model that has none. Buckets count when the row prices them itself or
    bills them as another one: nobody knows before the call which will be filled.
    """
    prices = vector(row)
    inputs = [price for price in prices[:_INPUTS] if price < UNPRICED]
    outputs = [price for price in prices[_INPUTS:] if price < UNPRICED]
    return (
        -(-max(inputs, default=0) // row.per),
        -(-max(outputs) // row.per) if outputs else None,
    )


def row_id(provider: str, key: str, row: Row) -> str:
    """Return the row's id, `openai/gpt-5.4:flex>272000@2026-10-12` say."""
    above = f">{row.above}" if row.above else ""
    return f"{provider}/{key}:{row.tier}{above}@{row.valid_from or ''}"


@lru_cache(maxsize=1_024)
def _day(day: str | None, otherwise: int) -> int:
    if day is None:
        return otherwise
    return (date.fromisoformat(day) - _EPOCH).days * _NS_PER_DAY


def _price(prices: dict[str, int], bucket: str) -> int:
    for name in (bucket, *_BILLED_AS.get(bucket, ())):
        if name in prices:
            return prices[name]
    if bucket == "cache_write_1h" and not prices.keys() & {"cache_write", "cache_write_5m"}:
        return prices.get("input_uncached", UNPRICED)
    return UNPRICED

"""Which rows of a model hold, and their prices as vectors over the buckets of `Usage`."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from itertools import chain
from operator import attrgetter

from tollspan.usage import INPUT_BUCKETS, TOKEN_BUCKETS

from ._file import Model, Row

STANDARD = "standard"
_ANY_TIER = "*"
_STANDARD_NAMES = frozenset({None, "auto", "default", STANDARD, "standard_only", "on_demand"})
_UNDECIDED_NAMES = frozenset({None, "auto"})
_NS_PER_MINUTE = 60 * 1_000_000_000
_NS_PER_DAY = 1_440 * _NS_PER_MINUTE
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
    "audio_cache_read": ("audio_in",),
    "image_in": ("input_uncached",),
    "image_cache_read": ("image_in", "cache_read", "input_uncached"),
    "video_in": ("input_uncached",),
    "reasoning": ("output",),
}
_INPUTS = len(INPUT_BUCKETS)
_BUCKETS = frozenset(TOKEN_BUCKETS)


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
    """Return the rows of a tier that hold at a time, by rising context tier; empty for none.

    The operator's own rows come first: from the shortest context for which one of them prices
    tokens, the book's rows of that tier don't hold.
    """
    rows = _active(model.rows, tier, at_unix_ns)
    if not model.own:
        return rows
    own = _active(model.own, tier, at_unix_ns)
    tokens = tuple(row for row in own if not _BUCKETS.isdisjoint(row.prices))
    if not tokens:
        return rows or own
    return (*(row for row in rows if row.above < tokens[0].above), *tokens)


def price_of_unit(model: Model, tier: str, at_unix_ns: int, unit: str) -> tuple[Row, int] | None:
    """Return the row that prices a unit at a time, and its price.

    The operator's before the book's, and those of the tier before those of all tiers.
    """
    for rows in (model.own, model.rows):
        for name in (tier, _ANY_TIER):
            for row in _active(rows, name, at_unix_ns):
                if unit in row.prices:
                    return row, row.prices[unit]
    return None


def span(model: Model, at_unix_ns: int) -> tuple[int, int]:
    """Return the span of time around a moment in which no row of a model begins or ends."""
    edges = {SINCE_EVER, FOR_EVER}
    midnight = at_unix_ns // _NS_PER_DAY * _NS_PER_DAY
    for row in chain(model.own, model.rows):
        edges.add(_day(row.valid_from, SINCE_EVER))
        edges.add(_day(row.valid_to, FOR_EVER))
        if row.minutes is not None:
            edges |= {midnight, midnight + _NS_PER_DAY}
            edges.update(midnight + minute * _NS_PER_MINUTE for minute in row.minutes)
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


def dearest(row: Row, never: tuple[str, ...] = ()) -> tuple[int, int | None]:
    """Return the dearest price of an input token and of an output token, in whole pico-USD.

    None for the output of a model that has none. Buckets count when the row prices them itself or
    bills them as another one: nobody knows before the call which will be filled, but for those
    that are named in `never`.
    """
    prices = vector(row)
    buckets = zip(INPUT_BUCKETS, prices[:_INPUTS], strict=True)
    inputs = [price for bucket, price in buckets if price < UNPRICED and bucket not in never]
    outputs = [price for price in prices[_INPUTS:] if price < UNPRICED]
    return (
        -(-max(inputs, default=0) // row.per),
        -(-max(outputs) // row.per) if outputs else None,
    )


def row_id(provider: str, key: str, row: Row) -> str:
    """Return the row's id, `openai/gpt-5.4:flex>272000@2026-10-12` say; `own:` for an operator's.

    A row for a part of the day names its first minute: `deepseek/deepseek-v4-pro:standard@T60`.
    """
    above = f">{row.above}" if row.above else ""
    minute = f"T{row.minutes[0]}" if row.minutes else ""
    own = "own:" if row.source < 0 else ""
    return f"{own}{provider}/{key}:{row.tier}{above}@{row.valid_from or ''}{minute}"


def _active(rows: tuple[Row, ...], tier: str, at_unix_ns: int) -> tuple[Row, ...]:
    found = [
        row
        for row in rows
        if row.tier == tier
        and _day(row.valid_from, SINCE_EVER) <= at_unix_ns < _day(row.valid_to, FOR_EVER)
        and (row.minutes is None or _covers(row.minutes, at_unix_ns))
    ]
    return tuple(sorted(found, key=attrgetter("above")))


def _covers(minutes: tuple[int, int], at_unix_ns: int) -> bool:
    start, end = minutes
    minute = at_unix_ns % _NS_PER_DAY // _NS_PER_MINUTE
    return start <= minute < end if start < end else minute >= start or minute < end


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

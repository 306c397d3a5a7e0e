"""What the two sources are turned into: models with dated rows of exact prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tollspan.usage import TOKEN_BUCKETS

PICOUSD_PER_USD = 10**12
TOKENS_PER_LIST_PRICE = 10**6
# A row whose tier is this one has prices of units for every tier that has none of its own.
ANY_TIER = "*"
# Prices are exact for as many tokens or units as one of these numbers.
_PERS = sorted(
    10**zeros * factor for zeros in range(7) for factor in (1, 3, 9) if zeros + factor < 12
)


Price = Decimal | Fraction


class InexactError(Exception):
    """A source says what can't be turned into rows without a guess; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Prices of one model in one service tier, one span of days and one context tier.

    Attributes:
        tier: `standard`, `batch`, `flex`, `priority`, ….
        valid_from: First day (UTC, ISO) on which it holds, None from ever.
        valid_to: First day on which it no longer holds, None while it does.
        above: It holds for calls with more input tokens than this; 0 for all.
        prices: Bucket or unit of `Usage`, and USD for a million of it.
        source: Which source said it.
        minutes: First minute of the UTC day in which it holds, and the first in which it no
            longer does; None for the whole day.
    """

    tier: str
    valid_from: str | None
    valid_to: str | None
    above: int
    prices: tuple[tuple[str, Price], ...]
    source: str
    minutes: tuple[int, int] | None = None

    def encode(self, sources: list[str]) -> list[object]:
        """Return the row as the book has it: whole pico-USD for `per` tokens or units."""
        for per in _PERS:
            units = {unit: _picousd(price, per) for unit, price in sorted(self.prices)}
            if None not in units.values():
                break
        else:
            raise InexactError("a price is no short decimal: a fraction or a rounding error")
        source = sources.index(self.source)
        encoded = [self.tier, self.valid_from, self.valid_to, self.above, per, units, source]
        return encoded if self.minutes is None else [*encoded, list(self.minutes)]

    def has_tokens(self) -> bool:
        """Tell whether any of its prices is one of tokens."""
        return any(unit in TOKEN_BUCKETS for unit, _ in self.prices)


@dataclass(kw_only=True)
class Model:
    """One priced model under the book's key, and the names that mean it.

    Attributes:
        names: Names that mean exactly this model, the key among them.
        dated: Names that may carry any date behind them (`-2026-11-22`).
        regions: Region to what its token prices are multiplied by there, or to the key of the
            model that has its prices; `*` for all others.
    """

    key: str
    rows: list[Row]
    context_window: int | None = None
    max_output_tokens: int | None = None
    names: set[str] = field(default_factory=set)
    dated: set[str] = field(default_factory=set)
    regions: dict[str, Fraction | str] = field(default_factory=dict)

    def has_tier(self, tier: str) -> bool:
        """Tell whether any row is of this tier."""
        return any(row.tier == tier for row in self.rows)

    def units(self) -> set[str]:
        """Return every bucket and unit that has a price in some row."""
        return {unit for row in self.rows for unit, _ in row.prices}


def _picousd(price: Price, per: int) -> int | None:
    exact = Fraction(price) * PICOUSD_PER_USD * per / TOKENS_PER_LIST_PRICE
    return exact.numerator if exact.denominator == 1 else None

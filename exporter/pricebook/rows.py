"""What the two sources are turned into: models with dated rows of exact prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

PICOUSD_PER_USD = 10**12
TOKENS_PER_LIST_PRICE = 10**6
INPUT_UNITS = (
    "input_uncached",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "audio_in",
    "image_in",
)
OUTPUT_UNITS = ("output", "reasoning", "audio_out", "image_out")


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
        prices: Unit to USD per million tokens.
        source: Which source said it.
    """

    tier: str
    valid_from: str | None
    valid_to: str | None
    above: int
    prices: tuple[tuple[str, Decimal], ...]
    source: str

    def encode(self, sources: list[str]) -> list[object]:
        """Return the row as the book has it: whole pico-USD for `per` tokens."""
        per = 1
        while any(_picousd(price, per) is None for _, price in self.prices):
            per *= 10
            if per > TOKENS_PER_LIST_PRICE:
                raise InexactError("a price is no short decimal: a fraction or a rounding error")
        units = {unit: _picousd(price, per) for unit, price in sorted(self.prices)}
        source = sources.index(self.source)
        return [self.tier, self.valid_from, self.valid_to, self.above, per, units, source]


@dataclass(kw_only=True)
class Model:
    """One priced model under the book's key, and the names that mean it.

    Attributes:
        names: Names that mean exactly this model, the key among them.
        dated: Names that may carry any date behind them (`-2026-11-22`).
    """

    key: str
    rows: list[Row]
    context_window: int | None = None
    max_output_tokens: int | None = None
    names: set[str] = field(default_factory=set)
    dated: set[str] = field(default_factory=set)

    def has_tier(self, tier: str) -> bool:
        """Tell whether any row is of this tier."""
        return any(row.tier == tier for row in self.rows)


def _picousd(price: Decimal, per: int) -> int | None:
    exact = price * PICOUSD_PER_USD * per / TOKENS_PER_LIST_PRICE
    whole = int(exact)
    return whole if exact == whole else None

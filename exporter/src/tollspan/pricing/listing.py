"""A model's prices as people read them: every row, with its units, validity and source."""

from __future__ import annotations

from datetime import date

import msgspec

from . import _file, _rows
from ._matching import Match

_OWN = "your own prices"


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a model's prices.

    Attributes:
        id: As costs name it.
        tier: Service tier or speed; `*` for all that have no price of their own.
        valid_from, valid_to: First day on which it holds, and on which it no longer does; UTC.
        minutes: First minute of the UTC day in which it holds, and in which it no longer does.
        above_input_tokens: It holds for calls with more input tokens than this.
        prices: Bucket or unit → (pico-USD, for how many).
        region: The region for which alone it holds.
        source: Where it is from, with its version.
    """

    id: str
    tier: str
    valid_from: str | None
    valid_to: str | None
    minutes: tuple[int, int] | None
    above_input_tokens: int
    prices: dict[str, tuple[int, int]]
    region: str | None
    source: str

    def holds_on(self, day: date) -> bool:
        """Say whether it holds on a day."""
        written = day.isoformat()
        return (self.valid_from or "") <= written < (self.valid_to or "9999")


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """What a name leads to.

    Attributes:
        provider: Whose price list it is.
        key: The key of the model there.
        rule: How the name was found: as `matched_by` of a cost.
        context_window, max_output_tokens: In tokens, None where nobody knows.
        regions: Region → what token prices are multiplied by there (numerator, denominator), or
            the key of the model that has its prices.
        rows: Every row, the operator's first.
        fees: Unit → pico-USD for one, whatever the model, where no row has a price.
    """

    provider: str
    key: str
    rule: str
    context_window: int | None
    max_output_tokens: int | None
    regions: dict[str, tuple[int, int] | str]
    rows: tuple[PriceRow, ...]
    fees: dict[str, int]


def list_prices(match: Match, sources: tuple[_file.Source, ...]) -> PriceList:
    """Return a model's prices for people."""
    model = match.model
    rows = [_row(match, row, None, sources) for row in model.own]
    for region, own in sorted(match.regions.items()):
        rows += [_row(match, row, region, sources) for row in own]
    rows += [_row(match, row, None, sources) for row in model.rows]
    return PriceList(
        provider=match.provider,
        key=match.key,
        rule=match.rule,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        regions=model.regions,
        rows=tuple(rows),
        fees=match.part.fees,
    )


def _row(
    match: Match, row: _file.Row, region: str | None, sources: tuple[_file.Source, ...]
) -> PriceRow:
    source = sources[row.source] if 0 <= row.source < len(sources) else None
    return PriceRow(
        id=_rows.row_id(match.provider, match.key, row),
        tier=row.tier,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        minutes=row.minutes,
        above_input_tokens=row.above,
        prices={unit: (price, row.per) for unit, price in row.prices.items()},
        region=region,
        source=_OWN if source is None else f"{source.name} {source.version}",
    )

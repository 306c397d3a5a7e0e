"""Prices the calls of the program's own tools: a flat price, prices of units, or both.

The operator's price of a unit comes before the one that the program declares. What one tool costs
says nothing of another: there is no dearest tool, and a tool without a price is unpriced.
"""

from __future__ import annotations

from typing import NamedTuple

from tollspan.usage import PICOUSD_PER_NANOUSD, TOOL_CALLS, Bound, Cost, Request, Usage

from . import _rows
from ._matching import Match, Matcher
from ._rating import PriceLine, sum_of_lines, unit_price


class UnitPrice(NamedTuple):
    """The price of `per` of a unit, and the row that it is from."""

    row_id: str
    picousd: int
    per: int


class ToolPrices(NamedTuple):
    """What a tool costs, from `since` until just before `until`.

    Attributes:
        key: The operator's entry, else the tool's own name where it declares prices; None without
            any price.
        rule: How it was found.
        units: Unit → price.
    """

    since: int
    until: int
    key: str | None
    rule: str | None
    units: dict[str, UnitPrice]


def prices_of(matcher: Matcher, request: Request, at_unix_ns: int) -> ToolPrices:
    """Return the prices of a tool at a time."""
    name = request.model
    units = {
        unit: UnitPrice(f"code:{request.provider}/{name}:{unit}", picousd, 1)
        for unit, picousd in request.declared
    }
    key, rule = (name, "declared") if units else (None, None)
    since, until = _rows.SINCE_EVER, _rows.FOR_EVER
    match = matcher.match(request.provider, name)
    if match is not None:
        since, until = _rows.span(match.model, at_unix_ns)
        own = _units_of(match, at_unix_ns)
        if own:
            key, rule = match.key, match.rule
            units.update(own)
    return ToolPrices(since, until, key, rule, units)


def bound(prices: ToolPrices, matcher: Matcher, request: Request) -> Bound:
    """Return the most that a call of a tool can cost, rounded up.

    Everything that a whole call has a price for must be limited: by the request, or by the
    operator's reserve of that unit.
    """
    if not prices.units:
        return Bound(amount_nanousd=None, reasons=("unpriced",))
    counts = dict(request.quantities)
    open_units = {unit for unit in request.unlimited if unit in prices.units}
    if TOOL_CALLS in counts:
        open_units |= prices.units.keys() - counts.keys()
    reasons: list[str] = []
    for unit in sorted(open_units):
        most = matcher.reserve(unit, None)
        if most is None:
            return Bound(amount_nanousd=None, reasons=(f"no_limit:{unit}",))
        counts[unit] = most
        reasons.append(f"reserve:{unit}")
    missing = {unit for unit in (*counts, *request.unlimited) if unit not in prices.units}
    reasons += [f"unpriced:{unit}" for unit in sorted(missing - {TOOL_CALLS})]
    picousd = sum(
        -(-price.picousd * counts[unit] // price.per)
        for unit, price in prices.units.items()
        if unit in counts
    )
    return Bound(amount_nanousd=-(-picousd // PICOUSD_PER_NANOUSD), reasons=tuple(reasons))


def rate(prices: ToolPrices, book_id: str, usage: Usage) -> tuple[Cost, tuple[PriceLine, ...]]:
    """Return what a call of a tool cost, and the parts that add up to it.

    A tool that is priced by other units needs no flat price. A whole call that says nothing of a
    unit that has a price is not known to be free of it.
    """
    if usage.status == "unknown":
        return Cost(status="unknown", book_id=book_id), ()
    lines = tuple(
        _line(prices, unit, count)
        for unit, count in usage.quantities
        if unit != TOOL_CALLS or unit in prices.units or not prices.units
    )
    priced = [line for line in lines if line.picousd is not None]
    counted = {unit for unit, _ in usage.quantities}
    missing = [line.unit for line in lines if line.picousd is None]
    unsaid = sorted(prices.units.keys() - counted) if TOOL_CALLS in counted else []
    if not priced:
        return (
            Cost(
                status="unknown" if unsaid and not missing else "unpriced",
                book_id=book_id,
                matched_key=prices.key,
                matched_by=prices.rule,
                unpriced_units=tuple(missing),
            ),
            lines,
        )
    return (
        Cost(
            status="partial" if missing or unsaid else "priced",
            amount_nanousd=sum_of_lines(priced),
            book_id=book_id,
            matched_key=prices.key,
            matched_by=prices.rule,
            row_ids=tuple(dict.fromkeys(line.row_id for line in priced if line.row_id)),
            unpriced_units=(*missing, *unsaid),
        ),
        lines,
    )


def _units_of(match: Match, at_unix_ns: int) -> dict[str, UnitPrice]:
    """Return the operator's prices that hold at a time."""
    found: dict[str, UnitPrice] = {}
    for unit in {unit for row in match.model.own for unit in row.prices}:
        priced = unit_price(match.model, _rows.STANDARD, at_unix_ns, unit)
        if priced is not None:
            row, picousd = priced
            row_id = _rows.row_id(match.provider, match.key, row)
            found[unit] = UnitPrice(row_id, picousd, row.per)
    return found


def _line(prices: ToolPrices, unit: str, count: int) -> PriceLine:
    found = prices.units.get(unit)
    if found is None:
        return PriceLine(model=prices.key, unit=unit, count=count, picousd=None)
    return PriceLine(
        model=prices.key,
        unit=unit,
        count=count,
        picousd=found.picousd,
        per=found.per,
        row_id=found.row_id,
    )

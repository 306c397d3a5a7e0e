"""Takes the cost of one call apart: so much for each bucket of tokens and each unit.

The parts add up to the event's amount to the nano-dollar: what rounding leaves goes to the parts
that lost most by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Literal

import msgspec

from tollspan.pricing import PriceBook, PriceLine
from tollspan.usage import PICOUSD_PER_NANOUSD, UsageEvent

PartBasis = Literal["priced", "apportioned", "unpriced", "unknown"]
WHOLE: Final = "usage"
"""The unit of a cost that can't be taken apart."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a call's cost.

    Attributes:
        unit: The bucket of tokens, or the unit; `usage` for all of a call whose cost has no parts.
        model: Key of the model that priced it; None where none did.
        count: How many tokens or units.
        cost_nanousd: Its share of the event's amount; None where nobody knows.
        basis: `priced`: the price book's prices make the amount. `apportioned`: they don't (the
            provider's own figure settled, or the call was priced by other prices), and the amount
            is divided in their proportion. `unpriced`, `unknown`: as the event's cost.
        price: (pico-USD, for how many): what was paid; None unless `priced`.
        list_price: The same, as published.
        row_id: The row of the price book.
    """

    unit: str
    model: str | None = None
    count: int = 0
    cost_nanousd: int | None = None
    basis: PartBasis = "priced"
    price: tuple[int, int] | None = None
    list_price: tuple[int, int] | None = None
    row_id: str | None = None


def parts_of(
    event: UsageEvent, book: PriceBook, published: PriceBook | None = None
) -> tuple[Part, ...]:
    """Return the parts of a call's cost; none where the provider did no billable work.

    Args:
        event: The call.
        book: The prices in force, the operator's own among them.
        published: The same without the operator's own, for list prices; None where he has none.

    Raises:
        PriceBookError: The model's part of the book can't be read.
    """
    cost, usage = event.cost, event.usage
    if usage is None or cost.status == "not_billed":
        return () if not cost.amount_nanousd else (_whole(event),)
    if cost.status == "unknown" and cost.amount_nanousd is None:
        return (Part(unit=WHOLE, basis="unknown"),)
    lines = _explained(event, book)
    if cost.amount_nanousd is None:
        return tuple(_unpriced(line) for line in lines) or (Part(unit=WHOLE, basis="unpriced"),)
    priced = [line for line in lines if line.picousd is not None]
    weights = [_nanousd(line) for line in priced]
    total = sum(weights)
    if not total:
        whole = (_whole(event),) if cost.amount_nanousd else ()
        return (*(_free(line) for line in priced), *whole,
                *(_unpriced(line) for line in lines if line.picousd is None))  # fmt: skip
    is_priced = round(total) == cost.amount_nanousd  # half to even, as events are rounded
    if not is_priced:
        weights = [weight * cost.amount_nanousd / total for weight in weights]
    lists = _lists(event, lines, published) if is_priced else {}
    shares = iter(divide(weights, cost.amount_nanousd))
    return tuple(
        _unpriced(line)
        if line.picousd is None
        else _part(line, next(shares), is_priced=is_priced, listed=lists.get(line.unit))
        for line in lines
    )


def divide(weights: Sequence[Fraction], amount: int) -> list[int]:
    """Round shares to whole numbers that add up to an amount, by the largest remainder.

    Args:
        weights: The exact shares; their sum differs from the amount by less than their number.
        amount: What the whole numbers add up to.
    """
    shares = [weight.numerator // weight.denominator for weight in weights]
    rests = [weight - share for weight, share in zip(weights, shares, strict=True)]
    missing = amount - sum(shares)
    for index in sorted(range(len(shares)), key=lambda one: (-rests[one], one))[:missing]:
        shares[index] += 1
    return shares


def _explained(event: UsageEvent, book: PriceBook) -> tuple[PriceLine, ...]:
    assert event.usage is not None
    _, lines = book.explain(
        event.call.request,
        event.outcome.response,
        event.usage,
        event.call.started_at_unix_ns,
        ceiling=event.cost.matched_by == "ceiling",
    )
    return tuple(line for line in lines if line.count)


def _lists(
    event: UsageEvent, lines: tuple[PriceLine, ...], published: PriceBook | None
) -> dict[str, tuple[int, int]]:
    """Return published prices by unit, where each unit is there once."""
    found = lines if published is None else _explained(event, published)
    units = [line.unit for line in found]
    return {
        line.unit: (line.picousd, line.per)
        for line in found
        if line.picousd is not None and units.count(line.unit) == 1
    }


def _nanousd(line: PriceLine) -> Fraction:
    return Fraction(line.count * (line.picousd or 0), line.per * PICOUSD_PER_NANOUSD)


def _part(
    line: PriceLine, cost_nanousd: int, *, is_priced: bool, listed: tuple[int, int] | None
) -> Part:
    price = None if line.picousd is None or not is_priced else (line.picousd, line.per)
    return Part(
        unit=line.unit, model=line.model, count=line.count, cost_nanousd=cost_nanousd,
        basis="priced" if is_priced else "apportioned", price=price,
        list_price=listed or price, row_id=line.row_id,
    )  # fmt: skip


def _free(line: PriceLine) -> Part:
    return Part(
        unit=line.unit, model=line.model, count=line.count, cost_nanousd=0,
        price=(0, line.per), list_price=(0, line.per), row_id=line.row_id,
    )  # fmt: skip


def _unpriced(line: PriceLine) -> Part:
    return Part(unit=line.unit, model=line.model, count=line.count, basis="unpriced")


def _whole(event: UsageEvent) -> Part:
    return Part(
        unit=WHOLE, model=event.cost.matched_key, cost_nanousd=event.cost.amount_nanousd,
        basis="apportioned",
    )  # fmt: skip

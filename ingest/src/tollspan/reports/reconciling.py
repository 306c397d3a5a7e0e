"""Compares what a provider billed with what was counted here, by day and model, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, Inexact
from typing import Final

import msgspec

from .exports import BilledLine
from .model_keys import model_key

_EXACT: Final = Context(prec=400, traps=[Inexact])
_USD_PER_NANOUSD: Final = Decimal("1E-9")


class CountedSum(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of one model on one day.

    Attributes:
        day: UTC, ISO.
        model: As it was asked for, or as the price book names it.
        calls: How many.
        cost_nanousd: The sum of what is known.
        unpriced: Of the calls, those whose cost is not known, or not all of it.
        estimated: Those whose usage is estimated or unknown.
    """

    day: str
    model: str
    calls: int = 0
    cost_nanousd: int = 0
    unpriced: int = 0
    estimated: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What was billed and what was counted, of one model on one day.

    Attributes:
        day: UTC, ISO.
        model: A name of it; `""` for what the bill says of no model.
        billed_usd: By the provider; None where the bill has nothing of it.
        counted_nanousd: Here; None where nothing was counted.
        calls, unpriced, estimated: As in `CountedSum`: where a difference may come from.
    """

    day: str
    model: str
    billed_usd: Decimal | None
    counted_nanousd: int | None
    calls: int = 0
    unpriced: int = 0
    estimated: int = 0

    @property
    def difference_usd(self) -> Decimal:
        """What was billed beyond what was counted; less than nothing where it is the other way."""
        counted = _EXACT.multiply(Decimal(self.counted_nanousd or 0), _USD_PER_NANOUSD)
        return _EXACT.subtract(self.billed_usd or Decimal(0), counted)


def reconcile(
    billed: Iterable[BilledLine],
    counted: Iterable[CountedSum],
    *,
    aliases: Mapping[str, str] | None = None,
) -> tuple[Difference, ...]:
    """Compare a bill with sums; return a line for each day and model, in this order.

    A bill that names no model at all is compared day by day.

    Args:
        billed: The bill.
        counted: Sums of the days that the bill is of; those of other days are left out.
        aliases: The bill's name of a model → the name here, where words alone don't tell.
    """
    known = aliases or {}
    bill: dict[tuple[str, str], Decimal] = {}
    names: dict[str, str] = {"": ""}
    for line in billed:
        name = known.get(line.model, line.model)
        key = model_key(name)
        names.setdefault(key, name)
        place = line.day, key
        bill[place] = _EXACT.add(bill.get(place, Decimal(0)), line.amount_usd)
    days = {day for day, _ in bill}
    is_by_model = any(key for _, key in bill)
    sums: dict[tuple[str, str], CountedSum] = {}
    for one in counted:
        if one.day in days:
            key = model_key(one.model) if is_by_model else ""
            if key:
                names[key] = one.model
            place = one.day, key
            sums[place] = _added(sums.get(place), one)
    return tuple(
        _difference(place, names[place[1]], bill.get(place), sums.get(place))
        for place in sorted(bill.keys() | sums.keys())
    )


def _added(before: CountedSum | None, more: CountedSum) -> CountedSum:
    if before is None:
        return more
    return msgspec.structs.replace(
        before,
        calls=before.calls + more.calls,
        cost_nanousd=before.cost_nanousd + more.cost_nanousd,
        unpriced=before.unpriced + more.unpriced,
        estimated=before.estimated + more.estimated,
    )


def _difference(
    place: tuple[str, str], name: str, billed: Decimal | None, counted: CountedSum | None
) -> Difference:
    return Difference(
        day=place[0],
        model=name,
        billed_usd=billed,
        counted_nanousd=None if counted is None else counted.cost_nanousd,
        calls=0 if counted is None else counted.calls,
        unpriced=0 if counted is None else counted.unpriced,
        estimated=0 if counted is None else counted.estimated,
    )

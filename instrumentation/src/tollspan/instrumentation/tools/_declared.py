"""What the program says of its tools: names, prices and units, checked when they are said."""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from tollspan import semconv
from tollspan.usage import (
    PICOUSD_PER_USD,
    TOKEN_BUCKETS,
    TOOL_CALLS,
    TOOL_PROVIDER,
    Quantities,
    Request,
    parse_usd,
)

MOST = 1_000_000_000
"""More of a unit than that, at once, is taken for a mistake."""

_METRIC = re.compile("[a-z][a-z0-9_]{0,63}")
_LONGEST_NAME = 256

declared_prices: dict[str, Quantities] = {}
"""Tool → the prices that its decorator declared last: what is reported outside has them too."""


class Declared(msgspec.Struct, frozen=True):
    """One tool, as its decorator says.

    Attributes:
        request: What every call of it asks.
        unit: What it is priced by besides a flat price; None for a flat price alone.
    """

    request: Request
    unit: str | None


def declare(
    name: str,
    *,
    cost: str | Decimal | None,
    unit: str | None,
    price: str | Decimal | None,
    max_units: int | None,
) -> Declared:
    """Check what a decorator says of its tool.

    Raises:
        TypeError: Something is of the wrong type: a price is a float, say.
        ValueError: Something is wrong; the text says what is expected.
    """
    check_name(name)
    prices: dict[str, int] = {}
    if cost is not None:
        prices[TOOL_CALLS] = _picousd("cost", cost)
    if unit is None and (price is not None or max_units is not None):
        raise ValueError("@tool: `price` and `max_units` are of a unit; name it, unit='pages' say")
    counts: Quantities = ((TOOL_CALLS, 1),)
    unlimited: tuple[str, ...] = ()
    if unit is not None:
        check_metric("unit", unit)
        if unit == TOOL_CALLS:
            raise ValueError("@tool: the price of a call is `cost`, and needs no unit")
        if price is not None:
            prices[unit] = _picousd("price", price)
        if max_units is None:
            unlimited = (unit,)
        else:
            counts = tuple(sorted((*counts, (unit, whole_number("max_units", max_units)))))
    declared = tuple(sorted(prices.items()))
    declared_prices[name] = declared
    request = request_of(name, counts, declared)
    return Declared(msgspec.structs.replace(request, unlimited=unlimited), unit)


def request_of(name: str, quantities: Quantities, declared: Quantities) -> Request:
    """Return what a call of a tool asks of the gate."""
    return Request(
        provider=TOOL_PROVIDER,
        operation=semconv.OPERATION_EXECUTE_TOOL,
        model=name,
        quantities=quantities,
        declared=declared,
    )


def check_name(name: object) -> None:
    """See that a tool's name may be a dimension of rules and reports.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, too long, or has control characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"a tool's name is a text, not {type(name).__name__}")
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"a tool's name has 1 to {_LONGEST_NAME} characters and no control characters: {name!r}"
        )


def check_metric(what: str, metric: object) -> None:
    """See that a name may be a unit.

    Raises:
        TypeError: It is no text.
        ValueError: It is not made of small letters, digits and `_`, or is a kind of token.
    """
    if not isinstance(metric, str):
        raise TypeError(f"`{what}` is the name of a unit, not {type(metric).__name__}")
    if not _METRIC.fullmatch(metric) or metric in TOKEN_BUCKETS:
        raise ValueError(
            f"`{what}` is {metric!r}; expected a unit such as pages: small letters, digits and _"
        )


def whole_number(what: str, value: object) -> int:
    """Return a count of units; a float that is whole counts as one.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, not whole, or more than `MOST`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{what}` is a whole number of units, not {type(value).__name__}")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"`{what}` is {value}; units are counted in whole numbers")
    if not 0 <= value <= MOST:
        raise ValueError(f"`{what}` is {value}; expected 0 to {MOST:,}")
    return int(value)


def _picousd(what: str, amount: object) -> int:
    if not isinstance(amount, str | Decimal):
        raise TypeError(
            f"@tool: `{what}` is exact: a text such as '0.005 USD' or a Decimal, "
            f"not {type(amount).__name__}"
        )
    try:
        return int(parse_usd(amount) * PICOUSD_PER_USD)
    except ValueError as error:
        raise ValueError(f"@tool: `{what}` is {error}") from None

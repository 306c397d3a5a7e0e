"""Money of one call: exact integers in nano-USD, with the rows of the price book that made them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

import msgspec

CostStatus = Literal["priced", "partial", "unpriced", "unknown", "not_billed"]
SettledBy = Literal["book", "reported"]
NANOUSD_PER_USD = 1_000_000_000
PICOUSD_PER_NANOUSD = 1_000
PICOUSD_PER_USD = NANOUSD_PER_USD * PICOUSD_PER_NANOUSD
_NUMBER = re.compile(r"[0-9][0-9_]*(?:\.[0-9]+)?")
_DEAREST_USD = 10**9
_DECIMALS = 12


class Cost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a call cost.

    Attributes:
        status: `priced`: exact. `partial`: some unit has no price, the amount covers the rest.
            `unpriced`: no row matched. `unknown`: the usage is unknown. `not_billed`: the provider
            did no billable work. Only `priced`, `partial` and `not_billed` have an amount.
        amount_nanousd: Rounded once, half to even; None when nobody knows. Never 0 for that.
        is_assumed: The price is an assumption (the provider's dearest row, or an assumed provider).
        book_id: The price book that was used.
        matched_key: The book's key that the model's name resolved to.
        matched_by: The rule that matched: `operator`, `override`, `exact`, `alias`, `normalised`,
            `date`, `fine_tune`, `ceiling`, `declared`.
        row_ids: The price rows and fees that made the amount.
        unpriced_units: Buckets and units that were used but have no price.
        reported_nanousd: What the provider itself says that the call cost; None if it doesn't.
        computed_nanousd: Our own sum, where the reported cost is the amount.
        settled_by: Whose figure the amount is: the price book's, or the one that was reported.
    """

    status: CostStatus
    amount_nanousd: int | None = None
    is_assumed: bool = False
    book_id: str | None = None
    matched_key: str | None = None
    matched_by: str | None = None
    row_ids: tuple[str, ...] = ()
    unpriced_units: tuple[str, ...] = ()
    reported_nanousd: int | None = None
    computed_nanousd: int | None = None
    settled_by: SettledBy = "book"

    @property
    def difference_nanousd(self) -> int | None:
        """Our figure less the provider's own; None where one of them is not there."""
        ours = self.amount_nanousd if self.settled_by == "book" else self.computed_nanousd
        if ours is None or self.reported_nanousd is None:
            return None
        return ours - self.reported_nanousd


class Bound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most that a call can cost, worked out before it is made.

    Attributes:
        amount_nanousd: Rounded up; None when nothing bounds it (`reasons` says why).
        is_assumed: As in `Cost`.
        reasons: Why the amount is not simply bytes and the caller's own limit: `model_max`,
            `context_window:url_media`, `ceiling`, `unpriced`, `reserve:web_searches`,
            `unpriced:maps_searches` (the amount leaves this unit out), `no_limit:web_searches`, …
    """

    amount_nanousd: int | None
    is_assumed: bool = False
    reasons: tuple[str, ...] = ()


def parse_usd(amount: str | Decimal) -> Decimal:
    """Read a price in USD exactly: `0.005`, `0.005 USD` or a `Decimal`, with up to 12 decimals.

    Raises:
        ValueError: It is no such price; the text says what is expected.
    """
    said = str(amount) if isinstance(amount, Decimal) else amount
    number = said.strip().removesuffix("USD").strip()
    if isinstance(amount, Decimal) and amount.is_finite():
        number = f"{amount:f}"
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"{said!r}; expected an amount in USD such as 2.50")
    price = Decimal(number.replace("_", ""))
    if price > _DEAREST_USD:
        raise ValueError(f"{said!r}; the dearest is {_DEAREST_USD:,} USD")
    exponent = price.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DECIMALS:
        raise ValueError(f"{said!r}; at most {_DECIMALS} decimals are exact")
    return price


def format_usd(amount_nanousd: int, *, places: int = 9) -> str:
    """Write an amount as a plain decimal in USD, `-0.000123456` say, without exponent or rounding.

    Args:
        amount_nanousd: The amount.
        places: Decimals to keep at least; further ones are kept while they are not zero.
    """
    sign = "-" if amount_nanousd < 0 else ""
    whole, fraction = divmod(abs(amount_nanousd), NANOUSD_PER_USD)
    digits = f"{fraction:09d}"
    keep = max(places, len(digits.rstrip("0")))
    return f"{sign}{whole}.{digits[:keep]}" if keep else f"{sign}{whole}"

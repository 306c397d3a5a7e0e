"""The columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification) that calls of models fill.

All mandatory columns, and of the conditional ones those that apply: there are no commitments, no
reserved capacity, no availability zones, and one currency. Columns of our own begin with `x_`, as
the specification demands; so do the keys in `SkuPriceDetails` that it does not define yet.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

Kind = Literal["text", "time", "decimal"]


class FocusRow(msgspec.Struct, frozen=True, kw_only=True):
    """One charge: a token class, or a unit, of a call or of a span of time.

    Attributes have the names of the columns; see the specification for what they mean. Decimals are
    exact. Times are UTC.
    """

    BilledCost: Decimal
    BillingAccountId: str
    BillingAccountName: str
    BillingCurrency: str
    BillingPeriodEnd: datetime
    BillingPeriodStart: datetime
    ChargeCategory: str
    ChargeClass: str | None
    ChargeDescription: str
    ChargeFrequency: str
    ChargePeriodEnd: datetime
    ChargePeriodStart: datetime
    ConsumedQuantity: Decimal | None
    ConsumedUnit: str | None
    ContractedCost: Decimal
    ContractedUnitPrice: Decimal | None
    EffectiveCost: Decimal
    InvoiceIssuerName: str
    ListCost: Decimal
    ListUnitPrice: Decimal | None
    PricingCategory: str | None
    PricingQuantity: Decimal | None
    PricingUnit: str | None
    ProviderName: str
    PublisherName: str
    RegionId: str | None
    RegionName: str | None
    ServiceCategory: str
    ServiceName: str
    ServiceSubcategory: str
    SkuId: str
    SkuMeter: str
    SkuPriceDetails: str
    SkuPriceId: str | None
    SubAccountId: str | None
    SubAccountName: str | None
    Tags: str
    x_CallId: str | None
    x_CostBasis: str
    x_CostStatus: str
    x_CustomerId: str | None
    x_Operation: str
    x_TokenType: str
    x_UsageStatus: str


def _kind(name: str) -> Kind:
    if name.endswith(("PeriodStart", "PeriodEnd")):
        return "time"
    return "decimal" if name.endswith(("Cost", "Price", "Quantity")) else "text"


COLUMNS: Final[tuple[tuple[str, Kind], ...]] = tuple(
    (name, _kind(name)) for name in FocusRow.__struct_fields__
)
"""Every column and what is in it, in the order of a row's fields."""
PRECISION: Final = 38
SCALE: Final = 18
"""Digits of a decimal, and those of them behind the point."""

"""Makes FOCUS 1.2 rows of usage events: one for each token class of a call, an hour or a day.

The rows' `BilledCost` adds up to the events' cost, to the nano-dollar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from typing import Final, Literal

import msgspec

from tollspan.pricing import PriceBook
from tollspan.usage import PICOUSD_PER_USD, UsageEvent, value_of

from . import names
from .columns import PRECISION, SCALE, FocusRow
from .parts import Part, parts_of

Grain = Literal["call", "hour", "day"]
"""What a row is of: one call, or all like it that began in one hour or on one day (UTC)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANO: Final = Decimal("1E-9")
_STEP: Final = Decimal(1).scaleb(-SCALE)
_MILLION: Final = 1_000_000
_EXACT: Final = Context(prec=4 * PRECISION, traps=[Inexact])
_ROUNDED: Final = Context(prec=4 * PRECISION)
_TAGGED: Final = ("agent", "customer", "environment", "feature", "project", "service", "team")


class FocusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say that events don't.

    Attributes:
        billing_account_id, billing_account_name: Whose bill it is.
        invoice_issuer: Who invoices; None for the provider of each call.
        sub_account: The dimension that divides the account: its values are the sub-accounts.
        grain: What a row is of.
    """

    billing_account_id: str = "local"
    billing_account_name: str = "local"
    invoice_issuer: str | None = None
    sub_account: str = "project"
    grain: Grain = "day"


class _Group(msgspec.Struct, frozen=True):
    """What rows that are added up share: all but amounts and quantities."""

    start: datetime
    provider: str
    model: str
    operation: str
    region: str | None
    tier: str | None
    unit: str
    basis: str
    price: tuple[int, int] | None
    list_price: tuple[int, int] | None
    row_id: str | None
    cost_status: str
    usage_status: str
    is_correction: bool
    customer: str | None
    sub_account: str | None
    tags: tuple[tuple[str, str], ...]
    call_id: str | None


class _Sum(msgspec.Struct):
    count: int = 0
    cost_nanousd: int = 0


def focus_rows(
    events: Iterable[UsageEvent],
    book: PriceBook,
    settings: FocusSettings,
    *,
    published: PriceBook | None = None,
) -> Iterator[FocusRow]:
    """Yield the rows of events; no more than one hour's or day's sums are kept at a time.

    Args:
        events: In the order of their times. One out of order makes a row of its own.
        book: The prices in force, by which costs are taken apart.
        settings: What events don't say.
        published: The prices without the operator's own, where he has some.

    Raises:
        PriceBookError: A part of the book can't be read.
    """
    sums: dict[_Group, _Sum] = {}
    current: datetime | None = None
    for event in events:
        start = _start(event.call.started_at_unix_ns, settings.grain)
        if current is not None and (start != current or settings.grain == "call"):
            yield from _rows(sums, settings)
            sums = {}
        current = start
        for part in parts_of(event, book, published):
            found = sums.setdefault(_group(event, part, start, settings), _Sum())
            found.count += part.count
            found.cost_nanousd += part.cost_nanousd or 0
    yield from _rows(sums, settings)


def _start(unix_ns: int, grain: Grain) -> datetime:
    moment = _EPOCH + timedelta(seconds=unix_ns // 10**9)
    whole_hour = moment.replace(minute=0, second=0)
    return whole_hour.replace(hour=0) if grain == "day" else whole_hour


def _group(event: UsageEvent, part: Part, start: datetime, settings: FocusSettings) -> _Group:
    call, response = event.call, event.outcome.response
    owner = call.attribution
    said = [(name, value) for name in _TAGGED if (value := value_of(owner, name)) is not None]
    return _Group(
        start=start,
        provider=call.request.provider,
        model=part.model or event.cost.matched_key or response.model or call.request.model,
        operation=call.request.operation,
        region=response.region or call.request.region,
        tier=response.service_tier or call.request.service_tier,
        unit=part.unit,
        basis=part.basis,
        price=part.price,
        list_price=part.list_price,
        row_id=part.row_id,
        cost_status=event.cost.status,
        usage_status="unknown" if event.usage is None else event.usage.status,
        is_correction=(part.cost_nanousd or 0) < 0,
        customer=owner.customer,
        sub_account=value_of(owner, settings.sub_account),
        tags=(*said, *((f"tag.{name}", value) for name, value in owner.tags)),
        call_id=call.id if settings.grain == "call" else None,
    )


def _rows(sums: dict[_Group, _Sum], settings: FocusSettings) -> Iterator[FocusRow]:
    for group, found in sums.items():
        yield _row(group, found, settings)


def _row(group: _Group, found: _Sum, settings: FocusSettings) -> FocusRow:
    billed = _EXACT.multiply(Decimal(found.cost_nanousd), _NANO)
    consumed, pricing = _quantities(group.unit, found.count)
    contracted, contracted_price = _priced(group.unit, group.price, pricing, billed)
    listed, list_price = _priced(group.unit, group.list_price, pricing, billed)
    month = group.start.replace(day=1, hour=0)
    provider = names.provider_name(group.provider)
    is_known = group.basis not in {"unpriced", "unknown"}
    length = timedelta(days=1) if settings.grain == "day" else timedelta(hours=1)
    return FocusRow(
        BilledCost=billed,
        BillingAccountId=settings.billing_account_id,
        BillingAccountName=settings.billing_account_name,
        BillingCurrency="USD",
        BillingPeriodEnd=(month + timedelta(days=32)).replace(day=1),
        BillingPeriodStart=month,
        ChargeCategory="Usage",
        ChargeClass="Correction" if group.is_correction else None,
        ChargeDescription=_description(group, is_known=is_known),
        ChargeFrequency="Usage-Based",
        ChargePeriodEnd=group.start + length,
        ChargePeriodStart=group.start,
        ConsumedQuantity=consumed,
        ConsumedUnit=None if consumed is None else names.unit_name(group.unit),
        ContractedCost=contracted,
        ContractedUnitPrice=contracted_price,
        EffectiveCost=billed,
        InvoiceIssuerName=settings.invoice_issuer or provider,
        ListCost=listed,
        ListUnitPrice=list_price,
        PricingCategory="Standard" if group.price is not None else None,
        PricingQuantity=pricing,
        PricingUnit=None if pricing is None else _pricing_unit(group.unit),
        ProviderName=provider,
        PublisherName=names.maker_name(group.model) or provider,
        RegionId=group.region,
        RegionName=group.region,
        ServiceCategory="AI and Machine Learning",
        ServiceName=names.service_name(group.provider),
        ServiceSubcategory="Generative AI",
        SkuId=f"{group.provider}/{group.model}/{group.unit}",
        SkuMeter=names.meter_name(group.unit),
        SkuPriceDetails=_details(group),
        SkuPriceId=None if group.row_id is None else f"{group.row_id}#{group.unit}",
        SubAccountId=group.sub_account,
        SubAccountName=group.sub_account,
        Tags=_json(dict(group.tags)),
        x_CallId=group.call_id,
        x_CostBasis=group.basis,
        x_CostStatus=group.cost_status,
        x_CustomerId=group.customer,
        x_Operation=group.operation,
        x_TokenType=group.unit,
        x_UsageStatus=group.usage_status,
    )


def _quantities(unit: str, count: int) -> tuple[Decimal | None, Decimal | None]:
    """Return what was consumed, and the same in units of prices."""
    if unit == "usage" and not count:
        return None, None
    if names.is_tokens(unit):
        return Decimal(count), _EXACT.divide(Decimal(count), Decimal(_MILLION))
    if names.is_milliseconds(unit):
        seconds = _EXACT.divide(Decimal(count), Decimal(1_000))
        return seconds, seconds
    return Decimal(count), Decimal(count)


def _pricing_unit(unit: str) -> str:
    return f"{_MILLION} Tokens" if names.is_tokens(unit) else names.unit_name(unit)


def _priced(
    unit: str, price: tuple[int, int] | None, quantity: Decimal | None, billed: Decimal
) -> tuple[Decimal, Decimal | None]:
    """Return quantity times unit price, and that price; what was billed where there is none.

    A price that no decimal says exactly within a column is none here: the product would differ.
    """
    if price is None or quantity is None:
        return billed, None
    picousd, per = price
    times = _MILLION if names.is_tokens(unit) else 1_000 if names.is_milliseconds(unit) else 1
    exact = _ROUNDED.divide(Decimal(picousd * times), Decimal(per * PICOUSD_PER_USD))
    unit_price = exact.quantize(_STEP, context=_ROUNDED).normalize(_ROUNDED)
    cost = _ROUNDED.multiply(unit_price, quantity)
    if unit_price != exact or cost != cost.quantize(_STEP, context=_ROUNDED):
        return billed, None
    return cost, unit_price


def _description(group: _Group, *, is_known: bool) -> str:
    text = f"{group.model}: {names.meter_name(group.unit)}"
    return text if is_known else f"{text} ({group.basis}: what it cost is not known)"


def _details(group: _Group) -> str:
    """Say what the model is, by the names that FOCUS 1.5 plans, as keys of our own until then."""
    said = {
        "x_ModelDeveloper": names.maker_name(group.model),
        "x_ModelId": group.model,
        "x_ModelVersion": names.model_version(group.model),
        "x_ServiceTier": group.tier,
        "x_TokenType": group.unit,
    }
    return _json({name: value for name, value in said.items() if value is not None})


def _json(said: dict[str, str]) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

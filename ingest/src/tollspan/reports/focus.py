"""Makes FOCUS 1.2 rows of usage events: one for each token class of a call, an hour or a day.

The rows' `BilledCost` adds up to the events' cost, to the nano-dollar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from typing import Final, Literal

import msgspec

from tollspan.pricing import PriceBook
from tollspan.usage import PICOUSD_PER_USD, Attribution, UsageEvent, value_of

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


class FocusPart(msgspec.Struct, frozen=True, array_like=True):
    """What a part of a call's cost is for, whoever pays and whenever it was.

    Attributes:
        provider, model, operation, region, tier: Of the call; the model is the one that priced it.
        unit, basis, price, list_price, row_id: As in `Part`.
        cost_status, usage_status: Of the event.
        is_correction: It was posted back.
    """

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


class FocusCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of one call, or of many that were summed up, taken apart.

    Attributes:
        at_unix_ns: When they began; of many any time of their day.
        owner: Who pays.
        parts: What for, in how many calls, how many tokens or units, and nano-USD, 0 where nobody
            knows. What was taken back counts less, and what no call is left of is no row.
        call_id: The call; None of many.
    """

    at_unix_ns: int
    owner: Attribution
    parts: Sequence[tuple[FocusPart, int, int, int]]
    call_id: str | None = None


class _Group(msgspec.Struct, frozen=True):
    """What rows that are added up share: all but amounts and quantities."""

    start: datetime
    part: FocusPart
    customer: str | None
    sub_account: str | None
    tags: tuple[tuple[str, str], ...]
    call_id: str | None


class _Sum(msgspec.Struct):
    calls: int = 0
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
    return focus_rows_of((costs_of(event, book, published) for event in events), settings)


def focus_rows_of(costs: Iterable[FocusCosts], settings: FocusSettings) -> Iterator[FocusRow]:
    """Yield the rows of costs that were taken apart; as `focus_rows`."""
    sums: dict[_Group, _Sum] = {}
    current: datetime | None = None
    for one in costs:
        start = _start(one.at_unix_ns, settings.grain)
        if current is not None and (start != current or settings.grain == "call"):
            yield from _rows(sums, settings)
            sums = {}
        current = start
        owned = _owned(one, settings)
        for part, calls, count, cost_nanousd in one.parts:
            found = sums.setdefault(_Group(start, part, *owned), _Sum())
            found.calls += calls
            found.count += count
            found.cost_nanousd += cost_nanousd
    yield from _rows(sums, settings)


def costs_of(event: UsageEvent, book: PriceBook, published: PriceBook | None = None) -> FocusCosts:
    """Take an event's cost apart; as `focus_rows`."""
    return FocusCosts(
        at_unix_ns=event.call.started_at_unix_ns,
        owner=event.call.attribution,
        parts=[
            (_part_of(event, part), 1, part.count, part.cost_nanousd or 0)
            for part in parts_of(event, book, published)
        ],
        call_id=event.call.id,
    )


def _start(unix_ns: int, grain: Grain) -> datetime:
    moment = _EPOCH + timedelta(seconds=unix_ns // 10**9)
    whole_hour = moment.replace(minute=0, second=0)
    return whole_hour.replace(hour=0) if grain == "day" else whole_hour


def _owned(
    one: FocusCosts, settings: FocusSettings
) -> tuple[str | None, str | None, tuple[tuple[str, str], ...], str | None]:
    """Return the customer, the sub-account, the tags and the call of costs' rows."""
    owner = one.owner
    said = [(name, value) for name in _TAGGED if (value := value_of(owner, name)) is not None]
    return (
        owner.customer,
        value_of(owner, settings.sub_account),
        (*said, *((f"tag.{name}", value) for name, value in owner.tags)),
        one.call_id if settings.grain == "call" else None,
    )


def _part_of(event: UsageEvent, part: Part) -> FocusPart:
    call, response = event.call, event.outcome.response
    return FocusPart(
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
    )


def _rows(sums: dict[_Group, _Sum], settings: FocusSettings) -> Iterator[FocusRow]:
    for group, found in sums.items():
        if found.calls:
            yield _row(group, found, settings)


def _row(group: _Group, found: _Sum, settings: FocusSettings) -> FocusRow:
    part = group.part
    billed = _EXACT.multiply(Decimal(found.cost_nanousd), _NANO)
    consumed, pricing = _quantities(part.unit, found.count)
    contracted, contracted_price = _priced(part.unit, part.price, pricing, billed)
    listed, list_price = _priced(part.unit, part.list_price, pricing, billed)
    month = group.start.replace(day=1, hour=0)
    provider = names.provider_name(part.provider)
    is_known = part.basis not in {"unpriced", "unknown"}
    length = timedelta(days=1) if settings.grain == "day" else timedelta(hours=1)
    return FocusRow(
        BilledCost=billed,
        BillingAccountId=settings.billing_account_id,
        BillingAccountName=settings.billing_account_name,
        BillingCurrency="USD",
        BillingPeriodEnd=(month + timedelta(days=32)).replace(day=1),
        BillingPeriodStart=month,
        ChargeCategory="Usage",
        ChargeClass="Correction" if part.is_correction else None,
        ChargeDescription=_description(part, is_known=is_known),
        ChargeFrequency="Usage-Based",
        ChargePeriodEnd=group.start + length,
        ChargePeriodStart=group.start,
        ConsumedQuantity=consumed,
        ConsumedUnit=None if consumed is None else names.unit_name(part.unit),
        ContractedCost=contracted,
        ContractedUnitPrice=contracted_price,
        EffectiveCost=billed,
        InvoiceIssuerName=settings.invoice_issuer or provider,
        ListCost=listed,
        ListUnitPrice=list_price,
        PricingCategory="Standard" if part.price is not None else None,
        PricingQuantity=pricing,
        PricingUnit=None if pricing is None else _pricing_unit(part.unit),
        ProviderName=provider,
        PublisherName=names.maker_name(part.model) or provider,
        RegionId=part.region,
        RegionName=part.region,
        ServiceCategory="AI and Machine Learning",
        ServiceName=names.service_name(part.provider),
        ServiceSubcategory="Generative AI",
        SkuId=f"{part.provider}/{part.model}/{part.unit}",
        SkuMeter=names.meter_name(part.unit),
        SkuPriceDetails=_details(part),
        SkuPriceId=None if part.row_id is None else f"{part.row_id}#{part.unit}",
        SubAccountId=group.sub_account,
        SubAccountName=group.sub_account,
        Tags=_json(dict(group.tags)),
        x_CallId=group.call_id,
        x_CostBasis=part.basis,
        x_CostStatus=part.cost_status,
        x_CustomerId=group.customer,
        x_Operation=part.operation,
        x_TokenType=part.unit,
        x_UsageStatus=part.usage_status,
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


def _description(part: FocusPart, *, is_known: bool) -> str:
    text = f"{part.model}: {names.meter_name(part.unit)}"
    return text if is_known else f"{text} ({part.basis}: what it cost is not known)"


def _details(part: FocusPart) -> str:
    """Say what the model is, by the names that FOCUS 1.5 plans, as keys of our own until then."""
    said = {
        "x_ModelDeveloper": names.maker_name(part.model),
        "x_ModelId": part.model,
        "x_ModelVersion": names.model_version(part.model),
        "x_ServiceTier": part.tier,
        "x_TokenType": part.unit,
    }
    return _json({name: value for name, value in said.items() if value is not None})


def _json(said: dict[str, str]) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

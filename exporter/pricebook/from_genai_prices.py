"""Turns the data of `genai-prices` (MIT) into rows, by its own rules; drops what is not exact."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from genai_prices.data import providers as _providers
from genai_prices.types import (
    ClauseEquals,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from rows import InexactError, Model, Row

SOURCE = "genai-prices"
UNITS = {
    "input_mtok": "input_uncached",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_in",
    "input_image_mtok": "image_in",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_out",
    "output_image_mtok": "image_out",
}
# Tokens of these kinds share a bucket with others, so the price must be the same.
SAME_AS = {
    "cache_audio_read_mtok": "cache_read_mtok",
    "cache_image_read_mtok": "cache_read_mtok",
    "input_video_mtok": "input_mtok",
}
# Charged beside tokens, and only when such a tool ran: they are no token prices.
TOOLS = {"web_searches_kcount", "social_searches_kcount", "storage_searches_kcount"}
# Names of `gen_ai.provider.name` where the source has another one.
SEMCONV_NAMES = {"google": "gcp.gemini", "x-ai": "x_ai", "mistral": "mistral_ai"}
LEFT_OUT_PROVIDERS = {
    "aws": "its prices depend on the region in the model's name",
    "azure": "its model names are the customer's own deployments",
    "openai-decisions": "not an endpoint of its own",
}
_ANY_DATE = "-2031-01-31"
_EPOCH = date(1970, 1, 1)


def read(left_out: dict[str, str]) -> dict[str, list[Model]]:
    """Return the models of every provider, under its name in the semantic conventions.

    Args:
        left_out: Gets `provider` or `provider/model` → reason for all that can't be taken exactly.
    """
    book: dict[str, list[Model]] = {}
    for provider in _providers:
        if provider.id in LEFT_OUT_PROVIDERS:
            left_out[provider.id] = LEFT_OUT_PROVIDERS[provider.id]
            continue
        name = SEMCONV_NAMES.get(provider.id, provider.id)
        models = _models(provider, name, left_out)
        if models:
            book[name] = models
    return book


def provider(name: str) -> Provider:
    """Return the source's provider of this semantic-convention name."""
    own = {semconv: theirs for theirs, semconv in SEMCONV_NAMES.items()}.get(name, name)
    return next(p for p in _providers if p.id == own)


def owner(source: Provider, name: str) -> str | None:
    """Return the key of the model that the source's own rules find for a name, None for none."""
    found = source.find_model(name)
    return None if found is None else key_of(found)


def key_of(model: ModelInfo) -> str:
    """Return the book's key for one of the source's models."""
    return model.id.rstrip("-.")


def _models(provider: Provider, name: str, left_out: dict[str, str]) -> list[Model]:
    models: list[Model] = []
    for info in provider.models:
        key = key_of(info)
        try:
            model = Model(key=key, rows=_rows(info), context_window=info.context_window)
            for row in model.rows:
                row.encode([SOURCE])
        except InexactError as why:
            left_out[f"{name}/{key}"] = str(why)
            continue
        candidates = {key, info.id, *_literals(info)}
        model.names = {c for c in candidates if owner(provider, c) == key}
        model.dated = {c for c in model.names if owner(provider, c + _ANY_DATE) == key}
        models.append(model)
    return models


def _literals(info: ModelInfo) -> set[str]:
    found: set[str] = set()
    pending = [info.match]
    while pending:
        clause = pending.pop()
        pending.extend(getattr(clause, "or_", ()))
        if isinstance(clause, ClauseEquals):
            found.add(clause.equals)
        elif isinstance(clause, ClauseStartsWith):
            found.add(clause.starts_with.rstrip("-"))
    return found


def _rows(info: ModelInfo) -> list[Row]:
    _check_dates(info)
    contexts: dict[str, dict[str, str]] = {}
    for variant in info.price_variants or ():
        if len(variant.when) > 1 or variant.when.keys() - {"service_tier", "processing"}:
            raise InexactError(f"a price depends on the request's {sorted(variant.when)}")
        tier = next(iter(variant.when.values()))
        if tier != "default":
            contexts[tier] = dict(variant.when)
    rows = _tier_rows(info, "standard", None)
    for tier in sorted(contexts):
        rows += _tier_rows(info, tier, contexts[tier])
    if not rows:
        raise InexactError("no price")
    return rows


def _check_dates(info: ModelInfo) -> None:
    previous = date.min
    for entry in info.prices if isinstance(info.prices, list) else ():
        start = _start(entry)
        if start < previous:
            raise InexactError("its dated prices are not in order")
        previous = start


def _start(entry: ConditionalPrice) -> date:
    if isinstance(entry.constraint, TimeOfDateConstraint):
        raise InexactError("its price depends on the time of day")
    return date.min if entry.constraint is None else entry.constraint.start_date


def _edges(info: ModelInfo) -> list[date]:
    dated = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    starts = {
        entry.constraint.start_date
        for entry in dated
        if isinstance(entry.constraint, StartDateConstraint)
    }
    return [_EPOCH, *sorted(starts)]


def _tier_rows(info: ModelInfo, tier: str, context: dict[str, str] | None) -> list[Row]:
    spans: list[tuple[date, ModelPrice | None]] = []
    for edge in _edges(info):
        prices = _active_prices(info, edge, context)
        if not spans or spans[-1][1] != prices:
            spans.append((edge, prices))
    rows: list[Row] = []
    for number, (start, prices) in enumerate(spans):
        if prices is None:
            continue
        end = spans[number + 1][0] if number + 1 < len(spans) else None
        for above, units in _context_tiers(prices):
            rows.append(
                Row(
                    tier=tier,
                    valid_from=None if start == _EPOCH else start.isoformat(),
                    valid_to=None if end is None else end.isoformat(),
                    above=above,
                    prices=tuple(sorted(units.items())),
                    source=SOURCE,
                )
            )
    return rows


def _active_prices(info: ModelInfo, day: date, context: dict[str, str] | None) -> ModelPrice | None:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if context is None:
        return info.get_prices(moment)
    for variant in info.price_variants or ():
        if variant.when == context:
            constraint = variant.constraint
            if isinstance(constraint, TimeOfDateConstraint):
                raise InexactError("its price depends on the time of day")
            if constraint is None or constraint.active(moment):
                return info.get_prices(moment, context)
    return None


def _context_tiers(prices: ModelPrice) -> list[tuple[int, dict[str, Decimal]]]:
    listed = {key: value for key, value in vars(prices).items() if value is not None}
    steps = {
        tier.start
        for value in listed.values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }
    tiers: list[tuple[int, dict[str, Decimal]]] = []
    for above in [0, *sorted(steps)]:
        units = _units({key: _price_at(value, above) for key, value in listed.items()})
        if units:
            tiers.append((above, units))
    return tiers


def _price_at(price: Decimal | TieredPrices, above: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= above and above > 0]
    return reached[-1] if reached else price.base


def _units(listed: dict[str, Decimal]) -> dict[str, Decimal]:
    units: dict[str, Decimal] = {}
    for key, price in listed.items():
        if key in UNITS:
            units[UNITS[key]] = price
        elif key in SAME_AS:
            if listed.get(SAME_AS[key]) != price:
                raise InexactError(f"{key} differs from {SAME_AS[key]}, one bucket holds both")
        elif key not in TOOLS:
            raise InexactError(f"charged by {key} too")
    if units and "input_uncached" not in units:
        raise InexactError("no price for input tokens")
    return units

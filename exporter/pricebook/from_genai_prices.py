"""Turns the data of `genai-prices` (MIT) into rows, by its own rules; drops what is not exact."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from genai_prices.data import providers as _providers
from genai_prices.types import (
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseStartsWith,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from rows import InexactError, Model, Price, Row

SOURCE = "genai-prices"
# USD for a million tokens.
UNITS = {
    "input_mtok": "input_uncached",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_in",
    "cache_audio_read_mtok": "audio_cache_read",
    "input_image_mtok": "image_in",
    "cache_image_read_mtok": "image_cache_read",
    "input_video_mtok": "video_in",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_out",
    "output_image_mtok": "image_out",
    "output_video_mtok": "video_out",
}
# Unit, and how many of it the source's price is for.
QUANTITIES = {
    "web_searches_kcount": ("web_searches", 1_000),
    "social_searches_kcount": ("social_searches", 1_000),
    "storage_searches_kcount": ("storage_searches", 1_000),
    "code_executions_kcount": ("code_executions", 1_000),
    "rerank_searches_kcount": ("searches", 1_000),
    "requests_kcount": ("requests", 1_000),
    "input_text_messages_kcount": ("messages", 1_000),
    "input_document_kpages": ("pages", 1_000),
    "input_annotated_document_kpages": ("annotated_pages", 1_000),
    "input_mchars": ("characters", 1_000_000),
    "audio_hours": ("audio_ms", 3_600_000),
    "input_audio_hours": ("audio_in_ms", 3_600_000),
    "output_audio_hours": ("audio_out_ms", 3_600_000),
}
# What a request says of itself that has a price of its own: its tier or speed.
TIERS = {"service_tier", "processing", "speed"}
# Names of `gen_ai.provider.name` where the source has another one.
SEMCONV_NAMES = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}
LEFT_OUT_PROVIDERS = {"openai-decisions": "not an endpoint of its own"}
# What OpenRouter says of the models whose names end so; the source has them without any price.
_FREE = ("openrouter", ":free")
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


def owner_of(name: str, model: str) -> str | None:
    """Return the key of the model that a provider's own rules find for a name, None for none."""
    own = {semconv: theirs for theirs, semconv in SEMCONV_NAMES.items()}.get(name, name)
    source = next((p for p in _providers if p.id == own), None)
    return None if source is None else owner(source, model)


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
            rows = _free(name, key) or _rows(info)
            model = Model(key=key, rows=rows, context_window=info.context_window)
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
        elif isinstance(clause, ClauseContains):
            found.add(clause.contains.rstrip("-"))
        elif isinstance(clause, ClauseEndsWith):
            found.add(clause.ends_with.lstrip("/"))
    return found


def _free(provider: str, key: str) -> list[Row]:
    if provider != _FREE[0] or not key.endswith(_FREE[1]):
        return []
    prices = (("input_uncached", Decimal(0)), ("output", Decimal(0)))
    return [
        Row(tier="standard", valid_from=None, valid_to=None, above=0, prices=prices, source=SOURCE)
    ]


def _rows(info: ModelInfo) -> list[Row]:
    _check_dates(info)
    contexts: dict[str, dict[str, str]] = {}
    for variant in info.price_variants or ():
        if len(variant.when) > 1 or variant.when.keys() - TIERS:
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
        if isinstance(entry.constraint, StartDateConstraint):
            if entry.constraint.start_date < previous:
                raise InexactError("its dated prices are not in order")
            previous = entry.constraint.start_date


def _constraints(info: ModelInfo) -> list[object]:
    dated = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    return [entry.constraint for entry in dated]


def _edges(info: ModelInfo) -> list[date]:
    found = {c.start_date for c in _constraints(info) if isinstance(c, StartDateConstraint)}
    return [_EPOCH, *sorted(found)]


def _times(info: ModelInfo) -> list[int]:
    """Return the minutes of the UTC day at which a price begins or ends."""
    found: set[int] = set()
    for constraint in _constraints(info):
        if isinstance(constraint, TimeOfDateConstraint):
            for time in (constraint.start_time, constraint.end_time):
                moment = datetime.combine(_EPOCH, time)
                moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
                if moment.second or moment.microsecond:
                    raise InexactError("its price changes within a minute")
                found.add(moment.hour * 60 + moment.minute)
    return sorted(found)


def _tier_rows(info: ModelInfo, tier: str, context: dict[str, str] | None) -> list[Row]:
    times = _times(info)
    windows = list(zip(times, [*times[1:], times[0]], strict=True)) if times else [None]
    rows: list[Row] = []
    for window in windows:
        spans: list[tuple[date, ModelPrice | None]] = []
        for edge in _edges(info):
            prices = _active_prices(info, edge, window, context)
            if not spans or spans[-1][1] != prices:
                spans.append((edge, prices))
        for number, (start, prices) in enumerate(spans):
            end = spans[number + 1][0] if number + 1 < len(spans) else None
            for above, units in () if prices is None else _context_tiers(prices):
                rows.append(
                    Row(
                        tier=tier,
                        valid_from=None if start == _EPOCH else start.isoformat(),
                        valid_to=None if end is None else end.isoformat(),
                        above=above,
                        prices=tuple(sorted(units.items())),
                        source=SOURCE,
                        minutes=window,
                    )
                )
    return rows


def _active_prices(
    info: ModelInfo, day: date, window: tuple[int, int] | None, context: dict[str, str] | None
) -> ModelPrice | None:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if window is not None:
        moment += timedelta(minutes=window[0])
    if context is None:
        return info.get_prices(moment)
    for variant in info.price_variants or ():
        if dict(variant.when) != context:
            continue
        constraint = variant.constraint
        if constraint is None or constraint.active(moment):
            return info.get_prices(moment, context)
    return None


def _context_tiers(prices: ModelPrice) -> list[tuple[int, dict[str, Price]]]:
    listed = {key: value for key, value in vars(prices).items() if value is not None}
    steps = {
        tier.start
        for value in listed.values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }
    tiers: list[tuple[int, dict[str, Price]]] = []
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


def _units(listed: dict[str, Decimal]) -> dict[str, Price]:
    units: dict[str, Price] = {}
    for key, price in listed.items():
        if key in UNITS:
            units[UNITS[key]] = price
        elif key in QUANTITIES:
            unit, count = QUANTITIES[key]
            units[unit] = Fraction(price) * 1_000_000 / count
        else:
            raise InexactError(f"charged by {key} too")
    return units

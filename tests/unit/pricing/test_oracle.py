"""Our prices beside those that `genai-prices` works out itself, over every OpenAI model.

It is a source of the book, so this checks the compiling and the arithmetic, not the prices.
Declared differences: it prices audio without an audio price as text (we say `partial`), a tier
without prices as standard, and so a tier before its prices are known (we say `unpriced`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest

import tollspan.pricing
from tollspan.pricing import PriceBook
from tollspan.usage import Request, Response, Usage

genai_prices = pytest.importorskip("genai_prices")
from genai_prices.data import providers  # noqa: E402 - after importorskip

DAYS = [
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2026, 8, 21, tzinfo=UTC),
    datetime(2026, 10, 12, tzinfo=UTC),
    datetime(2026, 11, 22, 12, tzinfo=UTC),
]
SHAPES = [
    Usage(input_uncached=1_000, output=100),
    Usage(input_uncached=1, output=1),
    Usage(input_uncached=123, cache_read=4_567, output=89),
    Usage(input_uncached=17, cache_write=2_011, output=3),
    Usage(input_uncached=17, cache_read=512, cache_write=2_011, output=3, reasoning=777),
    Usage(input_uncached=200_001, cache_read=71_999, output=12_345),
    Usage(input_uncached=200_001, cache_read=72_000, output=12_345),
    Usage(input_uncached=999_983, output=127_997, reasoning=3),
    Usage(input_uncached=11, audio_in=1_003, output=7, audio_out=509),
]
BOOK = json.loads((Path(tollspan.pricing.__file__).parent / "prices.json").read_bytes())["body"]
SOURCE_NAMES = {"gcp.gemini": "google", "x_ai": "x-ai", "mistral_ai": "mistral"}
OPENAI = BOOK["providers"]["openai"]["models"]
THEIRS = next(provider for provider in providers if provider.id == "openai")


def source_of(row: list[object]) -> str:
    return str(BOOK["sources"][row[6]]["name"])


def theirs(usage: Usage) -> object:
    """Turn disjoint buckets into their inclusive counts."""
    return genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        input_audio_tokens=usage.audio_in or None,
        output_audio_tokens=usage.audio_out or None,
    )


def cases(model: str) -> Iterator[tuple[datetime, str, Usage]]:
    for tier in sorted({row[0] for row in OPENAI[model][2] if source_of(row) == "genai-prices"}):
        for day in DAYS:
            for usage in SHAPES:
                yield day, tier, usage


@pytest.mark.parametrize("model", sorted(OPENAI))
def test_a_cost_is_what_the_source_says(book: PriceBook, model: str) -> None:
    name = next(n for n, k in BOOK["providers"]["openai"]["names"].items() if k == model)
    request = Request(provider="openai", operation="chat", model=name)
    found = THEIRS.find_model(name)
    for day, tier, usage in cases(model):
        unix_ns = int(day.timestamp()) * 1_000_000_000
        cost = book.rate(request, Response(service_tier=tier), usage, unix_ns)
        context = {"processing": tier} if tier == "batch" else {"service_tier": tier}
        if cost.status == "unpriced":
            assert tier != "standard"
            assert day < DAYS[-1]
            continue
        if cost.status == "partial":
            missing = {"audio_in", "audio_out"} if usage.audio_in else {"output", "reasoning"}
            assert set(cost.unpriced_units) <= missing | {"output"}
            continue
        assert found is not None
        price = found.calc_price(
            theirs(usage),
            THEIRS,
            genai_request_timestamp=day,
            price_context=None if tier == "standard" else context,
        )
        nanousd = (price.total_price * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
        assert cost.amount_nanousd == nanousd, (day, tier, usage)


@pytest.mark.parametrize("provider", sorted(BOOK["providers"]))
def test_other_providers_cost_what_the_source_says_too(book: PriceBook, provider: str) -> None:
    part = BOOK["providers"][provider]
    source = next(p for p in providers if p.id == SOURCE_NAMES.get(provider, provider))
    compared = 0
    for name, key in part["names"].items():
        if any(source_of(row) != "genai-prices" for row in part["models"][key][2]):
            continue
        request = Request(provider=provider, operation="chat", model=name)
        found = source.find_model(name)
        assert found is not None
        for usage in (SHAPES[4], SHAPES[7], Usage(input_uncached=1_000)):
            unix_ns = int(DAYS[-1].timestamp()) * 1_000_000_000
            cost = book.rate(request, Response(), usage, unix_ns)
            if cost.status == "partial":
                assert set(cost.unpriced_units) <= {"output", "reasoning"}
                continue
            price = found.calc_price(theirs(usage), source, genai_request_timestamp=DAYS[-1])
            nanousd = (price.total_price * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
            assert cost.amount_nanousd == nanousd, (name, usage)
            compared += 1
    assert compared


def test_the_comparison_covers_the_models() -> None:
    compared = [model for model in OPENAI if any(True for _ in cases(model))]
    assert len(compared) >= 85
    assert sum(len(list(cases(model))) for model in compared) >= 5_000


def test_models_that_only_the_second_source_has_are_few_and_marked() -> None:
    second = {
        model for model in OPENAI if all(source_of(row) == "litellm" for row in OPENAI[model][2])
    }
    assert "ft:gpt-4.1-2025-04-14" in second
    assert len(second) <= 25

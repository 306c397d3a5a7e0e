"""Our costs beside those of `genai-prices`: every model, tier, date, time of day and usage shape.

It is the first source of the book, so this checks the compiling and the arithmetic, not the prices.
Where both have a price the two are equal to the nano-USD. Where we have none, it must be for one of
the reasons of `KNOWN`, and never the other way round.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

import tollspan.pricing
from tollspan.pricing import PriceBook
from tollspan.usage import TOKEN_BUCKETS, Cost, Request, Response, Usage

genai_prices = pytest.importorskip("genai_prices")
from genai_prices.data import providers  # noqa: E402 - after importorskip

BODY = json.loads((Path(tollspan.pricing.__file__).parent / "prices.json").read_bytes())["body"]
SOURCE_IDS = {
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
SOURCES = {provider.id: provider for provider in providers}
BOTH = sorted(name for name in BODY["providers"] if SOURCE_IDS.get(name, name) in SOURCES)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

# Why we have no price for something that genai-prices counts as free, or as something else.
KNOWN = {
    "audio": "it prices audio without an audio price as text; we never guess one from the other",
    "image_out": "the same for images that are made",
    "video_out": "the same for videos that are made",
    "output": "a model without a price for output writes none; it counts such tokens as free",
    "cache_write_1h": "it bills an hour's cache as five minutes where it knows no price for hours",
    "input_uncached": "a model that is billed by time or characters only; it counts tokens as free",
    "tier": "it prices a tier as standard before the day from which its prices are known",
    "unit": "it counts a unit that has no price yet at that date as free",
}
SHAPES = [
    Usage(),
    Usage(input_uncached=1),
    Usage(input_uncached=1_000, output=100),
    Usage(input_uncached=123, cache_read=4_567, output=89),
    Usage(input_uncached=17, cache_write=2_011, output=3),
    Usage(input_uncached=17, cache_read=512, cache_write=2_011, output=3, reasoning=777),
    Usage(input_uncached=17, cache_write_5m=301, cache_write_1h=2_011, output=3),
    Usage(input_uncached=999_983, output=127_997, reasoning=3),
    Usage(input_uncached=11, audio_in=1_003, output=7),
    Usage(input_uncached=11, output=7, audio_out=509),
    Usage(input_uncached=11, audio_in=103, audio_cache_read=900, output=7),
    Usage(input_uncached=11, image_in=103, output=7),
    Usage(input_uncached=11, image_in=103, image_cache_read=900, output=7),
    Usage(input_uncached=11, output=7, image_out=1_290),
    Usage(input_uncached=11, video_in=5_003, output=7),
    Usage(input_uncached=11, output=7, video_out=509),
]
# On both sides of the context tiers that there are: 100,000, 128,000, 200,000 and 272,000 tokens.
CLIFFS = [
    Usage(input_uncached=100_000, output=1),
    Usage(input_uncached=100_001, output=1),
    Usage(input_uncached=56_001, cache_read=71_999, output=12_345),
    Usage(input_uncached=56_001, cache_read=72_000, output=12_345),
    Usage(input_uncached=128_001, cache_read=71_999, output=12_345),
    Usage(input_uncached=128_001, cache_read=72_000, output=12_345),
    Usage(input_uncached=200_001, cache_read=71_999, output=12_345),
    Usage(input_uncached=200_001, cache_read=72_000, output=12_345),
]
UNITS = {
    "web_searches": 3,
    "social_searches": 2,
    "storage_searches": 4,
    "pages": 7,
    "annotated_pages": 3,
    "characters": 12_345,
    "messages": 3,
    "audio_in_ms": 61_500,
    "audio_ms": 61_501,
}
THEIR_UNITS = {
    "pages": "input_document_pages",
    "annotated_pages": "input_annotated_document_pages",
    "characters": "input_characters",
    "messages": "input_text_messages",
}


def theirs(usage: Usage) -> Any:
    """Turn disjoint buckets into their inclusive counts."""
    counts: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning,
        "cache_read_tokens": usage.cache_read + usage.audio_cache_read + usage.image_cache_read,
        "cache_write_tokens": usage.cache_write + usage.cache_write_5m + usage.cache_write_1h,
        "cache_write_5m_tokens": usage.cache_write_5m,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "input_audio_tokens": usage.audio_in + usage.audio_cache_read,
        "cache_audio_read_tokens": usage.audio_cache_read,
        "input_image_tokens": usage.image_in + usage.image_cache_read,
        "cache_image_read_tokens": usage.image_cache_read,
        "input_video_tokens": usage.video_in,
        "output_audio_tokens": usage.audio_out,
        "output_image_tokens": usage.image_out,
        "output_video_tokens": usage.video_out,
    }
    for unit, count in usage.quantities:
        if unit in {"audio_ms", "audio_in_ms"}:
            counts["audio_seconds"] = Decimal(count) / 1_000
            if unit == "audio_in_ms":
                counts["input_audio_seconds"] = Decimal(count) / 1_000
        else:
            counts[THEIR_UNITS.get(unit, unit)] = count
            if unit == "annotated_pages":
                counts["input_document_pages"] = count
    return genai_prices.Usage(**{name: count for name, count in counts.items() if count})


def is_first(row: list[Any]) -> bool:
    """Say whether a row is of this source."""
    return bool(BODY["sources"][row[6]]["name"] == "genai-prices")


def moments(rows: list[list[Any]]) -> set[datetime]:
    """Return a time in every span in which a model's prices stay the same, and the edges."""
    found = {NOW}
    for row in rows:
        for day in filter(None, row[1:3]):
            start = datetime.fromisoformat(day).replace(tzinfo=UTC)
            found |= {start, start - timedelta(seconds=1)}
    minutes = {minute for row in rows for span in row[7:8] if span for minute in span}
    for minute in minutes:
        found |= {NOW.replace(hour=minute // 60, minute=minute % 60)}
        found |= {NOW.replace(hour=minute // 60, minute=minute % 60) - timedelta(seconds=1)}
    return found


def shapes(rows: list[list[Any]]) -> Iterator[Usage]:
    """Return the usage shapes that say something of a model."""
    units = {unit for row in rows for unit in row[5]}
    yield from SHAPES
    yield from CLIFFS if any(row[3] for row in rows) else ()
    for unit in UNITS.keys() & units:
        yield Usage(quantities=((unit, UNITS[unit]),))
        yield Usage(input_uncached=10, output=1, quantities=((unit, UNITS[unit]),))


def reasons(cost: Cost, tier: str, priced: set[str]) -> set[str]:
    """Return why we have no price, or not for all; empty if none of the known reasons holds."""
    if cost.status == "unpriced" and tier != "standard":
        return {"tier"}
    found: set[str] = set()
    for unit in cost.unpriced_units:
        if unit in {"audio_in", "audio_out", "audio_cache_read"}:
            found.add("audio")
        elif unit in {"image_out", "video_out", "cache_write_1h"}:
            found.add(unit)
        elif unit in {"output", "reasoning"} and "output" not in priced:
            found.add("output")
        elif unit in TOKEN_BUCKETS and "input_uncached" not in priced:
            found.add("input_uncached")
        elif unit in UNITS and cost.status != "priced":
            found.add("unit")
        else:
            return set()
    return found


@pytest.mark.parametrize("provider", BOTH)
def test_a_cost_is_what_the_source_says(book: PriceBook, provider: str) -> None:
    part, source = BODY["providers"][provider], SOURCES[SOURCE_IDS.get(provider, provider)]
    names: dict[str, str] = {}
    for name, key in part["names"].items():
        names[key] = min(name, names.get(key, name), key=lambda n: (n != key, n))
    compared = Counter[str]()
    models = 0
    for key, (_, _, all_rows, *_) in part["models"].items():
        rows = [row for row in all_rows if is_first(row)]
        if rows:
            models += 1
            compared += compare(book, provider, source, names[key], rows)
    assert set(compared) <= {*KNOWN, "equal"}
    assert compared["equal"] >= 2 * models


def compare(
    book: PriceBook, provider: str, source: Any, name: str, rows: list[list[Any]]
) -> Counter[str]:
    """Compare all costs of one model; count those that are equal, and why others are not."""
    found = source.find_model(name)
    assert found is not None, name
    contexts = {
        tier: dict(variant.when)
        for variant in found.price_variants or ()
        for tier in variant.when.values()
    }
    counted = Counter[str]()
    request = Request(provider=provider, operation="chat", model=name)
    for tier in {row[0] for row in rows}:
        priced = {unit for row in rows if row[0] == tier for unit in row[5]}
        for usage in shapes(rows):
            for moment in moments([row for row in rows if row[0] in {tier, "standard"}]):
                unix_ns = int(moment.timestamp()) * 1_000_000_000
                cost = book.rate(request, Response(service_tier=tier), usage, unix_ns)
                if cost.status != "priced":
                    why = reasons(cost, tier, priced)
                    assert why, (name, tier, moment, usage, cost)
                    counted[min(why)] += 1
                    continue
                price = found.calc_price(
                    theirs(usage),
                    source,
                    genai_request_timestamp=moment,
                    price_context=contexts[tier] if tier != "standard" else None,
                )
                total = (price.total_price * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
                assert cost.amount_nanousd == total, (name, tier, moment, usage)
                counted["equal"] += 1
    return counted


def test_the_comparison_covers_the_book() -> None:
    first = sum(
        any(is_first(row) for row in model[2])
        for provider in BOTH
        for model in BODY["providers"][provider]["models"].values()
    )
    assert first >= 2_200
    assert {name for name in BODY["providers"] if name not in BOTH} == {"fal_ai", "gcp.vertex_ai"}


def test_a_unit_without_a_price_is_never_free(book: PriceBook) -> None:
    """The source's own trap: five searches of a model without a price for them cost it nothing."""
    source, usage = SOURCES["x-ai"], Usage(input_uncached=10, quantities=(("web_searches", 5),))
    model = source.find_model("grok-4-fast-reasoning")
    assert model is not None
    without = model.calc_price(theirs(Usage(input_uncached=10)), source)
    assert model.calc_price(theirs(usage), source).total_price == without.total_price
    request = Request(provider="x_ai", operation="chat", model="grok-4-fast-reasoning")
    unix_ns = int(NOW.timestamp()) * 1_000_000_000
    cost = book.rate(request, Response(), usage, unix_ns)
    assert (cost.status, cost.unpriced_units) == ("partial", ("web_searches",))


def test_openai_models_that_only_the_second_source_has_are_few_and_marked() -> None:
    models = BODY["providers"]["openai"]["models"]
    second = {key for key in models if not any(is_first(row) for row in models[key][2])}
    assert "ft:gpt-4.1-2025-04-14" in second
    assert len(second) <= 40

"""The fakes' own prices, against the shipped book: both must tell the same cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.fakes import ANTHROPIC_PRICES, FEES, PRICES, Price
from tests.fakes.books import VIDEO_FEES
from tollspan.pricing import PriceBook
from tollspan.usage import Request, Response, Usage

NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
UNPRICED = "omni-moderation-latest"
CASES = [
    pytest.param(provider, name, price, id=name)
    for provider, table in (("openai", PRICES), ("anthropic", ANTHROPIC_PRICES))
    for name, price in table.items()
    if name != UNPRICED
]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load()


@pytest.mark.parametrize(("provider", "name", "price"), CASES)
def test_the_fakes_bill_by_the_book(
    book: PriceBook, provider: str, name: str, price: Price
) -> None:
    model, _, variant = name.partition("@")
    request = Request(provider=provider, operation="chat", model=model)
    region = variant if variant == "us" else None
    response = Response(service_tier=None if region else variant or None, region=region)
    for usage, picousd in _usages(provider, name, price):
        cost = book.rate(request, response, usage, NOW)
        assert (cost.amount_nanousd, cost.status) == (picousd, "priced"), usage


@pytest.mark.parametrize(
    ("provider", "model", "unit"),
    [("anthropic", "claude-haiku-4-5", "web_searches")]
    + [("openai", "gpt-4o-mini", unit) for unit in FEES],
)
def test_the_fakes_have_the_fees_of_the_book(
    book: PriceBook, provider: str, model: str, unit: str
) -> None:
    request = Request(provider=provider, operation="chat", model=model)
    cost = book.rate(request, Response(), Usage(quantities=((unit, 1),)), NOW)
    assert cost.amount_nanousd == FEES[unit] // 1000


@pytest.mark.parametrize(
    ("model", "unit", "picousd"),
    [(model, unit, one) for model, units in VIDEO_FEES.items() for unit, one in units.items()],
)
def test_the_fakes_bill_videos_by_the_book(
    book: PriceBook, model: str, unit: str, picousd: int
) -> None:
    request = Request(provider="openai", operation="generate_content", model=model)
    cost = book.rate(request, Response(), Usage(quantities=((unit, 1),)), NOW)
    assert cost.amount_nanousd == picousd // 1000


def _usages(provider: str, name: str, price: Price) -> Iterator[tuple[Usage, int]]:
    """Yield 1,000 tokens of each kind that the model knows, and their price in nano-USD."""
    plain, cached, output, write, write_1h = price
    yield Usage(input_uncached=1000), plain
    if name.startswith("text-embedding"):
        return
    yield Usage(cache_read=1000), cached
    yield Usage(output=1000), output
    if provider == "openai":
        yield Usage(cache_write=1000), plain if write is None else write
        return
    assert write is not None
    assert write_1h is not None
    yield Usage(cache_write_5m=1000), write
    yield Usage(cache_write_1h=1000), write_1h
